// SPDX-License-Identifier: Apache-2.0
// A deterministic simulator of the parameter server's pure cores: M servers (round, state, peer,
// shard) and N trainers (step, peer_link) in one thread, virtual time, links that lose, repeat,
// reorder, corrupt and break. One seed is one run; a seed that fails replays.
//
// The ledger proves the result: learning rate 1 and gradients that are distinct small integers per
// (trainer, step, element), so a push that is lost, doubled or swapped shows as a wrong integer, in
// the step where it happens. Tables are pushed as the rows that a batch touches, and looked up in
// every step. Beside it: every reply is compared on arrival with the memory it was
// sent from (a version is never overwritten while it is read), pins are held for a random time and
// then read, and time is bounded (nobody hangs).
//
//   sim [--seeds A..B] [--steps N] [--verbose]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_inside.h"

// ---- time

static void tick_trainer(struct sim *sim, int trainer)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    bool all = true;
    for (int s = 0; s < sim->servers_count; s++) {
        if (!t->conn[s] && sim->now_ms >= t->reconnect_ms[s] &&
            !(t->completing && t->completed[s])) {
            t->conn[s] = ++sim->next_conn;
            t->heard_ms[s] = sim->now_ms;
            sim_server_send_plain(sim, trainer, s, true, t->conn[s],
                                  (struct sim_frame){.type = FRAME_HELLO,
                                                     .incarnation = t->incarnation,
                                                     .nonce = t->nonce});
        }
        all = all && (t->links[s].welcomed);
        if (t->welcomed[s] && sim->now_ms >= t->heard_ms[s] + SIM_NUDGE_MS) {
            t->heard_ms[s] = sim->now_ms;
            lookup_again(&t->lookup, s);
            if (!step_nudge(t->step, s))
                sim_link_break_conn(sim, trainer, s);
            else
                sim_trainer_pump(sim, trainer, s);
            if (t->completing && !t->completed[s])
                sim_server_send_plain(sim, trainer, s, true, t->conn[s],
                                      (struct sim_frame){.type = FRAME_COMPLETE,
                                                         .step = sim->steps,
                                                         .incarnation = t->incarnation});
        }
    }
    if (all && !t->looking && !t->computing && !t->fetching && !t->completing)
        sim_trainer_start_step(sim, trainer);
    if (t->computing && sim->now_ms >= t->ready_ms)
        sim_trainer_push_all(sim, trainer);
}

// Pins a version now and then, keeps it for a while and reads it at the end.
static void tick_pins(struct sim *sim, int server)
{
    struct sim_server *s = &sim->servers[server];
    struct err err = {0};
    if (!s->pinned && sim_link_dice(sim, 40) == 0) {
        uint64_t version = s->state.version;
        if (sim_link_dice(sim, 2) && s->state.previous)
            version--;
        if (state_pin(&s->state, version, &err) < 0) {
            sim_link_failed(sim, "server %d: pin: %s", server, err.text);
            return;
        }
        s->pinned = version + 1;
        s->unpin_ms = sim->now_ms + sim_link_dice(sim, 60);
        sim->pins++;
    } else if (s->pinned && sim->now_ms >= s->unpin_ms) {
        uint64_t version = s->pinned - 1;
        for (size_t i = 0; i < s->shard.slices_count; i++) {
            const struct shard_slice *slice = &s->shard.slices[i];
            if (slice->role != SLICE_PARAM)
                continue;
            const struct state_entry *entry = state_find(&s->state, slice->place->name);
            const void *data = state_at(&s->state, entry, version, NULL);
            if (!data)
                sim_link_failed(sim, "server %d: pinned version %llu has gone", server,
                                (unsigned long long)version);
            else
                sim_server_check_slice(sim, "pin", data, slice->var, slice->slice, version);
        }
        state_unpin(&s->state, version);
        s->pinned = 0;
    }
}

static bool is_over(const struct sim *sim)
{
    for (int t = 0; t < sim->trainers_count; t++)
        for (int s = 0; s < sim->servers_count; s++)
            if (!sim->trainers[t].completed[s])
                return false;
    return true;
}

static void run(struct sim *sim)
{
    uint64_t limit_ms = 1000 + sim->steps * 2000;
    while (!sim->failed && !is_over(sim)) {
        while (!sim->failed && sim->heap_count && sim->heap[0].at_ms <= sim->now_ms) {
            struct sim_frame frame = sim_link_heap_take(sim);
            sim_trainer_deliver(sim, &frame);
        }
        for (int s = 0; s < sim->servers_count; s++) {
            if (round_phase(sim->servers[s].round) == ROUND_APPLY)
                sim_server_finish_step(sim, s);
            tick_pins(sim, s);
        }
        for (int t = 0; t < sim->trainers_count; t++)
            tick_trainer(sim, t);
        if (++sim->now_ms > limit_ms) {
            bool pull;
            sim_link_failed(sim, "no end: trainer 0 at step %llu waits for server %d",
                            (unsigned long long)step_number(sim->trainers[0].step),
                            step_waits_for(sim->trainers[0].step, &pull));
        }
    }
    for (int s = 0; s < sim->servers_count && !sim->failed; s++) {
        if (sim->servers[s].applied != sim->steps)
            sim_link_failed(sim, "server %d applied %llu steps of %llu", s,
                            (unsigned long long)sim->servers[s].applied,
                            (unsigned long long)sim->steps);
        if (round_phase(sim->servers[s].round) != ROUND_OVER)
            sim_link_failed(sim, "server %d does not know that all have completed", s);
    }
}

// ---- building

static void add_param(struct sim *sim, const char *name, int64_t rows, int64_t columns, bool sparse)
{
    struct dims dims = {.rank = 2, .d = {rows, columns}};
    char grad_name[64], a[80], b[80];
    snprintf(grad_name, sizeof grad_name, "%s@GRAD", name);
    struct slice_var *param = slice_map_add(&sim->map, name, SLICE_PARAM, NULL, DTYPE_FP32, &dims);
    struct slice_var *grad =
        slice_map_add(&sim->map, grad_name, SLICE_GRAD, name, DTYPE_FP32, &dims);
    param->sparse = grad->sparse = sparse;
    int pieces = rows >= sim->servers_count ? sim->servers_count : 1;
    int64_t each = (rows + pieces - 1) / pieces;
    for (int p = 0; p < pieces && p * each < rows; p++) {
        int64_t count = (p + 1) * each > rows ? rows - p * each : each;
        snprintf(a, sizeof a, "%s.block%d", name, p);
        snprintf(b, sizeof b, "%s.block%d", grad_name, p);
        int server = (p + (int)strlen(name)) % sim->servers_count;
        slice_var_add(param, server, p * each, count, a);
        slice_var_add(grad, server, p * each, count, b);
    }
}

static int build_server(struct sim *sim, int index, struct err *err)
{
    struct sim_server *s = &sim->servers[index];
    int rc = shard_init(&s->shard, &sim->map, index, err);
    if (rc < 0)
        return rc;
    s->shard.cell_bytes = SIM_CELL;
    state_init(&s->state);
    for (size_t i = 0; rc >= 0 && i < s->shard.slices_count; i++) {
        const struct shard_slice *slice = &s->shard.slices[i];
        if (slice->role == SLICE_PARAM)
            rc = state_add(&s->state, slice->place->name, DTYPE_FP32, &slice->dims,
                           slice->var->sparse ? STATE_ROWS : STATE_WHOLE, err);
    }
    if (rc >= 0)
        rc = state_layout(&s->state, 0, SIM_CELL, err);
    for (size_t i = 0; rc >= 0 && i < s->state.count; i++) {
        float *values = mem_must_calloc((size_t)s->state.entries[i]->bytes + 4, 1);
        for (uint64_t e = 0; e < s->state.entries[i]->bytes / 4; e++)
            values[e] = 1000;
        state_load(&s->state, s->state.entries[i], values);
        mem_free(values);
    }
    if (rc < 0)
        return rc;
    struct round_options options = {.shard = &s->shard,
                                    .trainers = sim->trainers_count,
                                    .second_phase = sim->stages > 0,
                                    .stages = sim->stages};
    s->round = round_new(&options, err);
    peer_table_init(&s->peers, sim->trainers_count, SIM_LOST_MS, SIM_LOST_MS);
    return s->round ? 0 : SL_ENOMEM;
}

static void build_trainer(struct sim *sim, int index)
{
    struct sim_trainer *t = &sim->trainers[index];
    struct step_options options = {.map = &sim->map,
                                   .cell_bytes = SIM_CELL,
                                   .frame_bytes = SIM_CELL * (1 + (uint32_t)sim_link_dice(sim, 3))};
    t->step = step_new(&options);
    t->nonce = rng_next_u64(&sim->rng);
    t->lookup.part_ids = 1 + (size_t)sim_link_dice(sim, 4);
    size_t n = 0;
    for (uint32_t v = 0; v < sim->map.vars_count; v++) {
        const struct slice_var *var = sim->map.vars[v];
        for (uint32_t s = 0; s < var->slices_count && var->role == SLICE_GRAD; s++, n++) {
            struct dims dims = shard_slice_dims(var, &var->slices[s]);
            t->sizes[n] = (size_t)dims_product(&dims, 0, dims.rank);
            t->grads[n] = mem_must_calloc(t->sizes[n] + 1, sizeof(float));
            t->params[n] = mem_must_calloc(t->sizes[n] + 1, sizeof(float));
            t->messages[n] = mem_must_calloc(t->sizes[n] * sizeof(float) + SIM_ROWS_MAX * 8, 1);
        }
    }
    for (int s = 0; s < sim->servers_count; s++)
        peer_link_init(&t->links[s], SIM_LOST_MS, SIM_LOST_MS, 0);
}

static void clean(struct sim *sim)
{
    while (sim->heap_count) {
        struct sim_frame frame = sim_link_heap_take(sim);
        sim_link_drop_frame(sim, &frame);
    }
    for (int s = 0; s < sim->servers_count; s++) {
        struct sim_server *server = &sim->servers[s];
        round_free(server->round);
        state_deinit(&server->state);
        peer_table_deinit(&server->peers);
        shard_deinit(&server->shard);
        for (int t = 0; t < SIM_MAX; t++)
            mem_free(server->replies[t]);
    }
    for (int t = 0; t < sim->trainers_count; t++) {
        lookup_deinit(&sim->trainers[t].lookup);
        for (size_t n = 0; n < SIM_SLICES; n++) {
            mem_free(sim->trainers[t].messages[n]);
            mem_free(sim->trainers[t].grads[n]);
            mem_free(sim->trainers[t].params[n]);
        }
        step_free(sim->trainers[t].step);
    }
    slice_map_deinit(&sim->map);
    mem_free(sim->heap);
}

// The seed chooses the shape too: mostly 2 x 2, sometimes others; with and without the second
// phase.
static bool run_seed(uint64_t seed, uint64_t steps, bool verbose)
{
    struct sim *sim = MEM_NEW(struct sim);
    struct err err = {0};
    sim->seed = seed;
    sim->rng = seed * 0x9e3779b97f4a7c15ull + 1;
    sim->steps = steps;
    sim->heap = mem_must_calloc(SIM_QUEUE, sizeof *sim->heap);
    bool other = sim_link_dice(sim, 4) == 0;
    sim->servers_count = other ? 1 + (int)sim_link_dice(sim, 3) : 2;
    sim->trainers_count = other ? 1 << sim_link_dice(sim, 3) : 2;   // powers of two: 1/N is exact
    sim->stages = sim_link_dice(sim, 3) == 0 ? 1 + (int)sim_link_dice(sim, 2) : 0;
    sim->lossy = (unsigned)(sim_link_dice(sim, 5) * 20);
    slice_map_init(&sim->map);
    sim->map.servers = sim->servers_count;
    sim->map.trainers = sim->trainers_count;
    add_param(sim, "w", 7, 5, false);
    add_param(sim, "bb", 2, 3, false);
    add_param(sim, "vvv", 1, 1, false);
    add_param(sim, "table", 13, 3, true);
    add_param(sim, "few", 3, 8, true);
    bool ok = slice_map_finish(&sim->map, &err) >= 0;
    for (int s = 0; ok && s < sim->servers_count; s++)
        ok = build_server(sim, s, &err) >= 0;
    if (!ok)
        sim_link_failed(sim, "%s", err.text);
    for (int t = 0; ok && t < sim->trainers_count; t++)
        build_trainer(sim, t);
    if (ok)
        run(sim);
    if (verbose)
        printf("seed %llu: %d servers, %d trainers%s, %llu frames in %llu ms: %llu lost, %llu "
               "repeated, %llu corrupt, "
               "%llu breaks, %llu pins, %llu rows pushed, %llu read\n",
               (unsigned long long)seed, sim->servers_count, sim->trainers_count,
               sim->stages == 0   ? ""
               : sim->stages == 1 ? ", two phases"
                                  : ", three phases",
               (unsigned long long)sim->frames, (unsigned long long)sim->now_ms,
               (unsigned long long)sim->lost, (unsigned long long)sim->repeated,
               (unsigned long long)sim->corrupted, (unsigned long long)sim->broken,
               (unsigned long long)sim->pins, (unsigned long long)sim->rows_pushed,
               (unsigned long long)sim->rows_read);
    ok = !sim->failed;
    clean(sim);
    mem_free(sim);
    return ok;
}

int main(int argc, char **argv)
{
    unsigned long long first = 1, last = 40, steps = 60;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        uint64_t number;
        if (str_eq(argv[i], "--seeds") && i + 1 < argc) {
            if (sscanf(argv[++i], "%llu..%llu", &first, &last) == 1)
                last = first;
        } else if (str_eq(argv[i], "--steps") && i + 1 < argc &&
                   str_parse_u64(argv[i + 1], &number)) {
            steps = number;
            i++;
        } else if (str_eq(argv[i], "--verbose")) {
            verbose = true;
        } else {
            fprintf(stderr, "usage: sim [--seeds A..B] [--steps N] [--verbose]\n");
            return 2;
        }
    }
    unsigned long long bad = 0;
    for (unsigned long long seed = first; seed <= last; seed++)
        bad += !run_seed(seed, steps, verbose);
    printf("%llu seeds of %llu steps: %llu failed\n", last - first + 1, steps, bad);
    return bad ? 1 : 0;
}
