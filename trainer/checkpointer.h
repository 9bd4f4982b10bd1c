// SPDX-License-Identifier: Apache-2.0
// When a run saves, and under which name: save_dir/epoch_N or step_N, counted over all runs.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/fsutil.h"
#include "common/config/option.h"

struct engine;
struct err;
struct work;

struct checkpointer {
    const char *dir;   // NULL: this process does not save
    struct option_every every;
    int keep;
    bool by_steps;        // the end of the run is a number of steps, not of epochs
    int64_t saved_step;   // global step of the last save; -1: none yet
    uint64_t saved_ms;    // when that was (or the run began)
    char *saved_path;     // NULL: none yet
    char digest[FSUTIL_SHA256_HEX];
};

// Checks that --save_dir can be written, before any work is done.
int checkpointer_init(struct checkpointer *saver, const struct engine *engine, struct err *err);
// A warning when --save_dir already holds a checkpoint that is further on than the run begins
// (mem_free it), or NULL.
char *checkpointer_warning(const struct checkpointer *saver, const struct engine *engine);
void checkpointer_deinit(struct checkpointer *saver);
// Is a save due now, after a used batch?
bool checkpointer_due(const struct checkpointer *saver, const struct work *work);
// Saves now, unless this step is saved already. loss: of the last step; one that is not finite is
// never saved (SL_EREFUSED), nor is such a parameter. line gets what to tell people (terminated;
// empty: nothing was to do).
int checkpointer_save(struct checkpointer *saver, struct engine *engine, const struct work *work,
                      double loss, char *line, size_t line_bytes, struct err *err);
// Saves now into the folder path, beside the series.
int checkpointer_write(struct checkpointer *saver, struct engine *engine, const struct work *work,
                       const char *path, struct err *err);
