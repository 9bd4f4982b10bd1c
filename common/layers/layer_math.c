// SPDX-License-Identifier: Apache-2.0
// Layers that are one operator: activations, elementwise arithmetic, sum, scale, concat, mean.

#include "common/base/mem.h"
#include "common/layers/layers.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

static sl_var *unary(sl_net *net, const char *type, sl_var *x);
static sl_var *elementwise(sl_net *net, const char *type, sl_var *x, sl_var *y, int axis);
static sl_var *finish(sl_net *net, const char *type, struct op_desc *op, int dtype);

sl_var *sl_relu(sl_net *net, sl_var *x)
{
    return unary(net, "relu", x);
}

sl_var *sl_softmax(sl_net *net, sl_var *x)
{
    return unary(net, "softmax", x);
}

sl_var *sl_square(sl_net *net, sl_var *x)
{
    return unary(net, "square", x);
}

sl_var *sl_mean(sl_net *net, sl_var *x)
{
    return unary(net, "mean", x);
}

sl_var *sl_elementwise_add(sl_net *net, sl_var *x, sl_var *y, int axis)
{
    return elementwise(net, "elementwise_add", x, y, axis);
}

sl_var *sl_elementwise_sub(sl_net *net, sl_var *x, sl_var *y, int axis)
{
    return elementwise(net, "elementwise_sub", x, y, axis);
}

sl_var *sl_elementwise_mul(sl_net *net, sl_var *x, sl_var *y, int axis)
{
    return elementwise(net, "elementwise_mul", x, y, axis);
}

sl_var *sl_scale(sl_net *net, sl_var *x, double scale, double bias)
{
    if (!layers_ok(net, "scale", (const sl_var *const[]){x}, 1))
        return NULL;
    struct op_desc *op = op_desc_new("scale");
    op_desc_add_input(op, "X", x->name);
    op_desc_set_float(op, "scale", (float)scale);
    op_desc_set_float(op, "bias", (float)bias);
    op_desc_set_bool(op, "bias_after_scale", true);
    return finish(net, "scale", op, x->dtype);
}

sl_var *sl_sum(sl_net *net, sl_var *const *x, size_t count)
{
    if (!layers_ok(net, "sum", (const sl_var *const *)x, count))
        return NULL;
    if (count == 0) {
        layers_fail(net, "sum", SL_EINVAL, "nothing to add");
        return NULL;
    }
    struct op_desc *op = op_desc_new("sum");
    for (size_t i = 0; i < count; i++)
        op_desc_add_input(op, "X", x[i]->name);
    op_desc_set_bool(op, "use_mkldnn", false);
    return finish(net, "sum", op, x[0]->dtype);
}

sl_var *sl_concat(sl_net *net, sl_var *const *x, size_t count, int axis)
{
    if (!layers_ok(net, "concat", (const sl_var *const *)x, count))
        return NULL;
    if (count == 0) {
        layers_fail(net, "concat", SL_EINVAL, "nothing to join");
        return NULL;
    }
    struct op_desc *op = op_desc_new("concat");
    for (size_t i = 0; i < count; i++)
        op_desc_add_input(op, "X", x[i]->name);
    op_desc_set_int(op, "axis", axis);
    return finish(net, "concat", op, x[0]->dtype);
}

static sl_var *unary(sl_net *net, const char *type, sl_var *x)
{
    if (!layers_ok(net, type, (const sl_var *const[]){x}, 1))
        return NULL;
    struct op_desc *op = op_desc_new(type);
    op_desc_add_input(op, "X", x->name);
    return finish(net, type, op, x->dtype);
}

static sl_var *elementwise(sl_net *net, const char *type, sl_var *x, sl_var *y, int axis)
{
    if (!layers_ok(net, type, (const sl_var *const[]){x, y}, 2))
        return NULL;
    struct op_desc *op = op_desc_new(type);
    op_desc_add_input(op, "X", x->name);
    op_desc_add_input(op, "Y", y->name);
    op_desc_set_int(op, "axis", axis);
    return finish(net, type, op, x->dtype);
}

// The output is "<type>_N.tmp_0".
static sl_var *finish(sl_net *net, const char *type, struct op_desc *op, int dtype)
{
    char *name = unique_name_next(&net->names, type);
    struct var_desc *out = layers_tmp(net, name, dtype);
    op_desc_add_output(op, "Out", out->name);
    mem_free(name);
    return layers_append(net, type, op) ? out : NULL;
}
