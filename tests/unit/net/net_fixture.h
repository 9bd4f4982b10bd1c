// SPDX-License-Identifier: Apache-2.0
// What the net tests share: a loop that gives up after a while, an `end` that writes down what
// happens to a connection, and raw blocking sockets that play peers of all kinds.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/net/conn.h"
#include "common/net/loop.h"

struct net_fixture_end {
    struct loop *loop;
    struct conn *conn;              // NULL before and after
    struct err why;                 // why it closed
    unsigned opened, closed;        // connections
    unsigned messages, chunks, bad, abandoned, rooms;
    enum frame_type last;           // type of the last message
    char text[1100];                // its text, for REFUSED and FATAL
    uint8_t *slot;                  // PUSH and DATA go here by offset; NULL = drained
    size_t slot_bytes;
    unsigned stop_at_messages;      // loop_stop when so many came (0 = never)
    size_t stop_at_bytes, bytes;    // loop_stop when so many bytes of chunks came
    bool stop_at_closed, stop_at_opened;
    int (*on_message)(struct net_fixture_end *end, const struct frame *header,
                      const struct message *message);
    int (*on_chunk)(struct net_fixture_end *end, const struct frame *header, void *dst);
    void (*on_room)(struct net_fixture_end *end);
    void (*on_open)(struct net_fixture_end *end);
    void *user;
};

extern const struct conn_ops net_fixture_ops;       // self is a struct net_fixture_end

struct loop *net_fixture_loop(void);                // a new one
void net_fixture_run(struct loop *loop);   // until loop_stop; a failed assertion after 20 s
void net_fixture_accept(void *self, struct conn *conn);   // rpc_server_on_accept with self = end
void net_fixture_connected(void *self, struct conn *conn);      // rpc_client_ops.on_connected

int net_fixture_raw_connect(const char *endpoint);  // blocking socket with a 10 s limit on reads
void net_fixture_raw_send(int fd, const void *bytes, size_t count);
size_t net_fixture_raw_recv(int fd, void *bytes, size_t count);     // until count or the end
void net_fixture_raw_reset(int fd);                 // closes with RST
// The bytes of a HELLO frame; their number.
size_t net_fixture_hello(uint8_t *out, size_t room);
uint16_t net_fixture_port(const char *endpoint);
