// SPDX-License-Identifier: Apache-2.0
// One synchronous step on a trainer, as events and things to send.
//
// The compute side says what is ready (step_push), when all is (step_send_barrier) and what it
// wants (step_pull). Each server's connection asks step_take for the next frame whenever it can
// take one, so back-pressure needs no queue of its own: slices stream out while backward still
// runs. What a server said it lacks (step_missing) is sent again, exactly that; what it committed
// is over. Memory of pushes and pulls is the caller's and stays until step_is_done.
//
// Pure: no clock, no socket. Owner: the loop thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct message_partial;
struct message_range;
struct slice_map;

enum step_on_nonfinite { STEP_PASS, STEP_SKIP, STEP_STOP };   // the trainers' common policy

struct step_options {
    const struct slice_map *map;   // outlives the step
    uint32_t cell_bytes;           // 0 = SHARD_CELL_BYTES
    uint32_t frame_bytes;          // most of one push; a multiple of the cell; 0 = SHARD_CELL_BYTES
    enum step_on_nonfinite on_nonfinite;
    uint64_t step;   // the first one
};

struct step;

struct step *step_new(const struct step_options *options);
void step_free(struct step *step);
uint64_t step_number(const struct step *step);

// ---- what the compute side says
// SL_EINVAL: no gradient, or it was pushed before in this step.
int step_push(struct step *step, uint32_t variable, uint32_t slice, const void *data,
              struct err *err);
// A sparse gradient: `rows` ascending row indices of the slice as int64, and behind them the
// values, at message (not NULL, also for no rows). The slice map's rows fit LIMIT_ROWS_BYTES.
int step_push_rows(struct step *step, uint32_t variable, uint32_t slice, const void *message,
                   uint32_t rows, struct err *err);
// SL_EUSAGE: gradients that were not pushed, by name.
int step_send_barrier(struct step *step, struct err *err);
bool step_has_barrier(const struct step *step);
// What step_pull and lookups read: the version after this step when there was a barrier, else the
// present one.
uint64_t step_version(const struct step *step);
bool step_has_pushed(const struct step *step);
// The value after this step when step_send_barrier went before, else the present one. SL_EUSAGE
// when the slice is being pulled to another place.
int step_pull(struct step *step, uint32_t variable, uint32_t slice, void *dst, struct err *err);
bool step_is_committed(
    const struct step *step);                 // no barrier was said, or every server has committed
bool step_is_done(const struct step *step);   // ... and every pull is complete
// After step_is_done: forgets pushes and pulls; the next step when there was a barrier.
void step_finish(struct step *step);

// ---- what a connection should send next
enum step_what { STEP_NOTHING, STEP_PUSH, STEP_BARRIER, STEP_PULL, STEP_COMMIT, STEP_FETCHED };

struct step_out {
    enum step_what what;
    uint64_t step;              // of the header: step, or the version that is pulled / was fetched
    uint32_t variable, slice;   // PUSH
    uint64_t offset;
    uint32_t bytes;
    const void *data;
    bool resent, last;
    bool sparse;   // PUSH of selected rows, this many
    uint32_t rows;
    uint32_t request;               // PULL
    struct message_range *ranges;   // PULL; valid until the next step_take
    size_t ranges_count;
    uint32_t stage;                     // COMMIT: of the second phase
    int decision;                       // enum message_decision, with the combined numbers
    struct message_partial *partials;   // valid until step_finish
    size_t partials_count;
};
// What it hands out counts as sent. false: nothing now.
bool step_take(struct step *step, int server, struct step_out *out);

// ---- what comes from a server
// The connection is there (version: what the server holds). known: it answers a come-back, so it
// will say what is missing first (step_missing until last), and nothing is sent before.
void step_connected(struct step *step, int server, bool known);
void step_disconnected(struct step *step, int server);
// It lacks these of at_step. SL_EFORMAT when that cannot be.
int step_missing(struct step *step, int server, uint64_t at_step,
                 const struct message_range *ranges, size_t count, bool last, struct err *err);
int step_committed(struct step *step, int server, uint64_t version, struct err *err);
// Numbers of a stage of the second phase; after the last page of the last server the combination
// goes out, and the next stage's come from a server that has it from every trainer.
int step_partials(struct step *step, int server, uint64_t at_step, uint32_t stage,
                  const struct message_partial *partials, size_t count, bool last, struct err *err);
// A chunk of a pull: where its bytes go, NULL to drain it.
void *step_place(struct step *step, int server, uint32_t request, uint32_t variable, uint32_t slice,
                 uint64_t version, uint64_t offset, uint32_t bytes);
// It is there (dst as step_place gave it). last: the server has sent all of that range.
void step_data(struct step *step, int server, uint32_t request, uint32_t variable, uint32_t slice,
               uint32_t bytes, const void *dst, bool sound, bool last);

// Nothing has come from the server for a while though the connection stands: says again what may
// have been lost on the way (the barrier; pulls of a committed version). false: only a new
// connection helps, since the list of what is missing does not come.
bool step_nudge(struct step *step, int server);
// "commit by 127.0.0.1:6175"-like: which server is waited for, -1 none; *out_pull: it is a pull.
int step_waits_for(const struct step *step, bool *out_pull);
uint64_t step_resent(const struct step *step);   // chunks sent again so far
