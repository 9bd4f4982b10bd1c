// SPDX-License-Identifier: Apache-2.0
// The trainers: their steps, connections and what they check. See sim.c.
#include "tests/sim/sim_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// A step begins with a lookup of some rows of every table.
void sim_trainer_start_step(struct sim *sim, int trainer)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    uint64_t step = step_number(t->step);
    size_t table = 0;
    lookup_clear(&t->lookup);
    for (uint32_t v = 0; v < sim->map.vars_count; v++) {
        const struct slice_var *var = sim->map.vars[v];
        if (var->role != SLICE_PARAM || !var->sparse)
            continue;
        size_t count = 0;
        for (int64_t r = 0; r < var->dims.d[0]; r++)
            if (((uint64_t)r + step) % 3)
                t->ids[table][count++] = r;
        memcpy(t->own_ids[table], t->ids[table], sizeof t->ids[table]);
        t->ids_count[table] = count;
        lookup_add(&t->lookup, v, var, t->own_ids[table], count, t->rows[table]);
        table++;
    }
    lookup_begin(&t->lookup);
    t->looking = true;
    t->computing = t->fetching = false;
    for (int s = 0; s < sim->servers_count; s++)
        sim_trainer_pump(sim, trainer, s);
}

// All rows are here: they are the version that the trainer is at.
static void end_lookup(struct sim *sim, int trainer)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    if (!t->looking || !lookup_is_done(&t->lookup))
        return;
    uint64_t version = step_number(t->step);
    size_t table = 0;
    for (uint32_t v = 0; v < sim->map.vars_count; v++) {
        const struct slice_var *var = sim->map.vars[v];
        if (var->role != SLICE_PARAM || !var->sparse)
            continue;
        size_t width = (size_t)var->dims.d[1];
        for (size_t i = 0; i < t->ids_count[table]; i++) {
            int64_t row = t->ids[table][i];
            size_t slice = 0;
            while (row >= var->slices[slice].row + var->slices[slice].rows)
                slice++;
            for (size_t e = 0; e < width; e++) {
                uint64_t at = (uint64_t)(row - var->slices[slice].row) * width + e;
                float want = sim_server_ledger_value(sim, version, var, slice, at);
                float got = t->rows[table][i * width + e];
                if (got != want)
                    sim_link_failed(sim,
                                    "trainer %d: row %lld of %s at version %llu is %g, the ledger "
                                    "says %g",
                                    trainer, (long long)row, var->name, (unsigned long long)version,
                                    got, want);
            }
            sim->rows_read++;
        }
        table++;
    }
    t->looking = false;
    t->computing = true;
    t->ready_ms = sim->now_ms + sim_link_dice(sim, 4);
}

// The rows of a slice that the batch touches, as they travel. Returns their number.
static uint32_t make_rows(struct sim_trainer *t, int trainer, uint32_t variable, size_t n,
                          const struct slice_var *var, size_t slice)
{
    uint64_t step = step_number(t->step);
    size_t width = (size_t)var->dims.d[1], count = 0, at = 0;
    const struct slice *place = &var->slices[slice];
    for (int64_t r = 0; r < place->rows; r++)
        count += sim_server_ledger_touches(trainer, step, (uint64_t)(place->row + r));
    for (int64_t r = 0; r < place->rows; r++) {
        if (!sim_server_ledger_touches(trainer, step, (uint64_t)(place->row + r)))
            continue;
        memcpy(t->messages[n] + at * 8, &r, 8);
        for (size_t e = 0; e < width; e++) {
            float value = sim_server_ledger_grad(trainer, step, variable,
                                                 (uint64_t)r * width + e + slice * 7);
            memcpy(t->messages[n] + count * 8 + (at * width + e) * 4, &value, 4);
        }
        at++;
    }
    return (uint32_t)count;
}

void sim_trainer_push_all(struct sim *sim, int trainer)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    struct err err = {0};
    uint64_t step = step_number(t->step);
    size_t n = 0;
    int rc = 0;
    for (uint32_t v = 0; rc >= 0 && v < sim->map.vars_count; v++) {
        const struct slice_var *var = sim->map.vars[v];
        for (uint32_t s = 0; rc >= 0 && s < var->slices_count && var->role == SLICE_GRAD;
             s++, n++) {
            if (var->sparse) {
                uint32_t rows = make_rows(t, trainer, v, n, var, s);
                rc = step_push_rows(t->step, v, s, t->messages[n], rows, &err);
                continue;
            }
            for (uint64_t e = 0; e < t->sizes[n]; e++)
                t->grads[n][e] = sim_server_ledger_grad(trainer, step, v, e + (uint64_t)s * 7);
            rc = step_push(t->step, v, s, t->grads[n], &err);
        }
    }
    if (rc >= 0)
        rc = step_send_barrier(t->step, &err);
    n = 0;
    for (uint32_t v = 0; rc >= 0 && v < sim->map.vars_count; v++) {
        const struct slice_var *var = sim->map.vars[v];
        for (uint32_t s = 0; rc >= 0 && s < var->slices_count && var->role == SLICE_PARAM; s++, n++)
            rc = var->sparse ? 0 : step_pull(t->step, v, s, t->params[n], &err);
    }
    if (rc < 0)
        sim_link_failed(sim, "trainer %d: %s", trainer, err.text);
    t->computing = false;
    t->fetching = true;
    for (int s = 0; s < sim->servers_count; s++)
        sim_trainer_pump(sim, trainer, s);
}

static void end_step(struct sim *sim, int trainer)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    if (!t->fetching || !step_is_done(t->step))
        return;
    uint64_t version = step_number(t->step) + 1;
    step_finish(t->step);
    size_t n = 0;
    char who[32];
    snprintf(who, sizeof who, "trainer %d", trainer);
    for (uint32_t v = 0; v < sim->map.vars_count; v++) {
        const struct slice_var *var = sim->map.vars[v];
        for (uint32_t s = 0; s < var->slices_count && var->role == SLICE_PARAM; s++, n++)
            if (!var->sparse)
                sim_server_check_slice(sim, who, t->params[n], var, s, version);
    }
    if (version < sim->steps) {
        sim_trainer_start_step(sim, trainer);
        return;
    }
    t->fetching = false;
    t->completing = true;
    for (int s = 0; s < sim->servers_count; s++)
        sim_server_send_plain(sim, trainer, s, true, t->conn[s],
                              (struct sim_frame){.type = FRAME_COMPLETE,
                                                 .step = version,
                                                 .incarnation = t->incarnation});
}

void sim_trainer_pump(struct sim *sim, int trainer, int server)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    struct step_out out;
    struct lookup_part *part;
    while (t->welcomed[server] && (part = lookup_take(&t->lookup, server)) != NULL) {
        struct sim_frame frame = {.type = FRAME_LOOKUP,
                                  .step = step_version(t->step),
                                  .incarnation = t->incarnation,
                                  .variable = part->variable,
                                  .slice = part->slice,
                                  .request = part->request,
                                  .bytes = part->count * sizeof *part->ids};
        frame.body = mem_alloc((size_t)frame.bytes);
        memcpy(frame.body, part->ids, (size_t)frame.bytes);
        sim_server_send_plain(sim, trainer, server, true, t->conn[server], frame);
    }
    while (t->welcomed[server] && step_take(t->step, server, &out)) {
        struct sim_frame frame = {.step = out.step, .incarnation = t->incarnation};
        switch (out.what) {
        case STEP_PUSH:
            frame.type = FRAME_PUSH;
            frame.variable = out.variable;
            frame.slice = out.slice;
            frame.offset = out.offset;
            frame.bytes = out.bytes;
            frame.sparse = out.sparse;
            frame.rows = out.rows;
            frame.body = mem_alloc(out.bytes);
            if (out.bytes)
                memcpy(frame.body, out.data, out.bytes);
            for (uint32_t i = 0; i < out.bytes; i++)
                frame.hash = frame.hash * 31 + frame.body[i] + 1;
            break;
        case STEP_BARRIER:
            frame.type = FRAME_SEND_BARRIER;
            break;
        case STEP_PULL:
            frame.type = FRAME_PULL;
            frame.request = out.request;
            frame.ranges_count = out.ranges_count;
            frame.ranges = mem_alloc(out.ranges_count * sizeof *frame.ranges);
            memcpy(frame.ranges, out.ranges, out.ranges_count * sizeof *frame.ranges);
            break;
        case STEP_COMMIT:
            frame.type = FRAME_COMMIT_STEP;
            frame.decision = out.decision;
            frame.request = out.stage;
            break;
        case STEP_FETCHED:
            frame.type = FRAME_FETCH_BARRIER;
            break;
        case STEP_NOTHING:
            return;
        }
        sim_server_send_plain(sim, trainer, server, true, t->conn[server], frame);
    }
}

static void trainer_welcome(struct sim *sim, const struct sim_frame *frame)
{
    struct sim_trainer *t = &sim->trainers[frame->trainer];
    int server = frame->server;
    bool back = t->incarnation && t->links[server].welcomed;
    if (t->welcomed[server])
        return;
    if (t->incarnation && frame->incarnation != t->incarnation) {
        sim_link_failed(sim, "trainer %d: incarnation %llu and %llu", frame->trainer,
                        (unsigned long long)t->incarnation, (unsigned long long)frame->incarnation);
        return;
    }
    t->incarnation = frame->incarnation;
    t->welcomed[server] = true;
    peer_link_welcomed(&t->links[server]);
    step_connected(t->step, server, back);
    if (t->completing && !t->completed[server])
        sim_server_send_plain(sim, frame->trainer, server, true, t->conn[server],
                              (struct sim_frame){.type = FRAME_COMPLETE,
                                                 .step = sim->steps,
                                                 .incarnation = t->incarnation});
}

static void take_rows(struct sim_trainer *t, const struct sim_frame *frame)
{
    uint32_t bytes = (uint32_t)frame->bytes;
    void *dst = NULL;
    if (!lookup_is_done(&t->lookup) && frame->step == step_version(t->step))
        dst = lookup_place(&t->lookup, frame->server, frame->request, frame->offset, bytes);
    if (dst)
        memcpy(dst, frame->body, bytes);
    lookup_data(&t->lookup, frame->server, frame->request, bytes, dst, frame->sound,
                frame->flags & FRAME_LAST);
}

static void take_data(struct sim_trainer *t, const struct sim_frame *frame)
{
    uint32_t bytes = (uint32_t)frame->bytes;
    void *dst = step_place(t->step, frame->server, frame->request, frame->variable, frame->slice,
                           frame->step, frame->offset, bytes);
    if (dst)
        memcpy(dst, frame->body, bytes);
    step_data(t->step, frame->server, frame->request, frame->variable, frame->slice, bytes, dst,
              frame->sound, frame->flags & FRAME_LAST);
}

static void at_trainer(struct sim *sim, struct sim_frame *frame)
{
    struct sim_trainer *t = &sim->trainers[frame->trainer];
    int server = frame->server;
    struct err err = {0};
    int rc = 0;
    if (frame->source && memcmp(frame->source, frame->body, (size_t)frame->bytes) != 0 &&
        frame->sound)
        sim_link_failed(sim, "server %d: version %llu was overwritten while it was read", server,
                        (unsigned long long)frame->step);
    if (t->conn[server] != frame->conn)
        return;
    t->heard_ms[server] = sim->now_ms;
    switch (frame->type) {
    case FRAME_WELCOME:
        trainer_welcome(sim, frame);
        break;
    case FRAME_MISSING:
        rc = step_missing(t->step, server, frame->step, frame->ranges, frame->ranges_count,
                          frame->flags & FRAME_LAST, &err);
        break;
    case FRAME_PARTIALS:
        rc = step_partials(t->step, server, frame->step, frame->request, NULL, 0, true, &err);
        for (int s = 0; s < sim->servers_count; s++)
            sim_trainer_pump(sim, frame->trainer, s);
        break;
    case FRAME_COMMITTED:
        rc = step_committed(t->step, server, frame->step, &err);
        break;
    case FRAME_DATA:
        if (frame->request >= LOOKUP_REQUESTS)
            take_rows(t, frame);
        else
            take_data(t, frame);
        break;
    case FRAME_COMPLETED:
        t->completed[server] = true;
        break;
    default:
        break;
    }
    if (rc < 0)
        sim_link_failed(sim, "trainer %d: %s of server %d: %s", frame->trainer,
                        frame_type_name((int)frame->type), server, err.text);
    sim_trainer_pump(sim, frame->trainer, server);
    end_lookup(sim, frame->trainer);
    end_step(sim, frame->trainer);
}

void sim_trainer_deliver(struct sim *sim, struct sim_frame *frame)
{
    if (frame->to_server)
        sim_server_take(sim, frame);
    else
        at_trainer(sim, frame);
    sim_link_drop_frame(sim, frame);
}
