// SPDX-License-Identifier: Apache-2.0
// Recurrent layers: one operator with its parameters w and b, outputs tmp_0, tmp_1, ... in the
// order in which Fluid's Python makes them, which is not that of the slots.

#include "common/base/mem.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/program/var_desc.h"

struct sl_lstm_options sl_lstm_defaults(void)
{
    return (struct sl_lstm_options){.use_peepholes = true,
                                    .gate_activation = "sigmoid",
                                    .cell_activation = "tanh",
                                    .candidate_activation = "tanh",
                                    .proj_activation = "tanh",
                                    .dtype = SL_FP32};
}

struct sl_gru_options sl_gru_defaults(void)
{
    return (struct sl_gru_options){.gate_activation = "sigmoid", .candidate_activation = "tanh"};
}

static struct var_desc *weight(sl_net *net, const char *layer, const char *name,
                               const struct sl_param_attr *attr, int64_t rows, int64_t columns,
                               int dtype)
{
    const struct sl_shape shape = {.rank = 2, .d = {rows, columns}};
    return layers_parameter(net, layer, name, "w", attr, &shape, dtype, sl_xavier(true, 0, 0, 0));
}

static struct var_desc *bias_row(sl_net *net, const char *layer, const char *name,
                                 const struct sl_param_attr *attr, int64_t columns, int dtype)
{
    const struct sl_shape shape = {.rank = 2, .d = {1, columns}};
    return layers_parameter(net, layer, name, "b", attr, &shape, dtype, sl_constant(0.0));
}

// May gates of `size` columns, in so many parts, go over input?
static bool size_ok(sl_net *net, const char *layer, const sl_var *input, int64_t size, int parts)
{
    if (!layers_ok(net, layer, (const sl_var *const[]){input}, 1))
        return false;
    if (size >= parts && size % parts == 0)
        return true;
    layer_op_refuse(net, layer, "input %s: size must be a multiple of %d, not %lld", input->name,
                    parts, (long long)size);
    return false;
}

static struct layer_op lstm_op(const char *type, const char *name, sl_var *input,
                               const struct sl_lstm_options *o)
{
    return (struct layer_op){
        .layer = type,
        .name = name,
        .in = {{"Input", input},
               {"H0", o->h_0, .optional = true},
               {"C0", o->c_0, .optional = true}},
        .attrs = {LAYER_OP_BOOL("use_peepholes", o->use_peepholes),
                  LAYER_OP_BOOL("is_reverse", o->is_reverse),
                  LAYER_OP_TEXT("gate_activation", o->gate_activation),
                  LAYER_OP_TEXT("cell_activation", o->cell_activation),
                  LAYER_OP_TEXT("candidate_activation", o->candidate_activation)}};
}

sl_var *sl_dynamic_lstm(sl_net *net, sl_var *input, int64_t size,
                        const struct sl_lstm_options *options, sl_var **out_cell)
{
    const struct sl_lstm_options defaults = sl_lstm_defaults();
    const struct sl_lstm_options *o = options ? options : &defaults;
    const int dtype = (int)o->dtype;
    if (!size_ok(net, "lstm", input, size, 4))
        return NULL;
    char *name = o->name ? mem_must_strdup(o->name) : unique_name_next(&net->names, "lstm");
    int64_t d = size / 4;
    struct layer_op op = lstm_op("lstm", name, input, o);
    struct var_desc *w = weight(net, "lstm", name, o->param_attr, d, 4 * d, dtype), *b = NULL;
    if (w != NULL)
        b = bias_row(net, "lstm", name, o->bias_attr, (o->use_peepholes ? 7 : 4) * d, dtype);
    op.in[3] = (struct layer_op_input){.slot = "Weight", .var = w};
    op.in[4] = (struct layer_op_input){.slot = "Bias", .var = b};
    op.out[0] = (struct layer_op_output){.slot = "Hidden", .dtype = dtype};
    op.out[1] = (struct layer_op_output){.slot = "Cell", .dtype = dtype};
    op.out[2] = (struct layer_op_output){.slot = "BatchGate", .dtype = dtype};
    op.out[3] = (struct layer_op_output){.slot = "BatchCellPreAct", .dtype = dtype};
    sl_var *results[4] = {NULL};
    sl_var *hidden = b ? layer_op_append(net, &op, results) : NULL;
    mem_free(name);
    if (out_cell != NULL)
        *out_cell = hidden ? results[1] : NULL;
    return hidden;
}

sl_var *sl_dynamic_lstmp(sl_net *net, sl_var *input, int64_t size, int64_t proj_size,
                         const struct sl_lstm_options *options, sl_var **out_cell)
{
    const struct sl_lstm_options defaults = sl_lstm_defaults();
    const struct sl_lstm_options *o = options ? options : &defaults;
    const int dtype = (int)o->dtype;
    if (!size_ok(net, "lstmp", input, size, 4))
        return NULL;
    if (proj_size < 1 || o->cell_clip < 0 || o->proj_clip < 0)
        return layer_op_refuse(net, "lstmp",
                               "proj_size is %lld, cell_clip %g, proj_clip %g: too small",
                               (long long)proj_size, o->cell_clip, o->proj_clip);
    char *name = o->name ? mem_must_strdup(o->name) : unique_name_next(&net->names, "lstmp");
    int64_t d = size / 4;
    struct layer_op op = lstm_op("lstmp", name, input, o);
    struct var_desc *b = NULL, *proj = NULL;
    struct var_desc *w = weight(net, "lstmp", name, o->param_attr, proj_size, 4 * d, dtype);
    if (w != NULL)
        proj = weight(net, "lstmp", name, o->param_attr, d, proj_size, dtype);
    if (proj != NULL)
        b = bias_row(net, "lstmp", name, o->bias_attr, (o->use_peepholes ? 7 : 4) * d, dtype);
    op.in[3] = (struct layer_op_input){.slot = "Weight", .var = w};
    op.in[4] = (struct layer_op_input){.slot = "ProjWeight", .var = proj};
    op.in[5] = (struct layer_op_input){.slot = "Bias", .var = b};
    op.attrs[5] = (struct layer_op_attr)LAYER_OP_TEXT("proj_activation", o->proj_activation);
    op.attrs[6] = (struct layer_op_attr)LAYER_OP_FLOAT("cell_clip", o->cell_clip);
    op.attrs[7] = (struct layer_op_attr)LAYER_OP_FLOAT("proj_clip", o->proj_clip);
    // Fluid makes a third variable that no operator uses.
    sl_var *projection = NULL, *cell = NULL, *rest[3] = {NULL};
    if (b != NULL) {
        projection = layers_tmp(net, name, dtype);
        cell = layers_tmp(net, name, dtype);
        layers_tmp(net, name, dtype);
        for (int i = 0; i < 3; i++)
            rest[i] = layers_tmp(net, name, dtype);
        static const char *const slots[] = {"BatchHidden", "BatchGate", "BatchCellPreAct"};
        op.out[0] = (struct layer_op_output){.slot = "Projection", .var = projection};
        op.out[1] = (struct layer_op_output){.slot = "Cell", .var = cell};
        for (int i = 0; i < 3; i++)
            op.out[2 + i] = (struct layer_op_output){.slot = slots[i], .var = rest[i]};
        projection = layer_op_append(net, &op, NULL);
    }
    mem_free(name);
    if (out_cell != NULL)
        *out_cell = projection ? cell : NULL;
    return projection;
}

sl_var *sl_dynamic_gru(sl_net *net, sl_var *input, int64_t size,
                       const struct sl_gru_options *options)
{
    const struct sl_gru_options defaults = sl_gru_defaults();
    const struct sl_gru_options *o = options ? options : &defaults;
    if (!size_ok(net, "gru", input, size, 1))
        return NULL;
    char *name = unique_name_next(&net->names, "gru");
    struct var_desc *b = NULL;
    struct var_desc *w = weight(net, "gru", name, o->param_attr, size, 3 * size, input->dtype);
    if (w != NULL && !o->no_bias)
        b = bias_row(net, "gru", name, o->bias_attr, 3 * size, input->dtype);
    const struct layer_op op = {
        .layer = "gru",
        .name = name,
        .in = {{"Input", input},
               {"Weight", w},
               {"Bias", b, .optional = o->no_bias},
               {"H0", o->h_0, .optional = true}},
        .attrs = {LAYER_OP_BOOL("is_reverse", o->is_reverse),
                  LAYER_OP_TEXT("gate_activation", o->gate_activation),
                  LAYER_OP_TEXT("activation", o->candidate_activation),
                  LAYER_OP_BOOL("origin_mode", o->origin_mode)},
        .out = {{"Hidden"}, {"BatchGate"}, {"BatchResetHiddenPrev"}, {"BatchHidden"}}};
    sl_var *hidden = w && (b || o->no_bias) ? layer_op_append(net, &op, NULL) : NULL;
    mem_free(name);
    return hidden;
}

struct sl_gru_unit sl_gru_unit(sl_net *net, sl_var *input, sl_var *hidden, int64_t size,
                               const struct sl_gru_options *options)
{
    const struct sl_gru_options defaults = sl_gru_defaults();
    const struct sl_gru_options *o = options ? options : &defaults;
    struct sl_gru_unit unit = {NULL};
    if (!size_ok(net, "gru_unit", input, size, 3))
        return unit;
    char *name = unique_name_next(&net->names, "gru_unit");
    struct var_desc *b = NULL, *w;
    w = weight(net, "gru_unit", name, o->param_attr, size / 3, size, input->dtype);
    // As in Fluid, its operator always has tanh and sigmoid.
    if (w != NULL && !o->no_bias)
        b = bias_row(net, "gru_unit", name, o->bias_attr, size, input->dtype);
    const struct layer_op op = {.layer = "gru_unit",
                                .name = name,
                                .in = {{"Input", input},
                                       {"HiddenPrev", hidden},
                                       {"Weight", w},
                                       {"Bias", b, .optional = o->no_bias}},
                                .attrs = {LAYER_OP_INT("activation", 2),
                                          LAYER_OP_INT("gate_activation", 1),
                                          LAYER_OP_BOOL("origin_mode", o->origin_mode)},
                                .out = {{"Gate"}, {"ResetHiddenPrev"}, {"Hidden"}}};
    sl_var *results[3] = {NULL};
    if (w && (b || o->no_bias) && layer_op_append(net, &op, results) != NULL)
        unit = (struct sl_gru_unit){results[2], results[1], results[0]};
    mem_free(name);
    return unit;
}

sl_var *sl_lstm_unit(sl_net *net, sl_var *x, sl_var *hidden, sl_var *cell, double forget_bias,
                     const struct sl_fc_options *options, sl_var **out_cell)
{
    struct sl_fc_options fc = options ? *options : sl_fc_defaults();
    sl_var *const parts[] = {x, hidden};
    if (out_cell != NULL)
        *out_cell = NULL;
    if (!layers_ok(net, "lstm_unit", (const sl_var *const[]){x, hidden, cell}, 3))
        return NULL;
    if (x->dims.rank != 2 || hidden->dims.rank != 2 || cell->dims.rank != 2 ||
        cell->dims.d[1] < 1 || hidden->dims.d[1] != cell->dims.d[1])
        return layer_op_refuse(net, "lstm_unit",
                               "%s, %s and %s must be matrices, the last two of one width", x->name,
                               hidden->name, cell->name);
    char *name = unique_name_next(&net->names, "lstm_unit");
    sl_var *gates = sl_fc(net, sl_concat(net, parts, 2, 1), 4 * cell->dims.d[1], &fc);
    const struct layer_op op = {.layer = "lstm_unit",
                                .name = name,
                                .in = {{"X", gates}, {"C_prev", cell}},
                                .attrs = {LAYER_OP_FLOAT("forget_bias", forget_bias)},
                                .out = {{"C", x->dtype}, {"H", x->dtype}}};
    sl_var *results[2] = {NULL};
    if (gates != NULL)
        layer_op_append(net, &op, results);
    mem_free(name);
    if (out_cell != NULL)
        *out_cell = results[0];
    return results[1];
}
