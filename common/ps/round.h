// SPDX-License-Identifier: Apache-2.0
// One synchronous step on a server, as events and answers.
//
// Gradients lie in per-trainer slots, counted cell by cell; those that come as selected rows in the
// trainer's arena, from the first header on that says how many rows there are. A push is keyed
// (trainer, incarnation, step, variable, slice, offset): round_place decides from the header alone
// where its bytes go, and round_received counts it only when its checksum passed. Barriers,
// COMPLETE and decisions are sets of trainer ids: what is said twice counts once. A step is full
// when every active trainer's barrier and all its cells are there; then (second phase) partials go
// out and every trainer's decision is awaited; then it is applied, and the next step begins.
//
// A trainer that has completed while others go on contributes zeros (its slots are zeroed), the
// divisor stays the configured number of trainers: what Fluid does.
//
// Pure: no clock, no socket, no tensor arithmetic. Owner: the loop thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct shard;
struct shard_slice;

struct round_options {
    const struct shard *shard;   // outlives the round
    int trainers;                // configured N
    bool second_phase;           // some block needs numbers of the whole step
    int stages;                  // of the second phase, one decision each; 0 = 1
    uint64_t step;               // the first one: the version that the server holds
};

// The key of a push, as its header says it.
struct round_push {
    int trainer;
    uint64_t incarnation, step;
    uint32_t variable, slice;
    uint64_t offset, bytes;
    uint64_t hash;   // checksum of the body
    bool sparse;     // selected rows: this many, offset and bytes in their message
    uint32_t rows;
};

enum round_verdict {
    ROUND_SLOT,       // missing: goes to its slot
    ROUND_COMPLETE,   // is here already, or on its way: drain, counts as acknowledged
    ROUND_STALE,      // of a step that was committed: drain, acknowledged
    ROUND_FENCED,     // of an older incarnation: drain
    ROUND_MIXED,      // partly here: drain, then say what is missing
};

enum round_phase {
    ROUND_COLLECT,   // pushes and barriers come in
    ROUND_DECIDE,    // full; waits for every trainer's commit_step of round_stage
    ROUND_APPLY,     // the blocks may run; round_applied ends the step
    ROUND_OVER,      // every trainer has completed
};

enum round_decision { ROUND_DO_APPLY = 1, ROUND_DO_SKIP = 2, ROUND_DO_STOP = 3 };

struct round;

struct round *round_new(const struct round_options *options,
                        struct err *err);   // SL_ENOMEM for the slots
void round_free(struct round *round);
uint64_t round_step(const struct round *round);
enum round_phase round_phase(const struct round *round);
int round_trainers(const struct round *round);

// A trainer's incarnation: a higher one fences what the older still sends and keeps what is
// complete.
void round_enter(struct round *round, int trainer, uint64_t incarnation);
// The connection is gone (or replaced): what was on its way is missing again.
void round_leave(struct round *round, int trainer);

// enum round_verdict; *out_dst is set for ROUND_SLOT, whose bytes then belong to the connection
// until round_received or round_abandoned. SL_EREFUSED for a newer step or incarnation, SL_EINVAL
// for a chunk that does not exist here, SL_EDIVERGED when a repeat has another checksum or number
// of rows (err may be NULL).
int round_place(struct round *round, const struct round_push *push, void **out_dst,
                struct err *err);
// The bytes of a ROUND_SLOT push are there. sound: the checksum passed. Returns 1 when it was
// counted, 0 when not (unsound: it is missing again; or the slot was taken back by round_leave
// meanwhile). SL_EINVAL when that completes selected rows which are no ascending rows of the slice.
int round_received(struct round *round, const struct round_push *push, bool sound, struct err *err);
void round_abandoned(struct round *round, const struct round_push *push);

// 0: in the set now (or before); 1: that step is committed already (answer committed again).
// SL_EREFUSED for a newer step or another incarnation.
int round_send_barrier(struct round *round, int trainer, uint64_t incarnation, uint64_t step,
                       struct err *err);
// Every trainer that asks for nothing more of a version; *out_all: all have.
int round_fetch_barrier(struct round *round, int trainer, uint64_t incarnation, uint64_t version,
                        bool *out_all, struct err *err);
// The trainer has finished. SL_EREFUSED in the middle of a step (it has pushed, and no barrier).
int round_complete(struct round *round, int trainer, uint64_t incarnation, struct err *err);
bool round_has_completed(const struct round *round, int trainer);

// Moves on: the phase after everything that came in so far. Call after each event; a change to
// ROUND_DECIDE asks for partials to be sent, one to ROUND_APPLY for the blocks to run.
enum round_phase round_advance(struct round *round);
// Second phase. content: the combined numbers, which must be the same bytes from every trainer
// (SL_EDIVERGED). 0, or 1 when that step is committed already.
int round_commit_step(struct round *round, int trainer, uint64_t incarnation, uint64_t step,
                      enum round_decision decision, const void *content, size_t bytes,
                      struct err *err);
// The stage of the second phase whose decision is awaited, from 0; round_advance goes to the next
// one (whose partials are then to be sent) until the last, or until a decision says otherwise than
// apply.
int round_stage(const struct round *round);
enum round_decision round_decision(const struct round *round);
const void *round_decision_content(const struct round *round, size_t *out_bytes);
// ROUND_APPLY is done: the next step.
void round_applied(struct round *round);

// ---- slots
// Trainer's gradient g (shard_slice.grad): the whole slice's bytes; NULL for a sparse one.
void *round_slot(const struct round *round, int trainer, int grad);
// Trainer's sparse gradient g once the step is full, until round_applied: ascending rows and their
// values; a completed trainer has none. Returns the number.
size_t round_rows(const struct round *round, int trainer, int grad, const int64_t **out_rows,
                  const void **out_values);
// Is the cell of a dense gradient here from every active trainer (completed ones count as zeros)?
bool round_cell_ready(const struct round *round, int grad, uint32_t cell);

// ---- asking
struct round_range {
    const struct shard_slice *slice;
    uint64_t offset, bytes;
};
// What the trainer has not brought yet, in order, as maximal ranges from *cursor (0 at first) on,
// at most max; what is on its way counts as brought. Of a sparse gradient nothing is known before
// its first chunk: its range then has the most bytes that may come. Returns the number; *cursor
// goes on, 0 when that was all.
size_t round_missing(const struct round *round, int trainer, struct round_range *out, size_t max,
                     uint64_t *cursor);
bool round_has_barrier(const struct round *round, int trainer);
bool round_is_waiting_for(const struct round *round, int trainer);   // the step would go on with it
bool round_has_pushed(const struct round *round, int trainer);       // in this step
bool round_is_idle(const struct round *round);   // nobody has pushed in this step
