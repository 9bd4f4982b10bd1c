// SPDX-License-Identifier: Apache-2.0
// See reply.h.
#include "common/ps/reply.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/net/conn.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"
#include "common/wire/message.h"

#define REPLY_RANGES_MAX (1u << 20)   // waiting on one connection

struct reply_hold {
    struct reply_pool *pool;
    int64_t token;
    struct reply_hold *next;
};

struct reply_range {
    const struct state_entry *entry;
    uint32_t variable, slice, request;
    uint64_t version, incarnation, at, end;
};

static struct reply_range *push_back(struct reply_queue *queue);
static int send_next(struct reply_queue *queue, struct reply_range *range, struct conn *conn,
                     struct err *err);
static void release_hold(void *arg, bool written);

void reply_pool_init(struct reply_pool *pool, struct state *state)
{
    memset(pool, 0, sizeof *pool);
    pool->state = state;
}

void reply_pool_deinit(struct reply_pool *pool)
{
    while (pool->free) {
        struct reply_hold *hold = pool->free;
        pool->free = hold->next;
        mem_free(hold);
    }
}

void reply_queue_init(struct reply_queue *queue, struct reply_pool *pool, const struct shard *shard,
                      uint32_t frame_bytes)
{
    memset(queue, 0, sizeof *queue);
    queue->pool = pool;
    queue->shard = shard;
    queue->frame_bytes = frame_bytes;
}

void reply_queue_deinit(struct reply_queue *queue)
{
    mem_free(queue->ranges);
    memset(queue, 0, sizeof *queue);
}

int reply_queue_add(struct reply_queue *queue, uint32_t request, uint64_t version,
                    uint64_t incarnation, const struct message_range *ranges, size_t count,
                    struct err *err)
{
    const struct state *state = queue->pool->state;
    if (version != state->version + 1 && !state_has(state, version))
        return err_set(err, SL_ENOENT,
                       "version %" PRIu64 " is not here: this server holds %" PRIu64, version,
                       state->version);
    if (queue->count + count > REPLY_RANGES_MAX)
        return err_set(err, SL_ELIMIT, "more than %u pulled ranges are waiting", REPLY_RANGES_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct shard_slice *slice =
            shard_find(queue->shard, ranges[i].variable, ranges[i].slice);
        const struct state_entry *entry =
            slice && slice->role != SLICE_GRAD ? state_find(state, slice->place->name) : NULL;
        if (!entry && slice && slice->role == SLICE_TRAINER)
            return err_set(err, SL_ENOENT, "%s: only trainers hold it", slice->place->name);
        if (!entry)
            return err_set(err, SL_EINVAL, "variable %u slice %u: no value of this server",
                           ranges[i].variable, ranges[i].slice);
        if (!ranges[i].bytes || ranges[i].offset > entry->bytes ||
            ranges[i].bytes > entry->bytes - ranges[i].offset)
            return err_set(err, SL_EINVAL,
                           "%s: bytes %" PRIu64 "..+%" PRIu64 " are outside its %" PRIu64 " bytes",
                           entry->name, ranges[i].offset, ranges[i].bytes, entry->bytes);
        *push_back(queue) = (struct reply_range){
            .entry = entry,
            .variable = ranges[i].variable,
            .slice = ranges[i].slice,
            .request = request,
            .version = version,
            .incarnation = incarnation,
            .at = ranges[i].offset,
            .end = ranges[i].offset + ranges[i].bytes,
        };
    }
    return 0;
}

int reply_queue_pump(struct reply_queue *queue, struct conn *conn, uint32_t *out_request,
                     struct err *err)
{
    const struct state *state = queue->pool->state;
    while (queue->count) {
        struct reply_range *range = &queue->ranges[queue->head];
        if (range->version == state->version + 1)
            return 0;
        int rc;
        if (state_has(state, range->version)) {
            rc = send_next(queue, range, conn, err);
            if (rc == SL_EAGAIN)
                return 0;
        } else {
            rc = err_set(err, SL_ENOENT,
                         "%s: version %" PRIu64
                         " has gone while it was sent (pin it to read slowly)",
                         range->entry->name, range->version);
            *out_request = range->request;
            range->at = range->end;
        }
        if (range->at == range->end) {
            queue->head = (queue->head + 1) % queue->cap;
            queue->count--;
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static struct reply_range *push_back(struct reply_queue *queue)
{
    if (queue->count == queue->cap) {
        size_t cap = queue->cap ? queue->cap * 2 : 64;
        struct reply_range *ranges = mem_must_calloc(cap, sizeof *ranges);
        for (size_t i = 0; i < queue->count; i++)
            ranges[i] = queue->ranges[(queue->head + i) % queue->cap];
        mem_free(queue->ranges);
        queue->ranges = ranges;
        queue->cap = cap;
        queue->head = 0;
    }
    return &queue->ranges[(queue->head + queue->count++) % queue->cap];
}

// One frame: up to the next cell of the checksum grid, so that its checksum can be shared.
static int send_next(struct reply_queue *queue, struct reply_range *range, struct conn *conn,
                     struct err *err)
{
    struct reply_pool *pool = queue->pool;
    struct state *state = pool->state;
    uint64_t *hashes;
    const uint8_t *data = state_at(state, range->entry, range->version, &hashes);
    uint64_t grain = queue->frame_bytes, cell = range->at / grain, whole = (cell + 1) * grain;
    uint64_t cell_end = whole < range->entry->bytes ? whole : range->entry->bytes;
    uint64_t end = cell_end < range->end ? cell_end : range->end;
    bool shared =
        hashes && state->hash_bytes == grain && range->at == cell * grain && end == cell_end;
    struct reply_hold *hold = pool->free;
    if (hold)
        pool->free = hold->next;
    else
        hold = mem_calloc(1, sizeof *hold);
    if (!hold)
        return err_set(err, SL_ENOMEM, "no memory for a reply");
    hold->pool = pool;
    hold->token = state_hold(state, range->entry, range->version);
    struct session_chunk chunk = {
        .header =
            {
                .type = FRAME_DATA,
                .flags = end == range->end ? FRAME_LAST : 0,
                .variable = range->variable,
                .slice = range->slice,
                .request = range->request,
                .step = range->version,
                .incarnation = range->incarnation,
                .offset = range->at,
            },
        .body = data + range->at,
        .body_bytes = (uint32_t)(end - range->at),
        .hash_cell = shared ? &hashes[cell] : NULL,
        .release = release_hold,
        .arg = hold,
    };
    int rc = conn_send_chunk(conn, &chunk);
    if (rc < 0) {
        state_release(state, hold->token);
        hold->next = pool->free;
        pool->free = hold;
        return rc == SL_EAGAIN ? rc : err_set(err, rc, "reply: %s", err_name(rc));
    }
    range->at = end;
    return 0;
}

static void release_hold(void *arg, bool written)
{
    (void)written;
    struct reply_hold *hold = arg;
    struct reply_pool *pool = hold->pool;
    state_release(pool->state, hold->token);
    hold->next = pool->free;
    pool->free = hold;
    if (pool->on_release)
        pool->on_release(pool->self);
}
