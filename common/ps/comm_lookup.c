// SPDX-License-Identifier: Apache-2.0
// Rows of tables, by number: the shell around a `lookup`. The row numbers lie in the comm's own
// memory, since a connection may read them after the call has failed. Invariant: the lookup belongs
// to the caller's thread but while COMM_LOOKUP waits for its answer, which comes when every part is
// here (or one was refused) and no connection reads row numbers any more.
#include <string.h>

#include "common/base/mem.h"
#include "common/net/conn.h"
#include "common/ps/comm_inside.h"
#include "common/ps/shard.h"

static int check_want(const struct slice_var *var, const struct comm_rows *want, struct err *err);
static int take_ids(struct comm *comm, const struct comm_rows *wants, size_t count,
                    struct err *err);
static uint32_t variable_index(const struct slice_map *map, const char *name);
static void on_released(void *arg, bool written);
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
    lookup_clear(&comm->lookup);
    for (size_t i = 0; i < count; i++) {
        uint32_t variable = variable_index(comm->map, wants[i].var);
        lookup_add(&comm->lookup, variable, comm->map->vars[variable], comm->ids + at,
                   wants[i].count, wants[i].out);
        at += wants[i].count;
    }
    struct comm_command command = {.verb = COMM_LOOKUP, .asks = true};
    rc = comm->lookup.count ? comm_ask(comm, &command, err) : 0;
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

// The place of a variable that is there.
static uint32_t variable_index(const struct slice_map *map, const char *name)
{
    size_t low = 0, high = map->vars_count;
    while (low + 1 < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(map->vars[mid]->name, name) <= 0)
            low = mid;
        else
            high = mid;
    }
    return (uint32_t)low;
}

// ---- the loop thread

bool comm_lookup_owns(uint32_t request)
{
    return request >= LOOKUP_REQUESTS;
}

void comm_lookup_start(struct comm *comm)
{
    lookup_begin(&comm->lookup);
    comm->lookup_why = (struct err){0};
    for (int s = 0; s < comm->servers; s++)
        comm_lookup_pump(&comm->links[s]);
}

// What finds no room is asked when there is some, or on the next connection.
void comm_lookup_pump(struct comm_link *link)
{
    struct comm *comm = link->comm;
    if (lookup_is_done(&comm->lookup) || !link->conn || !link->agreed || !link->welcomed ||
        (comm->reader && !link->pinned))
        return;
    struct lookup_part *part;
    int rc = 0;
    while (rc == 0 && (part = lookup_take(&comm->lookup, link->server)) != NULL) {
        struct session_chunk chunk = {
            .header = {.type = FRAME_LOOKUP,
                       .flags = FRAME_LAST,
                       .variable = part->variable,
                       .slice = part->slice,
                       .request = part->request,
                       .step = version(link),
                       .incarnation = link->incarnation},
            .body = part->ids,
            .body_bytes = part->count * (uint32_t)sizeof *part->ids,
            .release = on_released,
            .arg = comm,
        };
        rc = conn_send_chunk(link->conn, &chunk);
        if (rc < 0)
            lookup_untake(part);
        else
            comm->lookups_inflight++;
    }
}

void comm_lookup_lost(struct comm_link *link)
{
    lookup_again(&link->comm->lookup, link->server);
    comm_lookup_pump(link);
}

void comm_lookup_refused(struct comm_link *link, uint32_t request, int code, const char *text)
{
    struct comm *comm = link->comm;
    bool of_pin = comm_read_owns(request);   // which could not be had again
    if (!comm->waits || comm->waiting != COMM_LOOKUP ||
        (!of_pin && !lookup_find(&comm->lookup, link->server, request)))
        return;
    err_set(&comm->lookup_why, code < 0 ? code : SL_EREFUSED, "lookup at %s: %s", link->endpoint,
            text);
    lookup_end(&comm->lookup);
    comm_check_done(comm);
}

void *comm_lookup_place(struct comm_link *link, const struct frame *header)
{
    if (lookup_is_done(&link->comm->lookup) || header->step != version(link))
        return NULL;
    return lookup_place(&link->comm->lookup, link->server, header->request, header->offset,
                        header->body_bytes);
}

void comm_lookup_data(struct comm_link *link, const struct frame *header, const void *dst,
                      bool sound)
{
    lookup_data(&link->comm->lookup, link->server, header->request, header->body_bytes, dst, sound,
                header->flags & FRAME_LAST);
    comm_lookup_pump(link);
    comm_check_done(link->comm);
}

static void on_released(void *arg, bool written)
{
    struct comm *comm = arg;
    (void)written;
    comm->lookups_inflight--;
    if (!comm->lookups_inflight)
        comm_check_done(comm);
}

static uint64_t version(const struct comm_link *link)
{
    return link->comm->reader ? link->pin_version : step_version(link->comm->step);
}
