// SPDX-License-Identifier: Apache-2.0
// See handler.h. One handler_client a connection, from accept to on_closed. A trainer id has at
// most one client (by_trainer): a connection that was replaced is closed and no longer heard.
//
// The end of a job: the first failure (a trainer that is given up, a block that fails, an
// operator's stop) is told to every client as FATAL, once, and becomes serve_run's error. When all
// trainers have completed, connections close by themselves. What is said in between:
// handler_join.c, handler_step.c, handler_read.c, handler_merge.c.
#include "common/ps/handler.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/ps/apply.h"
#include "common/ps/handler_inside.h"
#include "common/ps/merge.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"

#define HANDLER_WAITS_MS 1000   // a wait is told from here on
#define HANDLER_LEAVE_MS 2000   // for clients to close after the last COMPLETE

static int on_place(void *self, const struct frame *header, void **out_dst, struct err *err);
static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err);
static void on_abandon(void *self, const struct frame *header, void *dst);
static int on_message(void *self, const struct frame *header, const struct message *message,
                      struct err *err);
static int take_message(struct handler_client *client, const struct frame *header,
                        const struct message *message, struct err *err);
static void on_room(void *self);
static void on_closed(void *self, struct conn *conn, const struct err *why);
static int judge_trainer(struct handler_client *client, int rc, struct err *err);
static int take_end(struct handler_client *client, const struct frame *header,
                    const struct message_end *end, struct err *err);
static void detach(struct handler_client *client);
static void count_traffic(struct handler_client *client);
static void send_heartbeat(struct handler_client *client);
static void watch_waiting(struct handler *handler, uint64_t now_ms);
static void end_if_empty(struct handler *handler);

static const struct conn_ops client_ops = {
    .session = {.place = on_place,
                .on_chunk = on_chunk,
                .on_abandon = on_abandon,
                .on_message = on_message,
                .on_room = on_room},
    .on_closed = on_closed,
};

struct handler *handler_new(const struct handler_options *options)
{
    struct handler *handler = MEM_NEW(struct handler);
    handler->options = *options;
    handler->loop = options->loop;
    handler->shard = options->shard;
    handler->state = options->state;
    handler->round = options->round;
    handler->apply = options->apply;
    peer_table_init(&handler->peers, round_trainers(options->round), options->serve->silent_ms,
                    options->serve->lost_ms);
    handler->peers.connect_ms = options->serve->connect_ms;
    reply_pool_init(&handler->pool, options->state);
    handler->merge = merge_new(round_trainers(options->round));
    handler->pool.on_release = handler_step_released;
    handler->pool.self = handler;
    handler->retry = (struct loop_job){.run = handler_step_retry, .arg = handler};
    handler->by_trainer =
        mem_must_calloc((size_t)round_trainers(options->round), sizeof(struct handler_client *));
    return handler;
}

void handler_free(struct handler *handler)
{
    if (!handler)
        return;
    while (handler->clients) {
        struct handler_client *client = handler->clients;
        handler->clients = client->next;
        reply_queue_deinit(&client->replies);
        reply_lookup_give(&handler->pool, client->lookup);
        mem_free(client->merge);
        mem_free(client->decision);
        mem_free(client);
    }
    merge_free(handler->merge);
    peer_table_deinit(&handler->peers);
    reply_pool_deinit(&handler->pool);
    mem_free(handler->by_trainer);
    mem_free(handler);
}

void handler_accept(void *self, struct conn *conn)
{
    struct handler *handler = self;
    struct handler_client *client = MEM_NEW(struct handler_client);
    client->handler = handler;
    client->conn = conn;
    client->trainer = -1;
    reply_queue_init(&client->replies, &handler->pool, handler->shard,
                     handler->options.frame_bytes);
    client->replies.on_room = handler_read_pump;
    client->replies.self = client;
    client->next = handler->clients;
    client->link = &handler->clients;
    if (client->next)
        client->next->link = &client->next;
    handler->clients = client;
    conn_bind(conn, &client_ops, client);
}

void handler_tick(struct handler *handler)
{
    uint64_t now_ms = loop_now_ms(handler->loop);
    if (handler->ended) {
        end_if_empty(handler);
        return;
    }
    if (handler->over_ms) {
        if (now_ms >= handler->over_ms + HANDLER_LEAVE_MS) {
            struct err why = {.code = SL_ECLOSED};
            for (struct handler_client *client = handler->clients; client; client = client->next)
                conn_finish(client->conn, &why);
        }
        end_if_empty(handler);
        return;
    }
    struct err lost = {0};
    int trainer = peer_tick(&handler->peers, now_ms, &lost);
    if (trainer >= 0) {
        struct err why = {0};
        err_set(&why, SL_ECLOSED, "%s; the job is at step %" PRIu64, lost.text,
                round_step(handler->round));
        handler_fail(handler, &why);
        return;
    }
    watch_waiting(handler, now_ms);
    if (now_ms >= handler->heartbeat_ms + PEER_HEARTBEAT_MS) {
        handler->heartbeat_ms = now_ms;
        for (struct handler_client *client = handler->clients; client; client = client->next)
            send_heartbeat(client);
    }
}

void handler_fail(struct handler *handler, const struct err *why)
{
    if (handler->ended || handler->told_end)
        return;
    handler->ended = true;
    handler->why = *why;
    struct message message = {.type = FRAME_FATAL, .end = {.code = why->code, .text = why->text}};
    for (struct handler_client *client = handler->clients; client; client = client->next) {
        struct frame header = {.type = FRAME_FATAL, .step = round_step(handler->round)};
        if (client->trainer >= 0 || client->reader)
            (void)conn_send_message(client->conn, &header, &message, NULL);
        conn_finish(client->conn, why);
    }
    end_if_empty(handler);
}

void handler_stats(const struct handler *handler, struct serve_stats *out)
{
    *out = handler->stats;
    out->apply_ns = apply_ns(handler->apply);
    for (const struct handler_client *client = handler->clients; client; client = client->next) {
        struct session_stats now;
        conn_stats(client->conn, &now);
        out->bytes_received += now.bytes_in - client->counted.bytes_in;
        out->bytes_sent += now.bytes_out - client->counted.bytes_out;
    }
}

// ---- session events

static struct round_push push_key(const struct handler_client *client, const struct frame *header)
{
    return (struct round_push){
        .trainer = client->trainer,
        .incarnation = header->incarnation,
        .step = header->step,
        .variable = header->variable,
        .slice = header->slice,
        .offset = header->offset,
        .bytes = header->body_bytes,
        .hash = header->body_hash,
        .sparse = header->flags & FRAME_SPARSE,
        .rows = header->request,
    };
}

static int on_place(void *self, const struct frame *header, void **out_dst, struct err *err)
{
    struct handler_client *client = self;
    struct handler *handler = client->handler;
    if (header->type == FRAME_LOOKUP)
        return judge_trainer(client, handler_read_lookup_place(client, header, out_dst, err), err);
    if (header->type == FRAME_MERGE)
        return judge_trainer(client, handler_merge_place(client, header, out_dst, err), err);
    if (header->type != FRAME_PUSH || client->trainer < 0)
        return err_set(err, SL_EFORMAT, "%s is not for a server",
                       frame_type_name((int)header->type));
    struct round_push push = push_key(client, header);
    int rc = round_place(handler->round, &push, out_dst, err);
    handler->stats.chunks++;
    if (rc == ROUND_COMPLETE || rc == ROUND_MIXED)
        handler->stats.chunks_repeated++;
    else if (rc == ROUND_STALE || rc == ROUND_FENCED)
        handler->stats.chunks_stale++;
    // On the grid of the first time it cannot be mixed; whoever cut it otherwise is told what is
    // missing.
    if (rc == ROUND_MIXED)
        rc = handler_step_missing(client, err);
    return judge_trainer(client, rc, err);
}

static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err)
{
    struct handler_client *client = self;
    struct handler *handler = client->handler;
    if (!sound)
        handler->stats.chunks_corrupt++;
    if (header->type == FRAME_LOOKUP) {
        int read = handler_read_lookup(client, header, sound, err);
        return sound ? judge_trainer(client, read, err) : read;
    }
    if (header->type == FRAME_MERGE) {
        int merged = handler_merge_take(client, header, sound, err);
        return sound ? judge_trainer(client, merged, err) : merged;
    }
    struct round_push push = push_key(client, header);
    if (!dst)
        return 0;
    if (!handler->step_start_ns)
        handler->step_start_ns = clock_now_ns();
    const struct shard_slice *slice = shard_find(handler->shard, header->variable, header->slice);
    int rc = round_received(handler->round, &push, sound, err);
    if (rc <= 0)
        return rc < 0 ? judge_trainer(client, rc, err)
                      : handler_step_missing_chunk(client, header, err);
    peer_pushed(&handler->peers, client->trainer, slice->place->name, loop_now_ms(handler->loop));
    uint32_t cell = handler->shard->cell_bytes;
    struct err why = {0};
    rc = 0;
    if (!handler->ended && round_phase(handler->round) == ROUND_COLLECT)
        rc = apply_fold(handler->apply, slice->grad, (uint32_t)(header->offset / cell),
                        (header->body_bytes + cell - 1) / cell, &why);
    if (rc < 0)
        handler_fail(handler, &why);
    else if (round_has_barrier(handler->round, client->trainer))
        handler_step_advance(handler);
    return 0;
}

static void on_abandon(void *self, const struct frame *header, void *dst)
{
    (void)dst;
    struct handler_client *client = self;
    if (header->type == FRAME_LOOKUP) {
        reply_lookup_give(&client->handler->pool, client->lookup);
        client->lookup = NULL;
        return;
    }
    if (header->type == FRAME_MERGE)
        return;   // freed with the client, or by the next one
    struct round_push push = push_key(client, header);
    round_abandoned(client->handler->round, &push);
}

static int on_message(void *self, const struct frame *header, const struct message *message,
                      struct err *err)
{
    struct handler_client *client = self;
    if (client->handler->ended)
        return 0;
    if (message->type == FRAME_HELLO)
        return handler_join_hello(client, header, &message->hello, err);
    return judge_trainer(client, take_message(client, header, message, err), err);
}

static int take_message(struct handler_client *client, const struct frame *header,
                        const struct message *message, struct err *err)
{
    struct handler *handler = client->handler;
    bool all;
    int rc;
    switch (message->type) {
    case FRAME_SEND_BARRIER:
        return handler_step_barrier(client, header, err);
    case FRAME_COMMIT_STEP:
        return handler_step_commit(client, header, &message->commit_step, err);
    case FRAME_FETCH_BARRIER:
        rc = round_fetch_barrier(handler->round, client->trainer, header->incarnation, header->step,
                                 &all, err);
        return rc < 0 ? rc : 0;
    case FRAME_PULL:
        return handler_read_pull(client, header, &message->ranges, err);
    case FRAME_PIN:
        return handler_read_pin(client, header, err);
    case FRAME_UNPIN:
        return handler_read_unpin(client, header->step);
    case FRAME_COMPLETE:
        return handler_step_complete(client, header, err);
    case FRAME_INVENTORY_REQUEST:
        return handler_join_inventory(client, header, err);
    case FRAME_HEARTBEAT:
        client->echo_ms = message->heartbeat.sent_ms;
        return 0;
    case FRAME_GOODBYE:
    case FRAME_FATAL:
        return take_end(client, header, &message->end, err);
    default:
        return err_set(err, SL_EFORMAT, "%s is not for a server",
                       frame_type_name((int)message->type));
    }
}

// A trainer that breaks the protocol is a fault of the job, not of its connection: coming back
// would not mend it, so the job ends and says why.
static int judge_trainer(struct handler_client *client, int rc, struct err *err)
{
    if (rc >= 0)
        return 0;
    if (client->trainer >= 0 && rc != SL_ECLOSED && rc != SL_ELIMIT) {
        err_prefix(err, "trainer %d (%s)", client->trainer, conn_peer(client->conn));
        handler_fail(client->handler, err);
    }
    return rc;
}

static void on_room(void *self)
{
    handler_merge_pump(self);
    handler_read_pump(self);
}

static void on_closed(void *self, struct conn *conn, const struct err *why)
{
    struct handler_client *client = self;
    struct handler *handler = client->handler;
    (void)conn;
    count_traffic(client);
    if (client->trainer >= 0 && handler->by_trainer[client->trainer] == client) {
        handler->by_trainer[client->trainer] = NULL;
        round_leave(handler->round, client->trainer);
        peer_lost(&handler->peers, client->trainer, why->code == SL_ETIMEOUT, why->text,
                  loop_now_ms(handler->loop));
        if (!handler->ended && handler->peers.items[client->trainer].state == PEER_LOST)
            handler_notice(handler, "lost the connection of trainer %d (%s)", client->trainer,
                           why->text);
    }
    detach(client);
    end_if_empty(handler);
}

int handler_refuse(struct handler_client *client, const struct frame *header, const struct err *why)
{
    bool hello = header->type == FRAME_HELLO;
    struct message message = {.type = FRAME_REFUSED,
                              .refused = {.code = why->code, .text = why->text}};
    struct frame answer = {.type = FRAME_REFUSED, .request = header->request, .step = header->step};
    if (hello)
        handler_notice(client->handler, "refused %s: %s", conn_peer(client->conn), why->text);
    int rc = conn_send_message(client->conn, &answer, &message, NULL);
    if (hello)
        conn_finish(client->conn, why);
    return rc;
}

// ---- the end

static int take_end(struct handler_client *client, const struct frame *header,
                    const struct message_end *end, struct err *err)
{
    struct handler *handler = client->handler;
    (void)err;
    client->leaving = true;
    bool done = client->reader || round_has_completed(handler->round, client->trainer);
    struct err why = {0};
    if (header->type == FRAME_GOODBYE && done) {
        err_set(&why, SL_ECLOSED, "it said goodbye");
        conn_finish(client->conn, &why);
    } else if (client->reader) {
        conn_finish(client->conn, &why);
    } else if (header->type == FRAME_GOODBYE && end->code == SL_EREFUSED &&
               !handler->peers.items[client->trainer].pushed) {
        // Another server did not take it: nothing has begun with it, and the right one may still
        // come.
        err_set(&why, SL_ECLOSED, "%s", end->text);
        handler_notice(handler, "trainer %d went away: %s", client->trainer, end->text);
        handler->by_trainer[client->trainer] = NULL;
        peer_forget(&handler->peers, client->trainer);
        conn_finish(client->conn, &why);
    } else if (header->type == FRAME_FATAL) {
        // It names whose fault it is: the others are told the same.
        err_set(&why, end->code < 0 ? end->code : SL_ECLOSED, "%s", end->text);
        handler_fail(handler, &why);
    } else {
        err_set(&why, SL_ECLOSED, "trainer %d (%s) left at step %" PRIu64 "%s%s", client->trainer,
                conn_peer(client->conn), round_step(handler->round),
                end->text && end->text[0] ? ": " : " before it had completed",
                end->text ? end->text : "");
        handler_fail(handler, &why);
    }
    return 0;
}

static void detach(struct handler_client *client)
{
    struct handler *handler = client->handler;
    while (client->pins_count)
        state_unpin(handler->state, client->pins[--client->pins_count]);
    reply_queue_deinit(&client->replies);
    reply_lookup_give(&handler->pool, client->lookup);
    mem_free(client->merge);
    mem_free(client->decision);
    *client->link = client->next;
    if (client->next)
        client->next->link = client->link;
    mem_free(client);
}

static void end_if_empty(struct handler *handler)
{
    if (handler->told_end || handler->clients || !(handler->ended || handler->over_ms))
        return;
    handler->told_end = true;
    handler->options.on_end(handler->options.self, &handler->why);
}

static void count_traffic(struct handler_client *client)
{
    struct session_stats now;
    conn_stats(client->conn, &now);
    client->handler->stats.bytes_received += now.bytes_in - client->counted.bytes_in;
    client->handler->stats.bytes_sent += now.bytes_out - client->counted.bytes_out;
    client->counted = now;
}

// ---- waiting

static void watch_waiting(struct handler *handler, uint64_t now_ms)
{
    int trainers = round_trainers(handler->round);
    bool some_waits = false, some_missing = false;
    for (int t = 0; t < trainers; t++) {
        bool missing = round_is_waiting_for(handler->round, t);
        some_missing = some_missing || missing;
        some_waits = some_waits || (!missing && !round_has_completed(handler->round, t));
    }
    if (!some_waits || !some_missing) {
        handler->wait_since_ms = 0;
        handler->wait_text[0] = '\0';
        return;
    }
    if (!handler->wait_since_ms)
        handler->wait_since_ms = handler->said_ms = now_ms;
    if (now_ms < handler->said_ms + HANDLER_WAITS_MS)
        return;
    handler->said_ms = now_ms;
    size_t used = (size_t)snprintf(
        handler->wait_text, sizeof handler->wait_text, "waiting %.1f s at step %" PRIu64 " for ",
        (double)(now_ms - handler->wait_since_ms) / 1000.0, round_step(handler->round));
    int named = 0, more = 0;
    for (int t = 0; t < trainers; t++) {
        if (!round_is_waiting_for(handler->round, t))
            continue;
        if (named == 4 || used + 300 > sizeof handler->wait_text) {
            more++;
            continue;
        }
        char who[256];
        peer_describe(&handler->peers, t, now_ms, who, sizeof who);
        used += (size_t)snprintf(handler->wait_text + used, sizeof handler->wait_text - used,
                                 "%s%s", named++ ? ", " : "", who);
    }
    if (more)
        snprintf(handler->wait_text + used, sizeof handler->wait_text - used, " and %d more", more);
    if (handler->options.serve->waiting)
        handler->options.serve->waiting(handler->options.serve->self, handler->wait_text);
}

static void send_heartbeat(struct handler_client *client)
{
    struct handler *handler = client->handler;
    if (client->trainer < 0 && !client->reader)
        return;
    uint32_t ids[MESSAGE_WAITING_MAX];
    struct message message = {
        .type = FRAME_HEARTBEAT,
        .heartbeat = {.sent_ms = loop_now_ms(handler->loop),
                      .echo_ms = client->echo_ms,
                      .waiting_for = ids},
    };
    if (handler->wait_text[0]) {
        for (int t = 0; t < round_trainers(handler->round) &&
                        message.heartbeat.waiting_count < MESSAGE_WAITING_MAX;
             t++)
            if (round_is_waiting_for(handler->round, t))
                ids[message.heartbeat.waiting_count++] = (uint32_t)t;
        message.heartbeat.waiting_ms =
            (uint32_t)(loop_now_ms(handler->loop) - handler->wait_since_ms);
        message.heartbeat.text = handler->wait_text;
    }
    struct frame header = {.type = FRAME_HEARTBEAT,
                           .step = round_step(handler->round),
                           .incarnation = client->incarnation};
    (void)conn_send_message(client->conn, &header, &message, NULL);
}

void handler_notice(struct handler *handler, const char *fmt, ...)
{
    if (!handler->options.serve->notice)
        return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    handler->options.serve->notice(handler->options.serve->self, text);
}
