// SPDX-License-Identifier: Apache-2.0
// Sequences side by side in one dense tensor, and back.
//
//   sequence_pad    X [rows, d..] -> Out [sequences, longest, d..], filled up with PadValue (one
//                   element, or one row); Length [sequences] int64. padded_length -1: as long as
//                   the longest sequence.                         dX = the rows of dOut that are no
//                   filling
//   sequence_unpad  X [N, L, d..], Length [N] -> Out [sum of Length, d..] with a LoD (d.. empty:
//   [.., 1])
//                   dX = dOut where the rows were taken from, 0 elsewhere; lengths are dOut's LoD
//   sequence_mask   X [..] lengths -> Y [.., maxlen]: Y[.., j] = j < X ? 1 : 0. maxlen < 0: the
//   largest
//                   of X; MaxLenTensor comes before the attribute.
//
// Only moves and constants: any element type that numbers have.

#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/ops/int_input.h"
#include "common/ops/row_index.h"
#include "common/ops/sequence.h"

extern const struct op_def op_sequence_pad, op_sequence_pad_grad;
extern const struct op_def op_sequence_pad_unpad, op_sequence_pad_unpad_grad;
extern const struct op_def op_sequence_pad_mask;

enum { PAD_LENGTH };
static const struct op_attr_def pad_attrs[] = {
    OP_ATTR_INT("padded_length", -1),
    {.name = NULL},
};
enum { PAD_X, PAD_VALUE };
enum { PAD_OUT, PAD_LENGTHS };
static const struct op_slot_def pad_inputs[] = {{"X", 0}, {"PadValue", 0}, {NULL, 0}};
static const struct op_slot_def pad_outputs[] = {{"Out", 0}, {"Length", 0}, {NULL, 0}};
enum { GRAD_X, GRAD_DOUT };
static const struct op_slot_def x_grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def x_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { UNPAD_X, UNPAD_LENGTH };
static const struct op_slot_def unpad_inputs[] = {{"X", 0}, {"Length", 0}, {NULL, 0}};
static const struct op_slot_def unpad_outputs[] = {{"Out", 0}, {NULL, 0}};

enum { MASK_MAXLEN, MASK_DTYPE };
static const struct op_attr_def mask_attrs[] = {
    OP_ATTR_INT("maxlen", -1),
    {.name = "out_dtype", .type = ATTR_INT, .required = true, .number = DTYPE_INT64},
    {.name = NULL},
};
enum { MASK_X, MASK_MAXLEN_TENSOR };
static const struct op_slot_def mask_inputs[] = {
    {"X", 0}, {"MaxLenTensor", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def mask_outputs[] = {{"Y", 0}, {NULL, 0}};

// ---- pad

// [rows, d..] -> [n, length, d..]
static struct dims padded_dims(const struct dims *x, int64_t n, int64_t length)
{
    struct dims out = {.rank = x->rank + 1, .d = {n, length}};
    for (int i = 1; i < x->rank; i++)
        out.d[i + 1] = x->d[i];
    return out;
}

static int pad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, PAD_X, 0);
    int64_t length = shape->attr[PAD_LENGTH]->i;
    int rc = sequence_check_level(shape, PAD_X, 1);
    if (rc < 0)
        return rc;
    if (x->dims.rank < 2 || x->dims.rank >= LIMIT_RANK)
        return err_set(shape->err, SL_EINVAL, "X must have 2 to %d dimensions", LIMIT_RANK - 1);
    if (length < -1)
        return err_set(shape->err, SL_EINVAL, "padded_length is %lld; -1: the longest sequence",
                       (long long)length);
    const struct dims out = padded_dims(&x->dims, -1, length < 0 ? 1 : length);
    const struct dims lengths = {.rank = 1, .d = {-1}};
    sequence_set_shape(shape, PAD_OUT, &out, x->dtype, 0);
    sequence_set_shape(shape, PAD_LENGTHS, &lengths, DTYPE_INT64, 0);
    return 0;
}

static int64_t longest_of(const struct sequences *s)
{
    int64_t longest = 0;
    for (size_t k = 0; k < s->count; k++)
        longest = sequence_length(s, k) > longest ? sequence_length(s, k) : longest;
    return longest;
}

// The side that the sequences of X are padded to, or a negative error.
static int64_t padded_length(const struct op_ctx *ctx, const struct sequences *s)
{
    int64_t asked = ctx->attr[PAD_LENGTH]->i, longest = longest_of(s);
    if (asked >= 0 && asked < longest)
        return err_set(ctx->err, SL_EINVAL,
                       "padded_length is %lld, but there is a sequence of %lld rows",
                       (long long)asked, (long long)longest);
    return asked < 0 ? longest : asked;
}

static int pad_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, PAD_X), *value = op_in(ctx, PAD_VALUE);
    struct tensor *out = op_out(ctx, PAD_OUT), *lengths = op_out(ctx, PAD_LENGTHS);
    struct sequences s;
    int rc = sequence_read_only(ctx, "X", x, &s);
    int64_t length = rc < 0 ? rc : padded_length(ctx, &s);
    if (length < 0)
        return (int)length;
    uint64_t values = tensor_count(value);
    if (value->dtype != x->dtype || (values != 1 && values != (uint64_t)s.width))
        return err_set(ctx->err, SL_EMISMATCH,
                       "PadValue is %llu elements of %s; 1 or %lld of X's type are needed",
                       (unsigned long long)values, dtype_name((int)value->dtype),
                       (long long)s.width);
    struct dims dims = padded_dims(&x->dims, (int64_t)s.count, length);
    const struct dims count = {.rank = 1, .d = {(int64_t)s.count}};
    rc = sequence_size(ctx, out, x->dtype, &dims);
    if (rc == 0)
        rc = sequence_size(ctx, lengths, DTYPE_INT64, &count);
    if (rc < 0)
        return rc;
    size_t element = dtype_bytes(x->dtype), row = (size_t)s.width * element;
    const char *from = x->data;
    char *to = out->data;
    for (size_t k = 0; k < s.count; k++) {
        size_t bytes = (size_t)sequence_length(&s, k) * row, all = (size_t)length * row;
        tensor_i64(lengths)[k] = sequence_length(&s, k);
        if (bytes > 0)
            memcpy(to, from, bytes);
        for (size_t step = values == 1 ? element : row; step > 0 && bytes < all; bytes += step)
            memcpy(to + bytes, value->data, step);
        from += (size_t)sequence_length(&s, k) * row;
        to += all;
    }
    return 0;
}

static int pad_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, GRAD_X), *dout = op_in(ctx, GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct sequences s;
    if (dx == NULL)
        return 0;
    int rc = sequence_read_only(ctx, "X", x, &s);
    if (rc == 0)
        rc = sequence_check_apart(ctx, dx);
    int64_t length = rc < 0 ? rc : padded_length(ctx, &s);
    if (length < 0)
        return (int)length;
    struct dims dims = padded_dims(&x->dims, (int64_t)s.count, length);
    if (!dims_equal(&dout->dims, &dims) || dout->dtype != dx->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the shape and type of Out");
    size_t row = (size_t)s.width * dtype_bytes(dx->dtype);
    for (size_t k = 0; row > 0 && k < s.count; k++)
        if (sequence_length(&s, k) > 0)
            memcpy((char *)dx->data + s.offsets[k] * row,
                   (const char *)dout->data + k * (size_t)length * row,
                   (size_t)sequence_length(&s, k) * row);
    return 0;
}

// ---- unpad

static struct dims unpadded_dims(const struct dims *x, int64_t rows)
{
    struct dims out = {.rank = x->rank > 2 ? x->rank - 1 : 2, .d = {rows, 1}};
    for (int i = 2; i < x->rank; i++)
        out.d[i - 1] = x->d[i];
    return out;
}

static int unpad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, UNPAD_X, 0),
                             *length = op_shape_in(shape, UNPAD_LENGTH, 0);
    if (x->dims.rank < 2 || length->dims.rank != 1 || !op_dims_fit(length->dims.d[0], x->dims.d[0]))
        return err_set(shape->err, SL_EMISMATCH,
                       "X must be [sequences, longest, ..] and Length [sequences]");
    const struct dims out = unpadded_dims(&x->dims, -1);
    sequence_set_shape(shape, 0, &out, x->dtype, 1);
    return 0;
}

static int unpad_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, UNPAD_X), *length = op_in(ctx, UNPAD_LENGTH);
    struct tensor *out = op_out(ctx, 0);
    size_t count = (size_t)x->dims.d[0];
    uint64_t *offsets = NULL;
    if (length->dtype != DTYPE_INT64 && length->dtype != DTYPE_INT32)
        return op_bad_dtype(ctx, (int)length->dtype);
    int rc = sequence_check_apart(ctx, out);
    if (rc == 0)
        rc = sequence_level(ctx, out, 1, 0, count + 1, &offsets);
    if (rc < 0)
        return rc;
    offsets[0] = 0;
    for (size_t k = 0; k < count; k++) {
        int64_t rows = row_index_at(length, k);
        if (rows < 0 || rows > x->dims.d[1]) {
            tensor_clear_lod(out);
            return err_set(ctx->err, SL_EINVAL, "Length %zu is %lld; X has %lld rows a sequence", k,
                           (long long)rows, (long long)x->dims.d[1]);
        }
        offsets[k + 1] = offsets[k] + (uint64_t)rows;
    }
    struct dims dims = unpadded_dims(&x->dims, (int64_t)offsets[count]);
    rc = op_resize(out, x->dtype, &dims, ctx->err);
    if (rc < 0)
        return rc;
    size_t row = (size_t)dims_product(&x->dims, 2, x->dims.rank) * dtype_bytes(x->dtype);
    for (size_t k = 0; row > 0 && k < count; k++)
        if (offsets[k + 1] > offsets[k])
            memcpy((char *)out->data + offsets[k] * row,
                   (const char *)x->data + k * (size_t)x->dims.d[1] * row,
                   (offsets[k + 1] - offsets[k]) * row);
    return 0;
}

static int unpad_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, GRAD_X), *dout = op_in(ctx, GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct sequences s;
    if (dx == NULL)
        return 0;
    int rc = sequence_read_only(ctx, "Out@GRAD", dout, &s);
    if (rc == 0)
        rc = sequence_check_apart(ctx, dx);
    if (rc < 0)
        return rc;
    int64_t width = dims_product(&x->dims, 2, x->dims.rank);
    if (x->dims.rank < 2 || s.count != (size_t)x->dims.d[0] || s.width != width ||
        dout->dtype != dx->dtype || longest_of(&s) > x->dims.d[1])
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD is not what X was cut into");
    size_t row = (size_t)width * dtype_bytes(dx->dtype);
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    for (size_t k = 0; row > 0 && k < s.count; k++)
        if (sequence_length(&s, k) > 0)
            memcpy((char *)dx->data + k * (size_t)x->dims.d[1] * row,
                   (const char *)dout->data + s.offsets[k] * row,
                   (size_t)sequence_length(&s, k) * row);
    return 0;
}

// ---- mask

static int mask_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, MASK_X, 0);
    int64_t maxlen = shape->attr[MASK_MAXLEN]->i, dtype = shape->attr[MASK_DTYPE]->i;
    bool fed = op_shape_in(shape, MASK_MAXLEN_TENSOR, 0) != NULL;
    if (maxlen == 0 || x->dims.rank < 1 || x->dims.rank >= LIMIT_RANK)
        return err_set(shape->err, SL_EINVAL,
                       "maxlen may not be 0, and X must have 1 to %d dimensions", LIMIT_RANK - 1);
    if (!dtype_is_valid((int)dtype))
        return err_set(shape->err, SL_EINVAL, "out_dtype %lld is no element type",
                       (long long)dtype);
    struct dims y = x->dims;
    y.d[y.rank++] = fed || maxlen < 0 ? -1 : maxlen;
    sequence_set_shape(shape, 0, &y, (int)dtype, 0);
    return 0;
}

#define DEFINE_MASK(T, S)                                                                          \
    static void mask_##S(T *y, const struct tensor *x, int64_t maxlen)                             \
    {                                                                                              \
        for (uint64_t i = 0; i < tensor_count(x); i++, y += maxlen) {                              \
            int64_t length = row_index_at(x, i);                                                   \
            for (int64_t j = 0; j < maxlen; j++)                                                   \
                y[j] = j < length;                                                                 \
        }                                                                                          \
    }

DEFINE_MASK(float, f32)
DEFINE_MASK(double, f64)
DEFINE_MASK(int32_t, i32)
DEFINE_MASK(int64_t, i64)
DEFINE_MASK(uint8_t, u8)

static int mask_maxlen(const struct op_ctx *ctx, const struct tensor *x, int64_t *out)
{
    const struct tensor *fed = op_in(ctx, MASK_MAXLEN_TENSOR);
    *out = ctx->attr[MASK_MAXLEN]->i;
    if (fed != NULL) {
        if ((fed->dtype != DTYPE_INT32 && fed->dtype != DTYPE_INT64) || tensor_count(fed) < 1)
            return err_set(ctx->err, SL_EMISMATCH, "MaxLenTensor must be one int32 or int64");
        *out = row_index_at(fed, 0);
        if (*out < 1)
            return err_set(ctx->err, SL_EINVAL, "MaxLenTensor is %lld, less than 1",
                           (long long)*out);
    }
    if (*out >= 0)
        return 0;
    *out = 0;
    for (uint64_t i = 0; i < tensor_count(x); i++)
        *out = row_index_at(x, i) > *out ? row_index_at(x, i) : *out;
    return 0;
}

static int mask_kernel(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, MASK_X);
    struct tensor *y = op_out(ctx, 0);
    enum dtype dtype = (enum dtype)ctx->attr[MASK_DTYPE]->i;
    int64_t maxlen;
    if (x->dtype != DTYPE_INT64 && x->dtype != DTYPE_INT32)
        return op_bad_dtype(ctx, (int)x->dtype);
    int rc = mask_maxlen(ctx, x, &maxlen);
    if (rc < 0)
        return rc;
    struct dims dims = x->dims;
    dims.d[dims.rank++] = maxlen;
    rc = sequence_size(ctx, y, dtype, &dims);
    if (rc < 0 || tensor_count(y) == 0)
        return rc;
    switch (dtype) {
    case DTYPE_FP32:
        mask_f32(y->data, x, maxlen);
        return 0;
    case DTYPE_FP64:
        mask_f64(y->data, x, maxlen);
        return 0;
    case DTYPE_INT32:
        mask_i32(y->data, x, maxlen);
        return 0;
    case DTYPE_INT64:
        mask_i64(y->data, x, maxlen);
        return 0;
    case DTYPE_BOOL:
    case DTYPE_UINT8:
    case DTYPE_INT8:
        mask_u8(y->data, x, maxlen);
        return 0;
    default:
        return op_bad_dtype(ctx, (int)dtype);
    }
}

const struct op_def op_sequence_pad = {
    .type = "sequence_pad",
    .inputs = pad_inputs,
    .outputs = pad_outputs,
    .attrs = pad_attrs,
    .grad = {.type = "sequence_pad_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = pad_infer,
    .kernel = pad_forward,
    .kernel_resizes = true,
};

const struct op_def op_sequence_pad_grad = {
    .type = "sequence_pad_grad",
    .inputs = x_grad_inputs,
    .outputs = x_grad_outputs,
    .attrs = pad_attrs,
    .kernel = pad_backward,
};

const struct op_def op_sequence_pad_unpad = {
    .type = "sequence_unpad",
    .inputs = unpad_inputs,
    .outputs = unpad_outputs,
    .attrs = no_attrs,
    .grad = {.type = "sequence_unpad_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = unpad_infer,
    .kernel = unpad_forward,
    .kernel_resizes = true,
};

const struct op_def op_sequence_pad_unpad_grad = {
    .type = "sequence_unpad_grad",
    .inputs = x_grad_inputs,
    .outputs = x_grad_outputs,
    .attrs = no_attrs,
    .kernel = unpad_backward,
};

const struct op_def op_sequence_pad_mask = {
    .type = "sequence_mask",
    .inputs = mask_inputs,
    .outputs = mask_outputs,
    .attrs = mask_attrs,
    .infer_shape = mask_infer,
    .kernel = mask_kernel,
    .kernel_resizes = true,
};
