// SPDX-License-Identifier: Apache-2.0
// GRU over sequences: T rows in S sequences (the one level of Input's LoD), width D.
//
//   gru   Input [T, 3D] (the product x W_x is made outside), Weight [D, 3D], Bias [1, 3D] or none,
//         H0 [S, D] or none; Hidden [T, D]
//
// gru_cell.h has the formulas. Steps are batched over the sequences (seq_batch.h): BatchGate (with
// the order of its rows as LoD), BatchResetHiddenPrev and BatchHidden keep what the gradient needs,
// step by step. Backward goes through the steps from the last one; the gradient of Weight is one
// product over all rows at the end.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/gru_cell.h"
#include "common/ops/rnn.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_gru, op_gru_grad;

enum { GRU_ACTIVATION, GRU_GATE, GRU_REVERSE, GRU_ORIGIN };
static const struct op_attr_def gru_attrs[] = {
    OP_ATTR_STRING("activation", "tanh"),
    OP_ATTR_STRING("gate_activation", "sigmoid"),
    OP_ATTR_BOOL("is_reverse", 0),
    OP_ATTR_BOOL("origin_mode", 0),
    {.name = NULL},
};

enum {
    GRU_INPUT,
    GRU_H0,
    GRU_WEIGHT,
    GRU_BIAS,
    GRU_IN_GATE,
    GRU_IN_RESET,
    GRU_IN_BATCH_HIDDEN,
    GRU_IN_HIDDEN,
    GRU_IN_DHIDDEN
};
#define GRU_INPUTS                                                                                 \
    {"Input", 0}, {"H0", OP_SLOT_OPTIONAL}, {"Weight", 0},                                         \
    {                                                                                              \
        "Bias", OP_SLOT_OPTIONAL                                                                   \
    }
static const struct op_slot_def gru_inputs[] = {GRU_INPUTS, {NULL, 0}};
static const struct op_slot_def gru_grad_inputs[] = {
    GRU_INPUTS,         {"BatchGate", 0}, {"BatchResetHiddenPrev", 0},
    {"BatchHidden", 0}, {"Hidden", 0},    {"Hidden@GRAD", 0},
    {NULL, 0}};
enum { GRU_OUT_GATE, GRU_OUT_RESET, GRU_OUT_BATCH_HIDDEN, GRU_OUT_HIDDEN };
static const struct op_slot_def gru_outputs[] = {
    {"BatchGate", 0}, {"BatchResetHiddenPrev", 0}, {"BatchHidden", 0}, {"Hidden", 0}, {NULL, 0}};
static const struct op_slot_def gru_grad_outputs[] = {{"Input@GRAD", OP_SLOT_OPTIONAL},
                                                      {"H0@GRAD", OP_SLOT_OPTIONAL},
                                                      {"Weight@GRAD", OP_SLOT_OPTIONAL},
                                                      {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                      {NULL, 0}};

enum {
    TEMP_INDEX,
    TEMP_H0,
    TEMP_DOUT,
    TEMP_DGATES,
    TEMP_DRESET,
    TEMP_DH0,
    TEMP_BEFORE,
    TEMP_GATES,
    TEMP_CANDIDATE,
    GRU_TEMPS
};

// What the steps of both directions share.
struct gru {
    struct gru_cell cell;
    struct seq_batch batch;
    enum dtype dtype;
    struct gru_cell_weights weights;
    void *h0, *gates, *reset, *out;   // step by step
};

static int check_shapes(const struct op_shape *shape, int64_t *out_width)
{
    const struct op_var_dims *input = op_shape_in(shape, GRU_INPUT, 0);
    char text[DIMS_TEXT_MAX];
    if (input->dims.rank != 2 || input->dims.d[1] < 3 || input->dims.d[1] % 3 != 0)
        return err_set(shape->err, SL_EMISMATCH, "Input %s must be [rows, 3 widths]",
                       dims_format(&input->dims, text));
    int64_t d = input->dims.d[1] / 3;
    int rc = shape_check_matrix(shape, GRU_WEIGHT, d, 3 * d);
    if (rc == 0)
        rc = shape_check_matrix(shape, GRU_BIAS, 1, 3 * d);
    if (rc == 0)
        rc = shape_check_matrix(shape, GRU_H0, -1, d);
    *out_width = d;
    return rc;
}

static int gru_infer(struct op_shape *shape)
{
    const struct op_var_dims *input = op_shape_in(shape, GRU_INPUT, 0);
    int64_t d;
    int rc = check_shapes(shape, &d);
    if (rc < 0)
        return rc;
    const struct dims dims = {.rank = 2, .d = {input->dims.d[0], d}};
    op_shape_set(shape, GRU_OUT_GATE, 0, &input->dims, input->dtype, NULL);
    op_shape_set(shape, GRU_OUT_RESET, 0, &dims, input->dtype, NULL);
    op_shape_set(shape, GRU_OUT_BATCH_HIDDEN, 0, &dims, input->dtype, NULL);
    op_shape_set(shape, GRU_OUT_HIDDEN, 0, &dims, input->dtype, input);
    return 0;
}

static int gru_grad_infer(struct op_shape *shape)
{
    const int64_t rows = op_shape_in(shape, GRU_INPUT, 0)->dims.d[0];
    int64_t d;
    int rc = check_shapes(shape, &d);
    if (rc == 0)
        rc = shape_check_matrix(shape, GRU_IN_GATE, rows, 3 * d);
    for (int s = GRU_IN_RESET; rc == 0 && s <= GRU_IN_DHIDDEN; s++)
        rc = shape_check_matrix(shape, s, rows, d);
    // Gradients have the shapes of the inputs, and no LoD.
    for (int s = GRU_INPUT; rc == 0 && s <= GRU_BIAS; s++) {
        const struct op_var_dims *in = op_shape_in(shape, s, 0);
        if (in != NULL)
            op_shape_set(shape, s, 0, &in->dims, in->dtype, NULL);
    }
    return rc;
}

static int prepare(struct op_ctx *ctx, bool backward, struct gru *gru)
{
    static const int others[] = {GRU_H0, GRU_WEIGHT, GRU_BIAS, -1};
    const struct tensor *input = op_in(ctx, GRU_INPUT);
    *gru = (struct gru){
        .cell = {.width = input->dims.d[1] / 3, .origin_mode = attr_bool(ctx->attr[GRU_ORIGIN])},
        .dtype = input->dtype};
    int rc = shape_check_floats(ctx, others);
    if (rc == 0)
        rc = gate_act_parse(ctx, ctx->attr[GRU_ACTIVATION], &gru->cell.candidate);
    if (rc == 0)
        rc = gate_act_parse(ctx, ctx->attr[GRU_GATE], &gru->cell.gate);
    if (rc == 0)
        rc = seq_batch_make(ctx, "Input", input, attr_bool(ctx->attr[GRU_REVERSE]),
                            &ctx->temps[TEMP_INDEX], &gru->batch);
    if (rc == 0)
        rc = rnn_order(ctx, &gru->batch, "H0", op_in(ctx, GRU_H0), TEMP_H0, &gru->h0);
    if (rc < 0)
        return rc;
    gru->weights = gru_cell_weights(&gru->cell, op_in(ctx, GRU_WEIGHT), backward);
    rc = rnn_pack(ctx, TEMP_GATES, gru->batch.steps - 1, &gru->weights.gates);
    if (rc == 0)
        rc = rnn_pack(ctx, TEMP_CANDIDATE, gru->batch.steps - 1, &gru->weights.candidate);
    return rc;
}

static struct gru_cell_step step_of(const struct gru *gru, int64_t n)
{
    const int64_t d = gru->cell.width, at = gru->batch.starts[n];
    const int64_t earlier = n > 0 ? gru->batch.starts[n - 1] : 0;
    return (struct gru_cell_step){
        .rows = seq_batch_rows_of(&gru->batch, n),
        .dtype = gru->dtype,
        .gates = rnn_at(gru->gates, at * 3 * d, gru->dtype),
        .reset = rnn_at(gru->reset, at * d, gru->dtype),
        .out = rnn_at(gru->out, at * d, gru->dtype),
        .before = n > 0 ? rnn_at(gru->out, earlier * d, gru->dtype) : gru->h0,
        .weights = &gru->weights,
    };
}

static int gru_forward(struct op_ctx *ctx)
{
    struct gru gru;
    struct tensor *gates = op_out(ctx, GRU_OUT_GATE), *hidden = op_out(ctx, GRU_OUT_HIDDEN);
    struct tensor *out = op_out(ctx, GRU_OUT_BATCH_HIDDEN);
    int rc = prepare(ctx, false, &gru);
    if (rc == 0)
        rc = seq_batch_mark(ctx, &gru.batch, gates);
    if (rc == 0)
        rc = seq_batch_mark(ctx, &gru.batch, out);
    if (rc < 0)
        return rc;
    const int64_t d = gru.cell.width;
    gru.gates = gates->data;
    gru.reset = op_out(ctx, GRU_OUT_RESET)->data;
    gru.out = out->data;
    rnn_gather(&gru.batch, gates, op_in(ctx, GRU_INPUT), op_in(ctx, GRU_BIAS), 3 * d);
    for (int64_t n = 0; n < gru.batch.steps; n++) {
        struct gru_cell_step step = step_of(&gru, n);
        gru_cell_forward(&gru.cell, &step);
    }
    seq_batch_scatter(&gru.batch, hidden->data, gru.out, (size_t)d * dtype_bytes(gru.dtype));
    return 0;
}

// The gradients of Hidden and of H0 (if there is one), step by step; room for those of the gates.
static int begin_back(struct op_ctx *ctx, const struct gru *gru, struct gru_cell_back *back,
                      void **out_dh0)
{
    const int64_t d = gru->cell.width, rows = gru->batch.rows, sequences = gru->batch.sequences;
    const size_t bytes = (size_t)d * dtype_bytes(gru->dtype);
    void *dout = NULL;
    int rc = rnn_temp(ctx, TEMP_DOUT, gru->dtype, rows, d, &dout);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_DGATES, gru->dtype, rows, 3 * d, &back->dgates);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_DRESET, gru->dtype, sequences, d, &back->dreset);
    if (rc == 0 && gru->h0 != NULL)
        rc = rnn_temp(ctx, TEMP_DH0, gru->dtype, sequences, d, out_dh0);
    if (rc < 0)
        return rc;
    seq_batch_gather(&gru->batch, dout, op_in(ctx, GRU_IN_DHIDDEN)->data, bytes);
    if (gru->h0 != NULL && sequences > 0)
        memset(*out_dh0, 0, (size_t)sequences * bytes);
    back->dout = dout;
    return 0;
}

// All rows from step 1 on in one product, then those of step 0 if there is an H0.
static int weight_gradient(struct op_ctx *ctx, const struct gru *gru, const void *dgates,
                           struct tensor *dweight)
{
    const int64_t d = gru->cell.width, rows = gru->batch.rows;
    const int64_t first = gru->batch.steps > 0 ? gru->batch.starts[1] : 0;
    void *before = NULL;
    int rc = rnn_temp(ctx, TEMP_BEFORE, gru->dtype, rows, d, &before);
    if (rc < 0)
        return rc;
    seq_batch_gather_before(&gru->batch, before, op_in(ctx, GRU_IN_HIDDEN)->data,
                            (size_t)d * dtype_bytes(gru->dtype));
    struct gru_cell_step step = {.rows = rows - first,
                                 .dtype = gru->dtype,
                                 .before = before,
                                 .reset = rnn_at(gru->reset, first * d, gru->dtype)};
    gru_cell_weight(&gru->cell, &step, rnn_at(dgates, first * 3 * d, gru->dtype), false,
                    dweight->data);
    step = (struct gru_cell_step){
        .rows = first, .dtype = gru->dtype, .before = gru->h0, .reset = gru->reset};
    if (gru->h0 != NULL && first > 0)
        gru_cell_weight(&gru->cell, &step, dgates, true, dweight->data);
    return 0;
}

static int gru_backward(struct op_ctx *ctx)
{
    static const int others[] = {GRU_IN_GATE,   GRU_IN_RESET,   GRU_IN_BATCH_HIDDEN,
                                 GRU_IN_HIDDEN, GRU_IN_DHIDDEN, -1};
    struct gru gru;
    struct gru_cell_back back = {0};
    void *dh0 = NULL;
    int rc = prepare(ctx, true, &gru);
    if (rc == 0)
        rc = shape_check_floats(ctx, others);
    if (rc == 0)
        rc = begin_back(ctx, &gru, &back, &dh0);
    if (rc < 0)
        return rc;
    const int64_t d = gru.cell.width;
    void *dout = ctx->temps[TEMP_DOUT].data, *dgates = back.dgates;
    gru.gates = op_in(ctx, GRU_IN_GATE)->data;
    gru.reset = op_in(ctx, GRU_IN_RESET)->data;
    gru.out = op_in(ctx, GRU_IN_BATCH_HIDDEN)->data;
    for (int64_t n = gru.batch.steps - 1; n >= 0; n--) {
        struct gru_cell_step step = step_of(&gru, n);
        int64_t at = gru.batch.starts[n], earlier = n > 0 ? gru.batch.starts[n - 1] : 0;
        back.dout = rnn_at(dout, at * d, gru.dtype);
        back.dgates = rnn_at(dgates, at * 3 * d, gru.dtype);
        back.dbefore = n > 0 ? rnn_at(dout, earlier * d, gru.dtype) : dh0;
        gru_cell_backward(&gru.cell, &step, &back);
    }
    struct tensor *dinput = op_out(ctx, GRU_INPUT), *dstate = op_out(ctx, GRU_H0);
    struct tensor *dweight = op_out(ctx, GRU_WEIGHT), *dbias = op_out(ctx, GRU_BIAS);
    if (dinput != NULL)
        seq_batch_scatter(&gru.batch, dinput->data, dgates,
                          (size_t)(3 * d) * dtype_bytes(gru.dtype));
    if (dbias != NULL)
        rnn_sum_rows(gru.dtype, gru.batch.rows, 3 * d, dgates, dbias->data);
    if (dstate != NULL && dh0 != NULL)
        rnn_put_state(&gru.batch, dstate, dh0);
    return dweight != NULL ? weight_gradient(ctx, &gru, dgates, dweight) : 0;
}

const struct op_def op_gru = {
    .type = "gru",
    .inputs = gru_inputs,
    .outputs = gru_outputs,
    .attrs = gru_attrs,
    .grad = {.type = "gru_grad",
             .inputs = "Input H0 Weight Bias BatchGate BatchResetHiddenPrev BatchHidden Hidden "
                       "Hidden@GRAD",
             .outputs = "Input@GRAD H0@GRAD Weight@GRAD Bias@GRAD"},
    .infer_shape = gru_infer,
    .kernel = gru_forward,
    .temps = GRU_TEMPS,
};

const struct op_def op_gru_grad = {
    .type = "gru_grad",
    .inputs = gru_grad_inputs,
    .outputs = gru_grad_outputs,
    .attrs = gru_attrs,
    .infer_shape = gru_grad_infer,
    .kernel = gru_backward,
    .temps = GRU_TEMPS,
};
