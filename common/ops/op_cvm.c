// SPDX-License-Identifier: Apache-2.0
// cvm: the first two columns of X [N, D] are counts of shows and clicks.
//
//   use_cvm   Y [N, D]: Y0 = log(X0 + 1), Y1 = log(X1 + 1) - Y0, the rest as in X
//   without   Y [N, D - 2]: X without the two columns
//   backward  dX = dY in the columns that Y has; the first two columns of dX are the row's CVM, the
//             counts themselves (whoever updates the table wants them there). A row of a sequence
//             (X with LoD) has the CVM of its sequence, otherwise its own.

#include <string.h>
#include <tgmath.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_cvm, op_cvm_grad;

#define CVM_COUNTS 2

enum { CVM_USE };
static const struct op_attr_def cvm_attrs[] = {
    OP_ATTR_BOOL("use_cvm", 1),
    {.name = NULL},
};
enum { CVM_X, CVM_CVM, CVM_DY };
static const struct op_slot_def cvm_inputs[] = {{"X", 0}, {"CVM", 0}, {NULL, 0}};
static const struct op_slot_def cvm_outputs[] = {{"Y", 0}, {NULL, 0}};
static const struct op_slot_def cvm_grad_inputs[] = {
    {"X", 0}, {"CVM", 0}, {"Y@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def cvm_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_CVM(T, S)                                                                           \
    static void cvm_forward_##S(T *y, const T *x, bool use_cvm, int64_t rows, int64_t cols)        \
    {                                                                                              \
        size_t rest = (size_t)(cols - CVM_COUNTS);                                                 \
        for (int64_t row = 0; row < rows; row++, x += cols) {                                      \
            if (use_cvm) {                                                                         \
                y[0] = log(x[0] + 1);                                                              \
                y[1] = log(x[1] + 1) - y[0];                                                       \
                y += CVM_COUNTS;                                                                   \
            }                                                                                      \
            memcpy(y, x + CVM_COUNTS, rest * sizeof *y);                                           \
            y += rest;                                                                             \
        }                                                                                          \
    }                                                                                              \
    /* the rows [0, rows) of one CVM row, or of their own (step CVM_COUNTS) */                     \
    static void cvm_backward_##S(T *dx, const T *cvm, int64_t step, const T *dy, int64_t skip,     \
                                 int64_t rows, int64_t cols)                                       \
    {                                                                                              \
        size_t rest = (size_t)(cols - CVM_COUNTS);                                                 \
        for (int64_t row = 0; row < rows; row++) {                                                 \
            memcpy(dx, cvm, CVM_COUNTS * sizeof *dx);                                              \
            memcpy(dx + CVM_COUNTS, dy + skip, rest * sizeof *dx);                                 \
            dx += cols;                                                                            \
            dy += skip + (int64_t)rest;                                                            \
            cvm += step;                                                                           \
        }                                                                                          \
    }

DEFINE_CVM(float, f32)
DEFINE_CVM(double, f64)

static int cvm_check(const struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CVM_X, 0),
                             *cvm = op_shape_in(shape, CVM_CVM, 0);
    char text[DIMS_TEXT_MAX];
    if (x->dims.rank != 2 || (x->dims.d[1] >= 0 && x->dims.d[1] < CVM_COUNTS))
        return err_set(shape->err, SL_EMISMATCH, "X must be [N,D] with D of at least 2, it is %s",
                       dims_format(&x->dims, text));
    if (cvm->dims.rank != 2 || !op_dims_fit(cvm->dims.d[1], CVM_COUNTS))
        return err_set(shape->err, SL_EMISMATCH, "CVM must be [N,2], it is %s",
                       dims_format(&cvm->dims, text));
    return 0;
}

static struct dims cvm_out(const struct op_shape *shape)
{
    struct dims y = op_shape_in(shape, CVM_X, 0)->dims;
    if (!attr_bool(shape->attr[CVM_USE]) && y.d[1] >= 0)
        y.d[1] -= CVM_COUNTS;
    return y;
}

static int cvm_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CVM_X, 0);
    int rc = cvm_check(shape);
    if (rc < 0)
        return rc;
    struct dims y = cvm_out(shape);
    op_shape_set(shape, 0, 0, &y, x->dtype, x);
    return 0;
}

static int cvm_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *dy = op_shape_in(shape, CVM_DY, 0);
    char text[DIMS_TEXT_MAX];
    int rc = cvm_check(shape);
    if (rc < 0)
        return rc;
    struct dims y = cvm_out(shape);
    if (dy->dims.rank != 2 || !op_dims_fit(dy->dims.d[0], y.d[0]) ||
        !op_dims_fit(dy->dims.d[1], y.d[1]))
        return err_set(shape->err, SL_EMISMATCH, "Y@GRAD has not the shape of Y, it is %s",
                       dims_format(&dy->dims, text));
    op_shape_default(shape);
    return 0;
}

static int cvm_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CVM_X);
    struct tensor *y = op_out(ctx, 0);
    bool use_cvm = attr_bool(ctx->attr[CVM_USE]);
    int rc = shape_check_floats(ctx, (const int[]){-1});
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        cvm_forward_f32(tensor_f32(y), tensor_f32(x), use_cvm, x->dims.d[0], x->dims.d[1]);
    else
        cvm_forward_f64(tensor_f64(y), tensor_f64(x), use_cvm, x->dims.d[0], x->dims.d[1]);
    return 0;
}

// Rows [row, row + rows) of X, whose counts begin at row cvm_row of CVM.
static void backward_rows(const struct op_ctx *ctx, int64_t row, int64_t rows, int64_t cvm_row,
                          int64_t step)
{
    const struct tensor *cvm = op_in(ctx, CVM_CVM), *dy = op_in(ctx, CVM_DY);
    struct tensor *dx = op_out(ctx, 0);
    int64_t cols = dx->dims.d[1], skip = attr_bool(ctx->attr[CVM_USE]) ? CVM_COUNTS : 0;
    int64_t dy_cols = cols - CVM_COUNTS + skip, at = cvm_row * CVM_COUNTS;
    if (dx->dtype == DTYPE_FP32)
        cvm_backward_f32(tensor_f32(dx) + row * cols, tensor_f32(cvm) + at, step,
                         tensor_f32(dy) + row * dy_cols, skip, rows, cols);
    else
        cvm_backward_f64(tensor_f64(dx) + row * cols, tensor_f64(cvm) + at, step,
                         tensor_f64(dy) + row * dy_cols, skip, rows, cols);
}

static int cvm_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CVM_X), *cvm = op_in(ctx, CVM_CVM);
    int64_t rows = x->dims.d[0], cvm_rows = cvm->dims.d[0];
    int rc = shape_check_floats(ctx, (const int[]){CVM_CVM, CVM_DY, -1});
    if (rc < 0 || op_out(ctx, 0) == NULL)
        return rc;
    const struct lod_level *lod = x->lod_levels > 0 ? &x->lod[x->lod_levels - 1] : NULL;
    int64_t wanted = lod ? (int64_t)lod->count - 1 : rows;
    if (!tensor_lod_is_valid(x))
        return err_set(ctx->err, SL_EMISMATCH, "the LoD of X does not describe its rows");
    if (cvm_rows != wanted)
        return err_set(ctx->err, SL_EMISMATCH, "CVM has %lld rows, X has %lld %s",
                       (long long)cvm_rows, (long long)wanted, lod ? "sequences" : "rows");
    if (lod == NULL) {
        backward_rows(ctx, 0, rows, 0, CVM_COUNTS);
        return 0;
    }
    for (int64_t i = 0; i < wanted; i++)
        backward_rows(ctx, (int64_t)lod->offsets[i],
                      (int64_t)(lod->offsets[i + 1] - lod->offsets[i]), i, 0);
    return 0;
}

const struct op_def op_cvm = {
    .type = "cvm",
    .inputs = cvm_inputs,
    .outputs = cvm_outputs,
    .attrs = cvm_attrs,
    .grad = {.type = "cvm_grad", .inputs = "X CVM Y@GRAD", .outputs = "X@GRAD"},
    .infer_shape = cvm_infer,
    .kernel = cvm_forward,
};

const struct op_def op_cvm_grad = {
    .type = "cvm_grad",
    .inputs = cvm_grad_inputs,
    .outputs = cvm_grad_outputs,
    .attrs = cvm_attrs,
    .infer_shape = cvm_grad_infer,
    .kernel = cvm_backward,
};
