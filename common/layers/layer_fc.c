// SPDX-License-Identifier: Apache-2.0
// fluid.layers.fc: a mul an input, their sum, elementwise_add of the bias, activation; temporaries
// fc_N.tmp_0, tmp_1, ...

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/program/var_desc.h"

#define FC_INPUTS_MAX 64

static bool check(sl_net *net, const sl_var *input, int64_t size, const struct sl_fc_options *o);
static sl_var *multiply(sl_net *net, const char *name, sl_var *input, int64_t size,
                        const struct sl_fc_options *o);
static sl_var *add(sl_net *net, const char *name, sl_var *const *products, size_t count);

struct sl_fc_options sl_fc_defaults(void)
{
    return (struct sl_fc_options){.num_flatten_dims = 1};
}

sl_var *sl_fc(sl_net *net, sl_var *input, int64_t size, const struct sl_fc_options *options)
{
    return sl_fc_many(net, &input, 1, size, options);
}

sl_var *sl_fc_many(sl_net *net, sl_var *const *inputs, size_t count, int64_t size,
                   const struct sl_fc_options *options)
{
    const struct sl_fc_options defaults = sl_fc_defaults();
    const struct sl_fc_options *o = options ? options : &defaults;
    sl_var *products[FC_INPUTS_MAX];
    if (!layers_ok(net, "fc", (const sl_var *const *)inputs, count))
        return NULL;
    if (count == 0 || count > FC_INPUTS_MAX) {
        layers_fail(net, "fc", SL_EINVAL, "%zu inputs; there must be 1..%d", count, FC_INPUTS_MAX);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (!check(net, inputs[i], size, o))
            return NULL;
    char *name = o->name ? mem_must_strdup(o->name) : unique_name_next(&net->names, "fc");
    for (size_t i = 0; i < count; i++)
        products[i] = multiply(net, name, inputs[i], size, o);
    sl_var *x = count == 1 ? products[0] : add(net, name, products, count);
    if (x != NULL && !o->no_bias)
        x = layer_op_bias(net, "fc", name, x, o->num_flatten_dims, x->dims.rank, o->bias_attr);
    x = layer_op_activate(net, "fc", name, x, o->act, NULL);
    mem_free(name);
    return x;
}

static bool check(sl_net *net, const sl_var *input, int64_t size, const struct sl_fc_options *o)
{
    char text[DIMS_TEXT_MAX];
    if (size <= 0)
        layers_fail(net, "fc", SL_EINVAL, "input %s %s: size must be > 0, not %lld", input->name,
                    dims_format(&input->dims, text), (long long)size);
    else if (o->num_flatten_dims < 1 || o->num_flatten_dims >= input->dims.rank)
        layers_fail(net, "fc", SL_EINVAL, "input %s %s: num_flatten_dims must be 1..%d, not %d",
                    input->name, dims_format(&input->dims, text), input->dims.rank - 1,
                    o->num_flatten_dims);
    else
        return true;
    return false;
}

static sl_var *multiply(sl_net *net, const char *name, sl_var *input, int64_t size,
                        const struct sl_fc_options *o)
{
    int64_t width = dims_product(&input->dims, o->num_flatten_dims, input->dims.rank);
    if (width <= 0) {
        char text[DIMS_TEXT_MAX];
        layers_fail(net, "fc", SL_EINVAL, "input %s %s: the width behind dimension %d is not known",
                    input->name, dims_format(&input->dims, text), o->num_flatten_dims);
        return NULL;
    }
    const struct sl_shape shape = {.rank = 2, .d = {width, size}};
    struct var_desc *w = layers_parameter(net, "fc", name, "w", o->param_attr, &shape, input->dtype,
                                          sl_xavier(true, 0, 0, 0));
    if (w == NULL)
        return NULL;
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "fc",
                           .name = name,
                           .type = "mul",
                           .in = {{"X", input}, {"Y", w}},
                           .attrs = {LAYER_OP_INT("x_num_col_dims", o->num_flatten_dims),
                                     LAYER_OP_INT("y_num_col_dims", 1)},
                           .out = {{"Out"}}},
        NULL);
}

static sl_var *add(sl_net *net, const char *name, sl_var *const *products, size_t count)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "fc",
                                              .name = name,
                                              .type = "sum",
                                              .in = {{"X", .list = (const sl_var *const *)products,
                                                      .count = count}},
                                              .attrs = {LAYER_OP_BOOL("use_mkldnn", false)},
                                              .out = {{"Out"}}},
                           NULL);
}
