// SPDX-License-Identifier: Apache-2.0
// Values out of nothing: constants, random numbers, ranges; copies and casts; embeddings.

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/passes/expr.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

static struct dims dims_of(struct sl_shape shape)
{
    struct dims dims = {.rank = shape.rank};
    for (int i = 0; i < shape.rank && i < LIMIT_RANK; i++)
        dims.d[i] = shape.d[i];
    return dims;
}

sl_var *sl_fill_constant(sl_net *net, struct sl_shape shape, enum sl_dtype dtype, double value)
{
    struct err err = {0};
    if (!layers_ok(net, "fill_constant", NULL, 0))
        return NULL;
    const struct dims dims = dims_of(shape);
    struct expr e = layers_expr(net, OP_ROLE_FORWARD, &err);
    struct var_desc *out = expr_fill_shape(&e, &dims, value, (int)dtype, false);
    if (!layers_judge(net, "fill_constant", &e))
        return NULL;
    out->stop_gradient = true;
    return out;
}

sl_var *sl_fill_constant_batch_size_like(sl_net *net, sl_var *like, struct sl_shape shape,
                                         enum sl_dtype dtype, double value)
{
    char *text = expr_number_text(value, (int)dtype);
    const struct layer_op op = {
        .layer = "fill_constant_batch_size_like",
        .in = {{"Input", like}},
        .attrs = {LAYER_OP_INTS("shape", shape.d, (size_t)shape.rank), LAYER_OP_INT("dtype", dtype),
                  LAYER_OP_FLOAT("value", value), LAYER_OP_INT("input_dim_idx", 0),
                  LAYER_OP_INT("output_dim_idx", 0), LAYER_OP_BOOL("force_cpu", false),
                  LAYER_OP_TEXT("str_value", text)},
        .out = {{"Out", (int)dtype, true}}};
    sl_var *out = layer_op_append(net, &op, NULL);
    mem_free(text);
    return out;
}

sl_var *sl_zeros_like(sl_net *net, sl_var *x)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "zeros_like",
                                              .type = "fill_zeros_like",
                                              .in = {{"X", x}},
                                              .out = {{"Out", 0, true}}},
                           NULL);
}

sl_var *sl_ones_like(sl_net *net, sl_var *x)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "ones_like",
                                              .type = "fill_any_like",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_FLOAT("value", 1.0)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_assign(sl_net *net, sl_var *x, sl_var *output)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "assign", .in = {{"X", x}}, .out = {{"Out", .var = output}}},
        NULL);
}

sl_var *sl_cast(sl_net *net, sl_var *x, enum sl_dtype dtype)
{
    if (!layers_ok(net, "cast", (const sl_var *const[]){x}, 1))
        return NULL;
    int to = dtype == SL_BOOL ? LAYER_OP_BOOL_DTYPE : (int)dtype;
    return layer_op_append(net,
                           &(struct layer_op){.layer = "cast",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_INT("in_dtype", x->dtype),
                                                        LAYER_OP_INT("out_dtype", dtype)},
                                              .out = {{"Out", to}}},
                           NULL);
}

sl_var *sl_uniform_random(sl_net *net, struct sl_shape shape, enum sl_dtype dtype, double min,
                          double max, uint32_t seed)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "uniform_random",
                           .attrs = {LAYER_OP_INT("seed", seed), LAYER_OP_FLOAT("min", min),
                                     LAYER_OP_FLOAT("max", max), LAYER_OP_INT("dtype", dtype),
                                     LAYER_OP_LONGS("shape", shape.d, (size_t)shape.rank)},
                           .out = {{"Out", (int)dtype}}},
        NULL);
}

sl_var *sl_gaussian_random(sl_net *net, struct sl_shape shape, enum sl_dtype dtype, double mean,
                           double deviation, uint32_t seed)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "gaussian_random",
                           .attrs = {LAYER_OP_FLOAT("mean", mean), LAYER_OP_FLOAT("std", deviation),
                                     LAYER_OP_INT("seed", seed), LAYER_OP_INT("dtype", dtype),
                                     LAYER_OP_BOOL("use_mkldnn", false),
                                     LAYER_OP_LONGS("shape", shape.d, (size_t)shape.rank)},
                           .out = {{"Out", (int)dtype}}},
        NULL);
}

static const struct sl_shape one_element = {.rank = 1, .d = {1}};

sl_var *sl_range(sl_net *net, double start, double end, double step, enum sl_dtype dtype)
{
    sl_var *first = sl_fill_constant(net, one_element, dtype, start);
    sl_var *last = sl_fill_constant(net, one_element, dtype, end);
    sl_var *by = sl_fill_constant(net, one_element, dtype, step);
    return layer_op_append(net,
                           &(struct layer_op){.layer = "range",
                                              .in = {{"Start", first}, {"End", last}, {"Step", by}},
                                              .out = {{"Out", 0, true}}},
                           NULL);
}

sl_var *sl_linspace(sl_net *net, double start, double stop, int num, enum sl_dtype dtype)
{
    sl_var *first = sl_fill_constant(net, one_element, dtype, start);
    sl_var *last = sl_fill_constant(net, one_element, dtype, stop);
    sl_var *count = sl_fill_constant(net, one_element, SL_INT32, num);
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "linspace",
                           .in = {{"Start", first}, {"Stop", last}, {"Num", count}},
                           .out = {{"Out"}}},
        NULL);
}

// ---- embeddings

struct sl_embedding_options sl_embedding_defaults(void)
{
    return (struct sl_embedding_options){.padding_idx = SL_NO_PADDING};
}

sl_var *sl_embedding(sl_net *net, sl_var *ids, int64_t rows, int64_t width,
                     const struct sl_embedding_options *options)
{
    const struct sl_embedding_options defaults = sl_embedding_defaults();
    const struct sl_embedding_options *o = options ? options : &defaults;
    if (!layers_ok(net, "embedding", (const sl_var *const[]){ids}, 1))
        return NULL;
    const struct sl_shape shape = {.rank = 2, .d = {rows, width}};
    int64_t padding = o->padding_idx == SL_NO_PADDING ? -1
                      : o->padding_idx >= 0           ? o->padding_idx
                                                      : rows + o->padding_idx;
    char *name = unique_name_next(&net->names, "embedding");
    struct var_desc *table = layers_parameter(net, "embedding", name, "w", o->param_attr, &shape,
                                              DTYPE_FP32, sl_xavier(true, 0, 0, 0));
    const struct layer_op op = {
        .layer = "embedding",
        .name = name,
        .type = "lookup_table",
        .in = {{"Ids", ids}, {"W", table}},
        .attrs = {LAYER_OP_BOOL("is_sparse", o->is_sparse),
                  LAYER_OP_BOOL("is_distributed", o->is_distributed),
                  LAYER_OP_BOOL("remote_prefetch", o->is_sparse && !o->is_distributed),
                  LAYER_OP_LONG("padding_idx", padding)},
        .out = {{"Out", DTYPE_FP32}}};
    sl_var *out = table ? layer_op_append(net, &op, NULL) : NULL;
    mem_free(name);
    return out;
}
