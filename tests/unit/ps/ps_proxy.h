// SPDX-License-Identifier: Apache-2.0
// A chaos proxy that knows our frames: between trainers and one server on loopback, each way a
// thread. It cuts connections, drops and repeats frames and flips bits of tensor bytes, by a seed,
// each fault at most a given number of times.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/wire/frame.h"

enum proxy_fault { PROXY_CUT, PROXY_DROP, PROXY_REPEAT, PROXY_FLIP, PROXY_FAULTS };

struct proxy {
    int listener;
    char endpoint[32];
    struct sockaddr_in upstream;
    atomic_int left[PROXY_FAULTS];   // how many more of each
    int one_in;                      // a frame in so many meets a fault
    uint64_t seed;
    atomic_int made[PROXY_FAULTS];
    atomic_bool over;
    pthread_t thread;
};

struct proxy_pipe {
    struct proxy *proxy;
    int from, to;
    uint64_t rng;
    atomic_int *ends;   // of the pair: the second one closes
};

static inline bool proxy_read(int fd, void *data, size_t bytes)
{
    for (char *at = data; bytes;) {
        ssize_t got = read(fd, at, bytes);
        if (got <= 0)
            return false;
        at += got;
        bytes -= (size_t)got;
    }
    return true;
}

static inline bool proxy_write(int fd, const void *data, size_t bytes)
{
    for (const char *at = data; bytes;) {
        ssize_t put = send(fd, at, bytes, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        at += put;
        bytes -= (size_t)put;
    }
    return true;
}

// Hello and welcome pass: a job may begin. What fault a frame meets, PROXY_FAULTS for none.
static inline enum proxy_fault proxy_judge(struct proxy_pipe *pipe, const uint8_t *head,
                                           uint32_t body)
{
    struct proxy *proxy = pipe->proxy;
    if (head[6] <= FRAME_PROGRESS || rng_next_u64(&pipe->rng) % (uint64_t)proxy->one_in)
        return PROXY_FAULTS;
    enum proxy_fault fault = (enum proxy_fault)(rng_next_u64(&pipe->rng) % PROXY_FAULTS);
    bool raw = frame_type_is_raw((enum frame_type)head[6]);
    if ((fault == PROXY_FLIP && (!raw || !body)) || atomic_fetch_sub(&proxy->left[fault], 1) <= 0)
        return PROXY_FAULTS;
    atomic_fetch_add(&proxy->made[fault], 1);
    return fault;
}

static inline void *proxy_pump(void *arg)
{
    struct proxy_pipe *pipe = arg;
    uint8_t *frame = malloc(FRAME_HEADER_BYTES + LIMIT_FRAME_BODY_BYTES);
    while (frame && proxy_read(pipe->from, frame, FRAME_HEADER_BYTES)) {
        uint32_t body = (uint32_t)frame[8] | (uint32_t)frame[9] << 8 | (uint32_t)frame[10] << 16 |
                        (uint32_t)frame[11] << 24;
        if (body > LIMIT_FRAME_BODY_BYTES ||
            !proxy_read(pipe->from, frame + FRAME_HEADER_BYTES, body))
            break;
        size_t bytes = FRAME_HEADER_BYTES + body;
        enum proxy_fault fault = proxy_judge(pipe, frame, body);
        if (fault == PROXY_DROP)
            continue;
        if (fault == PROXY_FLIP)
            frame[FRAME_HEADER_BYTES + rng_next_u64(&pipe->rng) % body] ^= 0x10;
        if (fault == PROXY_CUT) {
            (void)proxy_write(pipe->to, frame, bytes / 2);
            break;
        }
        if (!proxy_write(pipe->to, frame, bytes) ||
            (fault == PROXY_REPEAT && !proxy_write(pipe->to, frame, bytes)))
            break;
    }
    free(frame);
    (void)shutdown(pipe->from, SHUT_RDWR);
    (void)shutdown(pipe->to, SHUT_RDWR);
    if (atomic_fetch_add(pipe->ends, 1) == 1) {
        close(pipe->from);
        close(pipe->to);
        free(pipe->ends);
    }
    free(pipe);
    return NULL;
}

static inline void *proxy_main(void *arg)
{
    struct proxy *proxy = arg;
    for (;;) {
        int down = accept(proxy->listener, NULL, NULL);
        if (down < 0 || atomic_load(&proxy->over)) {
            close(down);
            return NULL;
        }
        int up = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(up, (struct sockaddr *)&proxy->upstream, sizeof proxy->upstream) < 0) {
            close(up);
            close(down);
            continue;
        }
        atomic_int *ends = calloc(1, sizeof *ends);
        for (int way = 0; way < 2; way++) {
            struct proxy_pipe *pipe = calloc(1, sizeof *pipe);
            pthread_t thread;
            *pipe = (struct proxy_pipe){.proxy = proxy,
                                        .from = way ? up : down,
                                        .to = way ? down : up,
                                        .rng = proxy->seed++,
                                        .ends = ends};
            pthread_create(&thread, NULL, proxy_pump, pipe);
            pthread_detach(thread);
        }
    }
}

// endpoint "127.0.0.1:port" of the server.
static inline void proxy_start(struct proxy *proxy, const char *endpoint, uint64_t seed, int one_in)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t bytes = sizeof at;
    memset(proxy, 0, sizeof *proxy);
    proxy->upstream = at;
    uint64_t port = 0;
    (void)str_parse_u64(strrchr(endpoint, ':') + 1, &port);
    proxy->upstream.sin_port = htons((uint16_t)port);
    proxy->upstream.sin_addr.s_addr = at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    proxy->seed = seed;
    proxy->one_in = one_in;
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(proxy->listener, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(proxy->listener, 16) < 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&at, &bytes) < 0)
        abort();
    snprintf(proxy->endpoint, sizeof proxy->endpoint, "127.0.0.1:%d", ntohs(at.sin_port));
    pthread_create(&proxy->thread, NULL, proxy_main, proxy);
}

static inline void proxy_stop(struct proxy *proxy)
{
    atomic_store(&proxy->over, true);
    (void)shutdown(proxy->listener, SHUT_RDWR);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
}
