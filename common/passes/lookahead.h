// SPDX-License-Identifier: Apache-2.0
// fluid.optimizer.LookaheadOptimizer behind the updates of another optimizer: every k steps a slow
// copy of each parameter moves a part alpha of the way to it, and the parameter goes on from there.
#pragma once

#include <stdint.h>

struct expr;

// Appends to e's main program, and the slow copies' first values to the END of its start-up
// program.
void lookahead_append(struct expr *e, double alpha, int64_t k);
