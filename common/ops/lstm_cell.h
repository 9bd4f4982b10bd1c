// SPDX-License-Identifier: Apache-2.0
// One time step of LSTM over some rows, after the matrix product. Gates of a row lie side by side:
// candidate a, input i, forget f, output o, `width` elements each.
//
//   a = act_c(a)   i = act_g(i + c' check_i)   f = act_g(f + c' check_f)
//   c = a i + c' f, held within [-clip, clip]   o = act_g(o + c check_o)
//   s = act_s(c)   h = o s                      c' is the state of the step before (0 at first)
#pragma once

#include <stdint.h>

#include "common/ops/gate_act.h"

struct lstm_cell {
    int64_t width;
    enum gate_act gate, state, candidate;
    double clip;         // 0: none
    const void *check;   // peephole weights i, f, o, `width` elements each; NULL: none
};

// gates become activated in place; before (c') may be NULL. Writes c, s and h.
void lstm_cell_forward_f32(const struct lstm_cell *cell, int64_t rows, float *gates,
                           const float *before, float *c, float *s, float *h);
void lstm_cell_forward_f64(const struct lstm_cell *cell, int64_t rows, double *gates,
                           const double *before, double *c, double *s, double *h);

// What the step computed, and the gradients. dc is the gradient of c that comes from the step
// after; it becomes that of c'. dcheck (three runs of `width`, or NULL) is added to.
struct lstm_cell_back {
    const void *gates, *before, *c, *s, *dh;
    void *dgates, *dc, *dcheck;
};
void lstm_cell_backward_f32(const struct lstm_cell *cell, int64_t rows,
                            const struct lstm_cell_back *back);
void lstm_cell_backward_f64(const struct lstm_cell *cell, int64_t rows,
                            const struct lstm_cell_back *back);
