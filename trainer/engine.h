// SPDX-License-Identifier: Apache-2.0
// What makes a training step happen: in the local role one process with all variables, in the
// trainer role a program that pushes to and pulls from the servers. The rest of the trainer sees no
// difference.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/api/job.h"
#include "common/api/job_start.h"
#include "common/exec/executor.h"

struct ckpt_source;
struct comm;
struct err;
struct option_set;
struct parallel_executor;
struct program;
struct scope;
struct variable;

struct engine {
    const struct option_set *options;
    struct job job;
    int trainer_id, trainers;   // 0 of 1 in the local role
    struct program *train;      // what a step runs; job.main in the local role
    struct program *startup;    // likewise
    struct scope *scope;
    struct comm *comm;   // NULL in the local role
    struct executor *exe;
    struct parallel_executor *parallel;   // runs the steps when there are several workers
    int workers;                          // --cpu_num
    struct job_start start;   // how the run began
    struct str_list saved;    // names of the variables that a checkpoint holds
};

// Builds the programs of this process; nothing is run and nobody is asked. The caller releases *out
// with engine_close in any case.
int engine_open(const struct option_set *options, struct engine *out, struct err *err);
void engine_close(struct engine *engine);
// Brings the variables to where the run begins: start-up program and load, or connecting and
// pulling. waiting is told what is waited for (any thread).
int engine_begin(struct engine *engine, void (*waiting)(void *self, const char *text), void *self,
                 struct err *err);

// One step. In the trainer role it returns when the new parameters are here.
int engine_step(struct engine *engine, const struct executor_feed *feeds, size_t feeds_count,
                struct executor_fetch *fetches, size_t fetches_count, struct err *err);
// Opens and closes a view of all variables at this step boundary, for saving. Trainer 0 and local
// only.
int engine_freeze(struct engine *engine, struct ckpt_source **out, struct err *err);
int engine_thaw(struct engine *engine, struct ckpt_source *source, struct err *err);
// The constant learning rate in force, out of a frozen source; false when there is none.
bool engine_learning_rate(const struct engine *engine, const struct ckpt_source *source,
                          double *out);
// The value of a persistable variable for a worker (0: what is saved); NULL: there is none.
const struct variable *engine_value(const struct engine *engine, const char *name, int worker);
// Tells the servers that this trainer's work is done / that it gives up and why. Nothing in the
// local role.
int engine_complete(struct engine *engine, struct err *err);
void engine_abort(struct engine *engine, const char *reason);
// Does this process save (trainer 0, or the local role)?
bool engine_saves(const struct engine *engine);
