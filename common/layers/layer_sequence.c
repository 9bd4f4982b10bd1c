// SPDX-License-Identifier: Apache-2.0
// Layers over sequences: variables whose LoD says where each sequence of the batch begins. Also
// what measures them (edit distance, chunks), and fluid.nets' blocks of such layers.

#include <string.h>

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/program/var_desc.h"

#define POOL_TYPE_MAX 16

// An operator of X and Out without attributes.
static sl_var *of_one(sl_net *net, const char *layer, sl_var *x, const char *out)
{
    return layer_op_append(
        net, &(struct layer_op){.layer = layer, .in = {{"X", x}}, .out = {{out}}}, NULL);
}

// ---- convolution and pooling

struct sl_sequence_conv_options sl_sequence_conv_defaults(void)
{
    return (struct sl_sequence_conv_options){
        .filter_size = 3, .filter_stride = 1, .padding_start = SL_CENTRED};
}

sl_var *sl_sequence_conv(sl_net *net, sl_var *input, int64_t num_filters,
                         const struct sl_sequence_conv_options *options)
{
    const struct sl_sequence_conv_options defaults = sl_sequence_conv_defaults();
    const struct sl_sequence_conv_options *o = options ? options : &defaults;
    if (!layers_ok(net, "sequence_conv", (const sl_var *const[]){input}, 1))
        return NULL;
    if (input->dims.rank != 2 || input->dims.d[1] < 1 || num_filters < 1 || o->filter_size < 1 ||
        o->filter_size > INT_MAX)
        return layer_op_refuse(net, "sequence_conv",
                               "%lld filters of %lld rows over %s, which must be [rows, width]",
                               (long long)num_filters, (long long)o->filter_size, input->name);
    const struct sl_shape shape = {.rank = 2,
                                   .d = {o->filter_size * input->dims.d[1], num_filters}};
    char *name = unique_name_next(&net->names, "sequence_conv");
    int start = o->padding_start == SL_CENTRED ? -(int)(o->filter_size / 2) : o->padding_start;
    struct var_desc *filter = layers_parameter(net, "sequence_conv", name, "w", o->param_attr,
                                               &shape, input->dtype, sl_xavier(true, 0, 0, 0));
    const struct layer_op op = {.layer = "sequence_conv",
                                .name = name,
                                .in = {{"X", input}, {"Filter", filter}},
                                .attrs = {LAYER_OP_INT("contextStride", o->filter_stride),
                                          LAYER_OP_INT("contextStart", start),
                                          LAYER_OP_INT("contextLength", o->filter_size)},
                                .out = {{"Out"}}};
    sl_var *out = filter ? layer_op_append(net, &op, NULL) : NULL;
    if (out != NULL && !o->no_bias)
        out = layer_op_bias(net, "sequence_conv", name, out, 1, out->dims.rank, o->bias_attr);
    out = layer_op_activate(net, "sequence_conv", name, out, o->act, NULL);
    mem_free(name);
    return out;
}

sl_var *sl_sequence_pool_padded(sl_net *net, sl_var *input, const char *pool_type, bool is_test,
                                double pad_value)
{
    char upper[POOL_TYPE_MAX] = "";
    size_t length = pool_type ? strlen(pool_type) : 0;
    if (length == 0 || length >= sizeof upper)
        return layer_op_refuse(net, "sequence_pool", "pool_type %s is not known",
                               pool_type ? pool_type : "(NULL)");
    for (size_t i = 0; i <= length; i++)
        upper[i] = (char)(pool_type[i] >= 'a' && pool_type[i] <= 'z' ? pool_type[i] - 'a' + 'A'
                                                                     : pool_type[i]);
    return layer_op_append(net,
                           &(struct layer_op){.layer = "sequence_pool",
                                              .in = {{"X", input}},
                                              .attrs = {LAYER_OP_TEXT("pooltype", upper),
                                                        LAYER_OP_BOOL("is_test", is_test),
                                                        LAYER_OP_FLOAT("pad_value", pad_value)},
                                              .out = {{"Out"}, {"MaxIndex"}}},
                           NULL);
}

sl_var *sl_sequence_pool(sl_net *net, sl_var *input, const char *pool_type)
{
    return sl_sequence_pool_padded(net, input, pool_type, false, 0.0);
}

sl_var *sl_sequence_first_step(sl_net *net, sl_var *input)
{
    return sl_sequence_pool(net, input, "first");
}

sl_var *sl_sequence_last_step(sl_net *net, sl_var *input)
{
    return sl_sequence_pool(net, input, "last");
}

sl_var *sl_sequence_conv_pool(sl_net *net, sl_var *input, int64_t num_filters, int64_t filter_size,
                              const char *act, const char *pool_type,
                              const struct sl_param_attr *param_attr,
                              const struct sl_param_attr *bias_attr)
{
    struct sl_sequence_conv_options conv = sl_sequence_conv_defaults();
    conv.filter_size = filter_size;
    conv.act = act;
    conv.param_attr = param_attr;
    conv.bias_attr = bias_attr;
    return sl_sequence_pool(net, sl_sequence_conv(net, input, num_filters, &conv), pool_type);
}

sl_var *sl_row_conv(sl_net *net, sl_var *input, int future_context_size,
                    const struct sl_param_attr *param_attr, const char *act)
{
    if (!layers_ok(net, "row_conv", (const sl_var *const[]){input}, 1))
        return NULL;
    int rank = input->dims.rank;
    if (rank < 2 || input->dims.d[rank - 1] < 1 || future_context_size < 0 ||
        future_context_size == INT_MAX)
        return layer_op_refuse(net, "row_conv", "%d rows ahead over %s", future_context_size,
                               input->name);
    const struct sl_shape shape = {
        .rank = 2, .d = {(int64_t)future_context_size + 1, input->dims.d[rank - 1]}};
    char *name = unique_name_next(&net->names, "row_conv");
    struct var_desc *filter = layers_parameter(net, "row_conv", name, "w", param_attr, &shape,
                                               input->dtype, sl_xavier(true, 0, 0, 0));
    const struct layer_op op = {.layer = "row_conv",
                                .name = name,
                                .in = {{"X", input}, {"Filter", filter}},
                                .out = {{"Out"}}};
    sl_var *out = filter ? layer_op_append(net, &op, NULL) : NULL;
    out = layer_op_activate(net, "row_conv", name, out, act, NULL);
    mem_free(name);
    return out;
}

struct sl_im2sequence_options sl_im2sequence_defaults(void)
{
    return (struct sl_im2sequence_options){.stride = {1, 1}, .out_stride = {1, 1}};
}

sl_var *sl_im2sequence(sl_net *net, sl_var *input, int filter_height, int filter_width,
                       const struct sl_im2sequence_options *options)
{
    const struct sl_im2sequence_options defaults = sl_im2sequence_defaults();
    const struct sl_im2sequence_options *o = options ? options : &defaults;
    const int64_t kernels[] = {filter_height, filter_width};
    const int64_t strides[] = {o->stride[0], o->stride[1]};
    const int64_t paddings[] = {o->padding[0], o->padding[1], o->padding[2], o->padding[3]};
    const int64_t out_stride[] = {o->out_stride[0], o->out_stride[1]};
    struct layer_op op = {.layer = "im2sequence",
                          .in = {{"X", input}, {"Y", o->input_image_size, .optional = true}},
                          .attrs = {LAYER_OP_INTS("kernels", kernels, 2),
                                    LAYER_OP_INTS("strides", strides, 2),
                                    LAYER_OP_INTS("paddings", paddings, 4)},
                          .out = {{"Out"}}};
    if (o->input_image_size != NULL)
        op.attrs[3] = (struct layer_op_attr)LAYER_OP_INTS("out_stride", out_stride, 2);
    return layer_op_append(net, &op, NULL);
}

// ---- rearranging

sl_var *sl_sequence_softmax(sl_net *net, sl_var *input)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "sequence_softmax",
                                              .in = {{"X", input}},
                                              .attrs = {LAYER_OP_BOOL("use_cudnn", false)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_sequence_concat(sl_net *net, sl_var *const *input, size_t count)
{
    if (count == 0)
        return layer_op_refuse(net, "sequence_concat", "nothing to join");
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "sequence_concat",
                           .in = {{"X", .list = (const sl_var *const *)input, .count = count}},
                           .out = {{"Out"}}},
        NULL);
}

sl_var *sl_sequence_expand(sl_net *net, sl_var *x, sl_var *y, int ref_level)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "sequence_expand",
                                              .in = {{"X", x}, {"Y", y}},
                                              .attrs = {LAYER_OP_INT("ref_level", ref_level)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_sequence_expand_as(sl_net *net, sl_var *x, sl_var *y)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "sequence_expand_as",
                                              .in = {{"X", x}, {"Y", y}},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_sequence_pad(sl_net *net, sl_var *x, sl_var *pad_value, int maxlen, sl_var **out_length)
{
    sl_var *results[2] = {NULL, NULL};
    sl_var *out =
        layer_op_append(net,
                        &(struct layer_op){.layer = "sequence_pad",
                                           .in = {{"X", x}, {"PadValue", pad_value}},
                                           .attrs = {LAYER_OP_INT("padded_length", maxlen)},
                                           .out = {{"Out"}, {"Length", SL_INT64, true}}},
                        results);
    if (out != NULL)
        pad_value->stop_gradient = true;
    if (out_length != NULL)
        *out_length = results[1];
    return out;
}

sl_var *sl_sequence_unpad(sl_net *net, sl_var *x, sl_var *length)
{
    if (length != NULL)
        length->stop_gradient = true;
    return layer_op_append(net,
                           &(struct layer_op){.layer = "sequence_unpad",
                                              .in = {{"X", x}, {"Length", length}},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_sequence_reshape(sl_net *net, sl_var *input, int new_dim)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "sequence_reshape",
                                              .in = {{"X", input}},
                                              .attrs = {LAYER_OP_INT("new_dim", new_dim)},
                                              .out = {{"Out"}}},
                           NULL);
}

sl_var *sl_sequence_reverse(sl_net *net, sl_var *x)
{
    return of_one(net, "sequence_reverse", x, "Y");
}

sl_var *sl_sequence_slice(sl_net *net, sl_var *input, sl_var *offset, sl_var *length)
{
    if (offset != NULL)
        offset->stop_gradient = true;
    if (length != NULL)
        length->stop_gradient = true;
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "sequence_slice",
                           .in = {{"X", input}, {"Offset", offset}, {"Length", length}},
                           .out = {{"Out"}}},
        NULL);
}

sl_var *sl_sequence_scatter(sl_net *net, sl_var *input, sl_var *index, sl_var *updates)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "sequence_scatter",
                           .in = {{"X", input}, {"Ids", index}, {"Updates", updates}},
                           .out = {{"Out"}}},
        NULL);
}

sl_var *sl_sequence_enumerate(sl_net *net, sl_var *input, int win_size, int pad_value)
{
    return layer_op_append(net,
                           &(struct layer_op){.layer = "sequence_enumerate",
                                              .in = {{"X", input}},
                                              .attrs = {LAYER_OP_INT("win_size", win_size),
                                                        LAYER_OP_INT("pad_value", pad_value)},
                                              .out = {{"Out", .stop_gradient = true}}},
                           NULL);
}

static sl_var *mask(sl_net *net, sl_var *x, sl_var *by, int maxlen, enum sl_dtype dtype)
{
    struct layer_op op = {
        .layer = "sequence_mask",
        .in = {{"X", x}, {"MaxLenTensor", by, .optional = true}},
        .attrs = {LAYER_OP_INT("out_dtype", dtype)},
        .out = {{"Y", dtype == SL_BOOL ? LAYER_OP_BOOL_DTYPE : (int)dtype, true}}};
    if (by == NULL && maxlen != -1)
        op.attrs[1] = (struct layer_op_attr)LAYER_OP_INT("maxlen", maxlen);
    return layer_op_append(net, &op, NULL);
}

sl_var *sl_sequence_mask(sl_net *net, sl_var *x, int maxlen, enum sl_dtype dtype)
{
    return mask(net, x, NULL, maxlen, dtype);
}

sl_var *sl_sequence_mask_by(sl_net *net, sl_var *x, sl_var *maxlen, enum sl_dtype dtype)
{
    if (maxlen == NULL)
        return layer_op_refuse(net, "sequence_mask", "input maxlen is missing (NULL)");
    return mask(net, x, maxlen, -1, dtype);
}

// lod_reset by a variable, or by count numbers when y is NULL.
static sl_var *reset(sl_net *net, const char *layer, bool append, sl_var *x, sl_var *y,
                     const int64_t *numbers, size_t count)
{
    struct layer_op op = {.layer = layer,
                          .type = "lod_reset",
                          .in = {{"X", x}, {"Y", y, .optional = true}},
                          .out = {{"Out"}}};
    int n = 0;
    if (append)
        op.attrs[n++] = (struct layer_op_attr)LAYER_OP_BOOL("append", true);
    if (y == NULL)
        op.attrs[n] = (struct layer_op_attr)LAYER_OP_INTS("target_lod", numbers, count);
    if (y == NULL && count == 0)
        return layer_op_refuse(net, layer, "neither a variable nor numbers for the LoD");
    return layer_op_append(net, &op, NULL);
}

sl_var *sl_lod_reset(sl_net *net, sl_var *x, sl_var *y)
{
    return reset(net, "lod_reset", false, x, y, NULL, 0);
}

sl_var *sl_lod_reset_to(sl_net *net, sl_var *x, const int64_t *target_lod, size_t count)
{
    return reset(net, "lod_reset", false, x, NULL, target_lod, count);
}

sl_var *sl_lod_append(sl_net *net, sl_var *x, sl_var *y)
{
    return reset(net, "lod_append", true, x, y, NULL, 0);
}

sl_var *sl_lod_append_to(sl_net *net, sl_var *x, const int64_t *level, size_t count)
{
    return reset(net, "lod_append", true, x, NULL, level, count);
}

// ---- measures

struct sl_edit_distance_options sl_edit_distance_defaults(void)
{
    return (struct sl_edit_distance_options){.normalized = true};
}

// x without the ignored tokens, under the name of the layer that needs it.
static sl_var *erased(sl_net *net, const char *name, sl_var *x,
                      const struct sl_edit_distance_options *o)
{
    return layer_op_append(
        net,
        &(struct layer_op){.layer = "edit_distance",
                           .name = name,
                           .type = "sequence_erase",
                           .in = {{"X", x}},
                           .attrs = {LAYER_OP_INTS("tokens", o->ignored_tokens, o->ignored_count)},
                           .out = {{"Out", SL_INT64}}},
        NULL);
}

sl_var *sl_edit_distance(sl_net *net, sl_var *input, sl_var *label,
                         const struct sl_edit_distance_options *options, sl_var **out_sequence_num)
{
    const struct sl_edit_distance_options defaults = sl_edit_distance_defaults();
    const struct sl_edit_distance_options *o = options ? options : &defaults;
    bool padded = o->input_length != NULL && o->label_length != NULL;
    char *name = unique_name_next(&net->names, "edit_distance");
    if (o->ignored_count > 0) {
        input = erased(net, name, input, o);
        label = erased(net, name, label, o);
    }
    sl_var *results[2] = {NULL, NULL};
    sl_var *out = layer_op_append(
        net,
        &(struct layer_op){
            .layer = "edit_distance",
            .name = name,
            .in = {{"Hyps", input},
                   {"Refs", label},
                   {"HypsLength", padded ? o->input_length : NULL, .optional = true},
                   {"RefsLength", padded ? o->label_length : NULL, .optional = true}},
            .attrs = {LAYER_OP_BOOL("normalized", o->normalized)},
            .out = {{"Out", SL_INT64}, {"SequenceNum", SL_INT64}}},
        results);
    mem_free(name);
    if (out_sequence_num != NULL)
        *out_sequence_num = results[1];
    return out;
}

struct sl_chunk_eval sl_chunk_eval(sl_net *net, sl_var *input, sl_var *label, const char *scheme,
                                   int num_chunk_types, const struct sl_chunk_eval_options *options)
{
    const struct sl_chunk_eval_options none = {0}, *o = options ? options : &none;
    sl_var *v[6] = {NULL, NULL, NULL, NULL, NULL, NULL};
    layer_op_append(
        net,
        &(struct layer_op){.layer = "chunk_eval",
                           .in = {{"Inference", input},
                                  {"Label", label},
                                  {"SeqLength", o->seq_length, .optional = true}},
                           .attrs = {LAYER_OP_INT("num_chunk_types", num_chunk_types),
                                     LAYER_OP_TEXT("chunk_scheme", scheme ? scheme : ""),
                                     LAYER_OP_INTS("excluded_chunk_types", o->excluded_chunk_types,
                                                   o->excluded_count)},
                           .out = {{"Precision", SL_FP32},
                                   {"Recall", SL_FP32},
                                   {"F1-Score", SL_FP32},
                                   {"NumInferChunks", SL_INT64},
                                   {"NumLabelChunks", SL_INT64},
                                   {"NumCorrectChunks", SL_INT64}}},
        v);
    return (struct sl_chunk_eval){v[0], v[1], v[2], v[3], v[4], v[5]};
}

sl_var *sl_ctc_greedy_decoder(sl_net *net, sl_var *input, int blank, sl_var *input_length,
                              int padding_value, sl_var **out_length)
{
    sl_var *results[2] = {NULL, NULL}, *indices = NULL;
    char *name = unique_name_next(&net->names, "ctc_greedy_decoder");
    sl_topk(net, input, 1, &indices);
    struct layer_op op = {
        .layer = "ctc_greedy_decoder",
        .name = name,
        .type = "ctc_align",
        .in = {{"Input", indices}},
        .attrs = {LAYER_OP_BOOL("merge_repeated", true), LAYER_OP_INT("blank", blank)},
        .out = {{"Output", SL_INT64}}};
    if (input_length != NULL && indices != NULL) {
        op.out[0].var = layers_tmp(net, name, SL_INT64);
        op.out[1] = (struct layer_op_output){.slot = "OutputLength",
                                             .var = layers_tmp(net, name, SL_INT64)};
        op.in[0].var = sl_squeeze(net, indices, SL_SHAPE(2));
        op.in[1] = (struct layer_op_input){.slot = "InputLength", .var = input_length};
        op.attrs[2] = (struct layer_op_attr)LAYER_OP_INT("padding_value", padding_value);
    }
    sl_var *out = layer_op_append(net, &op, results);
    mem_free(name);
    if (out_length != NULL)
        *out_length = results[1];
    return out;
}

sl_var *sl_glu(sl_net *net, sl_var *input, int dim)
{
    sl_var *halves[2] = {NULL, NULL};
    if (sl_split(net, input, 2, dim, halves) != 0)
        return NULL;
    return sl_elementwise_mul(net, halves[0], sl_sigmoid(net, halves[1]), -1);
}
