// SPDX-License-Identifier: Apache-2.0
// Gradient clipping in front of regularisation: every element into [low, high]; each gradient to a
// norm of at most `norm`; or all of them together (global norm).
#pragma once

struct backward_result;
struct expr;

enum clip_kind { CLIP_NONE, CLIP_VALUE, CLIP_NORM, CLIP_GLOBAL_NORM };

struct clip_spec {
    enum clip_kind kind;
    double low, high;   // CLIP_VALUE
    double norm;
};

// Appends to e's block; pairs.grads then names the clipped gradients, which are new variables.
void clip_append(struct expr *e, const struct clip_spec *spec, struct backward_result *pairs);
