// SPDX-License-Identifier: Apache-2.0
// Endpoint texts. A host is checked by its letters only: whether the name exists is the resolver's
// business. What looks like an IPv4 address must be one, so that a mistyped address is found here
// and not by a resolver minutes later. No state.
#include "common/config/endpoint.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"

static const char *host_fault(const char *host, bool bracketed);
static bool all_in(const char *text, const char *letters);

int endpoint_parse(const char *text, struct endpoint *out, struct err *err)
{
    const char *why = NULL, *colon, *host = text, *host_end;
    bool bracketed = *text == '[';
    if (bracketed) {
        host = text + 1;
        host_end = strchr(host, ']');
        colon = host_end ? host_end + 1 : NULL;
        if (!host_end)
            why = "the bracket is not closed";
        else if (*colon != ':')
            why = "`:port` must follow the bracket";
    } else {
        host_end = colon = strrchr(text, ':');
        if (!colon)
            why = "the port is missing";
    }
    struct endpoint found = {0};
    uint64_t port = 0;
    if (!why) {
        size_t bytes = (size_t)(host_end - host);
        if (bytes >= sizeof found.host) {
            why = "the host is longer than 253 bytes";
        } else {
            memcpy(found.host, host, bytes);
            why = host_fault(found.host, bracketed);
        }
    }
    if (!why && (!str_parse_u64(colon + 1, &port) || port > UINT16_MAX))
        why = "the port must be a number from 0 to 65535";
    if (why)
        return err_set(err, SL_EINVAL,
                       "endpoint `%.300s`: %s; wanted is host:port, as in 127.0.0.1:6174", text,
                       why);
    found.port = (uint16_t)port;
    *out = found;
    return 0;
}

void endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX])
{
    if (endpoint_is_ipv6(endpoint))
        snprintf(text, ENDPOINT_TEXT_MAX, "[%s]:%u", endpoint->host, endpoint->port);
    else
        snprintf(text, ENDPOINT_TEXT_MAX, "%s:%u", endpoint->host, endpoint->port);
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

bool endpoint_is_loopback(const struct endpoint *endpoint)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, endpoint->host, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, endpoint->host, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six);
    return strcasecmp(endpoint->host, "localhost") == 0;
}

bool endpoint_is_ipv6(const struct endpoint *endpoint)
{
    return strchr(endpoint->host, ':') != NULL;
}

int endpoint_list_parse(const char *text, struct endpoint_list *out, struct err *err)
{
    struct str_list parts = {0};
    struct endpoint_list list = {0};
    int rc = 0;
    str_list_split(&parts, text, ',');
    if (parts.count > LIMIT_SERVERS)
        rc = err_set(err, SL_ELIMIT, "%zu endpoints: at most %d are allowed", parts.count,
                     LIMIT_SERVERS);
    else
        list.items = mem_must_calloc(parts.count, sizeof *list.items);
    for (size_t i = 0; !rc && i < parts.count; i++) {
        struct endpoint found;
        if (parts.items[i][0] == 0)
            rc = err_set(err, SL_EINVAL, "endpoint list `%.300s`: endpoint %zu is empty", text,
                         i + 1);
        else
            rc = endpoint_parse(parts.items[i], &found, err);
        if (!rc && endpoint_list_find(&list, &found) >= 0)
            rc = err_set(err, SL_EINVAL, "endpoint list: %s is there twice", parts.items[i]);
        if (!rc)
            list.items[list.count++] = found;
    }
    str_list_deinit(&parts);
    if (rc)
        endpoint_list_deinit(&list);
    else
        *out = list;
    return rc;
}

void endpoint_list_deinit(struct endpoint_list *list)
{
    if (!list)
        return;
    mem_free(list->items);
    *list = (struct endpoint_list){0};
}

int endpoint_list_find(const struct endpoint_list *list, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < list->count; i++)
        if (endpoint_equal(&list->items[i], endpoint))
            return (int)i;
    return -1;
}

char *endpoint_list_format(const struct endpoint_list *list)
{
    struct str_list parts = {0};
    for (size_t i = 0; i < list->count; i++) {
        char text[ENDPOINT_TEXT_MAX];
        endpoint_format(&list->items[i], text);
        str_list_add(&parts, text);
    }
    char *joined = str_list_join(&parts, ",");
    str_list_deinit(&parts);
    return joined;
}

static const char *host_fault(const char *host, bool bracketed)
{
    struct in_addr four;
    struct in6_addr six;
    if (bracketed)
        return inet_pton(AF_INET6, host, &six) == 1 ? NULL : "in brackets must be an IPv6 address";
    if (!*host)
        return "the host is missing";
    if (strchr(host, ':'))
        return "an IPv6 address must stand in brackets";
    if (all_in(host, "0123456789."))
        return inet_pton(AF_INET, host, &four) == 1 ? NULL : "this is not an IPv4 address";
    for (const char *c = host; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-._", *c))
            return "a host name has letters, digits, `-`, `.` and `_` only";
    return NULL;
}

static bool all_in(const char *text, const char *letters)
{
    return text[strspn(text, letters)] == 0;
}
