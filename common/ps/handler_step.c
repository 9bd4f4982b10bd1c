// SPDX-License-Identifier: Apache-2.0
// A step's messages: what is missing, barriers, the commit, COMPLETE. The round
// decides; this file carries its decisions out. Owner: the loop thread.
#include "common/ps/handler_inside.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ps/apply.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"

static void finish_step(struct handler *handler);
static int send_committed(struct handler_client *client, uint64_t version, struct err *err);

// What this trainer's step lacks here; an empty page when nothing does.
int handler_step_missing(struct handler_client *client, struct err *err)
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
int handler_step_missing_chunk(struct handler_client *client, const struct frame *header,
                               struct err *err)
{
    struct message_range range = {header->variable, header->slice, header->offset,
                                  header->body_bytes ? header->body_bytes : 1};
    struct message message = {.type = FRAME_MISSING, .ranges = {.items = &range, .count = 1}};
    struct frame answer = {.type = FRAME_MISSING,
                           .flags = FRAME_LAST,
                           .incarnation = client->incarnation,
                           .step = header->step};
    return conn_send_message(client->conn, &answer, &message, err);
}

int handler_step_barrier(struct handler_client *client, const struct frame *header, struct err *err)
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
        return handler_step_missing(client, err);
    if (round_phase(handler->round) == ROUND_DECIDE)
        handler_phase_tell(client);   // it came back and says its barrier again
    handler_step_advance(handler);
    return 0;
}

int handler_step_commit(struct handler_client *client, const struct frame *header,
                        const struct message_commit_step *commit, struct err *err)
{
    struct handler *handler = client->handler;
    int rc = handler_phase_commit(client, header, commit, err);
    if (rc == 1)
        return send_committed(client, round_step(handler->round), err);
    if (rc < 0)
        return rc;
    handler_step_advance(handler);
    return 0;
}

int handler_step_complete(struct handler_client *client, const struct frame *header,
                          struct err *err)
{
    struct handler *handler = client->handler;
    int rc = round_complete(handler->round, client->trainer, header->incarnation, err);
    if (rc < 0)
        return rc;
    if (handler->peers.items[client->trainer].state != PEER_DONE)
        handler_notice(handler, "trainer %d has completed at step %" PRIu64, client->trainer,
                       round_step(handler->round));
    peer_done(&handler->peers, client->trainer);
    struct frame answer = {
        .type = FRAME_COMPLETED, .step = header->step, .incarnation = client->incarnation};
    handler_merge_leave(handler, client->trainer);
    rc = conn_send_plain(client->conn, &answer, err);
    handler_step_advance(handler);
    return rc;
}

// Moves the round on as far as it goes now.
void handler_step_advance(struct handler *handler)
{
    if (handler->ended)
        return;
    int stage = round_stage(handler->round);
    enum round_phase before = round_phase(handler->round), after = round_advance(handler->round);
    bool decided =
        before == ROUND_DECIDE && (after == ROUND_APPLY || round_stage(handler->round) > stage);
    if (decided && !handler_phase_decided(handler, stage))
        return;
    switch (after) {
    case ROUND_COLLECT:
        break;
    case ROUND_DECIDE:
        if (before != ROUND_DECIDE || decided)
            handler_phase_start(handler);
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

// A bank may be free now: a step that waited for it goes on, from the loop and not from inside the
// writer.
void handler_step_released(void *self)
{
    struct handler *handler = self;
    enum round_phase phase = round_phase(handler->round);
    bool waits = phase == ROUND_APPLY || (phase == ROUND_DECIDE && !handler->partials_ready);
    if (handler->ended || handler->retry_posted || !waits)
        return;
    handler->retry_posted = true;
    loop_post(handler->loop, &handler->retry);
}

void handler_step_retry(void *arg)
{
    struct handler *handler = arg;
    handler->retry_posted = false;
    if (!handler->ended && round_phase(handler->round) == ROUND_APPLY)
        finish_step(handler);
    else if (!handler->ended && round_phase(handler->round) == ROUND_DECIDE)
        handler_phase_start(handler);
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
        return;   // handler_step_released tries again
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
            (void)handler_read_pin(client, &again, NULL);
        }
        handler_read_pump(client);
    }
    if (handler->options.serve->committed)
        handler->options.serve->committed(handler->options.serve->self, handler->state->version);
    handler_step_advance(handler);   // the others may have completed meanwhile
}

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
