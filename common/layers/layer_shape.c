// SPDX-License-Identifier: Apache-2.0
// Layers that rearrange, cut, join or look up elements.

#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/program/var_desc.h"

// An operator with one list of numbers (or none) and an XShape output for its gradient.
static sl_var *reshaped(sl_net *net, const char *layer, const char *type, sl_var *x,
                        struct layer_op_attr attr)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = layer,
                                              .type = type,
                                              .in = {{"X", x}},
                                              .attrs = {attr},
                                              .out = {{"Out"}, {"XShape"}}},
                           NULL);
}

sl_var *sl_reshape(sl_net *net, sl_var *x, struct sl_shape shape)
{
    return reshaped(net, "reshape2", NULL, x,
                    (struct layer_op_attr)LAYER_OP_INTS("shape", shape.d, (size_t)shape.rank));
}

sl_var *sl_transpose(sl_net *net, sl_var *x, struct sl_shape perm)
{
    return reshaped(net, "transpose", "transpose2", x,
                    (struct layer_op_attr)LAYER_OP_INTS("axis", perm.d, (size_t)perm.rank));
}

sl_var *sl_squeeze(sl_net *net, sl_var *x, struct sl_shape axes)
{
    return reshaped(net, "squeeze", "squeeze2", x,
                    (struct layer_op_attr)LAYER_OP_INTS("axes", axes.d, (size_t)axes.rank));
}

sl_var *sl_unsqueeze(sl_net *net, sl_var *x, struct sl_shape axes)
{
    return reshaped(net, "unsqueeze2", NULL, x,
                    (struct layer_op_attr)LAYER_OP_INTS("axes", axes.d, (size_t)axes.rank));
}

sl_var *sl_flatten(sl_net *net, sl_var *x, int axis)
{
    return reshaped(net, "flatten", "flatten2", x,
                    (struct layer_op_attr)LAYER_OP_INT("axis", axis));
}

// ---- joining and cutting

static sl_var *join(sl_net *net, const char *type, const char *out, sl_var *const *x, size_t count,
                    int axis)
{
    if (count == 0)
        return layer_op_refuse(net, type, "nothing to join");
    return layer_op_append(
        net,
        &(struct layer_op){.layer = type,
                           .in = {{"X", .list = (const sl_var *const *)x, .count = count}},
                           .attrs = {LAYER_OP_INT("axis", axis)},
                           .out = {{out}}},
        NULL);
}

sl_var *sl_concat(sl_net *net, sl_var *const *x, size_t count, int axis)
{
    return join(net, "concat", "Out", x, count, axis);
}

sl_var *sl_stack(sl_net *net, sl_var *const *x, size_t count, int axis)
{
    return join(net, "stack", "Y", x, count, axis);
}

// Axis from the front, or -1 after an error.
static int front_axis(sl_net *net, const char *layer, const sl_var *x, int axis)
{
    if (!layers_ok(net, layer, (const sl_var *const[]){x}, 1))
        return -1;
    int at = axis < 0 ? axis + x->dims.rank : axis;
    if (at >= 0 && at < x->dims.rank)
        return at;
    layer_op_refuse(net, layer, "input %s has %d dimensions, there is no axis %d", x->name,
                    x->dims.rank, axis);
    return -1;
}

int sl_split(sl_net *net, sl_var *x, size_t count, int axis, sl_var **out)
{
    int at = front_axis(net, "split", x, axis);
    if (at >= 0 && (count == 0 || (x->dims.d[at] > 0 && x->dims.d[at] % (int64_t)count != 0)))
        layer_op_refuse(net, "split", "%lld elements of dimension %d do not make %zu equal parts",
                        (long long)x->dims.d[at], at, count);
    layer_op_append(
        net,
        &(struct layer_op){.layer = "split",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_INT("num", count), LAYER_OP_INT("axis", at)},
                           .out = {{"Out", .count = count}}},
        out);
    return net->error.code;
}

int sl_split_sections(sl_net *net, sl_var *x, struct sl_shape sections, int axis, sl_var **out)
{
    int at = front_axis(net, "split", x, axis);
    if (at >= 0 && sections.rank < 1)
        layer_op_refuse(net, "split", "no sections");
    size_t count = (size_t)sections.rank;
    layer_op_append(net,
                    &(struct layer_op){.layer = "split",
                                       .in = {{"X", x}},
                                       .attrs = {LAYER_OP_INT("num", 0), LAYER_OP_INT("axis", at),
                                                 LAYER_OP_INTS("sections", sections.d, count)},
                                       .out = {{"Out", .count = count}}},
                    out);
    return net->error.code;
}

int sl_unstack(sl_net *net, sl_var *x, int axis, sl_var **out)
{
    int at = front_axis(net, "unstack", x, axis);
    if (at >= 0 && x->dims.d[at] <= 0)
        layer_op_refuse(net, "unstack", "the number of elements of dimension %d is not known", at);
    size_t count = net->error.code == 0 ? (size_t)x->dims.d[at] : 1;
    layer_op_append(
        net,
        &(struct layer_op){.layer = "unstack",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_INT("axis", axis), LAYER_OP_INT("num", count)},
                           .out = {{"Y", .count = count}}},
        out);
    return net->error.code;
}

static const int64_t ones[SL_RANK_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1};

sl_var *sl_slice(sl_net *net, sl_var *x, struct sl_shape axes, struct sl_shape starts,
                 struct sl_shape ends)
{
    size_t count = (size_t)axes.rank;
    if (axes.rank < 1 || starts.rank != axes.rank || ends.rank != axes.rank)
        return layer_op_refuse(net, "slice", "%d axes, %d starts and %d ends", axes.rank,
                               starts.rank, ends.rank);
    return layer_op_append(net,
                           &(struct layer_op){.layer = "slice",
                                              .in = {{"Input", x}},
                                              .attrs = {LAYER_OP_INTS("axes", axes.d, count),
                                                        LAYER_OP_INTS("starts", starts.d, count),
                                                        LAYER_OP_INTS("ends", ends.d, count),
                                                        LAYER_OP_INTS("infer_flags", ones, count)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_strided_slice(sl_net *net, sl_var *x, struct sl_shape axes, struct sl_shape starts,
                         struct sl_shape ends, struct sl_shape strides)
{
    size_t count = (size_t)axes.rank;
    if (axes.rank < 1 || starts.rank != axes.rank || ends.rank != axes.rank ||
        strides.rank != axes.rank)
        return layer_op_refuse(net, "strided_slice", "%d axes, %d starts, %d ends and %d strides",
                               axes.rank, starts.rank, ends.rank, strides.rank);
    return layer_op_append(net,
                           &(struct layer_op){.layer = "strided_slice",
                                              .in = {{"Input", x}},
                                              .attrs = {LAYER_OP_INTS("axes", axes.d, count),
                                                        LAYER_OP_INTS("starts", starts.d, count),
                                                        LAYER_OP_INTS("ends", ends.d, count),
                                                        LAYER_OP_INTS("strides", strides.d, count),
                                                        LAYER_OP_INTS("infer_flags", ones, count)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_crop(sl_net *net, sl_var *x, struct sl_shape shape, struct sl_shape offsets)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "crop",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_INTS("shape", shape.d, (size_t)shape.rank),
                                     LAYER_OP_INTS("offsets", offsets.d, (size_t)offsets.rank)},
                           .out = {{"Out"}}},
        NULL);
}

// ---- repeating, padding, reversing

sl_var *sl_expand(sl_net *net, sl_var *x, struct sl_shape times)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "expand",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_INTS("expand_times", times.d, (size_t)times.rank)},
                           .out = {{"Out"}}},
        NULL);
}

sl_var *sl_expand_as(sl_net *net, sl_var *x, sl_var *target)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "expand_as",
                                              .in = {{"X", x}, {"target_tensor", target}},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_pad(sl_net *net, sl_var *x, const int64_t *paddings, size_t count, double value)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "pad",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_INTS("paddings", paddings, count),
                                                        LAYER_OP_FLOAT("pad_value", value)},
                                              .out = {{"Out"}}},
                           NULL);
}

struct sl_pad2d_options sl_pad2d_defaults(void)
{
    return (struct sl_pad2d_options){.mode = "constant", .data_format = "NCHW"};
}

sl_var *sl_pad2d(sl_net *net, sl_var *x, const int64_t paddings[4],
                 const struct sl_pad2d_options *options)
{
    const struct sl_pad2d_options defaults = sl_pad2d_defaults();
    const struct sl_pad2d_options *o = options ? options : &defaults;
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "pad2d",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_TEXT("mode", o->mode),
                                     LAYER_OP_FLOAT("pad_value", o->value),
                                     LAYER_OP_TEXT("data_format", o->data_format),
                                     LAYER_OP_INTS("paddings", paddings, 4)},
                           .out = {{"Out"}}},
        NULL);
}

sl_var *sl_reverse(sl_net *net, sl_var *x, struct sl_shape axes)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "reverse",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_INTS("axis", axes.d, (size_t)axes.rank)},
                           .out = {{"Out"}}},
        NULL);
}

// ---- by index

sl_var *sl_gather(sl_net *net, sl_var *x, sl_var *index)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "gather",
                                              .in = {{"X", x}, {"Index", index}},
                                              .attrs = {LAYER_OP_BOOL("overwrite", true)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_gather_nd(sl_net *net, sl_var *x, sl_var *index)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "gather_nd",
                                              .in = {{"X", x}, {"Index", index}},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_scatter(sl_net *net, sl_var *x, sl_var *index, sl_var *updates, bool overwrite)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "scatter",
                           .in = {{"X", x}, {"Ids", index}, {"Updates", updates}},
                           .attrs = {LAYER_OP_BOOL("overwrite", overwrite)},
                           .out = {{"Out"}}},
        NULL);
}

sl_var *sl_one_hot(sl_net *net, sl_var *x, int depth)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "one_hot",
                                              .in = {{"X", x}},
                                              .attrs = {LAYER_OP_INT("depth", depth),
                                                        LAYER_OP_BOOL("allow_out_of_range", false)},
                                              .out = {{"Out", DTYPE_FP32, true}}},
                           NULL);
}

sl_var *sl_multiplex(sl_net *net, sl_var *const *x, size_t count, sl_var *index)
{
    return layer_op_append(
        net,
        &(struct layer_op){
            .layer = "multiplex",
            .in = {{"X", .list = (const sl_var *const *)x, .count = count}, {"Ids", index}},
            .out = {{"Out"}}},
        NULL);
}

sl_var *sl_shape_of(sl_net *net, sl_var *x)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "shape", .in = {{"Input", x}}, .out = {{"Out", DTYPE_INT32}}},
        NULL);
}
