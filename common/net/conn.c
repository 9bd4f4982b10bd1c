// SPDX-License-Identifier: Apache-2.0
// A TCP connection over libuv that feeds a session. Input: libuv reads to the address that the
// session wants, so tensor bytes land in their slot. Output: what was queued in a loop turn leaves
// at the end of the turn by write attempts of about WRITE_BYTES each (summed just before, so still
// in the cache); when the socket is full, one uv_write carries the next batch and its callback goes
// on. At most one such batch is inside libuv, so its own unbounded queue never grows. One watchdog
// timer holds all deadlines.
//
// Life: new -> begun -> (finishing ->) closing -> gone. A conn has two handles; its memory goes
// with the close callback of the second. finishing: output leaves, FIN, then the rest of the input
// is read and dropped until the peer closes too (closing at once would make the kernel send RST and
// could destroy what was just written). Owner: the loop thread.
#include "common/net/conn.h"

#include <string.h>
#include <sys/uio.h>

#include "common/base/assert.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/net/conn_inside.h"
#include "common/net/loop.h"
#include "common/net/loop_inside.h"
#include "common/net/sockaddr.h"
#include "common/wire/message.h"

#define WRITE_BYTES (512u << 10)
#define WRITE_PIECES 512                // of one attempt; under IOV_MAX
#define WRITE_ATTEMPTS 16               // then others get their turn
#define FINISH_MS 2000
#define WATCH_MS_MIN 10
#define SLEEP_MS 100                    // a watchdog that is so late slept

_Static_assert(sizeof(uv_buf_t) == sizeof(struct iovec) &&
                   offsetof(uv_buf_t, base) == offsetof(struct iovec, iov_base) &&
                   offsetof(uv_buf_t, len) == offsetof(struct iovec, iov_len),
               "uv_buf_t is an iovec here");

struct conn {
    uv_tcp_t tcp;
    uv_timer_t watch;
    uv_write_t write;
    uv_shutdown_t shutdown;
    int handles;                        // open ones of tcp and watch
    struct loop *loop;
    struct loop_turn flush;
    struct loop_resident resident;
    struct conn_maker maker;
    struct conn_ops ops;
    void *self;
    struct session *session;
    struct conn_options options;
    bool begun, reading, paused, writing, shutting, finishing, closing;
    bool peer_ended;                    // its FIN came
    size_t write_bytes;                 // of the batch inside libuv
    size_t write_left;                  // what libuv had left of it at the last look
    uint64_t opened_ms, heard_ms, progress_ms;
    uint64_t watch_ms, watch_period_ms; // last look of the watchdog, and how often it looks
    uint64_t hello_by_ms, finish_by_ms; // 0 = none
    int64_t opened_wall_s;
    struct err why;
    char peer[SOCKADDR_TEXT_MAX], local[SOCKADDR_TEXT_MAX];
};

static void read_start(struct conn *conn);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out);
static void on_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buf);
static void on_end(struct conn *conn);
static void flush_turn(void *arg);
static bool write_now(struct conn *conn, struct iovec *iov, size_t pieces, size_t bytes);
static void write_later(struct conn *conn);
static void on_write(uv_write_t *req, int status);
static void finish_step(struct conn *conn);
static void on_shutdown(uv_shutdown_t *req, int status);
static void fail(struct conn *conn, int code, const char *what, int uv_code);
static void watch_start(struct conn *conn);
static void on_watch(uv_timer_t *timer);
static void evict(void *arg);
static void on_handle_closed(uv_handle_t *handle);

struct conn *conn_new(struct loop *loop, const struct conn_options *options,
                      const struct conn_maker *maker)
{
    struct conn *conn = mem_calloc(1, sizeof *conn);
    if (!conn)
        return NULL;
    conn->session = session_new(NULL, NULL, &options->session);
    if (!conn->session) {
        mem_free(conn);
        return NULL;
    }
    conn->loop = loop;
    conn->options = *options;
    conn->maker = *maker;
    conn->flush = (struct loop_turn){.run = flush_turn, .arg = conn};
    conn->resident = (struct loop_resident){.evict = evict, .arg = conn};
    (void)uv_tcp_init(loop_uv(loop), &conn->tcp);
    (void)uv_timer_init(loop_uv(loop), &conn->watch);
    conn->tcp.data = conn->watch.data = conn->write.data = conn->shutdown.data = conn;
    conn->handles = 2;
    conn->opened_ms = conn->heard_ms = conn->progress_ms = loop_now_ms(loop);
    conn->opened_wall_s = clock_wall_s();
    loop_move_in(loop, &conn->resident);
    return conn;
}

uv_tcp_t *conn_tcp(struct conn *conn)
{
    return &conn->tcp;
}

int conn_begin(struct conn *conn, struct err *err)
{
    struct sockaddr_storage addr;
    int bytes = sizeof addr;
    int failed = uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&addr, &bytes);
    if (failed)
        return err_set(err, SL_ECLOSED, "%s", uv_strerror(failed));
    (void)sockaddr_format((struct sockaddr *)&addr, conn->peer);
    bool loopback = sockaddr_is_loopback((struct sockaddr *)&addr);
    bytes = sizeof addr;
    if (uv_tcp_getsockname(&conn->tcp, (struct sockaddr *)&addr, &bytes) == 0)
        (void)sockaddr_format((struct sockaddr *)&addr, conn->local);
    int fd = -1;
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0)
        sockaddr_tune(fd, loopback, conn->options.congestion, conn->options.user_timeout_ms);
    conn->begun = true;
    conn->opened_ms = conn->heard_ms = conn->progress_ms = loop_now_ms(conn->loop);
    conn->opened_wall_s = clock_wall_s();
    watch_start(conn);
    read_start(conn);
    return 0;
}

void conn_expect_hello(struct conn *conn, uint32_t ms)
{
    conn->hello_by_ms = loop_now_ms(conn->loop) + ms;
    watch_start(conn);
}

void conn_bind(struct conn *conn, const struct conn_ops *ops, void *self)
{
    conn->ops = *ops;
    conn->self = self;
    session_set_ops(conn->session, &ops->session, self);
}

void *conn_self(const struct conn *conn)
{
    return conn->self;
}

int conn_send_chunk(struct conn *conn, const struct session_chunk *chunk)
{
    if (conn->finishing || conn->closing)
        return SL_ECLOSED;
    int code = session_send_chunk(conn->session, chunk);
    loop_at_turn_end(conn->loop, &conn->flush);
    return code;
}

int conn_send_message(struct conn *conn, const struct frame *header, const struct message *message,
                      struct err *err)
{
    if (conn->finishing || conn->closing)
        return err_set(err, SL_ECLOSED, "%s: the connection is closed", conn->peer);
    int code = session_send_message(conn->session, header, message, err);
    if (code < 0)
        return err_prefix(err, "%s", conn->peer);
    loop_at_turn_end(conn->loop, &conn->flush);
    return 0;
}

int conn_send_plain(struct conn *conn, const struct frame *header, struct err *err)
{
    struct message message = {.type = header->type};
    return conn_send_message(conn, header, &message, err);
}

bool conn_has_room(const struct conn *conn)
{
    return session_has_room(conn->session);
}

void conn_flush(struct conn *conn)
{
    if (!conn->begun || conn->writing || conn->closing)
        return;
    for (int attempt = 0; attempt < WRITE_ATTEMPTS && !conn->closing; attempt++) {
        struct iovec iov[WRITE_PIECES];
        size_t bytes = 0;
        size_t pieces = session_pull_output(conn->session, iov, WRITE_PIECES, WRITE_BYTES, &bytes);
        if (pieces == 0)
            break;
        if (!write_now(conn, iov, pieces, bytes))
            break;
    }
    if (conn->closing)
        return;
    if (session_has_output(conn->session))
        write_later(conn);
    else if (conn->finishing)
        finish_step(conn);
}

void conn_allow(struct conn *conn, uint64_t types)
{
    conn->hello_by_ms = 0;
    session_allow(conn->session, types);
}

void conn_pause(struct conn *conn)
{
    conn->paused = true;
    if (conn->reading && !conn->finishing) {
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
        conn->reading = false;
    }
}

void conn_resume(struct conn *conn)
{
    if (!conn->paused)
        return;
    conn->paused = false;
    conn->heard_ms = loop_now_ms(conn->loop);
    if (conn->begun && !conn->closing)
        read_start(conn);
}

void conn_set_silence(struct conn *conn, uint32_t silence_ms, uint32_t stall_ms)
{
    conn->options.silence_ms = silence_ms;
    conn->options.stall_ms = stall_ms;
    conn->heard_ms = conn->progress_ms = loop_now_ms(conn->loop);
    watch_start(conn);
}

void conn_finish(struct conn *conn, const struct err *why)
{
    if (conn->finishing || conn->closing)
        return;
    if (!conn->begun) {
        conn_close(conn, why);
        return;
    }
    conn->finishing = true;
    conn->why = *why;
    conn->finish_by_ms = loop_now_ms(conn->loop) + FINISH_MS;
    session_stop(conn->session);
    watch_start(conn);
    read_start(conn);
    loop_at_turn_end(conn->loop, &conn->flush);
}

void conn_close(struct conn *conn, const struct err *why)
{
    if (conn->closing)
        return;
    conn->closing = true;
    if (!conn->finishing)
        conn->why = *why;
    session_stop(conn->session);
    loop_forget_turn(conn->loop, &conn->flush);
    uv_close((uv_handle_t *)&conn->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&conn->watch, on_handle_closed);
}

const char *conn_peer(const struct conn *conn)
{
    return conn->peer;
}

const char *conn_local(const struct conn *conn)
{
    return conn->local;
}

uint64_t conn_opened_ms(const struct conn *conn)
{
    return conn->opened_ms;
}

uint64_t conn_heard_ms(const struct conn *conn)
{
    return conn->heard_ms;
}

int64_t conn_opened_wall_s(const struct conn *conn)
{
    return conn->opened_wall_s;
}

void conn_stats(const struct conn *conn, struct session_stats *out)
{
    session_stats(conn->session, out);
}

struct loop *conn_loop(const struct conn *conn)
{
    return conn->loop;
}

static void read_start(struct conn *conn)
{
    if (conn->reading || conn->peer_ended || (conn->paused && !conn->finishing))
        return;
    conn->reading = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) == 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct conn *conn = handle->data;
    void *ptr;
    size_t bytes;
    session_want(conn->session, &ptr, &bytes);
    out->base = ptr;
    out->len = bytes;
}

static void on_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buf)
{
    (void)buf;
    struct conn *conn = stream->data;
    if (bytes == 0 || conn->closing)
        return;
    if (bytes == UV_EOF) {
        on_end(conn);
        return;
    }
    if (bytes < 0) {
        fail(conn, SL_ECLOSED, "the connection broke", (int)bytes);
        return;
    }
    conn->heard_ms = loop_now_ms(conn->loop);
    struct err err = {0};
    if (session_got(conn->session, (size_t)bytes, &err) < 0) {
        err_prefix(&err, "%s", conn->peer);
        conn_close(conn, &err);
    }
}

// The peer closed its side. What was queued for it still leaves: it may only have half closed.
static void on_end(struct conn *conn)
{
    conn->peer_ended = true;
    conn->reading = false;
    (void)uv_read_stop((uv_stream_t *)&conn->tcp);
    if (conn->finishing) {
        finish_step(conn);
        return;
    }
    struct err err = {0};
    if (session_end(conn->session, &err) == 0)
        err_set(&err, SL_ECLOSED, "the peer closed the connection");
    err_prefix(&err, "%s", conn->peer);
    conn_finish(conn, &err);
}

static void flush_turn(void *arg)
{
    conn_flush(arg);
}

// False: the socket takes no more for now, or the connection is closing.
static bool write_now(struct conn *conn, struct iovec *iov, size_t pieces, size_t bytes)
{
    int wrote = uv_try_write((uv_stream_t *)&conn->tcp, (uv_buf_t *)(void *)iov, (unsigned)pieces);
    if (wrote == UV_EAGAIN)
        wrote = 0;
    if (wrote < 0) {
        fail(conn, SL_ECLOSED, "the connection broke", wrote);
        return false;
    }
    if (wrote > 0) {
        conn->progress_ms = loop_now_ms(conn->loop);
        session_wrote(conn->session, (size_t)wrote);
    }
    return (size_t)wrote == bytes;
}

static void write_later(struct conn *conn)
{
    struct iovec iov[WRITE_PIECES];
    size_t bytes = 0;
    size_t pieces = session_pull_output(conn->session, iov, WRITE_PIECES, WRITE_BYTES, &bytes);
    int failed = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, (uv_buf_t *)(void *)iov,
                          (unsigned)pieces, on_write);
    if (failed) {
        fail(conn, SL_ECLOSED, "the connection broke", failed);
        return;
    }
    conn->writing = true;
    conn->write_bytes = conn->write_left = bytes;
}

static void on_write(uv_write_t *req, int status)
{
    struct conn *conn = req->data;
    conn->writing = false;
    if (conn->closing)
        return;
    if (status < 0) {
        fail(conn, SL_ECLOSED, "the connection broke", status);
        return;
    }
    conn->progress_ms = loop_now_ms(conn->loop);
    session_wrote(conn->session, conn->write_bytes);
    conn_flush(conn);
}

// All output is written: say so to the peer, and close when it has said so too.
static void finish_step(struct conn *conn)
{
    if (conn->closing || conn->writing || session_has_output(conn->session))
        return;
    if (conn->peer_ended) {
        conn_close(conn, &conn->why);
        return;
    }
    if (conn->shutting)
        return;
    conn->shutting = true;
    if (uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) < 0)
        conn_close(conn, &conn->why);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct conn *conn = req->data;
    if (status < 0 && !conn->closing)
        conn_close(conn, &conn->why);
}

static void fail(struct conn *conn, int code, const char *what, int uv_code)
{
    struct err err = {0};
    err_set(&err, code, "%s: %s: %s", conn->peer, what, uv_strerror(uv_code));
    conn_close(conn, &err);
}

static void watch_start(struct conn *conn)
{
    if (conn->closing)
        return;
    uint64_t shortest = UINT64_MAX;
    uint64_t now = loop_now_ms(conn->loop);
    if (conn->options.silence_ms)
        shortest = conn->options.silence_ms;
    if (conn->options.stall_ms && conn->options.stall_ms < shortest)
        shortest = conn->options.stall_ms;
    if (conn->hello_by_ms && conn->hello_by_ms - now < shortest)
        shortest = conn->hello_by_ms - now;
    if (conn->finish_by_ms && conn->finish_by_ms - now < shortest)
        shortest = conn->finish_by_ms - now;
    if (shortest == UINT64_MAX) {
        (void)uv_timer_stop(&conn->watch);
        return;
    }
    uint64_t period = shortest / 8 > WATCH_MS_MIN ? shortest / 8 : WATCH_MS_MIN;
    conn->watch_ms = now;
    conn->watch_period_ms = period;
    (void)uv_timer_start(&conn->watch, on_watch, period, period);
}

static void on_watch(uv_timer_t *timer)
{
    struct conn *conn = timer->data;
    uint64_t now = loop_now_ms(conn->loop);
    struct err err = {0};
    // A loop that slept itself (stopped process, long callback) must not blame the peer: what came
    // meanwhile is still unread, because timers run before input. Its sleep is not counted.
    uint64_t slept = now - conn->watch_ms;
    conn->watch_ms = now;
    if (slept > 2 * conn->watch_period_ms + SLEEP_MS) {
        conn->heard_ms += slept;
        conn->progress_ms += slept;
        conn->hello_by_ms += conn->hello_by_ms ? slept : 0;
        conn->finish_by_ms += conn->finish_by_ms ? slept : 0;
        return;
    }
    size_t left = conn->writing ? uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp) : 0;
    if (!session_has_output(conn->session) || left != conn->write_left)
        conn->progress_ms = now;
    conn->write_left = left;
    if (conn->finish_by_ms && now >= conn->finish_by_ms) {
        conn_close(conn, &conn->why);
        return;
    }
    if (conn->hello_by_ms && now >= conn->hello_by_ms)
        err_set(&err, SL_ETIMEOUT, "%s: no hello came within %.1f s", conn->peer,
                (double)(now - conn->opened_ms) / 1000);
    else if (conn->options.silence_ms && conn->begun && !conn->paused && !conn->finishing &&
             now - conn->heard_ms >= conn->options.silence_ms)
        err_set(&err, SL_ETIMEOUT, "%s: nothing was heard for %.1f s", conn->peer,
                (double)(now - conn->heard_ms) / 1000);
    else if (conn->options.stall_ms && now - conn->progress_ms >= conn->options.stall_ms)
        err_set(&err, SL_ETIMEOUT, "%s: took no byte for %.1f s while %zu bytes wait for it",
                conn->peer, (double)(now - conn->progress_ms) / 1000,
                session_output_bytes(conn->session));
    if (err.code)
        conn_close(conn, &err);
}

static void evict(void *arg)
{
    struct err why = {0};
    err_set(&why, SL_ESTOPPED, "%s: the connection was closed on this side",
            ((struct conn *)arg)->peer);
    conn_close(arg, &why);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    if (--conn->handles > 0)
        return;
    loop_move_out(&conn->resident);
    session_drop(conn->session);
    if (conn->begun && conn->ops.on_closed)
        conn->ops.on_closed(conn->self, conn, &conn->why);
    if (conn->maker.gone)
        conn->maker.gone(conn->maker.arg, conn, &conn->why);
    session_free(conn->session);
    mem_free(conn);
}
