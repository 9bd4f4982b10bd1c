// SPDX-License-Identifier: Apache-2.0
// The second phase of a step: this server's numbers go out, every trainer's decision comes in,
// stage by stage. Numbers and decisions travel in pages: header.request is the stage, header.offset
// the number of the page's first item. Owner: the loop thread.
#include "common/ps/handler_inside.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/ps/apply.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"

#define PHASE_PAGE (MESSAGE_PARTIALS_MAX / 2)   // items

static int take_page(struct handler_client *client, const struct frame *header,
                     const struct message_commit_step *page, struct err *err);

void handler_phase_start(struct handler *handler)
{
    struct err why = {0};
    int rc = apply_norms_partials(handler->apply, round_stage(handler->round), &handler->partials,
                                  &handler->partials_count, &why);
    handler->partials_ready = rc >= 0;
    if (rc == SL_EBUSY)
        return;   // handler_step_released tries again
    if (rc < 0) {
        err_prefix(&why, "step %" PRIu64, round_step(handler->round));
        handler_fail(handler, &why);
        return;
    }
    for (struct handler_client *client = handler->clients; client; client = client->next)
        if (client->trainer >= 0 && !client->leaving)
            handler_phase_tell(client);
}

// A page without items says "nothing from here".
void handler_phase_tell(struct handler_client *client)
{
    struct handler *handler = client->handler;
    struct message_partial items[PHASE_PAGE];
    size_t at = 0;
    int rc = handler->partials_ready ? 0 : SL_EAGAIN;
    for (bool last = false; rc == 0 && !last;) {
        size_t left = handler->partials_count - at, count = left < PHASE_PAGE ? left : PHASE_PAGE;
        last = count == left;
        if (count)
            memcpy(items, handler->partials + at, count * sizeof *items);
        struct message page = {.type = FRAME_PARTIALS, .partials = {items, count}};
        struct frame header = {.type = FRAME_PARTIALS,
                               .flags = last ? FRAME_LAST : 0,
                               .request = (uint32_t)round_stage(handler->round),
                               .step = round_step(handler->round),
                               .incarnation = client->incarnation,
                               .offset = at};
        rc = conn_send_message(client->conn, &header, &page, NULL);
        at += count;
    }
}

int handler_phase_commit(struct handler_client *client, const struct frame *header,
                         const struct message_commit_step *page, struct err *err)
{
    struct handler *handler = client->handler;
    uint32_t stage = (uint32_t)round_stage(handler->round);
    bool now = header->step == round_step(handler->round);
    if (now && header->request < stage)
        return 0;   // decided already
    if (now && header->request > stage)
        return err_set(err, SL_EREFUSED,
                       "it decides stage %" PRIu32 " of step %" PRIu64 " before stage %" PRIu32,
                       header->request, header->step, stage);
    int rc = take_page(client, header, page, err);
    if (rc < 0 || !(header->flags & FRAME_LAST))
        return rc;
    rc = round_commit_step(handler->round, client->trainer, header->incarnation, header->step,
                           (enum round_decision)page->decision, client->decision,
                           client->decision_count * sizeof *client->decision, err);
    client->decision_count = 0;
    return rc;
}

bool handler_phase_decided(struct handler *handler, int stage)
{
    struct err why = {0};
    size_t bytes;
    const struct message_partial *items = round_decision_content(handler->round, &bytes);
    if (round_decision(handler->round) != ROUND_DO_APPLY ||
        apply_norms_decided(handler->apply, stage, items, bytes / sizeof *items, &why) >= 0)
        return true;
    err_prefix(&why, "step %" PRIu64, round_step(handler->round));
    handler_fail(handler, &why);
    return false;
}

// Adds a page to the trainer's decision. All trainers' decisions are compared as bytes, so padding
// is zero.
static int take_page(struct handler_client *client, const struct frame *header,
                     const struct message_commit_step *page, struct err *err)
{
    size_t most = 2 * client->handler->shard->map->vars_count + 1;
    if (header->offset == 0)
        client->decision_count = 0;
    if (header->offset != client->decision_count || page->count > most - client->decision_count)
        return err_set(err, SL_EFORMAT, "pages of a decision do not fit together");
    for (size_t i = 0; i < page->count; i++) {
        MEM_GROW(client->decision, client->decision_count, client->decision_cap);
        struct message_partial *item = &client->decision[client->decision_count++];
        memset(item, 0, sizeof *item);
        item->kind = page->items[i].kind;
        item->variable = page->items[i].variable;
        item->value = page->items[i].value;
    }
    return 0;
}
