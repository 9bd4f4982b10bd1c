// SPDX-License-Identifier: Apache-2.0
// Losses and metrics.

#include "common/base/mem.h"
#include "common/layers/layers.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

#define IGNORE_NOTHING (-100)   // Fluid's kIgnoreIndex

static bool top_k(sl_net *net, sl_var *input, int k, struct var_desc **out_values,
                  struct var_desc **out_indices);

sl_var *sl_square_error_cost(sl_net *net, sl_var *input, sl_var *label)
{
    if (!layers_ok(net, "square_error_cost", (const sl_var *const[]){input, label}, 2))
        return NULL;
    char *name = unique_name_next(&net->names, "square_error_cost");
    struct var_desc *difference = layers_tmp(net, name, input->dtype);
    struct op_desc *sub = op_desc_new("elementwise_sub");
    op_desc_add_input(sub, "X", input->name);
    op_desc_add_input(sub, "Y", label->name);
    op_desc_add_output(sub, "Out", difference->name);
    struct var_desc *out = NULL;
    if (layers_append(net, "square_error_cost", sub)) {
        out = layers_tmp(net, name, input->dtype);
        struct op_desc *square = op_desc_new("square");
        op_desc_add_input(square, "X", difference->name);
        op_desc_add_output(square, "Out", out->name);
        if (!layers_append(net, "square_error_cost", square))
            out = NULL;
    }
    mem_free(name);
    return out;
}

sl_var *sl_cross_entropy(sl_net *net, sl_var *input, sl_var *label)
{
    if (!layers_ok(net, "cross_entropy", (const sl_var *const[]){input, label}, 2))
        return NULL;
    char *name = unique_name_next(&net->names, "cross_entropy2");
    struct var_desc *out = layers_tmp(net, name, input->dtype);
    struct var_desc *xshape = layers_tmp(net, name, input->dtype);
    struct var_desc *match = layers_tmp(net, name, input->dtype);
    mem_free(name);
    struct op_desc *op = op_desc_new("cross_entropy2");
    op_desc_add_input(op, "X", input->name);
    op_desc_add_input(op, "Label", label->name);
    op_desc_add_output(op, "Y", out->name);
    op_desc_add_output(op, "MatchX", match->name);
    op_desc_add_output(op, "XShape", xshape->name);
    op_desc_set_int(op, "ignore_index", IGNORE_NOTHING);
    return layers_append(net, "cross_entropy", op) ? out : NULL;
}

sl_var *sl_accuracy(sl_net *net, sl_var *input, sl_var *label, int k)
{
    if (!layers_ok(net, "accuracy", (const sl_var *const[]){input, label}, 2))
        return NULL;
    char *name = unique_name_next(&net->names, "accuracy");
    struct var_desc *values, *indices, *out = NULL;
    if (top_k(net, input, k, &values, &indices)) {
        out = layers_tmp(net, name, DTYPE_FP32);
        struct var_desc *correct = layers_tmp(net, name, DTYPE_INT32);
        struct var_desc *total = layers_tmp(net, name, DTYPE_INT32);
        struct op_desc *op = op_desc_new("accuracy");
        op_desc_add_input(op, "Out", values->name);
        op_desc_add_input(op, "Indices", indices->name);
        op_desc_add_input(op, "Label", label->name);
        op_desc_add_output(op, "Accuracy", out->name);
        op_desc_add_output(op, "Correct", correct->name);
        op_desc_add_output(op, "Total", total->name);
        if (!layers_append(net, "accuracy", op))
            out = NULL;
    }
    mem_free(name);
    return out;
}

static bool top_k(sl_net *net, sl_var *input, int k, struct var_desc **out_values,
                  struct var_desc **out_indices)
{
    char *name = unique_name_next(&net->names, "top_k");
    struct var_desc *values = layers_tmp(net, name, input->dtype);
    struct var_desc *indices = layers_tmp(net, name, DTYPE_INT64);
    mem_free(name);
    values->stop_gradient = true;
    indices->stop_gradient = true;
    struct op_desc *op = op_desc_new("top_k");
    op_desc_add_input(op, "X", input->name);
    op_desc_add_output(op, "Out", values->name);
    op_desc_add_output(op, "Indices", indices->name);
    op_desc_set_int(op, "k", k);
    *out_values = values;
    *out_indices = indices;
    return layers_append(net, "top_k", op);
}
