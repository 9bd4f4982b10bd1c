// SPDX-License-Identifier: Apache-2.0
// conv2d_transpose and depthwise_conv2d_transpose: the gradient of a convolution as a forward op.
// Input [n, c, h, w] (or channels last), Filter [c, out_c / groups, kernel_h, kernel_w]; Output
// [n, out_c, H, W] with H = (h - 1) stride - pads + dilation (kernel - 1) + 1, or output_size,
// which may be larger by less than a stride.
//
// In terms of conv_gemm.h, whose convolution goes from our Output to our Input:
//
//   forward   Output = backward_in(Input)
//   backward  dInput = forward(dOutput),  dFilter = backward_filter(dout: Input, in: dOutput)

#include "common/base/err.h"
#include "common/ops/conv_depthwise.h"
#include "common/ops/conv_gemm.h"
#include "common/ops/conv_op.h"
#include "common/ops/layout.h"
#include "common/ops/op.h"

extern const struct op_def op_conv_transpose_2d, op_conv_transpose_2d_grad;
extern const struct op_def op_conv_transpose_depthwise, op_conv_transpose_depthwise_grad;

static const double ones[] = {1, 1}, zeros[] = {0, 0};

enum {
    TRANSPOSE_OUTPUT_SIZE,
    TRANSPOSE_GROUPS,
    TRANSPOSE_DILATIONS,
    TRANSPOSE_STRIDES,
    TRANSPOSE_PADDINGS,
    TRANSPOSE_FORMAT,
    TRANSPOSE_ALGORITHM,
};
static const struct op_attr_def transpose_attrs[] = {
    OP_ATTR_LIST("output_size", ATTR_INTS),
    OP_ATTR_INT("groups", 1),
    {.name = "dilations", .type = ATTR_INTS, .list = ones, .list_count = 2},
    {.name = "strides", .type = ATTR_INTS, .list = ones, .list_count = 2},
    {.name = "paddings", .type = ATTR_INTS, .list = zeros, .list_count = 2},
    OP_ATTR_STRING("data_format", "NCHW"),
    OP_ATTR_STRING("padding_algorithm", "EXPLICIT"),
    OP_ATTR_BOOL("is_test", 0),
    OP_ATTR_BOOL("use_cudnn", 0),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("fuse_relu", 0),
    OP_ATTR_STRING("fuse_activation", ""),
    OP_ATTR_FLOAT("fuse_alpha", 0),
    OP_ATTR_FLOAT("fuse_beta", 0),
    OP_ATTR_INT("workspace_size_MB", 512),
    {.name = NULL},
};

enum { TRANSPOSE_INPUT, TRANSPOSE_FILTER, TRANSPOSE_BIAS };
static const struct op_slot_def transpose_inputs[] = {
    {"Input", 0}, {"Filter", 0}, {"Bias", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def transpose_outputs[] = {{"Output", 0}, {NULL, 0}};
enum { TRANSPOSE_GRAD_BIAS = 2, TRANSPOSE_GRAD_DOUT };
static const struct op_slot_def transpose_grad_inputs[] = {
    {"Input", 0}, {"Filter", 0}, {"Bias", OP_SLOT_OPTIONAL}, {"Output@GRAD", 0}, {NULL, 0}};
enum { TRANSPOSE_GRAD_DINPUT, TRANSPOSE_GRAD_DFILTER };
static const struct op_slot_def transpose_grad_outputs[] = {{"Input@GRAD", OP_SLOT_OPTIONAL},
                                                            {"Filter@GRAD", OP_SLOT_OPTIONAL},
                                                            {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                            {NULL, 0}};
enum { TEMP_WORK, TEMP_INPUT, TEMP_OUTPUT, TEMP_DINPUT, TEMPS };

// Exchanges in and out of the axes: from the window over Input that the attributes tell of to the
// convolution over Output.
static int turn_axes(const struct attr *const *attr, struct window_axis axis[2], struct err *err)
{
    const struct attr *size = attr[TRANSPOSE_OUTPUT_SIZE];
    if (size->count != 0 && size->count != 2)
        return err_set(err, SL_EINVAL, "output_size must have 2 numbers, not %zu", size->count);
    for (size_t i = 0; i < 2; i++) {
        struct window_axis *a = &axis[i];
        a->out = a->in;
        a->in = -1;
        if (a->kernel < 0)
            continue;
        int64_t least = -1;
        if (a->out >= 0) {
            least =
                (a->out - 1) * a->stride - a->before - a->after + a->dilation * (a->kernel - 1) + 1;
            a->in = least;
        }
        if (size->count > 0) {
            a->in = size->ints[i];
            if (least >= 0 && (a->in < least || a->in >= least + a->stride))
                return err_set(err, SL_EINVAL,
                               "output_size has %lld; from %lld to below %lld is possible",
                               (long long)a->in, (long long)least, (long long)(least + a->stride));
        }
        if (a->out >= 0 && a->in > WINDOW_SIDE_MAX)
            return err_set(err, SL_ELIMIT, "an output side of %lld is too long", (long long)a->in);
        if (a->out >= 0 && (a->in < 1 || a->out < 1 || a->kernel < 1))
            return err_set(err, SL_EINVAL, "an image side of %lld gives an output side of %lld",
                           (long long)a->out, (long long)a->in);
    }
    return 0;
}

static int read_transpose(const struct attr *const *attr, const struct dims *in,
                          const struct dims *filter, bool *channels_last, struct conv_gemm *out,
                          struct err *err)
{
    char in_text[DIMS_TEXT_MAX], filter_text[DIMS_TEXT_MAX];
    int rc = window_layout(attr[TRANSPOSE_FORMAT], channels_last, err);
    if (rc < 0)
        return rc;
    if (in->rank != 4 || filter->rank != 4)
        return err_set(err, SL_EINVAL, "Input %s and Filter %s must have 4 dimensions each",
                       dims_format(in, in_text), dims_format(filter, filter_text));
    struct window_places place = window_places(*channels_last);
    int64_t groups = attr[TRANSPOSE_GROUPS]->i, channels = in->d[place.c];
    if (groups < 1)
        return err_set(err, SL_EINVAL, "groups %lld must be at least 1", (long long)groups);
    if (!op_dims_fit(channels, filter->d[0]) || (channels >= 0 && channels % groups != 0) ||
        channels == 0 || filter->d[1] == 0 || filter->d[1] > INT32_MAX || groups > INT32_MAX)
        return err_set(err, SL_EMISMATCH,
                       "Input %s and Filter %s do not fit together with %lld groups (%s)",
                       dims_format(in, in_text), dims_format(filter, filter_text),
                       (long long)groups, *channels_last ? "NHWC" : "NCHW");
    *out = (struct conv_gemm){.n = in->d[0], .out_c = channels, .groups = groups};
    out->in_c = filter->d[1] < 0 ? -1 : filter->d[1] * groups;
    out->axis[WINDOW_H] = (struct window_axis){.in = in->d[place.h], .kernel = filter->d[2]};
    out->axis[WINDOW_W] = (struct window_axis){.in = in->d[place.w], .kernel = filter->d[3]};
    struct window_attrs attrs = {attr[TRANSPOSE_STRIDES], attr[TRANSPOSE_PADDINGS],
                                 attr[TRANSPOSE_ALGORITHM], attr[TRANSPOSE_DILATIONS]};
    rc = window_read(out->axis, &attrs, err);
    return rc < 0 ? rc : turn_axes(attr, out->axis, err);
}

static struct dims transpose_out_dims(const struct conv_gemm *conv, bool channels_last)
{
    struct window_places place = window_places(channels_last);
    struct dims out = {.rank = 4};
    out.d[0] = conv->n;
    out.d[place.c] = conv->in_c;
    out.d[place.h] = conv->axis[WINDOW_H].in;
    out.d[place.w] = conv->axis[WINDOW_W].in;
    return out;
}

static int transpose_infer(struct op_shape *shape)
{
    const struct op_var_dims *in = op_shape_in(shape, TRANSPOSE_INPUT, 0),
                             *filter = op_shape_in(shape, TRANSPOSE_FILTER, 0);
    struct conv_gemm conv;
    bool last;
    if (op_shape_in(shape, TRANSPOSE_BIAS, 0) != NULL)
        return err_set(shape->err, SL_EUNSUPPORTED, "Bias is for MKL-DNN only");
    int rc = read_transpose(shape->attr, &in->dims, &filter->dims, &last, &conv, shape->err);
    if (rc < 0)
        return rc;
    struct dims out = transpose_out_dims(&conv, last);
    op_shape_set(shape, 0, 0, &out, in->dtype, NULL);
    return 0;
}

static int transpose_grad_infer(struct op_shape *shape)
{
    const struct op_var_dims *in = op_shape_in(shape, TRANSPOSE_INPUT, 0),
                             *filter = op_shape_in(shape, TRANSPOSE_FILTER, 0),
                             *dout = op_shape_in(shape, TRANSPOSE_GRAD_DOUT, 0);
    struct conv_gemm conv;
    bool last;
    if (op_shape_in(shape, TRANSPOSE_GRAD_BIAS, 0) != NULL)
        return err_set(shape->err, SL_EUNSUPPORTED, "Bias is for MKL-DNN only");
    int rc = read_transpose(shape->attr, &in->dims, &filter->dims, &last, &conv, shape->err);
    if (rc < 0)
        return rc;
    struct dims out = transpose_out_dims(&conv, last);
    rc = conv_op_check_gradient(shape, &dout->dims, &out);
    if (rc < 0)
        return rc;
    op_shape_set(shape, TRANSPOSE_GRAD_DINPUT, 0, &in->dims, in->dtype, in);
    op_shape_set(shape, TRANSPOSE_GRAD_DFILTER, 0, &filter->dims, filter->dtype, filter);
    return 0;
}

static int transpose_begin(struct op_ctx *ctx, bool *channels_last, struct conv_gemm *conv,
                           bool *depthwise)
{
    const struct tensor *in = op_in(ctx, TRANSPOSE_INPUT), *filter = op_in(ctx, TRANSPOSE_FILTER);
    int rc = conv_op_check_types(ctx, in, filter);
    if (rc == 0)
        rc = read_transpose(ctx->attr, &in->dims, &filter->dims, channels_last, conv, ctx->err);
    return rc < 0 ? rc : conv_op_prepare(ctx, in, conv, &ctx->temps[TEMP_WORK], depthwise);
}

static int transpose_forward(struct op_ctx *ctx)
{
    const struct tensor *in, *filter = op_in(ctx, TRANSPOSE_FILTER);
    struct tensor *out;
    struct conv_gemm conv;
    bool last, depthwise;
    int rc = transpose_begin(ctx, &last, &conv, &depthwise);
    if (rc < 0 ||
        (rc = layout_input(ctx, TEMP_INPUT, op_in(ctx, TRANSPOSE_INPUT), last, &in)) < 0 ||
        (rc = layout_output(ctx, TEMP_OUTPUT, op_out(ctx, 0), last, &out)) < 0)
        return rc;
    if (depthwise)
        conv_depthwise_backward_in(&conv, out->data, in->data, filter->data);
    else
        conv_gemm_backward_in(&conv, out->data, in->data, filter->data, ctx->temps[TEMP_WORK].data);
    return layout_finish(ctx, op_out(ctx, 0), out);
}

static int transpose_backward(struct op_ctx *ctx)
{
    const struct tensor *in = NULL, *filter = op_in(ctx, TRANSPOSE_FILTER), *dout;
    struct tensor *din, *dfilter = op_out(ctx, TRANSPOSE_GRAD_DFILTER);
    struct tensor *dinput = op_out(ctx, TRANSPOSE_GRAD_DINPUT);
    struct conv_gemm conv;
    bool last, depthwise;
    int rc = transpose_begin(ctx, &last, &conv, &depthwise);
    if (rc < 0)
        return rc;
    if (op_in(ctx, TRANSPOSE_GRAD_DOUT)->dtype != filter->dtype)
        return err_set(ctx->err, SL_EMISMATCH, "Output@GRAD has not the type of Filter");
    rc = layout_input(ctx, TEMP_OUTPUT, op_in(ctx, TRANSPOSE_GRAD_DOUT), last, &dout);
    if (rc == 0 && dfilter != NULL)
        rc = layout_input(ctx, TEMP_INPUT, op_in(ctx, TRANSPOSE_INPUT), last, &in);
    if (rc == 0)
        rc = layout_output(ctx, TEMP_DINPUT, dinput, last, &din);
    if (rc < 0)
        return rc;
    void *work = ctx->temps[TEMP_WORK].data;
    if (dfilter != NULL && depthwise)
        conv_depthwise_backward_filter(&conv, dfilter->data, in->data, dout->data);
    else if (dfilter != NULL)
        conv_gemm_backward_filter(&conv, dfilter->data, in->data, dout->data, work);
    if (din == NULL)
        return 0;
    if (depthwise)
        conv_depthwise_forward(&conv, din->data, dout->data, filter->data);
    else
        conv_gemm_forward(&conv, din->data, dout->data, filter->data, work);
    return layout_finish(ctx, dinput, din);
}

#define TRANSPOSE_FORWARD(TYPE)                                                                    \
    {                                                                                              \
        .type = TYPE, .inputs = transpose_inputs, .outputs = transpose_outputs,                    \
        .attrs = transpose_attrs,                                                                  \
        .grad = {.type = TYPE "_grad",                                                             \
                 .inputs = "Input Filter Bias Output@GRAD",                                        \
                 .outputs = "Input@GRAD Filter@GRAD Bias@GRAD"},                                   \
        .infer_shape = transpose_infer, .kernel = transpose_forward, .temps = TEMPS,               \
    }
#define TRANSPOSE_BACKWARD(TYPE)                                                                   \
    {                                                                                              \
        .type = TYPE "_grad", .inputs = transpose_grad_inputs, .outputs = transpose_grad_outputs,  \
        .attrs = transpose_attrs, .infer_shape = transpose_grad_infer,                             \
        .kernel = transpose_backward, .temps = TEMPS, .no_lod = true,                              \
    }

const struct op_def op_conv_transpose_2d = TRANSPOSE_FORWARD("conv2d_transpose");
const struct op_def op_conv_transpose_2d_grad = TRANSPOSE_BACKWARD("conv2d_transpose");
const struct op_def op_conv_transpose_depthwise = TRANSPOSE_FORWARD("depthwise_conv2d_transpose");
const struct op_def op_conv_transpose_depthwise_grad =
    TRANSPOSE_BACKWARD("depthwise_conv2d_transpose");
