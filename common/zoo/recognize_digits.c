// SPDX-License-Identifier: Apache-2.0
// Digits (or clothes: Fashion-MNIST) by a multilayer perceptron: 784 - hidden relu layers - 10
// softmax.

#include "common/zoo/recognize_digits.h"

void recognize_digits_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    struct sl_fc_options relu = sl_fc_defaults();
    struct sl_fc_options softmax = sl_fc_defaults();
    relu.act = "relu";
    softmax.act = "softmax";

    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(784));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    out->feeds[out->feeds_count++] = img;
    out->feeds[out->feeds_count++] = label;

    sl_var *hidden = img;
    for (size_t i = 0; i < options->hidden_count; i++)
        hidden = sl_fc(net, hidden, options->hidden[i], &relu);
    out->predict = sl_fc(net, hidden, 10, &softmax);
    zoo_classify(net, label, out);
}
