// SPDX-License-Identifier: Apache-2.0
// Loss and metrics over an epoch and over the run, of the whole job: what all trainers counted,
// added up. An auc over all batches is that of the summed counts, exactly what one process would
// have found over the same samples; any other metric is the mean over the samples of its batches.
// The training program's own states are read and left as they are.
//
// A sum is made through server 0 (comm_merge) while training goes on, and trainer 0 tells it when
// it is there: after every epoch, and of the run behind the last step. A trainer that had fewer
// epochs or completed before is not in it, and nobody waits for it; the result says how many are.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/evaluate.h"

struct engine;
struct err;
struct fetches;
struct str_list;
struct work;

struct totals_result {
    int64_t epoch;   // over all runs, from 1; 0: the run
    int64_t samples;
    int trainers;   // in it
    double loss;    // NaN: none, as below
    double metrics[EVALUATE_METRICS_MAX];
};

struct totals {
    const struct engine *engine;
    struct totals_metric *metrics;   // as job.metric_names
    size_t metrics_count;
    bool active;                // there is something to add up
    size_t width;               // of the numbers of one sum
    struct totals_span *span;   // of the epoch; of the run
    int64_t *numbers;
    int64_t first_open, last_open;   // epochs that were added and are not there yet
    struct totals_result *results;   // of epochs, in order
    size_t count, cap, told;
    struct totals_result run;
    bool run_known;
};

// A program without loss and metrics has none. SL_ELIMIT: too many metrics. Release with
// totals_deinit in any case.
int totals_init(struct totals *totals, const struct engine *engine, struct err *err);
void totals_deinit(struct totals *totals);
// Training begins: what the variables hold now is no part of it. SL_EINVAL: an auc's counts are not
// what it makes.
int totals_begin(struct totals *totals, struct err *err);
// A step was made over so many samples.
void totals_step(struct totals *totals, const struct fetches *fetches, int64_t samples);
// Its epoch (counted over all runs) has ended with it.
int totals_epoch(struct totals *totals, int64_t epoch, struct err *err);
// Looks whether sums have arrived; lines takes one for people each (trainer 0 only).
int totals_poll(struct totals *totals, struct str_list *lines, struct err *err);
// The run is over: adds its sums (before the end is told to the servers), and waits for them
// (behind that; not on other trainers than 0, nor when stopped on request: then only what is
// there).
int totals_end(struct totals *totals, struct err *err);
int totals_wait(struct totals *totals, bool stopped, struct str_list *lines, struct err *err);
