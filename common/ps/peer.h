// SPDX-License-Identifier: Apache-2.0
// Who is in the job, and who must be given up: membership on a server, deadlines on both sides.
//
// A trainer id has at most one holder: (incarnation, nonce). The holder may come back with the same
// pair (its older connection is then replaced); while it is alive anybody else is refused, told
// from where and since when the holder is here; once its connection is lost, a higher incarnation
// takes its place. A holder whose connection is lost must be back within lost_ms; one that is
// silent for silent_ms is dead at once. Pure: time comes in as an argument.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define PEER_SILENT_MS 10000
#define PEER_LOST_MS 4000
#define PEER_HEARTBEAT_MS 1000
#define PEER_ADDRESS_MAX 80
#define PEER_WHY_MAX 192

enum peer_state { PEER_ABSENT, PEER_HERE, PEER_LOST, PEER_DEAD, PEER_DONE };

struct peer {
    enum peer_state state;
    uint64_t incarnation, nonce;      // of the present or last holder; 0 = never seen
    char address[PEER_ADDRESS_MAX];   // "127.0.0.1:51122"
    int64_t since_wall_s;             // when it said hello first
    // When the state began; an absent one is awaited since here_ms, 0 before the first tick.
    uint64_t here_ms, lost_ms;
    char why[PEER_WHY_MAX];   // how the connection was lost
    const char *last_push;    // name of what it pushed last, NULL; borrowed
    uint64_t last_push_ms;
    bool pushed;   // has pushed anything in this job
};

struct peer_table {
    struct peer *items;   // by trainer id
    int count;
    uint64_t silent_ms, lost_ms;
    uint64_t connect_ms;   // one that is absent for so long is given up; 0 = never (after init)
    bool rejoin;           // may a new process take the id of one that has pushed
};

void peer_table_init(struct peer_table *table, int trainers, uint64_t silent_ms, uint64_t lost_ms);
void peer_table_deinit(struct peer_table *table);

enum peer_verdict { PEER_NEW, PEER_BACK };
// wish: the incarnation that the newcomer asks for (0: any). PEER_BACK: the same process again. The
// caller closes an older connection of that id. SL_EREFUSED with the reason.
int peer_hello(struct peer_table *table, int trainer, uint64_t wish, uint64_t nonce,
               const char *address, uint64_t now_ms, int64_t wall_s, uint64_t *out_incarnation,
               struct err *err);
// The connection of the holder ended. silent: it was closed for silence, so it is given up at once.
void peer_lost(struct peer_table *table, int trainer, bool silent, const char *why,
               uint64_t now_ms);
void peer_pushed(struct peer_table *table, int trainer, const char *name, uint64_t now_ms);
void peer_done(struct peer_table *table, int trainer);
// It went before anything had begun: the id is free, only its incarnation is remembered.
void peer_forget(struct peer_table *table, int trainer);
// The first trainer that must be given up now: its id, with a text that says so; -1 when none.
int peer_tick(struct peer_table *table, uint64_t now_ms, struct err *out_err);
bool peer_all_here(const struct peer_table *table);
// "trainer 1 (127.0.0.1:51122, last push fc_1.w_0@GRAD 0.9 s ago)", "trainer 1 (not here yet)".
void peer_describe(const struct peer_table *table, int trainer, uint64_t now_ms, char *out,
                   size_t out_bytes);

// ---- the other side: one server as a trainer sees it.
struct peer_link {
    uint64_t connect_timeout_ms, lost_ms;
    bool welcomed;   // ever
    bool here;       // welcomed, and the connection stands
    bool dead;
    uint64_t since_ms;        // of the wait that goes on while not here
    char why[PEER_WHY_MAX];   // the last reason
    uint64_t said_ms;         // when waiting was last told
};
void peer_link_init(struct peer_link *link, uint64_t connect_timeout_ms, uint64_t lost_ms,
                    uint64_t now_ms);
void peer_link_welcomed(struct peer_link *link);
void peer_link_lost(struct peer_link *link, bool silent, const char *why, uint64_t now_ms);
void peer_link_note(struct peer_link *link,
                    const char *why);   // an attempt failed: the latest reason
// SL_ETIMEOUT (never came), SL_ECLOSED (did not come back), with a text without the endpoint.
int peer_link_tick(struct peer_link *link, uint64_t now_ms, struct err *err);
// Should the wait be told now (each second of it)? out: "waiting 1.0 s: connection refused".
bool peer_link_says(struct peer_link *link, uint64_t now_ms, char *out, size_t out_bytes);
