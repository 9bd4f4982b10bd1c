// SPDX-License-Identifier: Apache-2.0
// mul: Out = X Y as matrices. X [x1..xr] is flattened to [M,K] after x_num_col_dims dimensions, Y
// to [K,N] after y_num_col_dims; Out has shape x[:x_num_col_dims] + y[y_num_col_dims:].
//
//   forward   Out [M,N] = X [M,K] Y [K,N]
//   backward  dX [M,K] = dOut Y^T,  dY [K,N] = X^T dOut     (a gradient nobody asks for is not
//   computed)
//
// The quantisation attributes (scale_x, ...) only matter to MKL-DNN and are carried for programs.

#include "common/base/err.h"
#include "common/ops/blas.h"
#include "common/ops/op.h"

extern const struct op_def op_mul, op_mul_grad;

static const double one[] = {1};
enum { MUL_USE_MKLDNN, MUL_X_NUM_COL_DIMS, MUL_Y_NUM_COL_DIMS };
static const struct op_attr_def mul_attrs[] = {
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_INT("x_num_col_dims", 1),
    OP_ATTR_INT("y_num_col_dims", 1),
    OP_ATTR_FLOAT("scale_x", 1),
    {.name = "scale_y", .type = ATTR_FLOATS, .list = one, .list_count = 1},
    OP_ATTR_FLOAT("scale_out", 1),
    OP_ATTR_BOOL("force_fp32_output", 0),
    {.name = NULL},
};

enum { MUL_X, MUL_Y };
enum { MUL_OUT };
static const struct op_slot_def mul_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
static const struct op_slot_def mul_outputs[] = {{"Out", 0}, {NULL, 0}};

enum { MUL_GRAD_X, MUL_GRAD_Y, MUL_GRAD_DOUT };
enum { MUL_GRAD_DX, MUL_GRAD_DY };
static const struct op_slot_def mul_grad_inputs[] = {
    {"X", 0}, {"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def mul_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Y@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

struct mul_sizes {
    int64_t m, n, k;
};

static struct mul_sizes mul_sizes(const struct op_ctx *ctx, const struct tensor *x,
                                  const struct tensor *y)
{
    int x_cols = (int)ctx->attr[MUL_X_NUM_COL_DIMS]->i,
        y_cols = (int)ctx->attr[MUL_Y_NUM_COL_DIMS]->i;
    return (struct mul_sizes){
        .m = dims_product(&x->dims, 0, x_cols),
        .k = dims_product(&x->dims, x_cols, x->dims.rank),
        .n = dims_product(&y->dims, y_cols, y->dims.rank),
    };
}

// The product of d[from..to), -1 when one of them is not known.
static int64_t known_product(const struct dims *dims, int from, int to)
{
    for (int i = from; i < to; i++)
        if (dims->d[i] < 0)
            return -1;
    return dims_product(dims, from, to);
}

static int mul_check(const struct op_shape *shape, const struct op_var_dims *x,
                     const struct op_var_dims *y)
{
    int64_t x_cols = shape->attr[MUL_X_NUM_COL_DIMS]->i,
            y_cols = shape->attr[MUL_Y_NUM_COL_DIMS]->i;
    if (x_cols < 1 || x_cols >= x->dims.rank)
        return err_set(shape->err, SL_EINVAL,
                       "x_num_col_dims %lld must be from 1 to below X's rank %d", (long long)x_cols,
                       x->dims.rank);
    if (y_cols < 1 || y_cols >= y->dims.rank)
        return err_set(shape->err, SL_EINVAL,
                       "y_num_col_dims %lld must be from 1 to below Y's rank %d", (long long)y_cols,
                       y->dims.rank);
    int64_t x_inner = known_product(&x->dims, (int)x_cols, x->dims.rank);
    int64_t y_inner = known_product(&y->dims, 0, (int)y_cols);
    if (!op_dims_fit(x_inner, y_inner))
        return err_set(shape->err, SL_EMISMATCH,
                       "inner sizes differ: X has %lld columns, Y has %lld rows",
                       (long long)x_inner, (long long)y_inner);
    return 0;
}

static int mul_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, MUL_X, 0), *y = op_shape_in(shape, MUL_Y, 0);
    int rc = mul_check(shape, x, y);
    if (rc < 0)
        return rc;
    int x_cols = (int)shape->attr[MUL_X_NUM_COL_DIMS]->i,
        y_cols = (int)shape->attr[MUL_Y_NUM_COL_DIMS]->i;
    if (x_cols + y->dims.rank - y_cols > LIMIT_RANK)
        return err_set(shape->err, SL_ELIMIT, "Out would have more than %d dimensions", LIMIT_RANK);
    struct dims out = {.rank = 0};
    for (int i = 0; i < x_cols; i++)
        out.d[out.rank++] = x->dims.d[i];
    for (int i = y_cols; i < y->dims.rank; i++)
        out.d[out.rank++] = y->dims.d[i];
    op_shape_set(shape, MUL_OUT, 0, &out, x->dtype, x);
    return 0;
}

static int mul_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, MUL_X), *y = op_in(ctx, MUL_Y);
    struct tensor *out = op_out(ctx, MUL_OUT);
    struct mul_sizes s = mul_sizes(ctx, x, y);
    if (x->dtype != y->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X is %s but Y is %s", dtype_name((int)x->dtype),
                       dtype_name((int)y->dtype));
    if (x->dtype == DTYPE_FP32)
        blas_gemm_f32(false, false, s.m, s.n, s.k, tensor_f32(x), tensor_f32(y), tensor_f32(out));
    else if (x->dtype == DTYPE_FP64)
        blas_gemm_f64(false, false, s.m, s.n, s.k, tensor_f64(x), tensor_f64(y), tensor_f64(out));
    else
        return op_bad_dtype(ctx, (int)x->dtype);
    return 0;
}

static int mul_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, MUL_GRAD_X, 0),
                             *y = op_shape_in(shape, MUL_GRAD_Y, 0);
    const struct op_var_dims *dout = op_shape_in(shape, MUL_GRAD_DOUT, 0);
    int rc = mul_check(shape, x, y);
    if (rc < 0)
        return rc;
    int x_cols = (int)shape->attr[MUL_X_NUM_COL_DIMS]->i,
        y_cols = (int)shape->attr[MUL_Y_NUM_COL_DIMS]->i;
    int64_t want = known_product(&x->dims, 0, x_cols),
            n = known_product(&y->dims, y_cols, y->dims.rank);
    want = want < 0 || n < 0 ? -1 : want * n;
    if (!op_dims_fit(known_product(&dout->dims, 0, dout->dims.rank), want))
        return err_set(shape->err, SL_EMISMATCH, "Out@GRAD has not the %lld elements of Out",
                       (long long)want);
    // As in Fluid, where gradients take their LoD only when they are computed.
    if (shape->building)
        op_shape_bare(shape);
    else
        op_shape_default(shape);
    return 0;
}

static int mul_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, MUL_GRAD_X), *y = op_in(ctx, MUL_GRAD_Y);
    const struct tensor *dout = op_in(ctx, MUL_GRAD_DOUT);
    struct tensor *dx = op_out(ctx, MUL_GRAD_DX), *dy = op_out(ctx, MUL_GRAD_DY);
    struct mul_sizes s = mul_sizes(ctx, x, y);
    if (x->dtype != y->dtype || x->dtype != dout->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X, Y and Out@GRAD have different element types");
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    bool f32 = x->dtype == DTYPE_FP32;
    if (dx != NULL && f32)
        blas_gemm_f32(false, true, s.m, s.k, s.n, tensor_f32(dout), tensor_f32(y), tensor_f32(dx));
    else if (dx != NULL)
        blas_gemm_f64(false, true, s.m, s.k, s.n, tensor_f64(dout), tensor_f64(y), tensor_f64(dx));
    if (dy != NULL && f32)
        blas_gemm_f32(true, false, s.k, s.n, s.m, tensor_f32(x), tensor_f32(dout), tensor_f32(dy));
    else if (dy != NULL)
        blas_gemm_f64(true, false, s.k, s.n, s.m, tensor_f64(x), tensor_f64(dout), tensor_f64(dy));
    return 0;
}

const struct op_def op_mul = {
    .type = "mul",
    .inputs = mul_inputs,
    .outputs = mul_outputs,
    .attrs = mul_attrs,
    .grad = {.type = "mul_grad", .inputs = "X Y Out@GRAD", .outputs = "X@GRAD Y@GRAD"},
    .infer_shape = mul_infer,
    .kernel = mul_forward,
};

const struct op_def op_mul_grad = {
    .type = "mul_grad",
    .inputs = mul_grad_inputs,
    .outputs = mul_grad_outputs,
    .attrs = mul_attrs,
    .infer_shape = mul_grad_infer,
    .kernel = mul_backward,
};
