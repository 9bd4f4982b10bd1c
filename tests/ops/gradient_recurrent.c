// SPDX-License-Identifier: Apache-2.0
// Recurrent and structured ops for the finite-difference test. Activations are smooth ones, and no
// clip is set: where a value is held, differences and gradients part.

#include "tests/ops/gradient_subject.h"

static struct dims matrix(int64_t rows, int64_t columns)
{
    return (struct dims){.rank = 2, .d = {rows, columns}};
}

static void draw_activation(struct subject *s, const char *attr, bool bounded)
{
    static const char *const names[] = {"sigmoid", "tanh", "identity"};
    op_desc_set_string(s->op, attr, names[draw(0, bounded ? 1 : 2)]);
}

// What lstm and lstmp share, with d and p as in the op.
static void make_lstm_inputs(struct subject *s, int64_t d, int64_t p)
{
    bool peepholes = draw(0, 1) == 1, states = draw(0, 1) == 1;
    draw_sequences(s, 0);
    int64_t count = (int64_t)s->sequences.count;
    op_desc_set_bool(s->op, "use_peepholes", peepholes);
    op_desc_set_bool(s->op, "is_reverse", draw(0, 1) == 1);
    draw_activation(s, "gate_activation", true);
    draw_activation(s, "cell_activation", false);
    draw_activation(s, "candidate_activation", false);
    add_sequences(s, "Input", "input", REAL, 4 * d);
    add_input(s, "Weight", "weight", REAL, matrix(p, 4 * d));
    add_input(s, "Bias", "bias", REAL, matrix(1, (peepholes ? 7 : 4) * d));
    if (states) {
        add_input(s, "H0", "h0", REAL, matrix(count, p));
        add_input(s, "C0", "c0", REAL, matrix(count, d));
    }
}

static void make_lstm(struct subject *s)
{
    int64_t d = draw(1, 5);
    make_lstm_inputs(s, d, d);
    add_output(s, "Hidden", "hidden", true);
    add_output(s, "Cell", "cell", false);
    add_output(s, "BatchGate", "gates", false);
    add_output(s, "BatchCellPreAct", "act", false);
}

static void make_lstmp(struct subject *s)
{
    int64_t d = draw(1, 5), p = draw(1, 5);
    make_lstm_inputs(s, d, p);
    draw_activation(s, "proj_activation", false);
    add_input(s, "ProjWeight", "proj_weight", REAL, matrix(d, p));
    add_output(s, "Projection", "projection", true);
    add_output(s, "Cell", "cell", false);
    add_output(s, "BatchGate", "gates", false);
    add_output(s, "BatchCellPreAct", "act", false);
    add_output(s, "BatchHidden", "hidden", false);
}

static void make_gru(struct subject *s)
{
    int64_t d = draw(1, 5);
    draw_sequences(s, 0);
    op_desc_set_bool(s->op, "origin_mode", draw(0, 1) == 1);
    op_desc_set_bool(s->op, "is_reverse", draw(0, 1) == 1);
    draw_activation(s, "activation", false);
    draw_activation(s, "gate_activation", true);
    add_sequences(s, "Input", "input", REAL, 3 * d);
    add_input(s, "Weight", "weight", REAL, matrix(d, 3 * d));
    if (draw(0, 1))
        add_input(s, "Bias", "bias", REAL, matrix(1, 3 * d));
    if (draw(0, 1))
        add_input(s, "H0", "h0", REAL, matrix((int64_t)s->sequences.count, d));
    add_output(s, "Hidden", "hidden", true);
    add_output(s, "BatchGate", "gates", false);
    add_output(s, "BatchResetHiddenPrev", "reset", false);
    add_output(s, "BatchHidden", "batch_hidden", false);
}

static void make_gru_unit(struct subject *s)
{
    int64_t rows = draw(1, 4), d = draw(1, 5);
    op_desc_set_bool(s->op, "origin_mode", draw(0, 1) == 1);
    op_desc_set_int(s->op, "activation", draw(0, 2));
    op_desc_set_int(s->op, "gate_activation", draw(0, 2));
    add_input(s, "Input", "input", REAL, matrix(rows, 3 * d));
    add_input(s, "HiddenPrev", "before", REAL, matrix(rows, d));
    add_input(s, "Weight", "weight", REAL, matrix(d, 3 * d));
    if (draw(0, 1))
        add_input(s, "Bias", "bias", REAL, matrix(1, 3 * d));
    add_output(s, "Hidden", "hidden", true);
    add_output(s, "Gate", "gates", false);
    add_output(s, "ResetHiddenPrev", "reset", false);
}

static void make_lstm_unit(struct subject *s)
{
    int64_t rows = draw(1, 4), d = draw(1, 5);
    op_desc_set_float(s->op, "forget_bias", (float)draw(0, 2) * 0.5f);
    add_input(s, "X", "x", WIDE, matrix(rows, 4 * d));
    add_input(s, "C_prev", "before", REAL, matrix(rows, d));
    add_output(s, "C", "c", true);
    add_output(s, "H", "h", true);
}

// Packed, or padded to one row less than there are tags: a length is drawn like a label.
static void make_crf(struct subject *s)
{
    int64_t tags = draw(2, 5), count = draw(1, 4), steps = tags - 1;
    s->classes = tags;
    if (draw(0, 1)) {
        draw_sequences(s, 0);
        add_sequences(s, "Emission", "x", WIDE, tags);
        add_sequences(s, "Label", "label", LABEL, 1);
    } else {
        add_input(s, "Emission", "x", WIDE, (struct dims){.rank = 3, .d = {count, steps, tags}});
        add_input(s, "Label", "label", LABEL, matrix(count, steps));
        add_input(s, "Length", "length", LABEL, matrix(count, 1));
    }
    add_input(s, "Transition", "w", REAL, matrix(tags + 2, tags));
    add_output(s, "LogLikelihood", "cost", true);
    add_output(s, "Alpha", "alpha", false);
    add_output(s, "EmissionExps", "x_exps", false);
    add_output(s, "TransitionExps", "w_exps", false);
}

static void make_hsigmoid(struct subject *s)
{
    int64_t rows = draw(1, 5), width = draw(1, 20), nodes;
    s->classes = draw(2, 9);
    bool custom = draw(0, 1) == 1;
    nodes = custom ? s->classes : s->classes - 1;
    op_desc_set_int(s->op, "num_classes", s->classes);
    add_input(s, "X", "x", REAL, matrix(rows, width));
    add_input(s, "W", "w", REAL, matrix(nodes, width));
    add_input(s, "Label", "label", LABEL, matrix(rows, 1));
    if (custom) {
        int64_t longest = draw(1, 4);
        add_input(s, "PathTable", "table", LABEL, matrix(rows, longest));
        add_input(s, "PathCode", "code", LABEL, matrix(rows, longest));
    }
    if (draw(0, 1))
        add_input(s, "Bias", "bias", REAL, matrix(nodes, 1));
    add_output(s, "Out", "out", true);
    add_output(s, "PreOut", "pre_out", false);
}

static void make_nce(struct subject *s)
{
    int64_t rows = draw(1, 5), width = draw(1, 20);
    s->classes = draw(2, 9);
    op_desc_set_int(s->op, "num_total_classes", s->classes);
    op_desc_set_int(s->op, "num_neg_samples", draw(1, 6));
    op_desc_set_int(s->op, "sampler", draw(0, 1));
    op_desc_set_int(s->op, "seed", draw(1, 1000));
    add_input(s, "Input", "x", REAL, matrix(rows, width));
    add_input(s, "Label", "label", LABEL, matrix(rows, draw(1, 2)));
    add_input(s, "Weight", "w", REAL, matrix(s->classes, width));
    if (draw(0, 1))
        add_input(s, "Bias", "bias", REAL, matrix(s->classes, 1));
    add_output(s, "Cost", "cost", true);
    add_output(s, "SampleLogits", "logits", false);
    add_output(s, "SampleLabels", "labels", false);
}

const struct gradient_row gradient_recurrent_rows[] = {
    {"lstm", make_lstm},
    {"lstmp", make_lstmp},
    {"gru", make_gru},
    {"gru_unit", make_gru_unit},
    {"lstm_unit", make_lstm_unit},
    {"linear_chain_crf", make_crf},
    {"hierarchical_sigmoid", make_hsigmoid},
    {"nce", make_nce},
    {NULL, NULL},
};
