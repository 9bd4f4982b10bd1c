// SPDX-License-Identifier: Apache-2.0
// The end of a run as one JSON object: printed, and written by --summary.
#pragma once

struct checkpointer;
struct engine;
struct err;
struct train_loop;
struct work;

// The text, one line (free it with mem_free).
char *run_summary_format(const struct engine *engine, const struct work *work,
                         const struct train_loop *loop, const struct checkpointer *saver);
// Writes text to the path of --summary, if there is one.
int run_summary_write(const struct engine *engine, const char *text, struct err *err);
