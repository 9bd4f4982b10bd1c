// SPDX-License-Identifier: Apache-2.0
// How a run begins: from nothing, or from a checkpoint in one of three ways. Servers and the local
// role load; trainers learn from the servers how they began.
#pragma once

#include "common/ckpt/ckpt_progress.h"
#include "common/ckpt/ckpt_report.h"

struct err;
struct option_set;
struct program;
struct scope;

enum job_start_mode {
    JOB_START_FRESH,
    JOB_START_LOAD,     // --load_dir: everything, new data
    JOB_START_RESUME,   // --resume: the same run goes on at the next sample
    JOB_START_INIT,     // --init_from: parameters only
};

struct job_start {
    enum job_start_mode mode;
    struct ckpt_report report;   // what the load did; empty when fresh
    // What the run goes on from: global step and epoch; the reader's position, seed and data
    // identity for
    // --resume only (data_count 0: the reader begins at its start).
    struct ckpt_progress progress;
    struct str_list notes;   // lines for people: folders passed over, nothing there to load
};

void job_start_init(struct job_start *start);
void job_start_deinit(struct job_start *start);
// Loads as the options say into scope, after the start-up program has run. program: the main
// program of one process, or a server's start-up or main program. start (initialised) is filled;
// its report also when the folder does not fit (SL_EMISMATCH, SL_ECORRUPT: nothing was loaded).
int job_start_load(const struct option_set *options, const struct program *program,
                   struct scope *scope, struct job_start *start, struct err *err);
// The same from what the servers say of themselves (comm_welcome): progress text, "" when they have
// none.
int job_start_from_servers(bool loaded, const char *progress, struct job_start *start,
                           struct err *err);
// What was done, as lines for people: folders passed over, the load report, learning rate, what was
// kept.
void job_start_lines(const struct job_start *start, struct str_list *out);
// "fresh", "load", "resume", "init"
const char *job_start_mode_name(enum job_start_mode mode);
