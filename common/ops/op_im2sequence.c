// SPDX-License-Identifier: Apache-2.0
// im2sequence: the patches of each image of X [N, C, H, W], row by row, as a sequence of Out.
//
//   oh = (H + up + down - kh) / sh + 1,  ow = (W + left + right - kw) / sw + 1
//   Out [N oh ow, C kh kw] with one LoD level; paddings are up, left, down, right and hold zeros
//   dX = dOut added up where it was taken from
//
// Y [N, 2] says the real height and width of each image: then H and W of image k are those, divided
// by out_stride and rounded up, and its sequence is as long as that gives. Patches are still taken
// from all of X. There is no gradient with Y (Fluid computes one as if Y were not there).

#include <string.h>

#include "common/base/err.h"
#include "common/ops/sequence.h"

extern const struct op_def op_im2sequence, op_im2sequence_grad;

enum { IM_KERNELS, IM_STRIDES, IM_PADDINGS, IM_OUT_STRIDE };
static const double ones[] = {1, 1}, zeros[] = {0, 0, 0, 0};
static const struct op_attr_def im_attrs[] = {
    {.name = "kernels", .type = ATTR_INTS, .required = true},
    {.name = "strides", .type = ATTR_INTS, .list = ones, .list_count = 2},
    {.name = "paddings", .type = ATTR_INTS, .list = zeros, .list_count = 4},
    {.name = "out_stride", .type = ATTR_INTS, .list = ones, .list_count = 2},
    {.name = NULL},
};
enum { IM_X, IM_Y };
static const struct op_slot_def im_inputs[] = {{"X", 0}, {"Y", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def im_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def im_grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def im_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// [0] is vertical, [1] horizontal.
struct patches {
    int64_t kernel[2], stride[2], before[2], after[2], out_stride[2];
    int64_t channels, side[2];   // of X
    int64_t width;               // elements of a patch
};

// The attributes, judged; x may hold -1.
static int read_patches(const struct attr *const *attr, const struct dims *x, struct patches *p,
                        struct err *err)
{
    static const int counts[] = {2, 2, 4, 2};
    bool ok = x->rank == 4;
    for (int a = 0; a < 4; a++)
        ok = ok && attr[a]->count == (size_t)counts[a];
    if (!ok)
        return err_set(err, SL_EINVAL,
                       "X must be [N, C, H, W], kernels, strides and out_stride two numbers, "
                       "paddings four");
    *p = (struct patches){.channels = x->d[1], .side = {x->d[2], x->d[3]}};
    for (int i = 0; i < 2; i++) {
        p->kernel[i] = attr[IM_KERNELS]->ints[i];
        p->stride[i] = attr[IM_STRIDES]->ints[i];
        p->before[i] = attr[IM_PADDINGS]->ints[i];
        p->after[i] = attr[IM_PADDINGS]->ints[i + 2];
        p->out_stride[i] = attr[IM_OUT_STRIDE]->ints[i];
        if (p->kernel[i] < 1 || p->stride[i] < 1 || p->out_stride[i] < 1 || p->before[i] < 0 ||
            p->after[i] < 0)
            return err_set(
                err, SL_EINVAL,
                "kernels, strides and out_stride must be positive, paddings not negative");
    }
    p->width = -1;
    if (p->channels >= 0 &&
        __builtin_mul_overflow(p->channels, p->kernel[0] * p->kernel[1], &p->width))
        return err_set(err, SL_ELIMIT, "a patch would have too many elements");
    return 0;
}

static int im_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, IM_X, 0), *y = op_shape_in(shape, IM_Y, 0);
    struct patches p;
    int rc = read_patches(shape->attr, &x->dims, &p, shape->err);
    if (rc == 0 && y != NULL &&
        (y->dims.rank != 2 || !op_dims_fit(y->dims.d[0], x->dims.d[0]) ||
         !op_dims_fit(y->dims.d[1], 2)))
        rc = err_set(shape->err, SL_EMISMATCH, "Y must be [N, 2]");
    if (rc < 0)
        return rc;
    const struct dims out = {.rank = 2, .d = {x->dims.d[0], p.width}};
    sequence_set_shape(shape, 0, &out, x->dtype, 1);
    return 0;
}

// Patches along direction i of an image with that side; 0 when none fits.
static int64_t places(const struct patches *p, int i, int64_t side)
{
    int64_t room = side + p->before[i] + p->after[i] - p->kernel[i];
    return room < 0 ? 0 : room / p->stride[i] + 1;
}

static double real_side(const struct tensor *y, size_t i)
{
    switch (y->dtype) {
    case DTYPE_FP32:
        return (double)tensor_f32(y)[i];
    case DTYPE_FP64:
        return tensor_f64(y)[i];
    case DTYPE_INT64:
        return (double)tensor_i64(y)[i];
    case DTYPE_INT32:
        return tensor_i32(y)[i];
    default:
        return -1;
    }
}

// How many patches image k has, down and across.
static int grid_of(const struct op_ctx *ctx, const struct patches *p, const struct tensor *y,
                   size_t k, int64_t out[2])
{
    for (int i = 0; i < 2; i++) {
        int64_t side = p->side[i];
        if (y != NULL) {
            double real = real_side(y, 2 * k + (size_t)i);
            if (!(real >= 1 && real <= INT32_MAX))
                return err_set(ctx->err, SL_EINVAL, "Y: side %d of image %zu is %g", i, k, real);
            side = ((int64_t)real + p->out_stride[i] - 1) / p->out_stride[i];
        }
        out[i] = places(p, i, side);
        if (out[i] < 1)
            return err_set(ctx->err, SL_EINVAL, "no patch of %lld x %lld fits into image %zu",
                           (long long)p->kernel[0], (long long)p->kernel[1], k);
    }
    return 0;
}

#define DEFINE_PATCHES(T, S)                                                                       \
    /* the patches of one image; what lies outside is 0 */                                         \
    static void take_##S(T *to, const T *image, const struct patches *p, const int64_t grid[2])    \
    {                                                                                              \
        for (int64_t a = 0; a < grid[0]; a++)                                                      \
            for (int64_t b = 0; b < grid[1]; b++)                                                  \
                for (int64_t c = 0; c < p->channels; c++)                                          \
                    for (int64_t i = 0; i < p->kernel[0]; i++)                                     \
                        for (int64_t j = 0; j < p->kernel[1]; j++) {                               \
                            int64_t h = a * p->stride[0] + i - p->before[0],                       \
                                    w = b * p->stride[1] + j - p->before[1];                       \
                            bool in = h >= 0 && h < p->side[0] && w >= 0 && w < p->side[1];        \
                            *to++ = in ? image[(c * p->side[0] + h) * p->side[1] + w] : 0;         \
                        }                                                                          \
    }                                                                                              \
    static void add_##S(T *image, const T *from, const struct patches *p, const int64_t grid[2])   \
    {                                                                                              \
        for (int64_t a = 0; a < grid[0]; a++)                                                      \
            for (int64_t b = 0; b < grid[1]; b++)                                                  \
                for (int64_t c = 0; c < p->channels; c++)                                          \
                    for (int64_t i = 0; i < p->kernel[0]; i++)                                     \
                        for (int64_t j = 0; j < p->kernel[1]; j++, from++) {                       \
                            int64_t h = a * p->stride[0] + i - p->before[0],                       \
                                    w = b * p->stride[1] + j - p->before[1];                       \
                            if (h >= 0 && h < p->side[0] && w >= 0 && w < p->side[1])              \
                                image[(c * p->side[0] + h) * p->side[1] + w] += *from;             \
                        }                                                                          \
    }

DEFINE_PATCHES(float, f32)
DEFINE_PATCHES(double, f64)

static int im_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, IM_X), *y = op_in(ctx, IM_Y);
    struct tensor *out = op_out(ctx, 0);
    size_t images = (size_t)x->dims.d[0];
    uint64_t *offsets = NULL;
    struct patches p;
    int64_t grid[2];
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    int rc = sequence_check_apart(ctx, out);
    if (rc == 0)
        rc = read_patches(ctx->attr, &x->dims, &p, ctx->err);
    if (rc == 0)
        rc = sequence_level(ctx, out, 1, 0, images + 1, &offsets);
    if (rc == 0)
        offsets[0] = 0;
    for (size_t k = 0; rc == 0 && k < images; k++) {
        rc = grid_of(ctx, &p, y, k, grid);
        if (rc == 0)
            offsets[k + 1] = offsets[k] + (uint64_t)(grid[0] * grid[1]);
    }
    if (rc == 0) {
        const struct dims dims = {.rank = 2, .d = {(int64_t)offsets[images], p.width}};
        rc = op_resize(out, x->dtype, &dims, ctx->err);
    }
    if (rc < 0) {
        tensor_clear_lod(out);
        return rc;
    }
    int64_t image = p.channels * p.side[0] * p.side[1];
    for (size_t k = 0; k < images && tensor_count(out) > 0; k++) {
        rc = grid_of(ctx, &p, y, k, grid);
        int64_t from = (int64_t)k * image, to = (int64_t)offsets[k] * p.width;
        if (x->dtype == DTYPE_FP32)
            take_f32(tensor_f32(out) + to, tensor_f32(x) + from, &p, grid);
        else
            take_f64(tensor_f64(out) + to, tensor_f64(x) + from, &p, grid);
    }
    return rc;
}

static int im_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0), *dout = op_in(ctx, 1);
    struct tensor *dx = op_out(ctx, 0);
    struct patches p;
    int64_t grid[2] = {0, 0}, images = x->dims.d[0];
    if (dx == NULL)
        return 0;
    if (dout->dtype != x->dtype || (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64))
        return op_bad_dtype(ctx, (int)dout->dtype);
    int rc = read_patches(ctx->attr, &x->dims, &p, ctx->err);
    if (rc == 0)
        rc = grid_of(ctx, &p, NULL, 0, grid);
    if (rc == 0 && (dout->dims.rank != 2 || dout->dims.d[1] != p.width ||
                    dout->dims.d[0] != images * grid[0] * grid[1]))
        rc = err_set(ctx->err, SL_EMISMATCH,
                     "Out@GRAD is not [patches of X, %lld]; there is no gradient with Y",
                     (long long)p.width);
    if (rc < 0 || tensor_count(dx) == 0)
        return rc;
    int64_t image = p.channels * p.side[0] * p.side[1], step = grid[0] * grid[1] * p.width;
    memset(dx->data, 0, tensor_bytes(dx));
    for (int64_t k = 0; k < images; k++) {
        if (x->dtype == DTYPE_FP32)
            add_f32(tensor_f32(dx) + k * image, tensor_f32(dout) + k * step, &p, grid);
        else
            add_f64(tensor_f64(dx) + k * image, tensor_f64(dout) + k * step, &p, grid);
    }
    return 0;
}

const struct op_def op_im2sequence = {
    .type = "im2sequence",
    .inputs = im_inputs,
    .outputs = im_outputs,
    .attrs = im_attrs,
    .grad = {.type = "im2sequence_grad", .inputs = "X Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = im_infer,
    .kernel = im_forward,
    .kernel_resizes = true,
};

const struct op_def op_im2sequence_grad = {
    .type = "im2sequence_grad",
    .inputs = im_grad_inputs,
    .outputs = im_grad_outputs,
    .attrs = im_attrs,
    .kernel = im_backward,
    .no_lod = true,
};
