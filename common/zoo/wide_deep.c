// SPDX-License-Identifier: Apache-2.0
// Clicks by a linear part beside a deep one: every slot has a table of weights (width 1), which are
// added up, and a table of embeddings, which are averaged and go through relu layers.

#include <stdio.h>

#include "common/zoo/slot_feeds.h"
#include "common/zoo/wide_deep.h"

static sl_var *slot(sl_net *net, const struct zoo_options *options, sl_var *ids, const char *part,
                    size_t i, int64_t width)
{
    struct sl_embedding_options table = zoo_table(options);
    struct sl_param_attr attr = sl_param_attr_defaults();
    char name[32];
    snprintf(name, sizeof name, "%s_%zu", part, i);
    attr.name = name;
    table.param_attr = &attr;
    return sl_embedding(net, ids, options->table_rows, width, &table);
}

void wide_deep_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    struct slot_feeds feeds = slot_feeds_make(net, options, out);
    struct sl_fc_options relu = sl_fc_defaults();
    sl_var *wide[ZOO_SLOTS_MAX] = {NULL}, *deep[ZOO_SLOTS_MAX + 1] = {NULL};
    relu.act = "relu";

    for (size_t i = 0; i < feeds.count; i++)
        wide[i] = sl_sequence_pool(net, slot(net, options, feeds.slots[i], "wide", i, 1), "sum");
    sl_var *sum = feeds.count > 1 ? sl_sum(net, wide, feeds.count) : wide[0];
    for (size_t i = 0; i < feeds.count; i++)
        deep[i] = sl_sequence_pool(
            net, slot(net, options, feeds.slots[i], "deep", i, options->embedding_size), "average");
    deep[feeds.count] = feeds.dense;
    sl_var *x = sl_concat(net, deep, feeds.count + 1, 1);
    for (size_t i = 0; i < options->hidden_count; i++)
        x = sl_fc(net, x, options->hidden[i], &relu);
    sl_var *logit = sl_elementwise_add(net, sl_fc(net, x, 1, NULL), sum, -1);
    out->predict = sl_sigmoid(net, logit);
    sl_var *label = sl_cast(net, feeds.label, SL_FP32);
    out->loss = sl_mean(net, sl_sigmoid_cross_entropy_with_logits(net, logit, label, -100, false));
    sl_var *two[] = {sl_scale(net, out->predict, -1.0, 1.0), out->predict};
    zoo_auc(net, options, sl_concat(net, two, 2, 1), feeds.label, out);
}
