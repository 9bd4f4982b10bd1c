// SPDX-License-Identifier: Apache-2.0
// One pass over --test_data with the test program and the parameters of now.
#pragma once

#include <stdint.h>

struct engine;
struct err;

#define EVALUATE_METRICS_MAX 8

struct evaluate_result {
    int64_t samples;                        // 0: there was no evaluation
    uint64_t bad_lines;                     // left out
    double loss;                            // means over samples; NaN without a loss
    double metrics[EVALUATE_METRICS_MAX];   // as job.metric_names
};

// Can --test_data be read, and does it fit the test program? To be asked before training. Nothing
// without --test_data.
int evaluate_check(const struct engine *engine, struct err *err);
// Nothing without --test_data.
int evaluate_run(struct engine *engine, struct evaluate_result *out, struct err *err);
