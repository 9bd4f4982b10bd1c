// SPDX-License-Identifier: Apache-2.0
// Averages of parameters over passes/average.

#include "common/base/mem.h"
#include "common/layers/layers.h"
#include "common/passes/average.h"
#include "common/passes/expr.h"
#include "common/program/op_desc.h"

struct layers_average {
    struct average inner;
};

// The average, or NULL when something went wrong.
static sl_average *judged(sl_net *net, const char *layer, const struct expr *e, sl_average *average)
{
    if (layers_judge(net, layer, e))
        return average;
    sl_average_free(average);
    return NULL;
}

sl_average *sl_model_average(sl_net *net, double rate, int64_t min_window, int64_t max_window)
{
    struct err err = {0};
    if (!layers_ok(net, "model_average", NULL, 0))
        return NULL;
    struct expr e = layers_expr(net, OP_ROLE_OPTIMIZE, &err);
    sl_average *average = MEM_NEW(struct layers_average);
    average_model(&e, rate, min_window, max_window, &average->inner);
    return judged(net, "model_average", &e, average);
}

static sl_average *moving(sl_net *net, double decay, const sl_var *thres_steps)
{
    struct err err = {0};
    if (!layers_ok(net, "exponential_moving_average", NULL, 0))
        return NULL;
    struct expr e = layers_expr(net, OP_ROLE_OPTIMIZE, &err);
    sl_average *average = MEM_NEW(struct layers_average);
    average_moving(&e, decay, thres_steps, &average->inner);
    average_moving_update(&e, &average->inner);
    return judged(net, "exponential_moving_average", &e, average);
}

sl_average *sl_exponential_moving_average(sl_net *net, double decay)
{
    return moving(net, decay, NULL);
}

sl_average *sl_exponential_moving_average_of(sl_net *net, double decay, const sl_var *thres_steps)
{
    return layers_ok(net, "exponential_moving_average", &thres_steps, 1)
               ? moving(net, decay, thres_steps)
               : NULL;
}

sl_var *sl_autoincreased_step_counter(sl_net *net, const char *name, int64_t begin)
{
    struct err err = {0};
    if (!layers_ok(net, "autoincreased_step_counter", NULL, 0))
        return NULL;
    struct expr e = layers_expr(net, OP_ROLE_FORWARD, &err);
    struct var_desc *counter = expr_counter(&e, name ? name : "@STEP_COUNTER@", begin);
    return layers_judge(net, "autoincreased_step_counter", &e) ? counter : NULL;
}

void sl_average_free(sl_average *average)
{
    if (average == NULL)
        return;
    average_deinit(&average->inner);
    mem_free(average);
}

sl_program *sl_average_apply_program(sl_average *average)
{
    return average->inner.apply;
}

sl_program *sl_average_restore_program(sl_average *average)
{
    return average->inner.restore;
}
