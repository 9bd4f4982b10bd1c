// SPDX-License-Identifier: Apache-2.0
// kldiv_loss, the Kullback-Leibler divergence of exp(X) from Target:
//   L  = Target (log(Target) - X) where Target > 0, else 0
//   reduction: none; sum, mean (over the elements) or batchmean (over the first side) of L, [1]
//   dX = -Target dLoss where Target > 0, else 0, divided like L

#include <tgmath.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/lanes.h"
#include "common/ops/op.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_kldiv, op_kldiv_grad;

enum { KLDIV_REDUCTION };
static const struct op_attr_def kldiv_attrs[] = {
    OP_ATTR_STRING("reduction", "mean"),
    {.name = NULL},
};

enum { KLDIV_X, KLDIV_TARGET, KLDIV_DLOSS };
static const struct op_slot_def kldiv_inputs[] = {{"X", 0}, {"Target", 0}, {NULL, 0}};
static const struct op_slot_def kldiv_outputs[] = {{"Loss", 0}, {NULL, 0}};
static const struct op_slot_def kldiv_grad_inputs[] = {
    {"X", 0}, {"Target", 0}, {"Loss@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def kldiv_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

#define DEFINE_KLDIV(T, S)                                                                         \
    static void kldiv_forward_##S(T *loss, const T *x, const T *target, size_t n)                  \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            loss[i] = target[i] > 0 ? target[i] * (log(target[i]) - x[i]) : 0;                     \
    }                                                                                              \
    /* step 0: one dloss for all */                                                                \
    static void kldiv_backward_##S(T *dx, const T *target, const T *dloss, size_t step, T divisor, \
                                   size_t n)                                                       \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            dx[i] = target[i] > 0 ? -target[i] * dloss[i * step] / divisor : 0;                    \
    }

DEFINE_KLDIV(float, f32)
DEFINE_KLDIV(double, f64)

enum reduction { REDUCTION_NONE, REDUCTION_SUM, REDUCTION_MEAN, REDUCTION_BATCHMEAN };

static int kldiv_reduction(const struct attr *attr, struct err *err)
{
    static const char *const names[] = {"none", "sum", "mean", "batchmean"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (str_eq(attr->s, names[i]))
            return i;
    return err_set(err, SL_EINVAL, "reduction \"%s\" is none of none, sum, mean, batchmean",
                   attr->s);
}

static uint64_t kldiv_divisor(int reduction, const struct tensor *x)
{
    return reduction == REDUCTION_MEAN        ? tensor_count(x)
           : reduction == REDUCTION_BATCHMEAN ? (uint64_t)x->dims.d[0]
                                              : 1;
}

static int check_rank(const struct op_shape *shape)
{
    if (op_shape_in(shape, KLDIV_X, 0)->dims.rank < 1)
        return err_set(shape->err, SL_EMISMATCH, "X must have at least one dimension");
    return 0;
}

static int kldiv_infer(struct op_shape *shape)
{
    const struct dims one = {.rank = 1, .d = {1}};
    int reduction = kldiv_reduction(shape->attr[KLDIV_REDUCTION], shape->err);
    int rc = reduction < 0 ? reduction : check_rank(shape);
    if (rc == 0)
        rc = shape_check_same(shape, KLDIV_X, KLDIV_TARGET);
    if (rc == 0 && reduction == REDUCTION_NONE)
        op_shape_bare(shape);
    else if (rc == 0)
        op_shape_set(shape, 0, 0, &one, op_shape_in(shape, KLDIV_X, 0)->dtype, NULL);
    return rc;
}

static int kldiv_grad_infer(struct op_shape *shape)
{
    int rc = check_rank(shape);
    if (rc == 0)
        rc = shape_check_same(shape, KLDIV_X, KLDIV_TARGET);
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

// A reduced loss goes through a temporary with the loss of each element.
static int kldiv_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, KLDIV_X), *target = op_in(ctx, KLDIV_TARGET);
    struct tensor *loss = op_out(ctx, 0), *each = loss;
    int reduction = kldiv_reduction(ctx->attr[KLDIV_REDUCTION], ctx->err);
    int rc = reduction < 0 ? reduction : shape_check_floats(ctx, (const int[]){KLDIV_TARGET, -1});
    if (rc == 0 && reduction != REDUCTION_NONE) {
        each = &ctx->temps[0];
        rc = op_resize(each, x->dtype, &x->dims, ctx->err);
    }
    if (rc < 0)
        return rc;
    uint64_t n = tensor_count(x), divisor = kldiv_divisor(reduction, x);
    if (x->dtype == DTYPE_FP32) {
        kldiv_forward_f32(tensor_f32(each), tensor_f32(x), tensor_f32(target), n);
        if (each != loss)
            *tensor_f32(loss) = lanes_sum_f32(tensor_f32(each), n) / (float)divisor;
    } else {
        kldiv_forward_f64(tensor_f64(each), tensor_f64(x), tensor_f64(target), n);
        if (each != loss)
            *tensor_f64(loss) = lanes_sum_f64(tensor_f64(each), n) / (double)divisor;
    }
    return 0;
}

static int kldiv_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, KLDIV_X), *target = op_in(ctx, KLDIV_TARGET),
                        *dloss = op_in(ctx, KLDIV_DLOSS);
    struct tensor *dx = op_out(ctx, 0);
    int reduction = kldiv_reduction(ctx->attr[KLDIV_REDUCTION], ctx->err);
    int rc = reduction < 0 ? reduction
                           : shape_check_floats(ctx, (const int[]){KLDIV_TARGET, KLDIV_DLOSS, -1});
    if (rc < 0 || dx == NULL)
        return rc;
    uint64_t n = tensor_count(x), divisor = kldiv_divisor(reduction, x);
    if (tensor_count(dloss) != (reduction == REDUCTION_NONE ? n : 1))
        return err_set(ctx->err, SL_EMISMATCH, "Loss@GRAD has %llu elements for reduction %s",
                       (unsigned long long)tensor_count(dloss), ctx->attr[KLDIV_REDUCTION]->s);
    if (x->dtype == DTYPE_FP32)
        kldiv_backward_f32(tensor_f32(dx), tensor_f32(target), tensor_f32(dloss),
                           reduction == REDUCTION_NONE, (float)divisor, n);
    else
        kldiv_backward_f64(tensor_f64(dx), tensor_f64(target), tensor_f64(dloss),
                           reduction == REDUCTION_NONE, (double)divisor, n);
    return 0;
}

const struct op_def op_kldiv = {
    .type = "kldiv_loss",
    .inputs = kldiv_inputs,
    .outputs = kldiv_outputs,
    .attrs = kldiv_attrs,
    .grad = {.type = "kldiv_loss_grad", .inputs = "X Target Loss@GRAD", .outputs = "X@GRAD"},
    .infer_shape = kldiv_infer,
    .kernel = kldiv_forward,
    .temps = 1,
};

const struct op_def op_kldiv_grad = {
    .type = "kldiv_loss_grad",
    .inputs = kldiv_grad_inputs,
    .outputs = kldiv_grad_outputs,
    .attrs = kldiv_attrs,
    .infer_shape = kldiv_grad_infer,
    .kernel = kldiv_backward,
    .no_lod = true,
};
