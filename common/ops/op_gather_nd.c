// SPDX-License-Identifier: Apache-2.0
// Pieces by several numbers. Index is [n.., k]: each of its rows names the piece X[i_1, .., i_k] of
// shape X.dims[k..]; with k 0 that is the whole of X.
//
//   gather_nd       Out[n..] = X[Index[n..]]                dX = 0, then dX[Index[n..]] +=
//   dOut[n..] scatter_nd_add  Out = X, then Out[Index[n..]] += Updates[n..]
//                   dX = dOut                               dUpdates[n..] = dOut[Index[n..]]
//
// The numbers become one row number each (in temps[0]); the rest is gathering rows.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/row_index.h"

extern const struct op_def op_gather_nd, op_gather_nd_grad;
extern const struct op_def op_gather_nd_scatter_add, op_gather_nd_scatter_add_grad;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { ND_X, ND_INDEX, ND_THIRD };   // the third one: Out@GRAD or Updates
static const struct op_slot_def gather_inputs[] = {{"X", 0}, {"Index", 0}, {NULL, 0}};
static const struct op_slot_def gather_grad_inputs[] = {
    {"X", 0}, {"Index", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def scatter_inputs[] = {
    {"X", 0}, {"Index", 0}, {"Updates", 0}, {NULL, 0}};
enum { ND_DOUT = 0 };
static const struct op_slot_def scatter_grad_inputs[] = {
    {"Out@GRAD", 0}, {"Index", 0}, {"Updates", 0}, {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def x_grad_output[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def scatter_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Updates@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// The shape of the pieces that index [n.., k] names in x.
static int pieces_dims(const struct dims *x, const struct dims *index, struct dims *out,
                       struct err *err)
{
    char text[DIMS_TEXT_MAX], x_text[DIMS_TEXT_MAX];
    int64_t k = index->rank > 0 ? index->d[index->rank - 1] : 0;
    if (index->rank < 2 || k < 0 || k > x->rank || index->rank - 1 + x->rank - k > LIMIT_RANK)
        return err_set(err, SL_EINVAL,
                       "Index %s must be [n.., k], with k from 0 to the rank of X %s",
                       dims_format(index, text), dims_format(x, x_text));
    *out = dims_make(index->rank - 1, index->d);
    for (int i = (int)k; i < x->rank; i++)
        out->d[out->rank++] = x->d[i];
    return 0;
}

// Row numbers of x, seen as [x.d[0] .. x.d[k-1], rest], into temps[0].
static int flatten_index(struct op_ctx *ctx, const struct dims *x, const struct tensor *index)
{
    int k = (int)index->dims.d[index->dims.rank - 1];
    int64_t count = dims_product(&index->dims, 0, index->dims.rank - 1);
    const struct dims dims = {.rank = 1, .d = {count}};
    if (index->dtype != DTYPE_INT64 && index->dtype != DTYPE_INT32)
        return err_set(ctx->err, SL_EUNSUPPORTED, "Index is %s; it must be int64 or int32",
                       dtype_name((int)index->dtype));
    int rc = op_resize(&ctx->temps[0], DTYPE_INT64, &dims, ctx->err);
    for (int64_t i = 0; rc == 0 && i < count; i++) {
        int64_t row = 0;
        for (int j = 0; j < k; j++) {
            int64_t at = row_index_at(index, (uint64_t)(i * k + j));
            if (at < 0 || at >= x->d[j])
                return err_set(ctx->err, SL_EINVAL,
                               "number %d of row %lld of Index is %lld, not in [0,%lld)", j,
                               (long long)i, (long long)at, (long long)x->d[j]);
            row = row * x->d[j] + at;
        }
        tensor_i64(&ctx->temps[0])[i] = row;
    }
    return rc;
}

// Checks shapes and flattens; *out_row is the number of elements of a piece.
static int prepare(struct op_ctx *ctx, const struct tensor *x, const struct tensor *pieces,
                   int64_t *out_row)
{
    const struct tensor *index = op_in(ctx, ND_INDEX);
    struct dims dims;
    int rc = pieces_dims(&x->dims, &index->dims, &dims, ctx->err);
    if (rc < 0)
        return rc;
    int k = (int)index->dims.d[index->dims.rank - 1];
    *out_row = dims_product(&x->dims, k, x->dims.rank);
    if (pieces->dtype != x->dtype ||
        tensor_count(pieces) != (uint64_t)dims_product(&dims, 0, dims.rank))
        return err_set(ctx->err, SL_EMISMATCH,
                       "the pieces that Index names have another type or size");
    return flatten_index(ctx, &x->dims, index);
}

static int gather_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, ND_X, 0);
    struct dims out;
    int rc = pieces_dims(&x->dims, &op_shape_in(shape, ND_INDEX, 0)->dims, &out, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &out, x->dtype,
                     shape->building || (out.rank > 0 && out.d[0] == x->dims.d[0]) ? x : NULL);
    return rc;
}

static int gather_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, ND_X);
    struct tensor *out = op_out(ctx, 0);
    int64_t row;
    int rc = prepare(ctx, x, out, &row);
    if (rc == 0)
        row_index_take(out, x, &ctx->temps[0], row);
    return rc;
}

static int gather_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, ND_THIRD);
    struct tensor *dx = op_out(ctx, 0);
    int64_t row;
    int rc = dx == NULL ? 0 : prepare(ctx, op_in(ctx, ND_X), dout, &row);
    if (rc < 0 || dx == NULL)
        return rc;
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    return row_index_add(dx, dout, &ctx->temps[0], row, -1) ? 0 : op_bad_dtype(ctx, (int)dx->dtype);
}

static int scatter_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, ND_X, 0);
    const struct dims *updates = &op_shape_in(shape, ND_THIRD, 0)->dims;
    char text[DIMS_TEXT_MAX], pieces_text[DIMS_TEXT_MAX];
    struct dims pieces;
    int rc = pieces_dims(&x->dims, &op_shape_in(shape, ND_INDEX, 0)->dims, &pieces, shape->err);
    if (rc < 0)
        return rc;
    bool fits = updates->rank == pieces.rank;
    for (int i = 0; fits && i < pieces.rank; i++)
        fits = op_dims_fit(updates->d[i], pieces.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "Updates %s must have the shape %s",
                       dims_format(updates, text), dims_format(&pieces, pieces_text));
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int scatter_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, ND_X), *updates = op_in(ctx, ND_THIRD);
    struct tensor *out = op_out(ctx, 0);
    int64_t row;
    int rc = prepare(ctx, x, updates, &row);
    if (rc < 0)
        return rc;
    if (out->data != x->data && tensor_bytes(x) > 0)
        memcpy(out->data, x->data, tensor_bytes(x));
    return row_index_add(out, updates, &ctx->temps[0], row, -1) ? 0
                                                                : op_bad_dtype(ctx, (int)x->dtype);
}

static int scatter_grad_infer(struct op_shape *shape)
{
    op_shape_copy(shape, 0, 0, op_shape_in(shape, ND_DOUT, 0));
    op_shape_copy(shape, 1, 0, op_shape_in(shape, ND_THIRD, 0));
    return 0;
}

static int scatter_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, ND_DOUT);
    struct tensor *dx = op_out(ctx, 0), *dupdates = op_out(ctx, 1);
    int64_t row;
    int rc = prepare(ctx, dout, op_in(ctx, ND_THIRD), &row);
    if (rc < 0)
        return rc;
    if (dupdates != NULL)
        row_index_take(dupdates, dout, &ctx->temps[0], row);
    if (dx != NULL && dx->data != dout->data && tensor_bytes(dout) > 0)
        memcpy(dx->data, dout->data, tensor_bytes(dout));
    return 0;
}

const struct op_def op_gather_nd = {
    .type = "gather_nd",
    .inputs = gather_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .grad = {.type = "gather_nd_grad", .inputs = "X Index Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = gather_infer,
    .kernel = gather_forward,
    .temps = 1,
};

const struct op_def op_gather_nd_grad = {
    .type = "gather_nd_grad",
    .inputs = gather_grad_inputs,
    .outputs = x_grad_output,
    .attrs = no_attrs,
    .kernel = gather_backward,
    .temps = 1,
};

const struct op_def op_gather_nd_scatter_add = {
    .type = "scatter_nd_add",
    .inputs = scatter_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .grad = {.type = "scatter_nd_add_grad",
             .inputs = "Index Updates Out@GRAD",
             .outputs = "X@GRAD Updates@GRAD"},
    .infer_shape = scatter_infer,
    .kernel = scatter_forward,
    .temps = 1,
};

const struct op_def op_gather_nd_scatter_add_grad = {
    .type = "scatter_nd_add_grad",
    .inputs = scatter_grad_inputs,
    .outputs = scatter_grad_outputs,
    .attrs = no_attrs,
    .infer_shape = scatter_grad_infer,
    .kernel = scatter_backward,
    .temps = 1,
};
