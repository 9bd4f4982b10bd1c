// SPDX-License-Identifier: Apache-2.0
// row_conv: each row of a sequence X [T, D] looks at itself and the rows behind it in its sequence,
// each column by itself. Filter is [length, D].
//
//   Out[t]      = sum over j of X[t + j] Filter[j],    t + j within the sequence
//   dX[t]       = sum over j of dOut[t - j] Filter[j]
//   dFilter[j]  = sum over t of X[t + j] dOut[t]
//
// X without LoD is [N, T, D]: N sequences of T rows.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op_clones.h"
#include "common/ops/sequence.h"

extern const struct op_def op_row_conv, op_row_conv_grad;

enum { ROW_X, ROW_FILTER, ROW_DOUT };
enum { ROW_DX, ROW_DFILTER };
static const struct op_attr_def row_attrs[] = {{.name = NULL}};
static const struct op_slot_def row_inputs[] = {{"X", 0}, {"Filter", 0}, {NULL, 0}};
static const struct op_slot_def row_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def row_grad_inputs[] = {
    {"X", 0}, {"Filter", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def row_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Filter@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_ROW(T, S)                                                                           \
    OP_CLONES static void add_product_##S(T *to, const T *a, const T *b, int64_t n)                \
    {                                                                                              \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) to[i] += a[i] * b[i];                 \
    }                                                                                              \
    /* one sequence of `rows` rows */                                                              \
    static void row_forward_##S(T *out, const T *x, const T *filter, int64_t rows, int64_t length, \
                                int64_t width)                                                     \
    {                                                                                              \
        for (int64_t t = 0; t < rows; t++)                                                         \
            for (int64_t j = 0; j < length && t + j < rows; j++)                                   \
                add_product_##S(out + t * width, x + (t + j) * width, filter + j * width, width);  \
    }                                                                                              \
    static void row_back_##S(T *dx, T *dfilter, const T *x, const T *filter, const T *dout,        \
                             int64_t rows, int64_t length, int64_t width)                          \
    {                                                                                              \
        for (int64_t t = 0; t < rows; t++) {                                                       \
            for (int64_t j = 0; j < length && t + j < rows; j++) {                                 \
                if (dx != NULL)                                                                    \
                    add_product_##S(dx + (t + j) * width, dout + t * width, filter + j * width,    \
                                    width);                                                        \
                if (dfilter != NULL)                                                               \
                    add_product_##S(dfilter + j * width, x + (t + j) * width, dout + t * width,    \
                                    width);                                                        \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_ROW(float, f32)
DEFINE_ROW(double, f64)

static int check_dims(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, ROW_X, 0),
                             *filter = op_shape_in(shape, ROW_FILTER, 0);
    char a[DIMS_TEXT_MAX], b[DIMS_TEXT_MAX];
    int rank = x->dims.rank;
    if (rank < 2 || rank > 3 || filter->dims.rank != 2 ||
        !op_dims_fit(filter->dims.d[1], x->dims.d[rank - 1]))
        return err_set(shape->err, SL_EMISMATCH,
                       "X %s must be rows [.., width] and Filter %s [length, width]",
                       dims_format(&x->dims, a), dims_format(&filter->dims, b));
    return 0;
}

static int row_infer(struct op_shape *shape)
{
    int rc = check_dims(shape);
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

static int row_grad_infer(struct op_shape *shape)
{
    int rc = check_dims(shape);
    for (int i = 0; rc == 0 && i < op_shape_in(shape, ROW_X, 0)->dims.rank; i++) {
        const struct dims *x = &op_shape_in(shape, ROW_X, 0)->dims,
                          *dout = &op_shape_in(shape, ROW_DOUT, 0)->dims;
        if (dout->rank != x->rank || !op_dims_fit(dout->d[i], x->d[i]))
            rc = err_set(shape->err, SL_EMISMATCH, "Out@GRAD has not the shape of X");
    }
    if (rc == 0)
        op_shape_bare(shape);
    return rc;
}

// One sequence after the other: from X's LoD, or equally long ones.
struct cut {
    struct sequences s;
    int64_t each;   // rows of each; -1: as s says
    int64_t count;
    int64_t width;
};

static int read_cut(const struct op_ctx *ctx, const struct tensor *x, struct cut *out)
{
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    for (int s = ROW_FILTER; ctx->def->inputs[s].name != NULL; s++)
        if (op_in(ctx, s)->dtype != x->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "%s must have X's element type",
                           ctx->def->inputs[s].name);
    *out = (struct cut){.each = -1, .width = x->dims.d[x->dims.rank - 1]};
    if (x->lod_levels == 0 && x->dims.rank == 3) {
        out->count = x->dims.d[0];
        out->each = x->dims.d[1];
        return 0;
    }
    int rc = x->dims.rank == 2
                 ? sequence_read_only(ctx, "X", x, &out->s)
                 : err_set(ctx->err, SL_EMISMATCH, "X with LoD must be [rows, width]");
    out->count = rc < 0 ? 0 : (int64_t)out->s.count;
    return rc;
}

static int row_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, ROW_X), *filter = op_in(ctx, ROW_FILTER);
    struct tensor *out = op_out(ctx, 0);
    struct cut cut;
    int rc = read_cut(ctx, x, &cut);
    if (rc < 0)
        return rc;
    rc = sequence_check_apart(ctx, out);
    if (rc < 0)
        return rc;
    if (tensor_bytes(out) > 0)
        memset(out->data, 0, tensor_bytes(out));
    int64_t at = 0;
    for (int64_t k = 0; k < cut.count; k++) {
        int64_t rows = cut.each >= 0 ? cut.each : sequence_length(&cut.s, (size_t)k);
        if (x->dtype == DTYPE_FP32)
            row_forward_f32(tensor_f32(out) + at, tensor_f32(x) + at, tensor_f32(filter), rows,
                            filter->dims.d[0], cut.width);
        else
            row_forward_f64(tensor_f64(out) + at, tensor_f64(x) + at, tensor_f64(filter), rows,
                            filter->dims.d[0], cut.width);
        at += rows * cut.width;
    }
    return 0;
}

static int row_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, ROW_X), *filter = op_in(ctx, ROW_FILTER),
                        *dout = op_in(ctx, ROW_DOUT);
    struct tensor *dx = op_out(ctx, ROW_DX), *dfilter = op_out(ctx, ROW_DFILTER);
    struct cut cut;
    int rc = read_cut(ctx, x, &cut);
    if (rc == 0 && dx != NULL)
        rc = sequence_check_apart(ctx, dx);
    if (rc == 0 && dfilter != NULL)
        rc = sequence_check_apart(ctx, dfilter);
    if (rc < 0)
        return rc;
    if (dx != NULL && tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    if (dfilter != NULL && tensor_bytes(dfilter) > 0)
        memset(dfilter->data, 0, tensor_bytes(dfilter));
    int64_t at = 0;
    for (int64_t k = 0; k < cut.count; k++) {
        int64_t rows = cut.each >= 0 ? cut.each : sequence_length(&cut.s, (size_t)k);
        if (x->dtype == DTYPE_FP32)
            row_back_f32(dx ? tensor_f32(dx) + at : NULL, dfilter ? tensor_f32(dfilter) : NULL,
                         tensor_f32(x) + at, tensor_f32(filter), tensor_f32(dout) + at, rows,
                         filter->dims.d[0], cut.width);
        else
            row_back_f64(dx ? tensor_f64(dx) + at : NULL, dfilter ? tensor_f64(dfilter) : NULL,
                         tensor_f64(x) + at, tensor_f64(filter), tensor_f64(dout) + at, rows,
                         filter->dims.d[0], cut.width);
        at += rows * cut.width;
    }
    return 0;
}

const struct op_def op_row_conv = {
    .type = "row_conv",
    .inputs = row_inputs,
    .outputs = row_outputs,
    .attrs = row_attrs,
    .grad = {.type = "row_conv_grad",
             .inputs = "X Filter Out@GRAD",
             .outputs = "X@GRAD Filter@GRAD"},
    .infer_shape = row_infer,
    .kernel = row_forward,
};

const struct op_def op_row_conv_grad = {
    .type = "row_conv_grad",
    .inputs = row_grad_inputs,
    .outputs = row_grad_outputs,
    .attrs = row_attrs,
    .infer_shape = row_grad_infer,
    .kernel = row_backward,
};
