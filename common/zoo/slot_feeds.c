// SPDX-License-Identifier: Apache-2.0
// See slot_feeds.h. Ids of the data are taken modulo the table's rows.

#include <stdio.h>

#include "common/zoo/slot_feeds.h"

struct slot_feeds slot_feeds_make(sl_net *net, const struct zoo_options *options,
                                  struct zoo_network *out)
{
    struct slot_feeds feeds = {.count = (size_t)options->sparse_slots};
    feeds.dense = sl_data(net, "dense_input", SL_FP32, SL_SHAPE(SLOT_FEEDS_DENSE));
    out->feeds[out->feeds_count++] = feeds.dense;
    for (size_t i = 0; i < feeds.count; i++) {
        char name[32];
        snprintf(name, sizeof name, "C%zu", i + 1);
        feeds.slots[i] = sl_data_lod(net, name, SL_INT64, SL_SHAPE(-1, 1), 1);
        out->feeds[out->feeds_count++] = feeds.slots[i];
    }
    feeds.label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    out->feeds[out->feeds_count++] = feeds.label;
    out->hash_dim = options->table_rows;
    return feeds;
}
