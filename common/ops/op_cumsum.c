// SPDX-License-Identifier: Apache-2.0
// cumsum: running sums along an axis.
//
//   Out[k] = X[0] + ... + X[k]     (exclusive: without X[k]; reverse: from the end)
//
// The gradient is a cumsum of dOut the other way round. Out may be X's
// memory when the sums are not exclusive.

#include <stdint.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/number.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

extern const struct op_def op_cumsum;

enum { CUMSUM_AXIS, CUMSUM_EXCLUSIVE, CUMSUM_REVERSE };
static const struct op_attr_def cumsum_attrs[] = {
    OP_ATTR_INT("axis", -1),
    OP_ATTR_BOOL("exclusive", 0),
    OP_ATTR_BOOL("reverse", 0),
    {.name = NULL},
};
static const struct op_slot_def cumsum_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def cumsum_outputs[] = {{"Out", 0}, {NULL, 0}};

// x as outer x steps x inner.
struct layout {
    int64_t outer, steps, inner;
    bool exclusive, reverse;
};

#define DEFINE_CUMSUM(T, S)                                                                        \
    static void cumsum_##S(void *out_, const void *x_, struct layout l)                            \
    {                                                                                              \
        T *out = out_;                                                                             \
        const T *x = x_;                                                                           \
        const int64_t step = l.reverse ? -l.inner : l.inner;                                       \
        for (int64_t o = 0; o < l.outer; o++) {                                                    \
            int64_t at = o * l.steps * l.inner + (l.reverse ? (l.steps - 1) * l.inner : 0);        \
            if (l.exclusive)                                                                       \
                memset(out + at, 0, (size_t)l.inner * sizeof *out);                                \
            else                                                                                   \
                memmove(out + at, x + at, (size_t)l.inner * sizeof *out);                          \
            for (int64_t k = 1; k < l.steps; k++) {                                                \
                const T *sum = out + at, *add = l.exclusive ? x + at : x + at + step;              \
                at += step;                                                                        \
                for (int64_t i = 0; i < l.inner; i++)                                              \
                    out[at + i] = sum[i] + add[i];                                                 \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_CUMSUM(float, f32)
DEFINE_CUMSUM(double, f64)
DEFINE_CUMSUM(int32_t, i32)
DEFINE_CUMSUM(int64_t, i64)

static int cumsum_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    char text[DIMS_TEXT_MAX];
    if (op_axis(shape->attr[CUMSUM_AXIS]->i, x->dims.rank) < 0)
        return err_set(shape->err, SL_EINVAL, "X %s has no axis %lld", dims_format(&x->dims, text),
                       (long long)shape->attr[CUMSUM_AXIS]->i);
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int cumsum_forward(struct op_ctx *ctx)
{
    static void (*const runs[])(void *, const void *, struct layout) = {cumsum_f32, cumsum_f64,
                                                                        cumsum_i32, cumsum_i64};
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    int axis = op_axis(ctx->attr[CUMSUM_AXIS]->i, x->dims.rank), number = number_of(x->dtype);
    if (number < 0)
        return op_bad_dtype(ctx, (int)x->dtype);
    struct layout l = {.outer = dims_product(&x->dims, 0, axis),
                       .steps = x->dims.d[axis],
                       .inner = dims_product(&x->dims, axis + 1, x->dims.rank),
                       .exclusive = attr_bool(ctx->attr[CUMSUM_EXCLUSIVE]),
                       .reverse = attr_bool(ctx->attr[CUMSUM_REVERSE])};
    if (tensor_count(x) == 0)
        return 0;
    if (l.exclusive && out->data == x->data)
        return err_set(ctx->err, SL_EUNSUPPORTED, "Out of an exclusive sum may not be X itself");
    runs[number](out->data, x->data, l);
    return 0;
}

static int cumsum_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    struct op_desc *op = out_max > 0 ? op_grad_unary(forward, "cumsum", 0) : NULL;
    if (op == NULL)
        return SL_EINVAL;
    op_desc_set_int(op, "axis", op_desc_get_int(forward, "axis", -1));
    op_desc_set_bool(op, "exclusive", op_desc_get_int(forward, "exclusive", 0) != 0);
    op_desc_set_bool(op, "reverse", op_desc_get_int(forward, "reverse", 0) == 0);
    out[0] = op;
    return 1;
}

const struct op_def op_cumsum = {
    .type = "cumsum",
    .inputs = cumsum_inputs,
    .outputs = cumsum_outputs,
    .attrs = cumsum_attrs,
    .grad = {.make = cumsum_grad},
    .infer_shape = cumsum_infer,
    .kernel = cumsum_forward,
};
