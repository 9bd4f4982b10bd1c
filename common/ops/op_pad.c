// SPDX-License-Identifier: Apache-2.0
// Borders put around a tensor.
//
//   pad                paddings [before_0, after_0, before_1, ..]; the border is pad_value
//   pad_constant_like  Y grown behind to X's shape with pad_value
//   pad2d              images [n,c,h,w] or [n,h,w,c], paddings [top, bottom, left, right] (from a
//                      tensor when Paddings is given); a negative padding cuts off. The border is
//                      constant: pad_value; edge: the nearest element of the image; reflect: the
//                      image mirrored at its outermost element, which is not repeated
//
// The gradient of constant borders is the inside of dOut; mirrored and repeated elements add up.

#include <string.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/constant.h"
#include "common/ops/int_input.h"
#include "common/ops/op.h"
#include "common/ops/strided.h"

extern const struct op_def op_pad, op_pad_grad, op_pad_constant_like, op_pad_constant_like_grad;
extern const struct op_def op_pad_2d, op_pad_2d_grad;

enum { PAD_PADDINGS, PAD_VALUE };
static const struct op_attr_def pad_attrs[] = {
    {.name = "paddings", .type = ATTR_INTS, .required = true},
    OP_ATTR_FLOAT("pad_value", 0),
    {.name = NULL},
};
enum { PAD_LIKE_VALUE };
static const struct op_attr_def pad_like_attrs[] = {
    OP_ATTR_FLOAT("pad_value", 0),
    {.name = NULL},
};
enum { PAD2D_PADDINGS, PAD2D_VALUE, PAD2D_MODE, PAD2D_FORMAT };
static const struct op_attr_def pad2d_attrs[] = {
    {.name = "paddings", .type = ATTR_INTS, .required = true},
    OP_ATTR_FLOAT("pad_value", 0),
    OP_ATTR_STRING("mode", "constant"),
    OP_ATTR_STRING("data_format", "NCHW"),
    {.name = NULL},
};

static const struct op_slot_def pad_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def pad_grad_inputs[] = {{"Out@GRAD", 0}, {NULL, 0}};
enum { LIKE_X, LIKE_Y };
static const struct op_slot_def like_inputs[] = {{"X", 0}, {"Y", 0}, {NULL, 0}};
enum { LIKE_GRAD_Y, LIKE_GRAD_DOUT };
static const struct op_slot_def like_grad_inputs[] = {{"Y", 0}, {"Out@GRAD", 0}, {NULL, 0}};
enum { PAD2D_X, PAD2D_TENSOR, PAD2D_DOUT };
static const struct op_slot_def pad2d_inputs[] = {
    {"X", 0}, {"Paddings", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def pad2d_grad_inputs[] = {
    {"X", 0}, {"Paddings", OP_SLOT_OPTIONAL}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def x_grad_output[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def y_grad_output[] = {{"Y@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// Constant borders of any rank: the inside begins at element first[i] of side i.

static int fill_border(struct op_ctx *ctx, struct tensor *out, float value)
{
    struct constant number;
    int rc = constant_parse(value, NULL, out->dtype, &number, ctx->err);
    return rc < 0 ? rc : constant_fill(out, number, ctx->err);
}

// Copies the inside of `outer` into a tensor of shape inner, or back.
static void copy_inside(const struct tensor *outer, const struct tensor *inner,
                        const int64_t *first, bool into_outer)
{
    int64_t in_outer[LIMIT_RANK], in_inner[LIMIT_RANK], at = 0;
    struct strided s = {.rank = 0};
    strided_of(&outer->dims, in_outer);
    strided_of(&inner->dims, in_inner);
    for (int i = 0; i < outer->dims.rank; i++) {
        at += first[i] * in_outer[i];
        strided_add_dim(&s, inner->dims.d[i], into_outer ? in_outer[i] : in_inner[i],
                        into_outer ? in_inner[i] : in_outer[i]);
    }
    char *inside = (char *)outer->data + at * (int64_t)dtype_bytes(outer->dtype);
    if (!s.empty)
        strided_copy(&s, outer->dtype, into_outer ? inside : inner->data,
                     into_outer ? inner->data : inside);
}

// The shape with borders, or (sign -1) without them.
static int padded_dims(const struct dims *x, const struct attr *paddings, int sign,
                       struct dims *out, struct err *err)
{
    *out = *x;
    if (paddings->count != 2 * (size_t)x->rank)
        return err_set(err, SL_EINVAL, "%zu paddings for %d dimensions", paddings->count, x->rank);
    for (int i = 0; i < x->rank; i++) {
        int64_t before = paddings->ints[2 * i], after = paddings->ints[2 * i + 1];
        if (before < 0 || after < 0 || before > INT32_MAX || after > INT32_MAX)
            return err_set(err, SL_EINVAL, "paddings of side %d are %lld and %lld", i,
                           (long long)before, (long long)after);
        if (x->d[i] >= 0)
            out->d[i] = x->d[i] + sign * (before + after);
        if (x->d[i] >= 0 && out->d[i] < 0)
            return err_set(err, SL_EMISMATCH, "side %d is shorter than its paddings", i);
    }
    return 0;
}

static int pad_infer_sign(struct op_shape *shape, int sign)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    struct dims out;
    int rc = padded_dims(&x->dims, shape->attr[PAD_PADDINGS], sign, &out, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &out, x->dtype,
                     sign > 0 && out.rank > 0 && out.d[0] == x->dims.d[0] ? x : NULL);
    return rc;
}

static int pad_infer(struct op_shape *shape)
{
    return pad_infer_sign(shape, 1);
}

static int pad_grad_infer(struct op_shape *shape)
{
    return pad_infer_sign(shape, -1);
}

static void first_of(const struct attr *paddings, int rank, int64_t *out)
{
    for (int i = 0; i < rank; i++)
        out[i] = paddings->ints[2 * i];
}

static int pad_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    int64_t first[LIMIT_RANK];
    int rc = fill_border(ctx, out, ctx->attr[PAD_VALUE]->f);
    if (rc < 0)
        return rc;
    first_of(ctx->attr[PAD_PADDINGS], x->dims.rank, first);
    copy_inside(out, x, first, true);
    return 0;
}

static int pad_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, 0);
    struct tensor *dx = op_out(ctx, 0);
    int64_t first[LIMIT_RANK];
    if (dx == NULL)
        return 0;
    first_of(ctx->attr[PAD_PADDINGS], dout->dims.rank, first);
    copy_inside(dout, dx, first, false);
    return 0;
}

static int fits_inside(const struct dims *inner, const struct dims *outer, struct err *err)
{
    char text[DIMS_TEXT_MAX], outer_text[DIMS_TEXT_MAX];
    bool fits = inner->rank == outer->rank;
    for (int i = 0; fits && i < inner->rank; i++)
        fits = inner->d[i] < 0 || outer->d[i] < 0 || inner->d[i] <= outer->d[i];
    if (!fits)
        return err_set(err, SL_EMISMATCH, "Y %s does not fit into %s", dims_format(inner, text),
                       dims_format(outer, outer_text));
    return 0;
}

static int like_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, LIKE_X, 0);
    const struct op_var_dims *y = op_shape_in(shape, LIKE_Y, 0);
    int rc = fits_inside(&y->dims, &x->dims, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &x->dims, y->dtype, x);
    return rc;
}

static int like_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *y = op_shape_in(shape, LIKE_GRAD_Y, 0);
    const struct op_var_dims *dout = op_shape_in(shape, LIKE_GRAD_DOUT, 0);
    int rc = fits_inside(&y->dims, &dout->dims, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &y->dims, dout->dtype, y);
    return rc;
}

static int like_forward(struct op_ctx *ctx)
{
    static const int64_t first[LIMIT_RANK] = {0};
    int rc = fill_border(ctx, op_out(ctx, 0), ctx->attr[PAD_LIKE_VALUE]->f);
    if (rc == 0)
        copy_inside(op_out(ctx, 0), op_in(ctx, LIKE_Y), first, true);
    return rc;
}

static int like_backward(struct op_ctx *ctx)
{
    static const int64_t first[LIMIT_RANK] = {0};
    if (op_out(ctx, 0) != NULL)
        copy_inside(op_in(ctx, LIKE_GRAD_DOUT), op_out(ctx, 0), first, false);
    return 0;
}

enum pad_mode { MODE_CONSTANT, MODE_REFLECT, MODE_EDGE };

// X is [outer, h, w, inner]: inner is 1 for NCHW, the channels for NHWC.
struct image {
    enum pad_mode mode;
    int h_axis;
    int64_t outer, inner, h, w, out_h, out_w, top, left;
};

static int image_axis(const struct attr *format, const struct dims *x, struct err *err)
{
    bool last = str_eq(format->s, "NHWC");
    if (x->rank != 4 || (!last && !str_eq(format->s, "NCHW")))
        return err_set(err, SL_EINVAL,
                       "X must have four dimensions and data_format be NCHW or NHWC");
    return last ? 1 : 2;
}

static int padded_image(const struct dims *x, int h_axis, const struct int_input *paddings,
                        struct dims *out, struct err *err)
{
    *out = *x;
    if (paddings->count != 4)
        return err_set(err, SL_EINVAL, "%zu paddings; top, bottom, left and right are wanted",
                       paddings->count);
    for (int i = 0; i < 2; i++) {
        int64_t before = paddings->v[2 * i], after = paddings->v[2 * i + 1];
        int64_t side = x->d[h_axis + i];
        bool fits = before > INT32_MIN && before < INT32_MAX && after > INT32_MIN &&
                    after < INT32_MAX && (side < 0 || side + before + after >= 0);
        if (!fits)
            return err_set(err, SL_EINVAL, "side %lld cannot have paddings %lld and %lld",
                           (long long)side, (long long)before, (long long)after);
        if (side >= 0)
            out->d[h_axis + i] = side + before + after;
    }
    return 0;
}

static int pad2d_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, PAD2D_X, 0);
    struct int_input paddings;
    struct dims out;
    int axis = image_axis(shape->attr[PAD2D_FORMAT], &x->dims, shape->err);
    if (axis < 0)
        return axis;
    if (int_input_is_fed(shape, -1, PAD2D_TENSOR)) {
        out = x->dims;
        out.d[axis] = out.d[axis + 1] = -1;
        op_shape_set(shape, 0, 0, &out, x->dtype, x);
        return 0;
    }
    int rc = int_input_from_attr(shape->attr[PAD2D_PADDINGS], &paddings, shape->err);
    if (rc == 0)
        rc = padded_image(&x->dims, axis, &paddings, &out, shape->err);
    if (rc == 0)
        op_shape_set(shape, 0, 0, &out, x->dtype, x);
    return rc;
}

// Index into a side of n that place i of the padded side shows; -1: the constant.
static int64_t source(enum pad_mode mode, int64_t i, int64_t before, int64_t n)
{
    int64_t at = i - before;
    if (mode == MODE_CONSTANT)
        return at >= 0 && at < n ? at : -1;
    if (mode == MODE_EDGE)
        return at < 0 ? 0 : at >= n ? n - 1 : at;
    if (at < 0)
        at = -at;
    return at < n ? at : 2 * n - 2 - at;
}

static int read_image(const struct op_ctx *ctx, struct image *m, struct dims *out)
{
    const struct tensor *x = op_in(ctx, PAD2D_X);
    const char *mode = ctx->attr[PAD2D_MODE]->s;
    struct int_input paddings;
    m->h_axis = image_axis(ctx->attr[PAD2D_FORMAT], &x->dims, ctx->err);
    if (m->h_axis < 0)
        return m->h_axis;
    int rc = int_input_read(ctx, -1, PAD2D_TENSOR, ctx->attr[PAD2D_PADDINGS], &paddings);
    if (rc == 0)
        rc = padded_image(&x->dims, m->h_axis, &paddings, out, ctx->err);
    if (rc < 0)
        return rc;
    m->mode = str_eq(mode, "reflect") ? MODE_REFLECT
              : str_eq(mode, "edge")  ? MODE_EDGE
                                      : MODE_CONSTANT;
    if (m->mode == MODE_CONSTANT && !str_eq(mode, "constant"))
        return err_set(ctx->err, SL_EINVAL, "mode \"%s\" is not constant, reflect or edge", mode);
    m->outer = dims_product(&x->dims, 0, m->h_axis);
    m->inner = dims_product(&x->dims, m->h_axis + 2, 4);
    m->h = x->dims.d[m->h_axis];
    m->w = x->dims.d[m->h_axis + 1];
    m->out_h = out->d[m->h_axis];
    m->out_w = out->d[m->h_axis + 1];
    m->top = paddings.v[0];
    m->left = paddings.v[2];
    // A border that the image is too small to show would need another image.
    for (int i = 0; m->mode == MODE_REFLECT && i < 4; i++)
        if (paddings.v[i] > 0 && paddings.v[i] >= (i < 2 ? m->h : m->w))
            return err_set(ctx->err, SL_EINVAL, "a side of %lld cannot mirror %lld elements",
                           (long long)(i < 2 ? m->h : m->w), (long long)paddings.v[i]);
    if (m->mode == MODE_EDGE && (m->h == 0 || m->w == 0))
        return err_set(ctx->err, SL_EINVAL, "X has no edge");
    return 0;
}

static int pad2d_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, PAD2D_X);
    struct tensor *out = op_out(ctx, 0);
    struct dims dims;
    struct image m;
    int rc = read_image(ctx, &m, &dims);
    if (rc == 0)
        rc = op_resize(out, x->dtype, &dims, ctx->err);
    if (rc == 0)
        rc = fill_border(ctx, out, ctx->attr[PAD2D_VALUE]->f);
    if (rc < 0)
        return rc;
    size_t bytes = dtype_bytes(x->dtype) * (size_t)m.inner;
    for (int64_t o = 0; o < m.outer; o++) {
        for (int64_t i = 0; i < m.out_h; i++) {
            int64_t row = source(m.mode, i, m.top, m.h);
            for (int64_t j = 0; row >= 0 && j < m.out_w; j++) {
                int64_t column = source(m.mode, j, m.left, m.w);
                if (column >= 0)
                    memcpy((char *)out->data + (size_t)((o * m.out_h + i) * m.out_w + j) * bytes,
                           (const char *)x->data + (size_t)((o * m.h + row) * m.w + column) * bytes,
                           bytes);
            }
        }
    }
    return 0;
}

#define DEFINE_PAD2D_BACKWARD(T, S)                                                                \
    static void pad2d_backward_##S(T *dx, const T *dout, const struct image *m)                    \
    {                                                                                              \
        for (int64_t o = 0; o < m->outer; o++) {                                                   \
            for (int64_t i = 0; i < m->out_h; i++) {                                               \
                int64_t row = source(m->mode, i, m->top, m->h);                                    \
                for (int64_t j = 0; row >= 0 && j < m->out_w; j++) {                               \
                    int64_t column = source(m->mode, j, m->left, m->w);                            \
                    T *to = dx + ((o * m->h + row) * m->w + column) * m->inner;                    \
                    const T *from = dout + ((o * m->out_h + i) * m->out_w + j) * m->inner;         \
                    for (int64_t e = 0; column >= 0 && e < m->inner; e++)                          \
                        to[e] += from[e];                                                          \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_PAD2D_BACKWARD(float, f32)
DEFINE_PAD2D_BACKWARD(double, f64)

static int pad2d_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, PAD2D_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct dims dims;
    struct image m;
    int rc = dx == NULL ? 0 : read_image(ctx, &m, &dims);
    if (rc < 0 || dx == NULL)
        return rc;
    if (!dims_equal(&dout->dims, &dims) || dout->dtype != dx->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the shape and type of Out");
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    if (dx->dtype == DTYPE_FP32)
        pad2d_backward_f32(tensor_f32(dx), tensor_f32(dout), &m);
    else if (dx->dtype == DTYPE_FP64)
        pad2d_backward_f64(tensor_f64(dx), tensor_f64(dout), &m);
    else
        return op_bad_dtype(ctx, (int)dx->dtype);
    return 0;
}

// dX has X's shape and no LoD.
static int dx_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return 0;
}

const struct op_def op_pad = {
    .type = "pad",
    .inputs = pad_inputs,
    .outputs = out_output,
    .attrs = pad_attrs,
    .grad = {.type = "pad_grad", .inputs = "Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = pad_infer,
    .kernel = pad_forward,
};

const struct op_def op_pad_grad = {
    .type = "pad_grad",
    .inputs = pad_grad_inputs,
    .outputs = x_grad_output,
    .attrs = pad_attrs,
    .infer_shape = pad_grad_infer,
    .kernel = pad_backward,
};

const struct op_def op_pad_constant_like = {
    .type = "pad_constant_like",
    .inputs = like_inputs,
    .outputs = out_output,
    .attrs = pad_like_attrs,
    .grad = {.type = "pad_constant_like_grad", .inputs = "Y Out@GRAD", .outputs = "Y@GRAD"},
    .infer_shape = like_infer,
    .kernel = like_forward,
};

const struct op_def op_pad_constant_like_grad = {
    .type = "pad_constant_like_grad",
    .inputs = like_grad_inputs,
    .outputs = y_grad_output,
    .attrs = pad_like_attrs,
    .infer_shape = like_grad_infer,
    .kernel = like_backward,
};

const struct op_def op_pad_2d = {
    .type = "pad2d",
    .inputs = pad2d_inputs,
    .outputs = out_output,
    .attrs = pad2d_attrs,
    .grad = {.type = "pad2d_grad", .inputs = "X Paddings Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = pad2d_infer,
    .kernel = pad2d_forward,
    .kernel_resizes = true,
};

const struct op_def op_pad_2d_grad = {
    .type = "pad2d_grad",
    .inputs = pad2d_grad_inputs,
    .outputs = x_grad_output,
    .attrs = pad2d_attrs,
    .infer_shape = dx_infer,
    .kernel = pad2d_backward,
};
