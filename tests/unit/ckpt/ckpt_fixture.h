// SPDX-License-Identifier: Apache-2.0
// A small model for checkpoint tests: its program, its scope, and the same cut over any number of
// servers.
#pragma once

#include "tests/unit/storage/store_fixture.h"

#include "common/ckpt/ckpt_find.h"
#include "common/ckpt/ckpt_load.h"
#include "common/ckpt/ckpt_manifest.h"
#include "common/ckpt/ckpt_save.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/exec/scope.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"
#include "common/tensor/tensor_io.h"

#define COUNTER "@LR_DECAY_COUNTER@"

struct model_var {
    const char *name, *param;
    enum slice_role role;
    enum dtype dtype;
    int rank;
    int64_t d[2];
    bool replicated;
};

// Sorted by name, as a checkpoint writes them.
static const struct model_var model_vars[] = {
    {COUNTER, NULL, SLICE_STATE, DTYPE_INT64, 1, {1, 0}, true},
    {"b", NULL, SLICE_PARAM, DTYPE_FP32, 1, {4, 0}, false},
    {"dir/w2", NULL, SLICE_PARAM, DTYPE_FP64, 2, {5, 2}, false},
    {"learning_rate_0", NULL, SLICE_STATE, DTYPE_FP32, 1, {1, 0}, true},
    {"w", NULL, SLICE_PARAM, DTYPE_FP32, 2, {7, 3}, false},
    {"w_beta1_pow_acc_0", "w", SLICE_STATE, DTYPE_FP32, 1, {1, 0}, true},
    {"w_moment1_0", "w", SLICE_STATE, DTYPE_FP32, 2, {7, 3}, false},
};
#define MODEL_VARS (sizeof model_vars / sizeof *model_vars)

static inline struct dims model_dims(const struct model_var *var)
{
    return dims_make(var->rank, var->d);
}

static inline void add_var(struct program *program, const char *name, enum dtype dtype,
                           const struct dims *dims, bool persistable)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dtype = (int)dtype;
    var->dims = *dims;
    var->has_persistable = var->persistable = persistable;
    block_add_var(program_block(program, 0), var);
}

// The main program of one process: the variables and an optimizer that reads the learning rate.
static inline struct program *model_program(void)
{
    struct program *program = program_new();
    struct dims tmp = {.rank = 2, .d = {-1, 3}};
    for (size_t i = 0; i < MODEL_VARS; i++) {
        struct dims dims = model_dims(&model_vars[i]);
        add_var(program, model_vars[i].name, model_vars[i].dtype, &dims, true);
    }
    add_var(program, "fc_0.tmp_0", DTYPE_FP32, &tmp, false);
    struct op_desc *op = op_desc_new("adam");
    op_desc_add_input(op, "LearningRate", "learning_rate_0");
    op_desc_add_input(op, "Param", "w");
    op_desc_add_output(op, "ParamOut", "w");
    block_append_op(program_block(program, 0), op);
    return program;
}

static inline void fill(struct tensor *t, float base)
{
    for (uint64_t i = 0; i < tensor_count(t); i++) {
        float value = base + (float)i;
        if (t->dtype == DTYPE_FP32)
            tensor_f32(t)[i] = value;
        else if (t->dtype == DTYPE_FP64)
            tensor_f64(t)[i] = value;
        else
            tensor_i64(t)[i] = (int64_t)value;
    }
}

// Variable i holds base + 100 i, base + 100 i + 1, ...
static inline struct scope *model_scope(float base)
{
    struct scope *scope = scope_new();
    for (size_t i = 0; i < MODEL_VARS; i++) {
        struct dims dims = model_dims(&model_vars[i]);
        struct tensor *t = variable_tensor(scope_var(scope, model_vars[i].name));
        assert_int_equal(tensor_resize(t, model_vars[i].dtype, &dims), 0);
        fill(t, base + 100 * (float)i);
    }
    return scope;
}

static inline const struct tensor *value_of(const struct scope *scope, const char *name)
{
    const struct variable *var = scope_find(scope, name);
    assert_non_null(var);
    return &var->tensor;
}

static inline bool same_values(const struct scope *a, const struct scope *b)
{
    for (size_t i = 0; i < MODEL_VARS; i++) {
        const struct tensor *x = value_of(a, model_vars[i].name),
                            *y = value_of(b, model_vars[i].name);
        if (x->dtype != y->dtype || !dims_equal(&x->dims, &y->dims) ||
            memcmp(x->data, y->data, tensor_bytes(x)) != 0)
            return false;
    }
    return true;
}

static inline struct ckpt_source *model_source(const struct scope *scope)
{
    struct str_list names = {0};
    struct ckpt_source *source = NULL;
    struct err err = {0};
    for (size_t i = MODEL_VARS; i-- > 0;)
        str_list_add(&names, model_vars[i].name);
    if (ckpt_source_scope(scope, &names, &source, &err))
        fail_msg("%s", err.text);
    str_list_deinit(&names);
    return source;
}

static inline void model_progress(int64_t step, struct ckpt_progress *out)
{
    ckpt_progress_init(out);
    out->step = step;
    out->epoch = step / 10;
    out->seed = 7;
    ckpt_progress_add_data(out, "data.txt", 4711);
}

static inline int save_model(const struct scope *scope, const char *dir, int64_t step, bool into,
                             const struct store_io *io, struct err *err)
{
    struct ckpt_source *source = model_source(scope);
    struct ckpt_progress progress;
    model_progress(step, &progress);
    struct ckpt_save_options options = {.into = into, .progress = &progress, .io = io};
    int rc = ckpt_save(source, dir, &options, NULL, err);
    ckpt_progress_deinit(&progress);
    ckpt_source_free(source);
    return rc;
}

// Rows are dealt evenly; variable i's first slice lives on server i modulo servers.
static inline void model_slices(int servers, struct slice_map *out)
{
    struct err err = {0};
    slice_map_init(out);
    out->servers = servers;
    out->trainers = 2;
    for (size_t i = 0; i < MODEL_VARS; i++) {
        const struct model_var *var = &model_vars[i];
        struct dims dims = model_dims(var);
        struct slice_var *sliced =
            slice_map_add(out, var->name, var->role, var->param, var->dtype, &dims);
        sliced->replicated = var->replicated;
        int64_t each = (dims.d[0] + servers - 1) / servers, row = 0;
        bool whole = var->replicated || !strcmp(var->name, "b") || servers == 1;
        for (int k = 0; k < servers && (row < dims.d[0] || var->replicated); k++) {
            int64_t rows = whole ? dims.d[0] : each < dims.d[0] - row ? each : dims.d[0] - row;
            // A parameter and its states are cut alike and live together; their places follow the
            // name's letter.
            int server = var->replicated
                             ? k
                             : (k + (int)strlen(var->param ? var->param : var->name)) % servers;
            char *name = whole || var->role == SLICE_STATE
                             ? mem_must_strdup(var->name)
                             : mem_must_printf("%s.block%d", var->name, k);
            slice_var_add(sliced, server, var->replicated ? 0 : row, rows, name);
            mem_free(name);
            row += rows;
        }
        struct slice_var *grad = NULL;
        if (var->role == SLICE_PARAM) {
            char *name = mem_must_printf("%s@GRAD", var->name);
            grad = slice_map_add(out, name, SLICE_GRAD, var->name, var->dtype, &dims);
            for (size_t k = 0; k < sliced->slices_count; k++) {
                char *piece = mem_must_printf("%s@GRAD%s", var->name,
                                              sliced->slices[k].name + strlen(var->name));
                slice_var_add(grad, sliced->slices[k].server, sliced->slices[k].row,
                              sliced->slices[k].rows, piece);
                mem_free(piece);
            }
            mem_free(name);
        }
    }
    if (slice_map_finish(out, &err))
        fail_msg("%s", err.text);
}

// What a server's programs declare: its slices, and persistable gradients that no file has.
static inline struct program *server_program(const struct slice_map *map, int server)
{
    struct program *program = program_new();
    for (size_t i = 0; i < map->vars_count; i++)
        for (size_t k = 0; k < map->vars[i]->slices_count; k++) {
            const struct slice *slice = &map->vars[i]->slices[k];
            if (slice->server != server)
                continue;
            struct dims dims = map->vars[i]->dims;
            dims.d[0] = slice->rows;
            add_var(program, slice->name, map->vars[i]->dtype, &dims, true);
        }
    return program;
}
