// SPDX-License-Identifier: Apache-2.0
// The calls of comm.h on the caller's thread, the ring to the loop thread, and what the loop does
// with each command. See comm_inside.h for who owns what.
#include "common/ps/comm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/net/conn.h"
#include "common/net/gate.h"
#include "common/ps/comm_inside.h"
#include "common/ps/shard.h"
#include "common/tensor/tensor.h"

#define COMM_TICK_MS 100
#define COMM_CLOSE_MS 1000

static void copy_options(struct comm *comm, const struct comm_options *options);
static int start(struct comm *comm, struct err *err);
static void index_names(struct comm *comm);
static void free_slice(struct comm_slice *slice);
static struct comm_slice *find_slice(const struct comm *comm, const char *name, const char *what,
                                     struct err *err);
static int check_tensor(const struct comm_slice *slice, const char *name,
                        const struct tensor *tensor, struct err *err);
static int wait_step(struct comm *comm, enum comm_verb verb, struct err *err);
static void drain(void *arg);
static void take(struct comm *comm, const struct comm_command *command);
static void carry_out(struct comm *comm, const struct comm_command *command);
static int take_push(struct comm *comm, const struct comm_command *command, struct err *err);
static void on_tick(void *arg);
static void close_all(struct comm *comm);
static void finish_close(struct comm *comm);

int comm_open(const struct comm_options *options, struct comm **out, struct err *err)
{
    bool reader = options->trainer_id == COMM_READER;
    if (!reader && (!options->slices || options->slices->servers != options->servers ||
                    options->trainer_id < 0 || options->trainer_id >= options->slices->trainers))
        return err_set(err, SL_EUSAGE, "trainer %d: its slice map does not fit %d servers",
                       options->trainer_id, options->servers);
    struct comm *comm = MEM_NEW(struct comm);
    copy_options(comm, options);
    int rc = start(comm, err);
    if (rc >= 0)
        rc = comm_ask(comm, &(struct comm_command){.verb = COMM_OPEN, .asks = true}, err);
    if (rc < 0) {
        comm_close(comm);
        return rc;
    }
    index_names(comm);
    comm->step_shown = comm->welcome.step;
    *out = comm;
    return 0;
}

void comm_close(struct comm *comm)
{
    if (!comm)
        return;
    if (comm->loop && comm->tick) {
        (void)comm_ask(comm, &(struct comm_command){.verb = COMM_CLOSE, .asks = true}, NULL);
        loop_join(comm->loop);
    }
    if (comm->loop)
        loop_free(comm->loop);
    for (int s = 0; comm->links && s < comm->servers; s++) {
        mem_free(comm->links[s].digest);
        buf_deinit(&comm->links[s].progress);
    }
    for (const struct map_entry *e = map_first(&comm->slices); e; e = map_next(e))
        free_slice(map_value(e));
    map_deinit(&comm->slices);
    lookup_deinit(&comm->lookup);
    comm_merge_free(comm);
    mem_free(comm->ids);
    step_free(comm->step);
    slice_map_deinit(&comm->own_map);
    gate_free(comm->answer);
    gate_free(comm->room);
    for (int s = 0; s < comm->servers; s++)
        mem_free(comm->endpoints[s]);
    mem_free(comm->endpoints);
    mem_free(comm->links);
    mem_free(comm->job_id);
    mem_free(comm->congestion);
    mem_free(comm);
}

const struct comm_welcome *comm_welcome(const struct comm *comm)
{
    return &comm->welcome;
}

const struct slice_map *comm_slices(const struct comm *comm)
{
    return comm->map;
}

int comm_trainer_id(const struct comm *comm)
{
    return comm->options.trainer_id;
}

uint64_t comm_step(const struct comm *comm)
{
    return comm->step_shown;
}

int comm_push(struct comm *comm, const char *name, const struct tensor *tensor, struct err *err)
{
    struct comm_slice *slice;
    int rc = comm_find_grad(comm, name, &slice, err);
    if (rc >= 0 && slice->sparse)
        rc =
            err_set(err, SL_EINVAL, "send %s: it is a whole tensor, the slice map says rows", name);
    if (rc >= 0)
        rc = check_tensor(slice, name, tensor, err);
    if (rc < 0)
        return rc;
    comm_pushed(comm, slice);
    comm_put(comm, &(struct comm_command){.verb = COMM_PUSH,
                                          .variable = slice->variable,
                                          .slice = slice->slice,
                                          .data = tensor->data});
    return 0;
}

int comm_send_barrier(struct comm *comm, struct err *err)
{
    int rc = comm_check_failed(comm, err);
    if (rc < 0)
        return rc;
    struct comm_command command = {.verb = COMM_BARRIER};
    if (comm->pushed == comm->grads_count) {
        comm_put(comm, &command);
    } else {
        command.asks = true;   // step names what is missing
        rc = comm_ask(comm, &command, err);
        if (rc < 0)
            return rc;
    }
    comm->barrier = comm->barrier_open = true;
    return comm->cycle ? 0 : wait_step(comm, COMM_COMMIT, err);
}

int comm_pull(struct comm *comm, const char *name, struct tensor *tensor, struct err *err)
{
    int rc = comm_check_failed(comm, err);
    struct comm_slice *slice = rc < 0 ? NULL : find_slice(comm, name, "recv", err);
    if (!slice)
        return rc < 0 ? rc : SL_EINVAL;
    if (slice->role == SLICE_GRAD)
        return err_set(err, SL_EINVAL, "recv %s: it is a gradient", name);
    // A tensor of that shape keeps its memory, which may be a part of a larger one.
    if (!tensor->data || tensor->dtype != slice->dtype ||
        !dims_equal(&tensor->dims, &slice->dims)) {
        rc = tensor_resize(tensor, slice->dtype, &slice->dims);
        if (rc < 0)
            return err_set(err, rc, "recv %s: %s", name, err_name(rc));
    }
    comm_put(comm, &(struct comm_command){.verb = COMM_PULL,
                                          .variable = slice->variable,
                                          .slice = slice->slice,
                                          .dst = tensor->data});
    return 0;
}

int comm_fetch_barrier(struct comm *comm, struct err *err)
{
    int rc = wait_step(comm, COMM_FETCH, err);
    comm->cycle = rc >= 0;
    return rc;
}

int comm_pin(struct comm *comm, uint64_t *out_step, struct err *err)
{
    if (comm->pinned)
        return err_set(err, SL_EUSAGE, "a version is pinned already");
    int rc = comm_ask(comm, &(struct comm_command){.verb = COMM_PIN, .asks = true}, err);
    if (rc < 0)
        return rc;
    comm->pinned = true;
    *out_step = comm->pin_version;
    return 0;
}

int comm_read_rows(struct comm *comm, const char *var, int64_t row, int64_t rows, void *out,
                   struct err *err)
{
    const struct slice_var *found = slice_map_find(comm->map, var);
    if (!found || found->role == SLICE_GRAD)
        return err_set(err, SL_ENOENT, "%s: the servers have no such variable", var);
    int64_t height = found->dims.rank > 0 ? found->dims.d[0] : 1;
    if (row < 0 || rows < 0 || row > height || rows > height - row)
        return err_set(err, SL_EINVAL, "%s: rows %" PRId64 "..+%" PRId64 " of %" PRId64, var, row,
                       rows, height);
    uint64_t pinned;
    bool own = !comm->pinned;
    int rc = own ? comm_pin(comm, &pinned, err) : 0;
    if (rc < 0)
        return rc;
    uint64_t row_bytes =
        (uint64_t)dims_product(&found->dims, 1, found->dims.rank) * dtype_bytes(found->dtype);
    struct comm_part *parts = mem_must_calloc(found->slices_count + 1, sizeof *parts);
    size_t count = 0;
    size_t last = found->replicated && found->slices_count ? 1 : found->slices_count;
    for (size_t s = 0; s < last; s++) {
        const struct slice *slice = &found->slices[s];
        int64_t first = found->replicated ? 0 : slice->row,
                end = first + (found->replicated ? height : slice->rows);
        int64_t from = row > first ? row : first, to = row + rows < end ? row + rows : end;
        if (from >= to || !row_bytes)
            continue;
        parts[count++] = (struct comm_part){
            .server = slice->server,
            .variable = (uint32_t)(comm->map->vars_count),
            .slice = (uint32_t)s,
            .offset = (uint64_t)(from - first) * row_bytes,
            .bytes = (uint64_t)(to - from) * row_bytes,
            .dst = (uint8_t *)out + (uint64_t)(from - row) * row_bytes,
        };
    }
    for (uint32_t v = 0; v < comm->map->vars_count; v++)
        for (size_t p = 0; p < count && comm->map->vars[v] == found; p++)
            parts[p].variable = v;
    // The loop thread has the parts from the command until its answer.
    struct comm_command command = {
        .verb = COMM_READ, .parts = parts, .parts_count = count, .asks = true};
    rc = count ? comm_ask(comm, &command, err) : 0;
    mem_free(parts);
    if (own) {
        int unpinned = comm_unpin(comm, rc < 0 ? NULL : err);
        rc = rc < 0 ? rc : unpinned;
    }
    return rc;
}

int comm_unpin(struct comm *comm, struct err *err)
{
    if (!comm->pinned)
        return 0;
    comm->pinned = false;
    int rc = comm_check_failed(comm, err);
    if (rc >= 0)
        comm_put(comm, &(struct comm_command){.verb = COMM_UNPIN});
    return rc;
}

int comm_complete(struct comm *comm, struct err *err)
{
    int rc = comm->barrier_open ? wait_step(comm, COMM_FETCH, err) : 0;
    if (rc >= 0 && comm->pushed)
        rc = err_set(err, SL_EUSAGE, "complete in the middle of step %" PRIu64, comm->step_shown);
    if (rc >= 0)
        rc = comm_ask(comm, &(struct comm_command){.verb = COMM_COMPLETE, .asks = true}, err);
    comm->completed = rc >= 0;
    return rc;
}

void comm_abort(struct comm *comm, const char *reason)
{
    (void)comm_ask(comm, &(struct comm_command){.verb = COMM_ABORT, .text = reason, .asks = true},
                   NULL);
}

void comm_stats(const struct comm *comm, struct comm_stats *out)
{
    *out = (struct comm_stats){
        .steps = atomic_load(&comm->steps),
        .bytes_sent = atomic_load(&comm->bytes_sent),
        .bytes_received = atomic_load(&comm->bytes_received),
        .wait_ns = comm->wait_ns,
        .wait_barrier_ns = comm->wait_barrier_ns,
        .reconnects = atomic_load(&comm->reconnects),
        .chunks_resent = atomic_load(&comm->resent),
    };
}

// ---- the caller's side

static void copy_options(struct comm *comm, const struct comm_options *options)
{
    comm->options = *options;
    comm->servers = options->servers;
    comm->reader = options->trainer_id == COMM_READER;
    comm->endpoints = mem_must_calloc((size_t)options->servers + 1, sizeof(char *));
    for (int s = 0; s < options->servers; s++)
        comm->endpoints[s] = mem_must_strdup(options->endpoints[s]);
    comm->job_id = mem_must_strdup(options->job_id ? options->job_id : "");
    comm->congestion =
        options->congestion && options->congestion[0] ? mem_must_strdup(options->congestion) : NULL;
    comm->map = options->slices;
    slice_map_init(&comm->own_map);
    map_init(&comm->slices);
    if (!comm->options.silent_ms)
        comm->options.silent_ms = PEER_SILENT_MS;
    if (!comm->options.lost_ms)
        comm->options.lost_ms = PEER_LOST_MS;
    comm->links = mem_must_calloc((size_t)options->servers + 1, sizeof *comm->links);
    for (int s = 0; s < options->servers; s++) {
        comm->links[s].comm = comm;
        comm->links[s].server = s;
        comm->links[s].endpoint = comm->endpoints[s];
        buf_init(&comm->links[s].progress, LIMIT_JSON_BYTES);
    }
    comm->nonce = rng_entropy_u64();
}

static int start(struct comm *comm, struct err *err)
{
    comm->answer = gate_new();
    comm->room = gate_new();
    comm->drain_job = (struct loop_job){.run = drain, .arg = comm};
    comm->loop = loop_new(err);
    if (!comm->loop)
        return err ? err->code : SL_ENOMEM;
    for (int s = 0; s < comm->servers; s++) {
        int rc = comm_link_open(&comm->links[s], err);
        if (rc < 0)
            return rc;
    }
    struct loop_timer *tick = loop_timer_new(comm->loop, on_tick, comm);
    loop_timer_start(tick, COMM_TICK_MS, COMM_TICK_MS);
    int rc = loop_start(comm->loop, "comm", err);
    if (rc < 0) {
        loop_timer_free(tick);
        return rc;
    }
    comm->tick = tick;
    return 0;
}

static void free_slice(struct comm_slice *slice)
{
    tensor_deinit(&slice->work);
    mem_free(slice->message);
    mem_free(slice);
}

static void index_names(struct comm *comm)
{
    for (uint32_t v = 0; v < comm->map->vars_count; v++) {
        const struct slice_var *var = comm->map->vars[v];
        for (uint32_t s = 0; s < var->slices_count; s++) {
            comm->grads_count += var->role == SLICE_GRAD;
            if (map_get(&comm->slices, var->slices[s].name))
                continue;   // a state's name is the same on every server
            struct comm_slice *slice = MEM_NEW(struct comm_slice);
            *slice = (struct comm_slice){
                .variable = v,
                .slice = s,
                .role = var->role,
                .dtype = var->dtype,
                .dims = shard_slice_dims(var, &var->slices[s]),
                .sparse = var->role == SLICE_GRAD && var->sparse,
            };
            tensor_init(&slice->work);
            map_set(&comm->slices, var->slices[s].name, slice);
        }
    }
}

void comm_put(struct comm *comm, const struct comm_command *command)
{
    size_t head = atomic_load_explicit(&comm->head, memory_order_relaxed);
    while (head - atomic_load_explicit(&comm->tail, memory_order_acquire) == COMM_RING) {
        uint64_t since = clock_now_ns();
        atomic_store(&comm->room_wanted, true);
        bool full = head - atomic_load(&comm->tail) == COMM_RING;
        if (full || !atomic_exchange(&comm->room_wanted, false))
            gate_wait(comm->room);
        comm->wait_ns += clock_now_ns() - since;
    }
    comm->ring[head % COMM_RING] = *command;
    atomic_store_explicit(&comm->head, head + 1, memory_order_release);
    if (!atomic_exchange(&comm->draining, true))
        loop_post(comm->loop, &comm->drain_job);
}

int comm_ask(struct comm *comm, const struct comm_command *command, struct err *err)
{
    uint64_t since = clock_now_ns();
    comm_put(comm, command);
    gate_wait(comm->answer);
    uint64_t spent = clock_now_ns() - since;
    comm->wait_ns += spent;
    if (command->verb == COMM_BARRIER || command->verb == COMM_FETCH ||
        command->verb == COMM_COMMIT)
        comm->wait_barrier_ns += spent;
    if (comm->answer_code < 0 && err)
        *err = comm->answer_err;
    return comm->answer_code;
}

int comm_check_failed(const struct comm *comm, struct err *err)
{
    int code = atomic_load_explicit(&comm->failed, memory_order_acquire);
    if (code < 0 && err)
        *err = comm->failure;
    return code;
}

static struct comm_slice *find_slice(const struct comm *comm, const char *name, const char *what,
                                     struct err *err)
{
    struct comm_slice *slice = map_get(&comm->slices, name);
    int trainer = -1;
    if (!slice) {
        char *stem = mem_must_strndup(name, shard_stem(name, &trainer));
        slice = trainer >= 0 ? map_get(&comm->slices, stem) : NULL;
        mem_free(stem);
    }
    if (!slice)
        err_set(err, SL_EINVAL, "%s %s: the slice map has no such slice", what, name);
    else if (trainer >= 0 && (trainer != comm->options.trainer_id || slice->role != SLICE_GRAD))
        err_set(err, SL_EINVAL, "%s %s: this is trainer %d", what, name, comm->options.trainer_id);
    else
        return slice;
    return NULL;
}

int comm_find_grad(struct comm *comm, const char *name, struct comm_slice **out, struct err *err)
{
    int rc = comm_check_failed(comm, err);
    struct comm_slice *slice = rc < 0 ? NULL : find_slice(comm, name, "send", err);
    if (!slice)
        return rc < 0 ? rc : SL_EINVAL;
    if (slice->role != SLICE_GRAD)
        return err_set(err, SL_EINVAL, "send %s: it is no gradient of the slice map", name);
    if (comm->barrier_open) {   // a program without fetch barrier: the step before must be over
        rc = wait_step(comm, COMM_FETCH, err);
        comm->cycle = false;
        if (rc < 0)
            return rc;
    }
    if (slice->pushed)
        return err_set(err, SL_EINVAL, "send %s: twice in step %" PRIu64, name, comm->step_shown);
    *out = slice;
    return 0;
}

void comm_pushed(struct comm *comm, struct comm_slice *slice)
{
    slice->pushed = true;
    comm->pushed++;
}

static int check_tensor(const struct comm_slice *slice, const char *name,
                        const struct tensor *tensor, struct err *err)
{
    char have[DIMS_TEXT_MAX], want[DIMS_TEXT_MAX];
    if (tensor->dtype == slice->dtype && dims_equal(&tensor->dims, &slice->dims) && tensor->data)
        return 0;
    return err_set(err, SL_EINVAL, "send %s: it has %s %s, the slice map says %s %s", name,
                   dtype_name((int)tensor->dtype), dims_format(&tensor->dims, have),
                   dtype_name((int)slice->dtype), dims_format(&slice->dims, want));
}

// Waits for the end of the step (FETCH) or for its commit alone.
static int wait_step(struct comm *comm, enum comm_verb verb, struct err *err)
{
    int rc = comm_ask(comm, &(struct comm_command){.verb = verb, .asks = true}, err);
    if (rc < 0 ||
        verb == COMM_COMMIT)   // after a commit recv may still follow: the step is not over
        return rc;
    if (comm->barrier) {
        for (const struct map_entry *e = map_first(&comm->slices); e; e = map_next(e))
            ((struct comm_slice *)map_value(e))->pushed = false;
        comm->pushed = 0;
        comm->step_shown++;
        atomic_fetch_add(&comm->steps, 1);
    }
    comm->barrier = comm->barrier_open = false;
    return 0;
}

// ---- the loop's side

void comm_answer(struct comm *comm, int code, const struct err *why)
{
    if (!comm->waits)
        return;
    comm->waits = false;
    comm->answer_code = code;
    if (code < 0)
        comm->answer_err = *why;
    uint64_t sent = 0, received = 0;
    for (int s = 0; s < comm->servers; s++) {
        struct session_stats stats = {0};
        if (comm->links[s].conn)
            conn_stats(comm->links[s].conn, &stats);
        sent += comm->links[s].bytes_out + stats.bytes_out;
        received += comm->links[s].bytes_in + stats.bytes_in;
    }
    atomic_store(&comm->bytes_sent, sent);
    atomic_store(&comm->bytes_received, received);
    if (comm->step)
        atomic_store(&comm->resent, step_resent(comm->step));
    gate_open(comm->answer);
}

void comm_fail(struct comm *comm, const struct comm_link *from, int code, const char *root,
               const char *prefix)
{
    if (atomic_load_explicit(&comm->failed, memory_order_relaxed) || comm->closing)
        return;
    err_set(&comm->failure, code, "%s%s", prefix ? prefix : "", root);
    atomic_store_explicit(&comm->failed, code, memory_order_release);
    for (int s = 0; s < comm->servers; s++) {
        struct comm_link *link = &comm->links[s];
        if (comm->joined && link != from)
            comm_link_tell_end(link, FRAME_FATAL, code, root);
        else if (!comm->joined)
            comm_link_tell_end(link, FRAME_GOODBYE, code == SL_ETIMEOUT ? code : SL_EREFUSED, root);
        comm_link_close(link);
    }
    comm->parts_count = 0;
    lookup_end(&comm->lookup);
    if (comm->waits && comm->waiting != COMM_CLOSE)
        comm_answer(comm, code, &comm->failure);
}

void comm_conn_gone(struct comm *comm)
{
    if (comm->closing && !comm->open_conns)
        finish_close(comm);
}

void comm_check_done(struct comm *comm)
{
    if (!comm->waits || atomic_load_explicit(&comm->failed, memory_order_relaxed))
        return;
    if (comm->waiting == COMM_FETCH && step_is_done(comm->step) && !comm->inflight) {
        step_finish(comm->step);
        comm_answer(comm, 0, NULL);
    } else if (comm->waiting == COMM_COMMIT && step_is_committed(comm->step) && !comm->inflight) {
        comm_answer(comm, 0, NULL);
    } else if (comm->waiting == COMM_LOOKUP && lookup_is_done(&comm->lookup) &&
               !comm->lookups_inflight) {
        comm_answer(comm, comm->lookup_why.code, &comm->lookup_why);
    } else if (comm->waiting == COMM_MERGED) {
        comm_merge_check(comm);
    } else if (comm->waiting == COMM_COMPLETE) {
        bool all = true;
        for (int s = 0; s < comm->servers; s++)
            all = all && comm->links[s].completed;
        if (all)
            comm_answer(comm, 0, NULL);
    }
}

static void drain(void *arg)
{
    struct comm *comm = arg;
    atomic_store(&comm->draining, false);
    size_t tail = atomic_load_explicit(&comm->tail, memory_order_relaxed);
    while (tail != atomic_load_explicit(&comm->head, memory_order_acquire)) {
        struct comm_command command = comm->ring[tail % COMM_RING];
        atomic_store(&comm->tail, ++tail);
        if (atomic_exchange(&comm->room_wanted, false))
            gate_open(comm->room);
        take(comm, &command);
    }
    if (comm->step)
        for (int s = 0; s < comm->servers; s++)
            comm_link_pump(&comm->links[s]);
}

static void take(struct comm *comm, const struct comm_command *command)
{
    if (command->asks) {
        comm->waits = true;
        comm->waiting = command->verb;
        comm->waits_since_ms = comm->said_ms = loop_now_ms(comm->loop);
    }
    int failed = atomic_load_explicit(&comm->failed, memory_order_relaxed);
    if (failed && command->verb == COMM_MERGE)
        comm_merge_add(comm, command->dst);   // to be freed with the comm
    if (failed && command->verb != COMM_CLOSE) {
        comm_answer(comm, failed, &comm->failure);
        return;
    }
    carry_out(comm, command);
}

static void carry_out(struct comm *comm, const struct comm_command *command)
{
    struct err err = {0};
    int rc = 0;
    switch (command->verb) {
    case COMM_OPEN:
        comm_join_check(comm);
        break;
    case COMM_PUSH:
        rc = take_push(comm, command, &err);
        break;
    case COMM_BARRIER:
        rc = step_send_barrier(comm->step, &err);
        if (command->asks) {
            comm_answer(comm, rc, &err);
            return;
        }
        break;
    case COMM_PULL:
        rc = step_pull(comm->step, command->variable, command->slice, command->dst, &err);
        break;
    case COMM_FETCH:
    case COMM_COMMIT:
        if (!comm->step)
            rc = err_set(&err, SL_EUSAGE, "a read-only client has no barriers");
        else
            comm_check_done(comm);
        break;
    case COMM_PIN:
        comm_read_pin(comm);
        break;
    case COMM_READ:
        comm->parts = command->parts;
        comm->parts_count = command->parts_count;
        comm_read_start(comm);
        break;
    case COMM_LOOKUP:
        comm_lookup_start(comm);
        break;
    case COMM_UNPIN:
        comm_read_unpin(comm);
        break;
    case COMM_MERGE:
        comm_merge_add(comm, command->dst);
        break;
    case COMM_MERGED:
        comm_merge_ask(comm, command->dst);
        break;
    case COMM_COMPLETE:
        comm_merge_pump(&comm->links[0]);   // its sums come first
        for (int s = 0; s < comm->servers; s++)
            comm_link_tell_end(&comm->links[s], FRAME_COMPLETE, 0, "");
        break;
    case COMM_ABORT:
        for (int s = 0; s < comm->servers; s++)
            comm_link_tell_end(&comm->links[s], FRAME_GOODBYE, SL_ESTOPPED, command->text);
        err_set(&comm->failure, SL_ESTOPPED, "%s", command->text);
        atomic_store_explicit(&comm->failed, SL_ESTOPPED, memory_order_release);
        comm_answer(comm, 0, NULL);
        break;
    case COMM_CLOSE:
        close_all(comm);
        break;
    }
    if (rc < 0)
        comm_fail(comm, NULL, rc, err.text, NULL);
}

static int take_push(struct comm *comm, const struct comm_command *command, struct err *err)
{
    bool sparse = comm->map->vars[command->variable]->sparse;
    return sparse ? step_push_rows(comm->step, command->variable, command->slice, command->data,
                                   command->rows, err)
                  : step_push(comm->step, command->variable, command->slice, command->data, err);
}

static void on_tick(void *arg)
{
    struct comm *comm = arg;
    uint64_t now_ms = loop_now_ms(comm->loop);
    if (comm->closing) {
        if (now_ms >= comm->close_by_ms)
            finish_close(comm);
        return;
    }
    for (int s = 0; s < comm->servers && !atomic_load(&comm->failed); s++)
        comm_link_tick(&comm->links[s], now_ms);
    comm_merge_tick(comm, now_ms);
}

static void close_all(struct comm *comm)
{
    comm->closing = true;
    comm->close_by_ms = loop_now_ms(comm->loop) + COMM_CLOSE_MS;
    bool failed = atomic_load(&comm->failed);
    for (int s = 0; s < comm->servers; s++) {
        struct comm_link *link = &comm->links[s];
        bool in_order = comm->reader || link->completed;
        if (!failed)
            comm_link_tell_end(link, FRAME_GOODBYE, in_order ? 0 : SL_ECLOSED, "");
        comm_link_close(link);
    }
    if (!comm->open_conns)
        finish_close(comm);
}

static void finish_close(struct comm *comm)
{
    if (!comm->waits)
        return;
    loop_timer_free(comm->tick);
    loop_stop(comm->loop);
    comm_answer(comm, 0, NULL);
}
