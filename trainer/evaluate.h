// SPDX-License-Identifier: Apache-2.0
// Passes over --test_data with the test program and the parameters of now: at the end of a run, and
// in between with --eval_every. On trainer 0 only.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"
#include "common/config/option.h"
#include "trainer/fetches.h"

struct engine;
struct err;
struct executor;
struct program;
struct reader;
struct work;

#define EVALUATE_METRICS_MAX 8

struct evaluate_result {
    int64_t step, epoch;                    // of the parameters, over all runs
    int64_t samples;                        // 0: there was no evaluation
    uint64_t bad_lines;                     // left out
    double loss;                            // mean over samples; NaN without a loss
    double metrics[EVALUATE_METRICS_MAX];   // as job.metric_names
    double seconds;
};

struct evaluate {
    struct engine *engine;
    struct program *program;   // NULL: this process does not evaluate
    struct reader *reader;
    struct executor *exe;
    struct fetches fetches;
    struct executor_feed *feeds;
    struct str_list states;              // of metrics, in the scope for this object alone
    bool summed[EVALUATE_METRICS_MAX];   // the metric counts over the pass: its last value is it
    bool asks_servers;                   // rows of tables come from them
    struct option_every every;
    uint64_t last_ms;
    struct evaluate_result *results;   // in order
    size_t count, cap;
};

// Can --test_data be read, and does it fit the test program? To be asked before training. Nothing
// to evaluate (no --test_data, another trainer): program stays NULL. Release with evaluate_close
// in any case.
int evaluate_open(struct engine *engine, struct evaluate *out, struct err *err);
void evaluate_close(struct evaluate *evaluate);
// Does --eval_every want one now, after a used batch?
bool evaluate_due(const struct evaluate *evaluate, const struct work *work);
// One pass; the result is the last of results. Nothing when this step has been evaluated already.
int evaluate_run(struct evaluate *evaluate, const struct work *work, struct err *err);
const struct evaluate_result *evaluate_last(const struct evaluate *evaluate);   // NULL: none yet
// "test loss 0.31  acc 0.88 ..." for people, into text.
void evaluate_line(const struct evaluate *evaluate, char *text, size_t bytes);
