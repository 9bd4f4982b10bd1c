// SPDX-License-Identifier: Apache-2.0
// A comm's connection to one server: hello and welcome, what leaves (step_take decides), what comes
// in, heartbeats, and how long a lost server is waited for. Owner: the loop thread.
//
// rpc_client makes the connection again after a loss; the deadline that counts is peer_link's,
// which begins at the loss and ends with a welcome (a stopped server's kernel still accepts
// connections).
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/net/conn.h"
#include "common/net/rpc_client.h"
#include "common/ps/comm_inside.h"

#define LINK_CONNECT_SLACK_MS 5000   // peer_link judges first
#define LINK_SAY_MS 900
#define LINK_PARTIALS (MESSAGE_PARTIALS_MAX / 2)   // in one page
#define LINK_NUDGE_MS 3000   // without progress: say again what may have been lost on the way

static void on_connected(void *self, struct conn *conn);
static void on_waiting(void *self, const struct err *why, unsigned attempts, uint64_t waited_ms);
static void on_failed(void *self, const struct err *why);
static void on_closed(void *self, struct conn *conn, const struct err *why);
static int on_place(void *self, const struct frame *header, void **out_dst, struct err *err);
static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err);
static int on_message(void *self, const struct frame *header, const struct message *message,
                      struct err *err);
static void on_room(void *self);
static int take_welcome(struct comm_link *link, const struct frame *header,
                        const struct message_welcome *welcome, struct err *err);
static int take_welcome_back(struct comm_link *link, const struct frame *header, struct err *err);
static int take_progress(struct comm_link *link, const struct frame *header,
                         const struct message_progress *page, struct err *err);
static void take_refused(struct comm_link *link, const struct frame *header,
                         const struct message_refused *refused);
static void take_end(struct comm_link *link, const struct message_end *end);
static void take_heartbeat(struct comm_link *link, const struct message_heartbeat *heartbeat);
static void nudge(struct comm_link *link);
static bool send_out(struct comm_link *link, const struct step_out *out);
static int send_commit(struct comm_link *link, const struct step_out *out, struct err *err);
static void on_released(void *arg, bool written);
static void fail_link(struct comm_link *link, int code, const char *what);

static const struct rpc_client_ops link_ops = {
    .conn =
        {
            .session = {.place = on_place,
                        .on_chunk = on_chunk,
                        .on_message = on_message,
                        .on_room = on_room},
            .on_closed = on_closed,
        },
    .on_connected = on_connected,
    .on_waiting = on_waiting,
    .on_failed = on_failed,
};

static uint32_t small_ms(uint64_t ms)
{
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

int comm_link_open(struct comm_link *link, struct err *err)
{
    const struct comm_options *o = &link->comm->options;
    uint64_t connect_ms = o->connect_timeout_ms ? o->connect_timeout_ms : 600000;
    struct rpc_client_options options = {
        .endpoint = link->endpoint,
        .connect_timeout_ms = small_ms(connect_ms + LINK_CONNECT_SLACK_MS),
        .reconnect_timeout_ms = small_ms(connect_ms + o->lost_ms + LINK_CONNECT_SLACK_MS),
        .backoff_max_ms = 1000,
        .conn =
            {
                .congestion = link->comm->congestion,
                .silence_ms = small_ms(o->silent_ms),
                .stall_ms = small_ms(o->silent_ms),
            },
    };
    peer_link_init(&link->peer, connect_ms, o->lost_ms, loop_now_ms(link->comm->loop));
    link->client = rpc_client_new(link->comm->loop, &options, &link_ops, link, err);
    return link->client ? 0 : err ? err->code : SL_EINVAL;
}

void comm_link_pump(struct comm_link *link)
{
    struct step *step = link->comm->step;
    comm_lookup_pump(link);
    comm_merge_pump(link);
    if (!link->conn || !link->welcomed || !step)
        return;
    struct step_out out;
    if (link->pending.what != STEP_NOTHING) {
        out = link->pending;
        link->pending.what = STEP_NOTHING;
        if (!send_out(link, &out))
            return;
    }
    while (link->conn && step_take(step, link->server, &out))
        if (!send_out(link, &out))
            return;
}

void comm_link_tick(struct comm_link *link, uint64_t now_ms)
{
    struct comm *comm = link->comm;
    struct err why = {0};
    if (peer_link_tick(&link->peer, now_ms, &why) < 0) {
        fail_link(link, why.code, why.text);
        return;
    }
    char text[PEER_WHY_MAX + 64], said[PEER_WHY_MAX + 256];
    if (peer_link_says(&link->peer, now_ms, text, sizeof text) && comm->options.waiting) {
        const char *rest = strchr(text, ':');
        snprintf(said, sizeof said, "%.*s for %s%s", (int)(rest ? rest - text : 0), text,
                 link->endpoint, rest ? rest : "");
        comm->options.waiting(comm->options.self, said);
    }
    if (link->conn && link->welcomed && now_ms >= link->spoke_ms + PEER_HEARTBEAT_MS) {
        link->spoke_ms = now_ms;
        struct message message = {.type = FRAME_HEARTBEAT,
                                  .heartbeat = {.sent_ms = now_ms, .echo_ms = link->echo_ms}};
        struct frame header = {.type = FRAME_HEARTBEAT,
                               .incarnation = link->incarnation,
                               .step = comm->step ? step_number(comm->step) : 0};
        (void)conn_send_message(link->conn, &header, &message, NULL);
    }
    if (link->conn && link->agreed && comm->waits && now_ms >= link->heard_ms + LINK_NUDGE_MS &&
        now_ms >= comm->waits_since_ms + LINK_NUDGE_MS) {
        link->heard_ms = now_ms;
        nudge(link);
    }
}

// TCP loses nothing, but what stands between (a proxy, a middlebox) may.
static void nudge(struct comm_link *link)
{
    struct comm *comm = link->comm;
    if (comm->waiting == COMM_COMPLETE && !link->completed)
        comm_link_tell_end(link, FRAME_COMPLETE, 0, "");
    if (comm->waiting == COMM_PIN || comm->waiting == COMM_READ)
        comm_read_nudge(link);
    if (comm->waiting == COMM_LOOKUP)
        comm_lookup_lost(link);
    if (comm->waiting == COMM_MERGED)
        comm_merge_nudge(link);
    if (!comm->step || step_nudge(comm->step, link->server)) {
        comm_link_pump(link);
        return;
    }
    struct err why = {0};
    err_set(&why, SL_EIO, "%s does not say what it lacks; connecting again", link->endpoint);
    conn_close(link->conn, &why);
}

void comm_link_tell_end(struct comm_link *link, enum frame_type type, int code, const char *text)
{
    if (!link->conn || !link->hello_sent)
        return;
    struct frame header = {.type = type,
                           .incarnation = link->incarnation,
                           .step = link->comm->step ? step_number(link->comm->step) : 0};
    struct message message = {.type = type};
    if (type != FRAME_COMPLETE)
        message.end = (struct message_end){.code = code, .text = text};
    (void)conn_send_message(link->conn, &header, &message, NULL);
}

void comm_link_close(struct comm_link *link)
{
    struct err why = {0};
    err_set(&why, SL_ECLOSED, "closed by this side");
    if (link->client)
        rpc_client_close(link->client, true, &why);
    link->client = NULL;
}

void comm_link_count(struct comm_link *link)
{
    struct session_stats stats;
    conn_stats(link->conn, &stats);
    link->bytes_in += stats.bytes_in;
    link->bytes_out += stats.bytes_out;
}

// ---- connection

static void on_connected(void *self, struct conn *conn)
{
    struct comm_link *link = self;
    struct comm *comm = link->comm;
    link->conn = conn;
    comm->open_conns++;
    link->welcomed = false;
    char host[64] = "?", place[128];
    (void)gethostname(host, sizeof host - 1);
    snprintf(place, sizeof place, "host %s pid %ld", host, (long)getpid());
    struct message message = {
        .type = FRAME_HELLO,
        .hello =
            {
                .protocol = FRAME_VERSION,
                .role = comm->reader ? MESSAGE_READER : MESSAGE_TRAINER,
                .job_id = comm->job_id,
                .place = place,
                .nonce = comm->nonce,
            },
    };
    if (!comm->reader) {
        message.hello.topology = slice_map_hash(comm->map);
        message.hello.trainer_id = (uint32_t)comm->options.trainer_id;
        message.hello.trainers = (uint32_t)comm->map->trainers;
        message.hello.servers = (uint32_t)comm->map->servers;
        message.hello.server_index = (uint32_t)link->server;
    }
    struct frame header = {.type = FRAME_HELLO, .incarnation = comm->incarnation};
    struct err err = {0};
    link->hello_sent = conn_send_message(conn, &header, &message, &err) == 0;
    if (!link->hello_sent)
        conn_close(conn, &err);
}

static void on_waiting(void *self, const struct err *why, unsigned attempts, uint64_t waited_ms)
{
    struct comm_link *link = self;
    (void)attempts;
    (void)waited_ms;
    peer_link_note(&link->peer, why->text);
}

static void on_failed(void *self, const struct err *why)
{
    fail_link(self, why->code, why->text);
}

static void on_closed(void *self, struct conn *conn, const struct err *why)
{
    struct comm_link *link = self;
    struct comm *comm = link->comm;
    if (link->conn == conn) {
        comm_link_count(link);
        comm->open_conns--;
        link->conn = NULL;
    }
    link->hello_sent = link->welcomed = link->inventory_asked = false;
    link->pending.what = STEP_NOTHING;
    peer_link_lost(&link->peer, why->code == SL_ETIMEOUT, why->text, loop_now_ms(comm->loop));
    if (comm->step)
        step_disconnected(comm->step, link->server);
    comm_read_lost(link);
    comm_lookup_lost(link);
    comm_merge_lost(link);
    comm_conn_gone(comm);
}

static int take_welcome(struct comm_link *link, const struct frame *header,
                        const struct message_welcome *welcome, struct err *err)
{
    struct comm *comm = link->comm;
    if (link->welcomed)
        return err_set(err, SL_EFORMAT, "a second welcome");
    if (welcome->server_index >= welcome->servers || welcome->servers == 0)
        return err_set(err, SL_EFORMAT, "welcome of server %u of %u", welcome->server_index,
                       welcome->servers);
    if (!comm->reader && welcome->server_index != (uint32_t)link->server)
        return err_set(err, SL_EFORMAT, "it is server %u and not %d", welcome->server_index,
                       link->server);
    link->welcomed = true;
    peer_link_welcomed(&link->peer);
    link->spoke_ms = loop_now_ms(comm->loop);
    if (link->agreed)
        return take_welcome_back(link, header, err);
    link->incarnation = header->incarnation;
    link->version = header->step;
    link->welcome = *welcome;
    mem_free(link->digest);
    link->digest = mem_must_strdup(welcome->digest);
    link->welcome.digest = link->digest;
    buf_clear(&link->progress);
    link->progress_done = welcome->progress_bytes == 0;
    comm_join_check(comm);
    return 0;
}

// A server that knew us: the same job must go on.
static int take_welcome_back(struct comm_link *link, const struct frame *header, struct err *err)
{
    struct comm *comm = link->comm;
    atomic_fetch_add(&comm->reconnects, 1);
    if (!comm->reader && header->incarnation != comm->incarnation) {
        fail_link(link, SL_EMISMATCH, "it was started again and has lost what it held");
        return err_set(err, SL_EMISMATCH, "another incarnation");
    }
    if (comm->step) {
        uint64_t step = step_number(comm->step);
        if (header->step != step && !(header->step == step + 1 && step_has_barrier(comm->step))) {
            char text[128];
            snprintf(text, sizeof text,
                     "it came back with version %" PRIu64 " while this trainer is at step %" PRIu64,
                     header->step, step);
            fail_link(link, SL_EMISMATCH, text);
            return err_set(err, SL_EMISMATCH, "%s", text);
        }
        step_connected(comm->step, link->server, true);
    }
    comm_merge_pump(link);   // in front of the end
    if (comm->waits && comm->waiting == COMM_COMPLETE && !link->completed)
        comm_link_tell_end(link, FRAME_COMPLETE, 0, "");
    comm_read_welcomed(link);
    return 0;
}

static int take_progress(struct comm_link *link, const struct frame *header,
                         const struct message_progress *page, struct err *err)
{
    if (link->agreed)
        return 0;   // told again after a come-back
    if (header->offset != link->progress.bytes ||
        link->progress.bytes + page->text_bytes > link->welcome.progress_bytes)
        return err_set(err, SL_EFORMAT, "progress pages do not fit together");
    if (buf_append(&link->progress, page->text, page->text_bytes) < 0)
        return err_set(err, SL_ENOMEM, "no memory for the progress text");
    link->progress_done = link->progress.bytes == link->welcome.progress_bytes;
    if (link->progress_done)
        comm_join_check(link->comm);
    return 0;
}

static int on_place(void *self, const struct frame *header, void **out_dst, struct err *err)
{
    struct comm_link *link = self;
    if (header->type == FRAME_MERGED) {
        *out_dst = comm_merge_place(link, header);
        return 0;
    }
    if (header->type != FRAME_DATA)
        return err_set(err, SL_EFORMAT, "%s is not for a client",
                       frame_type_name((int)header->type));
    if (comm_lookup_owns(header->request))
        *out_dst = comm_lookup_place(link, header);
    else if (comm_read_owns(header->request))
        *out_dst = comm_read_place(link, header);
    else if (link->comm->step)
        *out_dst = step_place(link->comm->step, link->server, header->request, header->variable,
                              header->slice, header->step, header->offset, header->body_bytes);
    return 0;
}

static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err)
{
    struct comm_link *link = self;
    struct comm *comm = link->comm;
    (void)err;
    link->heard_ms = loop_now_ms(comm->loop);
    if (header->type == FRAME_MERGED) {
        comm_merge_data(link, header, dst, sound);
        return 0;
    }
    if (comm_lookup_owns(header->request)) {
        comm_lookup_data(link, header, dst, sound);
        return 0;
    }
    if (comm_read_owns(header->request)) {
        comm_read_data(link, header, dst, sound);
        return 0;
    }
    if (!comm->step)
        return 0;
    bool last = header->flags & FRAME_LAST;
    step_data(comm->step, link->server, header->request, header->variable, header->slice,
              header->body_bytes, dst, sound, last);
    if (!sound)
        comm_link_pump(link);   // asks again
    else if (last)
        comm_check_done(comm);
    return 0;
}

static int on_message(void *self, const struct frame *header, const struct message *message,
                      struct err *err)
{
    struct comm_link *link = self;
    struct comm *comm = link->comm;
    int rc = 0;
    if (!link->welcomed && message->type != FRAME_WELCOME && message->type != FRAME_REFUSED &&
        message->type != FRAME_FATAL)
        return err_set(err, SL_EFORMAT, "%s before the welcome",
                       frame_type_name((int)message->type));
    if (message->type != FRAME_HEARTBEAT)
        link->heard_ms = loop_now_ms(comm->loop);
    switch (message->type) {
    case FRAME_WELCOME:
        return take_welcome(link, header, &message->welcome, err);
    case FRAME_PROGRESS:
        return take_progress(link, header, &message->progress, err);
    case FRAME_REFUSED:
        take_refused(link, header, &message->refused);
        return 0;
    case FRAME_INVENTORY:
        return comm_join_inventory(link, header, &message->inventory, err);
    case FRAME_MISSING:
        if (!comm->step)
            return 0;   // not joined yet: nothing was pushed, so all is missing
        rc = step_missing(comm->step, link->server, header->step, message->ranges.items,
                          message->ranges.count, header->flags & FRAME_LAST, err);
        break;
    case FRAME_PARTIALS:
        if (comm->step)
            rc = step_partials(comm->step, link->server, header->step, header->request,
                               message->partials.items, message->partials.count,
                               header->flags & FRAME_LAST, err);
        for (int s = 0; s < comm->servers && rc >= 0; s++)
            comm_link_pump(&comm->links[s]);
        break;
    case FRAME_COMMITTED:
        if (comm->step)
            rc = step_committed(comm->step, link->server, header->step, err);
        comm_check_done(comm);
        break;
    case FRAME_COMPLETED:
        link->completed = true;
        comm_check_done(comm);
        break;
    case FRAME_HEARTBEAT:
        link->echo_ms = message->heartbeat.sent_ms;
        take_heartbeat(link, &message->heartbeat);
        break;
    case FRAME_PINNED:
        comm_read_pinned(link, header->step);
        break;
    case FRAME_FATAL:
        take_end(link, &message->end);
        break;
    case FRAME_GOODBYE:
    case FRAME_FETCHED:
        break;
    default:
        return err_set(err, SL_EFORMAT, "%s is not for a client",
                       frame_type_name((int)message->type));
    }
    if (rc < 0) {
        fail_link(link, rc, err->text);
        return rc;
    }
    comm_link_pump(link);
    return 0;
}

static void on_room(void *self)
{
    comm_link_pump(self);
}

static void take_refused(struct comm_link *link, const struct frame *header,
                         const struct message_refused *refused)
{
    struct comm *comm = link->comm;
    if (link->welcomed && comm_read_owns(header->request)) {
        comm_read_refused(link, header->request, refused->code, refused->text);
        return;
    }
    if (link->welcomed && comm_lookup_owns(header->request)) {
        comm_lookup_refused(link, header->request, refused->code, refused->text);
        return;
    }
    char prefix[LIMIT_NAME_BYTES / 8];
    snprintf(prefix, sizeof prefix, "%s refused us: ", link->endpoint);
    comm_fail(comm, link, SL_EREFUSED, refused->text, prefix);
}

static void take_end(struct comm_link *link, const struct message_end *end)
{
    char prefix[LIMIT_NAME_BYTES / 8];
    snprintf(prefix, sizeof prefix, "%s ended the job: ", link->endpoint);
    link->comm->joined = true;   // everybody else must hear it too
    comm_fail(link->comm, link, end->code < 0 ? end->code : SL_ECLOSED, end->text, prefix);
}

static void take_heartbeat(struct comm_link *link, const struct message_heartbeat *heartbeat)
{
    struct comm *comm = link->comm;
    uint64_t now_ms = loop_now_ms(comm->loop);
    if (!comm->waits || !heartbeat->waiting_ms || !heartbeat->text[0] || !comm->options.waiting ||
        now_ms < comm->said_ms + LINK_SAY_MS)
        return;
    for (size_t i = 0; i < heartbeat->waiting_count; i++)
        if (!comm->reader && heartbeat->waiting_for[i] == (uint32_t)comm->options.trainer_id)
            return;   // it waits for us; we are on the way
    comm->said_ms = now_ms;
    comm->options.waiting(comm->options.self, heartbeat->text);
}

// false: the queue is full, what was taken waits in pending.
static bool send_out(struct comm_link *link, const struct step_out *out)
{
    struct comm *comm = link->comm;
    struct frame header = {.step = out->step, .incarnation = link->incarnation};
    struct message message = {0};
    struct err err = {0};
    int rc = 0;
    switch (out->what) {
    case STEP_PUSH:
        header.type = FRAME_PUSH;
        header.flags = (uint8_t)((out->last ? FRAME_LAST : 0) | (out->resent ? FRAME_RESENT : 0) |
                                 (out->sparse ? FRAME_SPARSE : 0));
        header.request = out->rows;
        header.variable = out->variable;
        header.slice = out->slice;
        header.offset = out->offset;
        struct session_chunk chunk = {.header = header,
                                      .body = out->data,
                                      .body_bytes = out->bytes,
                                      .release = on_released,
                                      .arg = comm};
        rc = conn_send_chunk(link->conn, &chunk);
        if (rc == SL_EAGAIN)
            link->pending = *out;
        comm->inflight += rc == 0;
        break;
    case STEP_BARRIER:
        message.type = FRAME_SEND_BARRIER;
        break;
    case STEP_FETCHED:
        message.type = FRAME_FETCH_BARRIER;
        break;
    case STEP_PULL:
        message.type = FRAME_PULL;
        message.ranges = (struct message_ranges){.items = out->ranges, .count = out->ranges_count};
        header.request = out->request;
        break;
    case STEP_COMMIT:
        rc = send_commit(link, out, &err);
        break;
    case STEP_NOTHING:
        return true;
    }
    if (message.type) {
        header.type = message.type;
        rc = conn_send_message(link->conn, &header, &message, &err);
    }
    if (rc < 0 && rc != SL_EAGAIN && rc != SL_ECLOSED) {
        err_prefix(&err, "%s", link->endpoint);
        conn_close(link->conn, &err);
    }
    return rc == 0;
}

// Pages: header.request is the stage, header.offset the number of the first item.
static int send_commit(struct comm_link *link, const struct step_out *out, struct err *err)
{
    size_t at = 0;
    int rc;
    do {
        size_t left = out->partials_count - at;
        size_t count = left < LINK_PARTIALS ? left : LINK_PARTIALS;
        struct message message = {
            .type = FRAME_COMMIT_STEP,
            .commit_step = {.decision = (enum message_decision)out->decision,
                            .items = out->partials + at,
                            .count = count},
        };
        struct frame header = {.type = FRAME_COMMIT_STEP,
                               .flags = count == left ? FRAME_LAST : 0,
                               .request = out->stage,
                               .step = out->step,
                               .incarnation = link->incarnation,
                               .offset = at};
        rc = conn_send_message(link->conn, &header, &message, err);
        at += count;
    } while (rc == 0 && at < out->partials_count);
    return rc;
}

static void on_released(void *arg, bool written)
{
    struct comm *comm = arg;
    (void)written;
    comm->inflight--;
    if (!comm->inflight)
        comm_check_done(comm);
}

// This server is given up: one sentence with who, where, when and what was waited for.
static void fail_link(struct comm_link *link, int code, const char *what)
{
    struct comm *comm = link->comm;
    char text[ERR_TEXT_MAX];
    const char *waited = "nothing in particular";
    if (comm->waits) {
        static const char *const names[] = {
            [COMM_OPEN] = "its welcome",
            [COMM_BARRIER] = "its commit",
            [COMM_FETCH] = "its commit and values",
            [COMM_COMMIT] = "its commit",
            [COMM_PIN] = "a version to save",
            [COMM_READ] = "values to save",
            [COMM_LOOKUP] = "rows of a table",
            [COMM_MERGED] = "a sum over all trainers",
            [COMM_COMPLETE] = "the end of the job",
            [COMM_CLOSE] = "the end",
        };
        waited = names[comm->waiting] ? names[comm->waiting] : waited;
    }
    if (!comm->joined)
        snprintf(text, sizeof text, "server %s: %s", link->endpoint, what);
    else if (comm->reader)
        snprintf(text, sizeof text, "lost server %s (waited for %s): %s", link->endpoint, waited,
                 what);
    else
        snprintf(text, sizeof text,
                 "trainer %d lost server %s at step %" PRIu64 " (waited for %s): %s",
                 comm->options.trainer_id, link->endpoint, comm->step ? step_number(comm->step) : 0,
                 waited, what);
    comm_fail(comm, link, code, text, NULL);
}
