// SPDX-License-Identifier: Apache-2.0
// What is read back from each step: the loss, the model's metrics, and what --fetch names.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/exec/executor.h"

struct engine;
struct err;
struct job;
struct option_set;
struct program;

struct fetches {
    struct executor_fetch *items;   // loss (if any), metrics, extras: borrowed names
    size_t count;
    bool has_loss;
    size_t metrics, extras;   // how many of each
    double *values;           // the metrics of the last step
    double loss;              // of the last step; NaN without a loss
};

// Checks that program has what is to be fetched (SL_EINVAL). extras may be NULL. Release with
// fetches_deinit.
int fetches_init(const struct job *job, const struct program *program,
                 const struct str_list *extras, struct fetches *out, struct err *err);
void fetches_deinit(struct fetches *fetches);
// Takes loss and metrics out of what a run on so many workers fetched: the mean over them.
void fetches_take(struct fetches *fetches, int workers);
const struct executor_fetch *fetches_extra(const struct fetches *fetches, size_t i);
// Element i of a dense variable as a number; NaN when there is none.
double fetches_number(const struct variable *value, size_t i);
