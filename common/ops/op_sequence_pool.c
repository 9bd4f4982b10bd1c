// SPDX-License-Identifier: Apache-2.0
// sequence_pool: one row of Out for each sequence of X's last LoD level. For a sequence of h rows x
//
//   AVERAGE  Out = sum(x) / h               dx_i = dOut / h
//   SUM      Out = sum(x)                   dx_i = dOut
//   SQRT     Out = sum(x) / sqrt(h)         dx_i = dOut / sqrt(h)
//   MAX      Out = max(x), MaxIndex its row in X (the first one)     dx[MaxIndex] = dOut, others 0
//   LAST     Out = x_h-1                    dx_h-1 = dOut, others 0
//   FIRST    Out = x_0                      dx_0 = dOut, others 0
//
// A sequence without rows gives pad_value (MaxIndex -1) and no gradient. Out keeps the levels above
// the last one. Sums run in the order of rows. MaxIndex is empty
// but for MAX.

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ops/number.h"
#include "common/ops/op_clones.h"
#include "common/ops/sequence.h"
#include "common/program/op_desc.h"

extern const struct op_def op_sequence_pool, op_sequence_pool_grad;

enum { POOL_IS_TEST, POOL_TYPE, POOL_PAD };
static const struct op_attr_def pool_attrs[] = {
    OP_ATTR_BOOL("is_test", 0),
    OP_ATTR_STRING("pooltype", "AVERAGE"),
    OP_ATTR_FLOAT("pad_value", 0),
    {.name = NULL},
};
enum { POOL_X };
enum { POOL_OUT, POOL_INDEX };
static const struct op_slot_def pool_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def pool_outputs[] = {
    {"Out", 0}, {"MaxIndex", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { POOL_GRAD_X, POOL_GRAD_INDEX, POOL_GRAD_DOUT };
static const struct op_slot_def pool_grad_inputs[] = {
    {"X", 0}, {"MaxIndex", OP_SLOT_OPTIONAL}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def pool_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

enum pool_kind { POOL_AVERAGE, POOL_SUM, POOL_SQRT, POOL_MAX, POOL_LAST, POOL_FIRST, POOL_KINDS };

static int find_kind(const struct attr *attr, struct err *err)
{
    static const char *const names[POOL_KINDS] = {"AVERAGE", "SUM", "SQRT", "MAX", "LAST", "FIRST"};
    for (int kind = 0; kind < POOL_KINDS; kind++)
        if (str_eq(attr->s, names[kind]))
            return kind;
    return err_set(err, SL_EINVAL,
                   "pooltype is %s; AVERAGE, SUM, SQRT, MAX, LAST and FIRST are known", attr->s);
}

#define DEFINE_POOL(T, S)                                                                          \
    OP_CLONES static void sum_##S(T *restrict out, const T *restrict x, const uint64_t *at,        \
                                  size_t count, size_t width, T pad)                               \
    {                                                                                              \
        for (size_t s = 0; s < count; s++, out += width) {                                         \
            size_t rows = at[s + 1] - at[s];                                                       \
            for (size_t j = 0; j < width; j++)                                                     \
                out[j] = rows > 0 ? x[j] : pad;                                                    \
            for (size_t i = 1; i < rows; i++)                                                      \
                for (size_t j = 0; j < width; j++)                                                 \
                    out[j] += x[i * width + j];                                                    \
            x += rows * width;                                                                     \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void divide_##S(T *out, const uint64_t *at, size_t count, size_t width,       \
                                     bool root)                                                    \
    {                                                                                              \
        for (size_t s = 0; s < count; s++, out += width) {                                         \
            T rows = (T)(at[s + 1] - at[s]), by = root ? (T)sqrt((double)rows) : rows;             \
            for (size_t j = 0; rows > 1 && j < width; j++)                                         \
                out[j] /= by;                                                                      \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void max_##S(T *restrict out, int32_t *restrict index, const T *restrict x,   \
                                  const uint64_t *at, size_t count, size_t width, T pad)           \
    {                                                                                              \
        for (size_t s = 0; s < count; s++, out += width, index += width) {                         \
            size_t rows = at[s + 1] - at[s];                                                       \
            for (size_t j = 0; j < width; j++) {                                                   \
                out[j] = rows > 0 ? x[j] : pad;                                                    \
                index[j] = rows > 0 ? (int32_t)at[s] : -1;                                         \
            }                                                                                      \
            for (size_t i = 1; i < rows; i++) {                                                    \
                const T *row = x + i * width;                                                      \
                int32_t number = (int32_t)(at[s] + i);                                             \
                for (size_t j = 0; j < width; j++) {                                               \
                    index[j] = out[j] < row[j] ? number : index[j];                                \
                    out[j] = out[j] < row[j] ? row[j] : out[j];                                    \
                }                                                                                  \
            }                                                                                      \
            x += rows * width;                                                                     \
        }                                                                                          \
    }                                                                                              \
    static void end_##S(T *out, const T *x, const uint64_t *at, size_t count, size_t width,        \
                        bool last, T pad)                                                          \
    {                                                                                              \
        for (size_t s = 0; s < count; s++, out += width) {                                         \
            if (at[s + 1] > at[s])                                                                 \
                memcpy(out, x + (last ? at[s + 1] - 1 : at[s]) * width, width * sizeof *out);      \
            else                                                                                   \
                for (size_t j = 0; j < width; j++)                                                 \
                    out[j] = pad;                                                                  \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void spread_##S(T *restrict dx, const T *restrict dout, const uint64_t *at,   \
                                     size_t count, size_t width, int kind)                         \
    {                                                                                              \
        for (size_t s = 0; s < count; s++, dout += width) {                                        \
            size_t rows = at[s + 1] - at[s];                                                       \
            T by = kind == POOL_SUM ? 1 : kind == POOL_SQRT ? (T)sqrt((double)rows) : (T)rows;     \
            for (size_t i = 0; i < rows; i++, dx += width) {                                       \
                if (rows == 1 || kind == POOL_SUM)                                                 \
                    for (size_t j = 0; j < width; j++)                                             \
                        dx[j] = dout[j];                                                           \
                else                                                                               \
                    for (size_t j = 0; j < width; j++)                                             \
                        dx[j] = dout[j] / by;                                                      \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void max_back_##S(T *dx, const int32_t *index, const T *dout, size_t count,             \
                             size_t width)                                                         \
    {                                                                                              \
        for (size_t s = 0; s < count; s++, dout += width, index += width)                          \
            for (size_t j = 0; j < width; j++)                                                     \
                if (index[j] >= 0)                                                                 \
                    dx[(size_t)index[j] * width + j] = dout[j];                                    \
    }                                                                                              \
    static void end_back_##S(T *dx, const T *dout, const uint64_t *at, size_t count, size_t width, \
                             bool last)                                                            \
    {                                                                                              \
        for (size_t s = 0; s < count; s++, dout += width)                                          \
            if (at[s + 1] > at[s])                                                                 \
                memcpy(dx + (last ? at[s + 1] - 1 : at[s]) * width, dout, width * sizeof *dx);     \
    }                                                                                              \
    static void pool_##S(struct tensor *out, struct tensor *index, const struct tensor *x,         \
                         const struct sequences *s, int kind, double pad)                          \
    {                                                                                              \
        T *y = out->data;                                                                          \
        const T *from = x->data;                                                                   \
        size_t width = (size_t)s->width;                                                           \
        if (kind == POOL_MAX) {                                                                    \
            max_##S(y, index->data, from, s->offsets, s->count, width, (T)pad);                    \
        } else if (kind == POOL_LAST || kind == POOL_FIRST) {                                      \
            end_##S(y, from, s->offsets, s->count, width, kind == POOL_LAST, (T)pad);              \
        } else {                                                                                   \
            sum_##S(y, from, s->offsets, s->count, width, (T)pad);                                 \
            if (kind != POOL_SUM)                                                                  \
                divide_##S(y, s->offsets, s->count, width, kind == POOL_SQRT);                     \
        }                                                                                          \
    }                                                                                              \
    static void pool_back_##S(struct tensor *dx, const struct tensor *index,                       \
                              const struct tensor *dout, const struct sequences *s, int kind)      \
    {                                                                                              \
        T *to = dx->data;                                                                          \
        const T *from = dout->data;                                                                \
        size_t width = (size_t)s->width;                                                           \
        if (kind != POOL_MAX && kind != POOL_LAST && kind != POOL_FIRST) {                         \
            spread_##S(to, from, s->offsets, s->count, width, kind);                               \
            return;                                                                                \
        }                                                                                          \
        memset(to, 0, tensor_bytes(dx));                                                           \
        if (kind == POOL_MAX)                                                                      \
            max_back_##S(to, index->data, from, s->count, width);                                  \
        else                                                                                       \
            end_back_##S(to, from, s->offsets, s->count, width, kind == POOL_LAST);                \
    }

DEFINE_POOL(float, f32)
DEFINE_POOL(double, f64)

static int pool_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, POOL_X, 0);
    int kind = find_kind(shape->attr[POOL_TYPE], shape->err), rc = kind;
    if (rc >= 0)
        rc = sequence_check_level(shape, POOL_X, 1);
    if (rc < 0)
        return rc;
    sequence_set_shape(shape, POOL_OUT, &x->dims, x->dtype, x->lod_level - 1);
    if (kind == POOL_MAX)
        sequence_set_shape(shape, POOL_INDEX, &x->dims, x->dtype, 0);
    return 0;
}

static int pool_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, POOL_X);
    struct tensor *out = op_out(ctx, POOL_OUT), *index = op_out(ctx, POOL_INDEX);
    struct sequences s;
    int kind = find_kind(ctx->attr[POOL_TYPE], ctx->err), rc = kind;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (rc >= 0)
        rc = sequence_read(ctx, "X", x, &s);
    if (rc < 0)
        return rc;
    if (kind == POOL_MAX && (index == NULL || x->dims.d[0] > INT32_MAX))
        return err_set(ctx->err, SL_EINVAL, "MAX needs an output MaxIndex and at most 2^31 rows");
    struct dims dims = x->dims;
    dims.d[0] = (int64_t)s.count;
    rc = sequence_size(ctx, out, x->dtype, &dims);
    dims.d[0] = kind == POOL_MAX ? dims.d[0] : 0;
    if (rc == 0 && index != NULL)
        rc = sequence_size(ctx, index, DTYPE_INT32, &dims);
    if (rc == 0)
        rc = sequence_take_lod(ctx, out, x, x->lod_levels - 1);
    if (rc < 0)
        return rc;
    if (tensor_count(out) == 0)
        return 0;
    (x->dtype == DTYPE_FP32 ? pool_f32 : pool_f64)(out, index, x, &s, kind,
                                                   (double)ctx->attr[POOL_PAD]->f);
    return 0;
}

// A MaxIndex that the forward op did not make may say anything.
static int check_index(const struct op_ctx *ctx, const struct tensor *index,
                       const struct tensor *dout, int64_t rows)
{
    if (index == NULL || index->dtype != DTYPE_INT32 || !dims_equal(&index->dims, &dout->dims))
        return err_set(ctx->err, SL_EMISMATCH, "MAX needs MaxIndex, int32 with the shape of Out");
    const int32_t *at = tensor_i32(index);
    for (uint64_t i = 0; i < tensor_count(index); i++)
        if (at[i] < -1 || at[i] >= rows)
            return err_set(ctx->err, SL_EINVAL, "MaxIndex %llu is %d; X has %lld rows",
                           (unsigned long long)i, at[i], (long long)rows);
    return 0;
}

static int pool_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, POOL_GRAD_X), *dout = op_in(ctx, POOL_GRAD_DOUT),
                        *index = op_in(ctx, POOL_GRAD_INDEX);
    struct tensor *dx = op_out(ctx, 0);
    struct sequences s;
    int kind = find_kind(ctx->attr[POOL_TYPE], ctx->err), rc = kind;
    if (dx == NULL)
        return 0;
    if (dout->dtype != dx->dtype || (dx->dtype != DTYPE_FP32 && dx->dtype != DTYPE_FP64))
        return op_bad_dtype(ctx, (int)dout->dtype);
    if (rc >= 0)
        rc = sequence_read(ctx, "X", x, &s);
    if (rc >= 0)
        rc = sequence_check_rows(ctx, "Out@GRAD", dout, &s, (int64_t)s.count);
    if (rc == 0)
        rc = sequence_check_apart(ctx, dx);
    if (rc == 0 && kind == POOL_MAX)
        rc = check_index(ctx, index, dout, x->dims.d[0]);
    if (rc < 0)
        return rc;
    if (tensor_count(dx) > 0)
        (dx->dtype == DTYPE_FP32 ? pool_back_f32 : pool_back_f64)(dx, index, dout, &s, kind);
    return 0;
}

// MaxIndex is read back for MAX only.
static int pool_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    const char *x = op_desc_input1(forward, "X"), *y = op_desc_output1(forward, "Out"),
               *index = op_desc_output1(forward, "MaxIndex");
    if (out_max < 1 || x == NULL || y == NULL)
        return 0;
    struct op_desc *op = op_desc_new("sequence_pool_grad");
    char *dout = mem_must_printf("%s" GRAD_SUFFIX, y), *dx = mem_must_printf("%s" GRAD_SUFFIX, x);
    op_desc_add_input(op, "X", x);
    if (index != NULL && str_eq(op_desc_get_string(forward, "pooltype", "AVERAGE"), "MAX"))
        op_desc_add_input(op, "MaxIndex", index);
    op_desc_add_input(op, "Out" GRAD_SUFFIX, dout);
    op_desc_add_output(op, "X" GRAD_SUFFIX, dx);
    for (size_t i = 0; i < forward->attrs_count; i++)
        op_desc_set_attr(op, &forward->attrs[i]);
    mem_free(dout);
    mem_free(dx);
    out[0] = op;
    return 1;
}

const struct op_def op_sequence_pool = {
    .type = "sequence_pool",
    .inputs = pool_inputs,
    .outputs = pool_outputs,
    .attrs = pool_attrs,
    .grad = {.make = pool_make_grad},
    .infer_shape = pool_infer,
    .kernel = pool_forward,
    .kernel_resizes = true,
};

const struct op_def op_sequence_pool_grad = {
    .type = "sequence_pool_grad",
    .inputs = pool_grad_inputs,
    .outputs = pool_grad_outputs,
    .attrs = pool_attrs,
    .kernel = pool_backward,
};
