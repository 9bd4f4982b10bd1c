// SPDX-License-Identifier: Apache-2.0
// The inside of a comm, shared by comm.c (the caller's thread), comm_link.c (one server's
// connection), comm_read.c (pins and reads), comm_push.c (gradients as rows), comm_lookup.c (rows
// of tables) and comm_join.c (the opening). Nobody else includes this.
//
// Two threads: the caller's and the loop's. They share the ring of commands (single producer,
// single consumer), `failed` and the statistics; everything else belongs to one of them. A blocking
// call puts a command that asks for an answer and waits at `answer`; the loop thread answers each
// exactly once.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/net/loop.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"
#include "common/ps/lookup.h"
#include "common/ps/peer.h"
#include "common/ps/step.h"
#include "common/tensor/tensor.h"
#include "common/wire/message.h"

#define COMM_RING 1024   // commands; a full ring makes comm_push wait

struct comm_slice {   // by name, for the caller
    uint32_t variable, slice;
    enum slice_role role;
    enum dtype dtype;
    struct dims dims;
    bool pushed;   // in this step
    // A gradient that travels as rows: its message, indices and then values, of this step.
    bool sparse;
    uint8_t *message;
    uint64_t message_cap;
    struct tensor work;   // of the merge
};

enum comm_verb {
    COMM_OPEN,
    COMM_PUSH,
    COMM_BARRIER,
    COMM_PULL,
    COMM_FETCH,
    COMM_COMMIT,   // wait for the commit alone
    COMM_PIN,
    COMM_READ,
    COMM_LOOKUP,
    COMM_UNPIN,
    COMM_MERGE,
    COMM_MERGED,
    COMM_COMPLETE,
    COMM_ABORT,
    COMM_CLOSE,
};

struct comm_command {
    enum comm_verb verb;
    uint32_t variable, slice;
    uint32_t rows;             // PUSH of a sparse gradient
    const void *data;          // PUSH
    void *dst;                 // PULL; MERGE, MERGED: comm_merge.c's own
    const char *text;          // ABORT
    struct comm_part *parts;   // READ
    size_t parts_count;
    bool asks;   // wants an answer
};

// A part of a read: bytes [offset, offset + bytes) of a slice.
struct comm_part {
    int server;
    uint32_t variable, slice;
    uint64_t offset, bytes, got;
    uint8_t *dst;
    uint32_t request;   // 0: not asked yet
    bool done;
};

struct comm_link {
    struct comm *comm;
    int server;   // in slice_map order (a reader learns it from the welcome)
    const char *endpoint;
    struct rpc_client *client;
    struct conn *conn;   // NULL while not connected
    struct peer_link peer;
    bool hello_sent, welcomed;        // on this connection
    bool agreed;                      // it once joined the others (comm_join.c)
    bool completed;                   // it has answered COMPLETE
    uint64_t incarnation;             // granted
    struct step_out pending;          // what was taken and did not fit (STEP_NOTHING: none)
    struct message_welcome welcome;   // the first one; texts below
    char *digest;
    uint64_t version;
    struct buf progress;
    bool progress_done, inventory_asked, inventory_done;
    uint64_t echo_ms, spoke_ms;
    uint64_t heard_ms;              // when it last sent something that moves the work on
    uint64_t bytes_in, bytes_out;   // of connections that have ended
    // pins
    bool pin_asked, pinned;
    uint64_t pin_version;
};

struct comm {
    struct comm_options options;
    char **endpoints, *job_id, *congestion;
    int servers;
    bool reader;
    // ---- both threads
    struct comm_command ring[COMM_RING];
    atomic_size_t head, tail;   // the caller puts at head, the loop takes at tail
    atomic_bool draining;       // the drain job is posted
    atomic_bool room_wanted;
    atomic_int failed;   // error code; failure is complete before it is set
    struct err failure;
    struct gate *answer, *room;
    int answer_code;
    struct err answer_err;
    atomic_uint_least64_t bytes_sent, bytes_received, reconnects, resent, steps;
    // ---- the caller
    struct map slices;   // name -> comm_slice
    size_t grads_count, pushed;
    bool barrier;        // said in this step
    bool cycle;          // the step before ended with a fetch barrier
    bool barrier_open;   // a barrier was said and no fetch barrier since
    bool pinned;
    uint64_t step_shown;   // comm_step
    struct comm_welcome welcome;
    uint64_t wait_ns, wait_barrier_ns;
    bool completed;
    int64_t *ids;   // of a lookup: what connections read
    size_t ids_cap;
    // ---- the loop; the lookup is the caller's while it does not wait for one
    struct lookup lookup;
    size_t lookups_inflight;   // frames that a connection still reads
    struct err lookup_why;   // refused
    struct loop *loop;
    struct loop_job drain_job;
    struct loop_timer *tick;
    struct step *step;
    const struct slice_map *map;
    struct slice_map own_map;   // a reader's
    struct comm_link *links;
    uint64_t incarnation, nonce;
    enum comm_verb waiting;   // the command that waits for its answer
    bool waits;
    uint64_t waits_since_ms, said_ms;
    size_t inflight;           // pushed chunks that a connection still reads
    struct comm_part *parts;   // of the read that goes on
    size_t parts_count, parts_open;
    uint32_t next_request;
    uint64_t pin_version, pin_round;
    struct comm_merge *merge;             // sums that were added to
    struct comm_merge_want *merge_want;   // the call that asks for one
    atomic_uint merges_done;              // sums that are there; the caller also reads it
    unsigned merges_seen;                 // the caller's: when it asked last
    atomic_bool merges_given_up;          // by any thread
    bool joined, closing;
    uint64_t close_by_ms;
    int open_conns;
};

// ---- comm.c (caller's thread)
void comm_put(struct comm *comm, const struct comm_command *command);
int comm_ask(struct comm *comm, const struct comm_command *command, struct err *err);
int comm_check_failed(const struct comm *comm, struct err *err);
// The gradient called name, ready to be pushed: SL_EINVAL also when it was pushed in this step.
int comm_find_grad(struct comm *comm, const char *name, struct comm_slice **out, struct err *err);
void comm_pushed(struct comm *comm, struct comm_slice *slice);
// ---- comm.c (loop thread)
void comm_answer(struct comm *comm, int code, const struct err *why);
// The comm is over: the waiting call gets this error, and every later one. Tells the servers (but
// `from`, which knows) the root text.
void comm_fail(struct comm *comm, const struct comm_link *from, int code, const char *root,
               const char *prefix);
void comm_check_done(struct comm *comm);
void comm_conn_gone(struct comm *comm);   // a connection has closed

// ---- comm_link.c
int comm_link_open(struct comm_link *link, struct err *err);
void comm_link_pump(struct comm_link *link);
void comm_link_tick(struct comm_link *link, uint64_t now_ms);
void comm_link_tell_end(struct comm_link *link, enum frame_type type, int code, const char *text);
void comm_link_close(struct comm_link *link);
void comm_link_count(struct comm_link *link);

// ---- comm_join.c
// A welcome (and its progress, and a reader's inventory) is complete.
void comm_join_check(struct comm *comm);
int comm_join_inventory(struct comm_link *link, const struct frame *header,
                        const struct message_inventory *page, struct err *err);

// ---- comm_read.c
void comm_read_pin(struct comm *comm);
void comm_read_unpin(struct comm *comm);
void comm_read_start(struct comm *comm);
void comm_read_welcomed(struct comm_link *link);
void comm_read_lost(struct comm_link *link);
void comm_read_nudge(struct comm_link *link);
void comm_read_pinned(struct comm_link *link, uint64_t version);
void comm_read_refused(struct comm_link *link, uint32_t request, int code, const char *text);
void *comm_read_place(struct comm_link *link, const struct frame *header);
void comm_read_data(struct comm_link *link, const struct frame *header, const void *dst,
                    bool sound);
bool comm_read_owns(uint32_t request);

// ---- comm_lookup.c
void comm_lookup_start(struct comm *comm);
void comm_lookup_pump(struct comm_link *link);   // asks what is to be asked
void comm_lookup_lost(struct comm_link *link);   // ... of it again
void comm_lookup_refused(struct comm_link *link, uint32_t request, int code, const char *text);
void *comm_lookup_place(struct comm_link *link, const struct frame *header);
void comm_lookup_data(struct comm_link *link, const struct frame *header, const void *dst,
                      bool sound);
bool comm_lookup_owns(uint32_t request);

// ---- comm_merge.c
void comm_merge_add(struct comm *comm, void *taken);
void comm_merge_ask(struct comm *comm, void *asked);
void comm_merge_check(struct comm *comm);   // while COMM_MERGED waits
void comm_merge_pump(struct comm_link *link);
void comm_merge_lost(struct comm_link *link);
void comm_merge_nudge(struct comm_link *link);
void comm_merge_tick(struct comm *comm, uint64_t now_ms);
void *comm_merge_place(struct comm_link *link, const struct frame *header);
void comm_merge_data(struct comm_link *link, const struct frame *header, const void *dst,
                     bool sound);
void comm_merge_free(struct comm *comm);
