// SPDX-License-Identifier: Apache-2.0
// Endpoints: "host:port", the host a name, an IPv4 address or an IPv6 address in brackets.
// Nothing here resolves names or touches the network.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define ENDPOINT_HOST_MAX 254                       // 253 bytes of a DNS name and the NUL
#define ENDPOINT_TEXT_MAX (ENDPOINT_HOST_MAX + 8)   // brackets, colon, five digits

struct endpoint {
    char host[ENDPOINT_HOST_MAX];                   // without brackets
    uint16_t port;                                  // 0 = the system chooses when listening
};

struct endpoint_list {
    struct endpoint *items;
    size_t count;
};

// The whole text or SL_EINVAL with the reason; *out is written on success only.
int endpoint_parse(const char *text, struct endpoint *out, struct err *err);
// "host:port"; an IPv6 host gets its brackets back.
void endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX]);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
// 127.0.0.0/8, ::1 or the name localhost.
bool endpoint_is_loopback(const struct endpoint *endpoint);
// host is an IPv6 literal.
bool endpoint_is_ipv6(const struct endpoint *endpoint);

// "a:1,b:2": 1 to LIMIT_SERVERS endpoints, none empty, none twice (SL_EINVAL, SL_ELIMIT). Blanks
// around commas are dropped. Release with endpoint_list_deinit.
int endpoint_list_parse(const char *text, struct endpoint_list *out, struct err *err);
void endpoint_list_deinit(struct endpoint_list *list);
// The index, or -1.
int endpoint_list_find(const struct endpoint_list *list, const struct endpoint *endpoint);
char *endpoint_list_format(const struct endpoint_list *list);                     // mem_free it
