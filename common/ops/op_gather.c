// SPDX-License-Identifier: Apache-2.0
// Rows by number. X is [rows, row..], Index (Ids) holds n numbers in [0, rows).
//
//   gather   Out[i] = X[Index[i]]                      dX = 0, then dX[Index[i]] = dOut[i]: set
//   when
//                                                      `overwrite` (the last one stays), else added
//   scatter  Out = X, then Out[Ids[i]] = Updates[i]    dX = dOut
//            when `overwrite`; else these rows become  dUpdates[i] = dOut[Ids[i]]
//            0 first and the updates are added
//
// scatter's dX is Fluid's: rows that were written over keep their gradient.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/row_index.h"

extern const struct op_def op_gather, op_gather_grad, op_gather_scatter, op_gather_scatter_grad;

enum { GATHER_OVERWRITE };
static const struct op_attr_def overwrite_attrs[] = {
    OP_ATTR_BOOL("overwrite", 1),
    {.name = NULL},
};
enum { GATHER_X, GATHER_INDEX, GATHER_DOUT };
static const struct op_slot_def gather_inputs[] = {{"X", 0}, {"Index", 0}, {NULL, 0}};
static const struct op_slot_def gather_grad_inputs[] = {
    {"X", 0}, {"Index", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def x_grad_output[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

enum { SCATTER_X, SCATTER_IDS, SCATTER_UPDATES };
static const struct op_slot_def scatter_inputs[] = {
    {"X", 0}, {"Ids", 0}, {"Updates", 0}, {NULL, 0}};
enum { SCATTER_GRAD_DOUT, SCATTER_GRAD_IDS, SCATTER_GRAD_UPDATES };
enum { SCATTER_GRAD_DX, SCATTER_GRAD_DUPDATES };
static const struct op_slot_def scatter_grad_inputs[] = {
    {"Out@GRAD", 0}, {"Ids", 0}, {"Updates", 0}, {NULL, 0}};
static const struct op_slot_def scatter_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Updates@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static int64_t row_elements(const struct dims *dims)
{
    return dims_product(dims, 1, dims->rank);
}

static bool is_index_shape(const struct dims *index)
{
    return index->rank == 1 || (index->rank == 2 && op_dims_fit(index->d[1], 1));
}

static int gather_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, GATHER_X, 0);
    const struct op_var_dims *index = op_shape_in(shape, GATHER_INDEX, 0);
    struct dims out = x->dims;
    char text[DIMS_TEXT_MAX];
    if (!is_index_shape(&index->dims) || out.rank < 1)
        return err_set(shape->err, SL_EINVAL, "Index %s must be [n] or [n,1], and X have rows",
                       dims_format(&index->dims, text));
    out.d[0] = index->dims.d[0];
    op_shape_set(shape, 0, 0, &out, x->dtype, NULL);
    return 0;
}

static int gather_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, GATHER_X), *index = op_in(ctx, GATHER_INDEX);
    int rc = row_index_check(ctx, "Index", index, x->dims.d[0]);
    if (rc == 0)
        row_index_take(op_out(ctx, 0), x, index, row_elements(&x->dims));
    return rc;
}

static int gather_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, GATHER_X), *index = op_in(ctx, GATHER_INDEX);
    const struct tensor *dout = op_in(ctx, GATHER_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    if (dx == NULL)
        return 0;
    int64_t row = row_elements(&x->dims);
    int rc = row_index_check(ctx, "Index", index, x->dims.d[0]);
    if (rc == 0 &&
        (tensor_count(dout) != tensor_count(index) * (uint64_t)row || dout->dtype != dx->dtype))
        rc = err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the size and type of Out");
    if (rc < 0)
        return rc;
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    if (attr_bool(ctx->attr[GATHER_OVERWRITE]))
        row_index_put(dx, dout, index, row);
    else if (!row_index_add(dx, dout, index, row, -1))
        return op_bad_dtype(ctx, (int)dx->dtype);
    return 0;
}

static int scatter_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, SCATTER_X, 0);
    const struct dims *ids = &op_shape_in(shape, SCATTER_IDS, 0)->dims;
    const struct dims *updates = &op_shape_in(shape, SCATTER_UPDATES, 0)->dims;
    char text[DIMS_TEXT_MAX], x_text[DIMS_TEXT_MAX];
    bool fits = is_index_shape(ids) && x->dims.rank >= 1 && updates->rank == x->dims.rank &&
                op_dims_fit(updates->d[0], ids->d[0]);
    for (int i = 1; fits && i < updates->rank; i++)
        fits = op_dims_fit(updates->d[i], x->dims.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH,
                       "Updates %s must have a row of X %s for each of the Ids, and Ids be [n]",
                       dims_format(updates, text), dims_format(&x->dims, x_text));
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return 0;
}

static int scatter_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, SCATTER_X), *ids = op_in(ctx, SCATTER_IDS);
    const struct tensor *updates = op_in(ctx, SCATTER_UPDATES);
    struct tensor *out = op_out(ctx, 0);
    int64_t row = row_elements(&x->dims);
    int rc = row_index_check(ctx, "Ids", ids, x->dims.d[0]);
    if (rc < 0)
        return rc;
    if (updates->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Updates is %s, X %s",
                       dtype_name((int)updates->dtype), dtype_name((int)x->dtype));
    if (out->data != x->data && tensor_bytes(x) > 0)
        memcpy(out->data, x->data, tensor_bytes(x));
    if (attr_bool(ctx->attr[GATHER_OVERWRITE])) {
        row_index_put(out, updates, ids, row);
        return 0;
    }
    row_index_clear(out, ids, row);
    return row_index_add(out, updates, ids, row, -1) ? 0 : op_bad_dtype(ctx, (int)x->dtype);
}

static int scatter_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *dout = op_shape_in(shape, SCATTER_GRAD_DOUT, 0);
    const struct op_var_dims *updates = op_shape_in(shape, SCATTER_GRAD_UPDATES, 0);
    op_shape_set(shape, SCATTER_GRAD_DX, 0, &dout->dims, dout->dtype, NULL);
    op_shape_set(shape, SCATTER_GRAD_DUPDATES, 0, &updates->dims, updates->dtype, NULL);
    return 0;
}

static int scatter_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, SCATTER_GRAD_DOUT), *ids = op_in(ctx, SCATTER_GRAD_IDS);
    const struct tensor *updates = op_in(ctx, SCATTER_GRAD_UPDATES);
    struct tensor *dx = op_out(ctx, SCATTER_GRAD_DX);
    struct tensor *dupdates = op_out(ctx, SCATTER_GRAD_DUPDATES);
    int64_t row = dout->dims.rank > 0 ? row_elements(&dout->dims) : 0;
    int rc = row_index_check(ctx, "Ids", ids, dout->dims.rank > 0 ? dout->dims.d[0] : 0);
    if (rc < 0)
        return rc;
    if (tensor_count(updates) != tensor_count(ids) * (uint64_t)row || updates->dtype != dout->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Updates has not the size and type of its rows");
    if (dupdates != NULL)
        row_index_take(dupdates, dout, ids, row);
    if (dx != NULL && dx->data != dout->data && tensor_bytes(dout) > 0)
        memcpy(dx->data, dout->data, tensor_bytes(dout));
    return 0;
}

const struct op_def op_gather = {
    .type = "gather",
    .inputs = gather_inputs,
    .outputs = out_output,
    .attrs = overwrite_attrs,
    .grad = {.type = "gather_grad", .inputs = "X Index Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = gather_infer,
    .kernel = gather_forward,
};

const struct op_def op_gather_grad = {
    .type = "gather_grad",
    .inputs = gather_grad_inputs,
    .outputs = x_grad_output,
    .attrs = overwrite_attrs,
    .kernel = gather_backward,
};

const struct op_def op_gather_scatter = {
    .type = "scatter",
    .inputs = scatter_inputs,
    .outputs = out_output,
    .attrs = overwrite_attrs,
    .grad = {.type = "scatter_grad",
             .inputs = "Ids Updates Out@GRAD",
             .outputs = "X@GRAD Updates@GRAD"},
    .infer_shape = scatter_infer,
    .kernel = scatter_forward,
};

const struct op_def op_gather_scatter_grad = {
    .type = "scatter_grad",
    .inputs = scatter_grad_inputs,
    .outputs = scatter_grad_outputs,
    .attrs = overwrite_attrs,
    .infer_shape = scatter_grad_infer,
    .kernel = scatter_backward,
};
