// SPDX-License-Identifier: Apache-2.0
// Layers over structured labels: chains of tags, and few classes out of many.

#include <string.h>

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/passes/expr.h"
#include "common/program/program.h"
#include "common/program/var_desc.h"

static struct var_desc *matrix(sl_net *net, const char *layer, const char *name,
                               const struct sl_param_attr *attr, int64_t rows, int64_t columns,
                               int dtype, bool is_bias)
{
    const struct sl_shape shape = {.rank = 2, .d = {rows, columns}};
    return layers_parameter(net, layer, name, is_bias ? "b" : "w", attr, &shape, dtype,
                            is_bias ? sl_constant(0.0) : sl_xavier(true, 0, 0, 0));
}

// ---- chains of tags

sl_var *sl_linear_chain_crf(sl_net *net, sl_var *input, sl_var *label,
                            const struct sl_param_attr *param_attr, sl_var *length)
{
    const char *layer = "linear_chain_crf";
    if (!layers_ok(net, layer, (const sl_var *const[]){input, label}, 2))
        return NULL;
    int last = length ? 2 : 1;
    if (input->dims.rank <= last || input->dims.d[last] < 1)
        return layer_op_refuse(net, layer, "input %s must be %s", input->name,
                               length ? "[sequences, steps, tags]" : "[rows, tags]");
    int64_t tags = input->dims.d[last];
    char *name = unique_name_next(&net->names, layer);
    struct var_desc *transition =
        matrix(net, layer, name, param_attr, tags + 2, tags, input->dtype, false);
    const struct layer_op op = {
        .layer = layer,
        .name = name,
        .in = {{"Emission", input},
               {"Transition", transition},
               {"Label", label},
               {"Length", length, .optional = true}},
        .out = {{"Alpha"}, {"EmissionExps"}, {"TransitionExps"}, {"LogLikelihood"}}};
    sl_var *results[4] = {NULL};
    if (transition != NULL)
        layer_op_append(net, &op, results);
    mem_free(name);
    return results[3];
}

sl_var *sl_crf_decoding(sl_net *net, sl_var *input, const char *transition, sl_var *label,
                        sl_var *length)
{
    const char *layer = "crf_decoding";
    if (!layers_ok(net, layer, (const sl_var *const[]){input}, 1))
        return NULL;
    struct var_desc *w = transition ? block_var(program_block(net->main, 0), transition) : NULL;
    if (w == NULL || !w->is_parameter)
        return layer_op_refuse(net, layer, "there is no parameter `%s`",
                               transition ? transition : "(NULL)");
    return layer_op_append(net,
                           &(struct layer_op){.layer = layer,
                                              .in = {{"Emission", input},
                                                     {"Transition", w},
                                                     {"Label", label, .optional = true},
                                                     {"Length", length, .optional = true}},
                                              .out = {{"ViterbiPath", DTYPE_INT64}}},
                           NULL);
}

// ---- few classes out of many

static bool classes_ok(sl_net *net, const char *layer, const sl_var *input, const sl_var *label,
                       int64_t classes, int64_t least)
{
    if (!layers_ok(net, layer, (const sl_var *const[]){input, label}, 2))
        return false;
    if (classes < least || input->dims.rank != 2 || input->dims.d[1] < 1 || label->dims.rank != 2) {
        layer_op_refuse(net, layer,
                        "input %s and label %s must be matrices, and there must be %lld classes "
                        "or more, not %lld",
                        input->name, label->name, (long long)least, (long long)classes);
        return false;
    }
    return true;
}

sl_var *sl_hsigmoid(sl_net *net, sl_var *input, sl_var *label, int64_t num_classes,
                    const struct sl_hsigmoid_options *options)
{
    const char *layer = "hierarchical_sigmoid";
    const struct sl_hsigmoid_options none = {0};
    const struct sl_hsigmoid_options *o = options ? options : &none;
    bool custom = o->path_table != NULL;
    if (!classes_ok(net, layer, input, label, num_classes, custom ? 1 : 2))
        return NULL;
    if (custom != (o->path_code != NULL))
        return layer_op_refuse(net, layer, "path_table and path_code go together");
    // A default tree has no sparse gradient, as in Fluid.
    bool sparse = o->is_sparse && custom;
    int64_t rows = custom ? num_classes : num_classes - 1;
    char *name = unique_name_next(&net->names, layer);
    struct var_desc *b = NULL, *w = matrix(net, layer, name, o->param_attr, rows, input->dims.d[1],
                                           input->dtype, false);
    if (w != NULL && !o->no_bias)
        b = matrix(net, layer, name, o->bias_attr, rows, 1, input->dtype, true);
    const struct layer_op op = {.layer = layer,
                                .name = name,
                                .in = {{"X", input},
                                       {"W", w},
                                       {"PathTable", o->path_table, .optional = true},
                                       {"PathCode", o->path_code, .optional = true},
                                       {"Label", label},
                                       {"Bias", b, .optional = o->no_bias}},
                                .attrs = {LAYER_OP_INT("num_classes", num_classes),
                                          LAYER_OP_BOOL("is_sparse", sparse),
                                          LAYER_OP_BOOL("remote_prefetch", sparse)},
                                .out = {{"Out"}, {"PreOut"}, {"W_Out", .var = w}}};
    sl_var *out = w && (b || o->no_bias) ? layer_op_append(net, &op, NULL) : NULL;
    mem_free(name);
    return out;
}

struct sl_nce_options sl_nce_defaults(void)
{
    return (struct sl_nce_options){.num_neg_samples = 10};
}

// The tables of the alias method: a class is kept with probability share[i], else alias[i] is
// taken. What has more than its part gives to what has less, first in first out.
static void alias_tables(const double *dist, int64_t n, float *share, int32_t *alias)
{
    double *part = mem_must_calloc((size_t)n, sizeof *part);
    int64_t *big = mem_must_calloc((size_t)(2 * n), sizeof *big), *little = NULL;
    little = mem_must_calloc((size_t)(2 * n), sizeof *little);
    int64_t bigs = 0, littles = 0, big_at = 0, little_at = 0;
    for (int64_t i = 0; i < n; i++) {
        part[i] = dist[i] * (double)n;
        if (part[i] - 1.0 > 0.0) {
            big[bigs++] = i;
        } else if (1.0 - part[i] > 0.0) {
            little[littles++] = i;
        } else {
            share[i] = (float)part[i];
            alias[i] = -1;
        }
    }
    while (big_at < bigs && little_at < littles) {
        int64_t from = big[big_at++], to = little[little_at++];
        share[to] = (float)part[to];
        alias[to] = (int32_t)from;
        part[from] = part[from] + part[to] - 1;
        if (part[from] - 1.0 > 0.0) {
            big[bigs++] = from;
        } else if (1.0 - part[from] > 0.0) {
            little[littles++] = from;
        } else {
            share[from] = (float)part[from];
            alias[from] = -1;
        }
    }
    // One of each may be left by rounding.
    if (big_at < bigs) {
        share[big[big_at]] = 1;
        alias[big[big_at]] = -1;
    }
    if (little_at < littles) {
        share[little[little_at]] = 1;
        alias[little[little_at]] = -1;
    }
    mem_free(part);
    mem_free(big);
    mem_free(little);
}

static sl_var *constant_row(sl_net *net, const char *name, enum sl_dtype dtype, int64_t count,
                            void *values)
{
    struct sl_tensor array = {.dtype = dtype, .shape = {1, {count}}, .data = values};
    struct var_desc *var =
        layers_parameter(net, "nce", name, "w", NULL, &array.shape, (int)dtype, sl_array(&array));
    if (var != NULL)
        var->stop_gradient = true;
    return var;
}

// Three parameters that are never trained: the distribution and its alias tables.
static bool add_custom_dist(sl_net *net, const char *name, int64_t classes, const double *dist,
                            struct layer_op_input *in)
{
    float *probs = mem_must_calloc((size_t)classes, sizeof *probs),
          *share = mem_must_calloc((size_t)classes, sizeof *share);
    int32_t *alias = mem_must_calloc((size_t)classes, sizeof *alias);
    for (int64_t i = 0; i < classes; i++)
        probs[i] = (float)dist[i];
    alias_tables(dist, classes, share, alias);
    in[0] = (struct layer_op_input){.slot = "CustomDistProbs",
                                    .var = constant_row(net, name, SL_FP32, classes, probs)};
    in[1] = (struct layer_op_input){.slot = "CustomDistAlias",
                                    .var = constant_row(net, name, SL_INT32, classes, alias)};
    in[2] = (struct layer_op_input){.slot = "CustomDistAliasProbs",
                                    .var = constant_row(net, name, SL_FP32, classes, share)};
    mem_free(probs);
    mem_free(share);
    mem_free(alias);
    return in[0].var && in[1].var && in[2].var;
}

sl_var *sl_nce(sl_net *net, sl_var *input, sl_var *label, int64_t num_total_classes,
               const struct sl_nce_options *options)
{
    const struct sl_nce_options defaults = sl_nce_defaults();
    const struct sl_nce_options *o = options ? options : &defaults;
    if (!classes_ok(net, "nce", input, label, num_total_classes, 1))
        return NULL;
    if ((o->sampler == SL_SAMPLER_CUSTOM) != (o->custom_dist != NULL) ||
        num_total_classes > INT32_MAX || o->num_neg_samples < 0)
        return layer_op_refuse(net, "nce",
                               "custom_dist goes with SL_SAMPLER_CUSTOM; "
                               "num_neg_samples is %d, num_total_classes %lld",
                               o->num_neg_samples, (long long)num_total_classes);
    char *name = unique_name_next(&net->names, "nce");
    struct var_desc *b = NULL, *w = matrix(net, "nce", name, o->param_attr, num_total_classes,
                                           input->dims.d[1], input->dtype, false);
    if (w != NULL && !o->no_bias)
        b = matrix(net, "nce", name, o->bias_attr, num_total_classes, 1, input->dtype, true);
    struct layer_op op = {.layer = "nce",
                          .name = name,
                          .in = {{"Input", input},
                                 {"Label", label},
                                 {"Weight", w},
                                 {"Bias", b, .optional = o->no_bias},
                                 {"SampleWeight", o->sample_weight, .optional = true}},
                          .attrs = {LAYER_OP_INT("num_total_classes", num_total_classes),
                                    LAYER_OP_INT("num_neg_samples", o->num_neg_samples),
                                    LAYER_OP_INT("seed", o->seed),
                                    LAYER_OP_INT("sampler", o->sampler),
                                    LAYER_OP_BOOL("is_sparse", o->is_sparse),
                                    LAYER_OP_BOOL("remote_prefetch", o->is_sparse)},
                          .out = {{"Cost"}, {"SampleLogits"}, {"SampleLabels", label->dtype}}};
    bool ok = w && (b || o->no_bias);
    if (ok && o->custom_dist != NULL)
        ok = add_custom_dist(net, name, num_total_classes, o->custom_dist, &op.in[5]);
    sl_var *cost = ok ? layer_op_append(net, &op, NULL) : NULL;
    mem_free(name);
    if (cost == NULL)
        return NULL;
    struct err err = {0};
    struct expr e = layers_expr(net, OP_ROLE_FORWARD, &err);
    sl_var *mean = expr_scale(&e, cost, 1.0 / (double)(o->num_neg_samples + 1), 0.0);
    return layers_judge(net, "nce", &e) ? mean : NULL;
}
