// SPDX-License-Identifier: Apache-2.0
// Rows of tables, by number. The caller's thread cuts what is wanted at the borders of slices (ids
// ascend, so each slice gets one run) and into frames; the loop thread asks for all of it at once
// and puts the answers in their place. The row numbers lie in the comm's own memory, since a
// connection may read them after the call has failed. Invariant: the list of parts does not change
// while COMM_LOOKUP waits for its answer, which comes when every part is complete and no connection
// reads row numbers any more.
#include <inttypes.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/conn.h"
#include "common/ps/comm_inside.h"
#include "common/ps/shard.h"

#define LOOKUP_REQUESTS 0xc0000000u                        // from here on
#define LOOKUP_IDS (FRAME_CHUNK_BYTES / sizeof(int64_t))   // in one frame
#define LOOKUP_ASKED (LIMIT_LOOKUP_BYTES / 2)              // at a time on one connection

static int check_want(const struct slice_var *var, const struct comm_rows *want, struct err *err);
static int take_ids(struct comm *comm, const struct comm_rows *wants, size_t count,
                    struct err *err);
static size_t variable_index(const struct slice_map *map, const char *name);
static void cut(struct comm *comm, size_t variable, const struct comm_rows *want, int64_t *ids);
static void ask_part(struct comm_link *link, struct comm_lookup *part);
static void on_released(void *arg, bool written);
static struct comm_lookup *find_part(const struct comm *comm, const struct comm_link *link,
                                     uint32_t request);
static uint64_t version(const struct comm_link *link);

// ---- the caller's thread

int comm_lookup(struct comm *comm, const struct comm_rows *wants, size_t count, struct err *err)
{
    int rc = comm_check_failed(comm, err);
    bool own = comm->reader && !comm->pinned;
    uint64_t pinned;
    if (rc >= 0)
        rc = take_ids(comm, wants, count, err);
    if (rc >= 0 && own)
        rc = comm_pin(comm, &pinned, err);
    if (rc < 0)
        return rc;
    size_t at = 0;
    comm->lookups_count = 0;
    for (size_t i = 0; i < count; i++) {
        cut(comm, variable_index(comm->map, wants[i].var), &wants[i], comm->ids + at);
        at += wants[i].count;
    }
    struct comm_command command = {.verb = COMM_LOOKUP, .asks = true};
    rc = comm->lookups_count ? comm_ask(comm, &command, err) : 0;
    if (own) {
        int unpinned = comm_unpin(comm, rc < 0 ? NULL : err);
        rc = rc < 0 ? rc : unpinned;
    }
    return rc;
}

// Checks all that is wanted and copies its row numbers.
static int take_ids(struct comm *comm, const struct comm_rows *wants, size_t count, struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        int rc = check_want(slice_map_find(comm->map, wants[i].var), &wants[i], err);
        if (rc < 0)
            return rc;
        total += wants[i].count;
    }
    if (total > comm->ids_cap) {
        size_t cap = total + total / 2;
        mem_free(comm->ids);
        comm->ids = mem_alloc(cap * sizeof *comm->ids);
        comm->ids_cap = comm->ids ? cap : 0;
        if (!comm->ids)
            return err_set(err, SL_ENOMEM, "lookup: no memory for %zu row numbers", total);
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (wants[i].count)
            memcpy(comm->ids + at, wants[i].ids, wants[i].count * sizeof *comm->ids);
        at += wants[i].count;
    }
    return 0;
}

static int check_want(const struct slice_var *var, const struct comm_rows *want, struct err *err)
{
    if (!var || (var->role != SLICE_PARAM && var->role != SLICE_STATE))
        return err_set(err, SL_EINVAL, "lookup: the servers have no variable %s", want->var);
    if (!var->dims.rank || var->replicated || !shard_row_bytes(var))
        return err_set(err, SL_EINVAL, "lookup: %s has no rows", want->var);
    return shard_check_order(want->var, want->ids, want->count, var->dims.d[0], err);
}

static size_t variable_index(const struct slice_map *map, const char *name)
{
    const struct slice_var *var = slice_map_find(map, name);
    size_t low = 0, high = map->vars_count;
    while (low + 1 < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(map->vars[mid]->name, var->name) <= 0)
            low = mid;
        else
            high = mid;
    }
    return low;
}

// Makes the parts of one variable and the ids those of their slices.
static void cut(struct comm *comm, size_t variable, const struct comm_rows *want, int64_t *ids)
{
    const struct slice_var *var = comm->map->vars[variable];
    uint64_t row_bytes = shard_row_bytes(var);
    uint8_t *out = want->out;
    size_t at = 0, first = 0;
    for (uint32_t s = 0; s < var->slices_count && at < want->count; s++) {
        const struct slice *slice = &var->slices[s];
        while (at < want->count && ids[at] < slice->row + slice->rows) {
            ids[at++] -= slice->row;
            bool full = at - first == LOOKUP_IDS;
            if (!full && at < want->count && ids[at] < slice->row + slice->rows)
                continue;
            MEM_GROW(comm->lookups, comm->lookups_count, comm->lookups_cap);
            comm->lookups[comm->lookups_count++] = (struct comm_lookup){
                .server = slice->server,
                .variable = (uint32_t)variable,
                .slice = s,
                .ids = ids + first,
                .count = (uint32_t)(at - first),
                .row_bytes = row_bytes,
                .bytes = (at - first) * row_bytes,
                .dst = out + first * row_bytes,
            };
            first = at;
        }
    }
}

// ---- the loop thread

bool comm_lookup_owns(uint32_t request)
{
    return request >= LOOKUP_REQUESTS;
}

void comm_lookup_start(struct comm *comm)
{
    comm->lookups_open = comm->lookups_count;
    comm->lookup_why = (struct err){0};
    for (int s = 0; s < comm->servers; s++)
        comm_lookup_pump(&comm->links[s]);
}

void comm_lookup_pump(struct comm_link *link)
{
    struct comm *comm = link->comm;
    if (!comm->lookups_open || !link->conn || !link->agreed || !link->welcomed ||
        (comm->reader && !link->pinned))
        return;
    uint64_t asked = 0;
    for (size_t i = 0; i < comm->lookups_count; i++) {
        struct comm_lookup *part = &comm->lookups[i];
        if (part->server != link->server || part->done)
            continue;
        if (!part->request && asked < LOOKUP_ASKED)
            ask_part(link, part);
        asked += part->request ? part->count * sizeof *part->ids : 0;
    }
}

void comm_lookup_lost(struct comm_link *link)
{
    struct comm *comm = link->comm;
    for (size_t i = 0; comm->lookups_open && i < comm->lookups_count; i++)
        if (comm->lookups[i].server == link->server && !comm->lookups[i].done)
            comm->lookups[i].request = 0;
    comm_lookup_pump(link);
}

void comm_lookup_refused(struct comm_link *link, uint32_t request, int code, const char *text)
{
    struct comm *comm = link->comm;
    bool of_pin = comm_read_owns(request);   // which could not be had again
    if (!comm->waits || comm->waiting != COMM_LOOKUP ||
        (!of_pin && !find_part(comm, link, request)))
        return;
    err_set(&comm->lookup_why, code < 0 ? code : SL_EREFUSED, "lookup at %s: %s", link->endpoint,
            text);
    comm->lookups_open = 0;
    comm_check_done(comm);
}

void *comm_lookup_place(struct comm_link *link, const struct frame *header)
{
    struct comm_lookup *part = find_part(link->comm, link, header->request);
    if (!part || header->step != version(link) || header->offset != part->got ||
        header->body_bytes > part->bytes - part->got)
        return NULL;
    return part->dst + part->got;
}

// Rows come in order on one connection; what does not go on there is asked for again.
void comm_lookup_data(struct comm_link *link, const struct frame *header, const void *dst,
                      bool sound)
{
    struct comm *comm = link->comm;
    struct comm_lookup *part = find_part(comm, link, header->request);
    if (!part)
        return;
    if (dst && sound)
        part->got += header->body_bytes;
    if (part->got == part->bytes) {
        part->done = true;
        comm->lookups_open--;
        comm_lookup_pump(link);
        comm_check_done(comm);
    } else if (!sound || (header->flags & FRAME_LAST)) {
        part->request = 0;
        comm_lookup_pump(link);
    }
}

// All of the part, also when some of it is here: a part is small.
static void ask_part(struct comm_link *link, struct comm_lookup *part)
{
    struct comm *comm = link->comm;
    comm->lookup_request = (comm->lookup_request + 1) | LOOKUP_REQUESTS;
    part->got = 0;
    struct session_chunk chunk = {
        .header = {.type = FRAME_LOOKUP,
                   .flags = FRAME_LAST,
                   .variable = part->variable,
                   .slice = part->slice,
                   .request = comm->lookup_request,
                   .step = version(link),
                   .incarnation = link->incarnation},
        .body = part->ids,
        .body_bytes = part->count * (uint32_t)sizeof *part->ids,
        .release = on_released,
        .arg = comm,
    };
    if (conn_send_chunk(link->conn, &chunk) < 0)
        return;   // asked when there is room, or on the next connection
    part->request = comm->lookup_request;
    comm->lookups_inflight++;
}

static void on_released(void *arg, bool written)
{
    struct comm *comm = arg;
    (void)written;
    comm->lookups_inflight--;
    if (!comm->lookups_inflight)
        comm_check_done(comm);
}

static struct comm_lookup *find_part(const struct comm *comm, const struct comm_link *link,
                                     uint32_t request)
{
    for (size_t i = 0; comm->lookups_open && i < comm->lookups_count; i++) {
        struct comm_lookup *part = &comm->lookups[i];
        if (part->request == request && part->server == link->server && !part->done)
            return part;
    }
    return NULL;
}

static uint64_t version(const struct comm_link *link)
{
    return link->comm->reader ? link->pin_version : step_version(link->comm->step);
}
