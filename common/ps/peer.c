// SPDX-License-Identifier: Apache-2.0
// See peer.h. Time is judged in peer_tick and peer_link_tick only; everything else records events.
// Knows no connection: the shell closes and opens them. Owner: the loop thread.
#include "common/ps/peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"

static bool never_came(const struct peer_table *table, struct peer *peer, uint64_t now_ms);
static int refuse_taken(const struct peer_table *table, int trainer, struct err *err);
static double seconds(uint64_t from_ms, uint64_t to_ms);

void peer_table_init(struct peer_table *table, int trainers, uint64_t silent_ms, uint64_t lost_ms)
{
    memset(table, 0, sizeof *table);
    table->items = mem_must_calloc((size_t)trainers, sizeof *table->items);
    table->count = trainers;
    table->silent_ms = silent_ms ? silent_ms : PEER_SILENT_MS;
    table->lost_ms = lost_ms ? lost_ms : PEER_LOST_MS;
}

void peer_table_deinit(struct peer_table *table)
{
    mem_free(table->items);
    memset(table, 0, sizeof *table);
}

int peer_hello(struct peer_table *table, int trainer, uint64_t wish, uint64_t nonce,
               const char *address, uint64_t now_ms, int64_t wall_s, uint64_t *out_incarnation,
               struct err *err)
{
    if (trainer < 0 || trainer >= table->count)
        return err_set(err, SL_EREFUSED, "trainer id %d: this job has trainers 0..%d", trainer,
                       table->count - 1);
    struct peer *peer = &table->items[trainer];
    bool same = peer->incarnation && peer->nonce == nonce;
    if (peer->state == PEER_HERE && !same)
        return refuse_taken(table, trainer, err);
    if (peer->state == PEER_DEAD)
        return err_set(err, SL_EREFUSED, "trainer %d was given up (%s)", trainer, peer->why);
    if (peer->state == PEER_DONE && !same)
        return err_set(err, SL_EREFUSED, "trainer %d has completed its work in this job", trainer);
    if (!same && peer->pushed && !table->rejoin)
        return err_set(err, SL_EREFUSED,
                       "trainer %d has already worked in this job (from %s, %s); another process "
                       "cannot go on for it",
                       trainer, peer->address, peer->why);
    if (same && wish && wish < peer->incarnation)
        return err_set(err, SL_EREFUSED,
                       "trainer %d: incarnation %" PRIu64 " is over, %" PRIu64 " is here", trainer,
                       wish, peer->incarnation);
    if (!same && wish && wish <= peer->incarnation)
        return err_set(err, SL_EREFUSED,
                       "trainer %d: incarnation %" PRIu64 " was seen with another nonce", trainer,
                       wish);
    uint64_t granted = same ? peer->incarnation : peer->incarnation + 1;
    peer->incarnation = wish > granted ? wish : granted;
    peer->nonce = nonce;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    if (!same)
        peer->since_wall_s = wall_s;
    if (peer->state != PEER_DONE)
        peer->state = PEER_HERE;
    peer->here_ms = now_ms;
    *out_incarnation = peer->incarnation;
    return same ? PEER_BACK : PEER_NEW;
}

void peer_lost(struct peer_table *table, int trainer, bool silent, const char *why, uint64_t now_ms)
{
    struct peer *peer = &table->items[trainer];
    if (peer->state != PEER_HERE)
        return;
    peer->state = PEER_LOST;
    // Silence has used up its time already.
    peer->lost_ms = silent && now_ms >= table->lost_ms ? now_ms - table->lost_ms : now_ms;
    snprintf(peer->why, sizeof peer->why, "%s", why);
}

void peer_pushed(struct peer_table *table, int trainer, const char *name, uint64_t now_ms)
{
    struct peer *peer = &table->items[trainer];
    peer->pushed = true;
    peer->last_push = name;
    peer->last_push_ms = now_ms;
}

void peer_done(struct peer_table *table, int trainer)
{
    table->items[trainer].state = PEER_DONE;
}

void peer_forget(struct peer_table *table, int trainer)
{
    struct peer *peer = &table->items[trainer];
    *peer = (struct peer){.incarnation = peer->incarnation};
}

int peer_tick(struct peer_table *table, uint64_t now_ms, struct err *out_err)
{
    for (int t = 0; t < table->count; t++) {
        struct peer *peer = &table->items[t];
        if (never_came(table, peer, now_ms)) {
            err_set(out_err, SL_ETIMEOUT, "trainer %d has not come within %.1f s (connect_timeout)",
                    t, seconds(peer->here_ms, now_ms));
            return t;
        }
        if (peer->state != PEER_LOST || now_ms < peer->lost_ms + table->lost_ms)
            continue;
        char who[PEER_ADDRESS_MAX + 192];
        peer_describe(table, t, now_ms, who, sizeof who);
        peer->state = PEER_DEAD;
        err_set(out_err, SL_ECLOSED, "lost %s: %s", who, peer->why);
        return t;
    }
    return -1;
}

bool peer_all_here(const struct peer_table *table)
{
    for (int t = 0; t < table->count; t++)
        if (table->items[t].state != PEER_HERE && table->items[t].state != PEER_DONE)
            return false;
    return true;
}

void peer_describe(const struct peer_table *table, int trainer, uint64_t now_ms, char *out,
                   size_t out_bytes)
{
    const struct peer *peer = &table->items[trainer];
    if (peer->state == PEER_ABSENT) {
        snprintf(out, out_bytes, "trainer %d (not here yet)", trainer);
        return;
    }
    const char *lost = peer->state == PEER_LOST ? ", connection lost" : "";
    if (peer->last_push)
        snprintf(out, out_bytes, "trainer %d (%s, last push %s %.1f s ago%s)", trainer,
                 peer->address, peer->last_push, seconds(peer->last_push_ms, now_ms), lost);
    else
        snprintf(out, out_bytes, "trainer %d (%s, no push yet%s)", trainer, peer->address, lost);
}

void peer_link_init(struct peer_link *link, uint64_t connect_timeout_ms, uint64_t lost_ms,
                    uint64_t now_ms)
{
    memset(link, 0, sizeof *link);
    link->connect_timeout_ms = connect_timeout_ms ? connect_timeout_ms : 600000;
    link->lost_ms = lost_ms ? lost_ms : PEER_LOST_MS;
    link->since_ms = link->said_ms = now_ms;
}

void peer_link_welcomed(struct peer_link *link)
{
    link->welcomed = link->here = true;
}

void peer_link_lost(struct peer_link *link, bool silent, const char *why, uint64_t now_ms)
{
    if (!link->here) {
        peer_link_note(link, why);
        return;
    }
    link->here = false;
    link->since_ms = silent && now_ms >= link->lost_ms ? now_ms - link->lost_ms : now_ms;
    link->said_ms = now_ms;
    snprintf(link->why, sizeof link->why, "%s", why);
}

void peer_link_note(struct peer_link *link, const char *why)
{
    // After a loss the first reason tells more than "connection refused" of the attempts to come
    // back.
    if (!link->welcomed)
        snprintf(link->why, sizeof link->why, "%s", why);
}

int peer_link_tick(struct peer_link *link, uint64_t now_ms, struct err *err)
{
    if (link->here || link->dead)
        return 0;
    uint64_t limit = link->welcomed ? link->lost_ms : link->connect_timeout_ms;
    if (now_ms < link->since_ms + limit)
        return 0;
    link->dead = true;
    const char *why = link->why[0] ? link->why : "no answer";
    if (link->welcomed)
        return err_set(err, SL_ECLOSED, "%s", why);
    return err_set(err, SL_ETIMEOUT, "not there after %.1f s: %s", seconds(link->since_ms, now_ms),
                   why);
}

bool peer_link_says(struct peer_link *link, uint64_t now_ms, char *out, size_t out_bytes)
{
    if (link->here || now_ms < link->said_ms + 1000)
        return false;
    link->said_ms = now_ms;
    snprintf(out, out_bytes, "waiting %.1f s: %s", seconds(link->since_ms, now_ms),
             link->why[0] ? link->why : "no answer yet");
    return true;
}

// Marks it dead when it is so.
static bool never_came(const struct peer_table *table, struct peer *peer, uint64_t now_ms)
{
    if (peer->state != PEER_ABSENT || !table->connect_ms)
        return false;
    if (!peer->here_ms)
        peer->here_ms = now_ms;
    if (now_ms < peer->here_ms + table->connect_ms)
        return false;
    peer->state = PEER_DEAD;
    snprintf(peer->why, sizeof peer->why, "it did not come in time");
    return true;
}

static int refuse_taken(const struct peer_table *table, int trainer, struct err *err)
{
    const struct peer *peer = &table->items[trainer];
    char since[16];
    clock_format_time(peer->since_wall_s, since);
    return err_set(err, SL_EREFUSED,
                   "this job has %d trainers and trainer %d is already here from %s since %s",
                   table->count, trainer, peer->address, since);
}

static double seconds(uint64_t from_ms, uint64_t to_ms)
{
    return to_ms > from_ms ? (double)(to_ms - from_ms) / 1000.0 : 0.0;
}
