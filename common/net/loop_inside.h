// SPDX-License-Identifier: Apache-2.0
// Inside net only: what conn, rpc_server and rpc_client need of the loop.
#pragma once

#include <stdbool.h>
#include <uv.h>

struct loop;

uv_loop_t *loop_uv(struct loop *loop);

// Work for the end of the current turn, just before the loop waits for events again. Queued once,
// however often it is asked for.
struct loop_turn {
    void (*run)(void *arg);
    void *arg;
    struct loop_turn *next;     // private
    bool queued;
};
void loop_at_turn_end(struct loop *loop, struct loop_turn *turn);
void loop_forget_turn(struct loop *loop, struct loop_turn *turn);

// Something that lives on the loop; loop_free evicts what is left. evict starts closing (once).
struct loop_resident {
    void (*evict)(void *arg);
    void *arg;
    bool tool;                           // timers and signals: evicted after all others are gone
    bool evicted;                        // private
    struct loop_resident *next, *prev;   // private
};
void loop_move_in(struct loop *loop, struct loop_resident *resident);
void loop_move_out(struct loop_resident *resident);
