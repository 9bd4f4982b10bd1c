// SPDX-License-Identifier: Apache-2.0
// A fixed pool of threads. A job is a function and its argument; ownership of what arg points to
// goes with the job and comes back in done. With 0 threads jobs run at once on the caller.
#pragma once

#include <stddef.h>

struct workers;

typedef void (*workers_fn)(void *arg);

struct workers *workers_new(int threads);           // 0..64
void workers_free(struct workers *workers);         // waits for queued jobs
int workers_threads(const struct workers *workers);
// Queues run(arg); done(arg), if any, runs on the same worker thread afterwards.
void workers_submit(struct workers *workers, workers_fn run, workers_fn done, void *arg);
void workers_wait(struct workers *workers);         // until everything queued has run
