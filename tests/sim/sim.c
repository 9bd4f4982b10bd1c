// SPDX-License-Identifier: Apache-2.0
// A deterministic simulator of the parameter server's pure cores: M servers (round, state, peer,
// shard) and N trainers (step, peer_link) in one thread, virtual time, links that lose, repeat,
// reorder, corrupt and break. One seed is one run; a seed that fails replays.
//
// The ledger proves the result: learning rate 1 and gradients that are distinct small integers per
// (trainer, step, element), so a push that is lost, doubled or swapped shows as a wrong integer, in
// the step where it happens. Beside it: every reply is compared on arrival with the memory it was
// sent from (a version is never overwritten while it is read), pins are held for a random time and
// then read, and time is bounded (nobody hangs).
//
//   sim [--seeds A..B] [--steps N] [--verbose]
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/program/slice_map.h"
#include "common/ps/peer.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"
#include "common/ps/step.h"
#include "common/wire/frame.h"
#include "common/wire/message.h"

#define SIM_MAX 4   // servers, trainers
#define SIM_CELL 16
#define SIM_QUEUE 65536
#define SIM_NUDGE_MS 60
#define SIM_LOST_MS 100000   // nobody is given up: every fault here is one of the links

struct sim_frame {
    uint64_t at_ms, order;   // delivery; ties in order of sending
    enum frame_type type;
    int trainer, server;
    bool to_server;
    uint64_t conn;   // the connection it travels on
    uint8_t flags;
    uint32_t variable, slice, request;
    uint64_t step, incarnation, offset, bytes, hash;
    bool sound;
    uint8_t *body;           // PUSH, DATA: a copy
    const uint8_t *source;   // DATA: where the state had it, held until it is delivered or lost
    int64_t hold;
    struct message_range *ranges;
    size_t ranges_count;
    int decision;
    uint64_t nonce;
};

struct sim_reply {   // a parked or current pull
    uint32_t variable, slice, request;
    uint64_t version, offset, bytes;
};

struct sim_server {
    struct shard shard;
    struct state state;
    struct round *round;
    struct peer_table peers;
    uint64_t conn[SIM_MAX];   // of each trainer; 0 = none
    struct sim_reply *replies[SIM_MAX];
    size_t replies_count[SIM_MAX], replies_cap[SIM_MAX];
    uint64_t pinned;   // version + 1; 0 = none
    uint64_t unpin_ms;
    uint64_t applied;
};

struct sim_trainer {
    struct step *step;
    struct peer_link links[SIM_MAX];
    uint64_t conn[SIM_MAX];
    bool welcomed[SIM_MAX];
    uint64_t incarnation, nonce;
    uint64_t reconnect_ms[SIM_MAX], heard_ms[SIM_MAX];
    float *grads[16], *params[16];
    size_t sizes[16];   // elements of each gradient slice
    bool computing, fetching, completing;
    bool completed[SIM_MAX];
    uint64_t ready_ms;   // when the gradients of this step are computed
};

struct sim {
    uint64_t seed, rng, now_ms, order, next_conn;
    uint64_t steps;
    int stages;   // of the second phase; 0: none
    bool verbose;
    int servers_count, trainers_count;
    struct slice_map map;
    struct sim_server servers[SIM_MAX];
    struct sim_trainer trainers[SIM_MAX];
    struct sim_frame *heap;
    size_t heap_count;
    uint64_t frames, lost, repeated, corrupted, broken, pins;
    unsigned lossy;   // of 1000 frames
    bool failed;
};

static void deliver(struct sim *sim, struct sim_frame *frame);
static void pump(struct sim *sim, int trainer, int server);
static void finish_step(struct sim *sim, int server);

// ---- chance, heap, failure

static uint64_t dice(struct sim *sim, uint64_t sides)
{
    return rng_next_u64(&sim->rng) % sides;
}

static void failed(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void failed(struct sim *sim, const char *fmt, ...)
{
    va_list args;
    if (sim->failed)
        return;
    sim->failed = true;
    fprintf(stderr, "seed %llu, %llu ms: ", (unsigned long long)sim->seed,
            (unsigned long long)sim->now_ms);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

static bool earlier(const struct sim_frame *a, const struct sim_frame *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void heap_put(struct sim *sim, const struct sim_frame *frame)
{
    if (sim->heap_count == SIM_QUEUE) {
        failed(sim, "more than %d frames on their way", SIM_QUEUE);
        return;
    }
    size_t at = sim->heap_count++;
    sim->heap[at] = *frame;
    while (at && earlier(&sim->heap[at], &sim->heap[(at - 1) / 2])) {
        struct sim_frame swap = sim->heap[at];
        sim->heap[at] = sim->heap[(at - 1) / 2];
        sim->heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static struct sim_frame heap_take(struct sim *sim)
{
    struct sim_frame top = sim->heap[0];
    sim->heap[0] = sim->heap[--sim->heap_count];
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child >= sim->heap_count)
            break;
        if (child + 1 < sim->heap_count && earlier(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!earlier(&sim->heap[child], &sim->heap[at]))
            break;
        struct sim_frame swap = sim->heap[at];
        sim->heap[at] = sim->heap[child];
        sim->heap[child] = swap;
        at = child;
    }
    return top;
}

static void drop_frame(struct sim *sim, struct sim_frame *frame)
{
    if (frame->source)
        state_release(&sim->servers[frame->server].state, frame->hold);
    mem_free(frame->body);
    mem_free(frame->ranges);
}

// ---- links

static void break_conn(struct sim *sim, int trainer, int server)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    if (!t->conn[server])
        return;
    sim->broken++;
    t->conn[server] = 0;   // the server notices when the new connection says hello
    t->welcomed[server] = false;
    t->reconnect_ms[server] = sim->now_ms + 1 + dice(sim, 30);
    peer_link_lost(&t->links[server], false, "broken", sim->now_ms);
    if (t->step)
        step_disconnected(t->step, server);
}

static void transmit(struct sim *sim, struct sim_frame *frame)
{
    sim->frames++;
    frame->order = sim->order++;
    frame->at_ms = sim->now_ms + 1;
    bool hello = frame->type == FRAME_HELLO || frame->type == FRAME_WELCOME;
    if (dice(sim, 1000) < sim->lossy && !hello) {
        switch (dice(sim, 5)) {
        case 0:
            sim->lost++;
            drop_frame(sim, frame);
            return;
        case 1: {
            sim->repeated++;
            struct sim_frame twin = *frame;
            if (twin.body) {
                twin.body = mem_alloc((size_t)frame->bytes);
                memcpy(twin.body, frame->body, (size_t)frame->bytes);
            }
            if (twin.ranges) {
                twin.ranges = mem_alloc(frame->ranges_count * sizeof *twin.ranges);
                memcpy(twin.ranges, frame->ranges, frame->ranges_count * sizeof *twin.ranges);
            }
            twin.source = NULL;
            twin.order = sim->order++;
            twin.at_ms += dice(sim, 40);
            heap_put(sim, &twin);
            break;
        }
        case 2:
            frame->at_ms += dice(sim, 40);   // overtaken by later ones
            break;
        case 3:
            if (frame->body) {
                sim->corrupted++;
                frame->sound = false;
                frame->body[dice(sim, frame->bytes)] ^= 0x40;
            }
            break;
        default:
            // What is on its way stays on its way: it arrives from a connection that is no more.
            heap_put(sim, frame);
            break_conn(sim, frame->trainer, frame->server);
            return;
        }
    }
    heap_put(sim, frame);
}

// ---- ledger

static float ledger_grad(int trainer, uint64_t step, uint32_t variable, uint64_t element)
{
    return (float)(2 * ((step * 5 + (uint64_t)trainer * 3 + variable + element) % 13) + 2);
}

static float ledger_value(const struct sim *sim, uint64_t steps, uint32_t grad_variable,
                          uint64_t element)
{
    float value = 1000;
    float scale = 1.0f / (float)sim->trainers_count;
    uint64_t cycle = 13, whole = steps / cycle;   // gradients repeat every 13 steps
    float per_cycle = 0;
    for (uint64_t s = 0; s < cycle; s++)
        for (int t = 0; t < sim->trainers_count; t++)
            per_cycle += ledger_grad(t, s, grad_variable, element);
    value -= (float)whole * per_cycle * scale;
    for (uint64_t s = whole * cycle; s < steps; s++) {
        float sum = 0;
        for (int t = 0; t < sim->trainers_count; t++)
            sum += ledger_grad(t, s, grad_variable, element);
        value -= sum * scale;
    }
    return value;
}

static void check_slice(struct sim *sim, const char *who, const float *values,
                        const struct slice_var *param, size_t slice, uint64_t version)
{
    const struct slice *place = &param->slices[slice];
    char name[64];
    snprintf(name, sizeof name, "%s@GRAD", param->name);
    uint32_t grad = 0;
    while (strcmp(sim->map.vars[grad]->name, name) != 0)
        grad++;
    struct dims dims = shard_slice_dims(param, place);
    uint64_t count = (uint64_t)dims_product(&dims, 0, dims.rank);
    for (uint64_t e = 0; e < count; e++) {
        float want = ledger_value(sim, version, grad, e + (uint64_t)slice * 7);
        if (values[e] != want) {
            failed(sim, "%s: %s[%llu] at version %llu is %g, the ledger says %g", who, place->name,
                   (unsigned long long)e, (unsigned long long)version, values[e], want);
            return;
        }
    }
}

// ---- servers

static void send_plain(struct sim *sim, int trainer, int server, bool to_server, uint64_t conn,
                       struct sim_frame frame)
{
    frame.trainer = trainer;
    frame.server = server;
    frame.to_server = to_server;
    frame.conn = conn;
    frame.sound = true;
    if (conn)
        transmit(sim, &frame);
    else
        drop_frame(sim, &frame);
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
        send_plain(sim, trainer, server, false, s->conn[trainer], frame);
    } while (cursor);
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
            send_plain(sim, trainer, server, false, s->conn[trainer], frame);
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
            send_plain(sim, t, server, false, s->conn[t],
                       (struct sim_frame){.type = FRAME_PARTIALS,
                                          .request = (uint32_t)round_stage(s->round),
                                          .step = round_step(s->round),
                                          .flags = FRAME_LAST});
    if (after == ROUND_APPLY)
        finish_step(sim, server);
}

static void send_committed(struct sim *sim, int server, int trainer)
{
    struct sim_server *s = &sim->servers[server];
    send_plain(sim, trainer, server, false, s->conn[trainer],
               (struct sim_frame){.type = FRAME_COMMITTED, .step = round_step(s->round)});
}

// Sum in trainer order, scale, SGD with rate 1: what an optimize block does.
static void finish_step(struct sim *sim, int server)
{
    struct sim_server *s = &sim->servers[server];
    struct err err = {0};
    int rc = state_begin(&s->state, &err);
    if (rc == SL_EBUSY)
        return;   // tried again when time goes on
    if (rc < 0) {
        failed(sim, "%s", err.text);
        return;
    }
    float scale = 1.0f / (float)sim->trainers_count;
    for (size_t g = 0; g < s->shard.grads_count; g++) {
        const struct shard_slice *grad = s->shard.grads[g];
        const struct slice_var *param = slice_map_find(&sim->map, grad->var->param);
        struct state_entry *entry = state_find(&s->state, param->slices[grad->slice].name);
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
        failed(sim, "server %d: %s", server, err.text);
        return;
    }
    s->conn[frame->trainer] = frame->conn;
    s->replies_count[frame->trainer] = 0;
    round_enter(s->round, frame->trainer, granted);
    send_plain(sim, frame->trainer, server, false, frame->conn,
               (struct sim_frame){
                   .type = FRAME_WELCOME, .step = s->state.version, .incarnation = granted});
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
                              .hash = frame->hash};
    void *dst;
    int rc = round_place(s->round, &push, &dst, &err);
    if (rc < 0) {
        failed(sim, "server %d: %s", server, err.text);
        return;
    }
    if (rc == ROUND_MIXED)
        send_missing(sim, server, frame->trainer);
    if (rc != ROUND_SLOT)
        return;
    memcpy(dst, frame->body, (size_t)frame->bytes);
    if (dice(sim, 200) == 0) {   // the connection breaks before the checksum could be judged
        round_abandoned(s->round, &push);
        break_conn(sim, frame->trainer, server);
        return;
    }
    if (!round_received(s->round, &push, frame->sound)) {
        struct sim_frame missing = {
            .type = FRAME_MISSING, .step = frame->step, .flags = FRAME_LAST, .ranges_count = 1};
        missing.ranges = mem_must_calloc(1, sizeof *missing.ranges);
        missing.ranges[0] =
            (struct message_range){frame->variable, frame->slice, frame->offset, frame->bytes};
        send_plain(sim, frame->trainer, server, false, s->conn[frame->trainer], missing);
    }
    advance(sim, server);
}

static void server_pull(struct sim *sim, int server, const struct sim_frame *frame)
{
    struct sim_server *s = &sim->servers[server];
    int t = frame->trainer;
    for (size_t i = 0; i < frame->ranges_count; i++) {
        MEM_GROW(s->replies[t], s->replies_count[t], s->replies_cap[t]);
        s->replies[t][s->replies_count[t]++] = (struct sim_reply){
            frame->ranges[i].variable, frame->ranges[i].slice, frame->request, frame->step,
            frame->ranges[i].offset,   frame->ranges[i].bytes};
    }
    send_replies(sim, server, t);
}

static void at_server(struct sim *sim, const struct sim_frame *frame)
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
                send_plain(sim, frame->trainer, frame->server, false, s->conn[frame->trainer],
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
            send_plain(sim, frame->trainer, frame->server, false, s->conn[frame->trainer],
                       (struct sim_frame){.type = FRAME_COMPLETED});
            advance(sim, frame->server);
        }
        break;
    default:
        break;
    }
    if (rc < 0)
        failed(sim, "server %d: %s: %s", frame->server, frame_type_name((int)frame->type),
               err.text);
}

// ---- trainers

static void start_compute(struct sim *sim, int trainer)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    t->computing = true;
    t->fetching = false;
    t->ready_ms = sim->now_ms + dice(sim, 4);
}

static void push_all(struct sim *sim, int trainer)
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
            for (uint64_t e = 0; e < t->sizes[n]; e++)
                t->grads[n][e] = ledger_grad(trainer, step, v, e + (uint64_t)s * 7);
            rc = step_push(t->step, v, s, t->grads[n], &err);
        }
    }
    if (rc >= 0)
        rc = step_send_barrier(t->step, &err);
    n = 0;
    for (uint32_t v = 0; rc >= 0 && v < sim->map.vars_count; v++) {
        const struct slice_var *var = sim->map.vars[v];
        for (uint32_t s = 0; rc >= 0 && s < var->slices_count && var->role == SLICE_PARAM; s++, n++)
            rc = step_pull(t->step, v, s, t->params[n], &err);
    }
    if (rc < 0)
        failed(sim, "trainer %d: %s", trainer, err.text);
    t->computing = false;
    t->fetching = true;
    for (int s = 0; s < sim->servers_count; s++)
        pump(sim, trainer, s);
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
            check_slice(sim, who, t->params[n], var, s, version);
    }
    if (version < sim->steps) {
        start_compute(sim, trainer);
        return;
    }
    t->fetching = false;
    t->completing = true;
    for (int s = 0; s < sim->servers_count; s++)
        send_plain(sim, trainer, s, true, t->conn[s],
                   (struct sim_frame){
                       .type = FRAME_COMPLETE, .step = version, .incarnation = t->incarnation});
}

static void pump(struct sim *sim, int trainer, int server)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    struct step_out out;
    while (t->welcomed[server] && step_take(t->step, server, &out)) {
        struct sim_frame frame = {.step = out.step, .incarnation = t->incarnation};
        switch (out.what) {
        case STEP_PUSH:
            frame.type = FRAME_PUSH;
            frame.variable = out.variable;
            frame.slice = out.slice;
            frame.offset = out.offset;
            frame.bytes = out.bytes;
            frame.body = mem_alloc(out.bytes);
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
        send_plain(sim, trainer, server, true, t->conn[server], frame);
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
        failed(sim, "trainer %d: incarnation %llu and %llu", frame->trainer,
               (unsigned long long)t->incarnation, (unsigned long long)frame->incarnation);
        return;
    }
    t->incarnation = frame->incarnation;
    t->welcomed[server] = true;
    peer_link_welcomed(&t->links[server]);
    step_connected(t->step, server, back);
    if (t->completing && !t->completed[server])
        send_plain(sim, frame->trainer, server, true, t->conn[server],
                   (struct sim_frame){
                       .type = FRAME_COMPLETE, .step = sim->steps, .incarnation = t->incarnation});
}

static void at_trainer(struct sim *sim, struct sim_frame *frame)
{
    struct sim_trainer *t = &sim->trainers[frame->trainer];
    int server = frame->server;
    struct err err = {0};
    int rc = 0;
    if (frame->source && memcmp(frame->source, frame->body, (size_t)frame->bytes) != 0 &&
        frame->sound)
        failed(sim, "server %d: version %llu was overwritten while it was read", server,
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
            pump(sim, frame->trainer, s);
        break;
    case FRAME_COMMITTED:
        rc = step_committed(t->step, server, frame->step, &err);
        break;
    case FRAME_DATA: {
        void *dst = step_place(t->step, server, frame->request, frame->variable, frame->slice,
                               frame->step, frame->offset, (uint32_t)frame->bytes);
        if (dst)
            memcpy(dst, frame->body, (size_t)frame->bytes);
        step_data(t->step, server, frame->request, frame->variable, frame->slice,
                  (uint32_t)frame->bytes, dst, frame->sound, frame->flags & FRAME_LAST);
        break;
    }
    case FRAME_COMPLETED:
        t->completed[server] = true;
        break;
    default:
        break;
    }
    if (rc < 0)
        failed(sim, "trainer %d: %s of server %d: %s", frame->trainer,
               frame_type_name((int)frame->type), server, err.text);
    pump(sim, frame->trainer, server);
    end_step(sim, frame->trainer);
}

static void deliver(struct sim *sim, struct sim_frame *frame)
{
    if (frame->to_server)
        at_server(sim, frame);
    else
        at_trainer(sim, frame);
    drop_frame(sim, frame);
}

// ---- time

static void tick_trainer(struct sim *sim, int trainer)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    bool all = true;
    for (int s = 0; s < sim->servers_count; s++) {
        if (!t->conn[s] && sim->now_ms >= t->reconnect_ms[s] &&
            !(t->completing && t->completed[s])) {
            t->conn[s] = ++sim->next_conn;
            t->heard_ms[s] = sim->now_ms;
            send_plain(sim, trainer, s, true, t->conn[s],
                       (struct sim_frame){
                           .type = FRAME_HELLO, .incarnation = t->incarnation, .nonce = t->nonce});
        }
        all = all && (t->links[s].welcomed);
        if (t->welcomed[s] && sim->now_ms >= t->heard_ms[s] + SIM_NUDGE_MS) {
            t->heard_ms[s] = sim->now_ms;
            if (!step_nudge(t->step, s))
                break_conn(sim, trainer, s);
            else
                pump(sim, trainer, s);
            if (t->completing && !t->completed[s])
                send_plain(sim, trainer, s, true, t->conn[s],
                           (struct sim_frame){.type = FRAME_COMPLETE,
                                              .step = sim->steps,
                                              .incarnation = t->incarnation});
        }
    }
    if (all && !t->computing && !t->fetching && !t->completing)
        start_compute(sim, trainer);
    if (t->computing && sim->now_ms >= t->ready_ms)
        push_all(sim, trainer);
}

// Pins a version now and then, keeps it for a while and reads it at the end.
static void tick_pins(struct sim *sim, int server)
{
    struct sim_server *s = &sim->servers[server];
    struct err err = {0};
    if (!s->pinned && dice(sim, 40) == 0) {
        uint64_t version = s->state.version;
        if (dice(sim, 2) && s->state.previous)
            version--;
        if (state_pin(&s->state, version, &err) < 0) {
            failed(sim, "server %d: pin: %s", server, err.text);
            return;
        }
        s->pinned = version + 1;
        s->unpin_ms = sim->now_ms + dice(sim, 60);
        sim->pins++;
    } else if (s->pinned && sim->now_ms >= s->unpin_ms) {
        uint64_t version = s->pinned - 1;
        for (size_t i = 0; i < s->shard.slices_count; i++) {
            const struct shard_slice *slice = &s->shard.slices[i];
            if (slice->role != SLICE_PARAM)
                continue;
            const struct state_entry *entry = state_find(&s->state, slice->place->name);
            const void *data = state_at(&s->state, entry, version, NULL);
            if (!data)
                failed(sim, "server %d: pinned version %llu has gone", server,
                       (unsigned long long)version);
            else
                check_slice(sim, "pin", data, slice->var, slice->slice, version);
        }
        state_unpin(&s->state, version);
        s->pinned = 0;
    }
}

static bool is_over(const struct sim *sim)
{
    for (int t = 0; t < sim->trainers_count; t++)
        for (int s = 0; s < sim->servers_count; s++)
            if (!sim->trainers[t].completed[s])
                return false;
    return true;
}

static void run(struct sim *sim)
{
    uint64_t limit_ms = 1000 + sim->steps * 2000;
    while (!sim->failed && !is_over(sim)) {
        while (!sim->failed && sim->heap_count && sim->heap[0].at_ms <= sim->now_ms) {
            struct sim_frame frame = heap_take(sim);
            deliver(sim, &frame);
        }
        for (int s = 0; s < sim->servers_count; s++) {
            if (round_phase(sim->servers[s].round) == ROUND_APPLY)
                finish_step(sim, s);
            tick_pins(sim, s);
        }
        for (int t = 0; t < sim->trainers_count; t++)
            tick_trainer(sim, t);
        if (++sim->now_ms > limit_ms) {
            bool pull;
            failed(sim, "no end: trainer 0 at step %llu waits for server %d",
                   (unsigned long long)step_number(sim->trainers[0].step),
                   step_waits_for(sim->trainers[0].step, &pull));
        }
    }
    for (int s = 0; s < sim->servers_count && !sim->failed; s++) {
        if (sim->servers[s].applied != sim->steps)
            failed(sim, "server %d applied %llu steps of %llu", s,
                   (unsigned long long)sim->servers[s].applied, (unsigned long long)sim->steps);
        if (round_phase(sim->servers[s].round) != ROUND_OVER)
            failed(sim, "server %d does not know that all have completed", s);
    }
}

// ---- building

static void add_param(struct sim *sim, const char *name, int64_t rows, int64_t columns)
{
    struct dims dims = {.rank = 2, .d = {rows, columns}};
    char grad_name[64], a[80], b[80];
    snprintf(grad_name, sizeof grad_name, "%s@GRAD", name);
    struct slice_var *param = slice_map_add(&sim->map, name, SLICE_PARAM, NULL, DTYPE_FP32, &dims);
    struct slice_var *grad =
        slice_map_add(&sim->map, grad_name, SLICE_GRAD, name, DTYPE_FP32, &dims);
    int pieces = rows >= sim->servers_count ? sim->servers_count : 1;
    int64_t each = (rows + pieces - 1) / pieces;
    for (int p = 0; p < pieces && p * each < rows; p++) {
        int64_t count = (p + 1) * each > rows ? rows - p * each : each;
        snprintf(a, sizeof a, "%s.block%d", name, p);
        snprintf(b, sizeof b, "%s.block%d", grad_name, p);
        int server = (p + (int)strlen(name)) % sim->servers_count;
        slice_var_add(param, server, p * each, count, a);
        slice_var_add(grad, server, p * each, count, b);
    }
}

static int build_server(struct sim *sim, int index, struct err *err)
{
    struct sim_server *s = &sim->servers[index];
    int rc = shard_init(&s->shard, &sim->map, index, err);
    if (rc < 0)
        return rc;
    s->shard.cell_bytes = SIM_CELL;
    state_init(&s->state);
    for (size_t i = 0; rc >= 0 && i < s->shard.slices_count; i++) {
        const struct shard_slice *slice = &s->shard.slices[i];
        if (slice->role == SLICE_PARAM)
            rc = state_add(&s->state, slice->place->name, DTYPE_FP32, &slice->dims, true, false,
                           err);
    }
    if (rc >= 0)
        rc = state_layout(&s->state, 0, SIM_CELL, err);
    for (size_t i = 0; rc >= 0 && i < s->state.count; i++) {
        float *values = mem_must_calloc((size_t)s->state.entries[i]->bytes + 4, 1);
        for (uint64_t e = 0; e < s->state.entries[i]->bytes / 4; e++)
            values[e] = 1000;
        state_load(&s->state, s->state.entries[i], values);
        mem_free(values);
    }
    if (rc < 0)
        return rc;
    struct round_options options = {.shard = &s->shard,
                                    .trainers = sim->trainers_count,
                                    .second_phase = sim->stages > 0,
                                    .stages = sim->stages};
    s->round = round_new(&options, err);
    peer_table_init(&s->peers, sim->trainers_count, SIM_LOST_MS, SIM_LOST_MS);
    return s->round ? 0 : SL_ENOMEM;
}

static void build_trainer(struct sim *sim, int index)
{
    struct sim_trainer *t = &sim->trainers[index];
    struct step_options options = {.map = &sim->map,
                                   .cell_bytes = SIM_CELL,
                                   .frame_bytes = SIM_CELL * (1 + (uint32_t)dice(sim, 3))};
    t->step = step_new(&options);
    t->nonce = rng_next_u64(&sim->rng);
    size_t n = 0;
    for (uint32_t v = 0; v < sim->map.vars_count; v++) {
        const struct slice_var *var = sim->map.vars[v];
        for (uint32_t s = 0; s < var->slices_count && var->role == SLICE_GRAD; s++, n++) {
            struct dims dims = shard_slice_dims(var, &var->slices[s]);
            t->sizes[n] = (size_t)dims_product(&dims, 0, dims.rank);
            t->grads[n] = mem_must_calloc(t->sizes[n] + 1, sizeof(float));
            t->params[n] = mem_must_calloc(t->sizes[n] + 1, sizeof(float));
        }
    }
    for (int s = 0; s < sim->servers_count; s++)
        peer_link_init(&t->links[s], SIM_LOST_MS, SIM_LOST_MS, 0);
}

static void clean(struct sim *sim)
{
    while (sim->heap_count) {
        struct sim_frame frame = heap_take(sim);
        drop_frame(sim, &frame);
    }
    for (int s = 0; s < sim->servers_count; s++) {
        struct sim_server *server = &sim->servers[s];
        round_free(server->round);
        state_deinit(&server->state);
        peer_table_deinit(&server->peers);
        shard_deinit(&server->shard);
        for (int t = 0; t < SIM_MAX; t++)
            mem_free(server->replies[t]);
    }
    for (int t = 0; t < sim->trainers_count; t++) {
        for (size_t n = 0; n < 16; n++) {
            mem_free(sim->trainers[t].grads[n]);
            mem_free(sim->trainers[t].params[n]);
        }
        step_free(sim->trainers[t].step);
    }
    slice_map_deinit(&sim->map);
    mem_free(sim->heap);
}

// The seed chooses the shape too: mostly 2 x 2, sometimes others; with and without the second
// phase.
static bool run_seed(uint64_t seed, uint64_t steps, bool verbose)
{
    struct sim *sim = MEM_NEW(struct sim);
    struct err err = {0};
    sim->seed = seed;
    sim->rng = seed * 0x9e3779b97f4a7c15ull + 1;
    sim->steps = steps;
    sim->heap = mem_must_calloc(SIM_QUEUE, sizeof *sim->heap);
    bool other = dice(sim, 4) == 0;
    sim->servers_count = other ? 1 + (int)dice(sim, 3) : 2;
    sim->trainers_count = other ? 1 << dice(sim, 3) : 2;   // powers of two: 1/N is exact
    sim->stages = dice(sim, 3) == 0 ? 1 + (int)dice(sim, 2) : 0;
    sim->lossy = (unsigned)(dice(sim, 5) * 20);
    slice_map_init(&sim->map);
    sim->map.servers = sim->servers_count;
    sim->map.trainers = sim->trainers_count;
    add_param(sim, "w", 7, 5);
    add_param(sim, "bb", 2, 3);
    add_param(sim, "vvv", 1, 1);
    bool ok = slice_map_finish(&sim->map, &err) >= 0;
    for (int s = 0; ok && s < sim->servers_count; s++)
        ok = build_server(sim, s, &err) >= 0;
    if (!ok)
        failed(sim, "%s", err.text);
    for (int t = 0; ok && t < sim->trainers_count; t++)
        build_trainer(sim, t);
    if (ok)
        run(sim);
    if (verbose)
        printf("seed %llu: %d servers, %d trainers%s, %llu frames in %llu ms: %llu lost, %llu "
               "repeated, %llu corrupt, "
               "%llu breaks, %llu pins\n",
               (unsigned long long)seed, sim->servers_count, sim->trainers_count,
               sim->stages == 0   ? ""
               : sim->stages == 1 ? ", two phases"
                                  : ", three phases",
               (unsigned long long)sim->frames, (unsigned long long)sim->now_ms,
               (unsigned long long)sim->lost, (unsigned long long)sim->repeated,
               (unsigned long long)sim->corrupted, (unsigned long long)sim->broken,
               (unsigned long long)sim->pins);
    ok = !sim->failed;
    clean(sim);
    mem_free(sim);
    return ok;
}

int main(int argc, char **argv)
{
    unsigned long long first = 1, last = 40, steps = 60;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        uint64_t number;
        if (str_eq(argv[i], "--seeds") && i + 1 < argc) {
            if (sscanf(argv[++i], "%llu..%llu", &first, &last) == 1)
                last = first;
        } else if (str_eq(argv[i], "--steps") && i + 1 < argc &&
                   str_parse_u64(argv[i + 1], &number)) {
            steps = number;
            i++;
        } else if (str_eq(argv[i], "--verbose")) {
            verbose = true;
        } else {
            fprintf(stderr, "usage: sim [--seeds A..B] [--steps N] [--verbose]\n");
            return 2;
        }
    }
    unsigned long long bad = 0;
    for (unsigned long long seed = first; seed <= last; seed++)
        bad += !run_seed(seed, steps, verbose);
    printf("%llu seeds of %llu steps: %llu failed\n", last - first + 1, steps, bad);
    return bad ? 1 : 0;
}
