// SPDX-License-Identifier: Apache-2.0
// The inside of a handler, shared by handler.c (connections, deadlines, the end), handler_join.c
// (hello and what follows it), handler_step.c (a step's messages), handler_phase.c (its second
// phase), handler_read.c (pulls and pins) and handler_merge.c (sums over trainers). Nobody else
// includes this. Everything belongs to the loop thread.
#pragma once

#include "common/base/err.h"
#include "common/net/conn.h"
#include "common/net/loop.h"
#include "common/ps/handler.h"
#include "common/ps/reply.h"
#include "common/wire/message.h"

#define HANDLER_PINS_MAX 8   // of one connection

struct handler_client {
    struct handler *handler;
    struct conn *conn;
    struct handler_client *next, **link;
    bool reader;
    int trainer;   // -1: reader, or no hello yet
    uint64_t incarnation;
    bool leaving;   // said goodbye, or was sent away
    struct reply_queue replies;
    struct reply_lookup *lookup;   // whose ids are coming
    int64_t *merge;                // what comes of a merge
    bool merge_late;               // a settled sum found no room
    uint64_t pins[HANDLER_PINS_MAX];
    int pins_count;
    uint64_t pin_wanted;   // waits for this version
    uint32_t pin_request;
    bool pin_waits;
    uint64_t echo_ms;
    struct message_partial *decision;   // pages of a commit_step so far
    size_t decision_count, decision_cap;
    struct session_stats counted;   // already in the handler's totals
};

struct handler {
    struct handler_options options;
    struct loop *loop;
    const struct shard *shard;
    struct state *state;
    struct round *round;
    struct apply *apply;
    struct peer_table peers;
    struct reply_pool pool;
    struct merge *merge;
    struct loop_job retry;   // a step that waits for a reply's hold
    bool retry_posted;
    const struct message_partial *partials;   // of the stage of the second phase; apply's
    size_t partials_count;
    bool partials_ready;
    struct handler_client *clients;
    struct handler_client **by_trainer;
    bool ended, told_end;
    struct err why;
    uint64_t over_ms;         // when every trainer had completed; 0 = not yet
    uint64_t heartbeat_ms;    // when the last ones were sent
    uint64_t wait_since_ms;   // since some trainers wait for others; 0 = nobody does
    uint64_t said_ms;
    uint64_t step_start_ns;
    char wait_text[MESSAGE_TEXT_MAX];
    struct serve_stats stats;
};

// ---- handler.c
// The answer to a request that cannot be met; of a hello: and the connection ends.
int handler_refuse(struct handler_client *client, const struct frame *header,
                   const struct err *why);
void handler_notice(struct handler *handler, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

// ---- handler_join.c
int handler_join_hello(struct handler_client *client, const struct frame *header,
                       const struct message_hello *hello, struct err *err);
int handler_join_inventory(struct handler_client *client, const struct frame *header,
                           struct err *err);

// ---- handler_step.c
int handler_step_missing(struct handler_client *client, struct err *err);
int handler_step_missing_chunk(struct handler_client *client, const struct frame *header,
                               struct err *err);
int handler_step_barrier(struct handler_client *client, const struct frame *header,
                         struct err *err);
int handler_step_commit(struct handler_client *client, const struct frame *header,
                        const struct message_commit_step *commit, struct err *err);
int handler_step_complete(struct handler_client *client, const struct frame *header,
                          struct err *err);
void handler_step_advance(struct handler *handler);
void handler_step_released(void *self);
void handler_step_retry(void *arg);

// ---- handler_phase.c
// A stage begins: its numbers are computed and told to every trainer, as soon as no reply holds the
// bank that they are computed in.
void handler_phase_start(struct handler *handler);
void handler_phase_tell(struct handler_client *client);   // again, to one that came back
// A page of a decision: as round_commit_step.
int handler_phase_commit(struct handler_client *client, const struct frame *header,
                         const struct message_commit_step *page, struct err *err);
// The stage has ended: its numbers go to the blocks. false: the job has failed.
bool handler_phase_decided(struct handler *handler, int stage);

// ---- handler_read.c
int handler_read_pull(struct handler_client *client, const struct frame *header,
                      const struct message_ranges *ranges, struct err *err);
// A lookup's header has come (where its ids go) and all of its body.
int handler_read_lookup_place(struct handler_client *client, const struct frame *header,
                              void **out_dst, struct err *err);
int handler_read_lookup(struct handler_client *client, const struct frame *header, bool sound,
                        struct err *err);
void handler_read_pump(void *client);
int handler_read_pin(struct handler_client *client, const struct frame *header, struct err *err);
int handler_read_unpin(struct handler_client *client, uint64_t version);

// ---- handler_merge.c
// A merge's header has come (where its numbers go) and all of its body.
int handler_merge_place(struct handler_client *client, const struct frame *header, void **out_dst,
                        struct err *err);
int handler_merge_take(struct handler_client *client, const struct frame *header, bool sound,
                       struct err *err);
void handler_merge_leave(struct handler *handler, int trainer);   // it has completed
void handler_merge_pump(struct handler_client *client);           // there is room again
