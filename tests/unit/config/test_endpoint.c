// SPDX-License-Identifier: Apache-2.0
// Endpoint texts: what is accepted, what is refused and why, loopback, lists.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/config/endpoint.h"

static void test_endpoint_parses_and_formats(void **state)
{
    (void)state;
    const struct {
        const char *text, *host;
        unsigned port;
        bool loopback;
    } rows[] = {
        {"127.0.0.1:6174", "127.0.0.1", 6174, true},
        {"127.200.0.9:1", "127.200.0.9", 1, true},
        {"10.0.0.7:0", "10.0.0.7", 0, false},
        {"localhost:65535", "localhost", 65535, true},
        {"ps-0.ps_svc.default:80", "ps-0.ps_svc.default", 80, false},
        {"[::1]:6174", "::1", 6174, true},
        {"[fe80::1]:6174", "fe80::1", 6174, false},
        {"128.0.0.1:1", "128.0.0.1", 1, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct endpoint endpoint;
        struct err err = {0};
        char text[ENDPOINT_TEXT_MAX];
        assert_int_equal(endpoint_parse(rows[i].text, &endpoint, &err), 0);
        assert_string_equal(endpoint.host, rows[i].host);
        assert_int_equal(endpoint.port, rows[i].port);
        assert_int_equal(endpoint_is_loopback(&endpoint), rows[i].loopback);
        endpoint_format(&endpoint, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void test_endpoint_refuses_with_the_reason(void **state)
{
    (void)state;
    char long_host[300];
    memset(long_host, 'a', sizeof long_host);
    memcpy(long_host + 290, ":80", 4);
    const struct {
        const char *text, *why;
    } rows[] = {
        {"", "port is missing"},
        {"127.0.0.1", "port is missing"},
        {":6174", "host is missing"},
        {"127.0.0.1:", "must be a number"},
        {"127.0.0.1:65536", "must be a number"},
        {"127.0.0.1:-1", "must be a number"},
        {"127.0.0.1:80x", "must be a number"},
        {"127.0.0.1: 80", "must be a number"},
        {"127.0.0.256:80", "not an IPv4 address"},
        {"127.0.1:80", "not an IPv4 address"},
        {"1:80", "not an IPv4 address"},
        {"::1:6174", "brackets"},
        {"[::1:6174", "not closed"},
        {"[::1]", "must follow"},
        {"[::1]x:1", "must follow"},
        {"[localhost]:1", "IPv6 address"},
        {"ps 0:80", "host name"},
        {"http://ps:80", "brackets"},
        {"ps/0:80", "host name"},
        {long_host, "253"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct endpoint endpoint = {.port = 7};
        struct err err = {0};
        assert_int_equal(endpoint_parse(rows[i].text, &endpoint, &err), SL_EINVAL);
        if (!strstr(err.text, rows[i].why))
            fail_msg("%s: %s", rows[i].text, err.text);
        assert_int_equal(endpoint.port, 7);
    }
}

static void test_endpoint_lists(void **state)
{
    (void)state;
    struct endpoint_list list;
    struct err err = {0};
    assert_int_equal(endpoint_list_parse("127.0.0.1:1, [::1]:2 ,ps-1:3", &list, &err), 0);
    assert_int_equal(list.count, 3);
    char *text = endpoint_list_format(&list);
    assert_string_equal(text, "127.0.0.1:1,[::1]:2,ps-1:3");
    mem_free(text);
    struct endpoint wanted;
    assert_int_equal(endpoint_parse("PS-1:3", &wanted, &err), 0);
    assert_int_equal(endpoint_list_find(&list, &wanted), 2);
    wanted.port = 4;
    assert_int_equal(endpoint_list_find(&list, &wanted), -1);
    endpoint_list_deinit(&list);
    const char *const bad[] = {"", "a:1,,b:2", "a:1,", "a:1,a:1", "a:1;b:2", "a:1,b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(endpoint_list_parse(bad[i], &list, &err), SL_EINVAL);
}

static void test_endpoint_list_is_bounded(void **state)
{
    (void)state;
    struct endpoint_list list;
    struct err err = {0};
    struct buf text;
    buf_init(&text, 0);
    for (int i = 0; i < LIMIT_SERVERS; i++)
        buf_printf(&text, "%sps-%d:%d", i ? "," : "", i, i + 1);
    assert_int_equal(endpoint_list_parse(buf_text(&text), &list, &err), 0);
    assert_int_equal(list.count, LIMIT_SERVERS);
    endpoint_list_deinit(&list);
    buf_printf(&text, ",more:1");
    assert_int_equal(endpoint_list_parse(buf_text(&text), &list, &err), SL_ELIMIT);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint_parses_and_formats),
        cmocka_unit_test(test_endpoint_refuses_with_the_reason),
        cmocka_unit_test(test_endpoint_lists),
        cmocka_unit_test(test_endpoint_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
