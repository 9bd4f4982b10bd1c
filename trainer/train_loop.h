// SPDX-License-Identifier: Apache-2.0
// Step after step until the work is done or the process is asked to stop; saves on the way and at
// the end.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct best;
struct checkpointer;
struct engine;
struct err;
struct evaluate;
struct fetches;
struct progress_line;
struct step_report;
struct str_list;
struct totals;
struct work;

struct train_loop {
    struct engine *engine;
    struct work *work;
    struct checkpointer *saver;
    struct evaluate *evaluate;
    struct best *best;
    struct fetches *fetches;
    struct step_report *report;
    struct totals *totals;
    struct progress_line *line;
    // results
    double first_loss, last_loss;   // NaN: none
    bool stopped;                   // before the work was done
    uint64_t ms;                    // of the whole loop, saves included
    uint64_t wait_ns;               // of that: spent waiting for the servers
    // private
    uint64_t waited_before_ns;   // what comm had counted when the loop began
};

// 0 when the work is done or the process was asked to stop, and the last save (where one is wanted)
// is committed.
int train_loop_run(struct train_loop *loop, struct err *err);
// Tells what totals has for people.
void train_loop_tell(struct train_loop *loop, const struct str_list *lines);
// An evaluation now, told, and its checkpoint kept when it is the best. A save that fails is told.
int train_loop_evaluate(struct train_loop *loop, struct err *err);
