// SPDX-License-Identifier: Apache-2.0
// reduce_sum, _mean, _max, _min, _prod (numbers), reduce_all, reduce_any (booleans) over the
// dimensions dim (or all: reduce_all), which stay with size 1 (keep_dim) or go; Out has at least
// one dimension. out_dtype, when it is not -1, is the type that X is converted to before.
//
//   sum    dX = dOut                     mean   dX = dOut / n, n elements of X an element of Out
//   max, min   dX = dOut wherever X equals Out: every one of equal greatest elements gets all of it
//   prod   dX = dOut Out (1 / X): not a number where X is 0, as in Fluid
//
// A NaN is never the greatest or the least. X is walked once in memory order: a run along reduced
// dimensions folds into one number in OP_LANES partial results, a run along kept ones into as many.

#include <math.h>

#include "common/base/err.h"
#include "common/ops/broadcast.h"
#include "common/ops/number.h"
#include "common/ops/op.h"
#include "common/ops/op_cast.h"
#include "common/ops/op_clones.h"

enum { REDUCE_DIM, REDUCE_KEEP_DIM, REDUCE_ALL, REDUCE_IN_DTYPE, REDUCE_OUT_DTYPE };
static const double dim_default[] = {0};
static const struct op_attr_def reduce_attrs[] = {
    {.name = "dim", .type = ATTR_INTS, .list = dim_default, .list_count = 1},
    OP_ATTR_BOOL("keep_dim", 0),
    OP_ATTR_BOOL("reduce_all", 0),
    OP_ATTR_INT("in_dtype", -1),
    OP_ATTR_INT("out_dtype", -1),
    {.name = NULL},
};
static const struct op_slot_def reduce_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def reduce_outputs[] = {{"Out", 0}, {NULL, 0}};
enum { REDUCE_GRAD_X, REDUCE_GRAD_DOUT, REDUCE_GRAD_OUT };
static const struct op_slot_def linear_grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def grad_inputs[] = {{"X", 0}, {"Out@GRAD", 0}, {"Out", 0}, {NULL, 0}};
static const struct op_slot_def grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

// out[0..n) (stride 1) or out[0] (stride 0) takes in x[0..n).
typedef void reduce_run(void *out, const void *x, int64_t n, int64_t stride);
typedef void reduce_fill(void *out, uint64_t n);
struct reduce_kind {
    reduce_fill *fill[NUMBERS];   // with the neutral element
    reduce_run *run[NUMBERS];
};

// dx[0..n) of x and the run of out and dout that it went into; count = elements of X an element of
// Out.
typedef void reduce_grad_run(void *dx, const void *x, const void *out, const void *dout, int64_t n,
                             int64_t stride, int64_t count);
struct reduce_grad_kind {
    reduce_grad_run *run[NUMBERS];
};

// a is what has been taken in so far, v the next value.
#define DEFINE_REDUCE(NAME, T, S, NEUTRAL, EXPR)                                                   \
    static void NAME##_fill_##S(void *out_, uint64_t n)                                            \
    {                                                                                              \
        T *out = out_;                                                                             \
        for (uint64_t i = 0; i < n; i++)                                                           \
            out[i] = NEUTRAL;                                                                      \
    }                                                                                              \
    OP_CLONES static void NAME##_run_##S(void *out_, const void *x_, int64_t n, int64_t stride)    \
    {                                                                                              \
        T *out = out_;                                                                             \
        const T *x = x_;                                                                           \
        if (stride) {                                                                              \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T a = out[i], v = x[i];                                                            \
                out[i] = EXPR;                                                                     \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        T lanes[OP_LANES], a = NEUTRAL;                                                            \
        for (int l = 0; l < OP_LANES; l++)                                                         \
            lanes[l] = a;                                                                          \
        int64_t i = 0;                                                                             \
        for (; i + OP_LANES <= n; i += OP_LANES)                                                   \
            for (int64_t l = 0; l < OP_LANES; l++) {                                               \
                T v = x[i + l];                                                                    \
                a = lanes[l];                                                                      \
                lanes[l] = EXPR;                                                                   \
            }                                                                                      \
        for (; i < n; i++) {                                                                       \
            T v = x[i];                                                                            \
            a = lanes[i % OP_LANES];                                                               \
            lanes[i % OP_LANES] = EXPR;                                                            \
        }                                                                                          \
        a = out[0];                                                                                \
        for (int l = 0; l < OP_LANES; l++) {                                                       \
            T v = lanes[l];                                                                        \
            a = EXPR;                                                                              \
        }                                                                                          \
        out[0] = a;                                                                                \
    }

// g = dOut and y = Out of the element that x went into.
#define DEFINE_GRAD(NAME, T, S, EXPR)                                                              \
    OP_CLONES static void NAME##_grad_##S(void *dx_, const void *x_, const void *out_,             \
                                          const void *dout_, int64_t n, int64_t stride,            \
                                          int64_t count)                                           \
    {                                                                                              \
        T *dx = dx_;                                                                               \
        const T *xs = x_, *out = out_, *dout = dout_;                                              \
        (void)out, (void)count;                                                                    \
        if (stride) {                                                                              \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T x = xs[i], g = dout[i], y = out[i];                                              \
                (void)x, (void)y;                                                                  \
                dx[i] = EXPR;                                                                      \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        T g = dout[0], y = out[0];                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T x = xs[i];                                                                           \
            (void)x, (void)y;                                                                      \
            dx[i] = EXPR;                                                                          \
        }                                                                                          \
    }

#define DEFINE_NUMBERS(T, S, LEAST, GREATEST)                                                      \
    DEFINE_REDUCE(sum, T, S, 0, a + v)                                                             \
    DEFINE_REDUCE(max, T, S, LEAST, v > a ? v : a)                                                 \
    DEFINE_REDUCE(min, T, S, GREATEST, v < a ? v : a)                                              \
    DEFINE_REDUCE(prod, T, S, 1, a *v)                                                             \
    DEFINE_GRAD(sum, T, S, g)                                                                      \
    DEFINE_GRAD(mean, T, S, g / (T)count)                                                          \
    DEFINE_GRAD(equal, T, S, x == y ? g : 0)                                                       \
    static void divide_##S(void *out_, uint64_t n, int64_t count)                                  \
    {                                                                                              \
        T *out = out_;                                                                             \
        for (uint64_t i = 0; i < n; i++)                                                           \
            out[i] /= (T)count;                                                                    \
    }

DEFINE_NUMBERS(float, f32, -INFINITY, INFINITY)
DEFINE_NUMBERS(double, f64, -INFINITY, INFINITY)
DEFINE_NUMBERS(int32_t, i32, INT32_MIN, INT32_MAX)
DEFINE_NUMBERS(int64_t, i64, INT64_MIN, INT64_MAX)
DEFINE_GRAD(prod, float, f32, g *y *(1 / x))
DEFINE_GRAD(prod, double, f64, g *y *(1 / x))
DEFINE_REDUCE(all, uint8_t, bool, 1, a &&v)
DEFINE_REDUCE(any, uint8_t, bool, 0, a || v)

#define OF_NUMBERS(NAME)                                                                           \
    {                                                                                              \
        NAME##_f32, NAME##_f64, NAME##_i32, NAME##_i64                                             \
    }
#define KIND(NAME)                                                                                 \
    {                                                                                              \
        OF_NUMBERS(NAME##_fill), OF_NUMBERS(NAME##_run)                                            \
    }
static const struct reduce_kind sum_kind = KIND(sum), max_kind = KIND(max), min_kind = KIND(min),
                                prod_kind = KIND(prod);
static const struct reduce_grad_kind sum_grad = {OF_NUMBERS(sum_grad)},
                                     mean_grad = {OF_NUMBERS(mean_grad)},
                                     equal_grad = {OF_NUMBERS(equal_grad)},
                                     prod_grad = {{prod_grad_f32, prod_grad_f64}};

// The shape of Out with all dimensions kept: 1 for the reduced ones.
static int kept_dims(const struct dims *x, const struct attr *const *attr, struct dims *out_kept,
                     struct err *err)
{
    const struct attr *dim = attr[REDUCE_DIM];
    bool reduced[LIMIT_RANK] = {false}, all = attr_bool(attr[REDUCE_ALL]);
    if (!all && dim->count == 0)
        return err_set(err, SL_EINVAL, "dim names no dimension and reduce_all is not set");
    for (size_t i = 0; !all && i < dim->count; i++) {
        int axis = op_axis(dim->ints[i], x->rank);
        if (axis < 0)
            return err_set(err, SL_EINVAL, "dim %lld is not within the rank %d",
                           (long long)dim->ints[i], x->rank);
        if (reduced[axis])
            return err_set(err, SL_EINVAL, "dim names dimension %d twice", axis);
        reduced[axis] = true;
    }
    *out_kept = *x;
    for (int i = 0; i < x->rank; i++)
        if (all || reduced[i])
            out_kept->d[i] = 1;
    return 0;
}

// Is dimension i of X reduced?
static bool is_reduced(const struct dims *x, const struct attr *const *attr, int i)
{
    const struct attr *dim = attr[REDUCE_DIM];
    if (attr_bool(attr[REDUCE_ALL]))
        return true;
    for (size_t k = 0; k < dim->count; k++)
        if (op_axis(dim->ints[k], x->rank) == i)
            return true;
    return false;
}

static int reduce_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    int64_t dtype = shape->attr[REDUCE_OUT_DTYPE]->i;
    struct dims kept, out = {.rank = 0};
    int rc = kept_dims(&x->dims, shape->attr, &kept, shape->err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < x->dims.rank; i++)
        if (attr_bool(shape->attr[REDUCE_KEEP_DIM]) || !is_reduced(&x->dims, shape->attr, i))
            out.d[out.rank++] = kept.d[i];
    if (out.rank == 0)
        out = (struct dims){.rank = 1, .d = {1}};
    bool rows_kept = x->dims.rank > 0 && !is_reduced(&x->dims, shape->attr, 0);
    op_shape_set(shape, 0, 0, &out, dtype >= 0 ? (int)dtype : x->dtype, rows_kept ? x : NULL);
    return 0;
}

static int reduce_grad_infer(struct op_shape *shape)
{
    struct dims kept;
    int rc = kept_dims(&op_shape_in(shape, 0, 0)->dims, shape->attr, &kept, shape->err);
    if (rc == 0)
        op_shape_default(shape);
    return rc;
}

// t itself, or a copy in temp with another element type.
static int convert(const struct op_ctx *ctx, const struct tensor *t, enum dtype dtype,
                   struct tensor *temp, const struct tensor **out)
{
    *out = t;
    if (t->dtype == dtype)
        return 0;
    if (t->dtype == DTYPE_FP16)
        return op_bad_dtype(ctx, (int)t->dtype);
    int rc = op_resize(temp, dtype, &t->dims, ctx->err);
    if (rc < 0)
        return rc;
    op_cast_run(temp, t);
    *out = temp;
    return 0;
}

static int reduce_walk(struct op_ctx *ctx, const struct tensor *x, reduce_fill *fill,
                       reduce_run *run)
{
    struct tensor *out = op_out(ctx, 0);
    struct dims kept;
    struct broadcast b;
    struct broadcast_at at = {0};
    size_t bytes = dtype_bytes(x->dtype);
    int rc = kept_dims(&x->dims, ctx->attr, &kept, ctx->err);
    if (rc < 0)
        return rc;
    fill(out->data, tensor_count(out));
    broadcast_plan(&kept, &x->dims, -1, &b);
    if (b.empty)
        return 0;
    do {
        run((char *)out->data + (size_t)at.x * bytes, (const char *)x->data + (size_t)at.y * bytes,
            b.d[b.rank - 1], b.x[b.rank - 1]);
    } while (broadcast_next(&b, &at));
    return 0;
}

static int reduce_numbers(struct op_ctx *ctx, const struct reduce_kind *kind)
{
    struct tensor *out = op_out(ctx, 0);
    const struct tensor *x = NULL;
    int number = number_of(out->dtype);
    if (number < 0)
        return op_bad_dtype(ctx, (int)out->dtype);
    int rc = convert(ctx, op_in(ctx, 0), out->dtype, &ctx->temps[0], &x);
    return rc < 0 ? rc : reduce_walk(ctx, x, kind->fill[number], kind->run[number]);
}

static int sum_forward(struct op_ctx *ctx)
{
    return reduce_numbers(ctx, &sum_kind);
}

static int mean_forward(struct op_ctx *ctx)
{
    static void (*const divide[NUMBERS])(void *, uint64_t, int64_t) = OF_NUMBERS(divide);
    struct tensor *out = op_out(ctx, 0);
    uint64_t n = tensor_count(out), count = n ? tensor_count(op_in(ctx, 0)) / n : 0;
    int rc = reduce_numbers(ctx, &sum_kind);
    if (rc == 0 && (count > 0 || out->dtype == DTYPE_FP32 || out->dtype == DTYPE_FP64))
        divide[number_of(out->dtype)](out->data, n, (int64_t)count);
    return rc;
}

static int max_forward(struct op_ctx *ctx)
{
    return reduce_numbers(ctx, &max_kind);
}

static int min_forward(struct op_ctx *ctx)
{
    return reduce_numbers(ctx, &min_kind);
}

static int prod_forward(struct op_ctx *ctx)
{
    return reduce_numbers(ctx, &prod_kind);
}

static int reduce_booleans(struct op_ctx *ctx, reduce_fill *fill, reduce_run *run)
{
    const struct tensor *x = op_in(ctx, 0);
    if (x->dtype != DTYPE_BOOL || op_out(ctx, 0)->dtype != DTYPE_BOOL)
        return err_set(ctx->err, SL_EUNSUPPORTED, "X is %s; it must be bool",
                       dtype_name((int)x->dtype));
    return reduce_walk(ctx, x, fill, run);
}

static int all_forward(struct op_ctx *ctx)
{
    return reduce_booleans(ctx, all_fill_bool, all_run_bool);
}

static int any_forward(struct op_ctx *ctx)
{
    return reduce_booleans(ctx, any_fill_bool, any_run_bool);
}

static int reduce_backward(struct op_ctx *ctx, const struct reduce_grad_kind *kind)
{
    bool needs_out = ctx->def->inputs[REDUCE_GRAD_OUT].name != NULL;
    const struct tensor *x = op_in(ctx, REDUCE_GRAD_X), *dout = NULL, *out;
    struct tensor *dx = op_out(ctx, 0);
    struct dims kept;
    struct broadcast b;
    struct broadcast_at at = {0};
    int number = number_of(x->dtype);
    if (dx == NULL)
        return 0;
    if (number < 0 || kind->run[number] == NULL)
        return op_bad_dtype(ctx, (int)x->dtype);
    int rc = kept_dims(&x->dims, ctx->attr, &kept, ctx->err);
    if (rc == 0)
        rc = convert(ctx, op_in(ctx, REDUCE_GRAD_DOUT), x->dtype, &ctx->temps[0], &dout);
    if (rc < 0)
        return rc;
    out = dout;
    if (needs_out &&
        (rc = convert(ctx, op_in(ctx, REDUCE_GRAD_OUT), x->dtype, &ctx->temps[1], &out)) < 0)
        return rc;
    broadcast_plan(&kept, &x->dims, -1, &b);
    uint64_t n = (uint64_t)dims_product(&kept, 0, kept.rank);
    if (tensor_count(dout) != n || tensor_count(out) != n)
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has %llu elements, Out must have %llu",
                       (unsigned long long)tensor_count(dout), (unsigned long long)n);
    if (b.empty)
        return 0;
    int64_t count = (int64_t)(tensor_count(x) / n);
    size_t bytes = dtype_bytes(x->dtype);
    do {
        size_t from = (size_t)at.x * bytes, to = (size_t)at.y * bytes;
        kind->run[number]((char *)dx->data + to, (const char *)x->data + to,
                          (const char *)out->data + from, (const char *)dout->data + from,
                          b.d[b.rank - 1], b.x[b.rank - 1], count);
    } while (broadcast_next(&b, &at));
    return 0;
}

static int sum_backward(struct op_ctx *ctx)
{
    return reduce_backward(ctx, &sum_grad);
}

static int mean_backward(struct op_ctx *ctx)
{
    return reduce_backward(ctx, &mean_grad);
}

static int equal_backward(struct op_ctx *ctx)
{
    return reduce_backward(ctx, &equal_grad);
}

static int prod_backward(struct op_ctx *ctx)
{
    return reduce_backward(ctx, &prod_grad);
}

#define REDUCE_OP(NAME, ...)                                                                       \
    extern const struct op_def op_reduce_##NAME;                                                   \
    const struct op_def op_reduce_##NAME = {.type = "reduce_" #NAME,                               \
                                            .inputs = reduce_inputs,                               \
                                            .outputs = reduce_outputs,                             \
                                            .attrs = reduce_attrs,                                 \
                                            .infer_shape = reduce_infer,                           \
                                            .kernel = NAME##_forward,                              \
                                            .temps = 1,                                            \
                                            __VA_ARGS__};
#define REDUCE_GRAD_OP(NAME, BACKWARD, SLOTS)                                                      \
    extern const struct op_def op_reduce_##NAME##_grad;                                            \
    const struct op_def op_reduce_##NAME##_grad = {                                                \
        .type = "reduce_" #NAME "_grad",                                                           \
        .inputs = SLOTS,                                                                           \
        .outputs = grad_outputs,                                                                   \
        .attrs = reduce_attrs,                                                                     \
        .infer_shape = reduce_grad_infer,                                                          \
        .kernel = BACKWARD,                                                                        \
        .temps = 2,                                                                                \
    };
#define GRAD_RULE(NAME, INPUTS)                                                                    \
    .grad = {.type = "reduce_" #NAME "_grad", .inputs = INPUTS, .outputs = "X@GRAD"}

REDUCE_OP(sum, GRAD_RULE(sum, "X Out@GRAD"))
REDUCE_OP(mean, GRAD_RULE(mean, "X Out@GRAD"))
REDUCE_OP(max, GRAD_RULE(max, "X Out Out@GRAD"))
REDUCE_OP(min, GRAD_RULE(min, "X Out Out@GRAD"))
REDUCE_OP(prod, GRAD_RULE(prod, "X Out Out@GRAD"))
REDUCE_OP(all, .grad = {.type = NULL})
REDUCE_OP(any, .grad = {.type = NULL})
REDUCE_GRAD_OP(sum, sum_backward, linear_grad_inputs)
REDUCE_GRAD_OP(mean, mean_backward, linear_grad_inputs)
REDUCE_GRAD_OP(max, equal_backward, grad_inputs)
REDUCE_GRAD_OP(min, equal_backward, grad_inputs)
REDUCE_GRAD_OP(prod, prod_backward, grad_inputs)
