// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/net/net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/str.h"
#include "common/wire/message.h"

static int place(void *self, const struct frame *header, void **out_dst, struct err *err)
{
    struct net_fixture_end *end = self;
    if (!end->slot)
        return 0;
    if (header->offset + header->body_bytes > end->slot_bytes)
        return err_set(err, SL_ELIMIT, "beyond the slot");
    *out_dst = end->slot + header->offset;
    return 0;
}

static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err)
{
    (void)err;
    struct net_fixture_end *end = self;
    end->chunks++;
    end->bad += !sound;
    end->bytes += header->body_bytes;
    if (end->stop_at_bytes && end->bytes >= end->stop_at_bytes)
        loop_stop(end->loop);
    return end->on_chunk ? end->on_chunk(end, header, dst) : 0;
}

static void on_abandon(void *self, const struct frame *header, void *dst)
{
    struct net_fixture_end *end = self;
    assert_int_equal(end->closed, end->opened - 1);     // before on_closed
    assert_ptr_equal(dst, end->slot + header->offset);
    end->abandoned++;
}

static int on_message(void *self, const struct frame *header, const struct message *message,
                      struct err *err)
{
    struct net_fixture_end *end = self;
    end->messages++;
    end->last = message->type;
    if (message->type == FRAME_REFUSED)
        (void)snprintf(end->text, sizeof end->text, "%s", message->refused.text);
    if (message->type == FRAME_FATAL)
        (void)snprintf(end->text, sizeof end->text, "%s", message->end.text);
    if (end->stop_at_messages && end->messages == end->stop_at_messages)
        loop_stop(end->loop);
    int code = end->on_message ? end->on_message(end, header, message) : 0;
    return code < 0 ? err_set(err, code, "the handler refused it") : 0;
}

static void on_room(void *self)
{
    struct net_fixture_end *end = self;
    end->rooms++;
    if (end->on_room)
        end->on_room(end);
}

static void on_closed(void *self, struct conn *conn, const struct err *why)
{
    struct net_fixture_end *end = self;
    assert_ptr_equal(end->conn, conn);
    assert_true(why->code < 0 && why->text[0]);
    end->conn = NULL;
    end->closed++;
    end->why = *why;
    if (end->stop_at_closed)
        loop_stop(end->loop);
}

const struct conn_ops net_fixture_ops = {
    .session = {place, on_chunk, on_abandon, on_message, on_room},
    .on_closed = on_closed,
};

static void on_guard(void *arg)
{
    (void)arg;
    fail_msg("the loop did not end within 20 s");
}

struct loop *net_fixture_loop(void)
{
    struct loop *loop = loop_new(NULL);
    assert_non_null(loop);
    return loop;
}

void net_fixture_run(struct loop *loop)
{
    struct loop_timer *guard = loop_timer_new(loop, on_guard, NULL);
    loop_timer_start(guard, 20000, 0);
    loop_run(loop);
    loop_timer_free(guard);
}

static void opened(struct net_fixture_end *end, struct conn *conn)
{
    end->conn = conn;
    end->opened++;
    conn_bind(conn, &net_fixture_ops, end);
    assert_ptr_equal(conn_self(conn), end);
    if (end->on_open)
        end->on_open(end);
    if (end->stop_at_opened)
        loop_stop(end->loop);
}

void net_fixture_accept(void *self, struct conn *conn)
{
    opened(self, conn);
}

void net_fixture_connected(void *self, struct conn *conn)
{
    opened(self, conn);
}

int net_fixture_raw_connect(const char *endpoint)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    addr.sin_port = htons(net_fixture_port(endpoint));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 10};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

void net_fixture_raw_send(int fd, const void *bytes, size_t count)
{
    assert_int_equal(send(fd, bytes, count, MSG_NOSIGNAL), count);
}

size_t net_fixture_raw_recv(int fd, void *bytes, size_t count)
{
    size_t got = 0;
    while (got < count) {
        ssize_t n = recv(fd, (uint8_t *)bytes + got, count - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

void net_fixture_raw_reset(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)close(fd);
}

size_t net_fixture_hello(uint8_t *out, size_t room)
{
    struct session *session = session_new(NULL, NULL, NULL);
    struct message hello = {FRAME_HELLO,
                            .hello = {1, MESSAGE_TRAINER, "", 0, 0, 1, 1, 0, 0, "test"}};
    struct frame header = {0};
    assert_int_equal(session_send_message(session, &header, &hello, NULL), 0);
    struct iovec iov[4];
    size_t bytes = 0, at = 0;
    size_t count = session_pull_output(session, iov, 4, 1u << 20, &bytes);
    assert_true(bytes <= room);
    for (size_t i = 0; i < count; i++) {
        memcpy(out + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    session_free(session);
    return at;
}

uint16_t net_fixture_port(const char *endpoint)
{
    uint64_t port = 0;
    assert_true(str_parse_u64(strrchr(endpoint, ':') + 1, &port));
    return (uint16_t)port;
}
