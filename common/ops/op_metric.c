// SPDX-License-Identifier: Apache-2.0
// top_k and accuracy.
//
//   top_k     the k greatest of each row along the last axis, greatest first, and their positions;
//             equal values come in the order that a heap gives them, as in Fluid (for k 1: the
//             first of them).  dX = dOut at those positions
//   accuracy  Correct = rows whose Label is among their Indices; Total = rows; Accuracy = Correct /
//   Total

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_metric_top_k, op_metric_top_k_grad, op_metric_accuracy;

enum { TOP_K_K };
static const struct op_attr_def top_k_attrs[] = {
    OP_ATTR_INT("k", 1),
    {.name = NULL},
};
enum { TOP_K_X, TOP_K_TENSOR };
enum { TOP_K_OUT, TOP_K_INDICES };
static const struct op_slot_def top_k_inputs[] = {{"X", 0}, {"K", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def top_k_outputs[] = {{"Out", 0}, {"Indices", 0}, {NULL, 0}};
enum { TOP_K_GRAD_X, TOP_K_GRAD_INDICES, TOP_K_GRAD_DOUT };
static const struct op_slot_def top_k_grad_inputs[] = {
    {"X", 0}, {"Indices", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def top_k_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { ACCURACY_OUT, ACCURACY_INDICES, ACCURACY_LABEL };
enum { ACCURACY_ACCURACY, ACCURACY_CORRECT, ACCURACY_TOTAL };
static const struct op_slot_def accuracy_inputs[] = {
    {"Out", 0}, {"Indices", 0}, {"Label", 0}, {NULL, 0}};
static const struct op_slot_def accuracy_outputs[] = {
    {"Accuracy", 0}, {"Correct", 0}, {"Total", 0}, {NULL, 0}};

// A binary heap of the k greatest so far, the least of them at its root; out and indices are the
// heap. sift puts a value in the place of the root of a sub-tree: the hole sinks to a leaf along
// the lesser children (the right one when they are equal) and rises again to where the value fits.
#define DEFINE_TOP_K(T, S)                                                                         \
    static void sift_##S(T *out, int64_t *indices, int64_t hole, int64_t len, T value,             \
                         int64_t index)                                                            \
    {                                                                                              \
        int64_t top = hole;                                                                        \
        for (int64_t child = 2 * hole + 2; child <= len; child = 2 * hole + 2) {                   \
            if (child == len || out[child] > out[child - 1])                                       \
                child--;                                                                           \
            out[hole] = out[child];                                                                \
            indices[hole] = indices[child];                                                        \
            hole = child;                                                                          \
        }                                                                                          \
        for (; hole > top && out[(hole - 1) / 2] > value; hole = (hole - 1) / 2) {                 \
            out[hole] = out[(hole - 1) / 2];                                                       \
            indices[hole] = indices[(hole - 1) / 2];                                               \
        }                                                                                          \
        out[hole] = value;                                                                         \
        indices[hole] = index;                                                                     \
    }                                                                                              \
    static void top_k_row_##S(T *out, int64_t *indices, const T *x, int64_t n, int64_t k)          \
    {                                                                                              \
        for (int64_t i = 0; i < k; i++) {                                                          \
            out[i] = x[i];                                                                         \
            indices[i] = i;                                                                        \
        }                                                                                          \
        for (int64_t i = k / 2 - 1; i >= 0; i--)                                                   \
            sift_##S(out, indices, i, k, out[i], indices[i]);                                      \
        for (int64_t i = k; i < n; i++)                                                            \
            if (x[i] > out[0])                                                                     \
                sift_##S(out, indices, 0, k, x[i], i);                                             \
        for (int64_t last = k - 1; last > 0; last--) {                                             \
            T value = out[last];                                                                   \
            int64_t index = indices[last];                                                         \
            out[last] = out[0];                                                                    \
            indices[last] = indices[0];                                                            \
            sift_##S(out, indices, 0, last, value, index);                                         \
        }                                                                                          \
    }                                                                                              \
    static void top_k_forward_##S(T *out, int64_t *indices, const T *x, int64_t rows, int64_t n,   \
                                  int64_t k)                                                       \
    {                                                                                              \
        for (int64_t row = 0; row < rows; row++)                                                   \
            top_k_row_##S(out + row * k, indices + row * k, x + row * n, n, k);                    \
    }

#define DEFINE_TOP_K_GRAD(T, S)                                                                    \
    static void top_k_backward_##S(T *dx, const T *dout, const int64_t *indices, int64_t rows,     \
                                   int64_t n, int64_t k)                                           \
    {                                                                                              \
        memset(dx, 0, (size_t)(rows * n) * sizeof *dx);                                            \
        for (int64_t row = 0; row < rows; row++)                                                   \
            for (int64_t i = row * k; i < (row + 1) * k; i++)                                      \
                dx[row * n + indices[i]] = dout[i];                                                \
    }

DEFINE_TOP_K(float, f32)
DEFINE_TOP_K(double, f64)
DEFINE_TOP_K(int32_t, i32)
DEFINE_TOP_K(int64_t, i64)
DEFINE_TOP_K_GRAD(float, f32)
DEFINE_TOP_K_GRAD(double, f64)

static int top_k_check(int64_t k, const struct dims *x, struct err *err)
{
    int64_t n = x->rank > 0 ? x->d[x->rank - 1] : 0;
    if (k < 1 || (n >= 0 && k > n))
        return err_set(err, SL_EINVAL, "k %lld is not from 1 to X's last side %lld", (long long)k,
                       (long long)n);
    return 0;
}

static int top_k_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, TOP_K_X, 0);
    struct dims out = x->dims;
    int64_t k = op_shape_in(shape, TOP_K_TENSOR, 0) != NULL ? -1 : shape->attr[TOP_K_K]->i;
    int rc = k == -1 && op_shape_in(shape, TOP_K_TENSOR, 0) != NULL
                 ? 0
                 : top_k_check(k, &x->dims, shape->err);
    if (rc < 0)
        return rc;
    if (out.rank > 0)
        out.d[out.rank - 1] = k;
    op_shape_set(shape, TOP_K_OUT, 0, &out, x->dtype, x);
    op_shape_set(shape, TOP_K_INDICES, 0, &out, DTYPE_INT64, x);
    return 0;
}

static int top_k_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, TOP_K_X), *by = op_in(ctx, TOP_K_TENSOR);
    struct tensor *out = op_out(ctx, TOP_K_OUT), *indices = op_out(ctx, TOP_K_INDICES);
    int64_t k = ctx->attr[TOP_K_K]->i;
    if (by != NULL && (tensor_count(by) != 1 || by->dtype != DTYPE_INT32))
        return err_set(ctx->err, SL_EMISMATCH, "K must be one int32");
    if (by != NULL)
        k = *tensor_i32(by);
    int rc = top_k_check(k, &x->dims, ctx->err);
    if (rc < 0)
        return rc;
    struct dims dims = x->dims;
    int64_t rows = dims_product(&dims, 0, dims.rank - 1), n = dims.d[dims.rank - 1];
    dims.d[dims.rank - 1] = k;
    if ((rc = op_resize(out, x->dtype, &dims, ctx->err)) < 0 ||
        (rc = op_resize(indices, DTYPE_INT64, &dims, ctx->err)) < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        top_k_forward_f32(tensor_f32(out), tensor_i64(indices), tensor_f32(x), rows, n, k);
    else if (x->dtype == DTYPE_FP64)
        top_k_forward_f64(tensor_f64(out), tensor_i64(indices), tensor_f64(x), rows, n, k);
    else if (x->dtype == DTYPE_INT32)
        top_k_forward_i32(tensor_i32(out), tensor_i64(indices), tensor_i32(x), rows, n, k);
    else if (x->dtype == DTYPE_INT64)
        top_k_forward_i64(tensor_i64(out), tensor_i64(indices), tensor_i64(x), rows, n, k);
    else
        return op_bad_dtype(ctx, (int)x->dtype);
    return 0;
}

static int top_k_backward(struct op_ctx *ctx)
{
    const struct tensor *indices = op_in(ctx, TOP_K_GRAD_INDICES),
                        *dout = op_in(ctx, TOP_K_GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    if (dx == NULL)
        return 0;
    if (dx->dims.rank < 1)
        return err_set(ctx->err, SL_EINVAL, "X has no dimensions");
    int64_t rows = dims_product(&dx->dims, 0, dx->dims.rank - 1), n = dx->dims.d[dx->dims.rank - 1];
    int64_t k = dout->dims.rank > 0 ? dout->dims.d[dout->dims.rank - 1] : 0;
    if (indices->dtype != DTYPE_INT64 || !dims_equal(&indices->dims, &dout->dims) ||
        dout->dtype != dx->dtype || tensor_count(dout) != (uint64_t)(rows * k))
        return err_set(ctx->err, SL_EMISMATCH,
                       "Indices and Out@GRAD have not the shape that top_k gave");
    for (int64_t i = 0; i < rows * k; i++)
        if (tensor_i64(indices)[i] < 0 || tensor_i64(indices)[i] >= n)
            return err_set(ctx->err, SL_EINVAL, "Indices has %lld, not in [0,%lld)",
                           (long long)tensor_i64(indices)[i], (long long)n);
    if (tensor_count(dx) == 0)
        return 0;
    if (dx->dtype == DTYPE_FP32)
        top_k_backward_f32(tensor_f32(dx), tensor_f32(dout), tensor_i64(indices), rows, n, k);
    else if (dx->dtype == DTYPE_FP64)
        top_k_backward_f64(tensor_f64(dx), tensor_f64(dout), tensor_i64(indices), rows, n, k);
    else
        return op_bad_dtype(ctx, (int)dx->dtype);
    return 0;
}

static int accuracy_infer(struct op_shape *shape)
{
    const struct op_var_dims *indices = op_shape_in(shape, ACCURACY_INDICES, 0);
    const struct op_var_dims *label = op_shape_in(shape, ACCURACY_LABEL, 0);
    const struct dims one = {.rank = 1, .d = {1}};
    if (indices->dims.rank != 2 || label->dims.rank < 1 ||
        !op_dims_fit(indices->dims.d[0], label->dims.d[0]))
        return err_set(shape->err, SL_EMISMATCH, "Indices must be [rows, k] and Label [rows, 1]");
    op_shape_set(shape, ACCURACY_ACCURACY, 0, &one, DTYPE_FP32, NULL);
    op_shape_set(shape, ACCURACY_CORRECT, 0, &one, DTYPE_INT32, NULL);
    op_shape_set(shape, ACCURACY_TOTAL, 0, &one, DTYPE_INT32, NULL);
    return 0;
}

static int accuracy_forward(struct op_ctx *ctx)
{
    const struct tensor *indices = op_in(ctx, ACCURACY_INDICES),
                        *label = op_in(ctx, ACCURACY_LABEL);
    struct tensor *accuracy = op_out(ctx, ACCURACY_ACCURACY),
                  *correct = op_out(ctx, ACCURACY_CORRECT);
    struct tensor *total = op_out(ctx, ACCURACY_TOTAL);
    int64_t rows = indices->dims.d[0], k = indices->dims.d[1], hits = 0;
    if (indices->dtype != DTYPE_INT64 ||
        (label->dtype != DTYPE_INT64 && label->dtype != DTYPE_INT32) ||
        tensor_count(label) != (uint64_t)rows)
        return err_set(ctx->err, SL_EMISMATCH,
                       "Indices must be int64 and Label one int64 or int32 a row");
    for (int64_t row = 0; row < rows; row++) {
        int64_t want =
            label->dtype == DTYPE_INT64 ? tensor_i64(label)[row] : tensor_i32(label)[row];
        for (int64_t i = 0; i < k; i++) {
            if (tensor_i64(indices)[row * k + i] == want) {
                hits++;
                break;
            }
        }
    }
    if (accuracy != NULL)
        *tensor_f32(accuracy) = rows > 0 ? (float)hits / (float)rows : 0;
    if (correct != NULL)
        *tensor_i32(correct) = (int32_t)hits;
    if (total != NULL)
        *tensor_i32(total) = (int32_t)rows;
    return 0;
}

// dX has X's shape and no LoD.
static int top_k_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, TOP_K_GRAD_X, 0);
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return 0;
}

const struct op_def op_metric_top_k = {
    .type = "top_k",
    .inputs = top_k_inputs,
    .outputs = top_k_outputs,
    .attrs = top_k_attrs,
    .grad = {.type = "top_k_grad", .inputs = "X Indices Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = top_k_infer,
    .kernel = top_k_forward,
    .kernel_resizes = true,
};

const struct op_def op_metric_top_k_grad = {
    .type = "top_k_grad",
    .inputs = top_k_grad_inputs,
    .outputs = top_k_grad_outputs,
    .attrs = top_k_attrs,
    .infer_shape = top_k_grad_infer,
    .kernel = top_k_backward,
};

const struct op_def op_metric_accuracy = {
    .type = "accuracy",
    .inputs = accuracy_inputs,
    .outputs = accuracy_outputs,
    .attrs = no_attrs,
    .infer_shape = accuracy_infer,
    .kernel = accuracy_forward,
};
