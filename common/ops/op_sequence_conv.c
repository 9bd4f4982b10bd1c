// SPDX-License-Identifier: Apache-2.0
// sequence_conv: each row of a sequence X [T, D] sees the `contextLength` rows from contextStart
// on, beside each other, and is multiplied with Filter [contextLength * D, F].
//
//   C[t]  = (X[t + start], .., X[t + start + length - 1])     rows of t's own sequence only
//   Out   = C Filter
//   dC    = dOut Filter^T,  dX = the rows of dC added up where they were taken from
//   dFilter = C^T dOut
//
// Rows before and behind the sequence are zeros; with paddingTrainable they are rows of PaddingData
// [up + down, D]: up = max(0, -start) rows for the places before, down = max(0, start + length - 1)
// for those behind. What a row sees is one run of memory, so C is made by one copy a row.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/blas.h"
#include "common/ops/op_clones.h"
#include "common/ops/sequence.h"

extern const struct op_def op_sequence_conv, op_sequence_conv_grad;

enum { CONV_TRAINABLE, CONV_LENGTH, CONV_START, CONV_STRIDE };
static const struct op_attr_def conv_attrs[] = {
    OP_ATTR_BOOL("paddingTrainable", 0),
    {.name = "contextLength", .type = ATTR_INT, .required = true},
    OP_ATTR_INT("contextStart", 0),
    OP_ATTR_INT("contextStride", 1),
    {.name = NULL},
};
enum { CONV_X, CONV_PADDING, CONV_FILTER, CONV_DOUT };
static const struct op_slot_def conv_inputs[] = {
    {"X", 0}, {"PaddingData", OP_SLOT_OPTIONAL}, {"Filter", 0}, {NULL, 0}};
static const struct op_slot_def conv_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def conv_grad_inputs[] = {
    {"X", 0}, {"PaddingData", OP_SLOT_OPTIONAL}, {"Filter", 0}, {"Out@GRAD", 0}, {NULL, 0}};
enum { CONV_DX, CONV_DPADDING, CONV_DFILTER };
static const struct op_slot_def conv_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL},
                                                       {"PaddingData@GRAD", OP_SLOT_OPTIONAL},
                                                       {"Filter@GRAD", OP_SLOT_OPTIONAL},
                                                       {NULL, 0}};
enum { CONV_CONTEXT, CONV_DCONTEXT, CONV_TEMPS };

// What a row sees.
struct context {
    int64_t length, start, up;
    int64_t width;   // of a row of X
};

static int check_dims(const struct op_shape *shape, const struct dims *x, const struct dims *filter,
                      const struct op_var_dims *padding)
{
    char a[DIMS_TEXT_MAX], b[DIMS_TEXT_MAX];
    int64_t length = shape->attr[CONV_LENGTH]->i, start = shape->attr[CONV_START]->i;
    if (length < 1 || shape->attr[CONV_STRIDE]->i != 1)
        return err_set(shape->err, SL_EINVAL,
                       "contextLength is %lld, contextStride %lld; at least 1, and 1, are needed",
                       (long long)length, (long long)shape->attr[CONV_STRIDE]->i);
    int64_t seen = -1;
    if (x->rank != 2 || filter->rank != 2 ||
        (x->d[1] >= 0 && __builtin_mul_overflow(length, x->d[1], &seen)) ||
        !op_dims_fit(filter->d[0], seen))
        return err_set(shape->err, SL_EMISMATCH,
                       "X %s must be [rows, width], Filter %s [%lld * width, filters]",
                       dims_format(x, a), dims_format(filter, b), (long long)length);
    if (!attr_bool(shape->attr[CONV_TRAINABLE]))
        return 0;
    int64_t up = start < 0 ? -start : 0, down = start + length > 1 ? start + length - 1 : 0;
    if (padding == NULL || padding->dims.rank != 2 || !op_dims_fit(padding->dims.d[0], up + down) ||
        !op_dims_fit(padding->dims.d[1], x->d[1]) || up + down == 0)
        return err_set(
            shape->err, SL_EMISMATCH,
            "paddingTrainable needs PaddingData [%lld, width of X] (and more than no row)",
            (long long)(up + down));
    return 0;
}

static int conv_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CONV_X, 0),
                             *filter = op_shape_in(shape, CONV_FILTER, 0);
    int rc = check_dims(shape, &x->dims, &filter->dims, op_shape_in(shape, CONV_PADDING, 0));
    if (rc < 0)
        return rc;
    struct dims out = x->dims;
    out.d[1] = filter->dims.d[1];
    op_shape_set(shape, 0, 0, &out, x->dtype, x);
    return 0;
}

static int conv_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CONV_X, 0),
                             *filter = op_shape_in(shape, CONV_FILTER, 0),
                             *dout = op_shape_in(shape, CONV_DOUT, 0);
    int rc = check_dims(shape, &x->dims, &filter->dims, op_shape_in(shape, CONV_PADDING, 0));
    if (rc == 0 && (dout->dims.rank != 2 || !op_dims_fit(dout->dims.d[0], x->dims.d[0]) ||
                    !op_dims_fit(dout->dims.d[1], filter->dims.d[1])))
        rc = err_set(shape->err, SL_EMISMATCH, "Out@GRAD must be [rows of X, columns of Filter]");
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

// The places of the row at t of a sequence of `rows`: [0, first) lie before it, [first, last) in
// it, [last, length) behind it.
static void places(const struct context *c, int64_t t, int64_t rows, int64_t *first, int64_t *last)
{
    int64_t at = t + c->start;
    *first = at >= 0 ? 0 : -at < c->length ? -at : c->length;
    *last = rows - at <= *first ? *first : rows - at < c->length ? rows - at : c->length;
}

#define DEFINE_CONTEXT(T, S)                                                                       \
    OP_CLONES static void add_run_##S(T *restrict to, const T *restrict from, int64_t n)           \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            to[i] += from[i];                                                                      \
    }                                                                                              \
    /* rows [row, row + n) of from; zeros without from */                                          \
    static void take_rows_##S(T *to, const T *from, int64_t row, int64_t n, int64_t w)             \
    {                                                                                              \
        if (n * w > 0 && from != NULL)                                                             \
            memcpy(to, from + row * w, (size_t)(n * w) * sizeof *to);                              \
        else if (n * w > 0)                                                                        \
            memset(to, 0, (size_t)(n * w) * sizeof *to);                                           \
    }                                                                                              \
    /* C from X; pad: PaddingData, or NULL */                                                      \
    static void context_##S(T *to, const T *x, const T *pad, const struct sequences *s,            \
                            const struct context *c)                                               \
    {                                                                                              \
        int64_t w = c->width, first, last;                                                         \
        for (size_t k = 0; k < s->count; k++) {                                                    \
            int64_t rows = sequence_length(s, k);                                                  \
            for (int64_t t = 0; t < rows; t++, to += c->length * w) {                              \
                int64_t at = t + c->start;                                                         \
                places(c, t, rows, &first, &last);                                                 \
                take_rows_##S(to, pad, c->up + at, first, w);                                      \
                take_rows_##S(to + first * w, x, at + first, last - first, w);                     \
                take_rows_##S(to + last * w, pad, c->up + at + last - rows, c->length - last, w);  \
            }                                                                                      \
            x += rows * w;                                                                         \
        }                                                                                          \
    }                                                                                              \
    /* dC back to where it was taken from; dx and dpad may be NULL */                              \
    static void context_back_##S(T *dx, T *dpad, const T *dc, const struct sequences *s,           \
                                 const struct context *c)                                          \
    {                                                                                              \
        int64_t w = c->width, first, last;                                                         \
        for (size_t k = 0; k < s->count; k++) {                                                    \
            int64_t rows = sequence_length(s, k);                                                  \
            for (int64_t t = 0; t < rows; t++, dc += c->length * w) {                              \
                int64_t at = t + c->start;                                                         \
                places(c, t, rows, &first, &last);                                                 \
                if (dx != NULL && last > first)                                                    \
                    add_run_##S(dx + (at + first) * w, dc + first * w, (last - first) * w);        \
                if (dpad != NULL && first > 0)                                                     \
                    add_run_##S(dpad + (c->up + at) * w, dc, first * w);                           \
                if (dpad != NULL && last < c->length)                                              \
                    add_run_##S(dpad + (c->up + at + last - rows) * w, dc + last * w,              \
                                (c->length - last) * w);                                           \
            }                                                                                      \
            if (dx != NULL)                                                                        \
                dx += rows * w;                                                                    \
        }                                                                                          \
    }

DEFINE_CONTEXT(float, f32)
DEFINE_CONTEXT(double, f64)

static void multiply(bool f32, bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                     const struct tensor *a, const struct tensor *b, struct tensor *c)
{
    if (f32)
        blas_gemm_f32(ta, tb, m, n, k, a->data, b->data, c->data);
    else
        blas_gemm_f64(ta, tb, m, n, k, a->data, b->data, c->data);
}

// X, the context of a row, and C made from X.
static int prepare(const struct op_ctx *ctx, struct sequences *s, struct context *c)
{
    const struct tensor *x = op_in(ctx, CONV_X), *filter = op_in(ctx, CONV_FILTER),
                        *pad = op_in(ctx, CONV_PADDING);
    bool trainable = attr_bool(ctx->attr[CONV_TRAINABLE]);
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (filter->dtype != x->dtype || (trainable && pad->dtype != x->dtype))
        return err_set(ctx->err, SL_EMISMATCH, "X, Filter and PaddingData must have one type");
    int rc = sequence_read_only(ctx, "X", x, s);
    for (int o = 0; rc == 0 && ctx->def->outputs[o].name != NULL; o++)
        if (op_out(ctx, o) != NULL)
            rc = sequence_check_apart(ctx, op_out(ctx, o));
    if (rc < 0)
        return rc;
    *c = (struct context){
        .length = ctx->attr[CONV_LENGTH]->i, .start = ctx->attr[CONV_START]->i, .width = s->width};
    c->up = c->start < 0 ? -c->start : 0;
    struct dims dims = {.rank = 2, .d = {x->dims.d[0], c->length * c->width}};
    rc = op_resize(&ctx->temps[CONV_CONTEXT], x->dtype, &dims, ctx->err);
    if (rc < 0)
        return err_prefix(ctx->err, "what each row sees");
    if (x->dtype == DTYPE_FP32)
        context_f32(tensor_f32(&ctx->temps[CONV_CONTEXT]), tensor_f32(x),
                    trainable ? tensor_f32(pad) : NULL, s, c);
    else
        context_f64(tensor_f64(&ctx->temps[CONV_CONTEXT]), tensor_f64(x),
                    trainable ? tensor_f64(pad) : NULL, s, c);
    return 0;
}

static int conv_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CONV_X), *filter = op_in(ctx, CONV_FILTER);
    struct sequences s;
    struct context c;
    int rc = prepare(ctx, &s, &c);
    if (rc == 0)
        multiply(x->dtype == DTYPE_FP32, false, false, x->dims.d[0], filter->dims.d[1],
                 filter->dims.d[0], &ctx->temps[CONV_CONTEXT], filter, op_out(ctx, 0));
    return rc;
}

static void clear(struct tensor *t)
{
    if (t != NULL && tensor_bytes(t) > 0)
        memset(t->data, 0, tensor_bytes(t));
}

static int conv_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CONV_X), *filter = op_in(ctx, CONV_FILTER),
                        *dout = op_in(ctx, CONV_DOUT);
    struct tensor *dx = op_out(ctx, CONV_DX), *dpad = op_out(ctx, CONV_DPADDING),
                  *dfilter = op_out(ctx, CONV_DFILTER), *dcontext = &ctx->temps[CONV_DCONTEXT];
    bool f32 = x->dtype == DTYPE_FP32;
    struct sequences s;
    struct context c;
    int rc = prepare(ctx, &s, &c);
    if (rc < 0)
        return rc;
    if (dout->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD must have X's element type");
    int64_t rows = x->dims.d[0], columns = filter->dims.d[1], seen = filter->dims.d[0];
    if (dfilter != NULL)
        multiply(f32, true, false, seen, columns, rows, &ctx->temps[CONV_CONTEXT], dout, dfilter);
    if (!attr_bool(ctx->attr[CONV_TRAINABLE])) {
        clear(dpad);
        dpad = NULL;
    }
    if (dx == NULL && dpad == NULL)
        return 0;
    rc = op_resize(dcontext, x->dtype, &ctx->temps[CONV_CONTEXT].dims, ctx->err);
    if (rc < 0)
        return rc;
    multiply(f32, false, true, rows, seen, columns, dout, filter, dcontext);
    clear(dx);
    clear(dpad);
    if (f32)
        context_back_f32(dx ? tensor_f32(dx) : NULL, dpad ? tensor_f32(dpad) : NULL,
                         tensor_f32(dcontext), &s, &c);
    else
        context_back_f64(dx ? tensor_f64(dx) : NULL, dpad ? tensor_f64(dpad) : NULL,
                         tensor_f64(dcontext), &s, &c);
    return 0;
}

const struct op_def op_sequence_conv = {
    .type = "sequence_conv",
    .inputs = conv_inputs,
    .outputs = conv_outputs,
    .attrs = conv_attrs,
    .grad = {.type = "sequence_conv_grad",
             .inputs = "X PaddingData Filter Out@GRAD",
             .outputs = "X@GRAD PaddingData@GRAD Filter@GRAD"},
    .infer_shape = conv_infer,
    .kernel = conv_forward,
    .temps = CONV_TEMPS,
};

const struct op_def op_sequence_conv_grad = {
    .type = "sequence_conv_grad",
    .inputs = conv_grad_inputs,
    .outputs = conv_grad_outputs,
    .attrs = conv_attrs,
    .infer_shape = conv_grad_infer,
    .kernel = conv_backward,
    .temps = CONV_TEMPS,
};
