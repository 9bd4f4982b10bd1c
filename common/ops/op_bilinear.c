// SPDX-License-Identifier: Apache-2.0
// bilinear_tensor_product. X [b, m], Y [b, n], Weight [k, m, n], Bias [1, k], Out [b, k].
//
//   forward   Out[i, s] = X[i] Weight[s] Y[i]^T + Bias[s]
//   backward  with P_s = X Weight[s] [b, n] and Q_s = Y Weight[s]^T [b, m], rows scaled by
//             dOut[., s]: dX = sum of Q_s, dY = sum of P_s over s, dWeight[s] = (scaled X)^T Y
//             dBias[s] = sum of dOut[., s]

#include <string.h>

#include "common/base/err.h"
#include "common/ops/blas.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_bilinear, op_bilinear_grad;

static const struct op_attr_def bilinear_attrs[] = {{.name = NULL}};
enum { BILINEAR_X, BILINEAR_Y, BILINEAR_WEIGHT, BILINEAR_BIAS };
static const struct op_slot_def bilinear_inputs[] = {
    {"X", 0}, {"Y", 0}, {"Weight", 0}, {"Bias", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def bilinear_outputs[] = {{"Out", 0}, {NULL, 0}};
enum { BILINEAR_DOUT = 3 };
static const struct op_slot_def bilinear_grad_inputs[] = {
    {"X", 0}, {"Y", 0}, {"Weight", 0}, {"Out@GRAD", 0}, {NULL, 0}};
enum { BILINEAR_DX, BILINEAR_DY, BILINEAR_DWEIGHT, BILINEAR_DBIAS };
static const struct op_slot_def bilinear_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL},
                                                           {"Y@GRAD", OP_SLOT_OPTIONAL},
                                                           {"Weight@GRAD", OP_SLOT_OPTIONAL},
                                                           {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                           {NULL, 0}};

struct bilinear {
    int64_t b, m, n, k;
};

#define DEFINE_BILINEAR(T, S)                                                                      \
    static void bilinear_forward_##S(T *out, const T *x, const T *y, const T *w, const T *bias,    \
                                     T *work, struct bilinear s)                                   \
    {                                                                                              \
        for (int64_t at = 0; at < s.k; at++) {                                                     \
            blas_gemm_##S(false, false, s.b, s.n, s.m, x, w + at * s.m * s.n, work);               \
            for (int64_t i = 0; i < s.b; i++) {                                                    \
                T sum = 0;                                                                         \
                for (int64_t j = 0; j < s.n; j++)                                                  \
                    sum += work[i * s.n + j] * y[i * s.n + j];                                     \
                out[i * s.k + at] = bias != NULL ? sum + bias[at] : sum;                           \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    /* to[i] += dout[i, at] from[i] for rows of `width`. */                                        \
    static void add_scaled_##S(T *to, const T *from, const T *dout, int64_t at, int64_t width,     \
                               struct bilinear s)                                                  \
    {                                                                                              \
        for (int64_t i = 0; i < s.b; i++)                                                          \
            for (int64_t j = 0; j < width; j++)                                                    \
                to[i * width + j] += dout[i * s.k + at] * from[i * width + j];                     \
    }                                                                                              \
    static void bilinear_backward_##S(T *dx, T *dy, T *dw, T *dbias, const T *x, const T *y,       \
                                      const T *w, const T *dout, T *work, struct bilinear s)       \
    {                                                                                              \
        if (dx != NULL)                                                                            \
            memset(dx, 0, (size_t)(s.b * s.m) * sizeof *dx);                                       \
        if (dy != NULL)                                                                            \
            memset(dy, 0, (size_t)(s.b * s.n) * sizeof *dy);                                       \
        for (int64_t at = 0; at < s.k; at++) {                                                     \
            const T *w_at = w + at * s.m * s.n;                                                    \
            if (dx != NULL) {                                                                      \
                blas_gemm_##S(false, true, s.b, s.m, s.n, y, w_at, work);                          \
                add_scaled_##S(dx, work, dout, at, s.m, s);                                        \
            }                                                                                      \
            if (dy != NULL) {                                                                      \
                blas_gemm_##S(false, false, s.b, s.n, s.m, x, w_at, work);                         \
                add_scaled_##S(dy, work, dout, at, s.n, s);                                        \
            }                                                                                      \
            if (dw != NULL) {                                                                      \
                memset(work, 0, (size_t)(s.b * s.m) * sizeof *work);                               \
                add_scaled_##S(work, x, dout, at, s.m, s);                                         \
                blas_gemm_##S(true, false, s.m, s.n, s.b, work, y, dw + at * s.m * s.n);           \
            }                                                                                      \
            T sum = 0;                                                                             \
            for (int64_t i = 0; i < s.b; i++)                                                      \
                sum += dout[i * s.k + at];                                                         \
            if (dbias != NULL)                                                                     \
                dbias[at] = sum;                                                                   \
        }                                                                                          \
    }

DEFINE_BILINEAR(float, f32)
DEFINE_BILINEAR(double, f64)

static int bilinear_check(const struct op_shape *shape, struct bilinear *out)
{
    const struct dims *x = &op_shape_in(shape, BILINEAR_X, 0)->dims,
                      *y = &op_shape_in(shape, BILINEAR_Y, 0)->dims,
                      *w = &op_shape_in(shape, BILINEAR_WEIGHT, 0)->dims;
    char x_text[DIMS_TEXT_MAX], y_text[DIMS_TEXT_MAX], w_text[DIMS_TEXT_MAX];
    if (x->rank != 2 || y->rank != 2 || w->rank != 3 || !op_dims_fit(x->d[0], y->d[0]) ||
        !op_dims_fit(x->d[1], w->d[1]) || !op_dims_fit(y->d[1], w->d[2]))
        return err_set(shape->err, SL_EMISMATCH,
                       "X %s, Y %s and Weight %s are not [b,m], [b,n] and [k,m,n]",
                       dims_format(x, x_text), dims_format(y, y_text), dims_format(w, w_text));
    *out = (struct bilinear){.b = x->d[0], .m = x->d[1], .n = y->d[1], .k = w->d[0]};
    return 0;
}

static int bilinear_infer(struct op_shape *shape)
{
    struct bilinear s;
    int rc = bilinear_check(shape, &s);
    if (rc < 0)
        return rc;
    const struct op_var_dims *x = op_shape_in(shape, BILINEAR_X, 0),
                             *bias = op_shape_in(shape, BILINEAR_BIAS, 0);
    char text[DIMS_TEXT_MAX];
    if (bias != NULL &&
        (bias->dims.rank != 2 || bias->dims.d[0] != 1 || !op_dims_fit(bias->dims.d[1], s.k)))
        return err_set(shape->err, SL_EMISMATCH, "Bias is %s, not [1,%lld]",
                       dims_format(&bias->dims, text), (long long)s.k);
    const int64_t out[] = {s.b, s.k};
    struct dims dims = dims_make(2, out);
    op_shape_set(shape, 0, 0, &dims, x->dtype, x);
    return 0;
}

static int bilinear_grad_infer(struct op_shape *shape)
{
    struct bilinear s;
    int rc = bilinear_check(shape, &s);
    if (rc < 0)
        return rc;
    const struct op_var_dims *dout = op_shape_in(shape, BILINEAR_DOUT, 0);
    if (dout->dims.rank != 2 || !op_dims_fit(dout->dims.d[0], s.b) ||
        !op_dims_fit(dout->dims.d[1], s.k))
        return err_set(shape->err, SL_EMISMATCH, "Out@GRAD is not [%lld,%lld]", (long long)s.b,
                       (long long)s.k);
    const int64_t row[] = {1, s.k};
    struct dims bias = dims_make(2, row);
    op_shape_set(shape, BILINEAR_DBIAS, 0, &bias, dout->dtype, NULL);
    op_shape_default(shape);
    return 0;
}

static int bilinear_begin(struct op_ctx *ctx, const int *others, struct bilinear *out)
{
    const struct tensor *x = op_in(ctx, BILINEAR_X), *y = op_in(ctx, BILINEAR_Y);
    int rc = shape_check_floats(ctx, others);
    if (rc < 0)
        return rc;
    *out = (struct bilinear){.b = x->dims.d[0],
                             .m = x->dims.d[1],
                             .n = y->dims.d[1],
                             .k = op_in(ctx, BILINEAR_WEIGHT)->dims.d[0]};
    if (out->b > INT32_MAX || out->m > INT32_MAX || out->n > INT32_MAX)
        return err_set(ctx->err, SL_ELIMIT, "a side of a matrix is longer than %d", INT32_MAX);
    const int64_t work[] = {out->b * (out->m > out->n ? out->m : out->n)};
    struct dims dims = dims_make(1, work);
    return op_resize(&ctx->temps[0], x->dtype, &dims, ctx->err);
}

static int bilinear_forward(struct op_ctx *ctx)
{
    static const int others[] = {BILINEAR_Y, BILINEAR_WEIGHT, BILINEAR_BIAS, -1};
    const struct tensor *x = op_in(ctx, BILINEAR_X), *y = op_in(ctx, BILINEAR_Y),
                        *w = op_in(ctx, BILINEAR_WEIGHT), *bias = op_in(ctx, BILINEAR_BIAS);
    struct tensor *out = op_out(ctx, 0);
    struct bilinear s;
    int rc = bilinear_begin(ctx, others, &s);
    if (rc < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        bilinear_forward_f32(tensor_f32(out), tensor_f32(x), tensor_f32(y), tensor_f32(w),
                             bias ? tensor_f32(bias) : NULL, tensor_f32(&ctx->temps[0]), s);
    else
        bilinear_forward_f64(tensor_f64(out), tensor_f64(x), tensor_f64(y), tensor_f64(w),
                             bias ? tensor_f64(bias) : NULL, tensor_f64(&ctx->temps[0]), s);
    return 0;
}

static int bilinear_backward(struct op_ctx *ctx)
{
    static const int others[] = {BILINEAR_Y, BILINEAR_WEIGHT, BILINEAR_DOUT, -1};
    const struct tensor *x = op_in(ctx, BILINEAR_X), *y = op_in(ctx, BILINEAR_Y),
                        *w = op_in(ctx, BILINEAR_WEIGHT), *dout = op_in(ctx, BILINEAR_DOUT);
    void *grads[4];
    struct bilinear s;
    int rc = bilinear_begin(ctx, others, &s);
    if (rc < 0)
        return rc;
    for (int i = 0; i < 4; i++)
        grads[i] = op_out(ctx, i) != NULL ? op_out(ctx, i)->data : NULL;
    if (x->dtype == DTYPE_FP32)
        bilinear_backward_f32(grads[BILINEAR_DX], grads[BILINEAR_DY], grads[BILINEAR_DWEIGHT],
                              grads[BILINEAR_DBIAS], tensor_f32(x), tensor_f32(y), tensor_f32(w),
                              tensor_f32(dout), tensor_f32(&ctx->temps[0]), s);
    else
        bilinear_backward_f64(grads[BILINEAR_DX], grads[BILINEAR_DY], grads[BILINEAR_DWEIGHT],
                              grads[BILINEAR_DBIAS], tensor_f64(x), tensor_f64(y), tensor_f64(w),
                              tensor_f64(dout), tensor_f64(&ctx->temps[0]), s);
    return 0;
}

const struct op_def op_bilinear = {
    .type = "bilinear_tensor_product",
    .inputs = bilinear_inputs,
    .outputs = bilinear_outputs,
    .attrs = bilinear_attrs,
    .grad = {.type = "bilinear_tensor_product_grad",
             .inputs = "X Y Weight Out@GRAD",
             .outputs = "X@GRAD Y@GRAD Weight@GRAD Bias@GRAD"},
    .infer_shape = bilinear_infer,
    .kernel = bilinear_forward,
    .temps = 1,
};

const struct op_def op_bilinear_grad = {
    .type = "bilinear_tensor_product_grad",
    .inputs = bilinear_grad_inputs,
    .outputs = bilinear_grad_outputs,
    .attrs = bilinear_attrs,
    .infer_shape = bilinear_grad_infer,
    .kernel = bilinear_backward,
    .temps = 1,
    .no_lod = true,
};
