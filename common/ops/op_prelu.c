// SPDX-License-Identifier: Apache-2.0
// prelu: Out = X > 0 ? X : alpha X, with alpha learned.
//
//   mode      Alpha's size               alpha of X[n, c, k]
//   all       1                          Alpha[0]
//   channel   C = X's second side        Alpha[c]
//   element   X's size / its first side  Alpha[c, k]
//
//   dX = dOut (X > 0 ? 1 : alpha)     dAlpha = sum of X dOut [X <= 0] over what shares it, in order

#include <stdint.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/op.h"
#include "common/ops/op_clones.h"

extern const struct op_def op_prelu, op_prelu_grad;

enum { PRELU_X, PRELU_ALPHA, PRELU_DOUT };
enum { PRELU_DX, PRELU_DALPHA };
enum { PRELU_MODE };
static const struct op_attr_def prelu_attrs[] = {OP_ATTR_STRING("mode", "all"), {.name = NULL}};
static const struct op_slot_def prelu_inputs[] = {{"X", 0}, {"Alpha", 0}, {NULL, 0}};
static const struct op_slot_def prelu_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def prelu_grad_inputs[] = {
    {"X", 0}, {"Alpha", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def prelu_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_OPTIONAL}, {"Alpha@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// X as outer x alphas x inner.
struct layout {
    int64_t outer, alphas, inner;
};

#define DEFINE_PRELU(T, S)                                                                         \
    OP_CLONES static void forward_##S(T *out, const T *x, const T *alpha, struct layout l)         \
    {                                                                                              \
        for (int64_t row = 0; row < l.outer * l.alphas; row++, x += l.inner, out += l.inner) {     \
            T a = alpha[row % l.alphas];                                                           \
            for (int64_t i = 0; i < l.inner; i++)                                                  \
                out[i] = x[i] > 0 ? x[i] : a * x[i];                                               \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void backward_x_##S(T *dx, const T *x, const T *alpha, const T *dout,         \
                                         struct layout l)                                          \
    {                                                                                              \
        for (int64_t row = 0; row < l.outer * l.alphas; row++) {                                   \
            T a = alpha[row % l.alphas];                                                           \
            int64_t end = (row + 1) * l.inner;                                                     \
            for (int64_t i = row * l.inner; i < end; i++)                                          \
                dx[i] = x[i] > 0 ? dout[i] : a * dout[i];                                          \
        }                                                                                          \
    }                                                                                              \
    static void backward_alpha_##S(T *dalpha, const T *x, const T *dout, struct layout l)          \
    {                                                                                              \
        memset(dalpha, 0, (size_t)l.alphas * sizeof *dalpha);                                      \
        for (int64_t row = 0; row < l.outer * l.alphas; row++) {                                   \
            int64_t end = (row + 1) * l.inner;                                                     \
            T sum = dalpha[row % l.alphas];                                                        \
            for (int64_t i = row * l.inner; i < end; i++)                                          \
                sum += x[i] > 0 ? 0 : x[i] * dout[i];                                              \
            dalpha[row % l.alphas] = sum;                                                          \
        }                                                                                          \
    }

DEFINE_PRELU(float, f32)
DEFINE_PRELU(double, f64)

// False for a mode that does not exist or does not go with X's rank.
static bool layout_of(const struct dims *x, const char *mode, struct layout *out)
{
    if (str_eq(mode, "all"))
        *out = (struct layout){.outer = 1, .alphas = 1, .inner = dims_product(x, 0, x->rank)};
    else if (str_eq(mode, "channel") && x->rank >= 2)
        *out = (struct layout){x->d[0], x->d[1], dims_product(x, 2, x->rank)};
    else if (str_eq(mode, "element") && x->rank >= 1)
        *out = (struct layout){x->d[0], dims_product(x, 1, x->rank), 1};
    else
        return false;
    return true;
}

static int prelu_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, PRELU_X, 0);
    const struct op_var_dims *alpha = op_shape_in(shape, PRELU_ALPHA, 0);
    const char *mode = shape->attr[PRELU_MODE]->s;
    char x_text[DIMS_TEXT_MAX], alpha_text[DIMS_TEXT_MAX];
    struct layout l;
    bool known = true;
    if (!layout_of(&x->dims, mode, &l))
        return err_set(shape->err, SL_EINVAL,
                       "mode '%s' of X %s: modes are all, channel (rank 2 or more) and element",
                       mode, dims_format(&x->dims, x_text));
    for (int i = str_eq(mode, "all") ? x->dims.rank : 1; i < x->dims.rank; i++)
        known = known && (x->dims.d[i] >= 0 || (str_eq(mode, "channel") && i > 1));
    for (int i = 0; i < alpha->dims.rank; i++)
        known = known && alpha->dims.d[i] >= 0;
    if (known && dims_product(&alpha->dims, 0, alpha->dims.rank) != l.alphas)
        return err_set(shape->err, SL_EMISMATCH,
                       "Alpha %s has not the %lld elements that mode '%s' of X %s needs",
                       dims_format(&alpha->dims, alpha_text), (long long)l.alphas, mode,
                       dims_format(&x->dims, x_text));
    op_shape_default(shape);
    return 0;
}

static int prelu_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, PRELU_X), *alpha = op_in(ctx, PRELU_ALPHA);
    struct tensor *out = op_out(ctx, 0);
    struct layout l;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (alpha->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Alpha has not X's element type");
    if (tensor_count(x) == 0 || !layout_of(&x->dims, ctx->attr[PRELU_MODE]->s, &l))
        return 0;
    if (x->dtype == DTYPE_FP32)
        forward_f32(tensor_f32(out), tensor_f32(x), tensor_f32(alpha), l);
    else
        forward_f64(tensor_f64(out), tensor_f64(x), tensor_f64(alpha), l);
    return 0;
}

static int prelu_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, PRELU_X), *alpha = op_in(ctx, PRELU_ALPHA);
    const struct tensor *dout = op_in(ctx, PRELU_DOUT);
    struct tensor *dx = op_out(ctx, PRELU_DX), *dalpha = op_out(ctx, PRELU_DALPHA);
    struct layout l;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (alpha->dtype != x->dtype || dout->dtype != x->dtype ||
        tensor_count(dout) != tensor_count(x))
        return err_set(ctx->err, SL_EMISMATCH, "Alpha and Out@GRAD do not fit X");
    if (!layout_of(&x->dims, ctx->attr[PRELU_MODE]->s, &l))
        return err_set(ctx->err, SL_EINVAL, "mode does not fit X");
    // Before dX, which may be dOut's own memory.
    if (dalpha != NULL && x->dtype == DTYPE_FP32)
        backward_alpha_f32(tensor_f32(dalpha), tensor_f32(x), tensor_f32(dout), l);
    else if (dalpha != NULL)
        backward_alpha_f64(tensor_f64(dalpha), tensor_f64(x), tensor_f64(dout), l);
    if (dx != NULL && x->dtype == DTYPE_FP32)
        backward_x_f32(tensor_f32(dx), tensor_f32(x), tensor_f32(alpha), tensor_f32(dout), l);
    else if (dx != NULL)
        backward_x_f64(tensor_f64(dx), tensor_f64(x), tensor_f64(alpha), tensor_f64(dout), l);
    return 0;
}

const struct op_def op_prelu = {
    .type = "prelu",
    .inputs = prelu_inputs,
    .outputs = prelu_outputs,
    .attrs = prelu_attrs,
    .grad = {.type = "prelu_grad", .inputs = "X Alpha Out@GRAD", .outputs = "X@GRAD Alpha@GRAD"},
    .infer_shape = prelu_infer,
    .kernel = prelu_forward,
};

const struct op_def op_prelu_grad = {
    .type = "prelu_grad",
    .inputs = prelu_grad_inputs,
    .outputs = prelu_grad_outputs,
    .attrs = prelu_attrs,
    .infer_shape = prelu_infer,
    .kernel = prelu_backward,
    .no_lod = true,
};
