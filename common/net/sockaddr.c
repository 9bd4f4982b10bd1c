// SPDX-License-Identifier: Apache-2.0
// Socket addresses and socket options. Any thread.
//
// Buffers: elsewhere the kernel sizes them by the path. On loopback they get a fixed size: the
// kernel's own sizing may overrun while the reader waits for a processor, drops, and then keeps the
// window of that connection so small (two segments of 64 KiB) that transfers wait for its probe
// timer. A fixed size also keeps what is on its way in the caches.
#include "common/net/sockaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "common/base/str.h"

#define LOOPBACK_RECEIVE_BYTES (2 << 20)
#define LOOPBACK_SEND_BYTES (1 << 20)

static void set_buffer(int fd, int option, const char *limit_path, int bytes);

const char *sockaddr_format(const struct sockaddr *addr, char text[SOCKADDR_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    const void *raw = NULL;
    if (addr->sa_family == AF_INET)
        raw = &((const struct sockaddr_in *)(const void *)addr)->sin_addr;
    else if (addr->sa_family == AF_INET6)
        raw = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    if (!raw || !inet_ntop(addr->sa_family, raw, host, sizeof host))
        (void)snprintf(text, SOCKADDR_TEXT_MAX, "?");
    else
        (void)snprintf(text, SOCKADDR_TEXT_MAX, addr->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u",
                       host, (unsigned)sockaddr_port(addr));
    return text;
}

bool sockaddr_is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)addr;
        return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    }
    if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)addr;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127);
    }
    return false;
}

bool sockaddr_equal(const struct sockaddr *a, const struct sockaddr *b)
{
    char text_a[SOCKADDR_TEXT_MAX], text_b[SOCKADDR_TEXT_MAX];
    return strcmp(sockaddr_format(a, text_a), sockaddr_format(b, text_b)) == 0;
}

uint16_t sockaddr_port(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
    if (addr->sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
    return 0;
}

void sockaddr_set_port(struct sockaddr *addr, uint16_t port)
{
    if (addr->sa_family == AF_INET)
        ((struct sockaddr_in *)(void *)addr)->sin_port = htons(port);
    else if (addr->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)addr)->sin6_port = htons(port);
}

bool sockaddr_parse(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        memcpy(out, &in, sizeof in);
        return true;
    }
    if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1) {
        memcpy(out, &in6, sizeof in6);
        return true;
    }
    return false;
}

void sockaddr_tune(int fd, bool loopback, const char *congestion, uint32_t user_timeout_ms)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!congestion)
        congestion = loopback ? "cubic" : "";
    if (congestion[0])
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion,
                         (socklen_t)strlen(congestion));
    if (loopback) {
        set_buffer(fd, SO_RCVBUF, "/proc/sys/net/core/rmem_max", LOOPBACK_RECEIVE_BYTES);
        set_buffer(fd, SO_SNDBUF, "/proc/sys/net/core/wmem_max", LOOPBACK_SEND_BYTES);
    }
    if (user_timeout_ms)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
                         sizeof user_timeout_ms);
}

// Only when the system's limit lets all of it through: a size that is set is never grown again.
static void set_buffer(int fd, int option, const char *limit_path, int bytes)
{
    char text[32] = "";
    uint64_t limit = 0;
    FILE *file = fopen(limit_path, "re");
    if (!file)
        return;
    if (fgets(text, sizeof text, file))
        text[strcspn(text, "\n")] = '\0';
    (void)fclose(file);
    if (str_parse_u64(text, &limit) && limit >= (uint64_t)bytes)
        (void)setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes);
}
