// SPDX-License-Identifier: Apache-2.0
// Listens on an endpoint and makes a conn of each peer. Loop thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/net/conn.h"

struct err;
struct loop;
struct rpc_server;

struct rpc_server_options {
    const char *endpoint;             // "127.0.0.1:6174", "[::1]:0"; port 0 = any free one
    bool insecure;                    // allow an address beyond loopback
    size_t connections_max;           // 0 = LIMIT_CONNECTIONS; one more peer is closed at once
    uint32_t hello_timeout_ms;        // from accept to conn_allow; 0 = 10 s
    struct conn_options conn;         // session.allow 0 here = HELLO only
};

// A peer is there: call conn_bind inside. Its conn_ops speak from then on.
typedef void (*rpc_server_on_accept)(void *self, struct conn *conn);

// Binds and listens now. SL_EREFUSED: beyond loopback without insecure; SL_EBUSY: address in use,
// the text says by which pid and program when that can be seen; SL_EINVAL: bad endpoint; SL_ENOENT:
// host does not resolve.
struct rpc_server *rpc_server_new(struct loop *loop, const struct rpc_server_options *options,
                                  rpc_server_on_accept on_accept, void *self, struct err *err);
const char *rpc_server_endpoint(const struct rpc_server *server);    // as bound: "127.0.0.1:43117"
size_t rpc_server_connections(const struct rpc_server *server);
// How many peers were turned away (cap reached), and how many sockets could not be accepted
// (EMFILE, ...).
uint64_t rpc_server_rejected(const struct rpc_server *server);
// Stops listening. Connections live on until they are closed; the object is freed after the last.
void rpc_server_close(struct rpc_server *server);
