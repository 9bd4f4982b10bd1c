// SPDX-License-Identifier: Apache-2.0
// pool2d and max_pool2d_with_index. X [n, c, h, w] (pool2d: or channels last); Out [n, c, H, W].
// Output y looks at the input rows [y stride - pad, .. + ksize) that are inside of the image;
// adaptive: ksize is the output's size, and y looks at [floor(y h / H), ceil((y + 1) h / H)).
// global_pooling: the kernel is the image.
//
//   max   Out = the largest                    dX of the first element equal to Out += dOut
//   avg   Out = sum / size                     dX of every element += dOut / size
//   with index: Mask (int32) = place of the first largest in its plane, which takes dOut
//
// size: the elements inside of the image when exclusive or adaptive, else the kernel's. A window
// that lies in the padding altogether (ceil_mode) gives what Fluid gives: -FLT_MAX (Mask -1), or
// 0 / size. In Fluid adaptive changes the windows of avg and of the op with index only; pool2d max
// keeps windows of ksize at strides, so this one does, too.

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/layout.h"
#include "common/ops/op.h"
#include "common/ops/pool.h"
#include "common/ops/window.h"

extern const struct op_def op_pool_2d, op_pool_2d_grad;
extern const struct op_def op_pool_index, op_pool_index_grad;

static const double ones[] = {1, 1}, zeros[] = {0, 0};

enum {
    POOL_TYPE,
    POOL_KSIZE,
    POOL_GLOBAL,
    POOL_STRIDES,
    POOL_PADDINGS,
    POOL_EXCLUSIVE,
    POOL_ADAPTIVE,
    POOL_CEIL,
    POOL_FORMAT,
    POOL_ALGORITHM,
};
static const struct op_attr_def pool_attrs[] = {
    {.name = "pooling_type", .type = ATTR_STRING, .required = true},
    {.name = "ksize", .type = ATTR_INTS, .required = true},
    OP_ATTR_BOOL("global_pooling", 0),
    {.name = "strides", .type = ATTR_INTS, .list = ones, .list_count = 2},
    {.name = "paddings", .type = ATTR_INTS, .list = zeros, .list_count = 2},
    OP_ATTR_BOOL("exclusive", 1),
    OP_ATTR_BOOL("adaptive", 0),
    OP_ATTR_BOOL("ceil_mode", 0),
    OP_ATTR_STRING("data_format", "NCHW"),
    OP_ATTR_STRING("padding_algorithm", "EXPLICIT"),
    OP_ATTR_BOOL("use_cudnn", 0),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("use_quantizer", 0),
    OP_ATTR_BOOL("is_test", 0),
    {.name = NULL},
};

// The same numbers for the op with index; what it has not stands for what it does.
static const struct op_attr_def index_attrs[] = {
    {.name = "pooling_type", .type = ATTR_STRING, .string = "max", .kernel_only = true},
    {.name = "ksize", .type = ATTR_INTS, .required = true},
    OP_ATTR_BOOL("global_pooling", 0),
    {.name = "strides", .type = ATTR_INTS, .list = ones, .list_count = 2},
    {.name = "paddings", .type = ATTR_INTS, .list = zeros, .list_count = 2},
    {.name = "exclusive", .type = ATTR_BOOLEAN, .number = 1, .kernel_only = true},
    OP_ATTR_BOOL("adaptive", 0),
    {.name = "ceil_mode", .type = ATTR_BOOLEAN, .kernel_only = true},
    {.name = "data_format", .type = ATTR_STRING, .string = "NCHW", .kernel_only = true},
    {.name = "padding_algorithm", .type = ATTR_STRING, .string = "EXPLICIT", .kernel_only = true},
    {.name = NULL},
};

static const struct op_slot_def pool_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def pool_outputs[] = {{"Out", 0}, {NULL, 0}};
enum { POOL_GRAD_X, POOL_GRAD_OUT, POOL_GRAD_DOUT };
static const struct op_slot_def pool_grad_inputs[] = {
    {"X", 0}, {"Out", 0}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def pool_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};
enum { INDEX_OUT, INDEX_MASK };
static const struct op_slot_def index_outputs[] = {{"Out", 0}, {"Mask", 0}, {NULL, 0}};
enum { INDEX_GRAD_X, INDEX_GRAD_MASK, INDEX_GRAD_DOUT };
static const struct op_slot_def index_grad_inputs[] = {
    {"X", 0}, {"Mask", 0}, {"Out@GRAD", 0}, {NULL, 0}};
enum { TEMP_X, TEMP_OUT, TEMP_DOUT, TEMP_DX, TEMPS };

static int read_kernel(const struct attr *const *attr, struct pool *pool, struct err *err)
{
    const struct attr *ksize = attr[POOL_KSIZE];
    bool global = attr_bool(attr[POOL_GLOBAL]), adaptive = attr_bool(attr[POOL_ADAPTIVE]);
    if (!global && ksize->count != 2)
        return err_set(err, SL_EINVAL, "ksize must have 2 numbers, not %zu", ksize->count);
    for (int i = 0; i < 2; i++) {
        struct window_axis *a = &pool->axis[i];
        a->kernel = global ? a->in : ksize->ints[i];
        if (!global && (a->kernel < 1 || a->kernel > INT32_MAX))
            return err_set(err, SL_EINVAL, "ksize has %lld; at least 1 is wanted",
                           (long long)a->kernel);
    }
    struct window_attrs attrs = {attr[POOL_STRIDES], attr[POOL_PADDINGS], attr[POOL_ALGORITHM],
                                 NULL};
    int rc = window_read(pool->axis, &attrs, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < 2 && (global || adaptive); i++)
        pool->axis[i].before = pool->axis[i].after = 0;
    if (!adaptive)
        return window_count(pool->axis, attr_bool(attr[POOL_CEIL]), err);
    for (int i = 0; i < 2; i++) {
        pool->axis[i].out = pool->axis[i].kernel;
        if (pool->axis[i].in == 0)
            return err_set(err, SL_EINVAL, "an image without elements cannot be pooled");
    }
    return 0;
}

static int read_pool(const struct op_def *def, const struct attr *const *attr, const struct dims *x,
                     struct pool *out, struct err *err)
{
    char text[DIMS_TEXT_MAX];
    const char *type = attr[POOL_TYPE]->s;
    *out = (struct pool){.max = str_eq(type, "max"), .exclusive = attr_bool(attr[POOL_EXCLUSIVE])};
    out->adaptive = attr_bool(attr[POOL_ADAPTIVE]) && (!out->max || def->attrs == index_attrs);
    if (!out->max && !str_eq(type, "avg"))
        return err_set(err, SL_EINVAL, "pooling_type `%s` is not max or avg", type ? type : "");
    int rc = window_layout(attr[POOL_FORMAT], &out->channels_last, err);
    if (rc < 0)
        return rc;
    if (x->rank != 4)
        return err_set(err, SL_EINVAL, "X %s must have 4 dimensions", dims_format(x, text));
    struct window_places place = window_places(out->channels_last);
    out->n = x->d[0];
    out->c = x->d[place.c];
    out->axis[WINDOW_H].in = x->d[place.h];
    out->axis[WINDOW_W].in = x->d[place.w];
    return read_kernel(attr, out, err);
}

static struct dims pool_out_dims(const struct pool *pool)
{
    struct window_places place = window_places(pool->channels_last);
    struct dims out = {.rank = 4};
    out.d[0] = pool->n;
    out.d[place.c] = pool->c;
    out.d[place.h] = pool->axis[WINDOW_H].out;
    out.d[place.w] = pool->axis[WINDOW_W].out;
    return out;
}

static int pool_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, 0, 0);
    struct pool pool;
    int rc = read_pool(shape->def, shape->attr, &x->dims, &pool, shape->err);
    if (rc < 0)
        return rc;
    struct dims out = pool_out_dims(&pool);
    op_shape_set(shape, 0, 0, &out, x->dtype, x);
    if (shape->def == &op_pool_index)
        op_shape_set(shape, INDEX_MASK, 0, &out, DTYPE_INT32, x);
    return 0;
}

static int pool_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, POOL_GRAD_X, 0);
    struct pool pool;
    int rc = read_pool(shape->def, shape->attr, &x->dims, &pool, shape->err);
    if (rc < 0)
        return rc;
    struct dims out = pool_out_dims(&pool);
    for (int s = POOL_GRAD_OUT; s <= POOL_GRAD_DOUT; s++) {
        const struct op_var_dims *in = op_shape_in(shape, s, 0);
        bool fits = in->dims.rank == 4;
        for (int i = 0; fits && i < 4; i++)
            fits = op_dims_fit(out.d[i], in->dims.d[i]);
        char text[DIMS_TEXT_MAX], want[DIMS_TEXT_MAX];
        if (!fits)
            return err_set(shape->err, SL_EMISMATCH, "%s is %s, not %s", shape->def->inputs[s].name,
                           dims_format(&in->dims, text), dims_format(&out, want));
    }
    op_shape_copy(shape, 0, 0, x);
    return 0;
}

static int pool_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out;
    struct pool pool;
    int rc = read_pool(ctx->def, ctx->attr, &x->dims, &pool, ctx->err);
    if (rc < 0)
        return rc;
    pool_plan(&pool);
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if ((rc = layout_input(ctx, TEMP_X, x, pool.channels_last, &x)) < 0 ||
        (rc = layout_output(ctx, TEMP_OUT, op_out(ctx, 0), pool.channels_last, &out)) < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        pool_forward_f32(&pool, tensor_f32(out), tensor_f32(x));
    else
        pool_forward_f64(&pool, tensor_f64(out), tensor_f64(x));
    return layout_finish(ctx, op_out(ctx, 0), out);
}

static int pool_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, POOL_GRAD_X), *out = op_in(ctx, POOL_GRAD_OUT);
    const struct tensor *dout = op_in(ctx, POOL_GRAD_DOUT);
    struct tensor *dx;
    struct pool pool;
    if (op_out(ctx, 0) == NULL)
        return 0;
    int rc = read_pool(ctx->def, ctx->attr, &x->dims, &pool, ctx->err);
    if (rc < 0)
        return rc;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    if (x->dtype != out->dtype || x->dtype != dout->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "X, Out and Out@GRAD have different element types");
    pool_plan(&pool);
    bool last = pool.channels_last;
    if ((rc = layout_input(ctx, TEMP_X, x, last, &x)) < 0 ||
        (rc = layout_input(ctx, TEMP_OUT, out, last, &out)) < 0 ||
        (rc = layout_input(ctx, TEMP_DOUT, dout, last, &dout)) < 0 ||
        (rc = layout_output(ctx, TEMP_DX, op_out(ctx, 0), last, &dx)) < 0)
        return rc;
    if (x->dtype == DTYPE_FP32)
        pool_backward_f32(&pool, tensor_f32(dx), tensor_f32(x), tensor_f32(out), tensor_f32(dout));
    else
        pool_backward_f64(&pool, tensor_f64(dx), tensor_f64(x), tensor_f64(out), tensor_f64(dout));
    return layout_finish(ctx, op_out(ctx, 0), dx);
}

static int index_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, 0);
    struct tensor *out = op_out(ctx, INDEX_OUT), *mask = op_out(ctx, INDEX_MASK);
    struct pool pool;
    int rc = read_pool(ctx->def, ctx->attr, &x->dims, &pool, ctx->err);
    if (rc < 0)
        return rc;
    if (pool.axis[WINDOW_H].in * pool.axis[WINDOW_W].in > INT32_MAX)
        return err_set(ctx->err, SL_ELIMIT, "an image has too many elements for int32 places");
    if (x->dtype == DTYPE_FP32)
        pool_index_forward_f32(&pool, tensor_f32(out), tensor_i32(mask), tensor_f32(x));
    else if (x->dtype == DTYPE_FP64)
        pool_index_forward_f64(&pool, tensor_f64(out), tensor_i32(mask), tensor_f64(x));
    else
        return op_bad_dtype(ctx, (int)x->dtype);
    return 0;
}

static int index_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, INDEX_GRAD_X), *mask = op_in(ctx, INDEX_GRAD_MASK);
    const struct tensor *dout = op_in(ctx, INDEX_GRAD_DOUT);
    struct tensor *dx = op_out(ctx, 0);
    struct pool pool;
    if (dx == NULL)
        return 0;
    int rc = read_pool(ctx->def, ctx->attr, &x->dims, &pool, ctx->err);
    if (rc < 0)
        return rc;
    if (dout->dtype != DTYPE_FP32 && dout->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)dout->dtype);
    if (mask->dtype != DTYPE_INT32 || dout->dtype != x->dtype)
        return err_set(ctx->err, SL_EMISMATCH,
                       "Mask must be int32, and Out@GRAD have the type of X");
    bool inside =
        dout->dtype == DTYPE_FP32
            ? pool_index_backward_f32(&pool, tensor_f32(dx), tensor_i32(mask), tensor_f32(dout))
            : pool_index_backward_f64(&pool, tensor_f64(dx), tensor_i32(mask), tensor_f64(dout));
    return inside ? 0 : err_set(ctx->err, SL_EINVAL, "Mask names a place outside of the image");
}

const struct op_def op_pool_2d = {
    .type = "pool2d",
    .inputs = pool_inputs,
    .outputs = pool_outputs,
    .attrs = pool_attrs,
    .grad = {.type = "pool2d_grad", .inputs = "X Out Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = pool_infer,
    .kernel = pool_forward,
    .temps = TEMPS,
};

const struct op_def op_pool_2d_grad = {
    .type = "pool2d_grad",
    .inputs = pool_grad_inputs,
    .outputs = pool_grad_outputs,
    .attrs = pool_attrs,
    .infer_shape = pool_grad_infer,
    .kernel = pool_backward,
    .temps = TEMPS,
    .no_lod = true,
};

const struct op_def op_pool_index = {
    .type = "max_pool2d_with_index",
    .inputs = pool_inputs,
    .outputs = index_outputs,
    .attrs = index_attrs,
    .grad = {.type = "max_pool2d_with_index_grad",
             .inputs = "X Mask Out@GRAD",
             .outputs = "X@GRAD"},
    .infer_shape = pool_infer,
    .kernel = index_forward,
};

const struct op_def op_pool_index_grad = {
    .type = "max_pool2d_with_index_grad",
    .inputs = index_grad_inputs,
    .outputs = pool_grad_outputs,
    .attrs = index_attrs,
    .infer_shape = pool_grad_infer,
    .kernel = index_backward,
};
