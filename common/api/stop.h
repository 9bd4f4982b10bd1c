// SPDX-License-Identifier: Apache-2.0
// SIGTERM and SIGINT of a daemon, taken by a thread of its own, so that nothing is ever interrupted
// in the middle of a call and the handler may do what it likes.
#pragma once

#include <stdbool.h>

struct err;

// Call before any other thread is made: blocks the two signals for the whole process, ignores
// SIGPIPE, and starts the thread. on_stop is called on it, count being 1, 2, ... One per process.
int stop_start(void (*on_stop)(void *self, int count), void *self, struct err *err);
// Was there a signal? Any thread.
bool stop_requested(void);
// Ends the thread. Later signals are left pending.
void stop_end(void);
