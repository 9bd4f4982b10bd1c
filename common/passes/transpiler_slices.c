// SPDX-License-Identifier: Apache-2.0
// The slice_map of a plan: every parameter with its gradient, every state of the servers (cut like
// its parameter, or whole on the servers that use it), and whole on one server what only trainers
// hold. Invariant: each persistable of the single-machine program is in it once, so that servers,
// trainers and checkpoints speak of the same variables.

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/passes/params.h"
#include "common/passes/transpiler_plan.h"

static bool needs_norms(const struct transpiler *t);
static void map_pair(struct transpiler *t, const struct transpiler_pair *pair);
static void map_schedule_args(struct transpiler *t, struct map *seen, const struct op_slot *slots,
                              size_t count);
static void map_rate(struct transpiler *t, struct map *seen, const char *rate);
static void map_state(struct transpiler *t, struct map *seen, const struct op_desc *op,
                      const char *slot, const char *name);
static void map_update(struct transpiler *t, struct map *seen, const struct op_desc *op);
static void map_kept(struct transpiler *t, struct map *seen, const struct transpiler_pair *pair,
                     const struct op_slot *slots, size_t count);
static void map_trainers(struct transpiler *t, const struct map *seen);

int transpiler_slices_make(struct transpiler *t, struct err *err)
{
    const struct block *block = program_block(t->main, 0);
    struct map seen;
    map_init(&seen);
    t->slices.servers = (int)t->endpoints.count;
    t->slices.trainers = t->trainers;
    for (size_t i = 0; i < t->count; i++)
        map_pair(t, &t->pairs[i]);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        if (!transpiler_plan_is_schedule(op))
            continue;
        map_schedule_args(t, &seen, op->inputs, op->inputs_count);
        map_schedule_args(t, &seen, op->outputs, op->outputs_count);
    }
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        if (transpiler_plan_is_optimize(t, i) && transpiler_plan_is_update(t, op))
            map_update(t, &seen, op);
    }
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        const char *param = transpiler_plan_role_var(op, 0);
        const struct transpiler_pair *pair =
            transpiler_plan_is_optimize(t, i) && !transpiler_plan_is_update(t, op) && param != NULL
                ? transpiler_plan_pair_of_param(t, param)
                : NULL;
        if (pair == NULL)
            continue;
        map_kept(t, &seen, pair, op->inputs, op->inputs_count);
        map_kept(t, &seen, pair, op->outputs, op->outputs_count);
    }
    map_trainers(t, &seen);
    map_deinit(&seen);
    if (needs_norms(t))
        t->slices.phases |= SLICE_PHASE_NORMS;
    int rc = slice_map_finish(&t->slices, err);
    return rc < 0 ? err_prefix(err, "transpiler") : 0;
}

// Is a parameter cut whose update scales its step by norms of the whole?
static bool needs_norms(const struct transpiler *t)
{
    const struct block *block = program_block(t->main, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        const struct transpiler_pair *pair =
            t->sync_mode && !t->config.fluid_exact && op_desc_input1(op, "Param") != NULL &&
                    (str_eq(op->type, "lamb") || str_eq(op->type, "lars_momentum"))
                ? transpiler_plan_pair_of_param(t, op_desc_input1(op, "Param"))
                : NULL;
        if (pair != NULL && pair->count > 1)
            return true;
    }
    return false;
}

static void map_pair(struct transpiler *t, const struct transpiler_pair *pair)
{
    const struct block *block = program_block(t->main, 0);
    enum dtype dtype = (enum dtype)block_var(block, pair->param)->dtype;
    struct slice_var *param =
        slice_map_add(&t->slices, pair->param, SLICE_PARAM, NULL, dtype, &pair->dims);
    param->sparse = pair->remote;
    for (size_t k = 0; k < pair->count; k++)
        slice_var_add(param, pair->slices[k].server, pair->slices[k].row, pair->slices[k].rows,
                      pair->slices[k].param);
    struct slice_var *grad =
        slice_map_add(&t->slices, pair->grad, SLICE_GRAD, pair->param, dtype, &pair->dims);
    grad->sparse = pair->sparse;
    for (size_t k = 0; k < pair->count; k++)
        slice_var_add(grad, pair->slices[k].server, pair->slices[k].row, pair->slices[k].rows,
                      pair->slices[k].grad);
}

// A whole copy on each of the servers that hold a slice of the pair (NULL: on every server).
static void map_whole(struct transpiler *t, const struct var_desc *var,
                      const struct transpiler_pair *pair)
{
    struct slice_var *state =
        slice_map_add(&t->slices, var->name, SLICE_STATE, pair ? pair->param : NULL,
                      (enum dtype)var->dtype, &var->dims);
    int64_t rows = var->dims.rank > 0 ? var->dims.d[0] : 1;
    for (int s = 0; s < (int)t->endpoints.count; s++)
        if (pair == NULL || transpiler_plan_slice_on(pair, s) != NULL)
            slice_var_add(state, s, 0, rows, var->name);
    state->replicated = state->slices_count > 1;
}

static void map_state(struct transpiler *t, struct map *seen, const struct op_desc *op,
                      const char *slot, const char *name)
{
    const struct var_desc *var = block_var(program_block(t->main, 0), name);
    const struct transpiler_pair *pair =
        transpiler_plan_pair_of_param(t, op_desc_input1(op, "Param"));
    if (pair == NULL || var == NULL || !var->persistable || map_get(seen, name) != NULL)
        return;
    map_set(seen, name, seen);
    if (!transpiler_plan_is_cut(t, pair, op, slot, name)) {
        map_whole(t, var, pair);
        return;
    }
    struct slice_var *state = slice_map_add(&t->slices, name, SLICE_STATE, pair->param,
                                            (enum dtype)var->dtype, &var->dims);
    for (size_t k = 0; k < pair->count; k++)
        slice_var_add(state, pair->slices[k].server, pair->slices[k].row, pair->slices[k].rows,
                      name);
}

// Persistables that the learning-rate schedule reads or writes, and learning rates: on every
// server.
static void map_schedule_args(struct transpiler *t, struct map *seen, const struct op_slot *slots,
                              size_t count)
{
    const struct block *block = program_block(t->main, 0);
    for (size_t s = 0; s < count; s++) {
        for (size_t k = 0; k < slots[s].args.count; k++) {
            const struct var_desc *var = block_var(block, slots[s].args.items[k]);
            if (var == NULL || !var_desc_is_saved(var) || map_get(seen, var->name) != NULL)
                continue;
            map_set(seen, var->name, seen);
            map_whole(t, var, NULL);
        }
    }
}

// A learning rate is on the servers that update something with it (all of them, with a schedule).
static void map_rate(struct transpiler *t, struct map *seen, const char *rate)
{
    const struct block *block = program_block(t->main, 0);
    const struct var_desc *var = block_var(block, rate);
    if (var == NULL || !var_desc_is_saved(var) || map_get(seen, rate) != NULL)
        return;
    map_set(seen, rate, seen);
    struct slice_var *state =
        slice_map_add(&t->slices, rate, SLICE_STATE, NULL, (enum dtype)var->dtype, &var->dims);
    int64_t rows = var->dims.rank > 0 ? var->dims.d[0] : 1;
    for (int s = 0; s < (int)t->endpoints.count; s++) {
        bool used = false;
        for (size_t i = 0; i < block->ops_count && !used; i++) {
            const struct op_desc *op = block->ops[i];
            const struct transpiler_pair *pair =
                transpiler_plan_is_optimize(t, i) && transpiler_plan_is_update(t, op) &&
                        str_eq(op_desc_input1(op, "LearningRate"), rate)
                    ? transpiler_plan_pair_of_param(t, op_desc_input1(op, "Param"))
                    : NULL;
            used = pair != NULL && transpiler_plan_slice_on(pair, s) != NULL;
        }
        if (used)
            slice_var_add(state, s, 0, rows, rate);
    }
    state->replicated = state->slices_count > 1;
}

static void map_update(struct transpiler *t, struct map *seen, const struct op_desc *op)
{
    if (op_desc_input1(op, "LearningRate") != NULL)
        map_rate(t, seen, op_desc_input1(op, "LearningRate"));
    for (size_t s = 0; s < op->inputs_count; s++) {
        const char *slot = op->inputs[s].name;
        bool own = str_eq(slot, "Param") || str_eq(slot, "Grad") || str_eq(slot, "LearningRate");
        if (!own && op->inputs[s].args.count == 1)
            map_state(t, seen, op, slot, op->inputs[s].args.items[0]);
    }
}

// What else an operator keeps that moved to the servers with a parameter (moving averages): cut
// like the parameter when it has its shape.
static void map_kept(struct transpiler *t, struct map *seen, const struct transpiler_pair *pair,
                     const struct op_slot *slots, size_t count)
{
    const struct block *block = program_block(t->main, 0);
    for (size_t s = 0; s < count; s++) {
        for (size_t i = 0; i < slots[s].args.count; i++) {
            const struct var_desc *var = block_var(block, slots[s].args.items[i]);
            if (var == NULL || !var_desc_is_saved(var) || map_get(seen, var->name) != NULL ||
                transpiler_plan_pair_of_param(t, var->name) != NULL ||
                transpiler_plan_pair_of_grad(t, var->name) != NULL)
                continue;
            map_set(seen, var->name, seen);
            if (pair->count == 1 || !dims_equal(&var->dims, &pair->dims)) {
                map_whole(t, var, pair);
                continue;
            }
            struct slice_var *state = slice_map_add(&t->slices, var->name, SLICE_STATE, pair->param,
                                                    (enum dtype)var->dtype, &var->dims);
            for (size_t k = 0; k < pair->count; k++)
                slice_var_add(state, pair->slices[k].server, pair->slices[k].row,
                              pair->slices[k].rows, var->name);
        }
    }
}

// Sorted, so that every process deals them alike.
static void trainer_names(const struct transpiler *t, const struct map *seen, struct str_list *out)
{
    const struct block *block = program_block(t->main, 0);
    for (size_t i = 0; i < block->vars_count; i++) {
        const struct var_desc *var = block->vars[i];
        uint64_t elements;
        if (var_desc_is_saved(var) && var->kind == VAR_LOD_TENSOR && var->has_tensor &&
            dtype_is_valid(var->dtype) && dims_count(&var->dims, 1, &elements) && elements > 0 &&
            map_get(seen, var->name) == NULL &&
            transpiler_plan_pair_of_param(t, var->name) == NULL &&
            transpiler_plan_pair_of_grad(t, var->name) == NULL)
            str_list_add(out, var->name);
    }
    str_list_sort(out);
}

// Persistables that stay on the trainers, one server after another: each keeps what it loads for
// them.
static void map_trainers(struct transpiler *t, const struct map *seen)
{
    const struct block *block = program_block(t->main, 0);
    struct str_list names = {0}, params = {0};
    trainer_names(t, seen, &names);
    params_list(t->main, &params);
    for (size_t i = 0; i < names.count; i++) {
        const struct var_desc *var = block_var(block, names.items[i]);
        bool is_param = str_list_has(&params, var->name);
        struct slice_var *kept =
            slice_map_add(&t->slices, var->name, SLICE_TRAINER, is_param ? var->name : NULL,
                          (enum dtype)var->dtype, &var->dims);
        slice_var_add(kept, (int)(i % t->endpoints.count), 0,
                      var->dims.rank > 0 ? var->dims.d[0] : 1, var->name);
    }
    str_list_deinit(&names);
    str_list_deinit(&params);
}
