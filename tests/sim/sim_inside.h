// SPDX-License-Identifier: Apache-2.0
// What the parts of the simulator share; see sim.c.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/program/slice_map.h"
#include "common/ps/lookup.h"
#include "common/ps/peer.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"
#include "common/ps/step.h"
#include "common/wire/frame.h"
#include "common/wire/message.h"

#define SIM_MAX 4   // servers, trainers
#define SIM_SLICES 16
#define SIM_ROWS_MAX 16   // of a table
#define SIM_CELL 16
#define SIM_QUEUE 65536
#define SIM_NUDGE_MS 60
#define SIM_LOST_MS 100000   // nobody is given up: every fault here is one of the links

struct sim_frame {
    uint64_t at_ms, order;   // delivery; ties in order of sending
    enum frame_type type;
    int trainer, server;
    bool to_server;
    uint64_t conn;   // the connection it travels on
    uint8_t flags;
    uint32_t variable, slice, request;
    uint64_t step, incarnation, offset, bytes, hash;
    bool sound;
    bool sparse;   // PUSH of so many rows
    uint32_t rows;
    uint8_t *body;           // PUSH, DATA, LOOKUP: a copy
    const uint8_t *source;   // DATA: where the state had it, held until it is delivered or lost
    int64_t hold;
    struct message_range *ranges;
    size_t ranges_count;
    int decision;
    uint64_t nonce;
};

struct sim_reply {   // a parked or current pull, or a lookup of so many rows
    uint32_t variable, slice, request;
    uint64_t version, offset, bytes;
    size_t ids_count;
    int64_t ids[SIM_ROWS_MAX];
};

struct sim_server {
    struct shard shard;
    struct state state;
    struct round *round;
    struct peer_table peers;
    uint64_t conn[SIM_MAX];   // of each trainer; 0 = none
    struct sim_reply *replies[SIM_MAX];
    size_t replies_count[SIM_MAX], replies_cap[SIM_MAX];
    uint64_t pinned;   // version + 1; 0 = none
    uint64_t unpin_ms;
    uint64_t applied;
};

struct sim_trainer {
    struct step *step;
    struct peer_link links[SIM_MAX];
    uint64_t conn[SIM_MAX];
    bool welcomed[SIM_MAX];
    uint64_t incarnation, nonce;
    uint64_t reconnect_ms[SIM_MAX], heard_ms[SIM_MAX];
    float *grads[SIM_SLICES], *params[SIM_SLICES];
    uint8_t *messages[SIM_SLICES];   // of sparse gradients
    size_t sizes[SIM_SLICES];        // elements of each gradient slice
    struct lookup lookup;
    int64_t ids[2][SIM_ROWS_MAX];   // what is looked up, of which table; the lookup's copy below
    int64_t own_ids[2][SIM_ROWS_MAX];
    size_t ids_count[2];
    float rows[2][SIM_ROWS_MAX * 8];
    bool looking, computing, fetching, completing;
    bool completed[SIM_MAX];
    uint64_t ready_ms;   // when the gradients of this step are computed
};

struct sim {
    uint64_t seed, rng, now_ms, order, next_conn;
    uint64_t steps;
    int stages;   // of the second phase; 0: none
    bool verbose;
    int servers_count, trainers_count;
    struct slice_map map;
    struct sim_server servers[SIM_MAX];
    struct sim_trainer trainers[SIM_MAX];
    struct sim_frame *heap;
    size_t heap_count;
    uint64_t frames, lost, repeated, corrupted, broken, pins, rows_pushed, rows_read;
    unsigned lossy;   // of 1000 frames
    bool failed;
};

// ---- sim_link.c
uint64_t sim_link_dice(struct sim *sim, uint64_t sides);
void sim_link_failed(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct sim_frame sim_link_heap_take(struct sim *sim);
void sim_link_drop_frame(struct sim *sim, struct sim_frame *frame);
void sim_link_break_conn(struct sim *sim, int trainer, int server);
void sim_link_transmit(struct sim *sim, struct sim_frame *frame);

// ---- sim_server.c
float sim_server_ledger_grad(int trainer, uint64_t step, uint32_t variable, uint64_t element);
// Does the trainer's batch touch a table's row? Sometimes it touches none.
bool sim_server_ledger_touches(int trainer, uint64_t step, uint64_t row);
// What the gradient of an element of param adds up to: its slice and its place there.
float sim_server_ledger_value(const struct sim *sim, uint64_t steps, const struct slice_var *param,
                              size_t slice, uint64_t element);
void sim_server_check_slice(struct sim *sim, const char *who, const float *values,
                            const struct slice_var *param, size_t slice, uint64_t version);
void sim_server_send_plain(struct sim *sim, int trainer, int server, bool to_server, uint64_t conn,
                           struct sim_frame frame);
void sim_server_finish_step(struct sim *sim, int server);
void sim_server_take(struct sim *sim, const struct sim_frame *frame);

// ---- sim_trainer.c
void sim_trainer_start_step(struct sim *sim, int trainer);
void sim_trainer_push_all(struct sim *sim, int trainer);
void sim_trainer_pump(struct sim *sim, int trainer, int server);
void sim_trainer_deliver(struct sim *sim, struct sim_frame *frame);
