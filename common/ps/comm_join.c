// SPDX-License-Identifier: Apache-2.0
// The opening of a comm: every server has said welcome, and they must agree (the same checkpoint,
// the same step, the same incarnation of this trainer). A reader also learns the slice map. Owner:
// the loop thread.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/net/conn.h"
#include "common/net/rpc_client.h"
#include "common/ps/comm_inside.h"

static bool all_told(const struct comm *comm);
static bool order_reader(struct comm *comm, struct err *err);
static bool agree_incarnation(struct comm *comm);
static int compare(const struct comm *comm, struct err *err);
static int ask_inventory(struct comm *comm, struct err *err);
static void finish(struct comm *comm);

void comm_join_check(struct comm *comm)
{
    struct err err = {0};
    if (comm->joined || !comm->waits || comm->waiting != COMM_OPEN || !all_told(comm))
        return;
    int rc = order_reader(comm, &err) ? 0 : err.code;
    if (rc >= 0 && !comm->reader && !agree_incarnation(comm))
        return;   // the others are asked again
    if (rc >= 0)
        rc = compare(comm, &err);
    if (rc >= 0 && comm->reader && !comm->links[0].inventory_done) {
        rc = ask_inventory(comm, &err);
        if (rc >= 0)
            return;
    }
    if (rc < 0) {
        // A trainer that finds the servers apart tells them: the job cannot begin.
        comm->joined = rc == SL_EMISMATCH && !comm->reader;
        comm_fail(comm, NULL, rc, err.text, NULL);
        return;
    }
    finish(comm);
}

int comm_join_inventory(struct comm_link *link, const struct frame *header,
                        const struct message_inventory *page, struct err *err)
{
    struct comm *comm = link->comm;
    struct slice_map *map = &comm->own_map;
    if (link->inventory_done || !comm->reader || link != &comm->links[0])
        return 0;
    map->servers = (int)page->servers;
    map->trainers = (int)page->trainers;
    for (size_t i = 0; i < page->vars_count; i++) {
        const struct message_inventory_var *from = &page->vars[i];
        struct slice_var *var = map->vars_count ? map->vars[map->vars_count - 1] : NULL;
        if (from->slices_first == 0) {
            if (from->role > SLICE_TRAINER || from->index != map->vars_count ||
                (int)page->servers != comm->servers)
                return err_set(err, SL_EFORMAT, "inventory: variable %u (%s) is out of order",
                               from->index, from->name);
            var = slice_map_add(map, from->name, (enum slice_role)from->role,
                                from->param[0] ? from->param : NULL, from->dtype, &from->dims);
            var->replicated = from->replicated;
            var->sparse = from->sparse;
        } else if (!var || !str_eq(var->name, from->name) ||
                   from->slices_first != var->slices_count) {
            return err_set(err, SL_EFORMAT, "inventory: slices of %s do not fit together",
                           from->name);
        }
        for (size_t s = 0; s < from->slices_count; s++)
            slice_var_add(var, (int)from->slices[s].server, from->slices[s].row,
                          from->slices[s].rows, from->slices[s].name);
    }
    if (!(header->flags & FRAME_LAST))
        return 0;
    int rc = slice_map_finish(map, err);
    if (rc < 0)
        return rc;
    comm->map = map;
    link->inventory_done = true;
    comm_join_check(comm);
    return 0;
}

static bool all_told(const struct comm *comm)
{
    for (int s = 0; s < comm->servers; s++)
        if (!comm->links[s].welcomed || !comm->links[s].progress_done)
            return false;
    return true;
}

// A reader's endpoints may come in any order; the welcomes tell which server each is.
static bool order_reader(struct comm *comm, struct err *err)
{
    if (!comm->reader)
        return true;
    bool *seen = mem_must_calloc((size_t)comm->servers + 1, sizeof *seen);
    int rc = 0;
    for (int s = 0; rc == 0 && s < comm->servers; s++) {
        struct comm_link *link = &comm->links[s];
        if (link->welcome.servers != (uint32_t)comm->servers)
            rc = err_set(err, SL_EINVAL,
                         "%s belongs to a job with %u servers, but %d endpoints were given",
                         link->endpoint, link->welcome.servers, comm->servers);
        else if (seen[link->welcome.server_index])
            rc = err_set(err, SL_EINVAL, "%s is server %u of its job, and so is another endpoint",
                         link->endpoint, link->welcome.server_index);
        if (rc == 0) {
            seen[link->welcome.server_index] = true;
            link->server = (int)link->welcome.server_index;
        }
    }
    mem_free(seen);
    return rc == 0;
}

// The incarnation is the highest that any server grants; the others are asked for that one again.
static bool agree_incarnation(struct comm *comm)
{
    bool all = true;
    for (int s = 0; s < comm->servers; s++)
        if (comm->links[s].incarnation > comm->incarnation)
            comm->incarnation = comm->links[s].incarnation;
    for (int s = 0; s < comm->servers; s++) {
        struct comm_link *link = &comm->links[s];
        if (link->incarnation == comm->incarnation)
            continue;
        struct err why = {0};
        err_set(&why, SL_EAGAIN, "asking for incarnation %" PRIu64, comm->incarnation);
        link->welcomed = all = false;
        conn_close(link->conn, &why);
    }
    return all;
}

static int compare(const struct comm *comm, struct err *err)
{
    const struct comm_link *a = &comm->links[0];
    for (int s = 1; s < comm->servers; s++) {
        const struct comm_link *b = &comm->links[s];
        if (a->welcome.origin != b->welcome.origin)
            return err_set(err, SL_EMISMATCH,
                           "%s was loaded from a checkpoint and %s is fresh: start all servers "
                           "from the same checkpoint",
                           (a->welcome.origin == MESSAGE_LOADED ? a : b)->endpoint,
                           (a->welcome.origin == MESSAGE_LOADED ? b : a)->endpoint);
        if (!str_eq(a->welcome.digest, b->welcome.digest))
            return err_set(err, SL_EMISMATCH,
                           "the servers hold different checkpoints: %s has %.16s (step %" PRIu64
                           "), %s has %.16s (step %" PRIu64
                           "); start all servers from the same one",
                           a->endpoint, a->welcome.digest, a->version, b->endpoint,
                           b->welcome.digest, b->version);
        // A reader may meet a running job, whose servers differ by a step now and then.
        if (!comm->reader && (a->version != b->version || a->welcome.epoch != b->welcome.epoch))
            return err_set(err, SL_EMISMATCH,
                           "the servers stand at different steps: %s at %" PRIu64
                           ", %s at %" PRIu64,
                           a->endpoint, a->version, b->endpoint, b->version);
    }
    return 0;
}

static int ask_inventory(struct comm *comm, struct err *err)
{
    if (comm->links[0].inventory_asked)
        return 0;
    comm->links[0].inventory_asked = true;
    slice_map_deinit(&comm->own_map);
    slice_map_init(&comm->own_map);
    struct frame header = {.type = FRAME_INVENTORY_REQUEST};
    return conn_send_plain(comm->links[0].conn, &header, err);
}

static void finish(struct comm *comm)
{
    const struct comm_link *first = &comm->links[0];
    comm->joined = true;
    comm->welcome = (struct comm_welcome){
        .step = first->version,
        .epoch = (int64_t)first->welcome.epoch,
        .loaded = first->welcome.origin == MESSAGE_LOADED,
        .digest = first->digest,
        .progress = buf_text(&comm->links[0].progress),
        .trainers = (int)first->welcome.trainers,
    };
    if (!comm->reader) {
        struct step_options options = {.map = comm->map, .step = first->version};
        comm->step = step_new(&options);
    }
    for (int s = 0; s < comm->servers; s++) {
        comm->links[s].agreed = true;
        if (comm->step)
            step_connected(comm->step, comm->links[s].server, false);
    }
    comm_answer(comm, 0, NULL);
}
