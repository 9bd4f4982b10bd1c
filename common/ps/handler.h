// SPDX-License-Identifier: Apache-2.0
// A server's conversation with its clients: session events in, round, peers, apply and replies out.
// Owner: the loop thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/ps/peer.h"
#include "common/ps/serve.h"

struct apply;
struct conn;
struct err;
struct handler;
struct loop;
struct round;
struct shard;
struct state;

struct handler_options {
    struct loop *loop;   // all outlive the handler
    const struct shard *shard;
    struct state *state;
    struct round *round;
    struct apply *apply;
    const struct serve_options *serve;   // deadlines, origin, callbacks
    uint64_t topology;
    uint32_t frame_bytes;   // of replies
    // The end: 0 (every trainer has completed, every connection is closed) or why->code.
    void (*on_end)(void *self, const struct err *why);
    void *self;
};

struct handler *handler_new(const struct handler_options *options);
// After the loop has closed every connection.
void handler_free(struct handler *handler);
// rpc_server_on_accept with self = the handler.
void handler_accept(void *self, struct conn *conn);
// Every so often (a few times a second): deadlines, heartbeats, who is waited for.
void handler_tick(struct handler *handler);
// Tells every client why (FATAL) and ends. Idempotent: the first reason counts.
void handler_fail(struct handler *handler, const struct err *why);
void handler_stats(const struct handler *handler, struct serve_stats *out);
