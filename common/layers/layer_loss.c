// SPDX-License-Identifier: Apache-2.0
// Losses and metrics.

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/program/var_desc.h"

#define IGNORE_NOTHING (-100)   // Fluid's kIgnoreIndex

// ---- squares

sl_var *sl_square_error_cost(sl_net *net, sl_var *input, sl_var *label)
{
    const char *layer = "square_error_cost";
    if (!layers_ok(net, layer, (const sl_var *const[]){input, label}, 2))
        return NULL;
    char *name = unique_name_next(&net->names, layer);
    sl_var *difference = layer_op_append(net,
                                         &(struct layer_op){.layer = layer,
                                                            .name = name,
                                                            .type = "elementwise_sub",
                                                            .in = {{"X", input}, {"Y", label}},
                                                            .out = {{"Out"}}},
                                         NULL);
    sl_var *out = layer_op_activate(net, layer, name, difference, "square", NULL);
    mem_free(name);
    return out;
}

sl_var *sl_mse_loss(sl_net *net, sl_var *input, sl_var *label)
{
    return sl_reduce_mean(net, sl_square_error_cost(net, input, label), NULL, 0, false);
}

sl_var *sl_smooth_l1(sl_net *net, sl_var *x, sl_var *y, sl_var *inside_weight,
                     sl_var *outside_weight, double sigma)
{
    sl_var *results[2];
    return layer_op_append(
               net,
               &(struct layer_op){.layer = "smooth_l1_loss",
                                  .in = {{"X", x},
                                         {"Y", y},
                                         {"InsideWeight", inside_weight, .optional = true},
                                         {"OutsideWeight", outside_weight, .optional = true}},
                                  .attrs = {LAYER_OP_FLOAT("sigma", sigma)},
                                  .out = {{"Diff"}, {"Out"}}},
               results)
               ? results[1]
               : NULL;
}

sl_var *sl_huber_loss(sl_net *net, sl_var *input, sl_var *label, double delta)
{
    sl_var *results[2];
    return layer_op_append(net,
                           &(struct layer_op){.layer = "huber_loss",
                                              .in = {{"X", input}, {"Y", label}},
                                              .attrs = {LAYER_OP_FLOAT("delta", delta)},
                                              .out = {{"Residual"}, {"Out"}}},
                           results)
               ? results[1]
               : NULL;
}

// ---- classes

sl_var *sl_cross_entropy(sl_net *net, sl_var *input, sl_var *label)
{
    return sl_cross_entropy_ignore(net, input, label, IGNORE_NOTHING);
}

sl_var *sl_cross_entropy_ignore(sl_net *net, sl_var *input, sl_var *label, int ignore_index)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "cross_entropy2",
                                              .in = {{"X", input}, {"Label", label}},
                                              .attrs = {LAYER_OP_INT("ignore_index", ignore_index)},
                                              .out = {{"Y"}, {"XShape"}, {"MatchX"}}},
                           NULL);
}

sl_var *sl_cross_entropy_soft(sl_net *net, sl_var *input, sl_var *label)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "cross_entropy",
                           .in = {{"X", input}, {"Label", label}},
                           .attrs = {LAYER_OP_BOOL("soft_label", true),
                                     LAYER_OP_INT("ignore_index", IGNORE_NOTHING)},
                           .out = {{"Y"}}},
        NULL);
}

struct sl_softmax_loss_options sl_softmax_loss_defaults(void)
{
    return (struct sl_softmax_loss_options){
        .ignore_index = IGNORE_NOTHING, .numeric_stable_mode = true, .axis = -1};
}

sl_var *sl_softmax_with_cross_entropy(sl_net *net, sl_var *logits, sl_var *label,
                                      const struct sl_softmax_loss_options *options,
                                      sl_var **out_softmax)
{
    const struct sl_softmax_loss_options defaults = sl_softmax_loss_defaults();
    const struct sl_softmax_loss_options *o = options ? options : &defaults;
    sl_var *results[2] = {NULL, NULL};
    sl_var *softmax = layer_op_append(
        net,
        &(struct layer_op){.layer = "softmax_with_cross_entropy",
                           .in = {{"Logits", logits}, {"Label", label}},
                           .attrs = {LAYER_OP_BOOL("soft_label", o->soft_label),
                                     LAYER_OP_INT("ignore_index", o->ignore_index),
                                     LAYER_OP_BOOL("numeric_stable_mode", o->numeric_stable_mode),
                                     LAYER_OP_INT("axis", o->axis)},
                           .out = {{"Softmax"}, {"Loss"}}},
        results);
    if (out_softmax != NULL)
        *out_softmax = softmax;
    return softmax ? results[1] : NULL;
}

sl_var *sl_sigmoid_cross_entropy_with_logits(sl_net *net, sl_var *x, sl_var *label,
                                             int ignore_index, bool normalize)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "sigmoid_cross_entropy_with_logits",
                                              .in = {{"X", x}, {"Label", label}},
                                              .attrs = {LAYER_OP_INT("ignore_index", ignore_index),
                                                        LAYER_OP_BOOL("normalize", normalize)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_log_loss(sl_net *net, sl_var *input, sl_var *label, double epsilon)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "log_loss",
                                              .in = {{"Predicted", input}, {"Labels", label}},
                                              .attrs = {LAYER_OP_FLOAT("epsilon", epsilon)},
                                              .out = {{"Loss"}}},
                           NULL);
}

sl_var *sl_bpr_loss(sl_net *net, sl_var *input, sl_var *label)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "bpr_loss",
                                              .in = {{"X", input}, {"Label", label}},
                                              .out = {{"Y"}}},
                           NULL);
}

sl_var *sl_kldiv_loss(sl_net *net, sl_var *x, sl_var *target, const char *reduction)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "kldiv_loss",
                           .in = {{"X", x}, {"Target", target}},
                           .attrs = {LAYER_OP_TEXT("reduction", reduction ? reduction : "mean")},
                           .out = {{"Loss"}}},
        NULL);
}

sl_var *sl_label_smooth(sl_net *net, sl_var *label, sl_var *prior_dist, double epsilon)
{
    if (epsilon < 0.0 || epsilon > 1.0)
        return layer_op_refuse(net, "label_smooth", "epsilon must be 0..1, not %g", epsilon);
    if (label != NULL)
        label->stop_gradient = true;
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "label_smooth",
                           .in = {{"X", label}, {"PriorDist", prior_dist, .optional = true}},
                           .attrs = {LAYER_OP_FLOAT("epsilon", epsilon)},
                           .out = {{"Out", DTYPE_FP32}}},
        NULL);
}

// ---- ranks

sl_var *sl_rank_loss(sl_net *net, sl_var *label, sl_var *left, sl_var *right)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "rank_loss",
                           .in = {{"Label", label}, {"Left", left}, {"Right", right}},
                           .out = {{"Out", DTYPE_FP32}}},
        NULL);
}

sl_var *sl_margin_rank_loss(sl_net *net, sl_var *label, sl_var *left, sl_var *right, double margin)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "margin_rank_loss",
                                              .in = {{"X1", left}, {"X2", right}, {"Label", label}},
                                              .attrs = {LAYER_OP_FLOAT("margin", margin)},
                                              .out = {{"Out"}, {"Activated"}}},
                           NULL);
}

// ---- metrics
