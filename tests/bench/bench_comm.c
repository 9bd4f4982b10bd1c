// SPDX-License-Identifier: Apache-2.0
// Push and pull of P bytes by N trainers over M servers, ours beside a toy, on loopback.
//
// The toys are what the traffic costs with nothing else: blocking sockets (cubic), whole buffers a
// call, sum of the trainers' gradients, SGD, parameters back; no checksums, versions, repeats or
// deadlines. "toy" has one thread a process, as such a thing is written; "toy_threads" one a
// connection, which is faster when cores are free. All run the same arithmetic (w -= lr * mean of
// the gradients) and end with the same values, which is checked. Every server and trainer is a
// process; all rivals stay alive and take turns, a few steps each, so that the load of the machine
// meets all.
//
//   comm_bench MIB ROUNDS STEPS [TRAINERS SERVERS]      -> one JSON object
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/wire/checksum.h"
#include "tests/bench/rivals.h"
#include "tests/unit/ps/ps_job.h"

#define BENCH_RATE 0.001f

static uint64_t floats;   // of the whole parameter; a multiple of rivals_shape.servers * threads

// Normal numbers: denormal ones would make the arithmetic ten times slower.
static float *new_gradient(int trainer)
{
    float *data = rivals_floats(floats, 0);
    for (uint64_t i = 0; i < floats; i++)
        data[i] = 0.25f * (float)(1 + (i + (uint64_t)trainer) % 7);
    return data;
}

static float expected(uint64_t i, uint64_t steps)
{
    float w = 1;
    for (uint64_t s = 0; s < steps; s++) {
        float sum = 0;
        for (int t = 0; t < rivals_shape.trainers; t++)
            sum += 0.25f * (float)(1 + (i + (uint64_t)t) % 7);
        w -= BENCH_RATE * (sum * (1.0f / (float)rivals_shape.trainers));
    }
    return w;
}

static void check_values(const char *who, const float *w, uint64_t steps)
{
    for (uint64_t i = 0; i < floats; i += floats / 97 + 1) {
        if (w[i] != expected(i, steps)) {
            fprintf(stderr, "comm_bench: %s: w[%llu] is %.9g and not %.9g after %llu steps\n", who,
                    (unsigned long long)i, w[i], expected(i, steps), (unsigned long long)steps);
            _exit(1);
        }
    }
}

// ---- the toy

struct toy_server {
    int fds[RIVALS_MAX];
    float *grads[RIVALS_MAX], *w;
    uint64_t count;
    pthread_barrier_t all;
};

struct toy_thread {
    struct toy_server *server;
    int trainer;
};

static void toy_apply(struct toy_server *server, uint64_t first, uint64_t end)
{
    float scale = 1.0f / (float)rivals_shape.trainers, *restrict w = server->w;
    if (rivals_shape.trainers == 2) {
        const float *restrict a = server->grads[0], *restrict b = server->grads[1];
        for (uint64_t i = first; i < end; i++)
            w[i] -= BENCH_RATE * ((a[i] + b[i]) * scale);
        return;
    }
    for (uint64_t i = first; i < end; i++) {
        float sum = server->grads[0][i];
        for (int t = 1; t < rivals_shape.trainers; t++)
            sum += server->grads[t][i];
        w[i] -= BENCH_RATE * (sum * scale);
    }
}

static void *toy_serve(void *arg)
{
    struct toy_thread *me = arg;
    struct toy_server *server = me->server;
    size_t bytes = server->count * sizeof(float);
    uint64_t first = server->count * (uint64_t)me->trainer / (uint64_t)rivals_shape.trainers;
    uint64_t end = server->count * (uint64_t)(me->trainer + 1) / (uint64_t)rivals_shape.trainers;
    for (;;) {
        if (recv(server->fds[me->trainer], server->grads[me->trainer], 1, MSG_PEEK) <= 0)
            _exit(0);
        rivals_read(server->fds[me->trainer], server->grads[me->trainer], bytes);
        pthread_barrier_wait(&server->all);
        toy_apply(server, first, end);
        pthread_barrier_wait(&server->all);
        rivals_write(server->fds[me->trainer], server->w, bytes);
    }
}

static void toy_serve_plain(struct toy_server *server, int index)
{
    size_t bytes = server->count * sizeof(float);
    for (;;) {
        if (recv(server->fds[index % rivals_shape.trainers], server->grads[0], 1, MSG_PEEK) <= 0)
            _exit(0);
        for (int i = 0; i < rivals_shape.trainers; i++)
            rivals_read(server->fds[(index + i) % rivals_shape.trainers],
                        server->grads[(index + i) % rivals_shape.trainers], bytes);
        toy_apply(server, 0, server->count);
        for (int i = 0; i < rivals_shape.trainers; i++)
            rivals_write(server->fds[(index + i) % rivals_shape.trainers], server->w, bytes);
    }
}

static void toy_server_main(int index, int listener, bool threaded)
{
    struct toy_server server = {.count = floats / (uint64_t)rivals_shape.servers};
    struct toy_thread threads[RIVALS_MAX];
    pthread_t ids[RIVALS_MAX];
    server.w = rivals_floats(server.count, 1);
    pthread_barrier_init(&server.all, NULL, (unsigned)rivals_shape.trainers);
    rivals_accept(listener, server.fds);
    for (int t = 0; t < rivals_shape.trainers; t++)
        server.grads[t] = rivals_floats(server.count, 0);
    if (!threaded)
        toy_serve_plain(&server, index);
    for (int t = 0; t < rivals_shape.trainers; t++) {
        threads[t] = (struct toy_thread){&server, t};
        pthread_create(&ids[t], NULL, toy_serve, &threads[t]);
    }
    for (int t = 0; t < rivals_shape.trainers; t++)
        pthread_join(ids[t], NULL);
}

struct toy_trainer {
    int fds[RIVALS_MAX];
    float *grad, *w;
    pthread_barrier_t begin, end;
    bool over;
    int id;
    uint64_t steps;
};

struct toy_half {
    struct toy_trainer *trainer;
    int server;
};

static void toy_half_step(struct toy_trainer *trainer, int server)
{
    uint64_t each = floats / (uint64_t)rivals_shape.servers, first = each * (uint64_t)server;
    rivals_write(trainer->fds[server], trainer->grad + first, each * sizeof(float));
    rivals_read(trainer->fds[server], trainer->w + first, each * sizeof(float));
}

static void *toy_half_main(void *arg)
{
    struct toy_half *half = arg;
    for (;;) {
        pthread_barrier_wait(&half->trainer->begin);
        if (half->trainer->over)
            return NULL;
        toy_half_step(half->trainer, half->server);
        pthread_barrier_wait(&half->trainer->end);
    }
}

static void toy_plain_step(void *self)
{
    struct toy_trainer *trainer = self;
    uint64_t each = floats / (uint64_t)rivals_shape.servers;
    size_t bytes = each * sizeof(float);
    for (int i = 0; i < rivals_shape.servers; i++) {
        int s = (trainer->id + i) % rivals_shape.servers;
        rivals_write(trainer->fds[s], trainer->grad + each * (uint64_t)s, bytes);
    }
    for (int i = 0; i < rivals_shape.servers; i++) {
        int s = (trainer->id + i) % rivals_shape.servers;
        rivals_read(trainer->fds[s], trainer->w + each * (uint64_t)s, bytes);
    }
    trainer->steps++;
}

static void toy_step(void *self)
{
    struct toy_trainer *trainer = self;
    pthread_barrier_wait(&trainer->begin);
    toy_half_step(trainer, 0);
    pthread_barrier_wait(&trainer->end);
    trainer->steps++;
}

static void toy_trainer_main(int id, const int *ports, int go, int done, bool threaded)
{
    struct toy_trainer trainer = {
        .grad = new_gradient(id), .w = rivals_floats(floats, 1), .id = id};
    struct toy_half halves[RIVALS_MAX];
    pthread_t ids[RIVALS_MAX];
    pthread_barrier_init(&trainer.begin, NULL, (unsigned)rivals_shape.servers);
    pthread_barrier_init(&trainer.end, NULL, (unsigned)rivals_shape.servers);
    for (int s = 0; s < rivals_shape.servers; s++) {
        trainer.fds[s] = rivals_connect(ports[s], id);
        halves[s] = (struct toy_half){&trainer, s};
        if (threaded && s > 0)
            pthread_create(&ids[s], NULL, toy_half_main, &halves[s]);
    }
    rivals_serve_parent(go, done, id == 0, threaded ? toy_step : toy_plain_step, &trainer);
    trainer.over = true;
    if (threaded)
        pthread_barrier_wait(&trainer.begin);
    for (int s = 1; threaded && s < rivals_shape.servers; s++)
        pthread_join(ids[s], NULL);
    check_values("toy", trainer.w, trainer.steps);
}

static void toy_server(int index, int listener, int tell)
{
    (void)tell;
    toy_server_main(index, listener, false);
}

static void toy_threads_server(int index, int listener, int tell)
{
    (void)tell;
    toy_server_main(index, listener, true);
}

static void toy_trainer(int id, const int *ports, const char *const *endpoints, int go, int done)
{
    (void)endpoints;
    toy_trainer_main(id, ports, go, done, false);
}

static void toy_threads_trainer(int id, const int *ports, const char *const *endpoints, int go,
                                int done)
{
    (void)endpoints;
    toy_trainer_main(id, ports, go, done, true);
}

// ---- ours

struct our_trainer {
    struct comm *comm;
    struct tensor grads[RIVALS_MAX], w[RIVALS_MAX];
    char grad_names[RIVALS_MAX][64], names[RIVALS_MAX][64];
    float *all;
    uint64_t steps;
};

static void our_map(struct slice_map *map)
{
    ps_job_begin(map, rivals_shape.servers, rivals_shape.trainers);
    ps_job_param(map, "w", (int64_t)(floats / 256), 256, rivals_shape.servers);
    ps_job_finish(map);
}

static void our_server_main(int index, int listener, int tell)
{
    (void)listener;
    struct ps_job job = {0};
    our_map(&job.map);
    if (ps_job_start(&job, index, NULL, 1, BENCH_RATE) < 0) {
        fprintf(stderr, "comm_bench: server: %s\n", job.servers[index].err.text);
        _exit(1);
    }
    rivals_write(tell, job.servers[index].endpoint, sizeof job.servers[index].endpoint);
    if (ps_job_join(&job, index) < 0)
        fprintf(stderr, "comm_bench: server: %s\n", job.servers[index].err.text);
    if (getenv("BENCH_STATS")) {
        struct serve_stats stats;
        serve_stats(job.servers[index].serve, &stats);
        fprintf(stderr, "server %d: apply %.3f ms a step, push to commit %.3f ms, checksum %s\n",
                index, (double)stats.apply_ns / 1e6 / (double)stats.steps,
                (double)stats.wait_ns / 1e6 / (double)stats.steps, checksum_engine());
    }
    ps_job_free(&job);
}

static void our_fail(const struct err *err)
{
    fprintf(stderr, "comm_bench: trainer: %s\n", err->text);
    _exit(1);
}

static void our_step(void *self)
{
    struct our_trainer *me = self;
    struct err err = {0};
    int rc = 0;
    for (int s = 0; rc >= 0 && s < rivals_shape.servers; s++)
        rc = comm_push(me->comm, me->grad_names[s], &me->grads[s], &err);
    if (rc >= 0)
        rc = comm_send_barrier(me->comm, &err);
    for (int s = 0; rc >= 0 && s < rivals_shape.servers; s++)
        rc = comm_pull(me->comm, me->names[s], &me->w[s], &err);
    if (rc >= 0)
        rc = comm_fetch_barrier(me->comm, &err);
    if (rc < 0)
        our_fail(&err);
    me->steps++;
}

static void our_trainer_main(int id, const int *ports, const char *const *endpoints, int go,
                             int done)
{
    (void)ports;
    struct our_trainer me = {.all = rivals_floats(floats, 0)};
    float *gradient = new_gradient(id);
    struct slice_map map;
    struct err err = {0};
    our_map(&map);
    struct comm_options options = {
        .endpoints = endpoints, .servers = rivals_shape.servers, .slices = &map, .trainer_id = id};
    if (comm_open(&options, &me.comm, &err) < 0)
        our_fail(&err);
    uint64_t each = floats / (uint64_t)rivals_shape.servers;
    struct dims dims = {.rank = 2, .d = {(int64_t)(each / 256), 256}};
    for (int s = 0; s < rivals_shape.servers; s++) {
        tensor_init(&me.grads[s]);
        tensor_init(&me.w[s]);
        uint64_t first = each * (uint64_t)s;
        tensor_borrow(&me.grads[s], DTYPE_FP32, &dims, gradient + first, each * sizeof(float));
        tensor_borrow(&me.w[s], DTYPE_FP32, &dims, me.all + first, each * sizeof(float));
        snprintf(me.names[s], sizeof me.names[s], rivals_shape.servers > 1 ? "w.block%d" : "w", s);
        snprintf(me.grad_names[s], sizeof me.grad_names[s],
                 rivals_shape.servers > 1 ? "w@GRAD.block%d" : "w@GRAD", s);
    }
    rivals_serve_parent(go, done, id == 0, our_step, &me);
    if (comm_complete(me.comm, &err) < 0)
        our_fail(&err);
    check_values("ours", me.all, me.steps);
    comm_close(me.comm);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: comm_bench MIB ROUNDS STEPS [TRAINERS SERVERS]\n");
        return 2;
    }
    long mib = strtol(argv[1], NULL, 10), rounds = strtol(argv[2], NULL, 10),
         steps = strtol(argv[3], NULL, 10);
    rivals_shape.trainers = argc == 6 ? (int)strtol(argv[4], NULL, 10) : 2;
    rivals_shape.servers = argc == 6 ? (int)strtol(argv[5], NULL, 10) : 2;
    if (mib < 1 || mib > 4096 || rounds < 1 || steps < 1 || steps * rounds > RIVALS_STEPS_MAX ||
        rivals_shape.trainers < 1 || rivals_shape.trainers > RIVALS_MAX ||
        rivals_shape.servers < 1 || rivals_shape.servers > RIVALS_MAX) {
        fprintf(stderr, "comm_bench: numbers out of range\n");
        return 2;
    }
    floats = (uint64_t)mib << 18;
    static const struct rival_ops ops[] = {
        {"toy", true, toy_server, toy_trainer},
        {"toy_threads", true, toy_threads_server, toy_threads_trainer},
        {"ours", false, our_server_main, our_trainer_main},
    };
    struct rival all[] = {{.ops = &ops[0]}, {.ops = &ops[1]}, {.ops = &ops[2]}};
    int failed = rivals_race(all, 3, rounds, steps);
    printf("{\"mib\": %ld, \"trainers\": %d, \"servers\": %d, ", mib, rivals_shape.trainers,
           rivals_shape.servers);
    for (int r = 0; r < 3; r++)
        rivals_print(&all[r]);
    printf("\"ratio_median\": %.3f, \"ratio_min\": %.3f, \"ratio_threads\": %.3f, \"checksum\": "
           "\"%s\"}\n",
           rivals_median_ms(&all[2]) / rivals_median_ms(&all[0]),
           rivals_least_ms(&all[2]) / rivals_least_ms(&all[0]),
           rivals_median_ms(&all[2]) / rivals_median_ms(&all[1]), checksum_engine());
    return failed;
}
