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
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/wire/checksum.h"
#include "tests/unit/ps/ps_job.h"

#define BENCH_MAX 4   // trainers, servers
#define BENCH_RATE 0.001f
#define BENCH_STEPS_MAX 10000

static int trainers = 2, servers = 2;
static uint64_t floats;   // of the whole parameter; a multiple of servers * threads

enum rival_kind { RIVAL_TOY, RIVAL_THREADS, RIVAL_OURS, RIVALS };

struct rival {
    enum rival_kind kind;
    const char *name;
    int go[BENCH_MAX];     // the parent tells a trainer how many steps
    int done[BENCH_MAX];   // trainer 0 tells how long each took, the others one number
    pid_t pids[2 * BENCH_MAX];
    int pids_count;
    double cpu_ms;
    double *ms;
    size_t ms_count;
};

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "comm_bench: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void read_all(int fd, void *data, size_t bytes)
{
    for (char *at = data; bytes;) {
        ssize_t got = read(fd, at, bytes);
        if (got <= 0)
            die("read");
        at += got;
        bytes -= (size_t)got;
    }
}

static void write_all(int fd, const void *data, size_t bytes)
{
    for (const char *at = data; bytes;) {
        ssize_t put = write(fd, at, bytes);
        if (put <= 0)
            die("write");
        at += put;
        bytes -= (size_t)put;
    }
}

static float *new_floats(uint64_t count, float value)
{
    float *data = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    if (!data)
        die("memory");
    for (uint64_t i = 0; i < count; i++)
        data[i] = value;
    return data;
}

// Normal numbers: denormal ones would make the arithmetic ten times slower.
static float *new_gradient(int trainer)
{
    float *data = new_floats(floats, 0);
    for (uint64_t i = 0; i < floats; i++)
        data[i] = 0.25f * (float)(1 + (i + (uint64_t)trainer) % 7);
    return data;
}

static float expected(uint64_t i, uint64_t steps)
{
    float w = 1;
    for (uint64_t s = 0; s < steps; s++) {
        float sum = 0;
        for (int t = 0; t < trainers; t++)
            sum += 0.25f * (float)(1 + (i + (uint64_t)t) % 7);
        w -= BENCH_RATE * (sum * (1.0f / (float)trainers));
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

// Runs `step` as often as the parent says, until it says 0.
static void serve_parent(int go, int done, bool timed, void (*step)(void *self), void *self)
{
    static double ms[BENCH_STEPS_MAX];
    int count;
    for (;;) {
        read_all(go, &count, sizeof count);
        if (!count)
            return;
        for (int i = 0; i < count; i++) {
            uint64_t start = clock_now_ns();
            step(self);
            ms[i] = (double)(clock_now_ns() - start) / 1e6;
        }
        write_all(done, ms, sizeof(double) * (size_t)(timed ? count : 1));
    }
}

// ---- the toy

struct toy_server {
    int fds[BENCH_MAX];
    float *grads[BENCH_MAX], *w;
    uint64_t count;
    pthread_barrier_t all;
};

struct toy_thread {
    struct toy_server *server;
    int trainer;
};

static void toy_tune(int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

static void toy_apply(struct toy_server *server, uint64_t first, uint64_t end)
{
    float scale = 1.0f / (float)trainers, *restrict w = server->w;
    if (trainers == 2) {
        const float *restrict a = server->grads[0], *restrict b = server->grads[1];
        for (uint64_t i = first; i < end; i++)
            w[i] -= BENCH_RATE * ((a[i] + b[i]) * scale);
        return;
    }
    for (uint64_t i = first; i < end; i++) {
        float sum = server->grads[0][i];
        for (int t = 1; t < trainers; t++)
            sum += server->grads[t][i];
        w[i] -= BENCH_RATE * (sum * scale);
    }
}

static void *toy_serve(void *arg)
{
    struct toy_thread *me = arg;
    struct toy_server *server = me->server;
    size_t bytes = server->count * sizeof(float);
    uint64_t first = server->count * (uint64_t)me->trainer / (uint64_t)trainers;
    uint64_t end = server->count * (uint64_t)(me->trainer + 1) / (uint64_t)trainers;
    for (;;) {
        if (recv(server->fds[me->trainer], server->grads[me->trainer], 1, MSG_PEEK) <= 0)
            _exit(0);
        read_all(server->fds[me->trainer], server->grads[me->trainer], bytes);
        pthread_barrier_wait(&server->all);
        toy_apply(server, first, end);
        pthread_barrier_wait(&server->all);
        write_all(server->fds[me->trainer], server->w, bytes);
    }
}

static void toy_serve_plain(struct toy_server *server, int index)
{
    size_t bytes = server->count * sizeof(float);
    for (;;) {
        if (recv(server->fds[index % trainers], server->grads[0], 1, MSG_PEEK) <= 0)
            _exit(0);
        for (int i = 0; i < trainers; i++)
            read_all(server->fds[(index + i) % trainers], server->grads[(index + i) % trainers],
                     bytes);
        toy_apply(server, 0, server->count);
        for (int i = 0; i < trainers; i++)
            write_all(server->fds[(index + i) % trainers], server->w, bytes);
    }
}

static void toy_server_main(int index, int listener, bool threaded)
{
    struct toy_server server = {.count = floats / (uint64_t)servers};
    struct toy_thread threads[BENCH_MAX];
    pthread_t ids[BENCH_MAX];
    server.w = new_floats(server.count, 1);
    pthread_barrier_init(&server.all, NULL, (unsigned)trainers);
    for (int t = 0; t < trainers; t++) {
        int fd = accept(listener, NULL, NULL);
        char who;
        toy_tune(fd);
        read_all(fd, &who, 1);
        server.fds[(int)who] = fd;
        server.grads[(int)who] = new_floats(server.count, 0);
    }
    if (!threaded)
        toy_serve_plain(&server, index);
    for (int t = 0; t < trainers; t++) {
        threads[t] = (struct toy_thread){&server, t};
        pthread_create(&ids[t], NULL, toy_serve, &threads[t]);
    }
    for (int t = 0; t < trainers; t++)
        pthread_join(ids[t], NULL);
}

struct toy_trainer {
    int fds[BENCH_MAX];
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
    uint64_t each = floats / (uint64_t)servers, first = each * (uint64_t)server;
    write_all(trainer->fds[server], trainer->grad + first, each * sizeof(float));
    read_all(trainer->fds[server], trainer->w + first, each * sizeof(float));
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
    uint64_t each = floats / (uint64_t)servers;
    size_t bytes = each * sizeof(float);
    for (int i = 0; i < servers; i++) {
        int s = (trainer->id + i) % servers;
        write_all(trainer->fds[s], trainer->grad + each * (uint64_t)s, bytes);
    }
    for (int i = 0; i < servers; i++) {
        int s = (trainer->id + i) % servers;
        read_all(trainer->fds[s], trainer->w + each * (uint64_t)s, bytes);
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
    struct toy_trainer trainer = {.grad = new_gradient(id), .w = new_floats(floats, 1), .id = id};
    struct toy_half halves[BENCH_MAX];
    pthread_t ids[BENCH_MAX];
    pthread_barrier_init(&trainer.begin, NULL, (unsigned)servers);
    pthread_barrier_init(&trainer.end, NULL, (unsigned)servers);
    for (int s = 0; s < servers; s++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)ports[s])};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        trainer.fds[s] = socket(AF_INET, SOCK_STREAM, 0);
        toy_tune(trainer.fds[s]);
        if (connect(trainer.fds[s], (struct sockaddr *)&to, sizeof to) < 0)
            die("connect");
        char who = (char)id;
        write_all(trainer.fds[s], &who, 1);
        halves[s] = (struct toy_half){&trainer, s};
        if (threaded && s > 0)
            pthread_create(&ids[s], NULL, toy_half_main, &halves[s]);
    }
    serve_parent(go, done, id == 0, threaded ? toy_step : toy_plain_step, &trainer);
    trainer.over = true;
    if (threaded)
        pthread_barrier_wait(&trainer.begin);
    for (int s = 1; threaded && s < servers; s++)
        pthread_join(ids[s], NULL);
    check_values("toy", trainer.w, trainer.steps);
}

static int toy_listen(int *out_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t bytes = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0)
        toy_tune(fd);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &bytes) < 0)
        die("listen");
    *out_port = ntohs(at.sin_port);
    return fd;
}

// ---- ours

struct our_trainer {
    struct comm *comm;
    struct tensor grads[BENCH_MAX], w[BENCH_MAX];
    char grad_names[BENCH_MAX][64], names[BENCH_MAX][64];
    float *all;
    uint64_t steps;
};

static void our_map(struct slice_map *map)
{
    ps_job_begin(map, servers, trainers);
    ps_job_param(map, "w", (int64_t)(floats / 256), 256, servers);
    ps_job_finish(map);
}

static void our_server_main(int index, int tell)
{
    struct ps_job job = {0};
    our_map(&job.map);
    if (ps_job_start(&job, index, NULL, 1, BENCH_RATE) < 0) {
        fprintf(stderr, "comm_bench: server: %s\n", job.servers[index].err.text);
        _exit(1);
    }
    write_all(tell, job.servers[index].endpoint, sizeof job.servers[index].endpoint);
    if (ps_job_join(&job, index) < 0)
        fprintf(stderr, "comm_bench: server: %s\n", job.servers[index].err.text);
    if (getenv("COMM_BENCH_STATS")) {
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
    for (int s = 0; rc >= 0 && s < servers; s++)
        rc = comm_push(me->comm, me->grad_names[s], &me->grads[s], &err);
    if (rc >= 0)
        rc = comm_send_barrier(me->comm, &err);
    for (int s = 0; rc >= 0 && s < servers; s++)
        rc = comm_pull(me->comm, me->names[s], &me->w[s], &err);
    if (rc >= 0)
        rc = comm_fetch_barrier(me->comm, &err);
    if (rc < 0)
        our_fail(&err);
    me->steps++;
}

static void our_trainer_main(int id, const char *const *endpoints, int go, int done)
{
    struct our_trainer me = {.all = new_floats(floats, 0)};
    float *gradient = new_gradient(id);
    struct slice_map map;
    struct err err = {0};
    our_map(&map);
    struct comm_options options = {
        .endpoints = endpoints, .servers = servers, .slices = &map, .trainer_id = id};
    if (comm_open(&options, &me.comm, &err) < 0)
        our_fail(&err);
    uint64_t each = floats / (uint64_t)servers;
    struct dims dims = {.rank = 2, .d = {(int64_t)(each / 256), 256}};
    for (int s = 0; s < servers; s++) {
        tensor_init(&me.grads[s]);
        tensor_init(&me.w[s]);
        uint64_t first = each * (uint64_t)s;
        tensor_borrow(&me.grads[s], DTYPE_FP32, &dims, gradient + first, each * sizeof(float));
        tensor_borrow(&me.w[s], DTYPE_FP32, &dims, me.all + first, each * sizeof(float));
        snprintf(me.names[s], sizeof me.names[s], servers > 1 ? "w.block%d" : "w", s);
        snprintf(me.grad_names[s], sizeof me.grad_names[s],
                 servers > 1 ? "w@GRAD.block%d" : "w@GRAD", s);
    }
    serve_parent(go, done, id == 0, our_step, &me);
    if (comm_complete(me.comm, &err) < 0)
        our_fail(&err);
    check_values("ours", me.all, me.steps);
    comm_close(me.comm);
}

// ---- the parent

static void start_rival(struct rival *rival)
{
    bool toy = rival->kind != RIVAL_OURS, threaded = rival->kind == RIVAL_THREADS;
    int ports[BENCH_MAX], listeners[BENCH_MAX];
    char endpoints[BENCH_MAX][64];
    const char *list[BENCH_MAX];
    for (int s = 0; s < servers; s++) {
        int tell[2];
        if (pipe(tell) < 0)
            die("pipe");
        if (toy)
            listeners[s] = toy_listen(&ports[s]);
        pid_t pid = fork();
        if (pid == 0) {
            (void)prctl(PR_SET_NAME, toy ? "toy_server" : "our_server");
            if (toy)
                toy_server_main(s, listeners[s], threaded);
            else
                our_server_main(s, tell[1]);
            _exit(0);
        }
        rival->pids[rival->pids_count++] = pid;
        if (!toy)
            read_all(tell[0], endpoints[s], sizeof endpoints[s]);
        list[s] = endpoints[s];
    }
    for (int t = 0; t < trainers; t++) {
        int go[2], done[2];
        if (pipe(go) < 0 || pipe(done) < 0)
            die("pipe");
        pid_t pid = fork();
        if (pid == 0) {
            (void)prctl(PR_SET_NAME, toy ? "toy_trainer" : "our_trainer");
            if (toy)
                toy_trainer_main(t, ports, go[0], done[1], threaded);
            else
                our_trainer_main(t, list, go[0], done[1]);
            _exit(0);
        }
        rival->pids[rival->pids_count++] = pid;
        rival->go[t] = go[1];
        rival->done[t] = done[0];
    }
}

// Processor time of the rival's processes so far.
static double rival_cpu_ms(const struct rival *rival)
{
    double ms = 0;
    for (int p = 0; p < rival->pids_count; p++) {
        clockid_t clock;
        struct timespec now;
        if (clock_getcpuclockid(rival->pids[p], &clock) == 0 && clock_gettime(clock, &now) == 0)
            ms += (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
    }
    return ms;
}

static void run_rival(struct rival *rival, int steps, bool keep)
{
    static double ms[BENCH_STEPS_MAX];
    double cpu_ms = rival_cpu_ms(rival);
    for (int t = 0; t < trainers; t++)
        write_all(rival->go[t], &steps, sizeof steps);
    for (int t = trainers - 1; t >= 0; t--)
        read_all(rival->done[t], ms, sizeof(double) * (size_t)(t == 0 ? steps : 1));
    for (int i = 0; keep && i < steps; i++)
        rival->ms[rival->ms_count++] = ms[i];
    if (keep)
        rival->cpu_ms += rival_cpu_ms(rival) - cpu_ms;
}

static int end_rival(struct rival *rival)
{
    int zero = 0, failed = 0;
    for (int t = 0; t < trainers; t++)
        write_all(rival->go[t], &zero, sizeof zero);
    for (int p = 0; p < rival->pids_count; p++) {
        int status;
        struct rusage usage;
        if (wait4(rival->pids[p], &status, 0, &usage) < 0 || status)
            failed = 1;
        if (getenv("COMM_BENCH_STATS"))
            fprintf(stderr, "%s %s: user %.0f ms, system %.0f ms, %ld + %ld switches, %ld faults\n",
                    rival->name, p < servers ? "server" : "trainer",
                    (double)usage.ru_utime.tv_sec * 1e3 + (double)usage.ru_utime.tv_usec / 1e3,
                    (double)usage.ru_stime.tv_sec * 1e3 + (double)usage.ru_stime.tv_usec / 1e3,
                    usage.ru_nvcsw, usage.ru_nivcsw, usage.ru_minflt);
    }
    return failed;
}

static int compare_ms(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_rival(struct rival *rival)
{
    qsort(rival->ms, rival->ms_count, sizeof *rival->ms, compare_ms);
    printf("\"%s\": {\"median_ms\": %.4f, \"min_ms\": %.4f, \"steps\": %zu, \"cpu_ms\": %.1f}, ",
           rival->name, rival->ms[rival->ms_count / 2], rival->ms[0], rival->ms_count,
           rival->cpu_ms / (double)rival->ms_count);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: comm_bench MIB ROUNDS STEPS [TRAINERS SERVERS]\n");
        return 2;
    }
    long mib = strtol(argv[1], NULL, 10), rounds = strtol(argv[2], NULL, 10),
         steps = strtol(argv[3], NULL, 10);
    trainers = argc == 6 ? (int)strtol(argv[4], NULL, 10) : 2;
    servers = argc == 6 ? (int)strtol(argv[5], NULL, 10) : 2;
    if (mib < 1 || mib > 4096 || rounds < 1 || steps < 1 || steps * rounds > BENCH_STEPS_MAX ||
        trainers < 1 || trainers > BENCH_MAX || servers < 1 || servers > BENCH_MAX) {
        fprintf(stderr, "comm_bench: numbers out of range\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    floats = (uint64_t)mib << 18;
    struct rival all[RIVALS] = {{.kind = RIVAL_TOY, .name = "toy"},
                                {.kind = RIVAL_THREADS, .name = "toy_threads"},
                                {.kind = RIVAL_OURS, .name = "ours"}};
    for (int r = 0; r < RIVALS; r++) {
        all[r].ms = calloc((size_t)(rounds * steps), sizeof(double));
        start_rival(&all[r]);
        run_rival(&all[r], 3, false);
    }
    for (long i = 0; i < rounds; i++)
        for (int r = 0; r < RIVALS; r++)
            run_rival(&all[r], (int)steps, true);
    int failed = 0;
    printf("{\"mib\": %ld, \"trainers\": %d, \"servers\": %d, ", mib, trainers, servers);
    for (int r = 0; r < RIVALS; r++) {
        failed |= end_rival(&all[r]);
        print_rival(&all[r]);
    }
    const struct rival *toy = &all[RIVAL_TOY], *ours = &all[RIVAL_OURS];
    printf("\"ratio_median\": %.3f, \"ratio_min\": %.3f, \"ratio_threads\": %.3f, \"checksum\": "
           "\"%s\"}\n",
           ours->ms[ours->ms_count / 2] / toy->ms[toy->ms_count / 2], ours->ms[0] / toy->ms[0],
           ours->ms[ours->ms_count / 2] / all[RIVAL_THREADS].ms[ours->ms_count / 2],
           checksum_engine());
    return failed;
}
