// SPDX-License-Identifier: Apache-2.0
// How fast bytes move through session + conn, beside plain blocking sockets with the same traffic
// in the same run: T trainer processes each push BYTES to S server processes (a share each); when
// all have come a server sends its share of BYTES back to every trainer. No arithmetic. Prints a
// table of the median and least time of ROUNDS rounds; both ways of moving alternate. Usage:
// net_speed [MiB [trainers [servers [chunk KiB]]]]
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/net/loop.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_server.h"
#include "common/wire/checksum.h"
#include "common/wire/message.h"

#define ROUNDS 20
#define WARM_UP 2
#define PEERS_MAX 8

static size_t total_bytes = 64u << 20;
static size_t trainers = 2, servers = 2;
static uint32_t chunk_bytes = FRAME_CHUNK_BYTES;

struct peer {
    struct conn *conn;
    uint8_t *slot;                  // where its bytes come
    size_t got, sent;
    unsigned rounds;
};

struct node {
    struct loop *loop;
    bool serving;
    size_t peers_count, share;
    struct peer peers[PEERS_MAX];
    uint8_t *bytes;                 // what it sends
    uint64_t *hashes;
    unsigned arrived, round;
    uint64_t started_ns;
    double *times;                  // trainer 0: milliseconds a round, shared memory
};

static struct node node;            // one a process

static void die(const char *what, const struct err *err)
{
    (void)fprintf(stderr, "net_speed: %s: %s\n", what, err ? err->text : "failed");
    _exit(1);
}

static void fill(struct peer *peer)
{
    while (peer->sent < node.share) {
        size_t left = node.share - peer->sent;
        struct session_chunk chunk = {
            .header = {.type = node.serving ? FRAME_DATA : FRAME_PUSH, .offset = peer->sent},
            .body = node.bytes + (node.serving ? 0 : (size_t)(peer - node.peers) * node.share) +
                    peer->sent,
            .body_bytes = left < chunk_bytes ? (uint32_t)left : chunk_bytes,
            .hash_cell = node.serving ? &node.hashes[peer->sent / chunk_bytes] : NULL,
        };
        if (conn_send_chunk(peer->conn, &chunk) < 0)
            return;
        peer->sent += chunk.body_bytes;
    }
}

static void start_round(void)
{
    node.arrived = 0;
    node.started_ns = clock_now_ns();
    for (size_t i = 0; i < node.peers_count; i++) {
        node.peers[i].sent = node.peers[i].got = 0;
        fill(&node.peers[i]);
    }
}

static int place(void *self, const struct frame *header, void **out_dst, struct err *err)
{
    struct peer *peer = self;
    if (header->offset + header->body_bytes > node.share)
        return err_set(err, SL_ELIMIT, "offset %llu", (unsigned long long)header->offset);
    *out_dst = peer->slot + header->offset;
    return 0;
}

static void all_arrived(void)
{
    if (node.serving) {
        memset(node.hashes, 0, (node.share / chunk_bytes + 1) * sizeof *node.hashes);
        start_round();
        return;
    }
    if (node.times)
        node.times[node.round] = (double)(clock_now_ns() - node.started_ns) / 1e6;
    if (++node.round < ROUNDS)
        start_round();
    else
        loop_stop(node.loop);
}

static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err)
{
    (void)dst;
    struct peer *peer = self;
    if (!sound)
        return err_set(err, SL_ECORRUPT, "chunk");
    peer->got += header->body_bytes;
    if (peer->got == node.share) {
        peer->got = 0;
        if (++node.arrived == (node.serving ? trainers : servers))
            all_arrived();
    }
    return 0;
}

static int on_message(void *self, const struct frame *header, const struct message *message,
                      struct err *err)
{
    (void)self, (void)header, (void)message, (void)err;
    return 0;
}

static void on_room(void *self)
{
    fill(self);
}

static void on_closed(void *self, struct conn *conn, const struct err *why)
{
    (void)self, (void)conn;
    if (!node.serving)
        die("trainer", why);
    if (why->code != SL_ECLOSED)
        die("server", why);
    if (--node.peers_count == 0)
        loop_stop(node.loop);
}

static const struct conn_ops conn_ops = {
    .session = {.place = place, .on_chunk = on_chunk, .on_message = on_message, .on_room = on_room},
    .on_closed = on_closed,
};

static void on_accept(void *self, struct conn *conn)
{
    struct peer *peer = &node.peers[node.peers_count++];
    *peer = (struct peer){.conn = conn, .slot = mem_alloc_aligned(node.share)};
    memset(peer->slot, 1, node.share);
    conn_bind(conn, &conn_ops, peer);
    conn_allow(conn, FRAME_ALL);
    (void)self;
}

static void on_connected(void *self, struct conn *conn)
{
    ((struct peer *)self)->conn = conn;
    if (++node.arrived == node.peers_count)
        start_round();
}

static void on_failed(void *self, const struct err *why)
{
    (void)self;
    die("trainer", why);
}

static uint8_t *filled(size_t bytes)
{
    uint8_t *data = mem_alloc_aligned(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 7 + 3);
    return data;
}

static void conn_server(int report)
{
    struct err err = {0};
    node.serving = true;
    node.share = total_bytes / servers;
    node.bytes = filled(node.share);
    node.hashes = mem_must_calloc(node.share / chunk_bytes + 1, sizeof *node.hashes);
    node.loop = loop_new(&err);
    struct rpc_server_options options = {.endpoint = "127.0.0.1:0"};
    struct rpc_server *server = rpc_server_new(node.loop, &options, on_accept, NULL, &err);
    if (!server)
        die("listen", &err);
    char text[64] = "";
    (void)snprintf(text, sizeof text, "%s", rpc_server_endpoint(server));
    if (write(report, text, sizeof text) != sizeof text)
        die("report", NULL);
    node.peers_count = 0;
    loop_run(node.loop);
    rpc_server_close(server);
    loop_free(node.loop);
}

static void conn_trainer(char endpoints[][64], double *times)
{
    struct err err = {0};
    node.share = total_bytes / servers;
    node.bytes = filled(total_bytes);
    node.times = times;
    node.loop = loop_new(&err);
    node.peers_count = servers;
    struct rpc_client_ops ops = {
        .conn = conn_ops, .on_connected = on_connected, .on_failed = on_failed};
    for (size_t i = 0; i < servers; i++) {
        node.peers[i].slot = mem_alloc_aligned(node.share);
        memset(node.peers[i].slot, 1, node.share);
        struct rpc_client_options options = {.endpoint = endpoints[i]};
        if (!rpc_client_new(node.loop, &options, &ops, &node.peers[i], &err))
            die("connect", &err);
    }
    loop_run(node.loop);
    _exit(0);
}

// Before connect and listen: a socket that was connected under bbr keeps its pacing.
static void tune(int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

static void send_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes) {
        ssize_t wrote = write(fd, data, bytes < (1u << 20) ? bytes : 1u << 20);
        if (wrote <= 0)
            die("raw write", NULL);
        data += wrote;
        bytes -= (size_t)wrote;
    }
}

static void recv_all(int fd, uint8_t *data, size_t bytes)
{
    while (bytes) {
        ssize_t got = read(fd, data, bytes < (1u << 20) ? bytes : 1u << 20);
        if (got <= 0)
            die("raw read", NULL);
        data += got;
        bytes -= (size_t)got;
    }
}

static void raw_server(int report)
{
    size_t share = total_bytes / servers;
    uint8_t *data = filled(share);
    uint8_t *slot = filled(share);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof addr;
    tune(listener);
    if (bind(listener, (void *)&addr, sizeof addr) || listen(listener, 8) ||
        getsockname(listener, (void *)&addr, &bytes))
        die("raw listen", NULL);
    char text[64] = "";
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)ntohs(addr.sin_port));
    if (write(report, text, sizeof text) != sizeof text)
        die("report", NULL);
    int fds[PEERS_MAX];
    for (size_t i = 0; i < trainers; i++) {
        fds[i] = accept(listener, NULL, NULL);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < trainers; i++)
            recv_all(fds[i], slot, share);
        for (size_t i = 0; i < trainers; i++)
            send_all(fds[i], data, share);
    }
}

static void raw_trainer(char endpoints[][64], double *times)
{
    size_t share = total_bytes / servers;
    uint8_t *data = filled(total_bytes);
    uint8_t *slot = filled(total_bytes);
    int fds[PEERS_MAX];
    for (size_t i = 0; i < servers; i++) {
        struct sockaddr_in addr = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        uint64_t port = 0;
        (void)str_parse_u64(strchr(endpoints[i], ':') + 1, &port);
        addr.sin_port = htons((uint16_t)port);
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        tune(fds[i]);
        if (connect(fds[i], (void *)&addr, sizeof addr))
            die("raw connect", NULL);
    }
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_now_ns();
        for (size_t i = 0; i < servers; i++)
            send_all(fds[i], data + i * share, share);
        for (size_t i = 0; i < servers; i++)
            recv_all(fds[i], slot + i * share, share);
        if (times)
            times[round] = (double)(clock_now_ns() - start) / 1e6;
    }
    _exit(0);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cpu_ms(void)
{
    struct rusage used;
    (void)getrusage(RUSAGE_CHILDREN, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

// Runs one way of moving; its median round in ms, the least in *out_min, and the processor time of
// all processes a round (start included) in *out_cpu.
static double run(void (*server)(int), void (*trainer)(char (*)[64], double *), double *out_min,
                  double *out_cpu)
{
    double cpu_before = cpu_ms();
    double *times = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char endpoints[PEERS_MAX][64];
    for (size_t i = 0; i < servers; i++) {
        int fds[2];
        if (pipe(fds))
            die("pipe", NULL);
        if (fork() == 0) {
            server(fds[1]);
            _exit(0);
        }
        if (read(fds[0], endpoints[i], sizeof endpoints[i]) != sizeof endpoints[i])
            die("no endpoint", NULL);
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
    for (size_t i = 0; i < trainers; i++)
        if (fork() == 0)
            trainer(endpoints, i == 0 ? times : NULL);
    for (size_t i = 0; i < servers + trainers; i++) {
        int status = 0;
        (void)wait(&status);
        if (status)
            die("a process", NULL);
    }
    qsort(times + WARM_UP, ROUNDS - WARM_UP, sizeof *times, by_value);
    double median = times[WARM_UP + (ROUNDS - WARM_UP) / 2];
    *out_min = times[WARM_UP];
    *out_cpu = (cpu_ms() - cpu_before) / ROUNDS;
    (void)munmap(times, 4096);
    return median;
}

static void measure_checksum(void)
{
    uint8_t *data = filled(1u << 20);
    uint64_t sum = 0, start = clock_now_ns();
    for (int i = 0; i < 2000; i++) {
        data[i]++;
        sum += checksum_of(data, 1u << 20);
    }
    double seconds = (double)(clock_now_ns() - start) / 1e9;
    printf("checksum (%s) of 1 MiB in cache: %.1f GB/s (%d)\n", checksum_engine(),
           2000.0 * (1u << 20) / seconds / 1e9, (int)(sum & 1));
    mem_free(data);
}

int main(int argc, char **argv)
{
    uint64_t numbers[4] = {64, 2, 2, FRAME_CHUNK_BYTES >> 10};
    for (int i = 1; i < argc && i <= 4; i++)
        if (!str_parse_u64(argv[i], &numbers[i - 1]) || numbers[i - 1] == 0)
            die("arguments", NULL);
    total_bytes = (size_t)numbers[0] << 20;
    trainers = numbers[1];
    servers = numbers[2];
    chunk_bytes = (uint32_t)numbers[3] << 10;
    ASSERT(trainers <= PEERS_MAX && servers <= PEERS_MAX && chunk_bytes <= LIMIT_FRAME_BODY_BYTES);
    measure_checksum();
    printf("%llu MiB pushed and pulled, %zu trainers, %zu servers, chunks of %u KiB\n",
           (unsigned long long)numbers[0], trainers, servers, chunk_bytes >> 10);
    double moved = 2.0 * (double)total_bytes * (double)trainers / 1e6;
    for (int repeat = 0; repeat < 3; repeat++) {
        double raw_min, conn_min, raw_cpu, conn_cpu;
        double raw = run(raw_server, raw_trainer, &raw_min, &raw_cpu);
        double conn = run(conn_server, conn_trainer, &conn_min, &conn_cpu);
        printf("sockets %6.1f ms (min %6.1f, cpu %6.1f, %.2f GB/s)   "
               "sluice %6.1f ms (min %6.1f, cpu %6.1f, %.2f GB/s)   ratio %.2f, cpu %.2f\n",
               raw, raw_min, raw_cpu, moved / raw, conn, conn_min, conn_cpu, moved / conn,
               conn / raw, conn_cpu / raw_cpu);
        (void)fflush(stdout);
    }
    return 0;
}
