// SPDX-License-Identifier: Apache-2.0
// See lr_schedule.h. The formulas are written in the order in which Fluid's Python evaluates them,
// so names and constants agree: a division by a number is a scale by its reciprocal, a number to
// the left of `/` or of a power is a constant of its own.

#include "common/passes/lr_schedule.h"

#include <math.h>

#include "common/passes/expr.h"
#include "common/program/program.h"

#define PI 3.14159265358979323846

static const struct dims one_element = {.rank = 1, .d = {1}};

static struct var_desc *step_from(struct expr *e, int begin)
{
    return expr_cast(e, expr_counter(e, LR_SCHEDULE_COUNTER, begin), DTYPE_FP32);
}

static struct var_desc *divided(struct expr *e, const struct var_desc *x, double by)
{
    return expr_scale(e, x, 1.0 / by, 0.0);
}

static struct var_desc *times(struct expr *e, const struct var_desc *x, double by)
{
    return expr_scale(e, x, by, 0.0);
}

// step / steps, rounded down for a staircase.
static struct var_desc *stairs(struct expr *e, double steps, bool staircase)
{
    struct var_desc *ratio = divided(e, step_from(e, 0), steps);
    return staircase ? expr_layer(e, "floor", ratio, NULL) : ratio;
}

struct var_desc *lr_schedule_exponential(struct expr *e, double rate, double steps, double decay,
                                         bool staircase)
{
    struct var_desc *ratio = stairs(e, steps, staircase);
    struct var_desc *base = expr_number(e, decay, DTYPE_FP32);
    return times(e, expr_math(e, "elementwise_pow", base, ratio), rate);
}

struct var_desc *lr_schedule_natural_exp(struct expr *e, double rate, double steps, double decay,
                                         bool staircase)
{
    struct var_desc *power = times(e, stairs(e, steps, staircase), -1 * decay);
    return times(e, expr_layer(e, "exp", power, NULL), rate);
}

struct var_desc *lr_schedule_inverse_time(struct expr *e, double rate, double steps, double decay,
                                          bool staircase)
{
    struct var_desc *below = expr_scale(e, times(e, stairs(e, steps, staircase), decay), 1.0, 1.0);
    struct var_desc *above = expr_number(e, rate, DTYPE_FP32);
    return expr_math(e, "elementwise_div", above, below);
}

struct var_desc *lr_schedule_polynomial(struct expr *e, double rate, double steps, double end,
                                        double power, bool cycle)
{
    struct var_desc *ratio, *step = step_from(e, 0);
    if (cycle) {
        struct expr_switch s = {0};
        struct var_desc *cycles = expr_layer(e, "ceil", divided(e, step, steps), NULL);
        struct var_desc *zero = expr_fill(e, 0.0, DTYPE_FP32, false);
        struct var_desc *one = expr_fill(e, 1.0, DTYPE_FP32, false);
        expr_case(e, &s, expr_math(e, "equal", step, zero));
        expr_assign(e, one, cycles);
        expr_case_end(e, &s);
        ratio = expr_math(e, "elementwise_div", step, times(e, cycles, steps));
    } else {
        struct var_desc *last = expr_fill(e, steps, DTYPE_FP32, false);
        ratio = divided(e, expr_layer(e, "elementwise_min", step, last), steps);
    }
    struct var_desc *left = expr_scale(e, ratio, -1.0, 1.0);
    struct var_desc *exponent = expr_number(e, power, DTYPE_FP32);
    struct var_desc *curve = expr_math(e, "elementwise_pow", left, exponent);
    return expr_scale(e, times(e, curve, rate - end), 1.0, end);
}

struct var_desc *lr_schedule_piecewise(struct expr *e, const double *boundaries,
                                       const double *values, size_t count)
{
    struct expr_switch s = {0};
    struct var_desc *step = step_from(e, 0);
    struct var_desc *rate =
        expr_global(e, "learning_rate", &one_element, DTYPE_FP32, 0.0, false, "");
    for (size_t i = 0; i < count; i++) {
        struct var_desc *boundary = expr_fill(e, boundaries[i], DTYPE_FP32, true);
        struct var_desc *value = expr_fill(e, values[i], DTYPE_FP32, false);
        expr_case(e, &s, expr_math(e, "less_than", step, boundary));
        expr_assign(e, value, rate);
        expr_case_end(e, &s);
    }
    struct var_desc *last = expr_fill(e, values[count], DTYPE_FP32, false);
    if (count == 0) {
        expr_assign(e, last, rate);
        return rate;
    }
    expr_default(e, &s);
    expr_assign(e, last, rate);
    expr_case_end(e, &s);
    return rate;
}

struct var_desc *lr_schedule_noam(struct expr *e, double width, double warmup, double rate)
{
    struct var_desc *step = step_from(e, 1);
    struct var_desc *power = expr_number(e, -0.5, DTYPE_FP32);
    struct var_desc *falling = expr_math(e, "elementwise_pow", step, power);
    struct var_desc *rising = times(e, step, pow(warmup, -1.5));
    return times(e, expr_layer(e, "elementwise_min", falling, rising), rate * pow(width, -0.5));
}

struct var_desc *lr_schedule_cosine(struct expr *e, double rate, double steps_each_epoch,
                                    double epochs)
{
    struct var_desc *epoch = stairs(e, steps_each_epoch, true);
    struct var_desc *angle = divided(e, times(e, epoch, PI), epochs);
    struct var_desc *wave = expr_scale(e, expr_layer(e, "cos", angle, NULL), 1.0, 1.0);
    return times(e, wave, rate * 0.5);
}

struct var_desc *lr_schedule_warmup(struct expr *e, const struct var_desc *rate_var, double rate,
                                    double steps, double start, double end)
{
    struct expr_switch s = {0};
    int dtype = rate_var ? rate_var->dtype : (int)DTYPE_FP32;
    struct var_desc *warm =
        expr_global(e, "learning_rate_warmup", &one_element, dtype, 0.0, false, "");
    struct var_desc *step = step_from(e, 0);
    struct var_desc *bound = expr_number(e, steps, DTYPE_FP32);
    expr_case(e, &s, expr_math(e, "less_than", step, bound));
    struct var_desc *rise = times(e, divided(e, step, steps), end - start);
    expr_assign(e, expr_scale(e, rise, 1.0, start), warm);
    expr_case_end(e, &s);
    expr_default(e, &s);
    expr_assign(e, rate_var ? rate_var : expr_fill(e, rate, dtype, false), warm);
    expr_case_end(e, &s);
    return warm;
}
