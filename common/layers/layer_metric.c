// SPDX-License-Identifier: Apache-2.0
// fluid.layers.accuracy and auc. An auc counts in variables that persist: they are saved with a
// checkpoint, and a test program shares them with the training program.

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/passes/expr.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

#define AUC_COUNTS_MAX (1ll << 40)

static void append_auc(sl_net *net, const char *name, sl_var *input, sl_var *label,
                       const struct sl_auc_options *o, int64_t slide_steps, sl_var *out,
                       sl_var *const states[2]);

sl_var *sl_accuracy(sl_net *net, sl_var *input, sl_var *label, int k)
{
    if (!layers_ok(net, "accuracy", (const sl_var *const[]){input, label}, 2))
        return NULL;
    char *name = unique_name_next(&net->names, "accuracy");
    sl_var *indices, *values = sl_topk(net, input, k, &indices);
    const struct layer_op op = {
        .layer = "accuracy",
        .name = name,
        .in = {{"Out", values}, {"Indices", indices}, {"Label", label}},
        .out = {{"Accuracy", DTYPE_FP32}, {"Correct", DTYPE_INT32}, {"Total", DTYPE_INT32}},
    };
    sl_var *out = values == NULL ? NULL : layer_op_append(net, &op, NULL);
    mem_free(name);
    return out;
}

struct sl_auc_options sl_auc_defaults(void)
{
    return (struct sl_auc_options){.curve = "ROC", .num_thresholds = 4095, .slide_steps = 1};
}

struct sl_auc sl_auc(sl_net *net, sl_var *input, sl_var *label,
                     const struct sl_auc_options *options)
{
    const struct sl_auc_options defaults = sl_auc_defaults();
    const struct sl_auc_options *o = options ? options : &defaults;
    struct sl_auc out = {0};
    if (!layers_ok(net, "auc", (const sl_var *const[]){input, label}, 2))
        return out;
    if (o->num_thresholds < 1 || o->slide_steps < 0 ||
        o->num_thresholds > AUC_COUNTS_MAX / ((int64_t)o->slide_steps + 2)) {
        layers_fail(net, "auc", SL_EINVAL, "%lld thresholds, %d slide steps",
                    (long long)o->num_thresholds, o->slide_steps);
        return out;
    }
    int64_t buckets = o->num_thresholds + 1;
    const struct dims sizes[] = {{.rank = 1, .d = {(1 + (int64_t)o->slide_steps) * buckets + 1}},
                                 {.rank = 2, .d = {1, buckets}}};
    char *name = unique_name_next(&net->names, "auc");
    sl_var *area = layers_tmp(net, name, DTYPE_FP64);
    sl_var *batch_area = layers_tmp(net, name, DTYPE_FP64);
    struct err err = {0};
    struct expr e = layers_expr(net, OP_ROLE_FORWARD, &err);
    for (size_t i = 0; i < 4; i++) {
        char *state = unique_name_next(&net->names, "_generated_var");
        out.states[i] = expr_global(&e, state, &sizes[i / 2], DTYPE_INT64, 0.0, false, "");
        mem_free(state);
    }
    if (layers_judge(net, "auc", &e)) {
        append_auc(net, name, input, label, o, o->slide_steps, batch_area, out.states);
        append_auc(net, name, input, label, o, 0, area, out.states + 2);
    }
    mem_free(name);
    if (net->error.code != 0)
        return (struct sl_auc){0};
    out.auc = area;
    out.batch_auc = batch_area;
    return out;
}

static void append_auc(sl_net *net, const char *name, sl_var *input, sl_var *label,
                       const struct sl_auc_options *o, int64_t slide_steps, sl_var *out,
                       sl_var *const states[2])
{
    layer_op_append(net,
                    &(struct layer_op){.layer = "auc",
                                       .name = name,
                                       .in = {{"Predict", input},
                                              {"Label", label},
                                              {"StatPos", states[0]},
                                              {"StatNeg", states[1]}},
                                       .attrs = {LAYER_OP_TEXT("curve", o->curve),
                                                 LAYER_OP_INT("num_thresholds", o->num_thresholds),
                                                 LAYER_OP_INT("slide_steps", slide_steps)},
                                       .out = {{"AUC", .var = out},
                                               {"StatPosOut", .var = states[0]},
                                               {"StatNegOut", .var = states[1]}}},
                    NULL);
}
