// SPDX-License-Identifier: Apache-2.0
// Numbers counted out.
//
//   range     Start, Start + Step, .. up to End (not itself), each the one before plus Step
//   linspace  Num numbers from Start on, each the one before plus (Stop - Start) / (Num - 1)
//   size      how many elements Input has, int64
//
// The running sum is Fluid's: rounding adds up the same way.

#include <math.h>

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_range, op_range_linspace, op_range_size;

static const struct op_attr_def no_attrs[] = {{.name = NULL}};
enum { RANGE_START, RANGE_END, RANGE_STEP };
static const struct op_slot_def range_inputs[] = {{"Start", 0}, {"End", 0}, {"Step", 0}, {NULL, 0}};
enum { LINSPACE_START, LINSPACE_STOP, LINSPACE_NUM };
static const struct op_slot_def linspace_inputs[] = {
    {"Start", 0}, {"Stop", 0}, {"Num", 0}, {NULL, 0}};
static const struct op_slot_def size_inputs[] = {{"Input", 0}, {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};

static int counted_infer(struct op_shape *shape)
{
    const struct dims out = {.rank = 1, .d = {-1}};
    op_shape_set(shape, 0, 0, &out, op_shape_in(shape, 0, 0)->dtype, NULL);
    return 0;
}

static int check_one(const struct op_ctx *ctx, int slot, enum dtype dtype)
{
    const struct tensor *t = op_in(ctx, slot);
    if (tensor_count(t) != 1 || t->dtype != dtype)
        return err_set(ctx->err, SL_EMISMATCH, "%s must be one element of type %s",
                       ctx->def->inputs[slot].name, dtype_name((int)dtype));
    return 0;
}

static int resize_to(struct op_ctx *ctx, double count, enum dtype dtype)
{
    if (!(count >= 0 && count < 9e15))
        return err_set(ctx->err, SL_ELIMIT, "%g numbers are not possible", count);
    const struct dims dims = {.rank = 1, .d = {(int64_t)count}};
    return op_resize(op_out(ctx, 0), dtype, &dims, ctx->err);
}

// COUNT is ceil(|end - start| / |step|) in the element type's own arithmetic.
#define DEFINE_RANGE(T, S, COUNT)                                                                  \
    static int range_##S(struct op_ctx *ctx, const T *start_at, const T *end_at, const T *step_at) \
    {                                                                                              \
        T start = *start_at, end = *end_at, step = *step_at;                                       \
        if (step == 0 || (start < end && step < 0) || (start > end && step > 0))                   \
            return err_set(ctx->err, SL_EINVAL, "Step %g does not lead from %g to %g",             \
                           (double)step, (double)start, (double)end);                              \
        int rc = resize_to(ctx, (double)(COUNT), op_in(ctx, RANGE_START)->dtype);                  \
        if (rc < 0)                                                                                \
            return rc;                                                                             \
        T *out = op_out(ctx, 0)->data, value = start;                                              \
        for (uint64_t i = 0, n = tensor_count(op_out(ctx, 0)); i < n; i++) {                       \
            out[i] = value;                                                                        \
            value += step;                                                                         \
        }                                                                                          \
        return 0;                                                                                  \
    }

static uint64_t whole_steps(int64_t start, int64_t end, int64_t step)
{
    uint64_t way = end > start ? (uint64_t)end - (uint64_t)start : (uint64_t)start - (uint64_t)end;
    uint64_t each = step > 0 ? (uint64_t)step : -(uint64_t)step;
    return way / each + (way % each != 0);
}

DEFINE_RANGE(float, f32, ceil(fabs((double)((end - start) / step))))
DEFINE_RANGE(double, f64, ceil(fabs((end - start) / step)))
DEFINE_RANGE(int32_t, i32, whole_steps(start, end, step))
DEFINE_RANGE(int64_t, i64, whole_steps(start, end, step))

static int range_forward(struct op_ctx *ctx)
{
    const struct tensor *start = op_in(ctx, RANGE_START), *end = op_in(ctx, RANGE_END);
    const struct tensor *step = op_in(ctx, RANGE_STEP);
    int rc = 0;
    for (int s = RANGE_START; rc == 0 && s <= RANGE_STEP; s++)
        rc = check_one(ctx, s, start->dtype);
    if (rc < 0)
        return rc;
    switch (start->dtype) {
    case DTYPE_FP32:
        return range_f32(ctx, start->data, end->data, step->data);
    case DTYPE_FP64:
        return range_f64(ctx, start->data, end->data, step->data);
    case DTYPE_INT32:
        return range_i32(ctx, start->data, end->data, step->data);
    case DTYPE_INT64:
        return range_i64(ctx, start->data, end->data, step->data);
    default:
        return op_bad_dtype(ctx, (int)start->dtype);
    }
}

#define DEFINE_LINSPACE(T, S)                                                                      \
    static void linspace_##S(T *out, T start, T stop, uint64_t n)                                  \
    {                                                                                              \
        T step = n > 1 ? (stop - start) / (T)(n - 1) : 0, value = start;                           \
        for (uint64_t i = 0; i < n; i++) {                                                         \
            out[i] = value;                                                                        \
            value += step;                                                                         \
        }                                                                                          \
    }

DEFINE_LINSPACE(float, f32)
DEFINE_LINSPACE(double, f64)

static int linspace_forward(struct op_ctx *ctx)
{
    const struct tensor *start = op_in(ctx, LINSPACE_START), *stop = op_in(ctx, LINSPACE_STOP);
    struct tensor *out = op_out(ctx, 0);
    int rc = check_one(ctx, LINSPACE_START, start->dtype);
    if (rc == 0)
        rc = check_one(ctx, LINSPACE_STOP, start->dtype);
    if (rc == 0)
        rc = check_one(ctx, LINSPACE_NUM, DTYPE_INT32);
    if (rc == 0 && *tensor_i32(op_in(ctx, LINSPACE_NUM)) < 1)
        rc = err_set(ctx->err, SL_EINVAL, "Num is %d", *tensor_i32(op_in(ctx, LINSPACE_NUM)));
    if (rc == 0)
        rc = resize_to(ctx, *tensor_i32(op_in(ctx, LINSPACE_NUM)), start->dtype);
    if (rc < 0)
        return rc;
    if (start->dtype == DTYPE_FP32)
        linspace_f32(tensor_f32(out), *tensor_f32(start), *tensor_f32(stop), tensor_count(out));
    else if (start->dtype == DTYPE_FP64)
        linspace_f64(tensor_f64(out), *tensor_f64(start), *tensor_f64(stop), tensor_count(out));
    else
        return op_bad_dtype(ctx, (int)start->dtype);
    return 0;
}

static int size_infer(struct op_shape *shape)
{
    const struct dims out = {.rank = 1, .d = {1}};
    op_shape_set(shape, 0, 0, &out, DTYPE_INT64, NULL);
    return 0;
}

static int size_forward(struct op_ctx *ctx)
{
    *tensor_i64(op_out(ctx, 0)) = (int64_t)tensor_count(op_in(ctx, 0));
    return 0;
}

const struct op_def op_range = {
    .type = "range",
    .inputs = range_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .infer_shape = counted_infer,
    .kernel = range_forward,
    .kernel_resizes = true,
};

const struct op_def op_range_linspace = {
    .type = "linspace",
    .inputs = linspace_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .infer_shape = counted_infer,
    .kernel = linspace_forward,
    .kernel_resizes = true,
};

const struct op_def op_range_size = {
    .type = "size",
    .inputs = size_inputs,
    .outputs = out_output,
    .attrs = no_attrs,
    .infer_shape = size_infer,
    .kernel = size_forward,
};
