// SPDX-License-Identifier: Apache-2.0
// The beginning of a conversation: who may join, what the welcome says, and the slice map for
// readers. Owner: the loop thread.
#include "common/ps/handler_inside.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/str.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"

static int judge_hello(const struct handler *handler, const struct message_hello *hello,
                       struct err *err);
static int welcome(struct handler_client *client, struct err *err);

int handler_join_hello(struct handler_client *client, const struct frame *header,
                       const struct message_hello *hello, struct err *err)
{
    struct handler *handler = client->handler;
    struct err why = {0};
    if (client->trainer >= 0 || client->reader)
        return err_set(err, SL_EFORMAT, "a second hello");
    int rc = judge_hello(handler, hello, &why);
    uint64_t now_ms = loop_now_ms(handler->loop);
    if (rc < 0)
        return handler_refuse(client, header, &why);
    if (hello->role == MESSAGE_READER) {
        client->reader = true;
        conn_allow(client->conn, FRAME_BIT(FRAME_PULL) | FRAME_BIT(FRAME_LOOKUP) |
                                     FRAME_BIT(FRAME_PIN) |
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
        return handler_refuse(client, header, &why);
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
        handler_notice(handler, "trainer %d is back from %s", trainer, conn_peer(client->conn));
    } else {
        handler_notice(handler, "trainer %d is here from %s", trainer, conn_peer(client->conn));
    }
    bool back = rc == PEER_BACK;
    rc = welcome(client, err);
    // One that came back learns what arrived before; one that is new has pushed nothing.
    return rc < 0 || !back ? rc : handler_step_missing(client, err);
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

// One page a variable is enough for every map met so far; slices of a variable that do not fit
// follow.
int handler_join_inventory(struct handler_client *client, const struct frame *header,
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
                .sparse = var->sparse,
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
