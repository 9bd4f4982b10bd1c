// SPDX-License-Identifier: Apache-2.0
// A tiny stand-in for the plan: fixed arrays, one op.

#include "tests/unit/ops/op_runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"

#define ARGS_MAX 16
#define TEMPS_MAX 16

struct op_runner {
    const struct op_def *def;
    struct attr attrs[OP_ATTRS_MAX];
    const struct attr *attr_list[OP_ATTRS_MAX];
    struct variable own[2 * OP_SLOTS_MAX][ARGS_MAX];
    struct variable *in_vars[OP_SLOTS_MAX][ARGS_MAX], *out_vars[OP_SLOTS_MAX][ARGS_MAX];
    struct op_args in[OP_SLOTS_MAX], out[OP_SLOTS_MAX];
    struct op_var_dims in_list[OP_SLOTS_MAX][ARGS_MAX], out_list[OP_SLOTS_MAX][ARGS_MAX];
    struct op_args_dims in_dims[OP_SLOTS_MAX], out_dims[OP_SLOTS_MAX];
    struct tensor temps[TEMPS_MAX];
    void *scratch;
};

static int must(int index, const char *what)
{
    if (index < 0) {
        fprintf(stderr, "op_runner: no %s\n", what);
        abort();
    }
    return index;
}

struct op_runner *op_runner_new(const char *type)
{
    struct op_runner *run = MEM_NEW(struct op_runner);
    run->def = op_table_find(type);
    must(run->def != NULL && run->def->temps <= TEMPS_MAX ? 0 : -1, type);
    run->scratch = mem_must_calloc(run->def->scratch_bytes + 1, 1);
    for (int a = 0; run->def->attrs[a].name != NULL; a++) {
        op_attr_default(&run->def->attrs[a], &run->attrs[a]);
        run->attr_list[a] = &run->attrs[a];
    }
    for (int s = 0; s < OP_SLOTS_MAX; s++) {
        run->in[s].vars = run->in_vars[s];
        run->out[s].vars = run->out_vars[s];
        run->in_dims[s].vars = run->in_list[s];
        run->out_dims[s].vars = run->out_list[s];
    }
    return run;
}

void op_runner_free(struct op_runner *run)
{
    for (int s = 0; s < 2 * OP_SLOTS_MAX; s++)
        for (int i = 0; i < ARGS_MAX; i++)
            variable_deinit(&run->own[s][i]);
    for (int a = 0; run->def->attrs[a].name != NULL; a++)
        attr_deinit(&run->attrs[a]);
    for (int i = 0; i < TEMPS_MAX; i++)
        tensor_deinit(&run->temps[i]);
    mem_free(run->scratch);
    mem_free(run);
}

static struct attr *find_attr(struct op_runner *run, const char *name)
{
    int found = -1;
    for (int a = 0; run->def->attrs[a].name != NULL; a++)
        if (str_eq(run->def->attrs[a].name, name))
            found = a;
    return &run->attrs[must(found, name)];
}

void op_runner_int(struct op_runner *run, const char *attr, int64_t value)
{
    find_attr(run, attr)->i = value;
}

void op_runner_float(struct op_runner *run, const char *attr, float value)
{
    find_attr(run, attr)->f = value;
}

void op_runner_string(struct op_runner *run, const char *attr, const char *value)
{
    struct attr *a = find_attr(run, attr);
    mem_free(a->s);
    a->s = mem_must_strdup(value);
    a->s_bytes = strlen(value);
}

void op_runner_ints(struct op_runner *run, const char *attr, const int64_t *values, size_t count)
{
    struct attr *a = find_attr(run, attr);
    mem_free(a->ints);
    a->ints = mem_must_calloc(count + 1, sizeof *a->ints);
    memcpy(a->ints, values, count * sizeof *values);
    a->count = count;
}

void op_runner_shape(struct op_runner *run, const char *slot, int dtype, int rank, const int64_t *d)
{
    int s = must(op_input_index(run->def, slot), slot);
    size_t i = run->in[s].count++;
    run->in_dims[s].count++;
    run->in_list[s][i] =
        (struct op_var_dims){.dims = dims_make(rank, d), .dtype = dtype, .kind = VARIABLE_TENSOR};
}

struct tensor *op_runner_input(struct op_runner *run, const char *slot, enum dtype dtype, int rank,
                               const int64_t *d)
{
    int s = must(op_input_index(run->def, slot), slot);
    op_runner_shape(run, slot, (int)dtype, rank, d);
    size_t i = run->in[s].count - 1;
    struct variable *var = &run->own[s][i];
    must(tensor_resize(variable_tensor(var), dtype, &run->in_list[s][i].dims), "memory");
    run->in_vars[s][i] = var;
    return &var->tensor;
}

struct selected_rows *op_runner_rows(struct op_runner *run, const char *slot, enum dtype dtype,
                                     int rank, const int64_t *d, const int64_t *rows, size_t count)
{
    int s = must(op_input_index(run->def, slot), slot);
    op_runner_shape(run, slot, (int)dtype, rank, d);
    size_t i = run->in[s].count - 1;
    struct selected_rows *sr = variable_rows(&run->own[s][i]);
    must(selected_rows_shape(sr, d[0], count, dtype, &run->in_list[s][i].dims), "memory");
    if (count > 0)
        memcpy(sr->rows, rows, count * sizeof *rows);
    run->in_list[s][i].kind = VARIABLE_SELECTED_ROWS;
    run->in_vars[s][i] = &run->own[s][i];
    return sr;
}

void op_runner_output(struct op_runner *run, const char *slot, struct variable *var)
{
    int s = must(op_output_index(run->def, slot), slot);
    size_t i = run->out[s].count++;
    run->out_dims[s].count++;
    run->out_vars[s][i] = var != NULL ? var : &run->own[OP_SLOTS_MAX + s][i];
}

void op_runner_in_place(struct op_runner *run, const char *output, const char *input)
{
    op_runner_output(run, output, run->in_vars[must(op_input_index(run->def, input), input)][0]);
}

int op_runner_infer(struct op_runner *run, struct err *err)
{
    struct op_shape shape = {.def = run->def,
                             .in = run->in_dims,
                             .out = run->out_dims,
                             .attr = run->attr_list,
                             .err = err};
    return op_infer(&shape);
}

const struct op_var_dims *op_runner_dims(const struct op_runner *run, const char *slot, size_t i)
{
    return &run->out_list[must(op_output_index(run->def, slot), slot)][i];
}

int op_runner_run(struct op_runner *run, struct err *err)
{
    struct op_ctx ctx = {.def = run->def,
                         .in = run->in,
                         .out = run->out,
                         .attr = run->attr_list,
                         .temps = run->temps,
                         .scratch = run->scratch,
                         .err = err};
    int rc = op_runner_infer(run, err);
    for (int s = 0; rc == 0 && run->def->outputs[s].name != NULL; s++)
        for (size_t i = 0; rc == 0 && i < run->out[s].count; i++)
            if (!run->def->kernel_resizes && run->out_list[s][i].set &&
                run->out_list[s][i].kind == VARIABLE_TENSOR)
                rc = op_resize(variable_tensor(run->out_vars[s][i]),
                               (enum dtype)run->out_list[s][i].dtype, &run->out_list[s][i].dims,
                               err);
    return rc < 0 ? rc : run->def->kernel(&ctx);
}

struct tensor *op_runner_result(struct op_runner *run, const char *slot, size_t i)
{
    return &run->out_vars[must(op_output_index(run->def, slot), slot)][i]->tensor;
}

struct variable *op_runner_variable(struct op_runner *run, const char *slot, size_t i)
{
    return run->out_vars[must(op_output_index(run->def, slot), slot)][i];
}
