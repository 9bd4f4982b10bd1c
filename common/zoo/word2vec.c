// SPDX-License-Identifier: Apache-2.0
// The N-gram model of Fluid's book, chapter word2vec: the words before share one table, are
// joined, and a hidden sigmoid layer tells the next one by softmax over all words.

#include <stdio.h>

#include "common/zoo/word2vec.h"

static sl_var *word(sl_net *net, size_t i, size_t last, struct zoo_network *out)
{
    static const char *const names[] = {"firstw", "secondw", "thirdw", "fourthw"};
    char name[32];
    if (i == last)
        snprintf(name, sizeof name, "nextw");
    else if (i < sizeof names / sizeof *names)
        snprintf(name, sizeof name, "%s", names[i]);
    else
        snprintf(name, sizeof name, "word%zuw", i + 1);
    return out->feeds[out->feeds_count++] = sl_data(net, name, SL_INT64, SL_SHAPE(1));
}

void word2vec_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    struct sl_embedding_options table = zoo_table(options);
    struct sl_param_attr shared = sl_param_attr_defaults();
    struct sl_fc_options hidden = sl_fc_defaults(), softmax = sl_fc_defaults();
    size_t last = (size_t)options->ngram - 1;
    sl_var *words[ZOO_NGRAM_MAX] = {NULL}, *rows[ZOO_NGRAM_MAX] = {NULL};
    shared.name = "shared_w";
    table.param_attr = &shared;
    hidden.act = "sigmoid";
    softmax.act = "softmax";

    for (size_t i = 0; i <= last; i++)
        words[i] = word(net, i, last, out);
    for (size_t i = 0; i < last; i++)
        rows[i] = sl_embedding(net, words[i], options->table_rows, options->embedding_size, &table);
    sl_var *x = sl_concat(net, rows, last, 1);
    for (size_t i = 0; i < options->hidden_count; i++)
        x = sl_fc(net, x, options->hidden[i], &hidden);
    out->predict = sl_fc(net, x, options->table_rows, &softmax);
    out->loss = sl_mean(net, sl_cross_entropy(net, out->predict, words[last]));
    out->ngram = options->ngram;
}
