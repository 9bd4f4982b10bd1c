// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/rpc_client.h"
#include "common/net/rpc_server.h"
#include "common/wire/message.h"
#include "tests/unit/net/net_fixture.h"

// The client's end, with what its own callbacks say.
struct side {
    struct net_fixture_end end;     // first: also the conn's self
    struct net_fixture_end there;
    struct rpc_client *client;
    struct rpc_server *server;
    const char *endpoint;
    unsigned waits, failures;
    struct err wait_why, why;
    unsigned listen_at_wait;        // start the server at the so-manyth wait
};

static void start_server(struct side *side)
{
    struct rpc_server_options options = {.endpoint = side->endpoint};
    struct err err = {0};
    side->there.loop = side->end.loop;
    side->server = rpc_server_new(side->end.loop, &options, net_fixture_accept, &side->there, &err);
    if (!side->server)
        print_message("%s\n", err.text);
    assert_non_null(side->server);
}

static void on_waiting(void *self, const struct err *why, unsigned attempts, uint64_t waited_ms)
{
    struct side *side = self;
    (void)waited_ms;
    assert_true(attempts > 0 || side->end.closed > 0);
    side->waits++;
    side->wait_why = *why;
    if (side->listen_at_wait && side->waits == side->listen_at_wait)
        start_server(side);
}

static void on_failed(void *self, const struct err *why)
{
    struct side *side = self;
    side->failures++;
    side->why = *why;
    loop_stop(side->end.loop);
}

static const struct rpc_client_ops ops_without_conn = {
    .on_connected = net_fixture_connected, .on_waiting = on_waiting, .on_failed = on_failed};

static void side_init(struct side *side)
{
    memset(side, 0, sizeof *side);
    side->end.loop = net_fixture_loop();
}

static void side_connect(struct side *side, struct rpc_client_options options)
{
    struct rpc_client_ops ops = ops_without_conn;
    ops.conn = net_fixture_ops;
    options.endpoint = options.endpoint ? options.endpoint : side->endpoint;
    options.backoff_min_ms = 5;
    options.backoff_max_ms = 20;
    struct err err = {0};
    side->client = rpc_client_new(side->end.loop, &options, &ops, side, &err);
    assert_non_null(side->client);
}

// A port that was free a moment ago.
static void free_endpoint(struct loop *loop, char out[64])
{
    struct rpc_server_options options = {.endpoint = "127.0.0.1:0"};
    struct rpc_server *server = rpc_server_new(loop, &options, net_fixture_accept, NULL, NULL);
    (void)snprintf(out, 64, "%s", rpc_server_endpoint(server));
    rpc_server_close(server);
}

static void test_rpc_client_waits_for_a_server_that_appears_later(void **state)
{
    (void)state;
    struct side side;
    char endpoint[64];
    side_init(&side);
    free_endpoint(side.end.loop, endpoint);
    side.endpoint = endpoint;
    side.listen_at_wait = 4;
    side.end.stop_at_opened = true;
    side_connect(&side, (struct rpc_client_options){0});
    assert_null(rpc_client_conn(side.client));
    net_fixture_run(side.end.loop);
    assert_int_equal(side.end.opened, 1);
    assert_int_equal(side.waits, 4);
    assert_non_null(strstr(side.wait_why.text, endpoint));
    assert_non_null(strstr(side.wait_why.text, "connection refused"));
    assert_ptr_equal(rpc_client_conn(side.client), side.end.conn);
    assert_string_equal(rpc_client_endpoint(side.client), endpoint);
    loop_free(side.end.loop);
}

static void test_rpc_client_gives_up_at_its_timeout(void **state)
{
    (void)state;
    struct side side;
    char endpoint[64];
    side_init(&side);
    free_endpoint(side.end.loop, endpoint);
    side.endpoint = endpoint;
    side_connect(&side, (struct rpc_client_options){.connect_timeout_ms = 60});
    net_fixture_run(side.end.loop);
    assert_int_equal(side.failures, 1);
    assert_int_equal(side.why.code, SL_ETIMEOUT);
    assert_non_null(strstr(side.why.text, endpoint));
    assert_non_null(strstr(side.why.text, "connection refused"));
    assert_true(side.waits >= 2);
    struct err why = {.code = SL_ESTOPPED};
    rpc_client_close(side.client, false, &why);
    rpc_client_close(side.client, false, &why);
    loop_free(side.end.loop);
}

static void test_rpc_client_resolves_names(void **state)
{
    (void)state;
    struct side side;
    char name[64];
    side_init(&side);
    side.endpoint = "127.0.0.1:0";
    start_server(&side);
    (void)snprintf(name, sizeof name, "localhost:%u",
                   (unsigned)net_fixture_port(rpc_server_endpoint(side.server)));
    side.end.stop_at_opened = true;
    side_connect(&side, (struct rpc_client_options){.endpoint = name});
    net_fixture_run(side.end.loop);
    assert_int_equal(side.end.opened, 1);
    loop_free(side.end.loop);
}

static void test_rpc_client_says_when_a_name_is_unknown(void **state)
{
    (void)state;
    struct side side;
    side_init(&side);
    side_connect(&side, (struct rpc_client_options){.endpoint = "no-such-host.invalid:1",
                                                    .connect_timeout_ms = 100});
    net_fixture_run(side.end.loop);
    assert_int_equal(side.failures, 1);
    assert_non_null(strstr(side.why.text, "no-such-host.invalid:1"));
    loop_free(side.end.loop);
}

static void test_rpc_client_refuses_bad_endpoints(void **state)
{
    (void)state;
    struct loop *loop = net_fixture_loop();
    static const char *const bad[] = {"", "host", "host:0", "host:99999", ":1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rpc_client_options options = {.endpoint = bad[i]};
        struct err err = {0};
        assert_null(rpc_client_new(loop, &options, &ops_without_conn, NULL, &err));
        assert_int_equal(err.code, SL_EINVAL);
        assert_true(err.text[0]);
    }
    loop_free(loop);
}

static void say_hello(struct net_fixture_end *end)
{
    struct message hello = {FRAME_HELLO,
                            .hello = {1, MESSAGE_TRAINER, "", 0, 0, 1, 1, 0, 0, "test"}};
    struct frame header = {0};
    assert_int_equal(conn_send_message(end->conn, &header, &hello, NULL), 0);
}

// The server answers once and breaks the connection, as often as it comes.
static int answer_and_break(struct net_fixture_end *end, const struct frame *header,
                            const struct message *message)
{
    (void)message;
    struct err why = {0};
    struct frame answer = {.type = FRAME_FETCHED, .step = header->step};
    assert_int_equal(conn_send_plain(end->conn, &answer, NULL), 0);
    err_set(&why, SL_ESTOPPED, "broken on purpose");
    conn_finish(end->conn, &why);
    return 0;
}

static void test_rpc_client_connects_again_after_a_loss(void **state)
{
    (void)state;
    struct side side;
    side_init(&side);
    side.endpoint = "127.0.0.1:0";
    start_server(&side);
    side.there.on_message = answer_and_break;
    side.end.on_open = say_hello;
    side.end.stop_at_messages = 5;
    side_connect(&side, (struct rpc_client_options){.endpoint = rpc_server_endpoint(side.server),
                                                    .reconnect_timeout_ms = 5000});
    net_fixture_run(side.end.loop);
    assert_int_equal(side.end.messages, 5);
    assert_int_equal(side.end.opened, 5);
    assert_int_equal(side.failures, 0);
    assert_int_equal(side.end.why.code, SL_ECLOSED);
    loop_free(side.end.loop);
    assert_int_equal(side.end.closed, 5);
}

static void test_rpc_client_may_be_told_not_to_connect_again(void **state)
{
    (void)state;
    struct side side;
    side_init(&side);
    side.endpoint = "127.0.0.1:0";
    start_server(&side);
    side.there.on_message = answer_and_break;
    side.end.on_open = say_hello;
    side_connect(&side, (struct rpc_client_options){.endpoint = rpc_server_endpoint(side.server)});
    net_fixture_run(side.end.loop);
    assert_int_equal(side.failures, 1);
    assert_int_equal(side.end.closed, 1);
    assert_int_equal(side.why.code, SL_ECLOSED);
    loop_free(side.end.loop);
}

static void break_at_once(struct net_fixture_end *end)
{
    struct err why = {0};
    err_set(&why, SL_ESTOPPED, "broken on purpose");
    conn_close(end->conn, &why);
}

// Accepting and closing at once must not keep the client busy for ever.
static void test_rpc_client_gives_up_on_a_server_that_never_answers(void **state)
{
    (void)state;
    struct side side;
    side_init(&side);
    side.endpoint = "127.0.0.1:0";
    start_server(&side);
    side.there.on_open = break_at_once;
    side_connect(&side, (struct rpc_client_options){.endpoint = rpc_server_endpoint(side.server),
                                                    .connect_timeout_ms = 100,
                                                    .reconnect_timeout_ms = 100000});
    net_fixture_run(side.end.loop);
    assert_int_equal(side.failures, 1);
    assert_int_equal(side.why.code, SL_ETIMEOUT);
    assert_true(side.end.opened >= 2 && side.end.opened < 50);
    loop_free(side.end.loop);
}

static void close_client(void *arg)
{
    struct side *side = arg;
    struct err why = {0};
    err_set(&why, SL_ESTOPPED, "closed");
    rpc_client_close(side->client, true, &why);
}

static int stop_server_loop(struct net_fixture_end *end, const struct frame *header,
                            const struct message *message)
{
    (void)header, (void)message;
    end->stop_at_closed = true;
    return 0;
}

static void hello_and_close(struct net_fixture_end *end)
{
    say_hello(end);
    close_client(end);          // the side begins with its end
}

static void test_rpc_client_close_lets_queued_output_leave(void **state)
{
    (void)state;
    struct side side;
    side_init(&side);
    side.endpoint = "127.0.0.1:0";
    start_server(&side);
    side.there.on_message = stop_server_loop;
    side.end.on_open = hello_and_close;
    side_connect(&side, (struct rpc_client_options){.endpoint = rpc_server_endpoint(side.server)});
    net_fixture_run(side.end.loop);
    assert_int_equal(side.there.messages, 1);
    assert_int_equal(side.there.why.code, SL_ECLOSED);
    loop_free(side.end.loop);
    assert_int_equal(side.end.why.code, SL_ESTOPPED);
    assert_int_equal(side.failures, 0);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void test_rpc_client_may_be_closed_at_any_time(void **state)
{
    (void)state;
    for (int when = 0; when < 3; when++) {
        struct side side;
        char endpoint[64];
        side_init(&side);
        free_endpoint(side.end.loop, endpoint);
        side.endpoint = when == 2 ? "localhost:9" : endpoint;
        side_connect(&side, (struct rpc_client_options){0});
        if (when > 0) {
            struct loop_job job = {.run = close_client, .arg = &side};
            struct loop_timer *timer = loop_timer_new(side.end.loop, stop_loop, side.end.loop);
            loop_timer_start(timer, 30, 0);
            loop_post(side.end.loop, &job);
            net_fixture_run(side.end.loop);
        }
        loop_free(side.end.loop);
        assert_int_equal(side.failures, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rpc_client_waits_for_a_server_that_appears_later),
        cmocka_unit_test(test_rpc_client_gives_up_at_its_timeout),
        cmocka_unit_test(test_rpc_client_resolves_names),
        cmocka_unit_test(test_rpc_client_says_when_a_name_is_unknown),
        cmocka_unit_test(test_rpc_client_refuses_bad_endpoints),
        cmocka_unit_test(test_rpc_client_connects_again_after_a_loss),
        cmocka_unit_test(test_rpc_client_may_be_told_not_to_connect_again),
        cmocka_unit_test(test_rpc_client_gives_up_on_a_server_that_never_answers),
        cmocka_unit_test(test_rpc_client_close_lets_queued_output_leave),
        cmocka_unit_test(test_rpc_client_may_be_closed_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
