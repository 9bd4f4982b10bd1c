// SPDX-License-Identifier: Apache-2.0
// The models that the command-line programs know by name. Each model is one file that uses the
// public API only; the table is in zoo.c.
#pragma once

#include "common/api/sluice.h"

#define ZOO_HIDDEN_MAX 16
#define ZOO_FEEDS_MAX 64
#define ZOO_METRICS_MAX 8

struct zoo_options {
    int64_t hidden[ZOO_HIDDEN_MAX];   // widths of the hidden layers
    size_t hidden_count;
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
};

// Which reader feeds the model (see --data); ZOO_DATA_FOLDERS: --feed_dir only.
enum zoo_data { ZOO_DATA_HOUSING, ZOO_DATA_IDX, ZOO_DATA_FOLDERS };

struct zoo_model {
    const char *name;
    const char *summary;   // one line for --help
    enum zoo_data data;
    const char *default_optimizer;
    double default_learning_rate;
    const char *default_hidden;   // "200,200"; NULL: the model takes no --hidden
    // Builds the forward part; errors stay in net.
    void (*build)(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
};

const struct zoo_model *zoo_find(const char *name);   // NULL when unknown
size_t zoo_count(void);
const struct zoo_model *zoo_at(size_t i);
// "200,200" -> options->hidden. NULL takes the model's default. 0, or SL_ERR_INVALID with text.
int zoo_parse_hidden(const struct zoo_model *model, const char *text, struct zoo_options *options,
                     struct sl_error *err);

// For models of classes: loss mean(cross_entropy(predict, label)) and the metric acc.
void zoo_classify(sl_net *net, sl_var *label, struct zoo_network *out);
