// SPDX-License-Identifier: Apache-2.0
// One TCP connection that feeds a session. Made by rpc_server and rpc_client only; all calls and
// callbacks on the loop thread. Bytes are read straight to where session_ops.place says; queued
// output leaves at the end of the loop turn in few large writes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/session.h"

struct conn;
struct err;
struct loop;
struct message;

struct conn_ops {
    struct session_ops session;
    // Last call for this connection, exactly once, also after conn_close; conn is gone after it
    // returns. why->code: SL_ECLOSED (peer closed in order: text says so), SL_ETIMEOUT, SL_EFORMAT,
    // SL_EIO, ... or what conn_close was given. The text names the peer.
    void (*on_closed)(void *self, struct conn *conn, const struct err *why);
};

struct conn_options {
    // TCP_CONGESTION; NULL = "cubic" on loopback, the system's elsewhere; "" = the system's.
    const char *congestion;
    // No byte from the peer for so long: SL_ETIMEOUT. 0 = never. Not while paused.
    uint32_t silence_ms;
    // Output waits and the peer takes no byte for so long: SL_ETIMEOUT. 0 = never.
    uint32_t stall_ms;
    uint32_t user_timeout_ms;         // TCP_USER_TIMEOUT. 0 = system's
    struct session_options session;
};

// Who listens to this connection from now on.
void conn_bind(struct conn *conn, const struct conn_ops *ops, void *self);
void *conn_self(const struct conn *conn);
// As session_send_*; after conn_close or conn_finish: SL_ECLOSED.
int conn_send_chunk(struct conn *conn, const struct session_chunk *chunk);
int conn_send_message(struct conn *conn, const struct frame *header, const struct message *message,
                      struct err *err);
// A message without fields (SEND_BARRIER, ...).
int conn_send_plain(struct conn *conn, const struct frame *header, struct err *err);
bool conn_has_room(const struct conn *conn);
void conn_flush(struct conn *conn);                     // now, not at the end of the turn
void conn_allow(struct conn *conn, uint64_t types);     // session_allow; ends the hello deadline
void conn_pause(struct conn *conn);                     // stop reading (TCP pushes back)
void conn_resume(struct conn *conn);
void conn_set_silence(struct conn *conn, uint32_t silence_ms, uint32_t stall_ms);
// Write what is queued, then close (within 2 s); nothing is read any more. why as in on_closed.
void conn_finish(struct conn *conn, const struct err *why);
// Close now. on_closed comes later in this turn or the next, never from inside this call.
void conn_close(struct conn *conn, const struct err *why);

const char *conn_peer(const struct conn *conn);         // "127.0.0.1:51120"
const char *conn_local(const struct conn *conn);
uint64_t conn_opened_ms(const struct conn *conn);       // loop_now_ms
uint64_t conn_heard_ms(const struct conn *conn);        // when the last byte came
int64_t conn_opened_wall_s(const struct conn *conn);    // for "here since 20:14:03"
void conn_stats(const struct conn *conn, struct session_stats *out);
struct loop *conn_loop(const struct conn *conn);
