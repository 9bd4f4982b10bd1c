// SPDX-License-Identifier: Apache-2.0
// The event loop: one thread that owns connections, timers and whatever the caller keeps beside
// them. Only loop_post, loop_stop and loop_is_owner may be called from other threads.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;
struct loop_timer;

struct loop *loop_new(struct err *err);
// Runs jobs still posted, closes what is left (on_closed callbacks run; timers and signals no more)
// and frees. Timers that were not freed are freed too. Not while it runs.
void loop_free(struct loop *loop);
// Runs on the calling thread until loop_stop. May be run again later.
void loop_run(struct loop *loop);
// Runs on a thread of its own until loop_stop; loop_join waits for its end.
int loop_start(struct loop *loop, const char *thread_name, struct err *err);
void loop_join(struct loop *loop);
void loop_stop(struct loop *loop);                 // any thread; the current turn is finished first
// Is this the thread that runs it? Also true when it does not run.
bool loop_is_owner(const struct loop *loop);
uint64_t loop_now_ms(const struct loop *loop);     // monotonic, of the current turn

// A function for the loop thread. Storage is the caller's and must stay until run is called, which
// may reuse or free it. Jobs run in the order of posting, also those posted before the loop runs.
struct loop_job {
    void (*run)(void *arg);
    void *arg;
    struct loop_job *next;                         // private
};
// Any thread; never blocks; wakes the loop.
void loop_post(struct loop *loop, struct loop_job *job);

// run(arg) after_ms from now, then every repeat_ms (0 = once). Callbacks may stop, restart or
// free it.
struct loop_timer *loop_timer_new(struct loop *loop, void (*run)(void *arg), void *arg);
void loop_timer_start(struct loop_timer *timer, uint64_t after_ms, uint64_t repeat_ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);    // NULL is fine

// run(arg, signo) on the loop thread; stays until loop_free. Does not keep the loop running.
int loop_on_signal(struct loop *loop, int signo, void (*run)(void *arg, int signo), void *arg,
                   struct err *err);
