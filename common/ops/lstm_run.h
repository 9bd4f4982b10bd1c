// SPDX-License-Identifier: Apache-2.0
// LSTM over sequences, with or without a projection of its output: what the ops lstm and lstmp
// share. Shapes: T rows of S sequences, width D, output width P (D without projection).
#pragma once

#include "common/ops/lstm_cell.h"

struct lstm_run {
    struct lstm_cell cell;
    bool reverse;
    enum gate_act proj_act;
    double proj_clip;   // 0: none
    int64_t width, out_width;
    const struct tensor *sequences;     // whose LoD says where sequences begin
    const struct tensor *input;         // [T, 4D]; for backward its type alone
    const struct tensor *weight;        // [P, 4D]
    const struct tensor *bias;          // [1, 4D], or [1, 7D] with peephole weights
    const struct tensor *h0, *c0;       // [S, P] and [S, D], or NULL
    const struct tensor *proj_weight;   // [D, P], or NULL
    struct tensor *out, *c;             // [T, P] and [T, D], in the order of the sequences
    struct tensor *gates, *s;           // [T, 4D] and [T, D], step by step (seq_batch.h)
    struct tensor *hidden;              // [T, D], step by step; with a projection only
};

// The gradient of out, and those asked for (NULL: not).
struct lstm_run_grads {
    const struct tensor *out;
    struct tensor *input, *weight, *bias, *h0, *c0, *proj_weight;
};

#define LSTM_RUN_TEMPS 11

// Shapes are as above but for the S rows of h0 and c0, which are checked here, with the LoD of
// input. Both use ctx->temps.
int lstm_run_forward(struct op_ctx *ctx, const struct lstm_run *run);
int lstm_run_backward(struct op_ctx *ctx, const struct lstm_run *run,
                      const struct lstm_run_grads *grads);
