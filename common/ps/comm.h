// SPDX-License-Identifier: Apache-2.0
// The trainer's side of the parameter servers, and the read-only client's.
//
// A comm owns a loop thread with one connection to every server. All functions below are called
// from ONE other thread (a trainer's compute thread); callbacks come from the loop thread.
// Memory given to comm_push and comm_pull is used in place (nothing is copied): it stays valid and
// unchanged until comm_fetch_barrier of the same step has returned, or the comm is closed.
// Connections that break are made again and exactly what is missing is sent again; a server that
// stays away ends the comm: every later call returns the same error, which names it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct comm;
struct err;
struct op_def;
struct selected_rows;
struct slice_map;
struct tensor;

#define COMM_READER (-1)   // trainer_id of a read-only client

struct comm_options {
    const char *const *endpoints;   // "host:port", in slice_map's server order; copied
    int servers;
    const struct slice_map *slices;   // outlives the comm; NULL for a reader: the servers tell it
    int trainer_id;                   // 0..trainers-1, or COMM_READER
    const char *job_id;               // NULL: none
    uint64_t connect_timeout_ms;      // for the first connection; 0 = 600 000
    uint64_t silent_ms;               // a peer that says nothing for so long is dead; 0 = 10 000
    uint64_t lost_ms;                 // a lost connection must be back by then; 0 = 4 000
    const char *congestion;           // TCP congestion control, NULL: the system's ("" too)
    // What the comm is waiting for, about once a second while it waits: "waiting 1.0 s for
    // 127.0.0.1:6175: connection refused". May be NULL. Called on the loop thread.
    void (*waiting)(void *self, const char *text);
    void *self;
};

// What the servers hold; all of them agree (comm_open checks).
struct comm_welcome {
    uint64_t step;   // global step: how many were committed
    int64_t epoch;
    bool loaded;            // from a checkpoint, or fresh from the startup program
    const char *digest;     // of that checkpoint; "" when fresh
    const char *progress;   // JSON text of the manifest, opaque here; "" when fresh
    int trainers;           // the job's N
};

// Connects to all servers (waits for them with back-off until connect_timeout), says who we are,
// and compares what they hold. SL_ETIMEOUT; SL_EREFUSED with the server's reason (trainer id taken,
// other topology, ...); SL_EMISMATCH when the servers hold different checkpoints.
int comm_open(const struct comm_options *options, struct comm **out, struct err *err);
// Ends the loop thread and the connections. Without comm_complete the servers take it as a death
// of this trainer (say why first: comm_abort). NULL is fine.
void comm_close(struct comm *comm);

const struct comm_welcome *comm_welcome(const struct comm *comm);
const struct slice_map *comm_slices(const struct comm *comm);
int comm_trainer_id(const struct comm *comm);
uint64_t comm_step(const struct comm *comm);   // the step that is being made: 0-based, global

// ---- one step. name is a slice's name in the slice_map; a gradient may carry ".trainer_<i>".
// Queues the gradient of a slice (dense, the slice's shape). Blocks only while the bounded queue is
// full. SL_EINVAL for an unknown name or another shape.
int comm_push(struct comm *comm, const char *name, const struct tensor *tensor, struct err *err);
// The same for a gradient that travels as rows (slice_map's sparse), whose indices count from the
// slice's first row: in any order, those that occur twice are added in order of occurrence. What is
// sent is a copy, which the comm keeps: rows may change after the call. A trainer whose batch
// touches nothing of a slice pushes no rows, but it pushes. SL_ELIMIT above LIMIT_ROWS_BYTES.
int comm_push_rows(struct comm *comm, const char *name, const struct selected_rows *rows,
                   struct err *err);
// All gradients of this step have been pushed. Returns at once when the program has shown (by its
// previous step) that a fetch barrier follows; waits for the commit otherwise.
int comm_send_barrier(struct comm *comm, struct err *err);
// Queues a pull of a slice into tensor's memory (resized to the slice's shape first): the value
// after this step when a send barrier went before, else the current one.
int comm_pull(struct comm *comm, const char *name, struct tensor *tensor, struct err *err);
// Waits until every server has committed the step and every pull has arrived; the step counter
// goes on when there was a send barrier.
int comm_fetch_barrier(struct comm *comm, struct err *err);

// Rows of a variable, wherever its slices lie.
struct comm_rows {
    const char *var;      // the full variable's name in the slice_map; role PARAM or STATE
    const int64_t *ids;   // its rows, strictly ascending
    size_t count;         // 0 is fine
    void *out;            // count * row bytes, in the order of ids
};
// Reads rows of any number of variables in one round trip to all servers at once: the value after
// this step when a send barrier went before, else the current one; a reader's pinned version.
// Blocks. SL_EINVAL: no such variable, ids that are not ascending or not within it.
int comm_lookup(struct comm *comm, const struct comm_rows *wants, size_t count, struct err *err);

// ---- reading state (saves by trainer 0, `sluice ckpt pull`): parameters and optimizer state.
// Pins one common version on all servers: what is read until comm_unpin belongs to it even while
// training goes on. *out_step is its global step.
int comm_pin(struct comm *comm, uint64_t *out_step, struct err *err);
// Rows [row, row + rows) of the full variable called var (slice_map's name; role PARAM or STATE),
// joined from its servers, into out: rows * row bytes. Pins only for the call when nothing is
// pinned. Role TRAINER: what the servers loaded; SL_ENOENT when they have not.
int comm_read_rows(struct comm *comm, const char *var, int64_t row, int64_t rows, void *out,
                   struct err *err);
int comm_unpin(struct comm *comm, struct err *err);

// ---- sums over all trainers, exact: what a metric counted in the whole job (merge.h)
// Adds numbers (copied) to the sum of key; keys ascend. Does not wait. count may be up to 4 MiB of
// numbers (SL_ELIMIT) and must be the same in all trainers.
int comm_merge(struct comm *comm, uint32_t key, const int64_t *numbers, size_t count,
               struct err *err);
// The sum of key, which this trainer has added to (count as there): 1 when it is settled, 0 when
// it is not yet (with wait: only after comm_merge_give_up). *out_trainers: how many are in it;
// trainers that completed before, or had none of it, are not. Works after comm_complete too.
// SL_ENOENT: never added, or 16 others since.
int comm_merge_result(struct comm *comm, uint32_t key, bool wait, int64_t *out, size_t count,
                int *out_trainers, struct err *err);

// Any thread: nobody waits for a sum any longer, now and later.
void comm_merge_give_up(struct comm *comm);

// ---- the end
// This trainer has done its work. Returns when every server has taken note.
int comm_complete(struct comm *comm, struct err *err);
// This trainer gives up: tells every server why (they end the job with that text). No answer
// needed; waits at most a second for the words to leave.
void comm_abort(struct comm *comm, const char *reason);

struct comm_stats {
    uint64_t steps;   // fetch barriers that ended a step
    uint64_t bytes_sent, bytes_received;
    uint64_t wait_ns;           // time the caller spent blocked in push, barriers and reads
    uint64_t wait_barrier_ns;   // of that: in barriers
    uint64_t reconnects;
    uint64_t chunks_resent;
};
void comm_stats(const struct comm *comm, struct comm_stats *out);

// send, recv, send_barrier, fetch_barrier, distributed_lookup_table: give {op_comm_table, comm} to
// an executor as plan_host.
extern const struct op_def *const op_comm_table[];
