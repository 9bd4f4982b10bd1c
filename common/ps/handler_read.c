// SPDX-License-Identifier: Apache-2.0
// Pulls, lookups and pins of one connection. Owner: the loop thread.
#include "common/ps/handler_inside.h"

#include "common/ps/state.h"

static uint64_t version_of(const struct handler_client *client, const struct frame *header);

int handler_read_pull(struct handler_client *client, const struct frame *header,
                      const struct message_ranges *ranges, struct err *err)
{
    struct err why = {0};
    int rc = reply_queue_add(&client->replies, header->request, version_of(client, header),
                             client->incarnation, ranges->items, ranges->count, &why);
    if (rc == SL_ENOENT || rc == SL_ELIMIT)
        return handler_refuse(client, header, &why);
    if (rc < 0)
        return err_set(err, rc, "pull: %s", why.text);
    handler_read_pump(client);
    return 0;
}

int handler_read_lookup_place(struct handler_client *client, const struct frame *header,
                              void **out_dst, struct err *err)
{
    struct reply_pool *pool = &client->handler->pool;
    if (header->body_bytes % sizeof(int64_t))
        return err_set(err, SL_EINVAL, "lookup: %u bytes are no row numbers", header->body_bytes);
    reply_lookup_give(pool, client->lookup);
    client->lookup = reply_lookup_take(pool, header->body_bytes);
    if (!client->lookup)
        return err_set(err, SL_ENOMEM, "no memory for a lookup of %u bytes", header->body_bytes);
    client->lookup->count = header->body_bytes / sizeof(int64_t);
    *out_dst = client->lookup->ids;
    return 0;
}

// One that was damaged on the way ends the connection, as any other request would: the client asks
// again on the next one.
int handler_read_lookup(struct handler_client *client, const struct frame *header, bool sound,
                        struct err *err)
{
    struct reply_lookup *lookup = client->lookup;
    struct err why = {0};
    client->lookup = NULL;
    if (!sound) {
        reply_lookup_give(&client->handler->pool, lookup);
        return err_set(err, SL_ECORRUPT, "lookup: its body has another checksum");
    }
    int rc = reply_queue_add_lookup(&client->replies, header, version_of(client, header),
                                    client->incarnation, lookup, &why);
    if (rc == SL_ENOENT || rc == SL_ELIMIT)
        return handler_refuse(client, header, &why);
    if (rc < 0)
        return err_set(err, rc, "lookup: %s", why.text);
    handler_read_pump(client);
    return 0;
}

static uint64_t version_of(const struct handler_client *client, const struct frame *header)
{
    if (header->step)
        return header->step;
    return client->pins_count ? client->pins[client->pins_count - 1]
                              : client->handler->state->version;
}

void handler_read_pump(void *self)
{
    struct handler_client *client = self;
    struct err why = {0};
    uint32_t request = 0;
    while (!client->handler->ended &&
           reply_queue_pump(&client->replies, client->conn, &request, &why) == SL_ENOENT) {
        struct frame header = {.type = FRAME_PULL, .request = request};
        (void)handler_refuse(client, &header, &why);
    }
}

int handler_read_pin(struct handler_client *client, const struct frame *header, struct err *err)
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
        return handler_refuse(client, header, &why);
    client->pins[client->pins_count++] = version;
    return conn_send_plain(client->conn, &answer, err);
}

int handler_read_unpin(struct handler_client *client, uint64_t version)
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
