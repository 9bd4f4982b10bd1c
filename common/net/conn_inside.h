// SPDX-License-Identifier: Apache-2.0
// Inside net only: how rpc_server and rpc_client make connections.
#pragma once

#include <stdint.h>
#include <uv.h>

#include "common/net/conn.h"

// The maker of a connection: told once, after on_closed and before the memory goes (conn_stats
// still works).
struct conn_maker {
    void (*gone)(void *arg, struct conn *conn, const struct err *why);
    void *arg;
};

// Not connected yet; NULL without memory. Whoever made it calls conn_begin or conn_close.
struct conn *conn_new(struct loop *loop, const struct conn_options *options,
                      const struct conn_maker *maker);
uv_tcp_t *conn_tcp(struct conn *conn);
// The socket is connected: names, options, reading. Callbacks only from here on.
int conn_begin(struct conn *conn, struct err *err);
// Close (SL_ETIMEOUT) unless conn_allow comes within ms.
void conn_expect_hello(struct conn *conn, uint32_t ms);
