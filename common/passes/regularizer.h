// SPDX-License-Identifier: Apache-2.0
// Weight decay as a term of the gradient: L2 adds coeff * parameter, L1 coeff * sign(parameter). A
// parameter's own regularizer replaces the given one. A gradient of selected rows becomes dense:
// its sum is a new variable.
#pragma once

struct backward_result;
struct expr;

enum regularizer_kind { REGULARIZER_NONE, REGULARIZER_L1, REGULARIZER_L2 };

// Appends to e's block; pairs.grads then names what the update reads.
void regularizer_append(struct expr *e, enum regularizer_kind kind, double coeff,
                        struct backward_result *pairs);
