// SPDX-License-Identifier: Apache-2.0
// transpose: side i of Out is side axis[i] of X.   dX = dOut with the inverse permutation.
//   Out[i0, i1, ..] = X[j0, j1, ..] where j[axis[k]] = i[k]
// transpose2 has XShape = [0, X's sides..] without elements; its gradient needs no X.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/strided.h"

extern const struct op_def op_transpose, op_transpose_v2, op_transpose_grad, op_transpose_v2_grad;

enum { TRANSPOSE_AXIS };
static const struct op_attr_def transpose_attrs[] = {
    {.name = "axis", .type = ATTR_INTS, .required = true},
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_STRING("data_format", "AnyLayout"),
    OP_ATTR_BOOL("use_quantizer", 0),
    {.name = NULL},
};
static const struct op_slot_def x_input[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def transpose_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def transpose2_outputs[] = {
    {"Out", 0}, {"XShape", OP_SLOT_EXTRA}, {NULL, 0}};
enum { GRAD_SHAPE_FROM, GRAD_DOUT };
static const struct op_slot_def transpose_grad_inputs[] = {
    {"X", OP_SLOT_OPTIONAL}, {"Out@GRAD", 0}, {"Out", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def transpose2_grad_inputs[] = {
    {"XShape", OP_SLOT_OPTIONAL}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static int check_axis(const struct attr *axis, int rank, struct err *err)
{
    bool seen[LIMIT_RANK] = {false};
    bool fits = axis->count == (size_t)rank;
    for (int i = 0; fits && i < rank; i++) {
        fits = axis->ints[i] >= 0 && axis->ints[i] < rank && !seen[axis->ints[i]];
        if (fits)
            seen[axis->ints[i]] = true;
    }
    if (!fits)
        return err_set(err, SL_EINVAL, "`axis` must name each of the %d dimensions once", rank);
    return 0;
}

static int transpose_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    const struct attr *axis = shape->attr[TRANSPOSE_AXIS];
    struct dims out = {.rank = x->dims.rank}, xshape = {.rank = x->dims.rank + 1};
    int rc = check_axis(axis, x->dims.rank, shape->err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < out.rank; i++)
        out.d[i] = x->dims.d[axis->ints[i]];
    op_shape_set(shape, 0, 0, &out, x->dtype, NULL);
    if (shape->def->outputs[1].name == NULL)
        return 0;
    if (xshape.rank > LIMIT_RANK)
        return err_set(shape->err, SL_ELIMIT, "X has more than %d dimensions", LIMIT_RANK - 1);
    memcpy(&xshape.d[1], x->dims.d, (size_t)x->dims.rank * sizeof xshape.d[0]);
    op_shape_set(shape, 1, 0, &xshape, x->dtype, x);
    return 0;
}

static int transpose_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *dout = op_shape_in(shape, GRAD_DOUT, 0);
    const struct attr *axis = shape->attr[TRANSPOSE_AXIS];
    struct dims dx = {.rank = dout->dims.rank};
    int rc = check_axis(axis, dx.rank, shape->err);
    for (int i = 0; rc == 0 && i < dx.rank; i++)
        dx.d[axis->ints[i]] = dout->dims.d[i];
    if (rc == 0)
        op_shape_set(shape, 0, 0, &dx, dout->dtype,
                     shape->def == &op_transpose_grad ? NULL
                                                      : op_shape_in(shape, GRAD_SHAPE_FROM, 0));
    return rc;
}

static int transpose_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    int64_t from[LIMIT_RANK], to[LIMIT_RANK];
    struct strided s = {.rank = 0};
    strided_of(&x->dims, from);
    strided_of(&out->dims, to);
    for (int i = 0; i < out->dims.rank; i++)
        strided_add_dim(&s, out->dims.d[i], to[i], from[ctx->attr[TRANSPOSE_AXIS]->ints[i]]);
    strided_copy(&s, x->dtype, out->data, x->data);
    return 0;
}

// Walks dX in memory order, as the forward pass walks Out.
static int transpose_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    int64_t from[LIMIT_RANK], to[LIMIT_RANK], inverse[LIMIT_RANK];
    struct strided s = {.rank = 0};
    if (dx == NULL)
        return 0;
    strided_of(&dout->dims, from);
    strided_of(&dx->dims, to);
    for (int i = 0; i < dx->dims.rank; i++)
        inverse[ctx->attr[TRANSPOSE_AXIS]->ints[i]] = i;
    for (int i = 0; i < dx->dims.rank; i++)
        strided_add_dim(&s, dx->dims.d[i], to[i], from[inverse[i]]);
    strided_copy(&s, dout->dtype, dx->data, dout->data);
    return 0;
}

const struct op_def op_transpose = {
    .type = "transpose",
    .inputs = x_input,
    .outputs = transpose_outputs,
    .attrs = transpose_attrs,
    .grad = {.type = "transpose_grad", .inputs = "X Out Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = transpose_infer,
    .kernel = transpose_forward,
};

const struct op_def op_transpose_v2 = {
    .type = "transpose2",
    .inputs = x_input,
    .outputs = transpose2_outputs,
    .attrs = transpose_attrs,
    .grad = {.type = "transpose2_grad", .inputs = "XShape Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = transpose_infer,
    .kernel = transpose_forward,
};

const struct op_def op_transpose_grad = {
    .type = "transpose_grad",
    .inputs = transpose_grad_inputs,
    .outputs = grad_outputs,
    .attrs = transpose_attrs,
    .infer_shape = transpose_grad_infer,
    .kernel = transpose_backward,
};

const struct op_def op_transpose_v2_grad = {
    .type = "transpose2_grad",
    .inputs = transpose2_grad_inputs,
    .outputs = grad_outputs,
    .attrs = transpose_attrs,
    .infer_shape = transpose_grad_infer,
    .kernel = transpose_backward,
};
