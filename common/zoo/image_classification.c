// SPDX-License-Identifier: Apache-2.0
// Small relatives of the networks of Fluid's book, chapter image classification, over images of
// 28 x 28: VGG (groups of 3 x 3 convolutions with batch_norm, then pooling) and ResNet (three
// stages of basic blocks, 16, 32 and 64 channels).

#include "common/zoo/image_classification.h"

static sl_var *begin(sl_net *net, struct zoo_network *out, sl_var **out_label)
{
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(784));
    *out_label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    out->feeds[out->feeds_count++] = img;
    out->feeds[out->feeds_count++] = *out_label;
    return sl_reshape(net, img, SL_SHAPE(-1, 1, 28, 28));
}

static void finish(sl_net *net, sl_var *x, sl_var *label, struct zoo_network *out)
{
    struct sl_fc_options softmax = sl_fc_defaults();
    softmax.act = "softmax";
    out->predict = sl_fc(net, x, 10, &softmax);
    zoo_classify(net, label, out);
}

// A convolution that keeps the size (stride 1) or halves it, without bias, then batch_norm and act.
static sl_var *conv_bn(sl_net *net, sl_var *x, int64_t filters, int64_t size, int stride,
                       const char *act)
{
    struct sl_conv2d_options conv = sl_conv2d_defaults();
    struct sl_batch_norm_options norm = sl_batch_norm_defaults();
    conv.stride[0] = conv.stride[1] = stride;
    for (int i = 0; i < 4; i++)
        conv.padding[i] = (int)(size - 1) / 2;
    conv.no_bias = true;
    norm.act = act;
    return sl_batch_norm(net, sl_conv2d(net, x, filters, size, size, &conv), &norm);
}

void image_classification_build_vgg(sl_net *net, const struct zoo_options *options,
                                    struct zoo_network *out)
{
    static const int64_t filters[] = {16, 32, 64};
    struct sl_pool2d_options pool = sl_pool2d_defaults();
    struct sl_fc_options relu = sl_fc_defaults();
    sl_var *label, *x = begin(net, out, &label);
    (void)options;
    pool.stride[0] = pool.stride[1] = 2;
    relu.act = "relu";
    for (size_t group = 0; group < 3; group++) {
        for (size_t i = 0; i < 2; i++)
            x = conv_bn(net, x, filters[group], 3, 1, "relu");
        x = sl_pool2d(net, x, 2, 2, &pool);
    }
    x = sl_dropout(net, sl_fc(net, x, 128, &relu), 0.5, NULL);
    finish(net, x, label, out);
}

// relu(F(x) + x); the way around is a 1 x 1 convolution where the shape changes.
static sl_var *basic_block(sl_net *net, sl_var *x, int64_t from, int64_t to, int stride)
{
    sl_var *inner = conv_bn(net, x, to, 3, stride, "relu");
    inner = conv_bn(net, inner, to, 3, 1, NULL);
    sl_var *around = from == to && stride == 1 ? x : conv_bn(net, x, to, 1, stride, NULL);
    return sl_relu(net, sl_elementwise_add(net, inner, around, -1));
}

void image_classification_build_resnet(sl_net *net, const struct zoo_options *options,
                                       struct zoo_network *out)
{
    struct sl_pool2d_options pool = sl_pool2d_defaults();
    sl_var *label, *x = begin(net, out, &label);
    int64_t channels = 16;
    (void)options;
    x = conv_bn(net, x, channels, 3, 1, "relu");
    for (int64_t stage = 0; stage < 3; stage++) {
        int64_t wider = 16 << stage;
        x = basic_block(net, x, channels, wider, stage == 0 ? 1 : 2);
        channels = wider;
    }
    pool.type = "avg";
    pool.global = true;
    finish(net, sl_pool2d(net, x, -1, -1, &pool), label, out);
}
