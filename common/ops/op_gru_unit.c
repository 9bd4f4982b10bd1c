// SPDX-License-Identifier: Apache-2.0
// One time step of GRU: B rows, width D; gru_cell.h has the formulas.
//
//   gru_unit   Input [B, 3D] (the product x W_x is made outside), HiddenPrev [B, D],
//              Weight [D, 3D], Bias [1, 3D] or none
//              Gate [B, 3D] activated, ResetHiddenPrev [B, D], Hidden [B, D]
//
// Activations are numbers: 0 identity, 1 sigmoid, 2 tanh, 3 relu.

#include <string.h>

#include "common/base/err.h"
#include "common/ops/gru_cell.h"
#include "common/ops/rnn.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_gru_unit, op_gru_unit_grad;

enum { UNIT_ACTIVATION, UNIT_GATE_ACTIVATION, UNIT_ORIGIN };
static const struct op_attr_def unit_attrs[] = {
    OP_ATTR_INT("activation", 2),
    OP_ATTR_INT("gate_activation", 1),
    OP_ATTR_BOOL("origin_mode", 0),
    {.name = NULL},
};

enum { UNIT_INPUT, UNIT_HIDDEN_PREV, UNIT_WEIGHT, UNIT_BIAS, UNIT_IN_GATE, UNIT_IN_RESET };
enum { UNIT_IN_DHIDDEN = UNIT_IN_RESET + 1 };
#define UNIT_INPUTS                                                                                \
    {"Input", 0}, {"HiddenPrev", 0}, {"Weight", 0},                                                \
    {                                                                                              \
        "Bias", OP_SLOT_OPTIONAL                                                                   \
    }
static const struct op_slot_def unit_inputs[] = {UNIT_INPUTS, {NULL, 0}};
static const struct op_slot_def unit_grad_inputs[] = {
    UNIT_INPUTS, {"Gate", 0}, {"ResetHiddenPrev", 0}, {"Hidden@GRAD", 0}, {NULL, 0}};
enum { UNIT_GATE, UNIT_RESET, UNIT_HIDDEN };
static const struct op_slot_def unit_outputs[] = {
    {"Gate", 0}, {"ResetHiddenPrev", 0}, {"Hidden", 0}, {NULL, 0}};
static const struct op_slot_def unit_grad_outputs[] = {{"Input@GRAD", OP_SLOT_OPTIONAL},
                                                       {"HiddenPrev@GRAD", OP_SLOT_OPTIONAL},
                                                       {"Weight@GRAD", OP_SLOT_OPTIONAL},
                                                       {"Bias@GRAD", OP_SLOT_OPTIONAL},
                                                       {NULL, 0}};

enum { TEMP_DGATES, TEMP_DRESET, UNIT_TEMPS };

static int check_shapes(const struct op_shape *shape)
{
    const struct op_var_dims *input = op_shape_in(shape, UNIT_INPUT, 0);
    const struct op_var_dims *before = op_shape_in(shape, UNIT_HIDDEN_PREV, 0);
    char text[DIMS_TEXT_MAX];
    if (before->dims.rank != 2 || before->dims.d[1] < 1)
        return err_set(shape->err, SL_EMISMATCH, "HiddenPrev %s must be [rows, width]",
                       dims_format(&before->dims, text));
    int64_t d = before->dims.d[1];
    int rc = shape_check_matrix(shape, UNIT_INPUT, before->dims.d[0], 3 * d);
    if (rc == 0 && input->dims.d[0] >= 0)
        rc = shape_check_matrix(shape, UNIT_HIDDEN_PREV, input->dims.d[0], d);
    if (rc == 0)
        rc = shape_check_matrix(shape, UNIT_WEIGHT, d, 3 * d);
    if (rc == 0)
        rc = shape_check_matrix(shape, UNIT_BIAS, 1, 3 * d);
    return rc;
}

static int unit_infer(struct op_shape *shape)
{
    const struct op_var_dims *input = op_shape_in(shape, UNIT_INPUT, 0);
    int rc = check_shapes(shape);
    if (rc < 0)
        return rc;
    const struct dims dims = {.rank = 2, .d = {input->dims.d[0], input->dims.d[1] / 3}};
    op_shape_set(shape, UNIT_GATE, 0, &input->dims, input->dtype, NULL);
    op_shape_set(shape, UNIT_RESET, 0, &dims, input->dtype, NULL);
    op_shape_set(shape, UNIT_HIDDEN, 0, &dims, input->dtype, NULL);
    return 0;
}

static int unit_grad_infer(struct op_shape *shape)
{
    int rc = check_shapes(shape);
    if (rc < 0)
        return rc;
    const struct dims *input = &op_shape_in(shape, UNIT_INPUT, 0)->dims;
    int64_t rows = input->d[0], d = input->d[1] / 3;
    rc = shape_check_matrix(shape, UNIT_IN_GATE, rows, 3 * d);
    if (rc == 0)
        rc = shape_check_matrix(shape, UNIT_IN_RESET, rows, d);
    if (rc == 0)
        rc = shape_check_matrix(shape, UNIT_IN_DHIDDEN, rows, d);
    for (int s = UNIT_INPUT; rc == 0 && s <= UNIT_BIAS; s++) {
        const struct op_var_dims *in = op_shape_in(shape, s, 0);
        if (in != NULL)
            op_shape_set(shape, s, 0, &in->dims, in->dtype, NULL);
    }
    return rc;
}

static int parse(const struct op_ctx *ctx, int attr, enum gate_act *out)
{
    static const enum gate_act acts[] = {GATE_ACT_IDENTITY, GATE_ACT_SIGMOID_FULL, GATE_ACT_TANH,
                                         GATE_ACT_RELU};
    int64_t i = ctx->attr[attr]->i;
    if (i < 0 || i > 3)
        return err_set(ctx->err, SL_EINVAL,
                       "%s %lld is not 0 (identity), 1 (sigmoid), 2 (tanh) or "
                       "3 (relu)",
                       ctx->attr[attr]->name, (long long)i);
    *out = acts[i];
    return 0;
}

static int prepare(const struct op_ctx *ctx, struct gru_cell *cell)
{
    static const int others[] = {UNIT_HIDDEN_PREV, UNIT_WEIGHT, UNIT_BIAS, -1};
    *cell = (struct gru_cell){.width = op_in(ctx, UNIT_HIDDEN_PREV)->dims.d[1],
                              .origin_mode = attr_bool(ctx->attr[UNIT_ORIGIN])};
    int rc = shape_check_floats(ctx, others);
    if (rc == 0)
        rc = parse(ctx, UNIT_ACTIVATION, &cell->candidate);
    if (rc == 0)
        rc = parse(ctx, UNIT_GATE_ACTIVATION, &cell->gate);
    return rc;
}

static struct gru_cell_step step_of(const struct op_ctx *ctx,
                                    const struct gru_cell_weights *weights)
{
    const struct tensor *before = op_in(ctx, UNIT_HIDDEN_PREV);
    return (struct gru_cell_step){.rows = before->dims.d[0],
                                  .dtype = before->dtype,
                                  .before = before->data,
                                  .weights = weights};
}

static int unit_forward(struct op_ctx *ctx)
{
    struct gru_cell cell;
    int rc = prepare(ctx, &cell);
    if (rc < 0)
        return rc;
    struct tensor *gates = op_out(ctx, UNIT_GATE);
    const struct gru_cell_weights weights = gru_cell_weights(&cell, op_in(ctx, UNIT_WEIGHT), false);
    struct gru_cell_step step = step_of(ctx, &weights);
    step.gates = gates->data;
    step.reset = op_out(ctx, UNIT_RESET)->data;
    step.out = op_out(ctx, UNIT_HIDDEN)->data;
    rnn_add_bias(step.rows, 3 * cell.width, gates, op_in(ctx, UNIT_INPUT), op_in(ctx, UNIT_BIAS));
    if (step.rows > 0)
        gru_cell_forward(&cell, &step);
    return 0;
}

// Gradients that were not asked for are made in temporaries: the others need them.
static int unit_backward(struct op_ctx *ctx)
{
    static const int others[] = {UNIT_IN_GATE, UNIT_IN_RESET, UNIT_IN_DHIDDEN, -1};
    struct gru_cell cell;
    struct gru_cell_back back = {0};
    int rc = prepare(ctx, &cell);
    if (rc == 0)
        rc = shape_check_floats(ctx, others);
    if (rc < 0)
        return rc;
    struct tensor *dinput = op_out(ctx, UNIT_INPUT), *dbefore = op_out(ctx, UNIT_HIDDEN_PREV);
    struct tensor *dweight = op_out(ctx, UNIT_WEIGHT), *dbias = op_out(ctx, UNIT_BIAS);
    const struct gru_cell_weights weights = gru_cell_weights(&cell, op_in(ctx, UNIT_WEIGHT), true);
    struct gru_cell_step step = step_of(ctx, &weights);
    step.gates = op_in(ctx, UNIT_IN_GATE)->data;
    step.reset = op_in(ctx, UNIT_IN_RESET)->data;
    back.dout = op_in(ctx, UNIT_IN_DHIDDEN)->data;
    if (dinput != NULL)
        back.dgates = dinput->data;
    else
        rc = rnn_temp(ctx, TEMP_DGATES, step.dtype, step.rows, 3 * cell.width, &back.dgates);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_DRESET, step.dtype, step.rows, cell.width, &back.dreset);
    if (rc < 0)
        return rc;
    if (dbefore != NULL && tensor_bytes(dbefore) > 0)
        memset(dbefore->data, 0, tensor_bytes(dbefore));
    back.dbefore = dbefore ? dbefore->data : NULL;
    if (step.rows > 0)
        gru_cell_backward(&cell, &step, &back);
    if (dweight != NULL)
        gru_cell_weight(&cell, &step, back.dgates, false, dweight->data);
    if (dbias != NULL)
        rnn_sum_rows(step.dtype, step.rows, 3 * cell.width, back.dgates, dbias->data);
    return 0;
}

const struct op_def op_gru_unit = {
    .type = "gru_unit",
    .inputs = unit_inputs,
    .outputs = unit_outputs,
    .attrs = unit_attrs,
    .grad = {.type = "gru_unit_grad",
             .inputs = "Input HiddenPrev Weight Bias Gate ResetHiddenPrev Hidden@GRAD",
             .outputs = "Input@GRAD HiddenPrev@GRAD Weight@GRAD Bias@GRAD"},
    .infer_shape = unit_infer,
    .kernel = unit_forward,
};

const struct op_def op_gru_unit_grad = {
    .type = "gru_unit_grad",
    .inputs = unit_grad_inputs,
    .outputs = unit_grad_outputs,
    .attrs = unit_attrs,
    .infer_shape = unit_grad_infer,
    .kernel = unit_backward,
    .temps = UNIT_TEMPS,
};
