// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/net/rpc_client.h"
#include "common/net/rpc_server.h"
#include "common/wire/checksum.h"
#include "common/wire/message.h"
#include "tests/unit/net/net_fixture.h"

#define ALL_BYTES (5u << 20)

// A server end and a client end (or raw sockets) on one loop.
struct pair {
    struct loop *loop;
    struct rpc_server *server;
    struct net_fixture_end there, here;     // the server's, the client's
};

static void allow_all(struct net_fixture_end *end)
{
    conn_allow(end->conn, FRAME_ALL);
}

static void pair_init(struct pair *pair, struct rpc_server_options options)
{
    struct err err = {0};
    memset(pair, 0, sizeof *pair);
    pair->loop = net_fixture_loop();
    pair->there.loop = pair->here.loop = pair->loop;
    options.endpoint = "127.0.0.1:0";
    pair->server = rpc_server_new(pair->loop, &options, net_fixture_accept, &pair->there, &err);
    assert_non_null(pair->server);
}

static void pair_connect(struct pair *pair, struct conn_options options)
{
    struct rpc_client_ops ops = {.conn = net_fixture_ops, .on_connected = net_fixture_connected};
    struct rpc_client_options client = {.endpoint = rpc_server_endpoint(pair->server),
                                        .conn = options};
    assert_non_null(rpc_client_new(pair->loop, &client, &ops, &pair->here, NULL));
}

static void pair_deinit(struct pair *pair)
{
    loop_free(pair->loop);
    assert_int_equal(pair->there.opened, pair->there.closed);
    assert_int_equal(pair->here.opened, pair->here.closed);
}

static uint8_t *pattern(size_t bytes)
{
    uint8_t *data = mem_alloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 13 + (i >> 9));
    return data;
}

static int echo(struct net_fixture_end *end, const struct frame *header, void *dst)
{
    struct session_chunk chunk = {.header = *header, .body = dst, .body_bytes = header->body_bytes};
    chunk.header.type = FRAME_DATA;
    return conn_send_chunk(end->conn, &chunk);
}

static void push_all(struct net_fixture_end *end)
{
    const uint8_t *data = end->user;
    for (size_t at = 0; at < ALL_BYTES;) {
        size_t bytes = at % 3 ? 100001 : 1000003;
        bytes = ALL_BYTES - at < bytes ? ALL_BYTES - at : bytes;
        struct session_chunk chunk = {.header = {.type = FRAME_PUSH, .offset = at},
                                      .body = data + at,
                                      .body_bytes = (uint32_t)bytes};
        assert_int_equal(conn_send_chunk(end->conn, &chunk), 0);
        at += bytes;
    }
}

static void test_conn_echoes_five_mebibytes(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t *data = pattern(ALL_BYTES);
    pair_init(&pair, (struct rpc_server_options){0});
    pair.there.slot = mem_calloc(1, ALL_BYTES);
    pair.here.slot = mem_calloc(1, ALL_BYTES);
    pair.there.slot_bytes = pair.here.slot_bytes = ALL_BYTES;
    pair.there.on_open = allow_all;
    pair.there.on_chunk = echo;
    pair.here.on_open = push_all;
    pair.here.user = data;
    pair.here.stop_at_bytes = ALL_BYTES;
    pair_connect(&pair, (struct conn_options){.congestion = "no-such-control"});
    net_fixture_run(pair.loop);
    assert_int_equal(pair.here.bytes, ALL_BYTES);
    assert_int_equal(pair.here.bad + pair.there.bad, 0);
    assert_memory_equal(pair.here.slot, data, ALL_BYTES);
    assert_string_equal(conn_peer(pair.here.conn), rpc_server_endpoint(pair.server));
    assert_string_equal(conn_peer(pair.there.conn), conn_local(pair.here.conn));
    struct session_stats stats;
    conn_stats(pair.here.conn, &stats);
    assert_int_equal(stats.bytes_in, stats.bytes_out);
    assert_true(conn_heard_ms(pair.here.conn) >= conn_opened_ms(pair.here.conn));
    assert_true(conn_opened_wall_s(pair.here.conn) > 0);
    assert_ptr_equal(conn_loop(pair.here.conn), pair.loop);
    // An orderly end: the other side hears of it.
    struct err why = {0};
    err_set(&why, SL_ESTOPPED, "done");
    conn_finish(pair.here.conn, &why);
    struct frame header = {.type = FRAME_COMPLETE};
    assert_int_equal(conn_send_plain(pair.here.conn, &header, NULL), SL_ECLOSED);
    pair.here.stop_at_closed = true;
    net_fixture_run(pair.loop);
    assert_int_equal(pair.here.why.code, SL_ESTOPPED);
    assert_int_equal(pair.there.why.code, SL_ECLOSED);
    assert_non_null(strstr(pair.there.why.text, "the peer closed the connection"));
    mem_free(pair.there.slot);
    mem_free(pair.here.slot);
    pair_deinit(&pair);
    mem_free(data);
}

static int refuse(struct net_fixture_end *end, const struct frame *header,
                  const struct message *message)
{
    (void)message;
    struct message refused = {FRAME_REFUSED,
                              .refused = {SL_EREFUSED, 0, "trainer 0 is already here"}};
    assert_int_equal(conn_send_message(end->conn, header, &refused, NULL), 0);
    return 0;
}

static int refuse_and_finish(struct net_fixture_end *end, const struct frame *header,
                             const struct message *message)
{
    struct err why = {0};
    err_set(&why, SL_EREFUSED, "refused");
    (void)refuse(end, header, message);
    conn_finish(end->conn, &why);
    return 0;
}

static void expect_refused(int fd)
{
    uint8_t bytes[1000];
    struct frame header;
    struct message_arena *arena = message_arena_new();
    struct message message;
    assert_int_equal(net_fixture_raw_recv(fd, bytes, 64), 64);
    assert_int_equal(frame_decode(bytes, &header, NULL), 0);
    assert_int_equal(header.type, FRAME_REFUSED);
    assert_int_equal(net_fixture_raw_recv(fd, bytes, header.body_bytes), header.body_bytes);
    assert_int_equal(message_decode(&header, bytes, header.body_bytes, arena, &message, NULL), 0);
    assert_string_equal(message.refused.text, "trainer 0 is already here");
    message_arena_free(arena);
    assert_int_equal(net_fixture_raw_recv(fd, bytes, 1), 0);        // and the end
}

static void test_conn_answers_a_peer_that_half_closed(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t hello[512];
    size_t bytes = net_fixture_hello(hello, sizeof hello);
    pair_init(&pair, (struct rpc_server_options){0});
    pair.there.on_message = refuse;
    pair.there.stop_at_closed = true;
    int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
    net_fixture_raw_send(fd, hello, bytes);
    (void)shutdown(fd, SHUT_WR);
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_ECLOSED);
    expect_refused(fd);
    (void)close(fd);
    pair_deinit(&pair);
}

// Unread input at close would make the kernel send RST and destroy the text on its way.
static void test_conn_finish_delivers_the_last_words_to_a_peer_that_talks_on(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t hello[512];
    size_t bytes = net_fixture_hello(hello, sizeof hello);
    uint8_t *chatter = pattern(300000);
    pair_init(&pair, (struct rpc_server_options){0});
    pair.there.on_message = refuse_and_finish;
    pair.there.stop_at_closed = true;
    int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
    net_fixture_raw_send(fd, hello, bytes);
    net_fixture_raw_send(fd, chatter, 300000);
    (void)shutdown(fd, SHUT_WR);
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_EREFUSED);
    assert_int_equal(pair.there.messages, 1);
    expect_refused(fd);
    (void)close(fd);
    mem_free(chatter);
    pair_deinit(&pair);
}

static void test_conn_finish_gives_up_on_a_peer_that_stays(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t hello[512];
    size_t bytes = net_fixture_hello(hello, sizeof hello);
    pair_init(&pair, (struct rpc_server_options){0});
    pair.there.on_message = refuse_and_finish;
    pair.there.stop_at_closed = true;
    int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
    net_fixture_raw_send(fd, hello, bytes);
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_EREFUSED);
    expect_refused(fd);
    (void)close(fd);
    pair_deinit(&pair);
}

struct garbage {
    const char *bytes;
    size_t count;
    int code;
    const char *says;
};

static void test_conn_names_a_peer_that_speaks_garbage(void **state)
{
    (void)state;
    static const struct garbage table[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, SL_EFORMAT, "an HTTP client"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, SL_EFORMAT, "gRPC"},
        {"\0\0\0\0\0\0\0\0", 8, SL_EFORMAT, "magic is 00 00 00 00"},
        {"SLPS\x09", 5, SL_ECLOSED, "middle of a frame header"},
        {"SLPS\x09\x00garbagegarbagegarbagegarbagegarbagegarbagegarbagegarbagegarbage", 69,
         SL_EFORMAT, "version is 9"},
        {"SLPS\x01\x00garbagegarbagegarbagegarbagegarbagegarbagegarbagegarbagegarbage", 69,
         SL_ECORRUPT, "checksum"},
        {"", 0, SL_ECLOSED, "the peer closed"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct pair pair;
        pair_init(&pair, (struct rpc_server_options){0});
        pair.there.stop_at_closed = true;
        int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
        net_fixture_raw_send(fd, table[i].bytes, table[i].count);
        (void)shutdown(fd, SHUT_WR);
        net_fixture_run(pair.loop);
        assert_int_equal(pair.there.why.code, table[i].code);
        assert_non_null(strstr(pair.there.why.text, table[i].says));
        assert_non_null(strstr(pair.there.why.text, "127.0.0.1:"));
        assert_int_equal(pair.there.messages + pair.there.chunks, 0);
        (void)close(fd);
        pair_deinit(&pair);
    }
}

static void test_conn_wants_a_hello_first_and_in_time(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, (struct rpc_server_options){0});
    pair.there.stop_at_closed = true;
    pair.here.on_open = push_all;
    pair.here.user = pattern(ALL_BYTES);
    pair_connect(&pair, (struct conn_options){0});
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_EFORMAT);
    assert_non_null(strstr(pair.there.why.text, "push came where a hello must come first"));
    mem_free(pair.here.user);
    pair_deinit(&pair);
    pair_init(&pair, (struct rpc_server_options){.hello_timeout_ms = 40});
    pair.there.stop_at_closed = true;
    int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_ETIMEOUT);
    assert_non_null(strstr(pair.there.why.text, "no hello"));
    (void)close(fd);
    pair_deinit(&pair);
}

static size_t released, dropped;

static void on_release(void *arg, bool written)
{
    (void)arg;
    if (written)
        released++;
    else
        dropped++;
}

static size_t queued;

static void fill_queue(struct net_fixture_end *end)
{
    conn_allow(end->conn, FRAME_ALL);
    int code;
    do {
        struct session_chunk chunk = {.header = {.type = FRAME_DATA},
                                      .body = end->user,
                                      .body_bytes = FRAME_CHUNK_BYTES,
                                      .release = on_release};
        code = conn_send_chunk(end->conn, &chunk);
        queued += code == 0;
    } while (code == 0);
    assert_int_equal(code, SL_EAGAIN);
    assert_false(conn_has_room(end->conn));
}

// The peer stops reading: the queue stays at its cap, and after a while the connection ends.
static void test_conn_holds_the_cap_when_the_peer_does_not_read(void **state)
{
    (void)state;
    struct pair pair;
    struct rpc_server_options options = {
        .conn = {.stall_ms = 300,
                 .session = {.queue_frames_max = 40, .queue_bytes_max = 5u << 20}}};
    released = dropped = queued = 0;
    pair_init(&pair, options);
    pair.there.user = pattern(1u << 20);
    pair.there.on_open = fill_queue;
    pair.there.on_room = fill_queue;
    pair.there.stop_at_closed = true;
    int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_ETIMEOUT);
    assert_non_null(strstr(pair.there.why.text, "took no byte for"));
    assert_int_equal(released + dropped, queued);
    assert_true(dropped > 5 && dropped <= 20);
    (void)close(fd);
    mem_free(pair.there.user);
    pair_deinit(&pair);
}

static void test_conn_survives_a_reset_while_it_writes(void **state)
{
    (void)state;
    struct pair pair;
    released = dropped = queued = 0;
    pair_init(&pair, (struct rpc_server_options){.conn = {.session = {.queue_frames_max = 20}}});
    pair.there.user = pattern(1u << 20);
    pair.there.on_open = fill_queue;
    pair.there.stop_at_closed = pair.there.stop_at_opened = true;
    int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
    net_fixture_run(pair.loop);
    net_fixture_raw_reset(fd);
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_ECLOSED);
    assert_int_equal(released + dropped, queued);
    mem_free(pair.there.user);
    pair_deinit(&pair);
}

static void test_conn_abandons_a_chunk_that_stops_in_the_middle(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t *body = pattern(200000), head[FRAME_HEADER_BYTES];
    struct frame header = {
        .type = FRAME_PUSH, .body_bytes = 200000, .body_hash = checksum_of(body, 200000)};
    frame_encode(&header, head);
    for (int reset = 0; reset < 2; reset++) {
        pair_init(&pair, (struct rpc_server_options){.conn = {.session = {.allow = FRAME_ALL}}});
        pair.there.slot = mem_calloc(1, 200000);
        pair.there.slot_bytes = 200000;
        pair.there.stop_at_closed = pair.there.stop_at_opened = true;
        int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
        net_fixture_run(pair.loop);
        net_fixture_raw_send(fd, head, sizeof head);
        net_fixture_raw_send(fd, body, 150000);
        if (reset)
            net_fixture_raw_reset(fd);
        else
            (void)close(fd);
        net_fixture_run(pair.loop);
        assert_int_equal(pair.there.why.code, SL_ECLOSED);
        assert_int_equal(pair.there.chunks, 0);
        if (!reset) {
            assert_int_equal(pair.there.abandoned, 1);
            assert_non_null(strstr(pair.there.why.text, "50000 bytes of the body are missing"));
        }
        mem_free(pair.there.slot);
        pair_deinit(&pair);
    }
    mem_free(body);
}

// Reset before it was accepted: nobody hears of it, and the server goes on.
static void test_conn_that_died_in_the_backlog_is_nobody(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, (struct rpc_server_options){0});
    pair.there.stop_at_opened = true;
    net_fixture_raw_reset(net_fixture_raw_connect(rpc_server_endpoint(pair.server)));
    int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.opened, 1);
    assert_int_equal(rpc_server_rejected(pair.server), 1);
    (void)close(fd);
    pair_deinit(&pair);
}

static void test_conn_closes_after_silence(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, (struct rpc_server_options){0});
    pair.here.stop_at_closed = true;
    pair_connect(&pair, (struct conn_options){.silence_ms = 50, .user_timeout_ms = 5000});
    net_fixture_run(pair.loop);
    assert_int_equal(pair.here.why.code, SL_ETIMEOUT);
    assert_non_null(strstr(pair.here.why.text, "nothing was heard for"));
    pair_deinit(&pair);
}

static void resume_later(void *arg)
{
    struct pair *pair = arg;
    assert_int_equal(pair->there.bytes, 0);
    conn_resume(pair->there.conn);
}

static void pause_at_once(struct net_fixture_end *end)
{
    conn_allow(end->conn, FRAME_ALL);
    conn_pause(end->conn);
}

static void test_conn_pause_holds_the_peer_back(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, (struct rpc_server_options){.conn = {.silence_ms = 100}});
    pair.there.on_open = pause_at_once;
    pair.there.stop_at_bytes = ALL_BYTES;
    pair.here.on_open = push_all;
    pair.here.user = pattern(ALL_BYTES);
    pair_connect(&pair, (struct conn_options){0});
    struct loop_timer *timer = loop_timer_new(pair.loop, resume_later, &pair);
    loop_timer_start(timer, 250, 0);        // longer than silence is borne: pausing is not silence
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.bytes, ALL_BYTES);
    assert_int_equal(pair.there.bad, 0);
    mem_free(pair.here.user);
    pair_deinit(&pair);
}

static int close_inside(struct net_fixture_end *end, const struct frame *header, void *dst)
{
    (void)header, (void)dst;
    struct err why = {0};
    err_set(&why, SL_ESTOPPED, "enough");
    conn_close(end->conn, &why);
    conn_close(end->conn, &why);            // twice is once
    assert_non_null(end->conn);             // on_closed does not come from inside
    return 0;
}

static void test_conn_may_be_closed_inside_a_callback(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair, (struct rpc_server_options){0});
    pair.there.on_open = allow_all;
    pair.there.on_chunk = close_inside;
    pair.there.stop_at_closed = true;
    pair.here.on_open = push_all;
    pair.here.user = pattern(ALL_BYTES);
    pair_connect(&pair, (struct conn_options){0});
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_ESTOPPED);
    assert_int_equal(pair.there.chunks, 1);
    uint8_t *data = pair.here.user;
    pair_deinit(&pair);
    mem_free(data);
}

static int fail_message(struct net_fixture_end *end, const struct frame *header,
                        const struct message *message)
{
    (void)end, (void)header, (void)message;
    return SL_EMISMATCH;
}

static void test_conn_closes_with_the_error_of_a_handler(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t hello[512];
    size_t bytes = net_fixture_hello(hello, sizeof hello);
    pair_init(&pair, (struct rpc_server_options){0});
    pair.there.on_message = fail_message;
    pair.there.stop_at_closed = true;
    int fd = net_fixture_raw_connect(rpc_server_endpoint(pair.server));
    net_fixture_raw_send(fd, hello, bytes);
    net_fixture_run(pair.loop);
    assert_int_equal(pair.there.why.code, SL_EMISMATCH);
    assert_non_null(strstr(pair.there.why.text, "the handler refused it"));
    (void)close(fd);
    pair_deinit(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn_echoes_five_mebibytes),
        cmocka_unit_test(test_conn_answers_a_peer_that_half_closed),
        cmocka_unit_test(test_conn_finish_delivers_the_last_words_to_a_peer_that_talks_on),
        cmocka_unit_test(test_conn_finish_gives_up_on_a_peer_that_stays),
        cmocka_unit_test(test_conn_names_a_peer_that_speaks_garbage),
        cmocka_unit_test(test_conn_wants_a_hello_first_and_in_time),
        cmocka_unit_test(test_conn_holds_the_cap_when_the_peer_does_not_read),
        cmocka_unit_test(test_conn_survives_a_reset_while_it_writes),
        cmocka_unit_test(test_conn_abandons_a_chunk_that_stops_in_the_middle),
        cmocka_unit_test(test_conn_that_died_in_the_backlog_is_nobody),
        cmocka_unit_test(test_conn_closes_after_silence),
        cmocka_unit_test(test_conn_pause_holds_the_peer_back),
        cmocka_unit_test(test_conn_may_be_closed_inside_a_callback),
        cmocka_unit_test(test_conn_closes_with_the_error_of_a_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
