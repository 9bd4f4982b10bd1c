// SPDX-License-Identifier: Apache-2.0
// Clicks by a deep network (ctr_dnn of Fluid's models): every slot's ids are rows of one table,
// added up; with the dense values they go through relu layers to a softmax over no and yes.

#include <math.h>

#include "common/zoo/ctr_dnn.h"
#include "common/zoo/slot_feeds.h"

static sl_var *fc(sl_net *net, sl_var *x, int64_t inputs, int64_t size, const char *act)
{
    struct sl_fc_options o = sl_fc_defaults();
    struct sl_param_attr weights = sl_param_attr_defaults();
    weights.initializer = sl_normal(0.0, 1.0 / sqrt((double)inputs), 0);
    o.param_attr = &weights;
    o.act = act;
    return sl_fc(net, x, size, &o);
}

void ctr_dnn_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    struct slot_feeds feeds = slot_feeds_make(net, options, out);
    struct sl_embedding_options table = zoo_table(options);
    struct sl_param_attr factors = sl_param_attr_defaults();
    sl_var *parts[ZOO_SLOTS_MAX + 1] = {NULL};
    factors.name = "SparseFeatFactors";
    factors.initializer = sl_uniform(-1.0, 1.0, 0);
    table.param_attr = &factors;

    for (size_t i = 0; i < feeds.count; i++)
        parts[i] =
            sl_embedding(net, feeds.slots[i], options->table_rows, options->embedding_size, &table);
    for (size_t i = 0; i < feeds.count; i++)
        parts[i] = sl_sequence_pool(net, parts[i], "sum");
    parts[feeds.count] = feeds.dense;
    sl_var *x = sl_concat(net, parts, feeds.count + 1, 1);
    int64_t width = (int64_t)feeds.count * options->embedding_size + SLOT_FEEDS_DENSE;
    for (size_t i = 0; i < options->hidden_count; i++) {
        x = fc(net, x, width, options->hidden[i], "relu");
        width = options->hidden[i];
    }
    out->predict = fc(net, x, width, 2, "softmax");
    const int64_t *all = NULL;
    out->loss = sl_reduce_sum(net, sl_cross_entropy(net, out->predict, feeds.label), all, 0, false);
    zoo_auc(net, options, out->predict, feeds.label, out);
}
