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
#define REPLY_GATHERED_MAX 8          // buffers of rows on their way on one connection
#define REPLY_AHEAD 12                // rows fetched into the cache before they are copied

struct reply_hold {
    struct reply_pool *pool;
    int64_t token;
    struct reply_hold *next;
    uint8_t *rows;   // gathered; NULL: straight from the state
    struct reply_queue *queue;
};

struct reply_range {
    const struct state_entry *entry;
    uint32_t variable, slice, request;
    uint64_t version, incarnation, at, end;
    struct reply_lookup *lookup;   // at and end count in the rows found; NULL: in the slice
    uint64_t row_bytes;
};

static struct reply_range *push_back(struct reply_queue *queue);
static int send_next(struct reply_queue *queue, struct reply_range *range, struct conn *conn,
                     struct err *err);
static void pop_front(struct reply_queue *queue);
static int send_rows(struct reply_queue *queue, struct reply_range *range, struct conn *conn,
                     struct err *err);
static void gather(uint8_t *out, const uint8_t *table, const struct reply_range *range,
                   uint64_t bytes);
static void release_hold(void *arg, bool written);
static void release_rows(void *arg, bool written);

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
    while (pool->free_rows) {
        struct reply_hold *hold = pool->free_rows;
        pool->free_rows = hold->next;
        mem_free(hold->rows);
        mem_free(hold);
    }
    while (pool->free_lookups) {
        struct reply_lookup *lookup = pool->free_lookups;
        pool->free_lookups = lookup->next;
        mem_free(lookup->ids);
        mem_free(lookup);
    }
}

struct reply_lookup *reply_lookup_take(struct reply_pool *pool, uint64_t bytes)
{
    struct reply_lookup *lookup = pool->free_lookups;
    if (lookup)
        pool->free_lookups = lookup->next;
    else
        lookup = mem_calloc(1, sizeof *lookup);
    if (!lookup || lookup->cap_bytes >= bytes)
        return lookup;
    uint64_t cap = bytes < FRAME_CHUNK_BYTES ? FRAME_CHUNK_BYTES : bytes;
    int64_t *grown = mem_realloc(lookup->ids, (size_t)cap);
    if (!grown) {
        reply_lookup_give(pool, lookup);
        return NULL;
    }
    lookup->ids = grown;
    lookup->cap_bytes = cap;
    return lookup;
}

void reply_lookup_give(struct reply_pool *pool, struct reply_lookup *lookup)
{
    if (!lookup)
        return;
    if (lookup->cap_bytes > FRAME_CHUNK_BYTES) {   // unusual; not worth keeping
        mem_free(lookup->ids);
        mem_free(lookup);
        return;
    }
    lookup->next = pool->free_lookups;
    pool->free_lookups = lookup;
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
    while (queue->count)
        pop_front(queue);
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

int reply_queue_add_lookup(struct reply_queue *queue, const struct frame *header, uint64_t version,
                           uint64_t incarnation, struct reply_lookup *lookup, struct err *err)
{
    const struct state *state = queue->pool->state;
    const struct shard_slice *slice = shard_find(queue->shard, header->variable, header->slice);
    const struct state_entry *entry =
        slice && slice->role != SLICE_GRAD ? state_find(state, slice->place->name) : NULL;
    uint64_t bytes = lookup->count * sizeof *lookup->ids;
    int rc = 0;
    if (!entry || !slice->row_bytes || !entry->dims.rank)
        rc = err_set(err, SL_EINVAL, "variable %u slice %u: no rows of this server",
                     header->variable, header->slice);
    else if (version != state->version + 1 && !state_has(state, version))
        rc = err_set(err, SL_ENOENT, "version %" PRIu64 " is not here: this server holds %" PRIu64,
                     version, state->version);
    else if (queue->count == REPLY_RANGES_MAX || bytes > LIMIT_LOOKUP_BYTES - queue->lookup_bytes)
        rc = err_set(err, SL_ELIMIT, "more than %u bytes of row numbers are waiting",
                     LIMIT_LOOKUP_BYTES);
    else
        rc = shard_check_order(entry->name, lookup->ids, lookup->count, entry->dims.d[0], err);
    if (rc < 0) {
        reply_lookup_give(queue->pool, lookup);
        return rc;
    }
    queue->lookup_bytes += bytes;
    *push_back(queue) = (struct reply_range){
        .entry = entry,
        .variable = header->variable,
        .slice = header->slice,
        .request = header->request,
        .version = version,
        .incarnation = incarnation,
        .end = lookup->count * slice->row_bytes,
        .lookup = lookup,
        .row_bytes = slice->row_bytes,
    };
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
            rc = range->lookup ? send_rows(queue, range, conn, err)
                               : send_next(queue, range, conn, err);
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
        if (range->at == range->end)
            pop_front(queue);
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

static void pop_front(struct reply_queue *queue)
{
    struct reply_lookup *lookup = queue->ranges[queue->head].lookup;
    if (lookup)
        queue->lookup_bytes -= lookup->count * sizeof *lookup->ids;
    reply_lookup_give(queue->pool, lookup);
    queue->head = (queue->head + 1) % queue->cap;
    queue->count--;
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

// One frame of looked-up rows. SL_EAGAIN also when all of this connection's buffers are on their
// way.
static int send_rows(struct reply_queue *queue, struct reply_range *range, struct conn *conn,
                     struct err *err)
{
    struct reply_pool *pool = queue->pool;
    struct reply_hold *hold = pool->free_rows;
    queue->stalled = queue->gathered == REPLY_GATHERED_MAX;
    if (queue->stalled)
        return SL_EAGAIN;
    if (hold) {
        pool->free_rows = hold->next;
    } else if (!(hold = mem_calloc(1, sizeof *hold)) ||
               !(hold->rows = mem_alloc_aligned(queue->frame_bytes))) {
        mem_free(hold);
        return err_set(err, SL_ENOMEM, "no memory for a reply");
    }
    uint64_t left = range->end - range->at;
    uint64_t bytes = left < queue->frame_bytes ? left : queue->frame_bytes;
    gather(hold->rows, state_at(pool->state, range->entry, range->version, NULL), range, bytes);
    hold->pool = pool;
    hold->queue = queue;
    struct session_chunk chunk = {
        .header =
            {
                .type = FRAME_DATA,
                .flags = bytes == left ? FRAME_LAST : 0,
                .variable = range->variable,
                .slice = range->slice,
                .request = range->request,
                .step = range->version,
                .incarnation = range->incarnation,
                .offset = range->at,
            },
        .body = hold->rows,
        .body_bytes = (uint32_t)bytes,
        .release = release_rows,
        .arg = hold,
    };
    int rc = conn_send_chunk(conn, &chunk);
    if (rc < 0) {
        hold->next = pool->free_rows;
        pool->free_rows = hold;
        return rc == SL_EAGAIN ? rc : err_set(err, rc, "reply: %s", err_name(rc));
    }
    queue->gathered++;
    range->at += bytes;
    return 0;
}

// out = bytes of the rows found, from range->at on (a frame may end within a row).
static void gather(uint8_t *out, const uint8_t *table, const struct reply_range *range,
                   uint64_t bytes)
{
    const int64_t *ids = range->lookup->ids;
    size_t count = range->lookup->count, i = (size_t)(range->at / range->row_bytes);
    uint64_t skip = range->at % range->row_bytes;
    while (bytes) {
        uint64_t left = range->row_bytes - skip, take = left < bytes ? left : bytes;
        if (i + REPLY_AHEAD < count)
            __builtin_prefetch(table + (uint64_t)ids[i + REPLY_AHEAD] * range->row_bytes);
        memcpy(out, table + (uint64_t)ids[i] * range->row_bytes + skip, (size_t)take);
        out += take;
        bytes -= take;
        skip = 0;
        i++;
    }
}

static void release_rows(void *arg, bool written)
{
    struct reply_hold *hold = arg;
    struct reply_pool *pool = hold->pool;
    struct reply_queue *queue = hold->queue;
    hold->next = pool->free_rows;
    pool->free_rows = hold;
    queue->gathered--;
    if (written && queue->stalled && queue->on_room) {
        queue->stalled = false;
        queue->on_room(queue->self);
    }
}
