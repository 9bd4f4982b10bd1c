// SPDX-License-Identifier: Apache-2.0
// Normalisation, and dropout.

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/program/program.h"

// The channels of data [N, C, ...] or, channels last, [N, ..., C]; 0 after an error.
static int64_t channels_of(sl_net *net, const char *layer, const sl_var *x, const char *layout)
{
    if (!layers_ok(net, layer, (const sl_var *const[]){x}, 1))
        return 0;
    bool last = str_eq(layout, "NHWC");
    if (!last && !str_eq(layout, "NCHW")) {
        layer_op_refuse(net, layer, "data_layout is NCHW or NHWC, not %s", layout);
        return 0;
    }
    int at = last ? x->dims.rank - 1 : 1;
    int64_t channels = x->dims.rank >= 2 ? x->dims.d[at] : 0;
    if (channels < 1)
        layer_op_refuse(net, layer, "input %s has no known channels", x->name);
    return channels < 1 ? 0 : channels;
}

static struct var_desc *parameter(sl_net *net, const char *layer, const char *name,
                                  const char *suffix, const struct sl_param_attr *attr,
                                  int64_t size, int dtype, double value)
{
    const struct sl_shape shape = {.rank = 1, .d = {size}};
    return layers_parameter(net, layer, name, suffix, attr, &shape, dtype, sl_constant(value));
}

struct sl_batch_norm_options sl_batch_norm_defaults(void)
{
    return (struct sl_batch_norm_options){.momentum = 0.9, .epsilon = 1e-5, .data_layout = "NCHW"};
}

// The moving mean or variance: a parameter that nobody trains.
static struct var_desc *statistic(sl_net *net, const char *name, const char *own_name, int64_t size,
                                  int dtype, double value)
{
    struct sl_param_attr attr = sl_param_attr_defaults();
    attr.name = own_name;
    attr.trainable = false;
    struct var_desc *var = parameter(net, "batch_norm", name, "w", &attr, size, dtype, value);
    if (var != NULL)
        var->stop_gradient = true;
    return var;
}

sl_var *sl_batch_norm(sl_net *net, sl_var *x, const struct sl_batch_norm_options *options)
{
    const struct sl_batch_norm_options defaults = sl_batch_norm_defaults();
    const struct sl_batch_norm_options *o = options ? options : &defaults;
    int64_t channels = channels_of(net, "batch_norm", x, o->data_layout);
    if (channels == 0)
        return NULL;
    char *name = unique_name_next(&net->names, "batch_norm");
    sl_var *scale = parameter(net, "batch_norm", name, "w", o->param_attr, channels, x->dtype, 1.0);
    sl_var *bias = parameter(net, "batch_norm", name, "b", o->bias_attr, channels, x->dtype, 0.0);
    sl_var *mean = statistic(net, name, o->moving_mean_name, channels, x->dtype, 0.0);
    sl_var *variance = statistic(net, name, o->moving_variance_name, channels, x->dtype, 1.0);
    sl_var *results[5] = {NULL};
    const struct layer_op op = {
        .layer = "batch_norm",
        .name = name,
        .in = {{"X", x}, {"Scale", scale}, {"Bias", bias}, {"Mean", mean}, {"Variance", variance}},
        .attrs = {LAYER_OP_FLOAT("epsilon", o->epsilon), LAYER_OP_FLOAT("momentum", o->momentum),
                  LAYER_OP_BOOL("is_test", o->is_test),
                  LAYER_OP_TEXT("data_layout", o->data_layout), LAYER_OP_BOOL("use_mkldnn", false),
                  LAYER_OP_BOOL("fuse_with_relu", false),
                  LAYER_OP_BOOL("use_global_stats", o->use_global_stats)},
        .out = {{"SavedMean", 0, true},
                {"SavedVariance", 0, true},
                {"Y"},
                {"MeanOut", .var = mean},
                {"VarianceOut", .var = variance}}};
    sl_var *out = layer_op_append(net, &op, results) ? results[2] : NULL;
    out = layer_op_activate(net, "batch_norm", name, out, o->act, NULL);
    mem_free(name);
    return out;
}

struct sl_layer_norm_options sl_layer_norm_defaults(void)
{
    return (struct sl_layer_norm_options){.begin_norm_axis = 1, .epsilon = 1e-5};
}

sl_var *sl_layer_norm(sl_net *net, sl_var *x, const struct sl_layer_norm_options *options)
{
    const struct sl_layer_norm_options defaults = sl_layer_norm_defaults();
    const struct sl_layer_norm_options *o = options ? options : &defaults;
    if (!layers_ok(net, "layer_norm", (const sl_var *const[]){x}, 1))
        return NULL;
    int axis = o->begin_norm_axis;
    int64_t width =
        axis >= 0 && axis < x->dims.rank ? dims_product(&x->dims, axis, x->dims.rank) : 0;
    if (width < 1)
        return layer_op_refuse(net, "layer_norm", "the width behind dimension %d is not known",
                               axis);
    char *name = unique_name_next(&net->names, "layer_norm");
    sl_var *scale = NULL, *shift = NULL, *results[3] = {NULL};
    if (!o->no_scale)
        scale = parameter(net, "layer_norm", name, "w", o->param_attr, width, x->dtype, 1.0);
    if (!o->no_shift)
        shift = parameter(net, "layer_norm", name, "b", o->bias_attr, width, x->dtype, 0.0);
    const struct layer_op op = {
        .layer = "layer_norm",
        .name = name,
        .in = {{"X", x}, {"Scale", scale, .optional = true}, {"Bias", shift, .optional = true}},
        .attrs = {LAYER_OP_FLOAT("epsilon", o->epsilon), LAYER_OP_INT("begin_norm_axis", axis)},
        .out = {{"Mean", 0, true}, {"Variance", 0, true}, {"Y"}}};
    sl_var *out = layer_op_append(net, &op, results) ? results[2] : NULL;
    out = layer_op_activate(net, "layer_norm", name, out, o->act, NULL);
    mem_free(name);
    return out;
}

struct sl_group_norm_options sl_group_norm_defaults(void)
{
    return (struct sl_group_norm_options){.epsilon = 1e-5, .data_layout = "NCHW"};
}

sl_var *sl_group_norm(sl_net *net, sl_var *x, int groups,
                      const struct sl_group_norm_options *options)
{
    const struct sl_group_norm_options defaults = sl_group_norm_defaults();
    const struct sl_group_norm_options *o = options ? options : &defaults;
    int64_t channels = channels_of(net, "group_norm", x, o->data_layout);
    if (channels == 0)
        return NULL;
    char *name = unique_name_next(&net->names, "group_norm");
    sl_var *scale = NULL, *bias = NULL, *results[3] = {NULL};
    if (o->param_attr != NULL)
        scale = parameter(net, "group_norm", name, "w", o->param_attr, channels, x->dtype, 1.0);
    if (o->bias_attr != NULL)
        bias = parameter(net, "group_norm", name, "b", o->bias_attr, channels, x->dtype, 0.0);
    const struct layer_op op = {
        .layer = "group_norm",
        .name = name,
        .generated = true,
        .in = {{"X", x}, {"Scale", scale, .optional = true}, {"Bias", bias, .optional = true}},
        .attrs = {LAYER_OP_FLOAT("epsilon", o->epsilon), LAYER_OP_INT("groups", groups),
                  LAYER_OP_TEXT("data_layout", o->data_layout)},
        .out = {{"Mean", 0, true}, {"Variance", 0, true}, {"Y"}}};
    sl_var *out = layer_op_append(net, &op, results) ? results[2] : NULL;
    out = layer_op_activate(net, "group_norm", name, out, o->act, NULL);
    mem_free(name);
    return out;
}

sl_var *sl_instance_norm(sl_net *net, sl_var *x, double epsilon,
                         const struct sl_param_attr *param_attr,
                         const struct sl_param_attr *bias_attr)
{
    int64_t channels = channels_of(net, "instance_norm", x, "NCHW");
    if (channels == 0)
        return NULL;
    char *name = unique_name_next(&net->names, "instance_norm");
    sl_var *results[3] = {NULL};
    sl_var *scale = parameter(net, "instance_norm", name, "w", param_attr, channels, x->dtype, 1.0);
    sl_var *bias = parameter(net, "instance_norm", name, "b", bias_attr, channels, x->dtype, 0.0);
    const struct layer_op op = {.layer = "instance_norm",
                                .name = name,
                                .in = {{"X", x}, {"Scale", scale}, {"Bias", bias}},
                                .attrs = {LAYER_OP_FLOAT("epsilon", epsilon)},
                                .out = {{"SavedMean", 0, true}, {"SavedVariance", 0, true}, {"Y"}}};
    sl_var *out = layer_op_append(net, &op, results) ? results[2] : NULL;
    mem_free(name);
    return out;
}

struct sl_lrn_options sl_lrn_defaults(void)
{
    return (struct sl_lrn_options){
        .n = 5, .k = 1.0, .alpha = 1e-4, .beta = 0.75, .data_format = "NCHW"};
}

sl_var *sl_lrn(sl_net *net, sl_var *x, const struct sl_lrn_options *options)
{
    const struct sl_lrn_options defaults = sl_lrn_defaults();
    const struct sl_lrn_options *o = options ? options : &defaults;
    sl_var *results[2] = {NULL};
    const struct layer_op op = {.layer = "lrn",
                                .in = {{"X", x}},
                                .attrs = {LAYER_OP_INT("n", o->n), LAYER_OP_FLOAT("k", o->k),
                                          LAYER_OP_FLOAT("alpha", o->alpha),
                                          LAYER_OP_FLOAT("beta", o->beta),
                                          LAYER_OP_TEXT("data_format", o->data_format)},
                                .out = {{"MidOut", 0, true}, {"Out"}}};
    return layer_op_append(net, &op, results) ? results[1] : NULL;
}

sl_var *sl_l2_normalize(sl_net *net, sl_var *x, int axis, double epsilon)
{
    if (x != NULL && x->dims.rank == 1)
        axis = 0;
    return layer_op_append(net,
                           &(struct layer_op){.layer = "l2_normalize",
                                              .type = "norm",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_INT("axis", axis),
                                                        LAYER_OP_FLOAT("epsilon", epsilon)},
                                              .out = {{"Out"}, {"Norm"}}},
                           NULL);
}

struct sl_dropout_options sl_dropout_defaults(void)
{
    return (struct sl_dropout_options){.implementation = "downgrade_in_infer"};
}

sl_var *sl_dropout(sl_net *net, sl_var *x, double probability,
                   const struct sl_dropout_options *options)
{
    const struct sl_dropout_options defaults = sl_dropout_defaults();
    const struct sl_dropout_options *o = options ? options : &defaults;
    uint32_t seed = o->seed ? o->seed : net->main->random_seed;
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "dropout",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_FLOAT("dropout_prob", probability),
                                     LAYER_OP_BOOL("is_test", o->is_test),
                                     LAYER_OP_BOOL("fix_seed", seed != 0),
                                     LAYER_OP_INT("seed", seed),
                                     LAYER_OP_TEXT("dropout_implementation", o->implementation)},
                           .out = {{"Out"}, {"Mask", DTYPE_UINT8, true}}},
        NULL);
}
