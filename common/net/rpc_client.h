// SPDX-License-Identifier: Apache-2.0
// Keeps one connection to an endpoint: resolves, connects with back-off, and connects again when it
// was lost, until it is closed. Loop thread only.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/net/conn.h"

struct err;
struct loop;
struct rpc_client;

struct rpc_client_options {
    const char *endpoint;             // numeric or DNS name; copied
    uint32_t connect_timeout_ms;      // until the first connection; 0 = 600 s
    uint32_t reconnect_timeout_ms;    // after a loss; 0 = do not: on_failed comes at the loss
    uint32_t backoff_min_ms;          // 0 = 50
    uint32_t backoff_max_ms;          // 0 = 2000
    struct conn_options conn;
};

struct rpc_client_ops {
    struct conn_ops conn;             // for every connection; on_closed = it was lost
    // TCP is up: send HELLO here.
    void (*on_connected)(void *self, struct conn *conn);
    // An attempt failed, or the connection was lost; the next attempt comes. May be NULL. attempts
    // and waited_ms count from the first attempt or from the loss.
    void (*on_waiting)(void *self, const struct err *why, unsigned attempts, uint64_t waited_ms);
    // Time is over (SL_ETIMEOUT, with the last reason), or a name that cannot be parsed. The client
    // rests until rpc_client_close.
    void (*on_failed)(void *self, const struct err *why);
};

// Starts at once; callbacks come later, never from inside. SL_EINVAL: bad endpoint.
struct rpc_client *rpc_client_new(struct loop *loop, const struct rpc_client_options *options,
                                  const struct rpc_client_ops *ops, void *self, struct err *err);
struct conn *rpc_client_conn(const struct rpc_client *client);      // NULL while not connected
const char *rpc_client_endpoint(const struct rpc_client *client);
// No further attempts, no further callbacks but on_closed of a live connection, which is closed
// with why (conn_finish when finish: queued output leaves first). The object is freed by itself.
void rpc_client_close(struct rpc_client *client, bool finish, const struct err *why);
