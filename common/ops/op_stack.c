// SPDX-License-Identifier: Apache-2.0
// Tensors of one shape beside each other along a new dimension `axis`. Around it Y is
// [outer, count, inner], and argument k is Y[:, k, :].
//
//   stack    Y from X_0, X_1, ..        dX_k = dY[:, k, :]
//   unstack  Y_0, Y_1, .. from X        dX = the dY_k stacked
//   unbind   unstack under another name; its gradient is a stack

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

extern const struct op_def op_stack, op_stack_grad, op_stack_unstack, op_stack_unstack_grad;
extern const struct op_def op_stack_unbind;

enum { STACK_AXIS, UNSTACK_NUM };
static const struct op_attr_def stack_attrs[] = {
    OP_ATTR_INT("axis", 0),
    {.name = NULL},
};
static const struct op_attr_def unstack_attrs[] = {
    OP_ATTR_INT("axis", 0),
    {.name = "num", .type = ATTR_INT, .required = true},
    {.name = NULL},
};
static const struct op_slot_def stack_inputs[] = {{"X", OP_SLOT_LIST}, {NULL, 0}};
static const struct op_slot_def stack_outputs[] = {{"Y", 0}, {NULL, 0}};
static const struct op_slot_def stack_grad_inputs[] = {{"Y@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def stack_grad_outputs[] = {{"X@GRAD", OP_SLOT_LIST | OP_SLOT_OPTIONAL},
                                                        {NULL, 0}};
static const struct op_slot_def unstack_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def unstack_outputs[] = {{"Y", OP_SLOT_LIST}, {NULL, 0}};
static const struct op_slot_def unbind_outputs[] = {{"Out", OP_SLOT_LIST}, {NULL, 0}};
static const struct op_slot_def unstack_grad_inputs[] = {{"Y@GRAD", OP_SLOT_LIST}, {NULL, 0}};
static const struct op_slot_def unstack_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// Copies every argument of slot into its place in whole, or back.
static int copy_pieces(struct op_ctx *ctx, const struct tensor *whole, const struct op_args *pieces,
                       int axis, bool into_whole)
{
    size_t count = pieces->count, bytes = dtype_bytes(whole->dtype);
    int64_t outer = dims_product(&whole->dims, 0, axis);
    size_t run = (size_t)dims_product(&whole->dims, axis + 1, whole->dims.rank) * bytes;
    for (size_t k = 0; k < count; k++) {
        if (pieces->vars[k] == NULL)
            continue;
        const struct tensor *piece = &pieces->vars[k]->tensor;
        if (tensor_bytes(piece) != (size_t)outer * run || piece->dtype != whole->dtype)
            return err_set(ctx->err, SL_EMISMATCH,
                           "argument %zu has not the type and size of the "
                           "others",
                           k);
        for (int64_t o = 0; run > 0 && o < outer; o++) {
            char *in_whole = (char *)whole->data + ((size_t)o * count + k) * run;
            char *in_piece = (char *)piece->data + (size_t)o * run;
            memcpy(into_whole ? in_whole : in_piece, into_whole ? in_piece : in_whole, run);
        }
    }
    return 0;
}

// The axis of the whole tensor, of this rank.
static int whole_axis(const struct attr *attr, int rank, struct err *err)
{
    int axis = op_axis(attr->i, rank);
    if (axis < 0)
        return err_set(err, SL_EINVAL, "axis %lld is not within rank %d", (long long)attr->i, rank);
    return axis;
}

// Y's shape from the first of the pieces, which all must have one shape.
static int join_infer(struct op_shape *shape)
{
    const struct op_var_dims *first = op_shape_in(shape, 0, 0);
    char text[DIMS_TEXT_MAX], first_text[DIMS_TEXT_MAX];
    struct dims out = first->dims;
    if (out.rank >= LIMIT_RANK)
        return err_set(shape->err, SL_ELIMIT, "more than %d dimensions", LIMIT_RANK);
    for (size_t i = 1; i < shape->in[0].count; i++) {
        const struct op_var_dims *x = op_shape_in(shape, 0, i);
        bool fits = x != NULL && x->dims.rank == first->dims.rank;
        for (int d = 0; fits && d < first->dims.rank; d++)
            fits = op_dims_fit(x->dims.d[d], first->dims.d[d]);
        if (!fits)
            return err_set(
                shape->err, SL_EMISMATCH, "argument %zu of %s has shape %s, the first %s", i,
                shape->def->inputs[0].name, x != NULL ? dims_format(&x->dims, text) : "none",
                dims_format(&first->dims, first_text));
        for (int d = 0; d < out.rank; d++)
            if (out.d[d] < 0)
                out.d[d] = x->dims.d[d];
    }
    int axis = whole_axis(shape->attr[STACK_AXIS], out.rank + 1, shape->err);
    if (axis < 0)
        return axis;
    memmove(&out.d[axis + 1], &out.d[axis], (size_t)(out.rank - axis) * sizeof out.d[0]);
    out.d[axis] = (int64_t)shape->in[0].count;
    out.rank++;
    op_shape_set(shape, 0, 0, &out, first->dtype, shape->building || axis > 0 ? first : NULL);
    return 0;
}

static int cut_infer(struct op_shape *shape)
{
    const struct op_var_dims *whole = op_shape_in(shape, 0, 0);
    struct dims piece = whole->dims;
    size_t count = shape->out[0].count;
    int axis = whole_axis(shape->attr[STACK_AXIS], piece.rank, shape->err);
    if (axis < 0)
        return axis;
    if (!op_dims_fit(piece.d[axis], (int64_t)count) ||
        (shape->def == &op_stack_unstack && shape->attr[UNSTACK_NUM]->i != (int64_t)count))
        return err_set(shape->err, SL_EMISMATCH, "%zu outputs for a side of %lld", count,
                       (long long)piece.d[axis]);
    piece.rank--;
    memmove(&piece.d[axis], &piece.d[axis + 1], (size_t)(piece.rank - axis) * sizeof piece.d[0]);
    for (size_t i = 0; i < count; i++)
        op_shape_set(shape, 0, i, &piece, whole->dtype,
                     shape->def == &op_stack_unbind && axis > 0 ? whole : NULL);
    return 0;
}

static int join(struct op_ctx *ctx)
{
    struct tensor *whole = op_out(ctx, 0);
    if (whole == NULL)
        return 0;
    int axis = whole_axis(ctx->attr[STACK_AXIS], whole->dims.rank, ctx->err);
    for (size_t i = 0; i < ctx->in[0].count; i++)
        if (op_in_at(ctx, 0, i) == NULL)
            return err_set(ctx->err, SL_EINVAL, "argument %zu is missing", i);
    return axis < 0 ? axis : copy_pieces(ctx, whole, &ctx->in[0], axis, true);
}

static int cut(struct op_ctx *ctx)
{
    const struct tensor *whole = op_in(ctx, 0);
    int axis = whole_axis(ctx->attr[STACK_AXIS], whole->dims.rank, ctx->err);
    return axis < 0 ? axis : copy_pieces(ctx, whole, &ctx->out[0], axis, false);
}

static int unbind_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    const struct op_slot *pieces = op_desc_output(forward, "Out");
    const char *x = op_desc_input1(forward, "X");
    if (pieces == NULL || x == NULL || out_max < 1)
        return 0;
    struct op_desc *op = op_desc_new("stack");
    struct str_list names = {0};
    for (size_t i = 0; i < pieces->args.count; i++)
        str_list_addf(&names, "%s" GRAD_SUFFIX, pieces->args.items[i]);
    str_list_addf(&names, "%s" GRAD_SUFFIX, x);
    for (size_t i = 0; i < pieces->args.count; i++)
        op_desc_add_input(op, "X", names.items[i]);
    op_desc_add_output(op, "Y", names.items[pieces->args.count]);
    for (size_t i = 0; i < forward->attrs_count; i++)
        op_desc_set_attr(op, &forward->attrs[i]);
    str_list_deinit(&names);
    out[0] = op;
    return 1;
}

const struct op_def op_stack = {
    .type = "stack",
    .inputs = stack_inputs,
    .outputs = stack_outputs,
    .attrs = stack_attrs,
    .grad = {.type = "stack_grad", .inputs = "Y@GRAD", .outputs = "X@GRAD"},
    .infer_shape = join_infer,
    .kernel = join,
};

const struct op_def op_stack_grad = {
    .type = "stack_grad",
    .inputs = stack_grad_inputs,
    .outputs = stack_grad_outputs,
    .attrs = stack_attrs,
    .infer_shape = cut_infer,
    .kernel = cut,
};

const struct op_def op_stack_unstack = {
    .type = "unstack",
    .inputs = unstack_inputs,
    .outputs = unstack_outputs,
    .attrs = unstack_attrs,
    .grad = {.type = "unstack_grad", .inputs = "Y@GRAD", .outputs = "X@GRAD"},
    .infer_shape = cut_infer,
    .kernel = cut,
};

const struct op_def op_stack_unstack_grad = {
    .type = "unstack_grad",
    .inputs = unstack_grad_inputs,
    .outputs = unstack_grad_outputs,
    .attrs = unstack_attrs,
    .infer_shape = join_infer,
    .kernel = join,
};

const struct op_def op_stack_unbind = {
    .type = "unbind",
    .inputs = unstack_inputs,
    .outputs = unbind_outputs,
    .attrs = stack_attrs,
    .grad = {.make = unbind_make_grad},
    .infer_shape = cut_infer,
    .kernel = cut,
};
