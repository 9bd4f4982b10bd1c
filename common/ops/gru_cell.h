// SPDX-License-Identifier: Apache-2.0
// One time step of GRU over some rows, around its two matrix products. Gates of a row lie side by
// side: update u, reset r, candidate m, `width` elements each; h' is the output of the step before
// (NULL: 0).
//
//   u, r += h' Weight[:, 0:2D]       u = act_g(u)   r = act_g(r)   q = r h'       gru_cell_reset
//   m += q Weight[:, 2D:3D]          m = act_c(m)                                 gru_cell_output
//   h = u m + (1 - u) h', or in origin_mode u h' + (1 - u) m
//
// Weight [D, 3D] holds the two matrices one after the other: first [D, 2D], then [D, D].
#pragma once

#include <stdint.h>

#include "common/ops/gate_act.h"
#include "common/ops/rnn.h"

struct gru_cell {
    int64_t width;
    enum gate_act gate, candidate;
    bool origin_mode;
};

// The two matrices of a weight, or, for gru_cell_backward, their transposes.
struct gru_cell_weights {
    struct rnn_factor gates, candidate;
};
struct gru_cell_weights gru_cell_weights(const struct gru_cell *cell, const struct tensor *weight,
                                         bool backward);

// What one step reads and writes: gates [rows, 3D], the others [rows, D].
struct gru_cell_step {
    int64_t rows;
    enum dtype dtype;
    void *gates, *reset, *out;   // reset is q
    const void *before;
    const struct gru_cell_weights *weights;
};
void gru_cell_forward(const struct gru_cell *cell, const struct gru_cell_step *step);

// dgates is written; dreset is scratch [rows, D]; dbefore (NULL: not asked for) is added to.
struct gru_cell_back {
    const void *dout;
    void *dgates, *dreset, *dbefore;
};
void gru_cell_backward(const struct gru_cell *cell, const struct gru_cell_step *step,
                       const struct gru_cell_back *back);
// dWeight = the products of all rows of step (with its before NULL: 0), added to when add.
void gru_cell_weight(const struct gru_cell *cell, const struct gru_cell_step *step,
                     const void *dgates, bool add, void *dweight);
