// SPDX-License-Identifier: Apache-2.0
// The ledger, and the servers: what a frame that arrives does, and what a server sends. See sim.c.
#include "tests/sim/sim_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// ---- ledger

float sim_server_ledger_grad(int trainer, uint64_t step, uint32_t variable, uint64_t element)
{
    return (float)(2 * ((step * 5 + (uint64_t)trainer * 3 + variable + element) % 13) + 2);
}

bool sim_server_ledger_touches(int trainer, uint64_t step, uint64_t row)
{
    return step % 13 != (uint64_t)trainer && (step * 2 + (uint64_t)trainer + row) % 13 < 5;
}

// What one step of one trainer adds to the gradient of an element.
static float ledger_part(const struct slice_var *param, int trainer, uint64_t step,
                         uint32_t grad_variable, size_t slice, uint64_t element)
{
    uint64_t width = (uint64_t)dims_product(&param->dims, 1, param->dims.rank);
    uint64_t row = (uint64_t)param->slices[slice].row + element / width;
    if (param->sparse && !sim_server_ledger_touches(trainer, step, row))
        return 0;
    return sim_server_ledger_grad(trainer, step, grad_variable, element + slice * 7);
}

float sim_server_ledger_value(const struct sim *sim, uint64_t steps, const struct slice_var *param,
                              size_t slice, uint64_t element)
{
    char name[64];
    snprintf(name, sizeof name, "%s@GRAD", param->name);
    uint32_t grad = 0;
    while (strcmp(sim->map.vars[grad]->name, name) != 0)
        grad++;
    float value = 1000;
    float scale = 1.0f / (float)sim->trainers_count;
    uint64_t cycle = 13, whole = steps / cycle;   // gradients repeat every 13 steps
    float per_cycle = 0;
    for (uint64_t s = 0; s < cycle; s++)
        for (int t = 0; t < sim->trainers_count; t++)
            per_cycle += ledger_part(param, t, s, grad, slice, element);
    value -= (float)whole * per_cycle * scale;
    for (uint64_t s = whole * cycle; s < steps; s++) {
        float sum = 0;
        for (int t = 0; t < sim->trainers_count; t++)
            sum += ledger_part(param, t, s, grad, slice, element);
        value -= sum * scale;
    }
    return value;
}

void sim_server_check_slice(struct sim *sim, const char *who, const float *values,
                            const struct slice_var *param, size_t slice, uint64_t version)
{
    const struct slice *place = &param->slices[slice];
    struct dims dims = shard_slice_dims(param, place);
    uint64_t count = (uint64_t)dims_product(&dims, 0, dims.rank);
    for (uint64_t e = 0; e < count; e++) {
        float want = sim_server_ledger_value(sim, version, param, slice, e);
        if (values[e] != want) {
            sim_link_failed(sim, "%s: %s[%llu] at version %llu is %g, the ledger says %g", who,
                            place->name, (unsigned long long)e, (unsigned long long)version,
                            values[e], want);
            return;
        }
    }
}

// ---- servers

void sim_server_send_plain(struct sim *sim, int trainer, int server, bool to_server, uint64_t conn,
                           struct sim_frame frame)
{
    frame.trainer = trainer;
    frame.server = server;
    frame.to_server = to_server;
    frame.conn = conn;
    frame.sound = true;
    if (conn)
        sim_link_transmit(sim, &frame);
    else
        sim_link_drop_frame(sim, &frame);
}

static void send_missing(struct sim *sim, int server, int trainer)
{
    struct sim_server *s = &sim->servers[server];
    struct round_range ranges[2];
    uint64_t cursor = 0;
    do {
        size_t count = round_missing(s->round, trainer, ranges, 2, &cursor);
        struct sim_frame frame = {
            .type = FRAME_MISSING, .step = round_step(s->round), .flags = cursor ? 0 : FRAME_LAST};
        frame.ranges = mem_must_calloc(count + 1, sizeof *frame.ranges);
        frame.ranges_count = count;
        for (size_t i = 0; i < count; i++)
            frame.ranges[i] =
                (struct message_range){ranges[i].slice->variable, ranges[i].slice->slice,
                                       ranges[i].offset, ranges[i].bytes};
        sim_server_send_plain(sim, trainer, server, false, s->conn[trainer], frame);
    } while (cursor);
}

// The rows of a lookup, gathered now, in frames that end anywhere. data NULL: its version has gone.
static void send_rows(struct sim *sim, int server, int trainer, const struct sim_reply *reply,
                      const uint8_t *data, uint64_t row_bytes)
{
    uint8_t rows[SIM_ROWS_MAX * 64];
    uint64_t total = reply->ids_count * row_bytes;
    for (size_t i = 0; data && i < reply->ids_count; i++)
        memcpy(rows + i * row_bytes, data + (uint64_t)reply->ids[i] * row_bytes, row_bytes);
    for (uint64_t at = 0; data && at < total; at += 20) {
        uint64_t bytes = total - at < 20 ? total - at : 20;
        struct sim_frame frame = {.type = FRAME_DATA,
                                  .variable = reply->variable,
                                  .slice = reply->slice,
                                  .request = reply->request,
                                  .step = reply->version,
                                  .offset = at,
                                  .bytes = bytes,
                                  .flags = at + bytes == total ? FRAME_LAST : 0};
        frame.body = mem_alloc((size_t)bytes);
        memcpy(frame.body, rows + at, (size_t)bytes);
        sim_server_send_plain(sim, trainer, server, false, sim->servers[server].conn[trainer],
                              frame);
    }
}

static void send_replies(struct sim *sim, int server, int trainer)
{
    struct sim_server *s = &sim->servers[server];
    size_t kept = 0;
    for (size_t i = 0; i < s->replies_count[trainer]; i++) {
        struct sim_reply reply = s->replies[trainer][i];
        if (reply.version == s->state.version + 1) {
            s->replies[trainer][kept++] = reply;
            continue;
        }
        const struct shard_slice *slice = shard_find(&s->shard, reply.variable, reply.slice);
        const struct state_entry *entry = state_find(&s->state, slice->place->name);
        const uint8_t *data = state_at(&s->state, entry, reply.version, NULL);
        if (reply.ids_count) {
            send_rows(sim, server, trainer, &reply, data, slice->row_bytes);
            continue;
        }
        for (uint64_t at = reply.offset; data && at < reply.offset + reply.bytes; at += SIM_CELL) {
            uint64_t left = reply.offset + reply.bytes - at,
                     bytes = left < SIM_CELL ? left : SIM_CELL;
            struct sim_frame frame = {.type = FRAME_DATA,
                                      .variable = reply.variable,
                                      .slice = reply.slice,
                                      .request = reply.request,
                                      .step = reply.version,
                                      .offset = at,
                                      .bytes = bytes,
                                      .flags = bytes == left ? FRAME_LAST : 0};
            frame.source = data + at;
            frame.hold = state_hold(&s->state, entry, reply.version);
            frame.body = mem_alloc((size_t)bytes);
            memcpy(frame.body, data + at, (size_t)bytes);
            sim_server_send_plain(sim, trainer, server, false, s->conn[trainer], frame);
        }
    }
    s->replies_count[trainer] = kept;
}

static void advance(struct sim *sim, int server)
{
    struct sim_server *s = &sim->servers[server];
    enum round_phase before = round_phase(s->round);
    int stage = round_stage(s->round);
    enum round_phase after = round_advance(s->round);
    if (after == ROUND_DECIDE && (before != ROUND_DECIDE || round_stage(s->round) > stage))
        for (int t = 0; t < sim->trainers_count; t++)
            sim_server_send_plain(sim, t, server, false, s->conn[t],
                                  (struct sim_frame){.type = FRAME_PARTIALS,
                                                     .request = (uint32_t)round_stage(s->round),
                                                     .step = round_step(s->round),
                                                     .flags = FRAME_LAST});
    if (after == ROUND_APPLY)
        sim_server_finish_step(sim, server);
}

static void send_committed(struct sim *sim, int server, int trainer)
{
    struct sim_server *s = &sim->servers[server];
    sim_server_send_plain(
        sim, trainer, server, false, s->conn[trainer],
        (struct sim_frame){.type = FRAME_COMMITTED, .step = round_step(s->round)});
}

// The same for rows: those of all trainers, each sum in trainer order.
static void apply_rows(struct sim *sim, int server, size_t g, struct state_entry *entry)
{
    struct sim_server *s = &sim->servers[server];
    const struct shard_slice *grad = s->shard.grads[g];
    const float *now = tensor_f32(variable_tensor(&entry->now));
    float *next = tensor_f32(variable_tensor(&entry->next));
    size_t width = (size_t)grad->row_bytes / sizeof(float), at[SIM_MAX] = {0};
    float scale = 1.0f / (float)sim->trainers_count;
    for (int64_t row = 0; row < grad->dims.d[0]; row++) {
        float sum[8] = {0};
        bool touched = false;
        for (int t = 0; t < sim->trainers_count; t++) {
            const int64_t *rows;
            const void *values;
            size_t count = round_rows(s->round, t, (int)g, &rows, &values);
            if (at[t] == count || rows[at[t]] != row)
                continue;
            for (size_t e = 0; e < width; e++)
                sum[e] += ((const float *)values)[at[t] * width + e];
            at[t]++;
            touched = true;
            sim->rows_pushed++;
        }
        for (size_t e = 0; touched && e < width; e++)
            next[(size_t)row * width + e] = now[(size_t)row * width + e] - sum[e] * scale;
        if (touched)
            state_touch(&s->state, entry, &row, 1);
    }
}

// Sum in trainer order, scale, SGD with rate 1: what an optimize block does.
void sim_server_finish_step(struct sim *sim, int server)
{
    struct sim_server *s = &sim->servers[server];
    struct err err = {0};
    int rc = state_begin(&s->state, &err);
    if (rc == SL_EBUSY)
        return;   // tried again when time goes on
    if (rc < 0) {
        sim_link_failed(sim, "%s", err.text);
        return;
    }
    float scale = 1.0f / (float)sim->trainers_count;
    for (size_t g = 0; g < s->shard.grads_count; g++) {
        const struct shard_slice *grad = s->shard.grads[g];
        const struct slice_var *param = slice_map_find(&sim->map, grad->var->param);
        struct state_entry *entry = state_find(&s->state, param->slices[grad->slice].name);
        if (grad->sparse) {
            apply_rows(sim, server, g, entry);
            continue;
        }
        const float *now = tensor_f32(variable_tensor(&entry->now));
        float *next = tensor_f32(variable_tensor(&entry->next));
        for (uint64_t e = 0; e < grad->bytes / sizeof(float); e++) {
            float sum = 0;
            for (int t = 0; t < sim->trainers_count; t++)
                sum += ((const float *)round_slot(s->round, t, (int)g))[e];
            next[e] = now[e] - sum * scale;
        }
    }
    state_commit(&s->state);
    round_applied(s->round);
    s->applied++;
    for (int t = 0; t < sim->trainers_count; t++) {
        send_committed(sim, server, t);
        send_replies(sim, server, t);
    }
    advance(sim, server);
}

static void server_hello(struct sim *sim, int server, const struct sim_frame *frame)
{
    struct sim_server *s = &sim->servers[server];
    struct err err = {0};
    uint64_t granted;
    int rc = peer_hello(&s->peers, frame->trainer, frame->incarnation, frame->nonce, "sim",
                        sim->now_ms, 0, &granted, &err);
    if (rc < 0) {
        sim_link_failed(sim, "server %d: %s", server, err.text);
        return;
    }
    s->conn[frame->trainer] = frame->conn;
    s->replies_count[frame->trainer] = 0;
    round_enter(s->round, frame->trainer, granted);
    sim_server_send_plain(sim, frame->trainer, server, false, frame->conn,
                          (struct sim_frame){.type = FRAME_WELCOME,
                                             .step = s->state.version,
                                             .incarnation = granted});
    if (rc == PEER_BACK)
        send_missing(sim, server, frame->trainer);
}

static void server_push(struct sim *sim, int server, const struct sim_frame *frame)
{
    struct sim_server *s = &sim->servers[server];
    struct err err = {0};
    struct round_push push = {.trainer = frame->trainer,
                              .incarnation = frame->incarnation,
                              .step = frame->step,
                              .variable = frame->variable,
                              .slice = frame->slice,
                              .offset = frame->offset,
                              .bytes = frame->bytes,
                              .hash = frame->hash,
                              .sparse = frame->sparse,
                              .rows = frame->rows};
    void *dst;
    int rc = round_place(s->round, &push, &dst, &err);
    if (rc < 0) {
        sim_link_failed(sim, "server %d: %s", server, err.text);
        return;
    }
    if (rc == ROUND_MIXED)
        send_missing(sim, server, frame->trainer);
    if (rc != ROUND_SLOT)
        return;
    if (frame->bytes)
        memcpy(dst, frame->body, (size_t)frame->bytes);
    // The connection breaks before the checksum could be judged.
    if (sim_link_dice(sim, 200) == 0) {
        round_abandoned(s->round, &push);
        sim_link_break_conn(sim, frame->trainer, server);
        return;
    }
    rc = round_received(s->round, &push, frame->sound, &err);
    if (rc < 0)
        sim_link_failed(sim, "server %d: %s", server, err.text);
    if (!rc) {
        struct sim_frame missing = {
            .type = FRAME_MISSING, .step = frame->step, .flags = FRAME_LAST, .ranges_count = 1};
        missing.ranges = mem_must_calloc(1, sizeof *missing.ranges);
        missing.ranges[0] = (struct message_range){frame->variable, frame->slice, frame->offset,
                                                   frame->bytes ? frame->bytes : 1};
        sim_server_send_plain(sim, frame->trainer, server, false, s->conn[frame->trainer], missing);
    }
    advance(sim, server);
}

static void server_pull(struct sim *sim, int server, const struct sim_frame *frame)
{
    struct sim_server *s = &sim->servers[server];
    int t = frame->trainer;
    for (size_t i = 0; i < frame->ranges_count; i++) {
        MEM_GROW(s->replies[t], s->replies_count[t], s->replies_cap[t]);
        s->replies[t][s->replies_count[t]++] = (struct sim_reply){frame->ranges[i].variable,
                                                                  frame->ranges[i].slice,
                                                                  frame->request,
                                                                  frame->step,
                                                                  frame->ranges[i].offset,
                                                                  frame->ranges[i].bytes,
                                                                  0,
                                                                  {0}};
    }
    send_replies(sim, server, t);
}

// A damaged one ends the connection, as any damaged request does.
static void server_lookup(struct sim *sim, int server, const struct sim_frame *frame)
{
    struct sim_server *s = &sim->servers[server];
    struct err err = {0};
    int t = frame->trainer;
    const struct shard_slice *slice = shard_find(&s->shard, frame->variable, frame->slice);
    struct sim_reply reply = {.variable = frame->variable,
                              .slice = frame->slice,
                              .request = frame->request,
                              .version = frame->step,
                              .ids_count = (size_t)frame->bytes / sizeof(int64_t)};
    if (!frame->sound) {
        sim_link_break_conn(sim, t, server);
        return;
    }
    memcpy(reply.ids, frame->body, (size_t)frame->bytes);
    if (!slice || shard_check_order(slice->place->name, reply.ids, reply.ids_count,
                                    slice->dims.d[0], &err) < 0) {
        sim_link_failed(sim, "server %d: lookup: %s", server, err.text);
        return;
    }
    MEM_GROW(s->replies[t], s->replies_count[t], s->replies_cap[t]);
    s->replies[t][s->replies_count[t]++] = reply;
    send_replies(sim, server, t);
}

void sim_server_take(struct sim *sim, const struct sim_frame *frame)
{
    struct sim_server *s = &sim->servers[frame->server];
    struct err err = {0};
    int rc = 0;
    bool all;
    if (frame->type == FRAME_HELLO) {
        server_hello(sim, frame->server, frame);
        return;
    }
    if (s->conn[frame->trainer] != frame->conn)
        return;   // of a connection that was replaced: closed, nobody hears it
    switch (frame->type) {
    case FRAME_PUSH:
        server_push(sim, frame->server, frame);
        return;
    case FRAME_LOOKUP:
        server_lookup(sim, frame->server, frame);
        return;
    case FRAME_SEND_BARRIER:
        rc = round_send_barrier(s->round, frame->trainer, frame->incarnation, frame->step, &err);
        if (rc == 1) {
            send_committed(sim, frame->server, frame->trainer);
        } else if (rc == 0) {
            struct round_range one;
            uint64_t cursor = 0;
            if (round_missing(s->round, frame->trainer, &one, 1, &cursor))
                send_missing(sim, frame->server, frame->trainer);
            else if (round_phase(s->round) == ROUND_DECIDE)
                sim_server_send_plain(sim, frame->trainer, frame->server, false,
                                      s->conn[frame->trainer],
                                      (struct sim_frame){.type = FRAME_PARTIALS,
                                                         .request = (uint32_t)round_stage(s->round),
                                                         .step = round_step(s->round),
                                                         .flags = FRAME_LAST});
            advance(sim, frame->server);
        }
        break;
    case FRAME_COMMIT_STEP:
        if (round_phase(s->round) == ROUND_COLLECT && frame->step == round_step(s->round))
            return;   // overtook its barrier: it comes again
        if (frame->step == round_step(s->round) &&
            frame->request != (uint32_t)round_stage(s->round))
            return;   // decided already, or overtook the stage before
        rc = round_commit_step(s->round, frame->trainer, frame->incarnation, frame->step,
                               (enum round_decision)frame->decision, NULL, 0, &err);
        if (rc == 0)
            advance(sim, frame->server);
        break;
    case FRAME_PULL:
        server_pull(sim, frame->server, frame);
        break;
    case FRAME_FETCH_BARRIER:
        rc = round_fetch_barrier(s->round, frame->trainer, frame->incarnation, frame->step, &all,
                                 &err);
        break;
    case FRAME_COMPLETE:
        rc = round_complete(s->round, frame->trainer, frame->incarnation, &err);
        if (rc == 0) {
            peer_done(&s->peers, frame->trainer);
            sim_server_send_plain(sim, frame->trainer, frame->server, false,
                                  s->conn[frame->trainer],
                                  (struct sim_frame){.type = FRAME_COMPLETED});
            advance(sim, frame->server);
        }
        break;
    default:
        break;
    }
    if (rc < 0)
        sim_link_failed(sim, "server %d: %s: %s", frame->server, frame_type_name((int)frame->type),
                        err.text);
}
