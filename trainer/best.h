// SPDX-License-Identifier: Apache-2.0
// The best checkpoint by an evaluation's metric: save_dir/best, a checkpoint like all others, and
// save_dir/best.json, which says how good. A run that goes on from a checkpoint goes on from that.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct checkpointer;
struct engine;
struct err;
struct evaluate_result;
struct work;

struct best {
    const char *metric;   // NULL: nothing is kept
    int index;            // of the metric; -1: the loss, of which less is better
    bool known;
    double value;
    int64_t step;
    char *path;
};

// --best_metric, with --eval_every and --save_dir. SL_EUSAGE names the metrics that there are.
int best_init(struct best *best, const struct engine *engine, struct err *err);
// To be asked once the run has begun: takes over save_dir/best.json unless the run began anew.
void best_begin(struct best *best, const struct engine *engine, const struct checkpointer *saver);
void best_deinit(struct best *best);
// Saves when result is better than all before; line (empty: it is not) is for people.
int best_offer(struct best *best, struct checkpointer *saver, struct engine *engine,
               const struct work *work, const struct evaluate_result *result, char *line,
               size_t line_bytes, struct err *err);
