// SPDX-License-Identifier: Apache-2.0
// Choosing between tensors.
//
//   multiplex    Out[i] = X_Ids[i] [i], row by row      dX_k = 0, dX_Ids[i] [i] = dOut[i]
//   where        Out[i] = Condition[i] ? X[i] : Y[i]    dX = dOut where true, dY = dOut where false
//   ref_by_trainer_id   Out = X_TrainerId          (the servers of asynchronous training)
//   where_index  the places of Condition's true elements [count, rank], int64, in row-major order

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_select_multiplex, op_select_multiplex_grad;
extern const struct op_def op_select_where, op_select_where_grad, op_select_where_index,
    op_select_by_trainer_id;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { MULTIPLEX_IDS, MULTIPLEX_X };
static const struct op_slot_def multiplex_inputs[] = {{"Ids", 0}, {"X", OP_SLOT_LIST}, {NULL, 0}};
enum { MULTIPLEX_DOUT = 1 };
static const struct op_slot_def multiplex_grad_inputs[] = {{"Ids", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def multiplex_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_LIST | OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { WHERE_CONDITION, WHERE_X, WHERE_Y, WHERE_DOUT };
static const struct op_slot_def where_inputs[] = {{"Condition", 0}, {"X", 0}, {"Y", 0}, {NULL, 0}};
static const struct op_slot_def where_grad_inputs[] = {
    {"Condition", 0}, {"X", 0}, {"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def where_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Y@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def condition_input[] = {{"Condition", 0}, {NULL, 0}};

static bool same_dims(const struct dims *a, const struct dims *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = op_dims_fit(a->d[i], b->d[i]);
    return same;
}

static int multiplex_infer(struct op_shape *shape)
{
    const struct op_var_dims *first = op_shape_in(shape, MULTIPLEX_X, 0);
    const struct op_var_dims *ids = op_shape_in(shape, MULTIPLEX_IDS, 0);
    if (ids->dims.rank != 2 || !op_dims_fit(ids->dims.d[1], 1))
        return err_set(shape->err, SL_EINVAL, "Ids must be [n, 1]");
    if (shape->in[MULTIPLEX_X].count < 2 || first->dims.rank < 2)
        return err_set(shape->err, SL_EINVAL, "X must be two matrices or more");
    for (size_t i = 1; i < shape->in[MULTIPLEX_X].count; i++) {
        const struct op_var_dims *x = op_shape_in(shape, MULTIPLEX_X, i);
        if (x == NULL || !same_dims(&x->dims, &first->dims))
            return err_set(shape->err, SL_EMISMATCH, "argument %zu of X has not the first's shape",
                           i);
    }
    op_shape_set(shape, 0, 0, &first->dims, first->dtype, NULL);
    return 0;
}

// Ids names one of `count` tensors for each of the rows; rows without an id are an error.
static int check_ids(const struct op_ctx *ctx, const struct tensor *ids, int64_t rows, size_t count)
{
    if (ids->dtype != DTYPE_INT32 || tensor_count(ids) < (uint64_t)rows)
        return err_set(ctx->err, SL_EMISMATCH, "Ids must hold one int32 for each of %lld rows",
                       (long long)rows);
    for (int64_t i = 0; i < rows; i++)
        if (tensor_i32(ids)[i] < 0 || (size_t)tensor_i32(ids)[i] >= count)
            return err_set(ctx->err, SL_EINVAL, "id %lld is %d, there are %zu tensors",
                           (long long)i, tensor_i32(ids)[i], count);
    return 0;
}

static int multiplex_forward(struct op_ctx *ctx)
{
    const struct tensor *ids = op_in(ctx, MULTIPLEX_IDS);
    struct tensor *out = op_out(ctx, 0);
    int64_t rows = out->dims.d[0];
    size_t count = ctx->in[MULTIPLEX_X].count;
    size_t bytes = (size_t)dims_product(&out->dims, 1, out->dims.rank) * dtype_bytes(out->dtype);
    int rc = check_ids(ctx, ids, rows, count);
    for (size_t k = 0; rc == 0 && k < count; k++)
        if (op_in_at(ctx, MULTIPLEX_X, k)->dtype != out->dtype)
            rc = err_set(ctx->err, SL_EMISMATCH, "argument %zu of X has another type", k);
    for (int64_t i = 0; rc == 0 && bytes > 0 && i < rows; i++)
        memcpy((char *)out->data + (size_t)i * bytes,
               (const char *)op_in_at(ctx, MULTIPLEX_X, (size_t)tensor_i32(ids)[i])->data +
                   (size_t)i * bytes,
               bytes);
    return rc;
}

enum { REF_X, REF_TRAINER_ID };
static const struct op_slot_def ref_inputs[] = {{"X", OP_SLOT_LIST}, {"TrainerId", 0}, {NULL, 0}};

static int ref_infer(struct op_shape *shape)
{
    const struct op_var_dims *first = op_shape_in(shape, REF_X, 0);
    if (first == NULL)
        return err_set(shape->err, SL_EINVAL, "X is missing");
    op_shape_copy(shape, 0, 0, first);
    return 0;
}

static int ref_forward(struct op_ctx *ctx)
{
    const struct tensor *id = op_in(ctx, REF_TRAINER_ID);
    size_t count = ctx->in[REF_X].count;
    if (id->dtype != DTYPE_INT64 || tensor_count(id) < 1)
        return err_set(ctx->err, SL_EINVAL, "TrainerId must be one int64 number");
    if (tensor_i64(id)[0] < 0 || (uint64_t)tensor_i64(id)[0] >= count)
        return err_set(ctx->err, SL_EINVAL, "TrainerId is %lld, there are %zu tensors",
                       (long long)tensor_i64(id)[0], count);
    const struct tensor *x = op_in_at(ctx, REF_X, (size_t)tensor_i64(id)[0]);
    struct tensor *out = op_out(ctx, 0);
    if (x == NULL)
        return err_set(ctx->err, SL_EINVAL, "argument %lld of X is missing",
                       (long long)tensor_i64(id)[0]);
    int rc = op_resize(out, x->dtype, &x->dims, ctx->err);
    if (rc == 0 && out->data != x->data && tensor_bytes(x) > 0)
        memcpy(out->data, x->data, tensor_bytes(x));
    return rc;
}

static int multiplex_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *dout = op_shape_in(shape, MULTIPLEX_DOUT, 0);
    for (size_t i = 0; i < shape->out[0].count; i++)
        op_shape_set(shape, 0, i, &dout->dims, dout->dtype, NULL);
    return dout->dims.rank >= 1 ? 0 : err_set(shape->err, SL_EINVAL, "Out@GRAD has no rows");
}

static int multiplex_backward(struct op_ctx *ctx)
{
    const struct tensor *ids = op_in(ctx, MULTIPLEX_IDS), *dout = op_in(ctx, MULTIPLEX_DOUT);
    int64_t rows = dout->dims.d[0];
    size_t count = ctx->out[0].count;
    size_t bytes = (size_t)dims_product(&dout->dims, 1, dout->dims.rank) * dtype_bytes(dout->dtype);
    int rc = check_ids(ctx, ids, rows, count);
    for (size_t k = 0; rc == 0 && k < count; k++)
        if (op_out_at(ctx, 0, k) != NULL && tensor_bytes(dout) > 0)
            memset(op_out_at(ctx, 0, k)->data, 0, tensor_bytes(dout));
    for (int64_t i = 0; rc == 0 && bytes > 0 && i < rows; i++) {
        struct tensor *dx = op_out_at(ctx, 0, (size_t)tensor_i32(ids)[i]);
        if (dx != NULL)
            memcpy((char *)dx->data + (size_t)i * bytes,
                   (const char *)dout->data + (size_t)i * bytes, bytes);
    }
    return rc;
}

static int where_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, WHERE_X, 0);
    if (!same_dims(&op_shape_in(shape, WHERE_CONDITION, 0)->dims, &x->dims) ||
        !same_dims(&op_shape_in(shape, WHERE_Y, 0)->dims, &x->dims))
        return err_set(shape->err, SL_EMISMATCH, "Condition, X and Y must have one shape");
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int check_where(const struct op_ctx *ctx, const struct tensor *x, const struct tensor *y)
{
    const struct tensor *condition = op_in(ctx, WHERE_CONDITION);
    if (condition->dtype != DTYPE_BOOL || x->dtype != y->dtype ||
        tensor_count(condition) != tensor_count(x) || tensor_count(x) != tensor_count(y))
        return err_set(ctx->err, SL_EMISMATCH,
                       "Condition must be bool, and the others have one type and its size");
    return 0;
}

// out[i] = condition[i] == when ? x[i] : (y ? y[i] : 0), whatever the element type.
#define DEFINE_CHOOSE(T)                                                                           \
    static void choose_##T(T *out, const uint8_t *condition, bool when, const T *x, const T *y,    \
                           uint64_t n)                                                             \
    {                                                                                              \
        for (uint64_t i = 0; i < n; i++) {                                                         \
            T other = y != NULL ? y[i] : (T)0;                                                     \
            out[i] = (condition[i] != 0) == when ? x[i] : other;                                   \
        }                                                                                          \
    }

DEFINE_CHOOSE(uint8_t)
DEFINE_CHOOSE(uint16_t)
DEFINE_CHOOSE(uint32_t)
DEFINE_CHOOSE(uint64_t)

static void choose(const struct op_ctx *ctx, struct tensor *out, bool when, const struct tensor *x,
                   const struct tensor *y)
{
    const uint8_t *condition = op_in(ctx, WHERE_CONDITION)->data;
    const void *other = y != NULL ? y->data : NULL;
    uint64_t n = tensor_count(out);
    switch (dtype_bytes(out->dtype)) {
    case 1:
        choose_uint8_t(out->data, condition, when, x->data, other, n);
        break;
    case 2:
        choose_uint16_t(out->data, condition, when, x->data, other, n);
        break;
    case 4:
        choose_uint32_t(out->data, condition, when, x->data, other, n);
        break;
    default:
        choose_uint64_t(out->data, condition, when, x->data, other, n);
        break;
    }
}

static int where_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, WHERE_X), *y = op_in(ctx, WHERE_Y);
    int rc = check_where(ctx, x, y);
    if (rc == 0)
        choose(ctx, op_out(ctx, 0), true, x, y);
    return rc;
}

static int where_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, WHERE_DOUT);
    struct tensor *dx = op_out(ctx, 0), *dy = op_out(ctx, 1);
    int rc = check_where(ctx, dout, dx != NULL ? dx : dout);
    if (rc == 0 && dy != NULL)
        rc = check_where(ctx, dout, dy);
    if (rc == 0 && dx != NULL)
        choose(ctx, dx, true, dout, NULL);
    if (rc == 0 && dy != NULL)
        choose(ctx, dy, false, dout, NULL);
    return rc;
}

static int where_index_infer(struct op_shape *shape)
{
    const struct dims *condition = &op_shape_in(shape, 0, 0)->dims;
    const struct dims out = {.rank = 2, .d = {-1, condition->rank}};
    if (condition->rank < 1)
        return err_set(shape->err, SL_EINVAL, "Condition has no dimensions");
    op_shape_set(shape, 0, 0, &out, DTYPE_INT64, NULL);
    return 0;
}

static int where_index_forward(struct op_ctx *ctx)
{
    const struct tensor *condition = op_in(ctx, 0);
    const uint8_t *set = condition->data;
    struct tensor *out = op_out(ctx, 0);
    uint64_t n = tensor_count(condition);
    struct dims dims = {.rank = 2, .d = {0, condition->dims.rank}};
    if (condition->dtype != DTYPE_BOOL)
        return op_bad_dtype(ctx, (int)condition->dtype);
    for (uint64_t i = 0; i < n; i++)
        dims.d[0] += set[i] != 0;
    int rc = op_resize(out, DTYPE_INT64, &dims, ctx->err);
    int64_t *place = rc == 0 ? tensor_i64(out) : NULL;
    for (uint64_t i = 0; rc == 0 && i < n; i++) {
        uint64_t rest = i;
        if (set[i] == 0)
            continue;
        for (int d = condition->dims.rank - 1; d >= 0; d--) {
            place[d] = (int64_t)(rest % (uint64_t)condition->dims.d[d]);
            rest /= (uint64_t)condition->dims.d[d];
        }
        place += condition->dims.rank;
    }
    return rc;
}

const struct op_def op_select_multiplex = {
    .type = "multiplex",
    .inputs = multiplex_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .grad = {.type = "multiplex_grad", .inputs = "Ids Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = multiplex_infer,
    .kernel = multiplex_forward,
};

const struct op_def op_select_multiplex_grad = {
    .type = "multiplex_grad",
    .inputs = multiplex_grad_inputs,
    .outputs = multiplex_grad_outputs,
    .attrs = no_attrs,
    .infer_shape = multiplex_grad_infer,
    .kernel = multiplex_backward,
};

const struct op_def op_select_where = {
    .type = "where",
    .inputs = where_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .grad = {.type = "where_grad",
             .inputs = "Condition X Y Out@GRAD",
             .outputs = "X@GRAD Y@GRAD",
             .drop_attrs = true},
    .infer_shape = where_infer,
    .kernel = where_forward,
};

const struct op_def op_select_where_grad = {
    .type = "where_grad",
    .inputs = where_grad_inputs,
    .outputs = where_grad_outputs,
    .attrs = no_attrs,
    .kernel = where_backward,
    .no_lod = true,
};

const struct op_def op_select_where_index = {
    .type = "where_index",
    .inputs = condition_input,
    .outputs = out_output,
    .attrs = no_attrs,
    .infer_shape = where_index_infer,
    .kernel = where_index_forward,
    .kernel_resizes = true,
};

const struct op_def op_select_by_trainer_id = {
    .type = "ref_by_trainer_id",
    .inputs = ref_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .infer_shape = ref_infer,
    .kernel = ref_forward,
    .kernel_resizes = true,
};
