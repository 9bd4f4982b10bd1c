// SPDX-License-Identifier: Apache-2.0
// LSTM over sequences: T rows in S sequences (the one level of Input's LoD), width D.
//
//   lstm    Input [T, 4D] (the product x W_x is made outside), Weight [D, 4D], Bias [1, 4D], or
//           [1, 7D] with use_peepholes; H0 and C0 [S, D]
//           Hidden, Cell [T, D]
//   lstmp   the output is projected to width P: Weight [P, 4D], ProjWeight [D, P], H0 [S, P]
//           Projection [T, P], Cell [T, D]
//
// Columns of Input, Weight and Bias: candidate, input, forget, output gate, then the peephole
// weights of input, forget and output gate. lstm_cell.h has the formulas, lstm_run.c the steps.
// BatchGate (with the order of its rows as LoD), BatchCellPreAct (which is act_s(c)) and
// BatchHidden keep activated values step by step for the gradient.
//
// As in Fluid, the projection goes through cell_activation whatever proj_activation says, unless
// that is identity. And the gradient takes dHidden (dProjection) only: what flows into Cell
// is ignored.

#include "common/base/err.h"
#include "common/ops/lstm_run.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_lstm, op_lstm_grad, op_lstm_projected, op_lstm_projected_grad;

enum { LSTM_PEEPHOLES, LSTM_REVERSE, LSTM_GATE, LSTM_CELL, LSTM_CANDIDATE };
enum { LSTM_CELL_CLIP = LSTM_CANDIDATE + 1, LSTM_PROJ_CLIP, LSTM_PROJ };
#define COMMON_ATTRS                                                                               \
    OP_ATTR_BOOL("use_peepholes", 1), OP_ATTR_BOOL("is_reverse", 0),                               \
        OP_ATTR_STRING("gate_activation", "sigmoid"), OP_ATTR_STRING("cell_activation", "tanh"),   \
        OP_ATTR_STRING("candidate_activation", "tanh")
static const struct op_attr_def lstm_attrs[] = {COMMON_ATTRS, {.name = NULL}};
static const struct op_attr_def lstmp_attrs[] = {
    COMMON_ATTRS,
    OP_ATTR_FLOAT("cell_clip", 0),
    OP_ATTR_FLOAT("proj_clip", 0),
    OP_ATTR_STRING("proj_activation", "tanh"),
    {.name = NULL},
};

// The inputs of lstm come first in every table. lstmp_grad has no Input; BatchGate has its shape.
enum { IN_INPUT, IN_H0, IN_C0, IN_WEIGHT, IN_BIAS };
#define LSTMP_IN_GATE IN_INPUT
enum { LSTM_IN_HIDDEN = IN_BIAS + 1, LSTM_IN_CELL, LSTM_IN_GATE, LSTM_IN_ACT, LSTM_IN_DHIDDEN };
enum {
    LSTMP_IN_PROJ_WEIGHT = IN_BIAS + 1,
    LSTMP_IN_PROJECTION,
    LSTMP_IN_CELL,
    LSTMP_IN_ACT,
    LSTMP_IN_HIDDEN,
    LSTMP_IN_DPROJECTION
};
#define COMMON_INPUTS(input)                                                                       \
    {input, 0}, {"H0", OP_SLOT_OPTIONAL}, {"C0", OP_SLOT_OPTIONAL}, {"Weight", 0},                 \
    {                                                                                              \
        "Bias", 0                                                                                  \
    }
static const struct op_slot_def lstm_inputs[] = {COMMON_INPUTS("Input"), {NULL, 0}};
static const struct op_slot_def lstm_grad_inputs[] = {
    COMMON_INPUTS("Input"), {"Hidden", 0},      {"Cell", 0}, {"BatchGate", 0},
    {"BatchCellPreAct", 0}, {"Hidden@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def lstmp_inputs[] = {
    COMMON_INPUTS("Input"), {"ProjWeight", 0}, {NULL, 0}};
static const struct op_slot_def lstmp_grad_inputs[] = {
    COMMON_INPUTS("BatchGate"), {"ProjWeight", 0},  {"Projection", 0},      {"Cell", 0},
    {"BatchCellPreAct", 0},     {"BatchHidden", 0}, {"Projection@GRAD", 0}, {NULL, 0}};

// Hidden or Projection first, BatchHidden last.
enum { OUT_OUT, OUT_CELL, OUT_GATE, OUT_ACT, OUT_HIDDEN };
static const struct op_slot_def lstm_outputs[] = {
    {"Hidden", 0}, {"Cell", 0}, {"BatchGate", 0}, {"BatchCellPreAct", 0}, {NULL, 0}};
static const struct op_slot_def lstmp_outputs[] = {{"Projection", 0},  {"Cell", 0},
                                                   {"BatchGate", 0},   {"BatchCellPreAct", 0},
                                                   {"BatchHidden", 0}, {NULL, 0}};
enum { GRAD_INPUT, GRAD_H0, GRAD_C0, GRAD_WEIGHT, GRAD_BIAS, GRAD_PROJ_WEIGHT };
#define COMMON_GRADS                                                                               \
    {"Input@GRAD", OP_SLOT_OPTIONAL}, {"H0@GRAD", OP_SLOT_OPTIONAL},                               \
        {"C0@GRAD", OP_SLOT_OPTIONAL}, {"Weight@GRAD", OP_SLOT_OPTIONAL},                          \
    {                                                                                              \
        "Bias@GRAD", OP_SLOT_OPTIONAL                                                              \
    }
static const struct op_slot_def lstm_grad_outputs[] = {COMMON_GRADS, {NULL, 0}};
static const struct op_slot_def lstmp_grad_outputs[] = {
    COMMON_GRADS, {"ProjWeight@GRAD", OP_SLOT_OPTIONAL}, {NULL, 0}};

static bool is_projected(const struct op_def *def)
{
    return def == &op_lstm_projected || def == &op_lstm_projected_grad;
}

// Finds D and P.
static int check_shapes(const struct op_shape *shape, int64_t *out_width, int64_t *out_out_width)
{
    const struct op_var_dims *input = op_shape_in(shape, IN_INPUT, 0);
    const struct op_var_dims *weight = op_shape_in(shape, IN_WEIGHT, 0);
    char text[DIMS_TEXT_MAX];
    if (input->dims.rank != 2 || input->dims.d[1] < 4 || input->dims.d[1] % 4 != 0)
        return err_set(shape->err, SL_EMISMATCH, "Input %s must be [rows, 4 widths]",
                       dims_format(&input->dims, text));
    if (weight->dims.rank != 2 || weight->dims.d[0] < 1)
        return err_set(shape->err, SL_EMISMATCH, "Weight %s must be a matrix",
                       dims_format(&weight->dims, text));
    int64_t d = input->dims.d[1] / 4, p = is_projected(shape->def) ? weight->dims.d[0] : d;
    bool peepholes = attr_bool(shape->attr[LSTM_PEEPHOLES]);
    if (op_shape_in(shape, IN_H0, 0) != NULL && op_shape_in(shape, IN_C0, 0) == NULL)
        return err_set(shape->err, SL_EINVAL, "H0 is given without C0");
    int rc = shape_check_matrix(shape, IN_WEIGHT, p, 4 * d);
    if (rc == 0)
        rc = shape_check_matrix(shape, IN_BIAS, 1, (peepholes ? 7 : 4) * d);
    if (rc == 0)
        rc = shape_check_matrix(shape, IN_H0, -1, p);
    if (rc == 0)
        rc = shape_check_matrix(shape, IN_C0, -1, d);
    if (rc == 0 && is_projected(shape->def))
        rc = shape_check_matrix(shape, LSTMP_IN_PROJ_WEIGHT, d, p);
    *out_width = d;
    *out_out_width = p;
    return rc;
}

static int lstm_infer(struct op_shape *shape)
{
    const struct op_var_dims *input = op_shape_in(shape, IN_INPUT, 0);
    int64_t d, p;
    int rc = check_shapes(shape, &d, &p);
    if (rc < 0)
        return rc;
    struct dims dims = {.rank = 2, .d = {input->dims.d[0], d}};
    op_shape_set(shape, OUT_CELL, 0, &dims, input->dtype, input);
    op_shape_set(shape, OUT_ACT, 0, &dims, input->dtype, NULL);
    if (is_projected(shape->def))
        op_shape_set(shape, OUT_HIDDEN, 0, &dims, input->dtype, NULL);
    dims.d[1] = p;
    op_shape_set(shape, OUT_OUT, 0, &dims, input->dtype, input);
    op_shape_set(shape, OUT_GATE, 0, &input->dims, input->dtype, NULL);
    return 0;
}

static int lstm_grad_infer(struct op_shape *shape)
{
    const int64_t rows = op_shape_in(shape, IN_INPUT, 0)->dims.d[0];
    bool projected = is_projected(shape->def);
    int64_t d, p;
    int rc = check_shapes(shape, &d, &p);
    if (rc == 0)
        rc = shape_check_matrix(shape, projected ? LSTMP_IN_PROJECTION : LSTM_IN_HIDDEN, rows, p);
    if (rc == 0)
        rc = shape_check_matrix(shape, projected ? LSTMP_IN_DPROJECTION : LSTM_IN_DHIDDEN, rows, p);
    if (rc == 0)
        rc = shape_check_matrix(shape, projected ? LSTMP_IN_CELL : LSTM_IN_CELL, rows, d);
    if (rc == 0)
        rc = shape_check_matrix(shape, projected ? LSTMP_IN_GATE : LSTM_IN_GATE, rows, 4 * d);
    if (rc == 0)
        rc = shape_check_matrix(shape, projected ? LSTMP_IN_ACT : LSTM_IN_ACT, rows, d);
    if (rc == 0 && projected)
        rc = shape_check_matrix(shape, LSTMP_IN_HIDDEN, rows, d);
    // Gradients have the shapes of the inputs, and no LoD.
    for (int s = IN_INPUT; rc == 0 && s <= (projected ? LSTMP_IN_PROJ_WEIGHT : IN_BIAS); s++) {
        const struct op_var_dims *in = op_shape_in(shape, s, 0);
        if (in != NULL)
            op_shape_set(shape, s, 0, &in->dims, in->dtype, NULL);
    }
    return rc;
}

// What both directions take from the attributes and the common inputs.
static int prepare(const struct op_ctx *ctx, struct lstm_run *run)
{
    static const int lstm_others[] = {IN_H0, IN_C0, IN_WEIGHT, IN_BIAS, -1};
    static const int lstmp_others[] = {IN_H0, IN_C0, IN_WEIGHT, IN_BIAS, LSTMP_IN_PROJ_WEIGHT, -1};
    bool projected = is_projected(ctx->def);
    *run = (struct lstm_run){.input = op_in(ctx, IN_INPUT),
                             .sequences = op_in(ctx, IN_INPUT),
                             .weight = op_in(ctx, IN_WEIGHT),
                             .bias = op_in(ctx, IN_BIAS),
                             .h0 = op_in(ctx, IN_H0),
                             .c0 = op_in(ctx, IN_C0),
                             .reverse = attr_bool(ctx->attr[LSTM_REVERSE]),
                             .width = op_in(ctx, IN_INPUT)->dims.d[1] / 4,
                             .out_width = op_in(ctx, IN_WEIGHT)->dims.d[0]};
    run->cell.width = run->width;
    int rc = shape_check_floats(ctx, projected ? lstmp_others : lstm_others);
    if (rc == 0)
        rc = gate_act_parse(ctx, ctx->attr[LSTM_GATE], &run->cell.gate);
    if (rc == 0)
        rc = gate_act_parse(ctx, ctx->attr[LSTM_CELL], &run->cell.state);
    if (rc == 0)
        rc = gate_act_parse(ctx, ctx->attr[LSTM_CANDIDATE], &run->cell.candidate);
    if (rc == 0 && projected)
        rc = gate_act_parse(ctx, ctx->attr[LSTM_PROJ], &run->proj_act);
    if (rc < 0)
        return rc;
    if (attr_bool(ctx->attr[LSTM_PEEPHOLES]))
        run->cell.check = (const char *)run->bias->data +
                          (size_t)(4 * run->width) * dtype_bytes(run->bias->dtype);
    if (projected) {
        run->proj_weight = op_in(ctx, LSTMP_IN_PROJ_WEIGHT);
        if (run->proj_act != GATE_ACT_IDENTITY)
            run->proj_act = run->cell.state;
        run->cell.clip = (double)ctx->attr[LSTM_CELL_CLIP]->f;
        run->proj_clip = (double)ctx->attr[LSTM_PROJ_CLIP]->f;
    }
    return 0;
}

static int lstm_forward(struct op_ctx *ctx)
{
    struct lstm_run run;
    int rc = prepare(ctx, &run);
    if (rc < 0)
        return rc;
    run.out = op_out(ctx, OUT_OUT);
    run.c = op_out(ctx, OUT_CELL);
    run.gates = op_out(ctx, OUT_GATE);
    run.s = op_out(ctx, OUT_ACT);
    if (is_projected(ctx->def))
        run.hidden = op_out(ctx, OUT_HIDDEN);
    return lstm_run_forward(ctx, &run);
}

static int lstm_backward(struct op_ctx *ctx)
{
    static const int lstm_others[] = {LSTM_IN_HIDDEN, LSTM_IN_CELL,    LSTM_IN_GATE,
                                      LSTM_IN_ACT,    LSTM_IN_DHIDDEN, -1};
    static const int lstmp_others[] = {LSTMP_IN_PROJECTION,
                                       LSTMP_IN_CELL,
                                       LSTMP_IN_GATE,
                                       LSTMP_IN_ACT,
                                       LSTMP_IN_DPROJECTION,
                                       LSTMP_IN_HIDDEN,
                                       -1};
    bool projected = is_projected(ctx->def);
    struct lstm_run run;
    int rc = prepare(ctx, &run);
    if (rc == 0)
        rc = shape_check_floats(ctx, projected ? lstmp_others : lstm_others);
    if (rc < 0)
        return rc;
    run.out = op_in(ctx, projected ? LSTMP_IN_PROJECTION : LSTM_IN_HIDDEN);
    run.sequences = projected ? run.out : run.input;
    run.c = op_in(ctx, projected ? LSTMP_IN_CELL : LSTM_IN_CELL);
    run.gates = op_in(ctx, projected ? LSTMP_IN_GATE : LSTM_IN_GATE);
    run.s = op_in(ctx, projected ? LSTMP_IN_ACT : LSTM_IN_ACT);
    run.hidden = projected ? op_in(ctx, LSTMP_IN_HIDDEN) : NULL;
    const struct lstm_run_grads grads = {
        .out = op_in(ctx, projected ? LSTMP_IN_DPROJECTION : LSTM_IN_DHIDDEN),
        .input = op_out(ctx, GRAD_INPUT),
        .h0 = run.h0 ? op_out(ctx, GRAD_H0) : NULL,
        .c0 = run.c0 ? op_out(ctx, GRAD_C0) : NULL,
        .weight = op_out(ctx, GRAD_WEIGHT),
        .bias = op_out(ctx, GRAD_BIAS),
        .proj_weight = projected ? op_out(ctx, GRAD_PROJ_WEIGHT) : NULL,
    };
    return lstm_run_backward(ctx, &run, &grads);
}

const struct op_def op_lstm = {
    .type = "lstm",
    .inputs = lstm_inputs,
    .outputs = lstm_outputs,
    .attrs = lstm_attrs,
    .grad = {.type = "lstm_grad",
             .inputs = "Input H0 C0 Weight Bias Hidden Cell BatchGate BatchCellPreAct Hidden@GRAD",
             .outputs = "Input@GRAD H0@GRAD C0@GRAD Weight@GRAD Bias@GRAD"},
    .infer_shape = lstm_infer,
    .kernel = lstm_forward,
    .temps = LSTM_RUN_TEMPS,
};

const struct op_def op_lstm_grad = {
    .type = "lstm_grad",
    .inputs = lstm_grad_inputs,
    .outputs = lstm_grad_outputs,
    .attrs = lstm_attrs,
    .infer_shape = lstm_grad_infer,
    .kernel = lstm_backward,
    .temps = LSTM_RUN_TEMPS,
};

const struct op_def op_lstm_projected = {
    .type = "lstmp",
    .inputs = lstmp_inputs,
    .outputs = lstmp_outputs,
    .attrs = lstmp_attrs,
    .grad = {.type = "lstmp_grad",
             .inputs = "H0 C0 Weight Bias ProjWeight Projection Cell BatchGate "
                       "BatchCellPreAct BatchHidden Projection@GRAD",
             .outputs = "Input@GRAD H0@GRAD C0@GRAD Weight@GRAD Bias@GRAD ProjWeight@GRAD"},
    .infer_shape = lstm_infer,
    .kernel = lstm_forward,
    .temps = LSTM_RUN_TEMPS,
};

const struct op_def op_lstm_projected_grad = {
    .type = "lstmp_grad",
    .inputs = lstmp_grad_inputs,
    .outputs = lstmp_grad_outputs,
    .attrs = lstmp_attrs,
    .infer_shape = lstm_grad_infer,
    .kernel = lstm_backward,
    .temps = LSTM_RUN_TEMPS,
};
