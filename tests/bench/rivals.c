// SPDX-License-Identifier: Apache-2.0
// See rivals.h.
#include "tests/bench/rivals.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"

struct rivals_shape rivals_shape = {2, 2};

_Noreturn void rivals_die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    _exit(1);
}

void rivals_read(int fd, void *data, size_t bytes)
{
    for (char *at = data; bytes;) {
        ssize_t got = read(fd, at, bytes);
        if (got <= 0)
            rivals_die("read");
        at += got;
        bytes -= (size_t)got;
    }
}

void rivals_write(int fd, const void *data, size_t bytes)
{
    for (const char *at = data; bytes;) {
        ssize_t put = write(fd, at, bytes);
        if (put <= 0)
            rivals_die("write");
        at += put;
        bytes -= (size_t)put;
    }
}

float *rivals_floats(uint64_t count, float value)
{
    float *data = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    if (!data)
        rivals_die("memory");
    for (uint64_t i = 0; i < count; i++)
        data[i] = value;
    return data;
}

void rivals_serve_parent(int go, int done, bool timed, void (*step)(void *self), void *self)
{
    static double ms[RIVALS_STEPS_MAX];
    int count;
    for (;;) {
        rivals_read(go, &count, sizeof count);
        if (!count)
            return;
        for (int i = 0; i < count; i++) {
            uint64_t start = clock_now_ns();
            step(self);
            ms[i] = (double)(clock_now_ns() - start) / 1e6;
        }
        rivals_write(done, ms, sizeof(double) * (size_t)(timed ? count : 1));
    }
}

void rivals_tune(int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

int rivals_connect(int port, int id)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    rivals_tune(fd);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        rivals_die("connect");
    char who = (char)id;
    rivals_write(fd, &who, 1);
    return fd;
}

void rivals_accept(int listener, int *out_fds)
{
    for (int t = 0; t < rivals_shape.trainers; t++) {
        int fd = accept(listener, NULL, NULL);
        char who;
        rivals_tune(fd);
        rivals_read(fd, &who, 1);
        if (who < 0 || who >= rivals_shape.trainers)
            rivals_die("accept");
        out_fds[(int)who] = fd;
    }
}

static int listen_any(int *out_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t bytes = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0)
        rivals_tune(fd);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &bytes) < 0)
        rivals_die("listen");
    *out_port = ntohs(at.sin_port);
    return fd;
}

static void start_rival(struct rival *rival)
{
    bool toy = rival->ops->toy;
    int ports[RIVALS_MAX] = {0}, listeners[RIVALS_MAX];
    char endpoints[RIVALS_MAX][64];
    const char *list[RIVALS_MAX];
    for (int s = 0; s < rivals_shape.servers; s++) {
        int tell[2];
        if (pipe(tell) < 0)
            rivals_die("pipe");
        if (toy)
            listeners[s] = listen_any(&ports[s]);
        pid_t pid = fork();
        if (pid == 0) {
            (void)prctl(PR_SET_NAME, toy ? "toy_server" : "our_server");
            rival->ops->server(s, toy ? listeners[s] : -1, tell[1]);
            _exit(0);
        }
        rival->pids[rival->pids_count++] = pid;
        if (!toy)
            rivals_read(tell[0], endpoints[s], sizeof endpoints[s]);
        list[s] = endpoints[s];
    }
    for (int t = 0; t < rivals_shape.trainers; t++) {
        int go[2], done[2];
        if (pipe(go) < 0 || pipe(done) < 0)
            rivals_die("pipe");
        pid_t pid = fork();
        if (pid == 0) {
            (void)prctl(PR_SET_NAME, toy ? "toy_trainer" : "our_trainer");
            rival->ops->trainer(t, ports, list, go[0], done[1]);
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
    static double ms[RIVALS_STEPS_MAX];
    double cpu_ms = rival_cpu_ms(rival);
    for (int t = 0; t < rivals_shape.trainers; t++)
        rivals_write(rival->go[t], &steps, sizeof steps);
    for (int t = rivals_shape.trainers - 1; t >= 0; t--)
        rivals_read(rival->done[t], ms, sizeof(double) * (size_t)(t == 0 ? steps : 1));
    for (int i = 0; keep && i < steps; i++)
        rival->ms[rival->ms_count++] = ms[i];
    if (keep)
        rival->cpu_ms += rival_cpu_ms(rival) - cpu_ms;
}

static int end_rival(struct rival *rival)
{
    int zero = 0, failed = 0;
    for (int t = 0; t < rivals_shape.trainers; t++)
        rivals_write(rival->go[t], &zero, sizeof zero);
    for (int p = 0; p < rival->pids_count; p++) {
        int status;
        struct rusage usage;
        if (wait4(rival->pids[p], &status, 0, &usage) < 0 || status)
            failed = 1;
        if (getenv("BENCH_STATS"))
            fprintf(stderr, "%s %s: user %.0f ms, system %.0f ms, %ld + %ld switches, %ld faults\n",
                    rival->ops->name, p < rivals_shape.servers ? "server" : "trainer",
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

int rivals_race(struct rival *rivals, int count, long rounds, long steps)
{
    signal(SIGPIPE, SIG_IGN);
    for (int r = 0; r < count; r++) {
        rivals[r].ms = calloc((size_t)(rounds * steps), sizeof(double));
        if (!rivals[r].ms)
            rivals_die("memory");
        start_rival(&rivals[r]);
        run_rival(&rivals[r], 3, false);
    }
    for (long i = 0; i < rounds; i++)
        for (int r = 0; r < count; r++)
            run_rival(&rivals[r], (int)steps, true);
    int failed = 0;
    for (int r = 0; r < count; r++) {
        failed |= end_rival(&rivals[r]);
        qsort(rivals[r].ms, rivals[r].ms_count, sizeof(double), compare_ms);
    }
    return failed;
}

double rivals_median_ms(const struct rival *rival)
{
    return rival->ms[rival->ms_count / 2];
}

double rivals_least_ms(const struct rival *rival)
{
    return rival->ms[0];
}

void rivals_print(const struct rival *rival)
{
    printf("\"%s\": {\"median_ms\": %.4f, \"min_ms\": %.4f, \"steps\": %zu, \"cpu_ms\": %.1f}, ",
           rival->ops->name, rivals_median_ms(rival), rivals_least_ms(rival), rival->ms_count,
           rival->cpu_ms / (double)rival->ms_count);
}
