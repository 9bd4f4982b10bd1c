// SPDX-License-Identifier: Apache-2.0
// Clicks by a factorisation machine and a deep part over the same embeddings (DeepFM):
//
//   y = sum_i w_i x_i + 1/2 sum_k ((sum_i v_ik x_i)^2 - sum_i (v_ik x_i)^2) + deep(v x)
//
// over the fields i of a sample, each an index into the tables w and v and a value x. Index 0 is no
// feature. The indices are taken as one column, as tables on servers want them.

#include "common/zoo/deepfm.h"

#define INTEGER_ROWS 14   // of the criteo reader's table, before what is hashed

static sl_var *table_of(sl_net *net, const struct zoo_options *options, sl_var *ids,
                        const char *name, int64_t width)
{
    struct sl_embedding_options table = zoo_table(options);
    struct sl_param_attr attr = sl_param_attr_defaults();
    attr.name = name;
    attr.initializer = sl_truncated_normal(0.0, 0.1, 0);
    table.param_attr = &attr;
    table.padding_idx = 0;
    return sl_reshape(net, sl_embedding(net, ids, options->table_rows, width, &table),
                      SL_SHAPE(-1, options->sparse_slots, width));
}

static sl_var *sum_fields(sl_net *net, sl_var *x, bool keep_dim)
{
    const int64_t fields = 1;
    return sl_reduce_sum(net, x, &fields, 1, keep_dim);
}

static sl_var *deep_part(sl_net *net, const struct zoo_options *options, sl_var *embed)
{
    struct sl_fc_options relu = sl_fc_defaults();
    relu.act = "relu";
    sl_var *x =
        sl_reshape(net, embed, SL_SHAPE(-1, options->sparse_slots * options->embedding_size));
    for (size_t i = 0; i < options->hidden_count; i++)
        x = sl_fc(net, x, options->hidden[i], &relu);
    return sl_fc(net, x, 1, NULL);
}

void deepfm_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    int64_t fields = options->sparse_slots;
    sl_var *fed = sl_data(net, "feat_idx", SL_INT64, SL_SHAPE(fields, 1));
    sl_var *ids = options->deep_ids ? fed : sl_reshape(net, fed, SL_SHAPE(-1, 1));
    sl_var *value = sl_data(net, "feat_value", SL_FP32, SL_SHAPE(fields));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    sl_var *value3 = sl_reshape(net, value, SL_SHAPE(-1, fields, 1));

    sl_var *weights = table_of(net, options, ids, "fm_first", 1);
    sl_var *first = sum_fields(net, sl_var_mul(net, weights, value3), false);
    sl_var *embed = table_of(net, options, ids, "fm_embed", options->embedding_size);
    embed = sl_var_mul(net, embed, value3);
    sl_var *square_of_sum = sl_square(net, sum_fields(net, embed, false));
    sl_var *sum_of_squares = sum_fields(net, sl_square(net, embed), false);
    sl_var *second = sum_fields(net, sl_var_sub(net, square_of_sum, sum_of_squares), true);
    second = sl_var_scale(net, second, 0.5, 0.0);
    sl_var *deep = deep_part(net, options, embed);
    sl_var *y = sl_var_add(net, sl_var_add(net, first, second), deep);

    out->predict = sl_sigmoid(net, y);
    sl_var *cost = sl_log_loss(net, out->predict, sl_cast(net, label, SL_FP32), 1e-4);
    out->loss = sl_reduce_sum(net, cost, NULL, 0, false);
    sl_var *two[] = {sl_var_scale(net, out->predict, -1.0, 1.0), out->predict};
    zoo_auc(net, options, sl_concat(net, two, 2, 1), label, out);
    out->feeds[out->feeds_count++] = fed;
    out->feeds[out->feeds_count++] = value;
    out->feeds[out->feeds_count++] = label;
    out->hash_dim = options->table_rows > INTEGER_ROWS ? options->table_rows - INTEGER_ROWS : 0;
}
