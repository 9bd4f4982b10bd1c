// SPDX-License-Identifier: Apache-2.0
// sequence_scatter: X [N, D], and for each of its rows a sequence of Ids [rows, 1] (columns of X)
// and Updates [rows, 1] (same LoD).
//
//   Out = X;  for each i of sequence k: Out[k, Ids[i]] += Updates[i], in the order of i
//   dX = dOut;  dUpdates[i] = dOut[k, Ids[i]]

#include <string.h>

#include "common/base/err.h"
#include "common/ops/number.h"
#include "common/ops/row_index.h"
#include "common/ops/sequence.h"

extern const struct op_def op_sequence_scatter, op_sequence_scatter_grad;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { SCATTER_X, SCATTER_IDS, SCATTER_UPDATES };
static const struct op_slot_def scatter_inputs[] = {
    {"X", 0}, {"Ids", 0}, {"Updates", 0}, {NULL, 0}};
static const struct op_slot_def scatter_outputs[] = {{"Out", 0}, {NULL, 0}};
enum { GRAD_IDS, GRAD_UPDATES, GRAD_DOUT };
static const struct op_slot_def scatter_grad_inputs[] = {
    {"Ids", 0}, {"Updates", 0}, {"Out@GRAD", 0}, {NULL, 0}};
enum { GRAD_DX, GRAD_DUPDATES };
static const struct op_slot_def scatter_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Updates@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static int scatter_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, SCATTER_X, 0),
                             *ids = op_shape_in(shape, SCATTER_IDS, 0),
                             *updates = op_shape_in(shape, SCATTER_UPDATES, 0);
    if (x->dims.rank != 2 || ids->dims.rank < 1 || updates->dims.rank < 1 ||
        !op_dims_fit(ids->dims.d[0], updates->dims.d[0]))
        return err_set(shape->err, SL_EMISMATCH,
                       "X must be [N, D], Ids and Updates [rows, 1] with as many rows");
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return 0;
}

static int scatter_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *updates = op_shape_in(shape, GRAD_UPDATES, 0),
                             *dout = op_shape_in(shape, GRAD_DOUT, 0);
    if (dout->dims.rank != 2)
        return err_set(shape->err, SL_EMISMATCH, "Out@GRAD must be [N, D]");
    op_shape_set(shape, GRAD_DX, 0, &dout->dims, dout->dtype, NULL);
    op_shape_set(shape, GRAD_DUPDATES, 0, &updates->dims, updates->dtype, NULL);
    return 0;
}

// A sequence of Ids a row of x, an update an id, and every id a column of x.
static int check(const struct op_ctx *ctx, const struct tensor *x, const struct tensor *ids,
                 const struct tensor *updates, struct sequences *s)
{
    int rc = sequence_read_only(ctx, "Ids", ids, s);
    if (rc == 0 &&
        (s->count != (size_t)x->dims.d[0] || tensor_count(ids) != (uint64_t)ids->dims.d[0] ||
         tensor_count(updates) != tensor_count(ids) || updates->dtype != x->dtype))
        rc = err_set(ctx->err, SL_EMISMATCH,
                     "%zu sequences of Ids for %lld rows of X, %llu updates for %llu ids (of X's "
                     "type)",
                     s->count, (long long)x->dims.d[0], (unsigned long long)tensor_count(updates),
                     (unsigned long long)tensor_count(ids));
    return rc < 0 ? rc : row_index_check(ctx, "Ids", ids, x->dims.d[1]);
}

#define DEFINE_SCATTER(T, S)                                                                       \
    static void scatter_##S(T *out, const struct tensor *ids, const T *updates,                    \
                            const struct sequences *s, int64_t width)                              \
    {                                                                                              \
        for (size_t k = 0; k < s->count; k++, out += width)                                        \
            for (uint64_t i = s->offsets[k]; i < s->offsets[k + 1]; i++)                           \
                out[row_index_at(ids, i)] += updates[i];                                           \
    }

DEFINE_SCATTER(float, f32)
DEFINE_SCATTER(double, f64)
DEFINE_SCATTER(int32_t, i32)
DEFINE_SCATTER(int64_t, i64)

static int scatter_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, SCATTER_X), *ids = op_in(ctx, SCATTER_IDS),
                        *updates = op_in(ctx, SCATTER_UPDATES);
    struct tensor *out = op_out(ctx, 0);
    int64_t width = x->dims.d[1];
    struct sequences s;
    int rc = check(ctx, x, ids, updates, &s);
    if (rc < 0)
        return rc;
    if (tensor_bytes(x) > 0 && out->data != x->data)
        memcpy(out->data, x->data, tensor_bytes(x));
    switch (number_of(x->dtype)) {
    case NUMBER_F32:
        scatter_f32(tensor_f32(out), ids, tensor_f32(updates), &s, width);
        return 0;
    case NUMBER_F64:
        scatter_f64(tensor_f64(out), ids, tensor_f64(updates), &s, width);
        return 0;
    case NUMBER_I32:
        scatter_i32(tensor_i32(out), ids, tensor_i32(updates), &s, width);
        return 0;
    case NUMBER_I64:
        scatter_i64(tensor_i64(out), ids, tensor_i64(updates), &s, width);
        return 0;
    default:
        return op_bad_dtype(ctx, (int)x->dtype);
    }
}

static int scatter_backward(struct op_ctx *ctx)
{
    const struct tensor *ids = op_in(ctx, GRAD_IDS), *updates = op_in(ctx, GRAD_UPDATES),
                        *dout = op_in(ctx, GRAD_DOUT);
    struct tensor *dx = op_out(ctx, GRAD_DX), *dupdates = op_out(ctx, GRAD_DUPDATES);
    size_t element = dtype_bytes(dout->dtype), width = (size_t)dout->dims.d[1];
    struct sequences s;
    int rc = check(ctx, dout, ids, updates, &s);
    if (rc < 0)
        return rc;
    if (dx != NULL && tensor_bytes(dx) > 0 && dx->data != dout->data)
        memcpy(dx->data, dout->data, tensor_bytes(dx));
    for (size_t k = 0; dupdates != NULL && k < s.count; k++)
        for (uint64_t i = s.offsets[k]; i < s.offsets[k + 1]; i++)
            memcpy((char *)dupdates->data + i * element,
                   (const char *)dout->data + (k * width + (size_t)row_index_at(ids, i)) * element,
                   element);
    return 0;
}

const struct op_def op_sequence_scatter = {
    .type = "sequence_scatter",
    .inputs = scatter_inputs,
    .outputs = scatter_outputs,
    .attrs = no_attrs,
    .grad = {.type = "sequence_scatter_grad",
             .inputs = "Ids Updates Out@GRAD",
             .outputs = "X@GRAD Updates@GRAD"},
    .infer_shape = scatter_infer,
    .kernel = scatter_forward,
};

const struct op_def op_sequence_scatter_grad = {
    .type = "sequence_scatter_grad",
    .inputs = scatter_grad_inputs,
    .outputs = scatter_grad_outputs,
    .attrs = no_attrs,
    .infer_shape = scatter_grad_infer,
    .kernel = scatter_backward,
};
