// SPDX-License-Identifier: Apache-2.0
// The work of a run: batch after batch, how much is left, and where the run stands. A run may begin
// in the middle of the data (--resume); global step and epoch numbers go on over all runs.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/ckpt/ckpt_progress.h"
#include "common/config/option.h"
#include "common/exec/executor.h"
#include "common/reader/reader.h"

struct engine;
struct err;
struct str_list;

struct work {
    struct reader *reader;         // NULL when no data was asked for (--steps 0)
    struct executor_feed *feeds;   // of the batch that is ready
    size_t feeds_count;
    bool ready;                         // a batch is loaded and not used yet
    bool epoch_ended;                   // the batch used last was the last of its epoch
    int64_t steps_left, epochs_left;    // of this run; -1: no bound of that kind
    int64_t steps_planned;              // of this run, for the eta
    int64_t steps_done, samples_done;   // by this run and process
    // After each used batch: what a checkpoint of now would record (learning rate aside).
    struct ckpt_progress progress;
};

// Opens the data. SL_EUSAGE without any. Release with work_close in any case.
int work_open(const struct engine *engine, struct work *out, struct err *err);
// Goes where the run begins (after engine_begin) and settles how much there is to do. notes gets
// lines for people. SL_EREFUSED when nothing is left of a resumed run; SL_EMISMATCH for other data
// than the run had.
int work_begin(struct work *work, const struct engine *engine, struct str_list *notes,
               struct err *err);
void work_close(struct work *work);
// Gets a batch ready: 1; 0 when the work is done.
int work_next(struct work *work, struct err *err);
// The batch was used: counts it and looks whether the epoch goes on, so that a checkpoint made now
// knows.
int work_used(struct work *work, struct err *err);
// Is something due that happens so often, after a used batch? since_ms (clock_now_ms): the last
// time.
bool work_is_due(const struct work *work, struct option_every every, uint64_t since_ms);
// The number of the step folder that the ready batch came from (feed_dir), or the global 0-based
// step.
int64_t work_step_number(const struct work *work);
