// SPDX-License-Identifier: Apache-2.0
// Order along one axis; around it a tensor is [outer, n, inner].
//
//   argsort          Out = X sorted along `axis` (up, or down when `descending`), Indices = where
//                    each came from.                              dX[Indices[i]] = dOut[i]
//   arg_max, arg_min the place of the greatest (least) number, the first of equal ones; NaN and
//                    numbers beyond every finite one are never it. dtype -1: int64
//
// Equal numbers come in the order that introspective sorting leaves them in (Fluid sorts that way):
// median of three, partition until 16 remain, then insertion; heap sort when it goes too deep. NaN
// counts as beyond all numbers, which keeps the scans within bounds.

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"

extern const struct op_def op_sort_argsort, op_sort_argsort_grad;
extern const struct op_def op_sort_arg_max, op_sort_arg_min;

enum { ARGSORT_AXIS, ARGSORT_DESCENDING };
static const struct op_attr_def argsort_attrs[] = {
    OP_ATTR_INT("axis", -1),
    OP_ATTR_BOOL("descending", 0),
    {.name = NULL},
};
enum { ARG_AXIS, ARG_KEEPDIMS, ARG_DTYPE };
static const struct op_attr_def arg_attrs[] = {
    {.name = "axis", .type = ATTR_LONG, .required = true},
    OP_ATTR_BOOL("keepdims", 0),
    OP_ATTR_INT("dtype", -1),
    {.name = NULL},
};
static const struct op_slot_def x_input[] = {{"X", 0}, {NULL, 0}};
enum { ARGSORT_OUT, ARGSORT_INDICES };
static const struct op_slot_def argsort_outputs[] = {{"Out", 0}, {"Indices", 0}, {NULL, 0}};
static const struct op_slot_def out_output[] = {{"Out", 0}, {NULL, 0}};
enum { ARGSORT_GRAD_INDICES = 1, ARGSORT_GRAD_DOUT };
static const struct op_slot_def argsort_grad_inputs[] = {
    {"X", 0}, {"Indices", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def x_grad_output[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

struct axis_view {
    int64_t outer, n, inner;
};

static int view_axis(const struct dims *x, int64_t attr, struct axis_view *out, struct err *err)
{
    int axis = op_axis(attr, x->rank);
    if (axis < 0)
        return err_set(err, SL_EINVAL, "axis %lld is not within X's rank %d", (long long)attr,
                       x->rank);
    out->outer = dims_product(x, 0, axis);
    out->n = x->d[axis];
    out->inner = dims_product(x, axis + 1, x->rank);
    return axis;
}

// One sorter a type. `before` says which of two comes first: NaN after everything when going up,
// before everything when going down.
#define SORT_SMALL 16
#define DEFINE_SORT(T, S)                                                                          \
    struct item_##S {                                                                              \
        T value;                                                                                   \
        int64_t index;                                                                             \
    };                                                                                             \
    static bool before_##S(T a, T b, bool down)                                                    \
    {                                                                                              \
        if (down)                                                                                  \
            return a > b || (a != a && b == b);                                                    \
        return a < b || (b != b && a == a);                                                        \
    }                                                                                              \
    static void swap_##S(struct item_##S *a, struct item_##S *b)                                   \
    {                                                                                              \
        struct item_##S kept = *a;                                                                 \
        *a = *b;                                                                                   \
        *b = kept;                                                                                 \
    }                                                                                              \
    /* the hole sinks to a leaf along the later children, then item rises to its place */          \
    static void sift_##S(struct item_##S *a, int64_t hole, int64_t n, struct item_##S item,        \
                         bool down)                                                                \
    {                                                                                              \
        int64_t top = hole;                                                                        \
        for (int64_t child = 2 * hole + 2; child <= n; child = 2 * hole + 2) {                     \
            if (child == n || before_##S(a[child].value, a[child - 1].value, down))                \
                child--;                                                                           \
            a[hole] = a[child];                                                                    \
            hole = child;                                                                          \
        }                                                                                          \
        for (; hole > top && before_##S(a[(hole - 1) / 2].value, item.value, down);                \
             hole = (hole - 1) / 2)                                                                \
            a[hole] = a[(hole - 1) / 2];                                                           \
        a[hole] = item;                                                                            \
    }                                                                                              \
    static void heap_sort_##S(struct item_##S *a, int64_t n, bool down)                            \
    {                                                                                              \
        for (int64_t i = n / 2 - 1; i >= 0; i--)                                                   \
            sift_##S(a, i, n, a[i], down);                                                         \
        for (int64_t last = n - 1; last > 0; last--) {                                             \
            struct item_##S item = a[last];                                                        \
            a[last] = a[0];                                                                        \
            sift_##S(a, 0, last, item, down);                                                      \
        }                                                                                          \
    }                                                                                              \
    /* the median of a[1], the middle and the last one goes to a[0] */                             \
    static void median_first_##S(struct item_##S *a, int64_t n, bool down)                         \
    {                                                                                              \
        struct item_##S *x = a + 1, *y = a + n / 2, *z = a + n - 1, *median;                       \
        if (before_##S(x->value, y->value, down))                                                  \
            median = before_##S(y->value, z->value, down)   ? y                                    \
                     : before_##S(x->value, z->value, down) ? z                                    \
                                                            : x;                                   \
        else                                                                                       \
            median = before_##S(x->value, z->value, down)   ? x                                    \
                     : before_##S(y->value, z->value, down) ? z                                    \
                                                            : y;                                   \
        swap_##S(a, median);                                                                       \
    }                                                                                              \
    /* splits a[1..n) at a[0]; the first place of the second part */                               \
    static int64_t partition_##S(struct item_##S *a, int64_t n, bool down)                         \
    {                                                                                              \
        int64_t low = 1, high = n;                                                                 \
        for (;;) {                                                                                 \
            while (before_##S(a[low].value, a[0].value, down))                                     \
                low++;                                                                             \
            high--;                                                                                \
            while (before_##S(a[0].value, a[high].value, down))                                    \
                high--;                                                                            \
            if (low >= high)                                                                       \
                return low;                                                                        \
            swap_##S(a + low, a + high);                                                           \
            low++;                                                                                 \
        }                                                                                          \
    }                                                                                              \
    static void split_##S(struct item_##S *a, int64_t n, int depth, bool down)                     \
    {                                                                                              \
        while (n > SORT_SMALL) {                                                                   \
            if (depth-- == 0) {                                                                    \
                heap_sort_##S(a, n, down);                                                         \
                return;                                                                            \
            }                                                                                      \
            median_first_##S(a, n, down);                                                          \
            int64_t cut = partition_##S(a, n, down);                                               \
            split_##S(a + cut, n - cut, depth, down);                                              \
            n = cut;                                                                               \
        }                                                                                          \
    }                                                                                              \
    static void sort_##S(struct item_##S *a, int64_t n, bool down)                                 \
    {                                                                                              \
        int depth = 0;                                                                             \
        for (int64_t rest = n; rest > 1; rest /= 2)                                                \
            depth += 2;                                                                            \
        split_##S(a, n, depth, down);                                                              \
        for (int64_t i = 1; i < n; i++) {                                                          \
            struct item_##S item = a[i];                                                           \
            int64_t at = i;                                                                        \
            if (before_##S(item.value, a[0].value, down)) {                                        \
                memmove(a + 1, a, (size_t)i * sizeof *a);                                          \
                at = 0;                                                                            \
            }                                                                                      \
            for (; at > 0 && before_##S(item.value, a[at - 1].value, down); at--)                  \
                a[at] = a[at - 1];                                                                 \
            a[at] = item;                                                                          \
        }                                                                                          \
    }                                                                                              \
    static void argsort_##S(T *out, int64_t *indices, const T *x, const struct axis_view *v,       \
                            struct item_##S *items, bool down)                                     \
    {                                                                                              \
        for (int64_t o = 0; o < v->outer; o++) {                                                   \
            for (int64_t k = 0; k < v->inner; k++) {                                               \
                int64_t at = o * v->n * v->inner + k;                                              \
                for (int64_t i = 0; i < v->n; i++)                                                 \
                    items[i] = (struct item_##S){x[at + i * v->inner], i};                         \
                sort_##S(items, v->n, down);                                                       \
                for (int64_t i = 0; i < v->n; i++) {                                               \
                    out[at + i * v->inner] = items[i].value;                                       \
                    indices[at + i * v->inner] = items[i].index;                                   \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_SORT(float, f32)
DEFINE_SORT(double, f64)
DEFINE_SORT(int32_t, i32)
DEFINE_SORT(int64_t, i64)

static int argsort_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    if (op_axis(shape->attr[ARGSORT_AXIS]->i, x->dims.rank) < 0)
        return err_set(shape->err, SL_EINVAL, "axis %lld is not within X's rank %d",
                       (long long)shape->attr[ARGSORT_AXIS]->i, x->dims.rank);
    op_shape_set(shape, ARGSORT_OUT, 0, &x->dims, x->dtype, x);
    op_shape_set(shape, ARGSORT_INDICES, 0, &x->dims, DTYPE_INT64, x);
    return 0;
}

static int argsort_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, ARGSORT_OUT), *indices = op_out(ctx, ARGSORT_INDICES);
    bool down = attr_bool(ctx->attr[ARGSORT_DESCENDING]);
    struct axis_view v = {.n = 1, .inner = 1};
    int axis = view_axis(&x->dims, ctx->attr[ARGSORT_AXIS]->i, &v, ctx->err);
    if (axis < 0)
        return axis;
    // Items of the widest type are two int64.
    const struct dims items = {.rank = 1, .d = {2 * v.n}};
    int rc = op_resize(&ctx->temps[0], DTYPE_INT64, &items, ctx->err);
    if (rc < 0 || tensor_count(x) == 0)
        return rc;
    void *room = ctx->temps[0].data;
    switch (x->dtype) {
    case DTYPE_FP32:
        argsort_f32(tensor_f32(out), tensor_i64(indices), tensor_f32(x), &v, room, down);
        return 0;
    case DTYPE_FP64:
        argsort_f64(tensor_f64(out), tensor_i64(indices), tensor_f64(x), &v, room, down);
        return 0;
    case DTYPE_INT32:
        argsort_i32(tensor_i32(out), tensor_i64(indices), tensor_i32(x), &v, room, down);
        return 0;
    case DTYPE_INT64:
        argsort_i64(tensor_i64(out), tensor_i64(indices), tensor_i64(x), &v, room, down);
        return 0;
    default:
        return op_bad_dtype(ctx, (int)x->dtype);
    }
}

static int argsort_backward(struct op_ctx *ctx)
{
    const struct tensor *indices = op_in(ctx, ARGSORT_GRAD_INDICES);
    const struct tensor *dout = op_in(ctx, ARGSORT_GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct axis_view v = {.n = 1, .inner = 1};
    int axis = dx == NULL ? 0 : view_axis(&dx->dims, ctx->attr[ARGSORT_AXIS]->i, &v, ctx->err);
    if (axis < 0 || dx == NULL)
        return axis;
    if (indices->dtype != DTYPE_INT64 || !dims_equal(&indices->dims, &dx->dims) ||
        !dims_equal(&dout->dims, &dx->dims) || dout->dtype != dx->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Indices and Out@GRAD must have X's shape");
    size_t bytes = dtype_bytes(dx->dtype);
    if (tensor_bytes(dx) > 0)
        memset(dx->data, 0, tensor_bytes(dx));
    for (int64_t i = 0, n = (int64_t)tensor_count(dx); i < n; i++) {
        int64_t first = i - (i / v.inner) % v.n * v.inner, to = tensor_i64(indices)[i];
        if (to < 0 || to >= v.n)
            return err_set(ctx->err, SL_EINVAL, "element %lld of Indices is %lld", (long long)i,
                           (long long)to);
        memcpy((char *)dx->data + (size_t)(first + to * v.inner) * bytes,
               (const char *)dout->data + (size_t)i * bytes, bytes);
    }
    return 0;
}

static int arg_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    int64_t dtype = shape->attr[ARG_DTYPE]->i;
    struct dims out = x->dims;
    int axis = op_axis(shape->attr[ARG_AXIS]->i, out.rank);
    if (axis < 0)
        return err_set(shape->err, SL_EINVAL, "axis %lld is not within X's rank %d",
                       (long long)shape->attr[ARG_AXIS]->i, out.rank);
    if (dtype != -1 && dtype != DTYPE_INT32 && dtype != DTYPE_INT64)
        return err_set(shape->err, SL_EUNSUPPORTED, "dtype %lld is neither int32 nor int64",
                       (long long)dtype);
    out.d[axis] = 1;
    if (!attr_bool(shape->attr[ARG_KEEPDIMS])) {
        out.rank--;
        memmove(&out.d[axis], &out.d[axis + 1], (size_t)(out.rank - axis) * sizeof out.d[0]);
    }
    op_shape_set(shape, 0, 0, &out, dtype == -1 ? DTYPE_INT64 : (int)dtype, NULL);
    return 0;
}

// LEAST and MOST are where the search begins: only what is beyond them can win.
#define DEFINE_ARG(T, S, LEAST, MOST)                                                              \
    static int64_t arg_##S(const T *x, int64_t n, int64_t step, bool max)                          \
    {                                                                                              \
        T best = max ? (LEAST) : (MOST);                                                           \
        int64_t place = 0;                                                                         \
        for (int64_t i = 0; i < n; i++) {                                                          \
            if (max ? x[i * step] > best : x[i * step] < best) {                                   \
                best = x[i * step];                                                                \
                place = i;                                                                         \
            }                                                                                      \
        }                                                                                          \
        return place;                                                                              \
    }

DEFINE_ARG(float, f32, -FLT_MAX, FLT_MAX)
DEFINE_ARG(double, f64, -DBL_MAX, DBL_MAX)
DEFINE_ARG(int64_t, i64, INT64_MIN, INT64_MAX)
DEFINE_ARG(int32_t, i32, INT32_MIN, INT32_MAX)
DEFINE_ARG(int16_t, i16, INT16_MIN, INT16_MAX)
DEFINE_ARG(uint8_t, u8, 0, UINT8_MAX)

static int arg_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, 0);
    bool max = ctx->def == &op_sort_arg_max;
    struct axis_view v = {.n = 1, .inner = 1};
    int axis = view_axis(&x->dims, ctx->attr[ARG_AXIS]->i, &v, ctx->err);
    if (axis < 0)
        return axis;
    if (v.n == 0)
        return err_set(ctx->err, SL_EINVAL, "X has no elements along axis %d", axis);
    for (int64_t i = 0; i < v.outer * v.inner; i++) {
        int64_t at = i / v.inner * v.n * v.inner + i % v.inner, place;
        if (x->dtype == DTYPE_FP32)
            place = arg_f32(tensor_f32(x) + at, v.n, v.inner, max);
        else if (x->dtype == DTYPE_FP64)
            place = arg_f64(tensor_f64(x) + at, v.n, v.inner, max);
        else if (x->dtype == DTYPE_INT64)
            place = arg_i64(tensor_i64(x) + at, v.n, v.inner, max);
        else if (x->dtype == DTYPE_INT32)
            place = arg_i32(tensor_i32(x) + at, v.n, v.inner, max);
        else if (x->dtype == DTYPE_INT16)
            place = arg_i16((const int16_t *)x->data + at, v.n, v.inner, max);
        else if (x->dtype == DTYPE_UINT8)
            place = arg_u8((const uint8_t *)x->data + at, v.n, v.inner, max);
        else
            return op_bad_dtype(ctx, (int)x->dtype);
        if (out->dtype == DTYPE_INT32)
            tensor_i32(out)[i] = (int32_t)place;
        else
            tensor_i64(out)[i] = place;
    }
    return 0;
}

const struct op_def op_sort_argsort = {
    .type = "argsort",
    .inputs = x_input,
    .outputs = argsort_outputs,
    .attrs = argsort_attrs,
    .grad = {.type = "argsort_grad", .inputs = "X Indices Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = argsort_infer,
    .kernel = argsort_forward,
    .temps = 1,
};

const struct op_def op_sort_argsort_grad = {
    .type = "argsort_grad",
    .inputs = argsort_grad_inputs,
    .outputs = x_grad_output,
    .attrs = argsort_attrs,
    .kernel = argsort_backward,
};

const struct op_def op_sort_arg_max = {
    .type = "arg_max",
    .inputs = x_input,
    .outputs = out_output,
    .attrs = arg_attrs,
    .infer_shape = arg_infer,
    .kernel = arg_forward,
};

const struct op_def op_sort_arg_min = {
    .type = "arg_min",
    .inputs = x_input,
    .outputs = out_output,
    .attrs = arg_attrs,
    .infer_shape = arg_infer,
    .kernel = arg_forward,
};
