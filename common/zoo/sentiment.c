// SPDX-License-Identifier: Apache-2.0
// Texts by their words (chapter sentiment of Fluid's book): two convolutions over windows of 3 and
// 4 words with pooling, an LSTM whose last state counts, or a GRU from the end whose first one
// does.
// --hidden is the number of filters or the width of the state.

#include "common/zoo/sentiment.h"

static sl_var *begin(sl_net *net, const struct zoo_options *options, sl_var **out_label,
                     struct zoo_network *out)
{
    struct sl_embedding_options table = zoo_table(options);
    sl_var *words = sl_data_lod(net, "words", SL_INT64, SL_SHAPE(-1, 1), 1);
    *out_label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    out->feeds[out->feeds_count++] = words;
    out->feeds[out->feeds_count++] = *out_label;
    return sl_embedding(net, words, options->table_rows, options->embedding_size, &table);
}

static void finish(sl_net *net, const struct zoo_options *options, sl_var *const *inputs,
                   size_t count, sl_var *label, struct zoo_network *out)
{
    struct sl_fc_options softmax = sl_fc_defaults();
    softmax.act = "softmax";
    out->predict = sl_fc_many(net, inputs, count, options->classes, &softmax);
    zoo_classify(net, label, out);
}

void sentiment_build_conv(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    sl_var *label, *x = begin(net, options, &label, out);
    int64_t filters = options->hidden[0];
    sl_var *three = sl_sequence_conv_pool(net, x, filters, 3, "tanh", "max", NULL, NULL);
    sl_var *four = sl_sequence_conv_pool(net, x, filters, 4, "tanh", "sqrt", NULL, NULL);
    finish(net, options, (sl_var *const[]){three, four}, 2, label, out);
}

void sentiment_build_lstm(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    struct sl_fc_options tanh = sl_fc_defaults();
    sl_var *label, *x = begin(net, options, &label, out);
    int64_t gates = 4 * options->hidden[0];
    tanh.act = "tanh";
    x = sl_dynamic_lstm(net, sl_fc(net, x, gates, &tanh), gates, NULL, NULL);
    x = sl_sequence_last_step(net, x);
    finish(net, options, &x, 1, label, out);
}

void sentiment_build_gru(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    struct sl_gru_options gru = sl_gru_defaults();
    sl_var *label, *x = begin(net, options, &label, out);
    int64_t width = options->hidden[0];
    gru.is_reverse = true;
    x = sl_dynamic_gru(net, sl_fc(net, x, 3 * width, NULL), width, &gru);
    x = sl_sequence_first_step(net, x);
    finish(net, options, &x, 1, label, out);
}
