// SPDX-License-Identifier: Apache-2.0
// Sparse rows: in each step every one of two trainers looks up R distinct rows of a table of a
// million that two servers hold, and pushes gradients of the same rows; SGD. Ours beside a toy that
// does the same with blocking sockets, one thread a process, and nothing else: row numbers out and
// rows back; then numbers and gradients out, a merge of the two ascending lists, and one byte back
// when both were applied. Both end with the same values, which is checked.
//
//   rows_bench ROWS WIDTH ROUNDS STEPS      -> one JSON object
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "tests/bench/rivals.h"
#include "tests/unit/ps/ps_job.h"

#define TABLE_ROWS 1000000
#define BATCHES 8   // different ones; steps go round them
#define BENCH_RATE 0.001f

static size_t batch_rows, width;

struct batch {
    int64_t *ids;   // ascending; those of server 1 from first[1] on count from its first row
    size_t first[3];
    float *grad;
};

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Distinct rows of a seed; local: as the servers number them.
static struct batch make_batch(int trainer, int number, bool local)
{
    struct batch batch = {.ids = calloc(batch_rows, sizeof(int64_t)),
                          .grad = rivals_floats(batch_rows * width, 0)};
    uint64_t seed = (uint64_t)(number * 2 + trainer) * 7919 + 1;
    if (!batch.ids)
        rivals_die("memory");
    for (size_t count = 0; count < batch_rows;) {
        for (; count < batch_rows; count++)
            batch.ids[count] = (int64_t)(rng_next_u64(&seed) % TABLE_ROWS);
        qsort(batch.ids, batch_rows, sizeof *batch.ids, compare_ids);
        count = 1;
        for (size_t i = 1; i < batch_rows; i++)
            if (batch.ids[i] != batch.ids[count - 1])
                batch.ids[count++] = batch.ids[i];
    }
    for (size_t i = 0; i < batch_rows; i++) {
        for (size_t e = 0; e < width; e++)
            batch.grad[i * width + e] = 0.25f * (float)(1 + ((size_t)batch.ids[i] + e) % 7);
        batch.first[1] += batch.ids[i] < TABLE_ROWS / 2;
    }
    batch.first[2] = batch_rows;
    for (size_t i = batch.first[1]; local && i < batch_rows; i++)
        batch.ids[i] -= TABLE_ROWS / 2;
    return batch;
}

// What a row is after so many steps: the arithmetic of both, for one of a batch's rows.
static float expected(const struct batch (*batches)[BATCHES], int64_t row, uint64_t steps)
{
    float w = 1, grad = 0.25f * (float)(1 + (size_t)row % 7);
    for (uint64_t s = 0; s < steps; s++) {
        float sum = 0;
        for (int t = 0; t < 2; t++) {
            const struct batch *batch = &batches[t][s % BATCHES];
            if (bsearch(&row, batch->ids, batch_rows, sizeof row, compare_ids))
                sum += grad;
        }
        w -= BENCH_RATE * (sum * 0.5f);
    }
    return w;
}

static void check_rows(const char *who, int trainer, const float *rows, uint64_t steps)
{
    static struct batch all[2][BATCHES];
    for (int t = 0; t < 2; t++)
        for (int b = 0; b < BATCHES; b++)
            all[t][b] = make_batch(t, b, false);
    const struct batch *last = &all[trainer][(steps - 1) % BATCHES];
    for (size_t i = 0; i < batch_rows; i += batch_rows / 97 + 1) {
        float want = expected((const struct batch(*)[BATCHES])all, last->ids[i], steps - 1);
        if (rows[i * width] == want)
            continue;
        fprintf(stderr, "rows_bench: %s: row %lld is %.9g and not %.9g after %llu steps\n", who,
                (long long)last->ids[i], rows[i * width], want, (unsigned long long)steps - 1);
        _exit(1);
    }
}

// ---- the toy

struct toy_push {
    uint64_t count;
    int64_t *ids;
    float *grad;
};

static void toy_apply(float *table, const struct toy_push *a, const struct toy_push *b)
{
    for (size_t i = 0, k = 0; i < a->count || k < b->count;) {
        bool left = i < a->count && (k == b->count || a->ids[i] <= b->ids[k]);
        bool right = k < b->count && (i == a->count || b->ids[k] <= a->ids[i]);
        float *row = table + (size_t)(left ? a->ids[i] : b->ids[k]) * width;
        const float *x = a->grad + i * width, *y = b->grad + k * width;
        if (left && right)
            for (size_t e = 0; e < width; e++)
                row[e] -= BENCH_RATE * ((x[e] + y[e]) * 0.5f);
        else
            for (size_t e = 0; e < width; e++)
                row[e] -= BENCH_RATE * ((left ? x[e] : y[e]) * 0.5f);
        i += left;
        k += right;
    }
}

static void toy_server(int index, int listener, int tell)
{
    int fds[RIVALS_MAX];
    struct toy_push pushes[2];
    float *table = rivals_floats((uint64_t)TABLE_ROWS / 2 * width, 1);
    float *out = rivals_floats(batch_rows * width, 0);
    (void)tell;
    for (int t = 0; t < 2; t++)
        pushes[t] = (struct toy_push){.ids = calloc(batch_rows, sizeof(int64_t)),
                                      .grad = rivals_floats(batch_rows * width, 0)};
    rivals_accept(listener, fds);
    for (;;) {
        for (int i = 0; i < 2; i++) {
            struct toy_push *push = &pushes[(index + i) % 2];
            int fd = fds[(index + i) % 2];
            if (recv(fd, &push->count, 1, MSG_PEEK) <= 0)
                _exit(0);
            rivals_read(fd, &push->count, sizeof push->count);
            rivals_read(fd, push->ids, push->count * sizeof(int64_t));
            for (size_t r = 0; r < push->count; r++)
                memcpy(out + r * width, table + (size_t)push->ids[r] * width,
                       width * sizeof(float));
            rivals_write(fd, out, push->count * width * sizeof(float));
        }
        for (int i = 0; i < 2; i++) {
            struct toy_push *push = &pushes[(index + i) % 2];
            int fd = fds[(index + i) % 2];
            rivals_read(fd, &push->count, sizeof push->count);
            rivals_read(fd, push->ids, push->count * sizeof(int64_t));
            rivals_read(fd, push->grad, push->count * width * sizeof(float));
        }
        toy_apply(table, &pushes[0], &pushes[1]);
        for (int i = 0; i < 2; i++)
            rivals_write(fds[i], "", 1);
    }
}

struct toy_trainer {
    int fds[RIVALS_MAX];
    int id;
    uint64_t steps;
    struct batch batches[BATCHES];
    float *rows;
};

static void toy_send_ids(const struct toy_trainer *me, const struct batch *batch, int server)
{
    uint64_t count = batch->first[server + 1] - batch->first[server];
    rivals_write(me->fds[server], &count, sizeof count);
    rivals_write(me->fds[server], batch->ids + batch->first[server], count * sizeof(int64_t));
}

static void toy_step(void *self)
{
    struct toy_trainer *me = self;
    const struct batch *batch = &me->batches[me->steps++ % BATCHES];
    char done;
    for (int i = 0; i < 2; i++)
        toy_send_ids(me, batch, (me->id + i) % 2);
    for (int i = 0; i < 2; i++) {
        int s = (me->id + i) % 2;
        rivals_read(me->fds[s], me->rows + batch->first[s] * width,
                    (batch->first[s + 1] - batch->first[s]) * width * sizeof(float));
    }
    for (int i = 0; i < 2; i++) {
        int s = (me->id + i) % 2;
        toy_send_ids(me, batch, s);
        rivals_write(me->fds[s], batch->grad + batch->first[s] * width,
                     (batch->first[s + 1] - batch->first[s]) * width * sizeof(float));
    }
    for (int i = 0; i < 2; i++)
        rivals_read(me->fds[(me->id + i) % 2], &done, 1);
}

static void toy_trainer(int id, const int *ports, const char *const *endpoints, int go, int done)
{
    struct toy_trainer me = {.id = id, .rows = rivals_floats(batch_rows * width, 0)};
    (void)endpoints;
    for (int b = 0; b < BATCHES; b++)
        me.batches[b] = make_batch(id, b, true);
    for (int s = 0; s < 2; s++)
        me.fds[s] = rivals_connect(ports[s], id);
    rivals_serve_parent(go, done, id == 0, toy_step, &me);
    check_rows("toy", id, me.rows, me.steps);
}

// ---- ours

static void our_map(struct slice_map *map)
{
    ps_job_begin(map, 2, 2);
    ps_job_table(map, "t", TABLE_ROWS, (int64_t)width, 2);
    ps_job_finish(map);
}

static void our_server(int index, int listener, int tell)
{
    struct ps_job job = {0};
    (void)listener;
    our_map(&job.map);
    if (ps_job_start(&job, index, NULL, 1, BENCH_RATE) < 0)
        rivals_die(job.servers[index].err.text);
    rivals_write(tell, job.servers[index].endpoint, sizeof job.servers[index].endpoint);
    if (ps_job_join(&job, index) < 0)
        rivals_die(job.servers[index].err.text);
    ps_job_free(&job);
}

struct our_trainer {
    struct comm *comm;
    uint64_t steps;
    struct batch batches[BATCHES];
    struct selected_rows grads[BATCHES][2];
    float *rows;
};

static void our_step(void *self)
{
    struct our_trainer *me = self;
    struct err err = {0};
    size_t number = me->steps++ % BATCHES;
    struct comm_rows want = {
        .var = "t", .ids = me->batches[number].ids, .count = batch_rows, .out = me->rows};
    int rc = comm_lookup(me->comm, &want, 1, &err);
    if (rc >= 0)
        rc = comm_push_rows(me->comm, "t@GRAD.block0", &me->grads[number][0], &err);
    if (rc >= 0)
        rc = comm_push_rows(me->comm, "t@GRAD.block1", &me->grads[number][1], &err);
    if (rc >= 0)
        rc = comm_send_barrier(me->comm, &err);
    if (rc >= 0)
        rc = comm_fetch_barrier(me->comm, &err);
    if (rc < 0)
        rivals_die(err.text);
}

static void our_trainer(int id, const int *ports, const char *const *endpoints, int go, int done)
{
    struct our_trainer me = {.rows = rivals_floats(batch_rows * width, 0)};
    struct slice_map map;
    struct err err = {0};
    (void)ports;
    our_map(&map);
    struct dims dims = {.rank = 2, .d = {TABLE_ROWS / 2, (int64_t)width}};
    for (int b = 0; b < BATCHES; b++) {
        struct batch local = make_batch(id, b, true);
        me.batches[b] = make_batch(id, b, false);
        for (int s = 0; s < 2; s++) {
            struct selected_rows *grad = &me.grads[b][s];
            size_t count = local.first[s + 1] - local.first[s];
            selected_rows_init(grad);
            if (selected_rows_shape(grad, TABLE_ROWS / 2, count, DTYPE_FP32, &dims) < 0)
                rivals_die("memory");
            memcpy(grad->rows, local.ids + local.first[s], count * sizeof(int64_t));
            memcpy(grad->value.data, local.grad + local.first[s] * width,
                   count * width * sizeof(float));
        }
    }
    struct comm_options options = {
        .endpoints = endpoints, .servers = 2, .slices = &map, .trainer_id = id};
    if (comm_open(&options, &me.comm, &err) < 0)
        rivals_die(err.text);
    rivals_serve_parent(go, done, id == 0, our_step, &me);
    if (comm_complete(me.comm, &err) < 0)
        rivals_die(err.text);
    check_rows("ours", id, me.rows, me.steps);
    comm_close(me.comm);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: rows_bench ROWS WIDTH ROUNDS STEPS\n");
        return 2;
    }
    long rows = strtol(argv[1], NULL, 10), columns = strtol(argv[2], NULL, 10),
         rounds = strtol(argv[3], NULL, 10), steps = strtol(argv[4], NULL, 10);
    if (rows < 2 || rows > TABLE_ROWS / 2 || columns < 1 || columns > 4096 || rounds < 1 ||
        steps < 1 || steps * rounds > RIVALS_STEPS_MAX) {
        fprintf(stderr, "rows_bench: numbers out of range\n");
        return 2;
    }
    batch_rows = (size_t)rows;
    width = (size_t)columns;
    static const struct rival_ops ops[] = {{"toy", true, toy_server, toy_trainer},
                                           {"ours", false, our_server, our_trainer}};
    struct rival all[] = {{.ops = &ops[0]}, {.ops = &ops[1]}};
    int failed = rivals_race(all, 2, rounds, steps);
    printf("{\"rows\": %ld, \"width\": %ld, ", rows, columns);
    for (int r = 0; r < 2; r++)
        rivals_print(&all[r]);
    // Each of two trainers reads and pushes so many.
    printf("\"rows_per_second\": %.0f, \"ratio_median\": %.3f, \"ratio_min\": %.3f}\n",
           2 * (double)rows / rivals_median_ms(&all[1]) * 1e3,
           rivals_median_ms(&all[1]) / rivals_median_ms(&all[0]),
           rivals_least_ms(&all[1]) / rivals_least_ms(&all[0]));
    return failed;
}
