// SPDX-License-Identifier: Apache-2.0
// The table of models. A new model is one file and one line here.

#include "common/zoo/zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/zoo/fit_a_line.h"
#include "common/zoo/image_classification.h"
#include "common/zoo/lenet.h"
#include "common/zoo/recognize_digits.h"
#include "common/zoo/recommender.h"

#define WIDTH_MAX 1000000

static const struct zoo_model models[] = {
    {"fit_a_line", "linear regression, 13 features (UCI housing)", ZOO_DATA_HOUSING, "sgd", 0.01,
     NULL, fit_a_line_build},
    {"recognize_digits", "perceptron 784 - hidden - 10 (MNIST, Fashion-MNIST)", ZOO_DATA_IDX,
     "adam", 0.001, "200,200", recognize_digits_build},
    {"lenet", "two convolutions and pools, softmax (MNIST, Fashion-MNIST)", ZOO_DATA_IDX, "adam",
     0.001, NULL, lenet_build},
    {"lenet_bn", "lenet with batch_norm between the convolutions", ZOO_DATA_IDX, "adam", 0.001,
     NULL, lenet_build_bn},
    {"vgg", "small VGG: six convolutions with batch_norm, dropout", ZOO_DATA_IDX, "adam", 0.001,
     NULL, image_classification_build_vgg},
    {"resnet", "small ResNet: three basic blocks", ZOO_DATA_IDX, "momentum", 0.05, NULL,
     image_classification_build_resnet},
    {"recommender", "ratings from one id a feature", ZOO_DATA_FOLDERS, "sgd", 0.2, NULL,
     recommender_build},
};

static int fail(struct sl_error *err, const char *model, const char *text, const char *why);

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

void zoo_classify(sl_net *net, sl_var *label, struct zoo_network *out)
{
    out->loss = sl_mean(net, sl_cross_entropy(net, out->predict, label));
    out->metrics[0] = sl_accuracy(net, out->predict, label, 1);
    out->metric_names[0] = "acc";
    out->metrics_count = 1;
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
