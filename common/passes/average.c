// SPDX-License-Identifier: Apache-2.0
// See average.h. Both averages know their parameters from the builder (Parameters that are not
// marked not_averaged, in the order they were made). A parameter's copy, which apply writes and
// restore reads, is a variable of the main program too, as Fluid has it, but without a shape there.

#include "common/passes/average.h"

#include "common/base/mem.h"
#include "common/passes/expr.h"
#include "common/program/program.h"
#include "common/program/unique_name.h"

#define MOVING_COUNTER "@EMA_STEP_COUNTER@"
#define MOVING_DECAY "scheduled_ema_decay_rate"

static const struct dims one_element = {.rank = 1, .d = {1}};

static void list_params(struct expr *e, const char *suffix, struct average *out);
static struct var_desc *clone_into(struct expr *to, const struct expr *from, const char *name);
static void make_restore(struct expr *e, struct average *average);

void average_deinit(struct average *average)
{
    program_free(average->apply);
    program_free(average->restore);
    str_list_deinit(&average->params);
    str_list_deinit(&average->kept);
    str_list_deinit(&average->means);
}

// ---- ModelAverage

struct model_state {
    const char *slot;   // "in_<slot>" and "out_<slot>"; the accumulator has its name too
    bool counts;        // int64 [1]
};

static const struct model_state model_states[] = {
    {"sum_1", false},
    {"sum_2", false},
    {"sum_3", false},
    {"num_accumulates", true},
    {"old_num_accumulates", true},
    {"num_updates", true},
};
#define MODEL_STATES (sizeof model_states / sizeof *model_states)
enum { SUM_1, SUM_2, SUM_3, NUM_ACCUMULATES, OLD_NUM_ACCUMULATES, NUM_UPDATES };

static void accumulate(struct expr *e, const struct var_desc *param, double rate,
                       int64_t min_window, int64_t max_window, struct str_list *states)
{
    struct op_desc *op = op_desc_new("average_accumulates");
    op_desc_add_input(op, "param", param->name);
    for (size_t i = 0; i < MODEL_STATES; i++) {
        char *key = mem_must_printf("%s_%s", param->name, model_states[i].slot);
        char *name = unique_name_next(e->names, key);
        char *in = mem_must_printf("in_%s", model_states[i].slot);
        char *out = mem_must_printf("out_%s", model_states[i].slot);
        if (model_states[i].counts)
            expr_global(e, name, &one_element, DTYPE_INT64, 0.0, false, "");
        else
            expr_global(e, name, &param->dims, param->dtype, 0.0, false, "");
        op_desc_add_input(op, in, name);
        op_desc_add_output(op, out, name);
        str_list_add(states, name);
        mem_free(key);
        mem_free(name);
        mem_free(in);
        mem_free(out);
    }
    op_desc_set_float(op, "average_window", (float)rate);
    op_desc_set_long(op, "min_average_window", min_window);
    op_desc_set_long(op, "max_average_window", max_window);
    expr_append(e, op);
}

// param = (sum_1 + sum_2 + sum_3) / (num_accumulates + old_num_accumulates), after a copy.
static void apply_model(struct expr *e, struct expr *apply, const char *param_name,
                        const char *kept_name, const struct str_list *states)
{
    struct var_desc *param = clone_into(apply, e, param_name);
    struct var_desc *kept = clone_into(apply, e, kept_name);
    const struct var_desc *state[MODEL_STATES];
    for (size_t i = 0; i < MODEL_STATES; i++)
        state[i] = clone_into(apply, e, states->items[i]);
    expr_assign(apply, param, kept);
    struct var_desc *count = expr_sum(apply, &state[NUM_ACCUMULATES], 2);
    struct var_desc *sum = expr_sum(apply, &state[SUM_1], 3);
    count = expr_cast(apply, count, DTYPE_FP32);
    sum = expr_cast(apply, sum, DTYPE_FP32);
    if (apply->rc < 0 || sum == NULL || count == NULL)
        return;
    struct op_desc *op = op_desc_new("elementwise_div");
    op_desc_add_input(op, "X", sum->name);
    op_desc_add_input(op, "Y", count->name);
    op_desc_add_output(op, "Out", param->name);
    expr_append(apply, op);
}

void average_model(struct expr *e, double rate, int64_t min_window, int64_t max_window,
                   struct average *out)
{
    list_params(e, "tmp", out);
    size_t count = out->params.count;
    struct str_list *states = mem_must_calloc(count + 1, sizeof *states);
    for (size_t i = 0; i < count && e->rc == 0; i++) {
        e->param = out->params.items[i];
        e->grad = out->kept.items[i];
        accumulate(e, block_var(e->block, e->param), rate, min_window, max_window, &states[i]);
    }
    e->param = e->grad = NULL;
    out->apply = program_new();
    struct expr apply = expr_make(out->apply, e->startup, e->names, OP_ROLE_FORWARD, e->err);
    for (size_t i = 0; i < count && e->rc == 0; i++) {
        apply_model(e, &apply, out->params.items[i], out->kept.items[i], &states[i]);
        e->rc = apply.rc;
    }
    for (size_t i = 0; i < count; i++)
        str_list_deinit(&states[i]);
    mem_free(states);
    make_restore(e, out);
}

// ---- ExponentialMovingAverage

// The mean is corrected for its beginning at 0: mean / (1 - decay^step), once there was a step.
static void apply_moving(struct expr *e, struct expr *apply, const struct var_desc *power,
                         const struct var_desc *step, const struct average *average, size_t i)
{
    struct var_desc *param = clone_into(apply, e, average->params.items[i]);
    struct var_desc *kept = clone_into(apply, e, average->kept.items[i]);
    struct var_desc *mean = clone_into(apply, e, average->means.items[i]);
    struct expr_switch s = {0};
    expr_assign(apply, param, kept);
    struct var_desc *zero = expr_number(apply, 0.0, DTYPE_FP32);
    expr_case(apply, &s, expr_math(apply, "greater_than", step, zero));
    struct var_desc *below = expr_scale(apply, power, -1.0, 1.0);
    expr_assign(apply, expr_math(apply, "elementwise_div", mean, below), mean);
    expr_case_end(apply, &s);
    expr_assign(apply, mean, param);
}

// As a learning-rate schedule: the decay is computed anew in every step.
static void schedule_decay(struct expr *outer, double decay, const struct var_desc *steps,
                           const struct var_desc *out)
{
    struct expr e = *outer;
    struct expr_switch s = {0};
    e.role = OP_ROLE_LR_SCHED;
    if (steps->dtype != DTYPE_FP32)   // 1.8.5 would divide whole numbers
        steps = expr_cast(&e, steps, DTYPE_FP32);
    struct var_desc *above = expr_scale(&e, steps, 1.0, 1.0);
    struct var_desc *now =
        expr_math(&e, "elementwise_div", above, expr_scale(&e, steps, 1.0, 10.0));
    struct var_desc *most = expr_number(&e, decay, DTYPE_FP32);
    expr_case(&e, &s, expr_math(&e, "less_than", now, most));
    expr_assign(&e, now, out);
    expr_case_end(&e, &s);
    expr_default(&e, &s);
    if (e.rc == 0) {
        const float value = (float)decay;
        const int64_t shape = 1;
        struct op_desc *op = op_desc_new("assign_value");
        op_desc_add_output(op, "Out", out->name);
        op_desc_set_ints(op, "shape", &shape, 1);
        op_desc_set_int(op, "dtype", DTYPE_FP32);
        op_desc_set_floats(op, "fp32_values", &value, 1);
        expr_append(&e, op);
    }
    expr_case_end(&e, &s);
    outer->rc = e.rc;
}

void average_moving(struct expr *e, double decay, const struct var_desc *thres_steps,
                    struct average *out)
{
    struct var_desc *rate =
        expr_global(e, MOVING_DECAY, &one_element, DTYPE_FP32, decay, false, "");
    if (thres_steps != NULL && e->rc == 0)
        schedule_decay(e, decay, thres_steps, rate);
    list_params(e, "ema_tmp", out);
    size_t count = out->params.count;
    for (size_t i = 0; i < count && e->rc == 0; i++) {
        const struct var_desc *param = block_var(e->block, out->params.items[i]);
        char *key = mem_must_printf("%s_ema", param->name);
        char *name = unique_name_next(e->names, key);
        struct dims dims = param->dims;
        expr_global(e, name, &dims, param->dtype, 0.0, false, "");
        str_list_add(&out->means, name);
        mem_free(name);
        mem_free(key);
    }
    out->apply = program_new();
    struct expr apply = expr_make(out->apply, e->startup, e->names, OP_ROLE_FORWARD, e->err);
    apply.rc = e->rc;
    const struct var_desc *step =
        expr_global(&apply, MOVING_COUNTER, &one_element, DTYPE_INT64, 0.0, false, "");
    step = expr_cast(&apply, step, DTYPE_FP32);
    const struct var_desc *power =
        expr_layer(&apply, "elementwise_pow", clone_into(&apply, e, MOVING_DECAY), step);
    for (size_t i = 0; i < count && apply.rc == 0; i++)
        apply_moving(e, &apply, power, step, out, i);
    e->rc = apply.rc;
    make_restore(e, out);
}

void average_moving_update(struct expr *e, const struct average *average)
{
    struct expr counter = *e;
    counter.role = OP_ROLE_FORWARD;
    expr_counter(&counter, MOVING_COUNTER, 1);
    e->rc = counter.rc;
    const struct var_desc *decay = block_var(e->block, MOVING_DECAY);
    for (size_t i = 0; i < average->params.count && e->rc == 0; i++) {
        const struct var_desc *param = block_var(e->block, average->params.items[i]);
        const struct var_desc *mean = block_var(e->block, average->means.items[i]);
        e->param = param->name;
        e->grad = average->kept.items[i];
        struct var_desc *old = expr_math(e, "elementwise_mul", mean, decay);
        struct var_desc *rest = expr_scale(e, decay, -1.0, 1.0);
        struct var_desc *new = expr_math(e, "elementwise_mul", param, rest);
        expr_assign(e, expr_math(e, "elementwise_add", old, new), mean);
    }
    e->param = e->grad = NULL;
}

// ---- both

// Parameters and the names of their copies, which become variables of the main program.
static void list_params(struct expr *e, const char *suffix, struct average *out)
{
    struct block *block = program_block(e->main, 0);
    for (size_t i = 0; i < block->vars_count; i++)
        if (block->vars[i]->is_parameter && !block->vars[i]->not_averaged)
            str_list_add(&out->params, block->vars[i]->name);
    for (size_t i = 0; i < out->params.count; i++) {
        const struct var_desc *param = block_var(block, out->params.items[i]);
        char *key = mem_must_printf("%s.%s", param->name, suffix);
        char *name = unique_name_next(e->names, key);
        struct var_desc *kept = var_desc_new(name);
        kept->has_tensor = true;
        kept->dtype = param->dtype;
        kept->has_lod_level = true;
        kept->has_persistable = true;
        kept->stop_gradient = true;
        block_add_var(block, kept);
        str_list_add(&out->kept, name);
        mem_free(name);
        mem_free(key);
    }
}

// The variable of from's main program in to's, persistable; made once.
static struct var_desc *clone_into(struct expr *to, const struct expr *from, const char *name)
{
    struct var_desc *known = block_var(to->block, name);
    const struct var_desc *var = block_var(program_block(from->main, 0), name);
    if (known != NULL || var == NULL)
        return known;
    struct var_desc *clone = var_desc_clone(var);
    clone->has_persistable = true;
    clone->persistable = true;
    clone->is_parameter = false;
    return block_add_var(to->block, clone);
}

static void make_restore(struct expr *e, struct average *average)
{
    average->restore = program_new();
    struct expr restore =
        expr_make(average->restore, e->startup, e->names, OP_ROLE_FORWARD, e->err);
    restore.rc = e->rc;
    for (size_t i = 0; i < average->params.count && restore.rc == 0; i++) {
        struct var_desc *kept = clone_into(&restore, e, average->kept.items[i]);
        struct var_desc *param = clone_into(&restore, e, average->params.items[i]);
        expr_assign(&restore, kept, param);
        if (param != NULL)   // Fluid infers [0] from a shape that is not known
            param->dims = (struct dims){.rank = 1};
    }
    e->rc = restore.rc;
}
