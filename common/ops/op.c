// SPDX-License-Identifier: Apache-2.0
// Helpers around struct op_def that the builder, the plan and the kernels share. Nothing here knows
// a particular op.

#include "common/ops/op.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/program/op_desc.h"

static int slot_index(const struct op_slot_def *slots, const char *name, size_t name_bytes);
static const struct op_var_dims *default_source(const struct op_shape *shape, const char *output,
                                                size_t i);
static void drop_lod(const struct op_shape *shape);

int op_input_index(const struct op_def *def, const char *slot)
{
    return slot_index(def->inputs, slot, strlen(slot));
}

int op_output_index(const struct op_def *def, const char *slot)
{
    return slot_index(def->outputs, slot, strlen(slot));
}

void op_attr_default(const struct op_attr_def *def, struct attr *out)
{
    *out = (struct attr){.name = mem_must_strdup(def->name), .type = def->type};
    switch (def->type) {
    case ATTR_FLOAT:
        out->f = (float)def->number;
        break;
    case ATTR_STRING:
        out->s = mem_must_strdup(def->string ? def->string : "");
        out->s_bytes = strlen(out->s);
        break;
    case ATTR_INTS:
    case ATTR_LONGS:
    case ATTR_BOOLEANS:
    case ATTR_BLOCKS:
        out->count = def->list_count;
        out->ints = mem_must_calloc(def->list_count + 1, sizeof *out->ints);
        for (size_t i = 0; i < def->list_count; i++)
            out->ints[i] = (int64_t)def->list[i];
        break;
    case ATTR_FLOATS:
        out->count = def->list_count;
        out->floats = mem_must_calloc(def->list_count + 1, sizeof *out->floats);
        for (size_t i = 0; i < def->list_count; i++)
            out->floats[i] = (float)def->list[i];
        break;
    case ATTR_STRINGS:
        break;
    case ATTR_INT:
    case ATTR_LONG:
    case ATTR_BOOLEAN:
    case ATTR_BLOCK:
        out->i = (int64_t)def->number;
        break;
    }
}

struct op_desc *op_grad_unary(const struct op_desc *forward, const char *type, size_t i)
{
    const struct op_slot *x = op_desc_input(forward, "X");
    const char *out = op_desc_output1(forward, "Out");
    if (x == NULL || out == NULL || i >= x->args.count)
        return NULL;
    struct op_desc *op = op_desc_new(type);
    char *dout = mem_must_printf("%s" GRAD_SUFFIX, out),
         *dx = mem_must_printf("%s" GRAD_SUFFIX, x->args.items[i]);
    op_desc_add_input(op, "X", dout);
    op_desc_add_output(op, "Out", dx);
    mem_free(dout);
    mem_free(dx);
    return op;
}

struct tensor *op_in(const struct op_ctx *ctx, int s)
{
    return op_in_at(ctx, s, 0);
}

struct tensor *op_in_at(const struct op_ctx *ctx, int s, size_t i)
{
    const struct op_args *args = &ctx->in[s];
    if (i >= args->count || args->vars[i] == NULL || args->vars[i]->kind != VARIABLE_TENSOR)
        return NULL;
    return &args->vars[i]->tensor;
}

struct tensor *op_out(const struct op_ctx *ctx, int s)
{
    return op_out_at(ctx, s, 0);
}

struct tensor *op_out_at(const struct op_ctx *ctx, int s, size_t i)
{
    const struct op_args *args = &ctx->out[s];
    if (i >= args->count || args->vars[i] == NULL)
        return NULL;
    return variable_tensor(args->vars[i]);
}

int op_resize(struct tensor *t, enum dtype dtype, const struct dims *dims, struct err *err)
{
    if (t->data != NULL && t->dtype == dtype && dims_equal(&t->dims, dims))
        return 0;
    int rc = tensor_resize(t, dtype, dims);
    if (rc < 0) {
        char text[DIMS_TEXT_MAX];
        return err_set(err, rc, "cannot size a tensor to %s %s: %s", dims_format(dims, text),
                       dtype_name((int)dtype), err_name(rc));
    }
    return 0;
}

int op_bad_dtype(const struct op_ctx *ctx, int dtype)
{
    return err_set(ctx->err, SL_EUNSUPPORTED, "element type %s is not supported",
                   dtype_name(dtype));
}

const struct op_var_dims *op_shape_in(const struct op_shape *shape, int s, size_t i)
{
    const struct op_args_dims *args = &shape->in[s];
    if (i >= args->count || args->vars[i].kind == VARIABLE_EMPTY)
        return NULL;
    return &args->vars[i];
}

struct op_var_dims *op_shape_out(const struct op_shape *shape, int s, size_t i)
{
    struct op_args_dims *args = &shape->out[s];
    return i < args->count ? &args->vars[i] : NULL;
}

void op_shape_set(const struct op_shape *shape, int s, size_t i, const struct dims *dims, int dtype,
                  const struct op_var_dims *lod_from)
{
    struct op_var_dims *out = op_shape_out(shape, s, i);
    if (out == NULL)
        return;
    out->dims = *dims;
    out->dtype = dtype;
    out->kind = VARIABLE_TENSOR;
    out->lod_from = lod_from;
    out->lod_level = lod_from ? lod_from->lod_level : 0;
    out->set = true;
}

void op_shape_copy(const struct op_shape *shape, int s, size_t i, const struct op_var_dims *from)
{
    struct op_var_dims *out = op_shape_out(shape, s, i);
    op_shape_set(shape, s, i, &from->dims, from->dtype, from);
    if (out != NULL)
        out->kind = from->kind;
}

void op_shape_default(const struct op_shape *shape)
{
    for (int s = 0; shape->def->outputs[s].name != NULL; s++) {
        for (size_t i = 0; i < shape->out[s].count; i++) {
            if (shape->out[s].vars[i].set)
                continue;
            const struct op_var_dims *from = default_source(shape, shape->def->outputs[s].name, i);
            if (from != NULL)
                op_shape_copy(shape, s, i, from);
        }
    }
}

void op_shape_bare(const struct op_shape *shape)
{
    op_shape_default(shape);
    drop_lod(shape);
}

static void drop_lod(const struct op_shape *shape)
{
    for (int s = 0; shape->def->outputs[s].name != NULL; s++) {
        for (size_t i = 0; i < shape->out[s].count; i++) {
            shape->out[s].vars[i].lod_from = NULL;
            shape->out[s].vars[i].lod_level = 0;
        }
    }
}

int op_infer(struct op_shape *shape)
{
    for (int s = 0; shape->def->inputs[s].name != NULL; s++) {
        unsigned flags = shape->def->inputs[s].flags;
        if (!(flags & (OP_SLOT_OPTIONAL | OP_SLOT_RAW)) && op_shape_in(shape, s, 0) == NULL)
            return err_set(shape->err, SL_EINVAL, "input %s is missing",
                           shape->def->inputs[s].name);
        for (size_t i = 0; i < shape->in[s].count && !(flags & (OP_SLOT_ROWS | OP_SLOT_RAW)); i++)
            if (shape->in[s].vars[i].kind == VARIABLE_SELECTED_ROWS)
                return err_set(shape->err, SL_EUNSUPPORTED,
                               "input %s is selected rows, which %s does not take",
                               shape->def->inputs[s].name, shape->def->type);
    }
    int rc = 0;
    if (shape->def->infer_shape != NULL)
        rc = shape->def->infer_shape(shape);
    else
        op_shape_default(shape);
    if (shape->def->no_lod)
        drop_lod(shape);
    return rc;
}

bool op_dims_fit(int64_t a, int64_t b)
{
    return a == b || a < 0 || b < 0;
}

int op_axis(int64_t axis, int rank)
{
    if (axis < 0)
        axis += rank;
    return axis >= 0 && axis < rank ? (int)axis : -1;
}

static int slot_index(const struct op_slot_def *slots, const char *name, size_t name_bytes)
{
    for (int s = 0; slots[s].name != NULL; s++)
        if (strlen(slots[s].name) == name_bytes && memcmp(slots[s].name, name, name_bytes) == 0)
            return s;
    return -1;
}

// The input whose shape argument i of an output takes under the default rule.
static const struct op_var_dims *default_source(const struct op_shape *shape, const char *output,
                                                size_t i)
{
    static const char *const suffixes[] = {"@GRAD", "Out"};
    for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
        if (!str_ends_with(output, suffixes[k]))
            continue;
        int s = slot_index(shape->def->inputs, output, strlen(output) - strlen(suffixes[k]));
        if (s >= 0 && op_shape_in(shape, s, i) != NULL)
            return op_shape_in(shape, s, i);
    }
    return shape->def->inputs[0].name ? op_shape_in(shape, 0, 0) : NULL;
}
