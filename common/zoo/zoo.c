// SPDX-License-Identifier: Apache-2.0
// The table of models. A new model is one file and one line here.

#include "common/zoo/zoo.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/zoo/ctr_dnn.h"
#include "common/zoo/deepfm.h"
#include "common/zoo/fit_a_line.h"
#include "common/zoo/image_classification.h"
#include "common/zoo/label_semantic.h"
#include "common/zoo/lenet.h"
#include "common/zoo/recognize_digits.h"
#include "common/zoo/recommender.h"
#include "common/zoo/sentiment.h"
#include "common/zoo/wide_deep.h"
#include "common/zoo/word2vec.h"

#define WIDTH_MAX 1000000

#define CLICKS .auc_thresholds = 4096, .auc_window = 20

static const struct zoo_model models[] = {
    {.name = "fit_a_line",
     .summary = "linear regression, 13 features (UCI housing)",
     .data = "housing://FILE",
     .default_optimizer = "sgd",
     .default_learning_rate = 0.01,
     .build = fit_a_line_build},
    {.name = "recognize_digits",
     .summary = "perceptron 784 - hidden - 10 (MNIST, Fashion-MNIST)",
     .data = "idx://FOLDER",
     .default_optimizer = "adam",
     .default_learning_rate = 0.001,
     .default_hidden = "200,200",
     .build = recognize_digits_build},
    {.name = "lenet",
     .summary = "two convolutions and pools, softmax (MNIST, Fashion-MNIST)",
     .data = "idx://FOLDER",
     .default_optimizer = "adam",
     .default_learning_rate = 0.001,
     .build = lenet_build},
    {.name = "lenet_bn",
     .summary = "lenet with batch_norm between the convolutions",
     .data = "idx://FOLDER",
     .default_optimizer = "adam",
     .default_learning_rate = 0.001,
     .build = lenet_build_bn},
    {.name = "vgg",
     .summary = "small VGG: six convolutions with batch_norm, dropout",
     .data = "idx://FOLDER",
     .default_optimizer = "adam",
     .default_learning_rate = 0.001,
     .build = image_classification_build_vgg},
    {.name = "resnet",
     .summary = "small ResNet: three basic blocks",
     .data = "idx://FOLDER",
     .default_optimizer = "momentum",
     .default_learning_rate = 0.05,
     .build = image_classification_build_resnet},
    {.name = "word2vec",
     .summary = "the next word from those before it, one table for all",
     .data = "tokens://FILE",
     .default_optimizer = "sgd",
     .default_learning_rate = 0.1,
     .default_hidden = "256",
     .sizes = {.table_rows = 2073, .embedding_size = 32, .ngram = 5},
     .build = word2vec_build},
    {.name = "ctr_dnn",
     .summary = "clicks: slots of ids in one table, 13 dense values, relu layers",
     .data = "criteo://FILE",
     .default_optimizer = "adam",
     .default_learning_rate = 0.0001,
     .default_hidden = "400,400,400",
     .sizes = {.table_rows = 1000001, .embedding_size = 10, .sparse_slots = 26, CLICKS},
     .build = ctr_dnn_build},
    {.name = "wide_deep",
     .summary = "clicks: linear part and deep part, two tables a slot",
     .data = "criteo://FILE",
     .default_optimizer = "adagrad",
     .default_learning_rate = 0.01,
     .default_hidden = "256,128",
     .sizes = {.table_rows = 100001, .embedding_size = 8, .sparse_slots = 26, CLICKS},
     .build = wide_deep_build},
    {.name = "deepfm",
     .summary = "clicks: factorisation machine and deep part over the same tables",
     .data = "criteo://FILE",
     .default_optimizer = "adam",
     .default_learning_rate = 0.0001,
     .default_hidden = "400,400,400",
     .sizes = {.table_rows = 1000015, .embedding_size = 10, .sparse_slots = 39, CLICKS},
     .build = deepfm_build},
    {.name = "recommender",
     .summary = "ratings of movies from user, movie, categories and title (MovieLens)",
     .data = "multislot://FILE",
     .default_optimizer = "sgd",
     .default_learning_rate = 0.2,
     .build = recommender_build},
    {.name = "sentiment_conv",
     .summary = "classes of texts by convolutions over words",
     .data = "tokens://FILE",
     .default_optimizer = "adagrad",
     .default_learning_rate = 0.02,
     .default_hidden = "128",
     .sizes = {.table_rows = 5149, .embedding_size = 128, .classes = 2},
     .build = sentiment_build_conv},
    {.name = "sentiment_lstm",
     .summary = "classes of texts by an LSTM",
     .data = "tokens://FILE",
     .default_optimizer = "adam",
     .default_learning_rate = 0.002,
     .default_hidden = "128",
     .sizes = {.table_rows = 5149, .embedding_size = 128, .classes = 2},
     .build = sentiment_build_lstm},
    {.name = "sentiment_gru",
     .summary = "classes of texts by a GRU from the end",
     .data = "tokens://FILE",
     .default_optimizer = "adam",
     .default_learning_rate = 0.002,
     .default_hidden = "128",
     .sizes = {.table_rows = 5149, .embedding_size = 128, .classes = 2},
     .build = sentiment_build_gru},
    {.name = "label_semantic",
     .summary = "roles of words by a stack of GRUs and a chain of tags (CRF)",
     .data = "multislot://FILE",
     .default_optimizer = "adam",
     .default_learning_rate = 0.002,
     .default_hidden = "128,128,128,128",
     .sizes = {.table_rows = 44068, .embedding_size = 32, .classes = 59},
     .build = label_semantic_build},
};

// Sizes that options may set, with their range.
static const struct {
    const char *name;
    size_t offset;
    int64_t least, most;
} sizes[] = {
    {"table_rows", offsetof(struct zoo_options, table_rows), 2, INT64_C(1) << 40},
    {"embedding_size", offsetof(struct zoo_options, embedding_size), 1, WIDTH_MAX},
    {"sparse_slots", offsetof(struct zoo_options, sparse_slots), 1, ZOO_SLOTS_MAX},
    {"classes", offsetof(struct zoo_options, classes), 2, WIDTH_MAX},
    {"ngram", offsetof(struct zoo_options, ngram), 2, ZOO_NGRAM_MAX},
};

static int fail(struct sl_error *err, const char *model, const char *text, const char *why);
static int refuse(struct sl_error *err, const char *model, const char *size, int64_t value,
                  int64_t least, int64_t most);

const struct zoo_model *zoo_find(const char *name)
{
    for (size_t i = 0; i < zoo_count(); i++)
        if (name != NULL && strcmp(models[i].name, name) == 0)
            return &models[i];
    return NULL;
}

size_t zoo_count(void)
{
    return sizeof models / sizeof *models;
}

const struct zoo_model *zoo_at(size_t i)
{
    return i < zoo_count() ? &models[i] : NULL;
}

int zoo_parse_hidden(const struct zoo_model *model, const char *text, struct zoo_options *options,
                     struct sl_error *err)
{
    struct zoo_options parsed = {0};
    if (text != NULL && model->default_hidden == NULL)
        return fail(err, model->name, text, "the model takes no hidden layers");
    const char *at = text ? text : model->default_hidden;
    while (at != NULL) {
        char *end;
        long long width = strtoll(at, &end, 10);
        if (end == at || (*end != ',' && *end != '\0') || width < 1 || width > WIDTH_MAX)
            return fail(err, model->name, text,
                        "widths are numbers from 1 to 1000000, separated by commas");
        if (parsed.hidden_count == ZOO_HIDDEN_MAX)
            return fail(err, model->name, text, "at most 16 hidden layers");
        parsed.hidden[parsed.hidden_count++] = width;
        at = *end == ',' ? end + 1 : NULL;
    }
    memcpy(options->hidden, parsed.hidden, sizeof options->hidden);
    options->hidden_count = parsed.hidden_count;
    return 0;
}

int zoo_complete(const struct zoo_model *model, struct zoo_options *options, struct sl_error *err)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t *value = (int64_t *)((char *)options + sizes[i].offset);
        int64_t own = *(const int64_t *)((const char *)&model->sizes + sizes[i].offset);
        if (*value != 0 && (own == 0 || *value < sizes[i].least || *value > sizes[i].most))
            return refuse(err, model->name, sizes[i].name, *value, own ? sizes[i].least : 0,
                          sizes[i].most);
        *value = *value ? *value : own;
    }
    if (options->auc_thresholds == 0) {
        options->auc_thresholds = model->sizes.auc_thresholds;
        options->auc_window = model->sizes.auc_window;
    }
    return 0;
}

struct sl_embedding_options zoo_table(const struct zoo_options *options)
{
    struct sl_embedding_options table = sl_embedding_defaults();
    table.is_sparse = !options->dense_tables;
    return table;
}

void zoo_metric(struct zoo_network *out, const char *name, sl_var *var)
{
    out->metrics[out->metrics_count] = var;
    out->metric_names[out->metrics_count++] = name;
}

void zoo_auc(sl_net *net, const struct zoo_options *options, sl_var *input, sl_var *label,
             struct zoo_network *out)
{
    struct sl_auc_options how = sl_auc_defaults();
    how.num_thresholds = options->auc_thresholds;
    how.slide_steps = options->auc_window;
    struct sl_auc auc = sl_auc(net, input, label, &how);
    zoo_metric(out, "auc", auc.auc);
    zoo_metric(out, "batch_auc", auc.batch_auc);
}

void zoo_classify(sl_net *net, sl_var *label, struct zoo_network *out)
{
    out->loss = sl_mean(net, sl_cross_entropy(net, out->predict, label));
    zoo_metric(out, "acc", sl_accuracy(net, out->predict, label, 1));
}

static int refuse(struct sl_error *err, const char *model, const char *size, int64_t value,
                  int64_t least, int64_t most)
{
    if (err == NULL)
        return SL_ERR_INVALID;
    err->code = SL_ERR_INVALID;
    if (least == 0)
        snprintf(err->text, sizeof err->text, "%s: the model has no --%s", model, size);
    else
        snprintf(err->text, sizeof err->text, "%s: --%s must be %lld..%lld, not %lld", model, size,
                 (long long)least, (long long)most, (long long)value);
    return SL_ERR_INVALID;
}

static int fail(struct sl_error *err, const char *model, const char *text, const char *why)
{
    if (err != NULL) {
        err->code = SL_ERR_INVALID;
        snprintf(err->text, sizeof err->text, "%s: --hidden %.200s: %s", model, text ? text : "",
                 why);
    }
    return SL_ERR_INVALID;
}
