// SPDX-License-Identifier: Apache-2.0
// Socket addresses and socket options. Pure but for setsockopt; any thread.
#include "common/net/sockaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

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
    if (user_timeout_ms)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
                         sizeof user_timeout_ms);
}
