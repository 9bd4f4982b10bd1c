// SPDX-License-Identifier: Apache-2.0
// The connecting side: resolve -> try each address -> (connected -> lost ->) back off -> resolve
// ... Time is counted from the first attempt, and from a loss, until a connection has brought a
// valid frame: a server that accepts and closes at once does not keep us trying for ever. The
// object lives until its timer, its look-up and its connection are gone. Owner: the loop thread.
#include "common/net/rpc_client.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/config/endpoint.h"
#include "common/net/conn_inside.h"
#include "common/net/loop.h"
#include "common/net/loop_inside.h"
#include "common/net/sockaddr.h"

#define CONNECT_TIMEOUT_MS 600000
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define ATTEMPT_MS 5000                 // for one address that does not answer
#define ADDRESSES_MAX 16

enum rpc_client_state {
    STATE_RESOLVING,
    STATE_CONNECTING,
    STATE_CONNECTED,
    STATE_WAITING,
    STATE_FAILED
};

struct rpc_client {
    uv_timer_t timer;                   // back-off, or the limit of an attempt
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    struct loop *loop;
    struct loop_resident resident;
    struct rpc_client_options options;
    struct rpc_client_ops ops;
    void *self;
    struct endpoint endpoint;
    char name[ENDPOINT_TEXT_MAX];
    enum rpc_client_state state;
    struct sockaddr_storage addresses[ADDRESSES_MAX];
    size_t addresses_count, address;
    struct conn *conn;                  // while connecting or connected
    struct err why;                     // of the last attempt
    uint64_t since_ms, limit_ms;        // the current wait
    uint64_t backoff_ms;
    unsigned attempts;
    bool looking_up, timer_open, closing;
};

static void resolve(struct rpc_client *client);
static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *found);
static void connect_next(struct rpc_client *client);
static int open_socket(struct rpc_client *client, const struct sockaddr *addr);
static void on_connect(uv_connect_t *req, int status);
static bool is_self(const struct conn *conn);
static void attempt_failed(struct rpc_client *client);
static void back_off(struct rpc_client *client);
static uint64_t time_left(const struct rpc_client *client);
static void give_up(struct rpc_client *client);
static void on_timer(uv_timer_t *timer);
static void on_gone(void *arg, struct conn *conn, const struct err *why);
static void evict(void *arg);
static void on_timer_closed(uv_handle_t *handle);
static void free_when_idle(struct rpc_client *client);

struct rpc_client *rpc_client_new(struct loop *loop, const struct rpc_client_options *options,
                                  const struct rpc_client_ops *ops, void *self, struct err *err)
{
    struct endpoint endpoint;
    if (endpoint_parse(options->endpoint, &endpoint, err) < 0)
        return NULL;
    if (endpoint.port == 0) {
        err_set(err, SL_EINVAL, "%s: port 0 cannot be connected to", options->endpoint);
        return NULL;
    }
    struct rpc_client *client = MEM_NEW(struct rpc_client);
    client->loop = loop;
    client->options = *options;
    client->options.endpoint = NULL;
    if (!client->options.connect_timeout_ms)
        client->options.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    if (!client->options.backoff_min_ms)
        client->options.backoff_min_ms = BACKOFF_MIN_MS;
    if (!client->options.backoff_max_ms)
        client->options.backoff_max_ms = BACKOFF_MAX_MS;
    client->ops = *ops;
    client->self = self;
    client->endpoint = endpoint;
    endpoint_format(&endpoint, client->name);
    client->since_ms = loop_now_ms(loop);
    client->limit_ms = client->options.connect_timeout_ms;
    client->backoff_ms = client->options.backoff_min_ms;
    (void)uv_timer_init(loop_uv(loop), &client->timer);
    client->timer.data = client->lookup.data = client->connect.data = client;
    client->timer_open = true;
    client->resident = (struct loop_resident){.evict = evict, .arg = client};
    loop_move_in(loop, &client->resident);
    client->state = STATE_WAITING;
    (void)uv_timer_start(&client->timer, on_timer, 0, 0);
    return client;
}

struct conn *rpc_client_conn(const struct rpc_client *client)
{
    return client->state == STATE_CONNECTED ? client->conn : NULL;
}

const char *rpc_client_endpoint(const struct rpc_client *client)
{
    return client->name;
}

void rpc_client_close(struct rpc_client *client, bool finish, const struct err *why)
{
    if (!client || client->closing)
        return;
    client->closing = true;
    if (client->conn && client->state == STATE_CONNECTED && finish)
        conn_finish(client->conn, why);
    else if (client->conn)
        conn_close(client->conn, why);
    if (client->looking_up)
        (void)uv_cancel((uv_req_t *)&client->lookup);
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}

static void resolve(struct rpc_client *client)
{
    client->attempts++;
    client->address = 0;
    client->addresses_count = 0;
    if (sockaddr_parse(client->endpoint.host, client->endpoint.port, &client->addresses[0])) {
        client->addresses_count = 1;
        connect_next(client);
        return;
    }
    client->state = STATE_RESOLVING;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int failed = uv_getaddrinfo(loop_uv(client->loop), &client->lookup, on_lookup,
                                client->endpoint.host, NULL, &hints);
    if (failed) {
        err_set(&client->why, SL_ENOENT, "%s: %s", client->name, uv_strerror(failed));
        back_off(client);
        return;
    }
    client->looking_up = true;
    (void)uv_timer_start(&client->timer, on_timer, time_left(client), 0);
}

// May come after its time: the client has given up then.
static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct rpc_client *client = req->data;
    client->looking_up = false;
    bool late = client->state != STATE_RESOLVING;
    for (const struct addrinfo *info = found;
         info && status == 0 && client->addresses_count < ADDRESSES_MAX; info = info->ai_next) {
        if (info->ai_addrlen > sizeof client->addresses[0])
            continue;
        struct sockaddr_storage *addr = &client->addresses[client->addresses_count++];
        memset(addr, 0, sizeof *addr);
        memcpy(addr, info->ai_addr, info->ai_addrlen);
        sockaddr_set_port((struct sockaddr *)addr, client->endpoint.port);
    }
    uv_freeaddrinfo(found);
    if (client->closing) {
        free_when_idle(client);
    } else if (late) {
        return;
    } else if (client->addresses_count == 0) {
        err_set(&client->why, SL_ENOENT, "%s: %s", client->name,
                status ? uv_strerror(status) : "the name has no address");
        back_off(client);
    } else {
        connect_next(client);
    }
}

static void connect_next(struct rpc_client *client)
{
    const struct sockaddr_storage *addr = &client->addresses[client->address++];
    struct conn_maker maker = {.gone = on_gone, .arg = client};
    client->state = STATE_CONNECTING;
    client->conn = conn_new(client->loop, &client->options.conn, &maker);
    if (!client->conn) {
        err_set(&client->why, SL_ENOMEM, "%s: no memory for a connection", client->name);
        back_off(client);
        return;
    }
    int failed = open_socket(client, (const struct sockaddr *)addr);
    if (!failed)
        failed = uv_tcp_connect(&client->connect, conn_tcp(client->conn),
                                (const struct sockaddr *)addr, on_connect);
    if (failed) {
        err_set(&client->why, SL_ECLOSED, "%s: %s", client->name, uv_strerror(failed));
        conn_close(client->conn, &client->why);
        return;
    }
    uint64_t left = time_left(client);
    (void)uv_timer_start(&client->timer, on_timer, left < ATTEMPT_MS ? left + 1 : ATTEMPT_MS, 0);
}

// A congestion control that paces (bbr) leaves its pacing behind on a socket that was connected
// with it, so ours is chosen before.
static int open_socket(struct rpc_client *client, const struct sockaddr *addr)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    const struct conn_options *options = &client->options.conn;
    sockaddr_tune(fd, sockaddr_is_loopback(addr), options->congestion, options->user_timeout_ms);
    int failed = uv_tcp_open(conn_tcp(client->conn), fd);
    if (failed)
        (void)close(fd);
    return failed;
}

static void on_connect(uv_connect_t *req, int status)
{
    struct rpc_client *client = req->data;
    if (client->closing || status == UV_ECANCELED)
        return;
    (void)uv_timer_stop(&client->timer);
    struct err why = {0};
    if (status < 0)
        err_set(&why, SL_ECLOSED, "%s: %s", client->name, uv_strerror(status));
    else if (is_self(client->conn))
        err_set(&why, SL_ECLOSED, "%s: %s", client->name, uv_strerror(UV_ECONNREFUSED));
    if (!why.code) {
        if (conn_begin(client->conn, &why) == 0) {
            client->state = STATE_CONNECTED;
            conn_bind(client->conn, &client->ops.conn, client->self);
            client->ops.on_connected(client->self, client->conn);
            return;
        }
        err_prefix(&why, "%s", client->name);
    }
    client->why = why;
    conn_close(client->conn, &client->why);
}

// A connect to a port of the ephemeral range where nobody listens may meet itself.
static bool is_self(const struct conn *conn)
{
    struct sockaddr_storage peer, local;
    int peer_bytes = sizeof peer, local_bytes = sizeof local;
    const uv_tcp_t *tcp = conn_tcp((struct conn *)(uintptr_t)conn);
    return uv_tcp_getpeername(tcp, (struct sockaddr *)&peer, &peer_bytes) == 0 &&
           uv_tcp_getsockname(tcp, (struct sockaddr *)&local, &local_bytes) == 0 &&
           sockaddr_equal((struct sockaddr *)&peer, (struct sockaddr *)&local);
}

// The connection of a failed attempt is gone.
static void attempt_failed(struct rpc_client *client)
{
    if (client->address < client->addresses_count)
        connect_next(client);
    else
        back_off(client);
}

static void back_off(struct rpc_client *client)
{
    uint64_t left = time_left(client);
    if (left == 0) {
        give_up(client);
        return;
    }
    client->state = STATE_WAITING;
    uint64_t pause = client->backoff_ms < left ? client->backoff_ms : left;
    client->backoff_ms *= 2;
    if (client->backoff_ms > client->options.backoff_max_ms)
        client->backoff_ms = client->options.backoff_max_ms;
    (void)uv_timer_start(&client->timer, on_timer, pause, 0);
    if (client->ops.on_waiting)
        client->ops.on_waiting(client->self, &client->why, client->attempts,
                               loop_now_ms(client->loop) - client->since_ms);
}

static uint64_t time_left(const struct rpc_client *client)
{
    uint64_t waited = loop_now_ms(client->loop) - client->since_ms;
    return waited < client->limit_ms ? client->limit_ms - waited : 0;
}

static void give_up(struct rpc_client *client)
{
    client->state = STATE_FAILED;
    struct err why = {0};
    double waited_s = (double)(loop_now_ms(client->loop) - client->since_ms) / 1000;
    if (client->limit_ms == 0)
        why = client->why;
    else
        err_set(&why, SL_ETIMEOUT, "no connection to %s within %.1f s (%u attempts; the last: %s)",
                client->name, waited_s, client->attempts, client->why.text);
    if (client->ops.on_failed)
        client->ops.on_failed(client->self, &why);
}

static void on_timer(uv_timer_t *timer)
{
    struct rpc_client *client = timer->data;
    if (client->state == STATE_WAITING) {
        resolve(client);
    } else if (client->state == STATE_CONNECTING) {
        err_set(&client->why, SL_ETIMEOUT, "%s: it does not answer", client->name);
        conn_close(client->conn, &client->why);
    } else if (client->state == STATE_RESOLVING) {
        err_set(&client->why, SL_ETIMEOUT, "%s: the name service does not answer", client->name);
        give_up(client);
    }
}

static void on_gone(void *arg, struct conn *conn, const struct err *why)
{
    struct rpc_client *client = arg;
    enum rpc_client_state state = client->state;
    client->conn = NULL;
    if (client->closing) {
        free_when_idle(client);
        return;
    }
    if (state == STATE_CONNECTING) {
        attempt_failed(client);
        return;
    }
    struct session_stats stats;
    conn_stats(conn, &stats);
    client->why = *why;
    if (stats.frames_in > 0) {
        client->since_ms = loop_now_ms(client->loop);
        client->limit_ms = client->options.reconnect_timeout_ms;
        client->backoff_ms = client->options.backoff_min_ms;
        client->attempts = 0;
    }
    back_off(client);
}

static void evict(void *arg)
{
    struct rpc_client *client = arg;
    struct err why = {0};
    err_set(&why, SL_ESTOPPED, "%s: the connection was closed on this side", client->name);
    rpc_client_close(client, false, &why);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct rpc_client *client = handle->data;
    client->timer_open = false;
    free_when_idle(client);
}

static void free_when_idle(struct rpc_client *client)
{
    if (client->timer_open || client->looking_up || client->conn)
        return;
    loop_move_out(&client->resident);
    mem_free(client);
}
