// SPDX-License-Identifier: Apache-2.0
// The models that the command-line programs know by name. Each model is one file that uses the
// public API only; the table is in zoo.c.
#pragma once

#include "common/api/sluice.h"

#define ZOO_HIDDEN_MAX 16
#define ZOO_SLOTS_MAX 1024
#define ZOO_NGRAM_MAX 64
#define ZOO_FEEDS_MAX (ZOO_SLOTS_MAX + 2)
#define ZOO_METRICS_MAX 8

// Sizes of a model; 0: its own. zoo_complete fills them in.
struct zoo_options {
    int64_t hidden[ZOO_HIDDEN_MAX];   // widths of the hidden layers
    size_t hidden_count;
    int64_t table_rows;       // of a table of embeddings: how many ids there are
    int64_t embedding_size;   // its width
    int64_t sparse_slots;     // slots of ids (deepfm: fields)
    int64_t classes;          // labels that are told apart
    int64_t ngram;            // words of a sample, the one to be told included
    bool dense_tables;        // gradients of tables are dense; else is_sparse
    int64_t auc_thresholds;
    int auc_window;   // batches that batch_auc looks back
    bool deep_ids;    // deepfm: ids stay [N, fields, 1], which Fluid's transpiler refuses
};

// What a built model consists of; variables belong to the main program.
struct zoo_network {
    sl_var *feeds[ZOO_FEEDS_MAX];   // in the order of the reader's columns
    size_t feeds_count;
    sl_var *loss;
    sl_var *predict;
    sl_var *metrics[ZOO_METRICS_MAX];            // named as in metric_names
    const char *metric_names[ZOO_METRICS_MAX];   // "acc", ...
    size_t metrics_count;
    int64_t hash_dim;   // ids of the data are taken modulo this; 0: the reader's own way
    int64_t ngram;      // of a reader of tokens; 0: a line is a sample
};

struct zoo_model {
    const char *name;
    const char *summary;   // one line for --help
    const char *data;      // an example of --data for people: "criteo://FILE"
    const char *default_optimizer;
    double default_learning_rate;
    const char *default_hidden;   // "200,200"; NULL: the model takes no --hidden
    struct zoo_options sizes;     // the model's own; a size of 0 is one that it does not have
    // Builds the forward part; errors stay in net.
    void (*build)(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
};

const struct zoo_model *zoo_find(const char *name);   // NULL when unknown
size_t zoo_count(void);
const struct zoo_model *zoo_at(size_t i);
// "200,200" -> options->hidden. NULL takes the model's default. 0, or SL_ERR_INVALID with text.
int zoo_parse_hidden(const struct zoo_model *model, const char *text, struct zoo_options *options,
                     struct sl_error *err);

// Fills sizes that are 0 with the model's own. SL_ERR_INVALID for one that the model does not have
// or that is out of range.
int zoo_complete(const struct zoo_model *model, struct zoo_options *options, struct sl_error *err);

// ---- for models
// How a table of ids is made: is_sparse, unless the options say otherwise.
struct sl_embedding_options zoo_table(const struct zoo_options *options);
void zoo_metric(struct zoo_network *out, const char *name, sl_var *var);
// The metrics auc and batch_auc of probabilities [N,2].
void zoo_auc(sl_net *net, const struct zoo_options *options, sl_var *input, sl_var *label,
             struct zoo_network *out);
// For models of classes: loss mean(cross_entropy(predict, label)) and the metric acc.
void zoo_classify(sl_net *net, sl_var *label, struct zoo_network *out);
