// SPDX-License-Identifier: Apache-2.0
// The learning-rate schedules of sluice.h over passes/lr_schedule.

#include "common/layers/layers.h"
#include "common/passes/expr.h"
#include "common/passes/lr_schedule.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

// May the schedule be built? positive must be > 0: what steps are divided by.
static bool begin(sl_net *net, const char *layer, double positive, struct err *err,
                  struct expr *out)
{
    if (!layers_ok(net, layer, NULL, 0))
        return false;
    if (!(positive > 0.0)) {
        layers_fail(net, layer, SL_EINVAL, "a number of steps must be > 0, not %g", positive);
        return false;
    }
    *out = layers_expr(net, OP_ROLE_LR_SCHED, err);
    return true;
}

static sl_var *end(sl_net *net, const char *layer, const struct expr *e, struct var_desc *rate)
{
    return layers_judge(net, layer, e) ? rate : NULL;
}

sl_var *sl_exponential_decay(sl_net *net, double learning_rate, double decay_steps,
                             double decay_rate, bool staircase)
{
    struct err err = {0};
    struct expr e;
    if (!begin(net, "exponential_decay", decay_steps, &err, &e))
        return NULL;
    return end(net, "exponential_decay", &e,
               lr_schedule_exponential(&e, learning_rate, decay_steps, decay_rate, staircase));
}

sl_var *sl_natural_exp_decay(sl_net *net, double learning_rate, double decay_steps,
                             double decay_rate, bool staircase)
{
    struct err err = {0};
    struct expr e;
    if (!begin(net, "natural_exp_decay", decay_steps, &err, &e))
        return NULL;
    return end(net, "natural_exp_decay", &e,
               lr_schedule_natural_exp(&e, learning_rate, decay_steps, decay_rate, staircase));
}

sl_var *sl_inverse_time_decay(sl_net *net, double learning_rate, double decay_steps,
                              double decay_rate, bool staircase)
{
    struct err err = {0};
    struct expr e;
    if (!begin(net, "inverse_time_decay", decay_steps, &err, &e))
        return NULL;
    return end(net, "inverse_time_decay", &e,
               lr_schedule_inverse_time(&e, learning_rate, decay_steps, decay_rate, staircase));
}

sl_var *sl_polynomial_decay(sl_net *net, double learning_rate, double decay_steps,
                            double end_learning_rate, double power, bool cycle)
{
    struct err err = {0};
    struct expr e;
    if (!begin(net, "polynomial_decay", decay_steps, &err, &e))
        return NULL;
    return end(
        net, "polynomial_decay", &e,
        lr_schedule_polynomial(&e, learning_rate, decay_steps, end_learning_rate, power, cycle));
}

sl_var *sl_piecewise_decay(sl_net *net, const double *boundaries, const double *values,
                           size_t count)
{
    struct err err = {0};
    struct expr e;
    if (!begin(net, "piecewise_decay", 1.0, &err, &e))
        return NULL;
    return end(net, "piecewise_decay", &e, lr_schedule_piecewise(&e, boundaries, values, count));
}

sl_var *sl_noam_decay(sl_net *net, double d_model, double warmup_steps, double learning_rate)
{
    struct err err = {0};
    struct expr e;
    if (!begin(net, "noam_decay", d_model < warmup_steps ? d_model : warmup_steps, &err, &e))
        return NULL;
    return end(net, "noam_decay", &e, lr_schedule_noam(&e, d_model, warmup_steps, learning_rate));
}

sl_var *sl_cosine_decay(sl_net *net, double learning_rate, double step_each_epoch, double epochs)
{
    struct err err = {0};
    struct expr e;
    if (!begin(net, "cosine_decay", step_each_epoch < epochs ? step_each_epoch : epochs, &err, &e))
        return NULL;
    return end(net, "cosine_decay", &e,
               lr_schedule_cosine(&e, learning_rate, step_each_epoch, epochs));
}

static sl_var *warmup(sl_net *net, const sl_var *rate_var, double rate, double steps, double start,
                      double stop)
{
    struct err err = {0};
    struct expr e;
    if (!begin(net, "linear_lr_warmup", steps, &err, &e))
        return NULL;
    return end(net, "linear_lr_warmup", &e,
               lr_schedule_warmup(&e, rate_var, rate, steps, start, stop));
}

sl_var *sl_linear_lr_warmup(sl_net *net, double learning_rate, double warmup_steps, double start_lr,
                            double end_lr)
{
    return warmup(net, NULL, learning_rate, warmup_steps, start_lr, end_lr);
}

sl_var *sl_linear_lr_warmup_of(sl_net *net, const sl_var *learning_rate, double warmup_steps,
                               double start_lr, double end_lr)
{
    if (!layers_ok(net, "linear_lr_warmup", (const sl_var *const[]){learning_rate}, 1))
        return NULL;
    return warmup(net, learning_rate, 0.0, warmup_steps, start_lr, end_lr);
}
