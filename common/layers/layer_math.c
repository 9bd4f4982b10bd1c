// SPDX-License-Identifier: Apache-2.0
// Arithmetic of several variables, comparison, logic, and reductions.

#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/passes/expr.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

// ---- element by element

static sl_var *elementwise(sl_net *net, const char *type, sl_var *x, sl_var *y, int axis)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = type,
                                              .in = {{"X", x}, {"Y", y}},
                                              .attrs = {LAYER_OP_INT("axis", axis)},
                                              .out = {{"Out"}}},
                           NULL);
}

#define LAYER(type)                                                                                \
    sl_var *sl_##type(sl_net *net, sl_var *x, sl_var *y, int axis)                                 \
    {                                                                                              \
        return elementwise(net, #type, x, y, axis);                                                \
    }
SL_ELEMENTWISE(LAYER)
#undef LAYER

// ---- what Python's operators do with variables

static sl_var *of_operator(sl_net *net, const char *type, sl_var *x, sl_var *y)
{
    struct err err = {0};
    if (!layers_ok(net, type, (const sl_var *const[]){x, y}, 2))
        return NULL;
    if (x->dims.rank < y->dims.rank)
        return layer_op_refuse(net, type, "%s has more dimensions than %s", y->name, x->name);
    struct expr e = layers_expr(net, OP_ROLE_FORWARD, &err);
    struct var_desc *out = expr_math(&e, type, x, y);
    return layers_judge(net, type, &e) ? out : NULL;
}

#define LAYER(name)                                                                                \
    sl_var *sl_var_##name(sl_net *net, sl_var *x, sl_var *y)                                       \
    {                                                                                              \
        return of_operator(net, "elementwise_" #name, x, y);                                       \
    }
SL_OPERATORS(LAYER)
#undef LAYER

sl_var *sl_var_scale(sl_net *net, sl_var *x, double scale, double bias)
{
    struct err err = {0};
    if (!layers_ok(net, "scale", (const sl_var *const[]){x}, 1))
        return NULL;
    struct expr e = layers_expr(net, OP_ROLE_FORWARD, &err);
    struct var_desc *out = expr_scale(&e, x, scale, bias);
    return layers_judge(net, "scale", &e) ? out : NULL;
}

// A question about x and (unless NULL) y.
static sl_var *question(sl_net *net, const char *type, sl_var *x, sl_var *y, bool one)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = type,
                                              .in = {{"X", x}, {"Y", y, .optional = one}},
                                              .out = {{"Out", LAYER_OP_BOOL_DTYPE, true}}},
                           NULL);
}

#define LAYER(type)                                                                                \
    sl_var *sl_##type(sl_net *net, sl_var *x, sl_var *y)                                           \
    {                                                                                              \
        return question(net, #type, x, y, false);                                                  \
    }
SL_COMPARISONS(LAYER)
#undef LAYER

sl_var *sl_logical_not(sl_net *net, sl_var *x)
{
    return question(net, "logical_not", x, NULL, true);
}

sl_var *sl_isfinite(sl_net *net, sl_var *x)
{
    return question(net, "isfinite", x, NULL, true);
}

sl_var *sl_scale(sl_net *net, sl_var *x, double scale, double bias)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "scale",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_FLOAT("scale", scale), LAYER_OP_FLOAT("bias", bias),
                                     LAYER_OP_BOOL("bias_after_scale", true)},
                           .out = {{"Out"}}},
        NULL);
}

sl_var *sl_clip(sl_net *net, sl_var *x, double min, double max)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "clip",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_FLOAT("min", min), LAYER_OP_FLOAT("max", max)},
                           .out = {{"Out"}}},
        NULL);
}

sl_var *sl_clip_norm(sl_net *net, sl_var *x, double max_norm)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "clip_by_norm",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_FLOAT("max_norm", max_norm)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_increment(sl_net *net, sl_var *x, double value)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "increment",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_FLOAT("step", value)},
                                              .out = {{"Out", .var = x}}},
                           NULL);
}

// ---- products

sl_var *sl_mul(sl_net *net, sl_var *x, sl_var *y, int x_num_col_dims, int y_num_col_dims)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "mul",
                           .in = {{"X", x}, {"Y", y}},
                           .attrs = {LAYER_OP_INT("x_num_col_dims", x_num_col_dims),
                                     LAYER_OP_INT("y_num_col_dims", y_num_col_dims)},
                           .out = {{"Out"}}},
        NULL);
}

struct sl_matmul_options sl_matmul_defaults(void)
{
    return (struct sl_matmul_options){.alpha = 1.0};
}

sl_var *sl_matmul(sl_net *net, sl_var *x, sl_var *y, const struct sl_matmul_options *options)
{
    const struct sl_matmul_options defaults = sl_matmul_defaults();
    const struct sl_matmul_options *o = options ? options : &defaults;
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "matmul",
                           .in = {{"X", x}, {"Y", y}},
                           .attrs = {LAYER_OP_BOOL("transpose_X", o->transpose_x),
                                     LAYER_OP_BOOL("transpose_Y", o->transpose_y),
                                     LAYER_OP_FLOAT("alpha", o->alpha)},
                           .out = {{"Out"}}},
        NULL);
}

static sl_var *product(sl_net *net, const char *type, sl_var *x, sl_var *y)
{
    return layer_op_append(
        net, &(struct layer_op){.layer = type, .in = {{"X", x}, {"Y", y}}, .out = {{"Out"}}}, NULL);
}

sl_var *sl_bmm(sl_net *net, sl_var *x, sl_var *y)
{
    return product(net, "bmm", x, y);
}

sl_var *sl_dot(sl_net *net, sl_var *x, sl_var *y)
{
    return product(net, "dot", x, y);
}

sl_var *sl_cos_sim(sl_net *net, sl_var *x, sl_var *y)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "cos_sim",
                                              .in = {{"X", x}, {"Y", y}},
                                              .out = {{"Out"}, {"XNorm"}, {"YNorm"}}},
                           NULL);
}

// ---- sums and reductions

sl_var *sl_mean(sl_net *net, sl_var *x)
{
    return layer_op_append(
        net, &(struct layer_op){.layer = "mean", .in = {{"X", x}}, .out = {{"Out"}}}, NULL);
}

sl_var *sl_sum(sl_net *net, sl_var *const *x, size_t count)
{
    if (count == 0)
        return layer_op_refuse(net, "sum", "nothing to add");
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "sum",
                           .in = {{"X", .list = (const sl_var *const *)x, .count = count}},
                           .attrs = {LAYER_OP_BOOL("use_mkldnn", false)},
                           .out = {{"Out"}}},
        NULL);
}

static sl_var *reduce(sl_net *net, const char *type, sl_var *x, const int64_t *dims, size_t count,
                      bool keep_dim)
{
    static const int64_t zero = 0;
    bool all = dims == NULL || count == 0;
    return layer_op_append(
        net,
        &(struct layer_op){.layer = type,
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_INTS("dim", all ? &zero : dims, all ? 1 : count),
                                     LAYER_OP_BOOL("keep_dim", keep_dim),
                                     LAYER_OP_BOOL("reduce_all", all)},
                           .out = {{"Out"}}},
        NULL);
}

#define LAYER(type)                                                                                \
    sl_var *sl_##type(sl_net *net, sl_var *x, const int64_t *dims, size_t count, bool keep_dim)    \
    {                                                                                              \
        return reduce(net, #type, x, dims, count, keep_dim);                                       \
    }
SL_REDUCTIONS(LAYER)
#undef LAYER

sl_var *sl_cumsum(sl_net *net, sl_var *x, int axis, bool exclusive, bool reverse)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "cumsum",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_INT("axis", axis),
                                                        LAYER_OP_BOOL("exclusive", exclusive),
                                                        LAYER_OP_BOOL("reverse", reverse)},
                                              .out = {{"Out"}}},
                           NULL);
}

static sl_var *best(sl_net *net, const char *type, sl_var *x, int axis)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = type,
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_LONG("axis", axis)},
                                              .out = {{"Out", DTYPE_INT64, true}}},
                           NULL);
}

sl_var *sl_argmax(sl_net *net, sl_var *x, int axis)
{
    return best(net, "arg_max", x, axis);
}

sl_var *sl_argmin(sl_net *net, sl_var *x, int axis)
{
    return best(net, "arg_min", x, axis);
}

sl_var *sl_argsort(sl_net *net, sl_var *x, int axis, bool descending, sl_var **out_indices)
{
    sl_var *results[2] = {NULL, NULL};
    sl_var *out = layer_op_append(
        net,
        &(struct layer_op){
            .layer = "argsort",
            .in = {{"X", x}},
            .attrs = {LAYER_OP_INT("axis", axis), LAYER_OP_BOOL("descending", descending)},
            .out = {{"Out", 0, true}, {"Indices", DTYPE_INT64, true}}},
        results);
    if (out_indices != NULL)
        *out_indices = out ? results[1] : NULL;
    return out;
}

sl_var *sl_topk(sl_net *net, sl_var *x, int k, sl_var **out_indices)
{
    sl_var *results[2] = {NULL, NULL};
    sl_var *out = layer_op_append(
        net,
        &(struct layer_op){.layer = "top_k",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_INT("k", k)},
                           .out = {{"Out", 0, true}, {"Indices", DTYPE_INT64, true}}},
        results);
    if (out_indices != NULL)
        *out_indices = out ? results[1] : NULL;
    return out;
}
