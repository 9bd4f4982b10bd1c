// SPDX-License-Identifier: Apache-2.0
// Roles of the words of a sentence towards its verb (chapter label_semantic_roles of Fluid's book),
// with GRUs in the place of LSTMs: eight features a word, a stack of GRUs that read to and fro, and
// a chain of tags (CRF). --hidden is one width a layer; tags are IOB, so --classes counts two a
// type and one for words outside.

#include "common/zoo/label_semantic.h"

#define WORD_FEATURES 6
#define FEATURES 8
#define MARK_WIDTH 5
#define VERB_ROWS 3162   // of the book's data
#define TRANSITIONS "crfw"

static sl_var *feed(sl_net *net, const char *name, struct zoo_network *out)
{
    sl_var *var = sl_data_lod(net, name, SL_INT64, SL_SHAPE(-1, 1), 1);
    return out->feeds[out->feeds_count++] = var;
}

static sl_var *table_of(sl_net *net, const struct zoo_options *options, sl_var *ids,
                        const char *name, int64_t rows, int64_t width)
{
    struct sl_embedding_options table = zoo_table(options);
    struct sl_param_attr attr = sl_param_attr_defaults();
    attr.name = name;
    table.param_attr = &attr;
    return sl_embedding(net, ids, rows, width, &table);
}

static void features(sl_net *net, const struct zoo_options *options, sl_var *rows[FEATURES],
                     struct zoo_network *out)
{
    static const char *const names[WORD_FEATURES] = {"word",  "ctx_n2", "ctx_n1",
                                                     "ctx_0", "ctx_p1", "ctx_p2"};
    int64_t verbs = options->table_rows < VERB_ROWS ? options->table_rows : VERB_ROWS;
    for (size_t i = 0; i < WORD_FEATURES; i++)
        rows[i] = table_of(net, options, feed(net, names[i], out), "emb", options->table_rows,
                           options->embedding_size);
    rows[6] =
        table_of(net, options, feed(net, "verb", out), "vemb", verbs, options->embedding_size);
    rows[7] = table_of(net, options, feed(net, "mark", out), "memb", 2, MARK_WIDTH);
}

void label_semantic_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    struct sl_gru_options gru = sl_gru_defaults();
    struct sl_param_attr transitions = sl_param_attr_defaults();
    sl_var *rows[FEATURES] = {NULL}, *pair[2] = {NULL};
    features(net, options, rows, out);
    sl_var *target = feed(net, "target", out);
    for (size_t i = 0; i < options->hidden_count; i++) {
        int64_t width = options->hidden[i];
        pair[0] = i == 0 ? sl_fc_many(net, rows, FEATURES, 3 * width, NULL)
                         : sl_fc_many(net, pair, 2, 3 * width, NULL);
        gru.is_reverse = i % 2 == 1;
        pair[1] = sl_dynamic_gru(net, pair[0], width, &gru);
    }
    sl_var *tags = sl_fc_many(net, pair, 2, options->classes, NULL);
    transitions.name = TRANSITIONS;
    out->loss = sl_mean(net, sl_linear_chain_crf(net, tags, target, &transitions, NULL));
    out->predict = sl_crf_decoding(net, tags, TRANSITIONS, NULL, NULL);
    struct sl_chunk_eval chunks =
        sl_chunk_eval(net, out->predict, target, "IOB", (int)(options->classes / 2), NULL);
    zoo_metric(out, "f1", chunks.f1_score);
    zoo_metric(out, "precision", chunks.precision);
    zoo_metric(out, "recall", chunks.recall);
}
