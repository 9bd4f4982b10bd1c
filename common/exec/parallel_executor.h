// SPDX-License-Identifier: Apache-2.0
// Fluid's ParallelExecutor: one process trains with several workers. Each fed tensor is cut along
// its samples (its sequences, with LoD), each worker runs forward and backward on its part with
// temporaries of its own, the loss's gradient is 1 / workers, gradients are added up in ascending
// worker order, and what follows (clip, regularizers, optimizers, sending and receiving) is done
// once. Parameters exist once. The same run gives the same bits every time.
#pragma once

#include "common/exec/executor.h"

struct parallel_executor;

#define PARALLEL_EXECUTOR_WORKERS_MAX 64

// workers: 1..PARALLEL_EXECUTOR_WORKERS_MAX; the caller's thread is worker 0. Borrows scope. Ops of
// hosts run on the caller's thread only. Several executors, parallel or not, may share a scope as
// long as one of them runs at a time.
struct parallel_executor *parallel_executor_new(struct scope *scope, const struct plan_host *hosts,
                                                size_t hosts_count, int workers);
void parallel_executor_free(struct parallel_executor *exe);
// Like executor_run. A fed persistable variable is not cut. A fetched variable is the workers'
// values joined along their first dimension, LoD too (a mean loss is a vector, one a worker);
// of what exists once, as many copies as there are workers, as in Fluid. Selected rows that exist
// once come as they are. Errors as of executor_run, with "worker 1 of 2" in front where one worker
// failed; fewer samples than workers is SL_EINVAL and names CPU_NUM.
int parallel_executor_run(struct parallel_executor *exe, const struct program *program,
                          const struct executor_feed *feeds, size_t feeds_count,
                          struct executor_fetch *fetches, size_t fetches_count, struct err *err);
// The value that a persistable variable has for a worker (the counts of an auc are each worker's
// own): the scope's where the worker has none, or has not run program yet. NULL: there is none.
const struct variable *parallel_executor_find(const struct parallel_executor *exe,
                                              const struct program *program, const char *name,
                                              int worker);
