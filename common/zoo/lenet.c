// SPDX-License-Identifier: Apache-2.0
// Digits by LeNet: two convolutions with pooling, softmax over 10 classes; with batch_norm between
// them or without.

#include "common/zoo/lenet.h"

static void build(sl_net *net, struct zoo_network *out, bool normalized)
{
    struct sl_fc_options softmax = sl_fc_defaults();
    softmax.act = "softmax";

    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(784));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    out->feeds[out->feeds_count++] = img;
    out->feeds[out->feeds_count++] = label;

    sl_var *x = sl_reshape(net, img, SL_SHAPE(-1, 1, 28, 28));
    x = sl_simple_img_conv_pool(net, x, 20, 5, 2, 2, "relu");
    if (normalized)
        x = sl_batch_norm(net, x, NULL);
    x = sl_simple_img_conv_pool(net, x, 50, 5, 2, 2, "relu");
    out->predict = sl_fc(net, x, 10, &softmax);
    zoo_classify(net, label, out);
}

void lenet_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    (void)options;
    build(net, out, false);
}

void lenet_build_bn(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    (void)options;
    build(net, out, true);
}
