// SPDX-License-Identifier: Apache-2.0
// batch_norm over all but the channel axis; M = elements of a channel. X [n, c, ..] (rank 2 to 5)
// or channels last.
//
//   training  mean, var = mean and variance (by M) of the channel, inv = 1 / sqrt(var + epsilon)
//             MeanOut = Mean momentum + mean (1 - momentum), VarianceOut alike
//             SavedMean = mean, SavedVariance = inv (for the gradient)
//             Y = (X - mean) inv Scale + Bias
//   test, use_global_stats   the same Y with Mean and Variance, which stay as they are
//
//   backward  dBias = sum dY, dScale = sum dY (X - mean) inv
//             dX = Scale inv (dY - dBias / M - (X - mean) inv dScale / M)    training
//             dX = Scale inv dY                                              global statistics
//
// MeanOut may be Mean's own memory. M = 1 in training copies X, as Fluid does.

#include <math.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ops/batch_norm.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

extern const struct op_def op_batch_norm, op_batch_norm_grad;

enum { BN_IS_TEST, BN_MOMENTUM, BN_EPSILON, BN_LAYOUT, BN_GLOBAL, BN_TRAINABLE };
static const struct op_attr_def bn_attrs[] = {
    OP_ATTR_BOOL("is_test", 0),
    OP_ATTR_FLOAT("momentum", 0.9f),
    OP_ATTR_FLOAT("epsilon", 1e-5f),
    OP_ATTR_STRING("data_layout", "NCHW"),
    OP_ATTR_BOOL("use_global_stats", 0),
    OP_ATTR_BOOL("trainable_statistics", 0),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("fuse_with_relu", 0),
    {.name = NULL},
};

enum { BN_X, BN_SCALE, BN_BIAS, BN_MEAN, BN_VARIANCE, BN_MOMENTUM_TENSOR };
static const struct op_slot_def bn_inputs[] = {
    {"X", 0},    {"Scale", 0},    {"Bias", 0},
    {"Mean", 0}, {"Variance", 0}, {"MomentumTensor", OP_SLOT_OPTIONAL},
    {NULL, 0}};
enum { BN_Y, BN_MEAN_OUT, BN_VARIANCE_OUT, BN_SAVED_MEAN, BN_SAVED_VARIANCE };
static const struct op_slot_def bn_outputs[] = {
    {"Y", 0},         {"MeanOut", 0},       {"VarianceOut", 0},
    {"SavedMean", 0}, {"SavedVariance", 0}, {"ReserveSpace", OP_SLOT_OPTIONAL | OP_SLOT_EXTRA},
    {NULL, 0}};
enum {
    BN_GRAD_X,
    BN_GRAD_DY,
    BN_GRAD_SCALE,
    BN_GRAD_BIAS,
    BN_GRAD_SAVED_MEAN,
    BN_GRAD_SAVED_VARIANCE,
    BN_GRAD_MEAN,
    BN_GRAD_VARIANCE
};
static const struct op_slot_def bn_grad_inputs[] = {{"X", 0},
                                                    {"Y@GRAD", 0},
                                                    {"Scale", 0},
                                                    {"Bias", OP_SLOT_OPTIONAL},
                                                    {"SavedMean", OP_SLOT_OPTIONAL},
                                                    {"SavedVariance", OP_SLOT_OPTIONAL},
                                                    {"Mean", OP_SLOT_OPTIONAL},
                                                    {"Variance", OP_SLOT_OPTIONAL},
                                                    {"ReserveSpace", OP_SLOT_OPTIONAL},
                                                    {NULL, 0}};
enum { BN_GRAD_DX, BN_GRAD_DSCALE, BN_GRAD_DBIAS };
static const struct op_slot_def bn_grad_outputs[] = {{"X@GRAD", OP_SLOT_OPTIONAL},
                                                     {"Scale@GRAD", OP_SLOT_OPTIONAL},
                                                     {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                     {NULL, 0}};

enum { TEMP_WORK, TEMPS };

static int read_layout(const struct attr *const *attr, const struct dims *x, int *channel,
                       struct err *err)
{
    const char *layout = attr[BN_LAYOUT]->s;
    char text[DIMS_TEXT_MAX];
    bool last = str_eq(layout, "NHWC");
    if (!last && !str_eq(layout, "NCHW") && !str_eq(layout, "AnyLayout"))
        return err_set(err, SL_EINVAL, "data_layout `%s` is not NCHW or NHWC", layout);
    if (x->rank < 2 || x->rank > 5)
        return err_set(err, SL_EINVAL, "X %s must have 2 to 5 dimensions", dims_format(x, text));
    *channel = last ? x->rank - 1 : 1;
    return 0;
}

// Per-channel inputs have the size of the channel axis.
static int check_channels(const struct op_shape *shape, int slot, int64_t channels)
{
    const struct op_var_dims *v = op_shape_in(shape, slot, 0);
    char text[DIMS_TEXT_MAX];
    if (v == NULL || (v->dims.rank == 1 && op_dims_fit(v->dims.d[0], channels)))
        return 0;
    return err_set(shape->err, SL_EMISMATCH, "%s is %s, but X has %lld channels",
                   shape->def->inputs[slot].name, dims_format(&v->dims, text), (long long)channels);
}

static int bn_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, BN_X, 0);
    int channel, rc = read_layout(shape->attr, &x->dims, &channel, shape->err);
    for (int s = BN_SCALE; s <= BN_VARIANCE && rc == 0; s++)
        rc = check_channels(shape, s, x->dims.d[channel]);
    if (rc < 0)
        return rc;
    struct dims c = dims_make(1, &x->dims.d[channel]);
    const struct op_var_dims *scale = op_shape_in(shape, BN_SCALE, 0);
    op_shape_copy(shape, BN_Y, 0, x);
    for (int s = BN_MEAN_OUT; s <= BN_SAVED_VARIANCE; s++)
        op_shape_set(shape, s, 0, &c, scale->dtype, NULL);
    return 0;
}

static int bn_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, BN_GRAD_X, 0),
                             *dy = op_shape_in(shape, BN_GRAD_DY, 0);
    int channel, rc = read_layout(shape->attr, &x->dims, &channel, shape->err);
    for (int s = BN_GRAD_SCALE; s <= BN_GRAD_VARIANCE && rc == 0; s++)
        rc = check_channels(shape, s, x->dims.d[channel]);
    if (rc < 0)
        return rc;
    bool fits = x->dims.rank == dy->dims.rank;
    for (int i = 0; fits && i < x->dims.rank; i++)
        fits = op_dims_fit(x->dims.d[i], dy->dims.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "Y@GRAD has not the shape of X");
    const struct op_var_dims *scale = op_shape_in(shape, BN_GRAD_SCALE, 0);
    struct dims c = dims_make(1, &x->dims.d[channel]);
    op_shape_copy(shape, BN_GRAD_DX, 0, x);
    op_shape_set(shape, BN_GRAD_DSCALE, 0, &c, scale->dtype, NULL);
    op_shape_set(shape, BN_GRAD_DBIAS, 0, &c, scale->dtype, NULL);
    return 0;
}

// Sizes; and all inputs in slots [0, last] that are there have X's type.
static int bn_begin(struct op_ctx *ctx, int last, struct batch_norm_sizes *out)
{
    const struct tensor *x = op_in(ctx, 0);
    int channel, rc = read_layout(ctx->attr, &x->dims, &channel, ctx->err);
    if (rc < 0)
        return rc;
    if (x->dtype != DTYPE_FP32 && x->dtype != DTYPE_FP64)
        return op_bad_dtype(ctx, (int)x->dtype);
    for (int s = 1; s <= last; s++)
        if (op_in(ctx, s) != NULL && op_in(ctx, s)->dtype != x->dtype)
            return err_set(ctx->err, SL_EMISMATCH, "%s is %s but X is %s", ctx->def->inputs[s].name,
                           dtype_name((int)op_in(ctx, s)->dtype), dtype_name((int)x->dtype));
    out->c = x->dims.d[channel];
    out->n = channel == 1 ? x->dims.d[0] : dims_product(&x->dims, 0, channel);
    out->inner = channel == 1 ? dims_product(&x->dims, 2, x->dims.rank) : 1;
    const int64_t work[] = {7 * out->c};
    struct dims dims = dims_make(1, work);
    return op_resize(&ctx->temps[TEMP_WORK], x->dtype, &dims, ctx->err);
}

static float momentum_of(const struct op_ctx *ctx)
{
    const struct tensor *t = op_in(ctx, BN_MOMENTUM_TENSOR);
    if (t != NULL && t->dtype == DTYPE_FP32 && tensor_count(t) > 0)
        return tensor_f32(t)[0];
    return ctx->attr[BN_MOMENTUM]->f;
}

// out = old momentum + now (1 - momentum)
static void move_average(struct tensor *out, const struct tensor *old, const struct tensor *now,
                         float momentum)
{
    for (uint64_t i = 0; i < tensor_count(out); i++) {
        if (out->dtype == DTYPE_FP32)
            tensor_f32(out)[i] =
                tensor_f32(old)[i] * momentum + tensor_f32(now)[i] * (1 - momentum);
        else
            tensor_f64(out)[i] =
                tensor_f64(old)[i] * (double)momentum + tensor_f64(now)[i] * (1 - (double)momentum);
    }
}

static void keep(struct tensor *out, const struct tensor *old)
{
    if (out->data != old->data && tensor_count(out) > 0)
        memcpy(out->data, old->data, tensor_bytes(out));
}

static void clear(struct tensor *t)
{
    if (t != NULL && tensor_count(t) > 0)
        memset(t->data, 0, tensor_bytes(t));
}

static int bn_train(struct op_ctx *ctx, struct batch_norm_sizes s)
{
    const struct tensor *x = op_in(ctx, BN_X), *scale = op_in(ctx, BN_SCALE),
                        *bias = op_in(ctx, BN_BIAS);
    struct tensor *y = op_out(ctx, BN_Y), *mean = op_out(ctx, BN_SAVED_MEAN),
                  *inv = op_out(ctx, BN_SAVED_VARIANCE), *work = &ctx->temps[TEMP_WORK];
    if (s.n * s.inner == 1) {
        clear(mean);
        clear(inv);
        keep(op_out(ctx, BN_MEAN_OUT), op_in(ctx, BN_MEAN));
        keep(op_out(ctx, BN_VARIANCE_OUT), op_in(ctx, BN_VARIANCE));
        keep(y, x);
        return 0;
    }
    float epsilon = ctx->attr[BN_EPSILON]->f, momentum = momentum_of(ctx);
    struct tensor variance;
    tensor_init(&variance);
    struct dims c = dims_make(1, &s.c);
    if (x->dtype == DTYPE_FP32) {
        float *v = tensor_f32(work) + 2 * s.c;
        batch_norm_train_f32(tensor_f32(y), tensor_f32(mean), v, tensor_f32(inv), tensor_f32(x),
                             tensor_f32(scale), tensor_f32(bias), epsilon, tensor_f32(work), s);
        tensor_borrow(&variance, DTYPE_FP32, &c, v, (size_t)s.c * sizeof *v);
    } else {
        double *v = tensor_f64(work) + 2 * s.c;
        batch_norm_train_f64(tensor_f64(y), tensor_f64(mean), v, tensor_f64(inv), tensor_f64(x),
                             tensor_f64(scale), tensor_f64(bias), (double)epsilon, tensor_f64(work),
                             s);
        tensor_borrow(&variance, DTYPE_FP64, &c, v, (size_t)s.c * sizeof *v);
    }
    move_average(op_out(ctx, BN_MEAN_OUT), op_in(ctx, BN_MEAN), mean, momentum);
    move_average(op_out(ctx, BN_VARIANCE_OUT), op_in(ctx, BN_VARIANCE), &variance, momentum);
    tensor_deinit(&variance);
    return 0;
}

// Fluid leaves the saved statistics without a value here; nobody reads them.
static int bn_apply(struct op_ctx *ctx, struct batch_norm_sizes s)
{
    const struct tensor *x = op_in(ctx, BN_X), *scale = op_in(ctx, BN_SCALE),
                        *bias = op_in(ctx, BN_BIAS), *mean = op_in(ctx, BN_MEAN),
                        *variance = op_in(ctx, BN_VARIANCE);
    struct tensor *y = op_out(ctx, BN_Y), *work = &ctx->temps[TEMP_WORK];
    float epsilon = ctx->attr[BN_EPSILON]->f;
    if (x->dtype == DTYPE_FP32)
        batch_norm_apply_f32(tensor_f32(y), tensor_f32(x), tensor_f32(scale), tensor_f32(bias),
                             tensor_f32(mean), tensor_f32(variance), epsilon, tensor_f32(work), s);
    else
        batch_norm_apply_f64(tensor_f64(y), tensor_f64(x), tensor_f64(scale), tensor_f64(bias),
                             tensor_f64(mean), tensor_f64(variance), (double)epsilon,
                             tensor_f64(work), s);
    clear(op_out(ctx, BN_SAVED_MEAN));
    clear(op_out(ctx, BN_SAVED_VARIANCE));
    keep(op_out(ctx, BN_MEAN_OUT), mean);
    keep(op_out(ctx, BN_VARIANCE_OUT), variance);
    return 0;
}

static int bn_forward(struct op_ctx *ctx)
{
    struct batch_norm_sizes s;
    int rc = bn_begin(ctx, BN_VARIANCE, &s);
    if (rc < 0 || s.n * s.inner == 0)
        return rc;
    bool test = attr_bool(ctx->attr[BN_IS_TEST]) && !attr_bool(ctx->attr[BN_TRAINABLE]);
    return test || attr_bool(ctx->attr[BN_GLOBAL]) ? bn_apply(ctx, s) : bn_train(ctx, s);
}

// 1 / sqrt(variance + epsilon) of global statistics, into the fifth part of the work tensor.
static void *global_inv(const struct op_ctx *ctx, const struct tensor *variance, int64_t c)
{
    struct tensor *work = &ctx->temps[TEMP_WORK];
    float epsilon = ctx->attr[BN_EPSILON]->f;
    if (variance->dtype == DTYPE_FP32) {
        float *inv = tensor_f32(work) + 4 * c;
        for (int64_t i = 0; i < c; i++)
            inv[i] = 1 / sqrtf(tensor_f32(variance)[i] + epsilon);
        return inv;
    }
    double *inv = tensor_f64(work) + 4 * c;
    for (int64_t i = 0; i < c; i++)
        inv[i] = 1 / sqrt(tensor_f64(variance)[i] + (double)epsilon);
    return inv;
}

static int bn_backward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, BN_GRAD_X), *dy = op_in(ctx, BN_GRAD_DY),
                        *scale = op_in(ctx, BN_GRAD_SCALE);
    struct tensor *dx = op_out(ctx, BN_GRAD_DX), *work = &ctx->temps[TEMP_WORK];
    const struct tensor *sums[] = {op_out(ctx, BN_GRAD_DSCALE), op_out(ctx, BN_GRAD_DBIAS)};
    bool global = attr_bool(ctx->attr[BN_GLOBAL]) || attr_bool(ctx->attr[BN_IS_TEST]);
    const struct tensor *mean = op_in(ctx, global ? BN_GRAD_MEAN : BN_GRAD_SAVED_MEAN);
    const struct tensor *var = op_in(ctx, global ? BN_GRAD_VARIANCE : BN_GRAD_SAVED_VARIANCE);
    struct batch_norm_sizes s;
    int rc = bn_begin(ctx, BN_GRAD_VARIANCE, &s);
    if (rc < 0)
        return rc;
    if (mean == NULL || var == NULL)
        return err_set(ctx->err, SL_EINVAL, "inputs %s are missing",
                       global ? "Mean and Variance" : "SavedMean and SavedVariance");
    if (s.n * s.inner == 0)
        return 0;
    if (!global && s.n * s.inner == 1) {
        clear(op_out(ctx, BN_GRAD_DSCALE));
        clear(op_out(ctx, BN_GRAD_DBIAS));
        if (dx != NULL)
            keep(dx, dy);
        return 0;
    }
    const void *inv = global ? global_inv(ctx, var, s.c) : var->data;
    // A sum that nobody asks for goes to the work tensor, where global_inv left room behind.
    char *room = (char *)work->data + (size_t)(5 * s.c) * dtype_bytes(x->dtype);
    void *dscale = sums[0] != NULL ? sums[0]->data : room;
    void *dbias = sums[1] != NULL ? sums[1]->data : room + (size_t)s.c * dtype_bytes(x->dtype);
    if (x->dtype == DTYPE_FP32)
        batch_norm_backward_f32(dx ? tensor_f32(dx) : NULL, dscale, dbias, tensor_f32(x),
                                tensor_f32(dy), tensor_f32(scale), tensor_f32(mean), inv, global,
                                tensor_f32(work), s);
    else
        batch_norm_backward_f64(dx ? tensor_f64(dx) : NULL, dscale, dbias, tensor_f64(x),
                                tensor_f64(dy), tensor_f64(scale), tensor_f64(mean), inv, global,
                                tensor_f64(work), s);
    return 0;
}

// Statistics that were given are read again by the gradient, those of the batch were saved.
static int bn_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    static const char *const inputs[] = {"X", "Scale", "Bias", "SavedMean", "SavedVariance"};
    static const char *const grads[] = {"X", "Scale", "Bias"};
    const char *y = op_desc_output1(forward, "Y");
    if (out_max < 1 || y == NULL)
        return 0;
    struct op_desc *op = op_desc_new("batch_norm_grad");
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        const char *name =
            i < 3 ? op_desc_input1(forward, inputs[i]) : op_desc_output1(forward, inputs[i]);
        if (name != NULL)
            op_desc_add_input(op, inputs[i], name);
    }
    char *dy = mem_must_printf("%s" GRAD_SUFFIX, y);
    op_desc_add_input(op, "Y" GRAD_SUFFIX, dy);
    mem_free(dy);
    if (op_desc_output1(forward, "ReserveSpace") != NULL)
        op_desc_add_input(op, "ReserveSpace", op_desc_output1(forward, "ReserveSpace"));
    const struct attr *global = op_desc_attr(forward, "use_global_stats");
    if (global != NULL && attr_bool(global)) {
        op_desc_add_input(op, "Mean", op_desc_output1(forward, "MeanOut"));
        op_desc_add_input(op, "Variance", op_desc_output1(forward, "VarianceOut"));
    }
    for (size_t i = 0; i < sizeof grads / sizeof *grads; i++) {
        char *slot = mem_must_printf("%s" GRAD_SUFFIX, grads[i]);
        char *name = mem_must_printf("%s" GRAD_SUFFIX, op_desc_input1(forward, grads[i]));
        op_desc_add_output(op, slot, name);
        mem_free(slot);
        mem_free(name);
    }
    for (size_t i = 0; i < forward->attrs_count; i++)
        op_desc_set_attr(op, &forward->attrs[i]);
    out[0] = op;
    return 1;
}

const struct op_def op_batch_norm = {
    .type = "batch_norm",
    .inputs = bn_inputs,
    .outputs = bn_outputs,
    .attrs = bn_attrs,
    .grad = {.make = bn_make_grad},
    .infer_shape = bn_infer,
    .kernel = bn_forward,
    .temps = TEMPS,
};

const struct op_def op_batch_norm_grad = {
    .type = "batch_norm_grad",
    .inputs = bn_grad_inputs,
    .outputs = bn_grad_outputs,
    .attrs = bn_attrs,
    .infer_shape = bn_grad_infer,
    .kernel = bn_backward,
    .temps = TEMPS,
    .no_lod = true,
};
