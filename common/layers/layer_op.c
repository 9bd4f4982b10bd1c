// SPDX-License-Identifier: Apache-2.0
// See layer_op.h.

#include "common/layers/layer_op.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/layers/layers.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

static bool knows_attr(const char *type, const char *attr);
static bool inputs_ok(sl_net *net, const struct layer_op *o);
static void add_inputs(const struct layer_op *o, struct op_desc *op);
static void add_attr(const struct layer_op_attr *a, struct op_desc *op);
static sl_var *add_outputs(sl_net *net, const struct layer_op *o, const char *name,
                           struct op_desc *op, sl_var **results);

sl_var *layer_op_append(sl_net *net, const struct layer_op *o, sl_var **results)
{
    if (!inputs_ok(net, o))
        return NULL;
    struct op_desc *op = op_desc_new(o->type ? o->type : o->layer);
    add_inputs(o, op);
    for (const struct layer_op_attr *a = o->attrs; a->name != NULL; a++)
        add_attr(a, op);
    char *name = o->name ? mem_must_strdup(o->name) : unique_name_next(&net->names, o->layer);
    sl_var *first = add_outputs(net, o, name, op, results);
    mem_free(name);
    return layers_append(net, o->layer, op) ? first : NULL;
}

sl_var *layer_op_refuse(sl_net *net, const char *layer, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    layers_fail(net, layer, SL_EINVAL, "%s", text);
    return NULL;
}

sl_var *layer_op_activate(sl_net *net, const char *layer, const char *name, sl_var *x,
                          const char *act, const bool *use_cudnn)
{
    if (act == NULL || x == NULL)
        return x;
    struct layer_op o = {
        .layer = layer, .name = name, .type = act, .in = {{"X", x}}, .out = {{"Out"}}};
    if (use_cudnn != NULL && knows_attr(act, "use_cudnn"))
        o.attrs[0] = (struct layer_op_attr)LAYER_OP_BOOL("use_cudnn", *use_cudnn);
    return layer_op_append(net, &o, NULL);
}

sl_var *layer_op_bias(sl_net *net, const char *layer, const char *name, sl_var *x, int first,
                      int last, const struct sl_param_attr *attr)
{
    if (x == NULL)
        return NULL;
    struct sl_shape shape = {0};
    for (int i = first; i < last && i < x->dims.rank; i++)
        shape.d[shape.rank++] = x->dims.d[i];
    struct var_desc *b =
        layers_parameter(net, layer, name, "b", attr, &shape, x->dtype, sl_constant(0.0));
    if (b == NULL)
        return NULL;
    return layer_op_append(net,
                           &(struct layer_op){.layer = layer,
                                              .name = name,
                                              .type = "elementwise_add",
                                              .in = {{"X", x}, {"Y", b}},
                                              .attrs = {LAYER_OP_INT("axis", first)},
                                              .out = {{"Out"}}},
                           NULL);
}

static bool knows_attr(const char *type, const char *attr)
{
    const struct op_def *def = op_table_find(type);
    for (size_t i = 0; def != NULL && def->attrs != NULL && def->attrs[i].name != NULL; i++)
        if (str_eq(def->attrs[i].name, attr))
            return true;
    return false;
}

static bool inputs_ok(sl_net *net, const struct layer_op *o)
{
    if (!layers_ok(net, o->layer, NULL, 0))
        return false;
    for (const struct layer_op_input *in = o->in; in->slot != NULL; in++) {
        bool list = in->list != NULL || in->count > 0;
        if (list && !layers_ok(net, o->layer, in->list, in->count))
            return false;
        if (!list && in->var == NULL && !in->optional) {
            layers_fail(net, o->layer, SL_EINVAL, "input %s is missing (NULL)", in->slot);
            return false;
        }
    }
    return true;
}

static void add_inputs(const struct layer_op *o, struct op_desc *op)
{
    for (const struct layer_op_input *in = o->in; in->slot != NULL; in++) {
        if (in->var != NULL)
            op_desc_add_input(op, in->slot, in->var->name);
        for (size_t i = 0; i < in->count; i++)
            op_desc_add_input(op, in->slot, in->list[i]->name);
    }
}

static void add_attr(const struct layer_op_attr *a, struct op_desc *op)
{
    if (a->type == ATTR_INT)
        op_desc_set_int(op, a->name, (int64_t)a->number);
    else if (a->type == ATTR_LONG)
        op_desc_set_long(op, a->name, (int64_t)a->number);
    else if (a->type == ATTR_BOOLEAN)
        op_desc_set_bool(op, a->name, a->number != 0.0);
    else if (a->type == ATTR_FLOAT)
        op_desc_set_float(op, a->name, (float)a->number);
    else if (a->type == ATTR_STRING)
        op_desc_set_string(op, a->name, a->text);
    else if (a->type == ATTR_INTS)
        op_desc_set_ints(op, a->name, a->list, a->count);
    else if (a->type == ATTR_LONGS)
        op_desc_set_longs(op, a->name, a->list, a->count);
}

// The type of outputs that follow the inputs.
static int input_dtype(const struct layer_op *o)
{
    for (const struct layer_op_input *in = o->in; in->slot != NULL; in++) {
        if (in->var != NULL)
            return in->var->dtype;
        if (in->count > 0)
            return in->list[0]->dtype;
    }
    return DTYPE_FP32;
}

static sl_var *add_outputs(sl_net *net, const struct layer_op *o, const char *name,
                           struct op_desc *op, sl_var **results)
{
    sl_var *first = NULL;
    size_t at = 0;
    for (const struct layer_op_output *out = o->out; out->slot != NULL; out++) {
        int dtype = out->dtype == 0                     ? input_dtype(o)
                    : out->dtype == LAYER_OP_BOOL_DTYPE ? (int)DTYPE_BOOL
                                                        : out->dtype;
        for (size_t i = 0; i < (out->count ? out->count : 1); i++) {
            struct var_desc *var = out->var       ? out->var
                                   : o->generated ? layers_generated(net, dtype)
                                                  : layers_tmp(net, name, dtype);
            if (out->var == NULL)
                var->stop_gradient = out->stop_gradient;
            op_desc_add_output(op, out->slot, var->name);
            first = first ? first : var;
            if (results != NULL)
                results[at++] = var;
        }
    }
    return first;
}
