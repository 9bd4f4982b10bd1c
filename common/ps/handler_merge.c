// SPDX-License-Identifier: Apache-2.0
// Sums over the trainers: what each adds comes in, settled sums go out to all of them. Owner: the
// loop thread.
#include "common/ps/handler_inside.h"

#include "common/base/mem.h"
#include "common/ps/merge.h"

static void tell_all(struct handler *handler);
static void tell(struct handler_client *client, struct merge_sum *sum);
static void on_released(void *arg, bool written);

int handler_merge_place(struct handler_client *client, const struct frame *header, void **out_dst,
                        struct err *err)
{
    if (client->trainer < 0)
        return err_set(err, SL_EFORMAT, "merge is for trainers");
    if (header->body_bytes % sizeof(int64_t))
        return err_set(err, SL_EINVAL, "merge: %u bytes are no numbers", header->body_bytes);
    mem_free(client->merge);
    client->merge = mem_alloc(header->body_bytes);
    if (!client->merge)
        return err_set(err, SL_ENOMEM, "no memory for a merge of %u bytes", header->body_bytes);
    *out_dst = client->merge;
    return 0;
}

int handler_merge_take(struct handler_client *client, const struct frame *header, bool sound,
                       struct err *err)
{
    struct handler *handler = client->handler;
    struct merge_sum *sum = NULL;
    int rc = sound ? 0 : err_set(err, SL_ECORRUPT, "merge: its body has another checksum");
    if (rc == 0 && header->incarnation == client->incarnation)
        rc = merge_add(handler->merge, client->trainer, header->request, client->merge,
                       header->body_bytes / sizeof(int64_t), &sum, err);
    mem_free(client->merge);
    client->merge = NULL;
    if (rc > 0)
        tell_all(handler);
    else if (rc == 0 && sum && sum->settled)
        tell(client, sum);
    return rc < 0 ? rc : 0;
}

void handler_merge_leave(struct handler *handler, int trainer)
{
    if (merge_leave(handler->merge, trainer) > 0)
        tell_all(handler);
}

// All that are kept: those that it has already are passed over there.
void handler_merge_pump(struct handler_client *client)
{
    if (!client->merge_late)
        return;
    client->merge_late = false;
    struct merge_sum *sum;
    for (size_t i = 0; (sum = merge_settled(client->handler->merge, i)) != NULL; i++)
        tell(client, sum);
}

static void tell_all(struct handler *handler)
{
    struct merge_sum *sum;
    while ((sum = merge_next(handler->merge)) != NULL)
        for (struct handler_client *client = handler->clients; client; client = client->next)
            if (client->trainer >= 0 && !client->leaving)
                tell(client, sum);
}

static void tell(struct handler_client *client, struct merge_sum *sum)
{
    struct session_chunk chunk = {
        .header = {.type = FRAME_MERGED,
                   .flags = FRAME_LAST,
                   .variable = sum->trainers,
                   .request = sum->key,
                   .incarnation = client->incarnation},
        .body = sum->numbers,
        .body_bytes = (uint32_t)(sum->count * sizeof(int64_t)),
        .hash_cell = &sum->hash,
        .release = on_released,
        .arg = sum,
    };
    merge_hold(sum);
    int rc = conn_send_chunk(client->conn, &chunk);
    if (rc < 0)
        merge_release(sum);
    client->merge_late = client->merge_late || rc == SL_EAGAIN;
}

static void on_released(void *arg, bool written)
{
    (void)written;
    merge_release(arg);
}
