// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/rpc_server.h"
#include "tests/unit/net/net_fixture.h"

static struct rpc_server *try_listen(struct loop *loop, const char *endpoint, bool insecure,
                                     struct err *err)
{
    struct rpc_server_options options = {.endpoint = endpoint, .insecure = insecure};
    *err = (struct err){0};
    return rpc_server_new(loop, &options, net_fixture_accept, NULL, err);
}

static void test_rpc_server_reports_the_bound_address(void **state)
{
    (void)state;
    struct loop *loop = net_fixture_loop();
    struct err err;
    struct rpc_server *server = try_listen(loop, "127.0.0.1:0", false, &err);
    assert_non_null(server);
    assert_true(net_fixture_port(rpc_server_endpoint(server)) > 0);
    assert_memory_equal(rpc_server_endpoint(server), "127.0.0.1:", 10);
    assert_int_equal(rpc_server_connections(server), 0);
    rpc_server_close(server);
    assert_non_null(try_listen(loop, "localhost:0", false, &err));
    assert_non_null(try_listen(loop, "127.3.4.5:0", false, &err));
    loop_free(loop);
}

static void test_rpc_server_says_who_holds_the_port(void **state)
{
    (void)state;
    struct loop *loop = net_fixture_loop();
    struct err err;
    struct rpc_server *server = try_listen(loop, "127.0.0.1:0", false, &err);
    char endpoint[64], expected[128];
    (void)snprintf(endpoint, sizeof endpoint, "%s", rpc_server_endpoint(server));
    assert_null(try_listen(loop, endpoint, false, &err));
    assert_int_equal(err.code, SL_EBUSY);
    (void)snprintf(expected, sizeof expected, "cannot listen on %s: address in use by pid %d (",
                   endpoint, (int)getpid());
    assert_memory_equal(err.text, expected, strlen(expected));
    assert_non_null(strstr(err.text, "Choose another --current_endpoint or stop it"));
    loop_free(loop);
}

static void test_rpc_server_stays_on_loopback_unless_told(void **state)
{
    (void)state;
    struct loop *loop = net_fixture_loop();
    struct err err;
    assert_null(try_listen(loop, "0.0.0.0:0", false, &err));
    assert_int_equal(err.code, SL_EREFUSED);
    assert_non_null(strstr(err.text, "--insecure"));
    assert_null(try_listen(loop, "[::]:0", false, &err));
    assert_int_equal(err.code, SL_EREFUSED);
    assert_non_null(try_listen(loop, "0.0.0.0:0", true, &err));
    loop_free(loop);
}

static void test_rpc_server_refuses_what_cannot_be_bound(void **state)
{
    (void)state;
    struct loop *loop = net_fixture_loop();
    struct err err;
    static const char *const bad[] = {"",      "127.0.0.1", "127.0.0.1:70000", "127.0.0.1:x",
                                      ":6174", "a b:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(try_listen(loop, bad[i], true, &err));
        assert_int_equal(err.code, SL_EINVAL);
        assert_true(err.text[0]);
    }
    assert_null(try_listen(loop, "192.0.2.1:6174", true, &err));
    assert_int_equal(err.code, SL_ENOENT);
    assert_non_null(strstr(err.text, "no such address"));
    loop_free(loop);
}

static void test_rpc_server_turns_away_more_than_its_cap(void **state)
{
    (void)state;
    struct loop *loop = net_fixture_loop();
    struct net_fixture_end end = {.loop = loop, .stop_at_opened = true};
    struct rpc_server_options options = {.endpoint = "127.0.0.1:0", .connections_max = 1};
    struct rpc_server *server = rpc_server_new(loop, &options, net_fixture_accept, &end, NULL);
    int first = net_fixture_raw_connect(rpc_server_endpoint(server));
    net_fixture_run(loop);
    assert_int_equal(rpc_server_connections(server), 1);
    int second = net_fixture_raw_connect(rpc_server_endpoint(server));
    (void)close(first);
    end.stop_at_closed = true;
    net_fixture_run(loop);
    assert_int_equal(end.opened, 1);
    assert_int_equal(rpc_server_rejected(server), 1);
    char byte;
    assert_int_equal(net_fixture_raw_recv(second, &byte, 1), 0);
    (void)close(second);
    // The place is free again.
    int third = net_fixture_raw_connect(rpc_server_endpoint(server));
    net_fixture_run(loop);
    assert_int_equal(end.opened, 2);
    (void)close(third);
    net_fixture_run(loop);
    loop_free(loop);
    assert_int_equal(end.closed, 2);
}

static void test_rpc_server_close_lets_connections_live(void **state)
{
    (void)state;
    struct loop *loop = net_fixture_loop();
    struct net_fixture_end end = {.loop = loop, .stop_at_opened = true, .stop_at_messages = 1};
    struct rpc_server_options options = {.endpoint = "127.0.0.1:0"};
    struct rpc_server *server = rpc_server_new(loop, &options, net_fixture_accept, &end, NULL);
    uint8_t hello[512];
    size_t bytes = net_fixture_hello(hello, sizeof hello);
    int fd = net_fixture_raw_connect(rpc_server_endpoint(server));
    net_fixture_run(loop);
    rpc_server_close(server);
    rpc_server_close(server);
    net_fixture_raw_send(fd, hello, bytes);
    net_fixture_run(loop);
    assert_int_equal(end.messages, 1);
    assert_int_equal(end.last, FRAME_HELLO);
    (void)close(fd);
    end.stop_at_closed = true;
    net_fixture_run(loop);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rpc_server_reports_the_bound_address),
        cmocka_unit_test(test_rpc_server_says_who_holds_the_port),
        cmocka_unit_test(test_rpc_server_stays_on_loopback_unless_told),
        cmocka_unit_test(test_rpc_server_refuses_what_cannot_be_bound),
        cmocka_unit_test(test_rpc_server_turns_away_more_than_its_cap),
        cmocka_unit_test(test_rpc_server_close_lets_connections_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
