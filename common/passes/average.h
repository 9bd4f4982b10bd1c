// SPDX-License-Identifier: Apache-2.0
// Averages of the parameters over the steps (fluid.optimizer.ModelAverage and
// ExponentialMovingAverage). Operators in the main program keep them; two programs of their own put
// the averages in the parameters' place and the parameters back.
#pragma once

#include <stdint.h>

#include "common/base/str.h"

struct expr;
struct program;
struct var_desc;

// Initialise with {0}. Programs are owned.
struct average {
    struct program *apply, *restore;
    struct str_list params, kept, means;   // parameter, its copy, its average (moving average only)
};
void average_deinit(struct average *average);

// ModelAverage: appends to e's main program; the window is rate times the number of updates, not
// below min and not above max.
void average_model(struct expr *e, double rate, int64_t min_window, int64_t max_window,
                   struct average *out);
// ExponentialMovingAverage: first makes the variables and both programs; then, behind the updates,
// average_moving_update appends what moves the averages. With thres_steps (a number of steps; NULL:
// none) the decay is the smaller of decay and (thres_steps + 1) / (thres_steps + 10).
void average_moving(struct expr *e, double decay, const struct var_desc *thres_steps,
                    struct average *out);
void average_moving_update(struct expr *e, const struct average *average);
