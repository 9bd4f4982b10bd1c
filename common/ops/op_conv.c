// SPDX-License-Identifier: Apache-2.0
// conv2d and depthwise_conv2d. Input [n, c, h, w] (or channels last), Filter [out_c, c / groups,
// kernel_h, kernel_w] in both formats; Output [n, out_c, (h + pads - reach) / stride + 1, ..] with
// reach = dilation (kernel - 1) + 1. Formulas stand in conv_gemm.h.
//
// The two types are one op: which loops run follows from the groups alone. Bias, ResidualData and
// the fuse_ attributes belong to MKL-DNN; programs with the first two are refused.

#include "common/base/err.h"
#include "common/ops/conv_depthwise.h"
#include "common/ops/conv_gemm.h"
#include "common/ops/conv_op.h"
#include "common/ops/layout.h"
#include "common/ops/op.h"

extern const struct op_def op_conv_2d, op_conv_2d_grad;
extern const struct op_def op_conv_depthwise, op_conv_depthwise_grad;

static const double ones[] = {1, 1}, zeros[] = {0, 0};

enum {
    CONV_STRIDES,
    CONV_PADDINGS,
    CONV_ALGORITHM,
    CONV_GROUPS,
    CONV_DILATIONS,
    CONV_FORMAT,
};
static const struct op_attr_def conv_attrs[] = {
    {.name = "strides", .type = ATTR_INTS, .list = ones, .list_count = 2},
    {.name = "paddings", .type = ATTR_INTS, .list = zeros, .list_count = 2},
    OP_ATTR_STRING("padding_algorithm", "EXPLICIT"),
    OP_ATTR_INT("groups", 1),
    {.name = "dilations", .type = ATTR_INTS, .list = ones, .list_count = 2},
    OP_ATTR_STRING("data_format", "NCHW"),
    OP_ATTR_BOOL("is_test", 0),
    OP_ATTR_BOOL("use_cudnn", 0),
    OP_ATTR_BOOL("fuse_relu_before_depthwise_conv", 0),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("use_quantizer", 0),
    OP_ATTR_BOOL("fuse_relu", 0),
    OP_ATTR_BOOL("fuse_brelu", 0),
    OP_ATTR_FLOAT("fuse_brelu_threshold", 6),
    OP_ATTR_STRING("fuse_activation", ""),
    OP_ATTR_FLOAT("fuse_alpha", 0),
    OP_ATTR_FLOAT("fuse_beta", 0),
    OP_ATTR_BOOL("fuse_residual_connection", 0),
    OP_ATTR_FLOAT("Scale_in", 1),
    OP_ATTR_FLOAT("Scale_out", 1),
    OP_ATTR_FLOAT("Scale_in_eltwise", 1),
    {.name = "Scale_weights", .type = ATTR_FLOATS, .list = ones, .list_count = 1},
    OP_ATTR_BOOL("force_fp32_output", 0),
    OP_ATTR_INT("workspace_size_MB", 512),
    OP_ATTR_BOOL("exhaustive_search", 0),
    {.name = NULL},
};

enum { CONV_INPUT, CONV_FILTER, CONV_BIAS, CONV_RESIDUAL };
static const struct op_slot_def conv_inputs[] = {{"Input", 0},
                                                 {"Filter", 0},
                                                 {"Bias", OP_SLOT_OPTIONAL},
                                                 {"ResidualData", OP_SLOT_OPTIONAL},
                                                 {NULL, 0}};
static const struct op_slot_def conv_outputs[] = {{"Output", 0}, {NULL, 0}};
enum { CONV_GRAD_BIAS = 2, CONV_GRAD_DOUT };
static const struct op_slot_def conv_grad_inputs[] = {
    {"Input", 0}, {"Filter", 0}, {"Bias", OP_SLOT_OPTIONAL}, {"Output@GRAD", 0}, {NULL, 0}};
enum { CONV_GRAD_DINPUT, CONV_GRAD_DFILTER };
static const struct op_slot_def conv_grad_outputs[] = {{"Input@GRAD", OP_SLOT_OPTIONAL},
                                                       {"Filter@GRAD", OP_SLOT_OPTIONAL},
                                                       {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                       {NULL, 0}};
enum { TEMP_WORK, TEMP_INPUT, TEMP_OUTPUT, TEMP_DINPUT, TEMPS };

// The sizes and paddings; unknown ones (-1) stay so.
static int read_conv(const struct attr *const *attr, const struct dims *in,
                     const struct dims *filter, bool *channels_last, struct conv_gemm *out,
                     struct err *err)
{
    char in_text[DIMS_TEXT_MAX], filter_text[DIMS_TEXT_MAX];
    int rc = window_layout(attr[CONV_FORMAT], channels_last, err);
    if (rc < 0)
        return rc;
    if (in->rank != 4 || filter->rank != 4)
        return err_set(err, SL_EINVAL, "Input %s and Filter %s must have 4 dimensions each",
                       dims_format(in, in_text), dims_format(filter, filter_text));
    struct window_places place = window_places(*channels_last);
    *out = (struct conv_gemm){.n = in->d[0],
                              .in_c = in->d[place.c],
                              .out_c = filter->d[0],
                              .groups = attr[CONV_GROUPS]->i};
    if (out->groups < 1)
        return err_set(err, SL_EINVAL, "groups %lld must be at least 1", (long long)out->groups);
    bool fits = out->in_c < 0 || filter->d[1] < 0 ||
                (out->in_c % out->groups == 0 && out->in_c / out->groups == filter->d[1]);
    if (!fits || (out->out_c >= 0 && out->out_c % out->groups != 0) || out->in_c == 0 ||
        out->out_c == 0)
        return err_set(err, SL_EMISMATCH,
                       "Input %s and Filter %s do not fit together with %lld groups (%s)",
                       dims_format(in, in_text), dims_format(filter, filter_text),
                       (long long)out->groups, *channels_last ? "NHWC" : "NCHW");
    out->axis[WINDOW_H] = (struct window_axis){.in = in->d[place.h], .kernel = filter->d[2]};
    out->axis[WINDOW_W] = (struct window_axis){.in = in->d[place.w], .kernel = filter->d[3]};
    struct window_attrs attrs = {attr[CONV_STRIDES], attr[CONV_PADDINGS], attr[CONV_ALGORITHM],
                                 attr[CONV_DILATIONS]};
    rc = window_read(out->axis, &attrs, err);
    return rc < 0 ? rc : window_count(out->axis, false, err);
}

static struct dims conv_out_dims(const struct conv_gemm *conv, bool channels_last)
{
    struct window_places place = window_places(channels_last);
    struct dims out = {.rank = 4};
    out.d[0] = conv->n;
    out.d[place.c] = conv->out_c;
    out.d[place.h] = conv->axis[WINDOW_H].out;
    out.d[place.w] = conv->axis[WINDOW_W].out;
    return out;
}

static int conv_infer(struct op_shape *shape)
{
    const struct op_var_dims *in = op_shape_in(shape, CONV_INPUT, 0),
                             *filter = op_shape_in(shape, CONV_FILTER, 0);
    struct conv_gemm conv;
    bool last;
    if (op_shape_in(shape, CONV_BIAS, 0) != NULL || op_shape_in(shape, CONV_RESIDUAL, 0) != NULL)
        return err_set(shape->err, SL_EUNSUPPORTED, "Bias and ResidualData are for MKL-DNN only");
    int rc = read_conv(shape->attr, &in->dims, &filter->dims, &last, &conv, shape->err);
    if (rc < 0)
        return rc;
    struct dims out = conv_out_dims(&conv, last);
    op_shape_set(shape, 0, 0, &out, in->dtype, in);
    return 0;
}

static int conv_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *in = op_shape_in(shape, CONV_INPUT, 0),
                             *filter = op_shape_in(shape, CONV_FILTER, 0),
                             *dout = op_shape_in(shape, CONV_GRAD_DOUT, 0);
    struct conv_gemm conv;
    bool last;
    if (op_shape_in(shape, CONV_GRAD_BIAS, 0) != NULL)
        return err_set(shape->err, SL_EUNSUPPORTED, "Bias is for MKL-DNN only");
    int rc = read_conv(shape->attr, &in->dims, &filter->dims, &last, &conv, shape->err);
    if (rc < 0)
        return rc;
    struct dims out = conv_out_dims(&conv, last);
    rc = conv_op_check_gradient(shape, &dout->dims, &out);
    if (rc < 0)
        return rc;
    op_shape_set(shape, CONV_GRAD_DINPUT, 0, &in->dims, in->dtype, in);
    op_shape_set(shape, CONV_GRAD_DFILTER, 0, &filter->dims, filter->dtype, filter);
    return 0;
}

// What both passes begin with.
static int conv_begin(struct op_ctx *ctx, bool *channels_last, struct conv_gemm *conv,
                      bool *depthwise)
{
    const struct tensor *in = op_in(ctx, CONV_INPUT), *filter = op_in(ctx, CONV_FILTER);
    int rc = conv_op_check_types(ctx, in, filter);
    if (rc == 0)
        rc = read_conv(ctx->attr, &in->dims, &filter->dims, channels_last, conv, ctx->err);
    return rc < 0 ? rc : conv_op_prepare(ctx, in, conv, &ctx->temps[TEMP_WORK], depthwise);
}

static int conv_forward(struct op_ctx *ctx)
{
    const struct tensor *in, *filter = op_in(ctx, CONV_FILTER);
    struct tensor *out;
    struct conv_gemm conv;
    bool last, depthwise;
    int rc = conv_begin(ctx, &last, &conv, &depthwise);
    if (rc < 0 || (rc = layout_input(ctx, TEMP_INPUT, op_in(ctx, CONV_INPUT), last, &in)) < 0 ||
        (rc = layout_output(ctx, TEMP_OUTPUT, op_out(ctx, 0), last, &out)) < 0)
        return rc;
    if (depthwise)
        conv_depthwise_forward(&conv, out->data, in->data, filter->data);
    else
        conv_gemm_forward(&conv, out->data, in->data, filter->data, ctx->temps[TEMP_WORK].data);
    return layout_finish(ctx, op_out(ctx, 0), out);
}

static int conv_backward(struct op_ctx *ctx)
{
    const struct tensor *in = NULL, *filter = op_in(ctx, CONV_FILTER), *dout;
    struct tensor *din, *dfilter = op_out(ctx, CONV_GRAD_DFILTER);
    struct tensor *dinput = op_out(ctx, CONV_GRAD_DINPUT);
    struct conv_gemm conv;
    bool last, depthwise;
    int rc = conv_begin(ctx, &last, &conv, &depthwise);
    if (rc < 0)
        return rc;
    if (op_in(ctx, CONV_GRAD_DOUT)->dtype != filter->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Output@GRAD has not the type of Filter");
    rc = layout_input(ctx, TEMP_OUTPUT, op_in(ctx, CONV_GRAD_DOUT), last, &dout);
    if (rc == 0 && dfilter != NULL)
        rc = layout_input(ctx, TEMP_INPUT, op_in(ctx, CONV_INPUT), last, &in);
    if (rc == 0)
        rc = layout_output(ctx, TEMP_DINPUT, dinput, last, &din);
    if (rc < 0)
        return rc;
    void *work = ctx->temps[TEMP_WORK].data;
    if (dfilter != NULL && depthwise)
        conv_depthwise_backward_filter(&conv, dfilter->data, dout->data, in->data);
    else if (dfilter != NULL)
        conv_gemm_backward_filter(&conv, dfilter->data, dout->data, in->data, work);
    if (din == NULL)
        return 0;
    if (depthwise)
        conv_depthwise_backward_in(&conv, din->data, dout->data, filter->data);
    else
        conv_gemm_backward_in(&conv, din->data, dout->data, filter->data, work);
    return layout_finish(ctx, dinput, din);
}

#define CONV_FORWARD(TYPE)                                                                         \
    {                                                                                              \
        .type = TYPE, .inputs = conv_inputs, .outputs = conv_outputs, .attrs = conv_attrs,         \
        .grad = {.type = TYPE "_grad",                                                             \
                 .inputs = "Input Filter Bias Output@GRAD",                                        \
                 .outputs = "Input@GRAD Filter@GRAD Bias@GRAD"},                                   \
        .infer_shape = conv_infer, .kernel = conv_forward, .temps = TEMPS,                         \
    }
#define CONV_BACKWARD(TYPE)                                                                        \
    {                                                                                              \
        .type = TYPE "_grad", .inputs = conv_grad_inputs, .outputs = conv_grad_outputs,            \
        .attrs = conv_attrs, .infer_shape = conv_grad_infer, .kernel = conv_backward,              \
        .temps = TEMPS, .no_lod = true,                                                            \
    }

const struct op_def op_conv_2d = CONV_FORWARD("conv2d");
const struct op_def op_conv_2d_grad = CONV_BACKWARD("conv2d");
const struct op_def op_conv_depthwise = CONV_FORWARD("depthwise_conv2d");
const struct op_def op_conv_depthwise_grad = CONV_BACKWARD("depthwise_conv2d");
