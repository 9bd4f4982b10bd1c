// SPDX-License-Identifier: Apache-2.0
// Activations and functions of one variable, element by element.

#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/base/mem.h"
#include "common/program/var_desc.h"

static sl_var *unary(sl_net *net, const char *type, sl_var *x)
{
    return layer_op_append(
        net, &(struct layer_op){.layer = type, .in = {{"X", x}}, .out = {{"Out"}}}, NULL);
}

// A function with up to two numbers as attributes; b NULL: one.
static sl_var *with_numbers(sl_net *net, const char *type, sl_var *x, const char *a, double a_value,
                            const char *b, double b_value)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = type,
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_FLOAT(a, a_value), LAYER_OP_FLOAT(b, b_value)},
                           .out = {{"Out"}}},
        NULL);
}

#define LAYER(type)                                                                                \
    sl_var *sl_##type(sl_net *net, sl_var *x)                                                      \
    {                                                                                              \
        return unary(net, #type, x);                                                               \
    }
SL_FUNCTIONS_OF_ONE(LAYER)
#undef LAYER

sl_var *sl_activation(sl_net *net, const char *type, sl_var *x)
{
    return unary(net, type, x);
}

sl_var *sl_leaky_relu(sl_net *net, sl_var *x, double alpha)
{
    return with_numbers(net, "leaky_relu", x, "alpha", alpha, NULL, 0);
}

sl_var *sl_elu(sl_net *net, sl_var *x, double alpha)
{
    return with_numbers(net, "elu", x, "alpha", alpha, NULL, 0);
}

sl_var *sl_relu6(sl_net *net, sl_var *x, double threshold)
{
    return with_numbers(net, "relu6", x, "threshold", threshold, NULL, 0);
}

sl_var *sl_pow(sl_net *net, sl_var *x, double factor)
{
    return with_numbers(net, "pow", x, "factor", factor, NULL, 0);
}

sl_var *sl_stanh(sl_net *net, sl_var *x, double scale_a, double scale_b)
{
    return with_numbers(net, "stanh", x, "scale_a", scale_a, "scale_b", scale_b);
}

sl_var *sl_hard_sigmoid(sl_net *net, sl_var *x, double slope, double offset)
{
    return with_numbers(net, "hard_sigmoid", x, "slope", slope, "offset", offset);
}

// (Fluid 1.8.5 drops the value: it hands it on under a name that the operator does not know.)
sl_var *sl_swish(sl_net *net, sl_var *x, double beta)
{
    return with_numbers(net, "swish", x, "beta", beta, NULL, 0);
}

sl_var *sl_hard_swish(sl_net *net, sl_var *x, double threshold, double scale, double offset)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "hard_swish",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_FLOAT("threshold", threshold),
                                                        LAYER_OP_FLOAT("scale", scale),
                                                        LAYER_OP_FLOAT("offset", offset)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_brelu(sl_net *net, sl_var *x, double t_min, double t_max)
{
    return with_numbers(net, "brelu", x, "t_min", t_min, "t_max", t_max);
}

sl_var *sl_soft_relu(sl_net *net, sl_var *x, double threshold)
{
    return with_numbers(net, "soft_relu", x, "threshold", threshold, NULL, 0);
}

sl_var *sl_hard_shrink(sl_net *net, sl_var *x, double threshold)
{
    return with_numbers(net, "hard_shrink", x, "threshold", threshold, NULL, 0);
}

sl_var *sl_softshrink(sl_net *net, sl_var *x, double alpha)
{
    return with_numbers(net, "softshrink", x, "lambda", alpha, NULL, 0);
}

sl_var *sl_thresholded_relu(sl_net *net, sl_var *x, double threshold)
{
    return with_numbers(net, "thresholded_relu", x, "threshold", threshold, NULL, 0);
}

sl_var *sl_selu(sl_net *net, sl_var *x)
{
    return unary(net, "selu", x);
}

sl_var *sl_gelu(sl_net *net, sl_var *x, bool approximate)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "gelu",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_BOOL("approximate", approximate)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_maxout(sl_net *net, sl_var *x, int groups, int axis)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "maxout",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_INT("groups", groups),
                                                        LAYER_OP_INT("axis", axis < 0 ? 3 : axis)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_softmax(sl_net *net, sl_var *x)
{
    return unary(net, "softmax", x);
}

sl_var *sl_softmax_axis(sl_net *net, sl_var *x, int axis)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "softmax",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_INT("axis", axis)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_prelu(sl_net *net, sl_var *x, const char *mode, const struct sl_param_attr *attr)
{
    struct sl_shape shape = {.rank = 1, .d = {1}};
    if (!layers_ok(net, "prelu", (const sl_var *const[]){x}, 1))
        return NULL;
    bool channel = mode != NULL && str_eq(mode, "channel");
    bool element = mode != NULL && str_eq(mode, "element");
    if (!channel && !element && (mode == NULL || !str_eq(mode, "all")))
        return layer_op_refuse(net, "prelu", "mode is all, channel or element, not %s",
                               mode ? mode : "NULL");
    if (channel && x->dims.rank < 2)
        return layer_op_refuse(net, "prelu", "mode channel needs at least two dimensions");
    if (channel) {
        shape = (struct sl_shape){.rank = 4, .d = {1, x->dims.d[1], 1, 1}};
    } else if (element) {
        shape.rank = x->dims.rank;
        for (int i = 1; i < x->dims.rank; i++)
            shape.d[i] = x->dims.d[i];
    }
    char *name = unique_name_next(&net->names, "prelu");
    struct var_desc *alpha =
        layers_parameter(net, "prelu", name, "w", attr, &shape, DTYPE_FP32, sl_constant(0.25));
    sl_var *out = alpha == NULL
                      ? NULL
                      : layer_op_append(net,
                                        &(struct layer_op){.layer = "prelu",
                                                           .name = name,
                                                           .in = {{"X", x}, {"Alpha", alpha}},
                                                           .attrs = {LAYER_OP_TEXT("mode", mode)},
                                                           .out = {{"Out"}}},
                                        NULL);
    mem_free(name);
    return out;
}
