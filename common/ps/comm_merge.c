// SPDX-License-Identifier: Apache-2.0
// Sums over the trainers, kept by server 0 (see merge.h for when one is settled). What this trainer
// adds is copied and sent again on every new connection, the last COMM_SUMS of it: a server that
// was started again has forgotten the sums. Invariant: a sum's result does not change once it is
// done; what comes again is drained.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/conn.h"
#include "common/ps/comm_inside.h"

#define COMM_SUMS 16
#define SUM_BYTES_MAX LIMIT_FRAME_BODY_BYTES
#define SUM_SAY_MS 1000

struct comm_sum {
    uint32_t key;
    size_t count;
    int64_t *numbers, *result;   // result behind numbers, one allocation
    uint32_t trainers;           // that have added
    bool sent;                   // on this connection
    bool done, forgotten;
    int inflight;   // frames that a connection still reads
};

struct comm_merge {
    struct comm_sum *sums[COMM_SUMS];   // in order of adding
    size_t count;
};

struct comm_merge_want {   // a call that asks
    uint32_t key;
    size_t count;
    int64_t *out;
    uint32_t trainers;
    bool wait;
};

static struct comm_sum *find(const struct comm_merge *merge, uint32_t key);
static void forget(struct comm_merge *merge, size_t i);
static int look(struct comm *comm, struct err *err);
static bool send_sum(struct comm_link *link, struct comm_sum *sum);
static void on_released(void *arg, bool written);
static void free_sum(struct comm_sum *sum);

// ---- the caller's thread

int comm_merge(struct comm *comm, uint32_t key, const int64_t *numbers, size_t count,
               struct err *err)
{
    int rc = comm_check_failed(comm, err);
    if (rc < 0)
        return rc;
    if (comm->reader || count == 0 || count > SUM_BYTES_MAX / sizeof *numbers)
        return err_set(err, comm->reader ? SL_EUSAGE : SL_ELIMIT,
                       "sum %" PRIu32 ": %zu numbers; a trainer may add 1..%zu", key, count,
                       (size_t)(SUM_BYTES_MAX / sizeof *numbers));
    struct comm_sum *sum = MEM_NEW(struct comm_sum);
    *sum = (struct comm_sum){.key = key, .count = count};
    sum->numbers = mem_must_calloc(2 * count, sizeof *sum->numbers);
    sum->result = sum->numbers + count;
    memcpy(sum->numbers, numbers, count * sizeof *numbers);
    comm_put(comm, &(struct comm_command){.verb = COMM_MERGE, .dst = sum});
    return 0;
}

int comm_merge_result(struct comm *comm, uint32_t key, bool wait, int64_t *out, size_t count,
                      int *out_trainers, struct err *err)
{
    unsigned done = atomic_load_explicit(&comm->merges_done, memory_order_acquire);
    if (!wait && done == comm->merges_seen)
        return comm_check_failed(comm, err);
    struct comm_merge_want want = {.key = key, .count = count, .out = out, .wait = wait};
    struct comm_command command = {.verb = COMM_MERGED, .dst = &want, .asks = true};
    int rc = comm_ask(comm, &command, err);
    if (rc > 0)
        *out_trainers = (int)want.trainers;
    if (rc == 0)
        comm->merges_seen = done;
    return rc;
}

void comm_merge_give_up(struct comm *comm)
{
    atomic_store(&comm->merges_given_up, true);   // seen at the next tick
}

// ---- the loop thread

void comm_merge_add(struct comm *comm, void *taken)
{
    struct comm_merge *merge =
        comm->merge ? comm->merge : (comm->merge = MEM_NEW(struct comm_merge));
    if (merge->count == COMM_SUMS)
        forget(merge, 0);
    merge->sums[merge->count++] = taken;
}

void comm_merge_ask(struct comm *comm, void *asked)
{
    comm->merge_want = asked;
    comm_merge_check(comm);
}

void comm_merge_check(struct comm *comm)
{
    struct err err = {0};
    int rc = look(comm, &err);
    if (rc != 0 || !comm->merge_want->wait || atomic_load(&comm->merges_given_up)) {
        comm->merge_want = NULL;
        comm_answer(comm, rc, &err);
    }
}

void comm_merge_pump(struct comm_link *link)
{
    struct comm_merge *merge = link->comm->merge;
    if (!merge || link->server != 0 || !link->conn || !link->agreed || !link->welcomed)
        return;
    for (size_t i = 0; i < merge->count; i++)
        if (!merge->sums[i]->sent && !send_sum(link, merge->sums[i]))
            return;
}

void comm_merge_lost(struct comm_link *link)
{
    struct comm_merge *merge = link->comm->merge;
    for (size_t i = 0; merge && link->server == 0 && i < merge->count; i++)
        merge->sums[i]->sent = false;
}

// What may have been lost on the way is said again: the answer comes again too.
void comm_merge_nudge(struct comm_link *link)
{
    struct comm_merge_want *want = link->comm->merge_want;
    struct comm_sum *sum = want && link->server == 0 ? find(link->comm->merge, want->key) : NULL;
    if (sum)
        sum->sent = false;
}

void comm_merge_tick(struct comm *comm, uint64_t now_ms)
{
    char text[128];
    if (!comm->waits || comm->waiting != COMM_MERGED)
        return;
    if (atomic_load(&comm->merges_given_up)) {
        comm_merge_check(comm);
        return;
    }
    if (!comm->options.waiting || now_ms < comm->said_ms + SUM_SAY_MS)
        return;
    comm->said_ms = now_ms;
    snprintf(text, sizeof text,
             "waiting %.1f s for the other trainers to end, for the metrics of the whole job",
             (double)(now_ms - comm->waits_since_ms) / 1000.0);
    comm->options.waiting(comm->options.self, text);
}

void *comm_merge_place(struct comm_link *link, const struct frame *header)
{
    struct comm_sum *sum =
        link->comm->merge && link->server == 0 ? find(link->comm->merge, header->request) : NULL;
    bool fits = sum && !sum->done && header->body_bytes == sum->count * sizeof(int64_t);
    return fits ? sum->result : NULL;
}

void comm_merge_data(struct comm_link *link, const struct frame *header, const void *dst,
                     bool sound)
{
    struct comm *comm = link->comm;
    struct comm_sum *sum = dst ? find(comm->merge, header->request) : NULL;
    if (!sum || sum->result != dst)
        return;
    if (!sound) {
        sum->sent = false;   // adding again gets the answer again
        comm_merge_pump(link);
        return;
    }
    sum->done = true;
    sum->trainers = header->variable;
    atomic_fetch_add_explicit(&comm->merges_done, 1, memory_order_release);
    comm_check_done(comm);
}

void comm_merge_free(struct comm *comm)
{
    while (comm->merge && comm->merge->count)
        forget(comm->merge, comm->merge->count - 1);
    mem_free(comm->merge);
    comm->merge = NULL;
}

static struct comm_sum *find(const struct comm_merge *merge, uint32_t key)
{
    for (size_t i = 0; merge && i < merge->count; i++)
        if (merge->sums[i]->key == key)
            return merge->sums[i];
    return NULL;
}

static void forget(struct comm_merge *merge, size_t i)
{
    struct comm_sum *sum = merge->sums[i];
    merge->count--;
    memmove(merge->sums + i, merge->sums + i + 1, (merge->count - i) * sizeof *merge->sums);
    sum->forgotten = true;
    if (!sum->inflight)
        free_sum(sum);
}

// 1: the sum that is wanted is there; 0: not yet.
static int look(struct comm *comm, struct err *err)
{
    struct comm_merge_want *want = comm->merge_want;
    const struct comm_sum *sum = find(comm->merge, want->key);
    if (!sum || sum->count != want->count)
        return err_set(err, SL_ENOENT, "sum %" PRIu32 ": this trainer has added nothing to it",
                       want->key);
    if (!sum->done)
        return 0;
    memcpy(want->out, sum->result, sum->count * sizeof *sum->result);
    want->trainers = sum->trainers;
    return 1;
}

static bool send_sum(struct comm_link *link, struct comm_sum *sum)
{
    struct session_chunk chunk = {
        .header = {.type = FRAME_MERGE,
                   .flags = FRAME_LAST,
                   .request = sum->key,
                   .incarnation = link->incarnation},
        .body = sum->numbers,
        .body_bytes = (uint32_t)(sum->count * sizeof *sum->numbers),
        .release = on_released,
        .arg = sum,
    };
    if (conn_send_chunk(link->conn, &chunk) < 0)
        return false;   // when there is room, or on the next connection
    sum->sent = true;
    sum->inflight++;
    return true;
}

static void on_released(void *arg, bool written)
{
    struct comm_sum *sum = arg;
    (void)written;
    if (--sum->inflight == 0 && sum->forgotten)
        free_sum(sum);
}

static void free_sum(struct comm_sum *sum)
{
    mem_free(sum->numbers);
    mem_free(sum);
}
