// SPDX-License-Identifier: Apache-2.0
// See handler.h. One handler_client a connection, from accept to on_closed. A trainer id has at
// most one client (by_trainer): a connection that was replaced is closed and no longer heard.
//
// The end of a job: the first failure (a trainer that is given up, a block that fails, an
// operator's stop) is told to every client as FATAL, once, and becomes serve_run's error. When all
// trainers have completed, connections close by themselves.
#include "common/ps/handler.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/net/conn.h"
#include "common/net/loop.h"
#include "common/ps/apply.h"
#include "common/ps/reply.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"
#include "common/wire/message.h"

#define HANDLER_WAITS_MS 1000   // a wait is told from here on
#define HANDLER_LEAVE_MS 2000   // for clients to close after the last COMPLETE
#define HANDLER_PINS_MAX 8      // of one connection

struct handler_client {
    struct handler *handler;
    struct conn *conn;
    struct handler_client *next, **link;
    bool reader;
    int trainer;   // -1: reader, or no hello yet
    uint64_t incarnation;
    bool leaving;   // said goodbye, or was sent away
    struct reply_queue replies;
    uint64_t pins[HANDLER_PINS_MAX];
    int pins_count;
    uint64_t pin_wanted;   // waits for this version
    uint32_t pin_request;
    bool pin_waits;
    uint64_t echo_ms;
    struct session_stats counted;   // already in the handler's totals
};

struct handler {
    struct handler_options options;
    struct loop *loop;
    const struct shard *shard;
    struct state *state;
    struct round *round;
    struct apply *apply;
    struct peer_table peers;
    struct reply_pool pool;
    struct loop_job retry;   // a step that waits for a reply's hold
    bool retry_posted;
    struct handler_client *clients;
    struct handler_client **by_trainer;
    bool ended, told_end;
    struct err why;
    uint64_t over_ms;        // when every trainer had completed; 0 = not yet
    uint64_t heartbeat_ms;   // when the last ones were sent
    uint64_t
        wait_since_ms;   // first barrier (or push) of a step that others keep waiting; 0 = none
    uint64_t said_ms;
    uint64_t step_start_ns;
    char wait_text[MESSAGE_TEXT_MAX];
    struct serve_stats stats;
};

static int on_place(void *self, const struct frame *header, void **out_dst, struct err *err);
static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err);
static void on_abandon(void *self, const struct frame *header, void *dst);
static int on_message(void *self, const struct frame *header, const struct message *message,
                      struct err *err);
static int take_message(struct handler_client *client, const struct frame *header,
                        const struct message *message, struct err *err);
static void on_room(void *self);
static void on_closed(void *self, struct conn *conn, const struct err *why);
static int take_hello(struct handler_client *client, const struct frame *header,
                      const struct message_hello *hello, struct err *err);
static int judge_hello(const struct handler *handler, const struct message_hello *hello,
                       struct err *err);
static int welcome(struct handler_client *client, struct err *err);
static int refuse(struct handler_client *client, const struct frame *header, const struct err *why);
static int send_missing(struct handler_client *client, struct err *err);
static int send_missing_chunk(struct handler_client *client, const struct frame *header,
                              struct err *err);
static void send_partials(struct handler_client *client);
static int judge_trainer(struct handler_client *client, int rc, struct err *err);
static int take_barrier(struct handler_client *client, const struct frame *header, struct err *err);
static int take_commit(struct handler_client *client, const struct frame *header,
                       const struct message_commit_step *commit, struct err *err);
static int take_pull(struct handler_client *client, const struct frame *header,
                     const struct message_ranges *ranges, struct err *err);
static int take_pin(struct handler_client *client, const struct frame *header, struct err *err);
static int take_unpin(struct handler_client *client, uint64_t version);
static int take_complete(struct handler_client *client, const struct frame *header,
                         struct err *err);
static int take_end(struct handler_client *client, const struct frame *header,
                    const struct message_end *end, struct err *err);
static int send_inventory(struct handler_client *client, const struct frame *header,
                          struct err *err);
static void advance(struct handler *handler);
static void finish_step(struct handler *handler);
static void pump(struct handler_client *client);
static void detach(struct handler_client *client);
static void count_traffic(struct handler_client *client);
static void send_heartbeat(struct handler_client *client);
static void watch_waiting(struct handler *handler, uint64_t now_ms);
static void notice(struct handler *handler, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void end_if_empty(struct handler *handler);
static void on_release(void *self);
static void run_retry(void *arg);

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
    reply_pool_init(&handler->pool, options->state);
    handler->pool.on_release = on_release;
    handler->pool.self = handler;
    handler->retry = (struct loop_job){.run = run_retry, .arg = handler};
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
        mem_free(client);
    }
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
    };
}

static int on_place(void *self, const struct frame *header, void **out_dst, struct err *err)
{
    struct handler_client *client = self;
    struct handler *handler = client->handler;
    if (header->type != FRAME_PUSH || client->trainer < 0)
        return err_set(err, SL_EFORMAT, "%s is not for a server",
                       frame_type_name((int)header->type));
    if (header->flags & FRAME_SPARSE)
        return err_set(err, SL_EUNSUPPORTED, "sparse gradients do not work with servers so far");
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
        rc = send_missing(client, err);
    return judge_trainer(client, rc, err);
}

static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err)
{
    struct handler_client *client = self;
    struct handler *handler = client->handler;
    if (!sound)
        handler->stats.chunks_corrupt++;
    struct round_push push = push_key(client, header);
    if (!dst)
        return 0;
    if (!handler->step_start_ns)
        handler->step_start_ns = clock_now_ns();
    const struct shard_slice *slice = shard_find(handler->shard, header->variable, header->slice);
    if (!round_received(handler->round, &push, sound))
        return send_missing_chunk(client, header, err);
    peer_pushed(&handler->peers, client->trainer, slice->place->name, loop_now_ms(handler->loop));
    uint32_t cell = handler->shard->cell_bytes;
    struct err why = {0};
    int rc = 0;
    if (!handler->ended && round_phase(handler->round) == ROUND_COLLECT)
        rc = apply_fold(handler->apply, slice->grad, (uint32_t)(header->offset / cell),
                        (header->body_bytes + cell - 1) / cell, &why);
    if (rc < 0)
        handler_fail(handler, &why);
    else if (round_has_barrier(handler->round, client->trainer))
        advance(handler);
    return 0;
}

static void on_abandon(void *self, const struct frame *header, void *dst)
{
    (void)dst;
    struct handler_client *client = self;
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
        return take_hello(client, header, &message->hello, err);
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
        return take_barrier(client, header, err);
    case FRAME_COMMIT_STEP:
        return take_commit(client, header, &message->commit_step, err);
    case FRAME_FETCH_BARRIER:
        rc = round_fetch_barrier(handler->round, client->trainer, header->incarnation, header->step,
                                 &all, err);
        return rc < 0 ? rc : 0;
    case FRAME_PULL:
        return take_pull(client, header, &message->ranges, err);
    case FRAME_PIN:
        return take_pin(client, header, err);
    case FRAME_UNPIN:
        return take_unpin(client, header->step);
    case FRAME_COMPLETE:
        return take_complete(client, header, err);
    case FRAME_INVENTORY_REQUEST:
        return send_inventory(client, header, err);
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
    pump(self);
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
            notice(handler, "lost the connection of trainer %d (%s)", client->trainer, why->text);
    }
    detach(client);
    end_if_empty(handler);
}

// ---- hello

static int take_hello(struct handler_client *client, const struct frame *header,
                      const struct message_hello *hello, struct err *err)
{
    struct handler *handler = client->handler;
    struct err why = {0};
    if (client->trainer >= 0 || client->reader)
        return err_set(err, SL_EFORMAT, "a second hello");
    int rc = judge_hello(handler, hello, &why);
    uint64_t now_ms = loop_now_ms(handler->loop);
    if (rc < 0)
        return refuse(client, header, &why);
    if (hello->role == MESSAGE_READER) {
        client->reader = true;
        conn_allow(client->conn, FRAME_BIT(FRAME_PULL) | FRAME_BIT(FRAME_PIN) |
                                     FRAME_BIT(FRAME_UNPIN) | FRAME_BIT(FRAME_INVENTORY_REQUEST) |
                                     FRAME_BIT(FRAME_HEARTBEAT) | FRAME_BIT(FRAME_GOODBYE) |
                                     FRAME_BIT(FRAME_FATAL));
        return welcome(client, err);
    }
    int trainer = (int)hello->trainer_id;
    uint64_t incarnation;
    rc = peer_hello(&handler->peers, trainer, header->incarnation, hello->nonce,
                    conn_peer(client->conn), now_ms, clock_wall_s(), &incarnation, &why);
    if (rc < 0)
        return refuse(client, header, &why);
    struct handler_client *old = handler->by_trainer[trainer];
    if (old) {
        struct err replaced = {0};
        err_set(&replaced, SL_ECLOSED, "trainer %d is here with a new connection", trainer);
        old->leaving = true;
        conn_close(old->conn, &replaced);
    }
    handler->by_trainer[trainer] = client;
    client->trainer = trainer;
    client->incarnation = incarnation;
    round_enter(handler->round, trainer, incarnation);
    conn_allow(client->conn, FRAME_ALL & ~FRAME_BIT(FRAME_HELLO));
    uint32_t silent_ms = (uint32_t)handler->peers.silent_ms;
    conn_set_silence(client->conn, silent_ms, silent_ms);
    if (rc == PEER_BACK) {
        handler->stats.reconnects++;
        notice(handler, "trainer %d is back from %s", trainer, conn_peer(client->conn));
    } else {
        notice(handler, "trainer %d is here from %s", trainer, conn_peer(client->conn));
    }
    bool back = rc == PEER_BACK;
    rc = welcome(client, err);
    // One that came back learns what arrived before; one that is new has pushed nothing.
    return rc < 0 || !back ? rc : send_missing(client, err);
}

static int judge_hello(const struct handler *handler, const struct message_hello *hello,
                       struct err *err)
{
    const struct slice_map *map = handler->shard->map;
    const char *job_id = handler->options.serve->job_id ? handler->options.serve->job_id : "";
    if (hello->protocol != FRAME_VERSION)
        return err_set(err, SL_EREFUSED, "it speaks protocol %u, this server %d", hello->protocol,
                       FRAME_VERSION);
    if (handler->ended || (handler->over_ms && hello->role == MESSAGE_READER))
        return err_set(err, SL_EREFUSED, "this job is ending");
    if (!str_eq(hello->job_id, job_id))
        return err_set(err, SL_EREFUSED, "it is of job `%s`, this server of job `%s`",
                       hello->job_id, job_id);
    if (hello->role == MESSAGE_READER)
        return 0;
    if (hello->trainers != (uint32_t)map->trainers || hello->servers != (uint32_t)map->servers)
        return err_set(err, SL_EREFUSED,
                       "another topology: it has %u trainers and %u servers, this server %d "
                       "trainers and %d servers",
                       hello->trainers, hello->servers, map->trainers, map->servers);
    if (hello->server_index != (uint32_t)handler->shard->server)
        return err_set(err, SL_EREFUSED,
                       "it takes this server for number %u, but it is number %d: the lists of "
                       "endpoints differ in order",
                       hello->server_index, handler->shard->server);
    if (hello->topology != handler->options.topology)
        return err_set(err, SL_EREFUSED,
                       "another topology: its variables, slices, shapes or types differ from this "
                       "server's (%016" PRIx64 " and %016" PRIx64
                       "); are model, optimizer and options the same?",
                       hello->topology, handler->options.topology);
    return 0;
}

static int welcome(struct handler_client *client, struct err *err)
{
    struct handler *handler = client->handler;
    const struct serve_origin *origin = &handler->options.serve->origin;
    const char *progress = origin->progress ? origin->progress : "";
    size_t total = strlen(progress);
    struct message message = {
        .type = FRAME_WELCOME,
        .welcome =
            {
                .server_index = (uint32_t)handler->shard->server,
                .servers = (uint32_t)handler->shard->map->servers,
                .trainers = (uint32_t)handler->shard->map->trainers,
                .origin = origin->loaded ? MESSAGE_LOADED : MESSAGE_FRESH,
                .digest = origin->digest,
                .topology = handler->options.topology,
                .epoch = (uint64_t)origin->epoch,
                .heartbeat_ms = PEER_HEARTBEAT_MS,
                .silence_ms = (uint32_t)handler->peers.silent_ms,
                .progress_bytes = (uint32_t)total,
            },
    };
    struct frame header = {
        .type = FRAME_WELCOME, .step = handler->state->version, .incarnation = client->incarnation};
    int rc = conn_send_message(client->conn, &header, &message, err);
    for (size_t at = 0; rc == 0 && at < total; at += MESSAGE_PAGE_BYTES) {
        size_t bytes = total - at < MESSAGE_PAGE_BYTES ? total - at : MESSAGE_PAGE_BYTES;
        struct message page = {
            .type = FRAME_PROGRESS,
            .progress = {.total_bytes = (uint32_t)total,
                         .text = progress + at,
                         .text_bytes = (uint32_t)bytes},
        };
        header = (struct frame){
            .type = FRAME_PROGRESS, .flags = at + bytes == total ? FRAME_LAST : 0, .offset = at};
        rc = conn_send_message(client->conn, &header, &page, err);
    }
    return rc;
}

static int refuse(struct handler_client *client, const struct frame *header, const struct err *why)
{
    bool hello = header->type == FRAME_HELLO;
    struct message message = {.type = FRAME_REFUSED,
                              .refused = {.code = why->code, .text = why->text}};
    struct frame answer = {.type = FRAME_REFUSED, .request = header->request, .step = header->step};
    if (hello)
        notice(client->handler, "refused %s: %s", conn_peer(client->conn), why->text);
    int rc = conn_send_message(client->conn, &answer, &message, NULL);
    if (hello)
        conn_finish(client->conn, why);
    return rc;
}

// What this trainer's step lacks here; an empty page when nothing does.
static int send_missing(struct handler_client *client, struct err *err)
{
    struct handler *handler = client->handler;
    struct round_range ranges[64];
    struct message_range items[64];
    uint64_t cursor = 0;
    int rc;
    do {
        size_t count = round_missing(handler->round, client->trainer, ranges, 64, &cursor);
        for (size_t i = 0; i < count; i++)
            items[i] = (struct message_range){ranges[i].slice->variable, ranges[i].slice->slice,
                                              ranges[i].offset, ranges[i].bytes};
        struct message message = {.type = FRAME_MISSING,
                                  .ranges = {.items = items, .count = count}};
        struct frame header = {.type = FRAME_MISSING,
                               .flags = cursor ? 0 : FRAME_LAST,
                               .incarnation = client->incarnation,
                               .step = round_step(handler->round)};
        rc = conn_send_message(client->conn, &header, &message, err);
    } while (rc == 0 && cursor);
    return rc;
}

// One chunk did not pass its checksum.
static int send_missing_chunk(struct handler_client *client, const struct frame *header,
                              struct err *err)
{
    struct message_range range = {header->variable, header->slice, header->offset,
                                  header->body_bytes};
    struct message message = {.type = FRAME_MISSING, .ranges = {.items = &range, .count = 1}};
    struct frame answer = {.type = FRAME_MISSING,
                           .flags = FRAME_LAST,
                           .incarnation = client->incarnation,
                           .step = header->step};
    return conn_send_message(client->conn, &answer, &message, err);
}

// ---- a step

static int send_committed(struct handler_client *client, uint64_t version, struct err *err)
{
    struct message message = {
        .type = FRAME_COMMITTED,
        .committed = {.step = version - 1,
                      .decision = (enum message_decision)round_decision(client->handler->round)},
    };
    struct frame header = {
        .type = FRAME_COMMITTED, .step = version, .incarnation = client->incarnation};
    return conn_send_message(client->conn, &header, &message, err);
}

static int take_barrier(struct handler_client *client, const struct frame *header, struct err *err)
{
    struct handler *handler = client->handler;
    int rc =
        round_send_barrier(handler->round, client->trainer, header->incarnation, header->step, err);
    if (rc == 1)
        return send_committed(client, round_step(handler->round), err);
    if (rc < 0)
        return rc;
    if (!handler->step_start_ns)
        handler->step_start_ns = clock_now_ns();
    struct round_range one;
    uint64_t cursor = 0;
    if (round_missing(handler->round, client->trainer, &one, 1, &cursor))
        return send_missing(client, err);
    if (round_phase(handler->round) == ROUND_DECIDE)
        send_partials(client);   // it came back and says its barrier again
    advance(handler);
    return 0;
}

// No operator has numbers to tell yet: the page says "nothing against it".
static void send_partials(struct handler_client *client)
{
    struct message message = {.type = FRAME_PARTIALS};
    struct frame header = {.type = FRAME_PARTIALS,
                           .flags = FRAME_LAST,
                           .step = round_step(client->handler->round),
                           .incarnation = client->incarnation};
    (void)conn_send_message(client->conn, &header, &message, NULL);
}

static int take_commit(struct handler_client *client, const struct frame *header,
                       const struct message_commit_step *commit, struct err *err)
{
    struct handler *handler = client->handler;
    size_t bytes = commit->count * 4 * sizeof(uint64_t);
    uint64_t *content = mem_calloc(commit->count * 4 + 1, sizeof *content);
    if (!content)
        return err_set(err, SL_ENOMEM, "no memory for a decision");
    for (size_t i = 0; i < commit->count; i++) {
        content[4 * i] = (uint64_t)commit->items[i].kind;
        content[4 * i + 1] = commit->items[i].variable;
        content[4 * i + 2] = commit->items[i].slice;
        memcpy(&content[4 * i + 3], &commit->items[i].value, sizeof(double));
    }
    int rc = round_commit_step(handler->round, client->trainer, header->incarnation, header->step,
                               (enum round_decision)commit->decision, content, bytes, err);
    mem_free(content);
    if (rc == 1)
        return send_committed(client, round_step(handler->round), err);
    if (rc < 0)
        return rc;
    advance(handler);
    return 0;
}

// Moves the round on as far as it goes now.
static void advance(struct handler *handler)
{
    if (handler->ended)
        return;
    enum round_phase before = round_phase(handler->round);
    switch (round_advance(handler->round)) {
    case ROUND_COLLECT:
        break;
    case ROUND_DECIDE:
        for (struct handler_client *client = handler->clients; client && before != ROUND_DECIDE;
             client = client->next)
            if (client->trainer >= 0)
                send_partials(client);
        break;
    case ROUND_APPLY:
        finish_step(handler);
        break;
    case ROUND_OVER:
        if (!handler->over_ms)
            handler->over_ms = loop_now_ms(handler->loop);
        break;
    }
}

static void finish_step(struct handler *handler)
{
    struct err why = {0};
    int rc;
    if (round_decision(handler->round) == ROUND_DO_STOP)
        rc = err_set(&why, SL_EREFUSED, "step %" PRIu64 " was stopped by the trainers' decision",
                     round_step(handler->round));
    else if (round_decision(handler->round) == ROUND_DO_SKIP)
        rc = apply_skip(handler->apply, &why);
    else
        rc = apply_finish(handler->apply, &why);
    if (rc == SL_EBUSY)
        return;   // on_release tries again
    if (rc < 0) {
        err_prefix(&why, "step %" PRIu64, round_step(handler->round));
        handler_fail(handler, &why);
        return;
    }
    if (handler->step_start_ns)
        handler->stats.wait_ns += clock_now_ns() - handler->step_start_ns;
    handler->step_start_ns = 0;
    handler->wait_since_ms = 0;
    handler->wait_text[0] = '\0';
    handler->stats.steps++;
    round_applied(handler->round);
    for (struct handler_client *client = handler->clients; client; client = client->next) {
        if (client->trainer >= 0 && !client->leaving &&
            !round_has_completed(handler->round, client->trainer))
            (void)send_committed(client, handler->state->version, NULL);
        if (client->pin_waits && client->pin_wanted <= handler->state->version) {
            struct frame again = {
                .type = FRAME_PIN, .request = client->pin_request, .step = client->pin_wanted};
            client->pin_waits = false;
            (void)take_pin(client, &again, NULL);
        }
        pump(client);
    }
    if (handler->options.serve->committed)
        handler->options.serve->committed(handler->options.serve->self, handler->state->version);
    advance(handler);   // the others may have completed meanwhile
}

// ---- reading

static int take_pull(struct handler_client *client, const struct frame *header,
                     const struct message_ranges *ranges, struct err *err)
{
    struct handler *handler = client->handler;
    uint64_t version = header->step;
    if (!version)
        version =
            client->pins_count ? client->pins[client->pins_count - 1] : handler->state->version;
    struct err why = {0};
    int rc = reply_queue_add(&client->replies, header->request, version, client->incarnation,
                             ranges->items, ranges->count, &why);
    if (rc == SL_ENOENT || rc == SL_ELIMIT)
        return refuse(client, header, &why);
    if (rc < 0)
        return err_set(err, rc, "pull: %s", why.text);
    pump(client);
    return 0;
}

static void pump(struct handler_client *client)
{
    struct err why = {0};
    uint32_t request = 0;
    while (!client->handler->ended &&
           reply_queue_pump(&client->replies, client->conn, &request, &why) == SL_ENOENT) {
        struct frame header = {.type = FRAME_PULL, .request = request};
        (void)refuse(client, &header, &why);
    }
}

static int take_pin(struct handler_client *client, const struct frame *header, struct err *err)
{
    struct handler *handler = client->handler;
    uint64_t version = header->step ? header->step : handler->state->version;
    struct err why = {0};
    if (version == handler->state->version + 1) {
        client->pin_waits = true;   // answered when that step is committed
        client->pin_wanted = version;
        client->pin_request = header->request;
        return 0;
    }
    struct frame answer = {.type = FRAME_PINNED,
                           .request = header->request,
                           .step = version,
                           .incarnation = client->incarnation};
    for (int i = 0; i < client->pins_count; i++)
        if (client->pins[i] == version)   // asked again, or asked of two
            return conn_send_plain(client->conn, &answer, err);
    int rc = client->pins_count < HANDLER_PINS_MAX
                 ? state_pin(handler->state, version, &why)
                 : err_set(&why, SL_ELIMIT, "more than %d pinned versions on one connection",
                           HANDLER_PINS_MAX);
    if (rc < 0)
        return refuse(client, header, &why);
    client->pins[client->pins_count++] = version;
    return conn_send_plain(client->conn, &answer, err);
}

static int take_unpin(struct handler_client *client, uint64_t version)
{
    client->pin_waits = false;
    for (int i = 0; i < client->pins_count; i++) {
        if (client->pins[i] == version) {
            client->pins[i] = client->pins[--client->pins_count];
            state_unpin(client->handler->state, version);
            break;
        }
    }
    return 0;
}

// One page a variable is enough for every map met so far; slices of a variable that do not fit
// follow.
static int send_inventory(struct handler_client *client, const struct frame *header,
                          struct err *err)
{
    const struct slice_map *map = client->handler->shard->map;
    struct message_inventory_slice slices[256];
    int rc = 0;
    if (!map->vars_count) {
        struct message empty = {
            .type = FRAME_INVENTORY,
            .inventory = {.server_index = (uint32_t)client->handler->shard->server,
                          .servers = (uint32_t)map->servers,
                          .trainers = (uint32_t)map->trainers},
        };
        struct frame answer = {
            .type = FRAME_INVENTORY, .flags = FRAME_LAST, .request = header->request};
        return conn_send_message(client->conn, &answer, &empty, err);
    }
    for (size_t v = 0; rc == 0 && v < map->vars_count; v++) {
        const struct slice_var *var = map->vars[v];
        size_t first = 0;
        do {
            size_t count = 0, bytes = 0;
            while (first + count < var->slices_count && count < 256 &&
                   bytes < MESSAGE_PAGE_BYTES / 2) {
                const struct slice *slice = &var->slices[first + count];
                slices[count++] = (struct message_inventory_slice){
                    (uint32_t)slice->server, slice->row, slice->rows, slice->name};
                bytes += strlen(slice->name) + 32;
            }
            struct message_inventory_var item = {
                .index = (uint32_t)v,
                .name = var->name,
                .role = (uint32_t)var->role,
                .param = var->param ? var->param : "",
                .dtype = var->dtype,
                .dims = var->dims,
                .replicated = var->replicated,
                .slices_total = (uint32_t)var->slices_count,
                .slices_first = (uint32_t)first,
                .slices = slices,
                .slices_count = count,
            };
            first += count;
            struct message page = {
                .type = FRAME_INVENTORY,
                .inventory =
                    {
                        .server_index = (uint32_t)client->handler->shard->server,
                        .servers = (uint32_t)map->servers,
                        .trainers = (uint32_t)map->trainers,
                        .vars_total = (uint32_t)map->vars_count,
                        .vars = &item,
                        .vars_count = 1,
                    },
            };
            bool last = v + 1 == map->vars_count && first >= var->slices_count;
            struct frame answer = {.type = FRAME_INVENTORY,
                                   .flags = last ? FRAME_LAST : 0,
                                   .request = header->request,
                                   .step = client->handler->state->version};
            rc = conn_send_message(client->conn, &answer, &page, err);
        } while (rc == 0 && first < var->slices_count);
    }
    return rc;
}

// ---- the end

static int take_complete(struct handler_client *client, const struct frame *header, struct err *err)
{
    struct handler *handler = client->handler;
    int rc = round_complete(handler->round, client->trainer, header->incarnation, err);
    if (rc < 0)
        return rc;
    if (handler->peers.items[client->trainer].state != PEER_DONE)
        notice(handler, "trainer %d has completed at step %" PRIu64, client->trainer,
               round_step(handler->round));
    peer_done(&handler->peers, client->trainer);
    struct frame answer = {
        .type = FRAME_COMPLETED, .step = header->step, .incarnation = client->incarnation};
    rc = conn_send_plain(client->conn, &answer, err);
    advance(handler);
    return rc;
}

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
        notice(handler, "trainer %d went away: %s", client->trainer, end->text);
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

static void notice(struct handler *handler, const char *fmt, ...)
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

// A bank may be free now: a step that waited for it goes on, from the loop and not from inside the
// writer.
static void on_release(void *self)
{
    struct handler *handler = self;
    if (handler->ended || handler->retry_posted || round_phase(handler->round) != ROUND_APPLY)
        return;
    handler->retry_posted = true;
    loop_post(handler->loop, &handler->retry);
}

static void run_retry(void *arg)
{
    struct handler *handler = arg;
    handler->retry_posted = false;
    if (!handler->ended && round_phase(handler->round) == ROUND_APPLY)
        finish_step(handler);
}
