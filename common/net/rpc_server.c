// SPDX-License-Identifier: Apache-2.0
// The listening side. Accepts, counts, caps; what a peer says is its conn's and the owner's
// business. The object lives until its listening handle and all its connections are gone. Owner:
// the loop thread.
#include "common/net/rpc_server.h"

#include <netdb.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/config/endpoint.h"
#include "common/net/conn_inside.h"
#include "common/net/loop.h"
#include "common/net/loop_inside.h"
#include "common/net/port_owner.h"
#include "common/net/sockaddr.h"

#define BACKLOG 511
#define HELLO_MS 10000

struct rpc_server {
    uv_tcp_t tcp;
    struct loop *loop;
    struct loop_resident resident;
    struct rpc_server_options options;
    rpc_server_on_accept on_accept;
    void *self;
    char endpoint[SOCKADDR_TEXT_MAX];
    size_t connections;
    uint64_t rejected;
    bool closing, listening;            // listening: the handle is open
};

static int resolve(const struct endpoint *endpoint, struct sockaddr_storage *out, struct err *err);
static int start(struct rpc_server *server, const struct sockaddr *addr, struct err *err);
static int listen_error(const struct sockaddr *addr, int uv_code, struct err *err);
static void on_connection(uv_stream_t *stream, int status);
static void on_gone(void *arg, struct conn *conn, const struct err *why);
static void on_listener_closed(uv_handle_t *handle);
static void evict(void *arg);
static void free_when_idle(struct rpc_server *server);

struct rpc_server *rpc_server_new(struct loop *loop, const struct rpc_server_options *options,
                                  rpc_server_on_accept on_accept, void *self, struct err *err)
{
    struct endpoint endpoint;
    struct sockaddr_storage addr;
    if (endpoint_parse(options->endpoint, &endpoint, err) < 0)
        return NULL;
    if (resolve(&endpoint, &addr, err) < 0)
        return NULL;
    if (!sockaddr_is_loopback((struct sockaddr *)&addr) && !options->insecure) {
        err_set(err, SL_EREFUSED,
                "cannot listen on %s: it is not a loopback address, and peers are not "
                "authenticated yet. Give --insecure if the network is trusted",
                options->endpoint);
        return NULL;
    }
    struct rpc_server *server = MEM_NEW(struct rpc_server);
    server->loop = loop;
    server->options = *options;
    server->options.endpoint = NULL;
    if (!server->options.connections_max)
        server->options.connections_max = LIMIT_CONNECTIONS;
    if (!server->options.hello_timeout_ms)
        server->options.hello_timeout_ms = HELLO_MS;
    if (!server->options.conn.session.allow)
        server->options.conn.session.allow = FRAME_BIT(FRAME_HELLO);
    server->on_accept = on_accept;
    server->self = self;
    server->resident = (struct loop_resident){.evict = evict, .arg = server};
    (void)uv_tcp_init(loop_uv(loop), &server->tcp);
    server->tcp.data = server;
    server->listening = true;
    loop_move_in(loop, &server->resident);
    if (start(server, (struct sockaddr *)&addr, err) < 0) {
        rpc_server_close(server);
        return NULL;
    }
    return server;
}

const char *rpc_server_endpoint(const struct rpc_server *server)
{
    return server->endpoint;
}

size_t rpc_server_connections(const struct rpc_server *server)
{
    return server->connections;
}

uint64_t rpc_server_rejected(const struct rpc_server *server)
{
    return server->rejected;
}

void rpc_server_close(struct rpc_server *server)
{
    if (!server || server->closing)
        return;
    server->closing = true;
    uv_close((uv_handle_t *)&server->tcp, on_listener_closed);
}

// Blocks for a name; numeric addresses do not ask anyone.
static int resolve(const struct endpoint *endpoint, struct sockaddr_storage *out, struct err *err)
{
    if (sockaddr_parse(endpoint->host, endpoint->port, out))
        return 0;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(endpoint->host, NULL, &hints, &found);
    if (failed)
        return err_set(err, SL_ENOENT, "cannot listen on %s:%u: %s", endpoint->host,
                       (unsigned)endpoint->port, gai_strerror(failed));
    const struct addrinfo *best = found;
    for (const struct addrinfo *info = found; info; info = info->ai_next)
        if (info->ai_family == AF_INET) {
            best = info;
            break;
        }
    memset(out, 0, sizeof *out);
    memcpy(out, best->ai_addr, best->ai_addrlen);
    sockaddr_set_port((struct sockaddr *)out, endpoint->port);
    freeaddrinfo(found);
    return 0;
}

static int start(struct rpc_server *server, const struct sockaddr *addr, struct err *err)
{
    int failed = uv_tcp_bind(&server->tcp, addr, 0);
    int fd;
    // Accepted sockets inherit the congestion control; chosen later, bbr's pacing would stay.
    if (!failed && uv_fileno((uv_handle_t *)&server->tcp, &fd) == 0)
        sockaddr_tune(fd, sockaddr_is_loopback(addr), server->options.conn.congestion, 0);
    if (!failed)
        failed = uv_listen((uv_stream_t *)&server->tcp, BACKLOG, on_connection);
    if (failed)
        return listen_error(addr, failed, err);
    struct sockaddr_storage bound;
    int bytes = sizeof bound;
    failed = uv_tcp_getsockname(&server->tcp, (struct sockaddr *)&bound, &bytes);
    if (failed)
        return listen_error(addr, failed, err);
    (void)sockaddr_format((struct sockaddr *)&bound, server->endpoint);
    return 0;
}

static int listen_error(const struct sockaddr *addr, int uv_code, struct err *err)
{
    char text[SOCKADDR_TEXT_MAX], owner[PORT_OWNER_TEXT_MAX];
    (void)sockaddr_format(addr, text);
    switch (uv_code) {
    case UV_EADDRINUSE:
        return err_set(err, SL_EBUSY,
                       "cannot listen on %s: address in use by %s. Choose another "
                       "--current_endpoint or stop it",
                       text, port_owner_find(sockaddr_port(addr), owner));
    case UV_EADDRNOTAVAIL:
        return err_set(err, SL_ENOENT,
                       "cannot listen on %s: this machine has no such address. Check "
                       "--current_endpoint and --pservers",
                       text);
    case UV_EACCES:
        return err_set(err, SL_EREFUSED,
                       "cannot listen on %s: permission denied. Choose a port from 1024 on", text);
    default:
        return err_set(err, SL_EIO, "cannot listen on %s: %s", text, uv_strerror(uv_code));
    }
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct rpc_server *server = stream->data;
    if (status < 0) {
        server->rejected++;
        return;
    }
    struct conn_maker maker = {.gone = on_gone, .arg = server};
    struct conn *conn = conn_new(server->loop, &server->options.conn, &maker);
    if (!conn) {
        server->rejected++;
        return;
    }
    server->connections++;
    struct err why = {0};
    int failed = uv_accept(stream, (uv_stream_t *)conn_tcp(conn));
    if (failed) {
        server->rejected++;
        err_set(&why, SL_EIO, "accept: %s", uv_strerror(failed));
    } else if (server->connections > server->options.connections_max) {
        server->rejected++;
        err_set(&why, SL_ELIMIT, "there are already %zu connections",
                server->options.connections_max);
    } else if (conn_begin(conn, &why) == 0) {
        conn_expect_hello(conn, server->options.hello_timeout_ms);
        server->on_accept(server->self, conn);
        return;
    } else {
        server->rejected++;     // gone before it was accepted
    }
    conn_close(conn, &why);
}

static void on_gone(void *arg, struct conn *conn, const struct err *why)
{
    (void)conn;
    (void)why;
    struct rpc_server *server = arg;
    server->connections--;
    free_when_idle(server);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct rpc_server *server = handle->data;
    server->listening = false;
    free_when_idle(server);
}

static void evict(void *arg)
{
    rpc_server_close(arg);
}

static void free_when_idle(struct rpc_server *server)
{
    if (server->listening || server->connections > 0)
        return;
    loop_move_out(&server->resident);
    mem_free(server);
}
