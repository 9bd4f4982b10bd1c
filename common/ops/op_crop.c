// SPDX-License-Identifier: Apache-2.0
// The box of X that begins at `offsets` and has the given shape.   dX = 0 with dOut in the box.
//
//   crop         shape from Y's, else the attribute, where a side 0 of -1 is X's; offsets from the
//                tensor Offsets, else the attribute
//   crop_tensor  a side of -1 reaches to X's end; shape and offsets may come from one tensor or a
//                list of one-element tensors

#include <string.h>

#include "common/base/err.h"
#include "common/ops/int_input.h"
#include "common/ops/op.h"
#include "common/ops/strided.h"

extern const struct op_def op_crop, op_crop_grad, op_crop_tensor, op_crop_tensor_grad;

enum { CROP_OFFSETS, CROP_SHAPE };
static const struct op_attr_def crop_attrs[] = {
    OP_ATTR_LIST("offsets", ATTR_INTS),
    OP_ATTR_LIST("shape", ATTR_INTS),
    {.name = NULL},
};
enum { CROP_X, CROP_OFFSETS_TENSOR, CROP_Y };
static const struct op_slot_def crop_inputs[] = {
    {"X", 0}, {"Offsets", OP_SLOT_OPTIONAL}, {"Y", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { CROP_DOUT = 2 };
static const struct op_slot_def crop_grad_inputs[] = {
    {"X", 0}, {"Offsets", OP_SLOT_OPTIONAL}, {"Out@GRAD", 0}, {NULL, 0}};
enum { TENSOR_OFFSETS_LIST = 2, TENSOR_SHAPE, TENSOR_SHAPE_LIST };
static const struct op_slot_def tensor_inputs[] = {
    {"X", 0},
    {"Offsets", OP_SLOT_OPTIONAL},
    {"OffsetsTensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {"Shape", OP_SLOT_OPTIONAL},
    {"ShapeTensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
enum { TENSOR_DOUT = 3 };
static const struct op_slot_def tensor_grad_inputs[] = {
    {"X", 0},
    {"Offsets", OP_SLOT_OPTIONAL},
    {"OffsetsTensor", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {"Out@GRAD", 0},
    {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def x_grad_output[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// A side of -1 reaches to the end of X for crop_tensor, which tells `to_end`.
static int box_dims(const struct dims *x, const struct int_input *sides,
                    const struct int_input *offsets, bool to_end, struct dims *out, struct err *err)
{
    if (sides->count != (size_t)x->rank || offsets->count != (size_t)x->rank)
        return err_set(err, SL_EINVAL, "%zu sides and %zu offsets for X's rank %d", sides->count,
                       offsets->count, x->rank);
    *out = *x;
    for (int i = 0; i < x->rank; i++) {
        int64_t side = sides->v[i], first = offsets->v[i];
        if (side == -1 && (to_end || i == 0))
            side = to_end ? x->d[i] - first : x->d[i];
        if (first < 0 || side < 0 || first > x->d[i] || side > x->d[i] - first)
            return err_set(err, SL_EINVAL,
                           "side %d: %lld elements from %lld on are not within %lld", i,
                           (long long)side, (long long)first, (long long)x->d[i]);
        out->d[i] = side;
    }
    return 0;
}

// Copies between X (or dX) and the box of `box`'s shape in it.
static void copy_box(const struct tensor *x, const struct tensor *box,
                     const struct int_input *offsets, bool into_x)
{
    int64_t in_x[LIMIT_RANK], in_box[LIMIT_RANK], first = 0;
    struct strided s = {.rank = 0};
    strided_of(&x->dims, in_x);
    strided_of(&box->dims, in_box);
    for (int i = 0; i < x->dims.rank; i++) {
        first += offsets->v[i] * in_x[i];
        strided_add_dim(&s, box->dims.d[i], into_x ? in_x[i] : in_box[i],
                        into_x ? in_box[i] : in_x[i]);
    }
    char *inside = (char *)x->data + first * (int64_t)dtype_bytes(x->dtype);
    if (!s.empty)
        strided_copy(&s, x->dtype, into_x ? inside : box->data, into_x ? box->data : inside);
}

static int crop_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CROP_X, 0), *y = op_shape_in(shape, CROP_Y, 0);
    const struct attr *sides = shape->attr[CROP_SHAPE];
    struct dims out = x->dims;
    if (y == NULL && sides->count != (size_t)x->dims.rank)
        return err_set(shape->err, SL_EINVAL, "shape has %zu sides, X %d", sides->count,
                       x->dims.rank);
    if (y != NULL && y->dims.rank != x->dims.rank)
        return err_set(shape->err, SL_EINVAL, "Y has rank %d, X %d", y->dims.rank, x->dims.rank);
    for (int i = 0; i < out.rank; i++)
        out.d[i] = y != NULL ? y->dims.d[i] : sides->ints[i];
    op_shape_set(shape, 0, 0, &out, x->dtype, NULL);
    return 0;
}

static int tensor_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, CROP_X, 0);
    const struct attr *sides = shape->attr[CROP_SHAPE], *offsets = shape->attr[CROP_OFFSETS];
    bool fed = int_input_is_fed(shape, TENSOR_SHAPE_LIST, TENSOR_SHAPE);
    struct dims out = x->dims;
    if (!fed && sides->count != (size_t)x->dims.rank)
        return err_set(shape->err, SL_EINVAL, "shape has %zu sides, X %d", sides->count,
                       x->dims.rank);
    for (int i = 0; i < out.rank; i++) {
        bool has_offset = (size_t)i < offsets->count && offsets->ints[i] >= 0;
        int64_t side = (size_t)i < sides->count ? sides->ints[i] : 0;
        if (side == -1 && out.d[i] >= 0)
            side = out.d[i] - (has_offset ? offsets->ints[i] : 0);
        out.d[i] = side > 0 ? side : -1;
    }
    op_shape_set(shape, 0, 0, &out, x->dtype, NULL);
    return 0;
}

static int is_tensor(const struct op_def *def)
{
    return def == &op_crop_tensor || def == &op_crop_tensor_grad;
}

static int read_offsets(const struct op_ctx *ctx, struct int_input *out)
{
    return int_input_read(ctx, is_tensor(ctx->def) ? TENSOR_OFFSETS_LIST : -1, CROP_OFFSETS_TENSOR,
                          ctx->attr[CROP_OFFSETS], out);
}

static int read_sides(const struct op_ctx *ctx, struct int_input *out)
{
    const struct tensor *y = is_tensor(ctx->def) ? NULL : op_in(ctx, CROP_Y);
    if (is_tensor(ctx->def))
        return int_input_read(ctx, TENSOR_SHAPE_LIST, TENSOR_SHAPE, ctx->attr[CROP_SHAPE], out);
    if (y == NULL)
        return int_input_from_attr(ctx->attr[CROP_SHAPE], out, ctx->err);
    out->count = (size_t)y->dims.rank;
    memcpy(out->v, y->dims.d, out->count * sizeof out->v[0]);
    return 0;
}

static int crop_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, CROP_X);
    struct int_input sides, offsets;
    struct dims out;
    int rc = read_offsets(ctx, &offsets);
    if (rc == 0)
        rc = read_sides(ctx, &sides);
    if (rc == 0)
        rc = box_dims(&x->dims, &sides, &offsets, is_tensor(ctx->def), &out, ctx->err);
    if (rc == 0)
        rc = op_resize(op_out(ctx, 0), x->dtype, &out, ctx->err);
    if (rc == 0)
        copy_box(x, op_out(ctx, 0), &offsets, false);
    return rc;
}

static int crop_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, is_tensor(ctx->def) ? TENSOR_DOUT : CROP_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct int_input sides = {.count = (size_t)dout->dims.rank}, offsets;
    struct dims out;
    if (dx == NULL)
        return 0;
    memcpy(sides.v, dout->dims.d, sides.count * sizeof sides.v[0]);
    int rc = read_offsets(ctx, &offsets);
    if (rc == 0)
        rc = box_dims(&dx->dims, &sides, &offsets, false, &out, ctx->err);
    if (rc == 0 && dout->dtype != dx->dtype)
        rc = err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not X's type");
    if (rc < 0)
        return rc;
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    copy_box(dx, dout, &offsets, true);
    return 0;
}

// dX has X's shape and no LoD.
static int dx_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    op_shape_set(shape, 0, 0, &x->dims, x->dtype, NULL);
    return 0;
}

const struct op_def op_crop = {
    .type = "crop",
    .inputs = crop_inputs,
    .outputs = out_output,
    .attrs = crop_attrs,
    .grad = {.type = "crop_grad", .inputs = "X Offsets Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = crop_infer,
    .kernel = crop_forward,
    .kernel_resizes = true,
};

const struct op_def op_crop_grad = {
    .type = "crop_grad",
    .inputs = crop_grad_inputs,
    .outputs = x_grad_output,
    .attrs = crop_attrs,
    .infer_shape = dx_infer,
    .kernel = crop_backward,
};

const struct op_def op_crop_tensor = {
    .type = "crop_tensor",
    .inputs = tensor_inputs,
    .outputs = out_output,
    .attrs = crop_attrs,
    .grad = {.type = "crop_tensor_grad",
             .inputs = "X Offsets OffsetsTensor Out@GRAD",
             .outputs = "X@GRAD"},
    .infer_shape = tensor_infer,
    .kernel = crop_forward,
    .kernel_resizes = true,
};

const struct op_def op_crop_tensor_grad = {
    .type = "crop_tensor_grad",
    .inputs = tensor_grad_inputs,
    .outputs = x_grad_output,
    .attrs = crop_attrs,
    .infer_shape = dx_infer,
    .kernel = crop_backward,
};
