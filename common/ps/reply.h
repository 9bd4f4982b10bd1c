// SPDX-License-Identifier: Apache-2.0
// What one connection still has to be told of the state: pulled ranges and looked-up rows, in the
// order of asking.
//
// Chunks of a range leave straight from the state, a hold each until their last byte is written,
// with one cached checksum per chunk and version for all receivers. Rows are gathered into a few
// buffers, just before they leave; the state is free again at once. What is asked of the version
// after the present one waits here until the step is committed. Owner: the loop thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct err;
struct frame;
struct message_range;
struct shard;
struct state;

// Holds and lookups in flight; one pool a server, so that nothing is allocated in steady state.
struct reply_pool {
    struct state *state;
    struct reply_hold *free;
    struct reply_hold *free_rows;   // with a buffer
    struct reply_lookup *free_lookups;
    void (*on_release)(void *self);   // a hold has gone: a bank may be free now. May be NULL
    void *self;
};
void reply_pool_init(struct reply_pool *pool, struct state *state);
void reply_pool_deinit(struct reply_pool *pool);

// The row numbers of one lookup, as they came.
struct reply_lookup {
    struct reply_lookup *next;
    int64_t *ids;
    size_t count;
    uint64_t cap_bytes;
};
// bytes of room for ids; NULL without memory.
struct reply_lookup *reply_lookup_take(struct reply_pool *pool, uint64_t bytes);
void reply_lookup_give(struct reply_pool *pool, struct reply_lookup *lookup);   // NULL is fine

struct reply_range;
struct reply_queue {
    struct reply_pool *pool;
    const struct shard *shard;
    uint32_t frame_bytes;
    struct reply_range *ranges;   // a ring
    size_t head, count, cap;
    uint64_t lookup_bytes;         // of ids that wait, at most LIMIT_LOOKUP_BYTES
    int gathered;                  // buffers of rows on their way
    bool stalled;                  // for want of one
    void (*on_room)(void *self);   // there is one again: pump. May be NULL
    void *self;
};
void reply_queue_init(struct reply_queue *queue, struct reply_pool *pool, const struct shard *shard,
                      uint32_t frame_bytes);
void reply_queue_deinit(struct reply_queue *queue);
// Checks and queues ranges of version (state's or the next). SL_EINVAL, SL_ENOENT (version gone or
// too far; a value of trainers that this server has not loaded).
int reply_queue_add(struct reply_queue *queue, uint32_t request, uint64_t version,
                    uint64_t incarnation, const struct message_range *ranges, size_t count,
                    struct err *err);
// The same for rows: header is the lookup's, version as above. The queue takes the lookup, which it
// gives back also on an error. SL_EINVAL: ids that are not ascending rows of a value here.
int reply_queue_add_lookup(struct reply_queue *queue, const struct frame *header, uint64_t version,
                           uint64_t incarnation, struct reply_lookup *lookup, struct err *err);
// Sends while the connection has room and versions are there. SL_ENOENT: the version at the front
// has gone meanwhile (*out_request: whose it was; it is dropped).
int reply_queue_pump(struct reply_queue *queue, struct conn *conn, uint32_t *out_request,
                     struct err *err);
