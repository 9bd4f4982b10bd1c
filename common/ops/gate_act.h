// SPDX-License-Identifier: Apache-2.0
// The activations of recurrent ops, over runs of memory, in place.
//
//   identity  x               1
//   sigmoid   1 / (1 + e^-z)  y (1 - y)     z is x held within [-40, 13], as Fluid holds it
//   tanh      2 / (1 + e^-2x) - 1           1 - y y
//   relu      max(x, 0)       [y > 0]
//   sigmoid_full              sigmoid without bounds
#pragma once

#include <stdint.h>

#include "common/ops/op.h"

enum gate_act {
    GATE_ACT_IDENTITY,
    GATE_ACT_SIGMOID,
    GATE_ACT_TANH,
    GATE_ACT_RELU,
    GATE_ACT_SIGMOID_FULL
};

// From "sigmoid", "tanh", "relu" or "identity"; SL_EINVAL for another name.
int gate_act_parse(const struct op_ctx *ctx, const struct attr *attr, enum gate_act *out);

// x = act(x).
void gate_act_apply_f32(enum gate_act act, int64_t n, float *x);
void gate_act_apply_f64(enum gate_act act, int64_t n, double *x);
// dy becomes the gradient of x, where y = act(x).
void gate_act_back_f32(enum gate_act act, int64_t n, float *dy, const float *y);
void gate_act_back_f64(enum gate_act act, int64_t n, double *dy, const double *y);
