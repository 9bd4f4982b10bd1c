// SPDX-License-Identifier: Apache-2.0
// Convolutions and pooling of images [N, channels, height, width] (data_format NHWC: channels
// last).

#include <math.h>

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/program/var_desc.h"

// What a window walks by, as Fluid writes it.
struct window {
    int64_t strides[2], dilations[2];
    int64_t paddings[4];
    size_t paddings_count;   // 2 when both sides of each direction are the same
};

static struct window window_of(const int *stride, const int *padding, const int *dilation);
static bool image_ok(sl_net *net, const char *layer, const sl_var *input, const char *format,
                     int *out_channels_at);
static sl_var *finish(sl_net *net, const char *layer, const char *name, sl_var *x, int channels_at,
                      const struct sl_conv2d_options *o);

struct sl_conv2d_options sl_conv2d_defaults(void)
{
    return (struct sl_conv2d_options){.stride = {1, 1},
                                      .dilation = {1, 1},
                                      .groups = 1,
                                      .padding_algorithm = "EXPLICIT",
                                      .data_format = "NCHW",
                                      .use_cudnn = true};
}

sl_var *sl_conv2d(sl_net *net, sl_var *input, int64_t num_filters, int64_t filter_height,
                  int64_t filter_width, const struct sl_conv2d_options *options)
{
    const struct sl_conv2d_options defaults = sl_conv2d_defaults();
    const struct sl_conv2d_options *o = options ? options : &defaults;
    int at;
    if (!image_ok(net, "conv2d", input, o->data_format, &at))
        return NULL;
    int64_t channels = input->dims.d[at];
    if (o->groups < 1 || channels % o->groups != 0 || num_filters < 1 ||
        num_filters % o->groups != 0 || filter_height < 1 || filter_width < 1)
        return layer_op_refuse(net, "conv2d",
                               "%lld filters of %lld x %lld in %d groups over %lld channels",
                               (long long)num_filters, (long long)filter_height,
                               (long long)filter_width, o->groups, (long long)channels);
    bool depthwise = channels == o->groups && num_filters % channels == 0 && !o->use_cudnn;
    const char *type = depthwise ? "depthwise_conv2d" : "conv2d";
    const struct sl_shape shape = {
        .rank = 4, .d = {num_filters, channels / o->groups, filter_height, filter_width}};
    double elements = (double)(filter_height * filter_width * channels);
    const struct window w = window_of(o->stride, o->padding, o->dilation);
    char *name = unique_name_next(&net->names, type);
    struct var_desc *filter =
        layers_parameter(net, type, name, "w", o->param_attr, &shape, input->dtype,
                         sl_normal(0.0, sqrt(2.0 / elements), 0));
    const struct layer_op op = {
        .layer = type,
        .name = name,
        .in = {{"Input", input}, {"Filter", filter}},
        .attrs = {LAYER_OP_INTS("strides", w.strides, 2),
                  LAYER_OP_INTS("paddings", w.paddings, w.paddings_count),
                  LAYER_OP_INTS("dilations", w.dilations, 2), LAYER_OP_INT("groups", o->groups),
                  LAYER_OP_BOOL("use_cudnn", o->use_cudnn), LAYER_OP_BOOL("use_mkldnn", false),
                  LAYER_OP_BOOL("fuse_relu_before_depthwise_conv", false),
                  LAYER_OP_TEXT("padding_algorithm", o->padding_algorithm),
                  LAYER_OP_TEXT("data_format", o->data_format)},
        .out = {{"Output"}}};
    sl_var *out = filter ? layer_op_append(net, &op, NULL) : NULL;
    out = finish(net, type, name, out, at, o);
    mem_free(name);
    return out;
}

sl_var *sl_conv2d_transpose(sl_net *net, sl_var *input, int64_t num_filters, int64_t filter_height,
                            int64_t filter_width, struct sl_shape output_size,
                            const struct sl_conv2d_options *options)
{
    const struct sl_conv2d_options defaults = sl_conv2d_defaults();
    const struct sl_conv2d_options *o = options ? options : &defaults;
    int at;
    if (!image_ok(net, "conv2d_transpose", input, o->data_format, &at))
        return NULL;
    int64_t channels = input->dims.d[at];
    if (o->groups < 1 || channels % o->groups != 0 || num_filters < 1 ||
        num_filters % o->groups != 0 || filter_height < 1 || filter_width < 1)
        return layer_op_refuse(net, "conv2d_transpose",
                               "%lld filters of %lld x %lld in %d groups over %lld channels",
                               (long long)num_filters, (long long)filter_height,
                               (long long)filter_width, o->groups, (long long)channels);
    bool depthwise = channels == o->groups && num_filters == channels && !o->use_cudnn;
    const char *type = depthwise ? "depthwise_conv2d_transpose" : "conv2d_transpose";
    const struct sl_shape shape = {
        .rank = 4, .d = {channels, num_filters / o->groups, filter_height, filter_width}};
    const struct window w = window_of(o->stride, o->padding, o->dilation);
    char *name = unique_name_next(&net->names, type);
    struct var_desc *filter = layers_parameter(net, type, name, "w", o->param_attr, &shape,
                                               input->dtype, sl_xavier(true, 0, 0, 0));
    const struct layer_op op = {
        .layer = type,
        .name = name,
        .in = {{"Input", input}, {"Filter", filter}},
        .attrs = {LAYER_OP_INTS("output_size", output_size.d, (size_t)output_size.rank),
                  LAYER_OP_INTS("strides", w.strides, 2),
                  LAYER_OP_INTS("paddings", w.paddings, w.paddings_count),
                  LAYER_OP_TEXT("padding_algorithm", o->padding_algorithm),
                  LAYER_OP_INTS("dilations", w.dilations, 2), LAYER_OP_INT("groups", o->groups),
                  LAYER_OP_BOOL("use_cudnn", o->use_cudnn),
                  LAYER_OP_TEXT("data_format", o->data_format)},
        .out = {{"Output"}}};
    sl_var *out = filter ? layer_op_append(net, &op, NULL) : NULL;
    out = finish(net, type, name, out, at, o);
    mem_free(name);
    return out;
}

struct sl_pool2d_options sl_pool2d_defaults(void)
{
    return (struct sl_pool2d_options){.type = "max",
                                      .stride = {1, 1},
                                      .padding_algorithm = "EXPLICIT",
                                      .exclusive = true,
                                      .data_format = "NCHW",
                                      .use_cudnn = true};
}

sl_var *sl_pool2d(sl_net *net, sl_var *input, int64_t height, int64_t width,
                  const struct sl_pool2d_options *options)
{
    const struct sl_pool2d_options defaults = sl_pool2d_defaults();
    const struct sl_pool2d_options *o = options ? options : &defaults;
    const int once[2] = {1, 1};
    const struct window w = window_of(o->stride, o->padding, once);
    const int64_t ksize[2] = {height, width};
    if (!o->global && (height < 1 || width < 1))
        return layer_op_refuse(net, "pool2d", "a window of %lld x %lld", (long long)height,
                               (long long)width);
    return layer_op_append(
        net,
        &(struct layer_op){
            .layer = "pool2d",
            .in = {{"X", input}},
            .attrs = {LAYER_OP_TEXT("pooling_type", o->type), LAYER_OP_INTS("ksize", ksize, 2),
                      LAYER_OP_BOOL("global_pooling", o->global),
                      LAYER_OP_INTS("strides", w.strides, 2),
                      LAYER_OP_INTS("paddings", w.paddings, w.paddings_count),
                      LAYER_OP_TEXT("padding_algorithm", o->padding_algorithm),
                      LAYER_OP_BOOL("use_cudnn", o->use_cudnn),
                      LAYER_OP_BOOL("ceil_mode", o->ceil_mode), LAYER_OP_BOOL("use_mkldnn", false),
                      LAYER_OP_BOOL("exclusive", o->exclusive),
                      LAYER_OP_TEXT("data_format", o->data_format)},
            .out = {{"Out"}}},
        NULL);
}

sl_var *sl_simple_img_conv_pool(sl_net *net, sl_var *input, int64_t num_filters,
                                int64_t filter_size, int64_t pool_size, int pool_stride,
                                const char *act)
{
    struct sl_conv2d_options conv = sl_conv2d_defaults();
    struct sl_pool2d_options pool = sl_pool2d_defaults();
    conv.act = act;
    pool.stride[0] = pool.stride[1] = pool_stride;
    sl_var *x = sl_conv2d(net, input, num_filters, filter_size, filter_size, &conv);
    return sl_pool2d(net, x, pool_size, pool_size, &pool);
}

static struct window window_of(const int *stride, const int *padding, const int *dilation)
{
    struct window w = {.strides = {stride[0], stride[1]}, .dilations = {dilation[0], dilation[1]}};
    bool same = padding[0] == padding[1] && padding[2] == padding[3];
    w.paddings_count = same ? 2 : 4;
    for (size_t i = 0; i < w.paddings_count; i++)
        w.paddings[i] = padding[same ? 2 * i : i];
    return w;
}

static bool image_ok(sl_net *net, const char *layer, const sl_var *input, const char *format,
                     int *out_channels_at)
{
    if (!layers_ok(net, layer, (const sl_var *const[]){input}, 1))
        return false;
    bool last = str_eq(format, "NHWC");
    *out_channels_at = last ? 3 : 1;
    if (!last && !str_eq(format, "NCHW"))
        layer_op_refuse(net, layer, "data_format is NCHW or NHWC, not %s", format);
    else if (input->dims.rank != 4 || input->dims.d[*out_channels_at] < 1)
        layer_op_refuse(net, layer, "input %s is no image of four dimensions with known channels",
                        input->name);
    return net->error.code == 0;
}

static sl_var *finish(sl_net *net, const char *layer, const char *name, sl_var *x, int channels_at,
                      const struct sl_conv2d_options *o)
{
    if (x != NULL && !o->no_bias)
        x = layer_op_bias(net, layer, name, x, channels_at, channels_at + 1, o->bias_attr);
    return layer_op_activate(net, layer, name, x, o->act, &o->use_cudnn);
}
