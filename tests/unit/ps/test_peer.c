// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ps/ps_fixture.h"

#include "common/ps/peer.h"

static int hello(struct peer_table *table, int trainer, uint64_t wish, uint64_t nonce, uint64_t now,
                 struct err *err)
{
    uint64_t granted = 0;
    int rc = peer_hello(table, trainer, wish, nonce, "10.0.0.1:5", now, 0, &granted, err);
    return rc < 0 ? rc : (int)granted * 10 + rc;
}

static void test_peer_living_holder_refuses_a_newcomer(void **unused)
{
    (void)unused;
    struct peer_table table;
    struct err err = {0};
    peer_table_init(&table, 2, 0, 1000);
    assert_int_equal(hello(&table, 1, 0, 111, 0, &err), 10 + PEER_NEW);
    assert_int_equal(hello(&table, 1, 0, 222, 5, &err), SL_EREFUSED);
    assert_non_null(strstr(err.text, "trainer 1 is already here from 10.0.0.1:5 since "));
    assert_int_equal(hello(&table, 1, 1, 111, 5, &err), 10 + PEER_BACK);
    assert_int_equal(hello(&table, 2, 0, 333, 5, &err), SL_EREFUSED);
    assert_int_equal(hello(&table, -1, 0, 333, 5, &err), SL_EREFUSED);
    peer_table_deinit(&table);
}

static void test_peer_next_incarnation_after_a_loss(void **unused)
{
    (void)unused;
    struct peer_table table;
    struct err err = {0};
    peer_table_init(&table, 1, 0, 1000);
    assert_int_equal(hello(&table, 0, 0, 111, 0, &err), 10 + PEER_NEW);
    peer_lost(&table, 0, false, "reset", 10);
    assert_int_equal(hello(&table, 0, 1, 222, 20, &err),
                     SL_EREFUSED);   // an equal number, another nonce
    assert_int_equal(hello(&table, 0, 0, 222, 20, &err), 20 + PEER_NEW);
    assert_int_equal(hello(&table, 0, 1, 111, 30, &err), SL_EREFUSED);   // the zombie
    peer_lost(&table, 0, false, "reset", 40);
    assert_int_equal(hello(&table, 0, 7, 444, 50, &err),
                     70 + PEER_NEW);   // max over all servers, + 1
    // One that has pushed cannot be replaced by another process, unless rejoin is on.
    peer_pushed(&table, 0, "w@GRAD", 60);
    peer_lost(&table, 0, false, "reset", 70);
    assert_int_equal(hello(&table, 0, 0, 555, 80, &err), SL_EREFUSED);
    table.rejoin = true;
    assert_int_equal(hello(&table, 0, 0, 555, 80, &err), 80 + PEER_NEW);
    peer_table_deinit(&table);
}

static void test_peer_gives_up_after_the_deadline(void **unused)
{
    (void)unused;
    struct peer_table table;
    struct err err = {0};
    peer_table_init(&table, 2, 10000, 1000);
    hello(&table, 0, 0, 1, 0, &err);
    hello(&table, 1, 0, 2, 0, &err);
    assert_true(peer_all_here(&table));
    peer_pushed(&table, 1, "fc_1.w_0@GRAD", 4100);
    peer_lost(&table, 1, false, "connection reset", 5000);
    assert_false(peer_all_here(&table));
    assert_int_equal(peer_tick(&table, 5999, &err), -1);
    assert_int_equal(hello(&table, 1, 1, 2, 5999, &err), 10 + PEER_BACK);   // back in time
    assert_int_equal(peer_tick(&table, 9000, &err), -1);
    peer_lost(&table, 1, true, "silent for 10.0 s", 20000);
    assert_int_equal(peer_tick(&table, 20000, &err), 1);   // silence has waited long enough
    assert_non_null(strstr(err.text, "trainer 1 (10.0.0.1:5, last push fc_1.w_0@GRAD 15.9 s ago"));
    assert_non_null(strstr(err.text, "silent for 10.0 s"));
    assert_int_equal(peer_tick(&table, 30000, &err), -1);   // said once
    assert_int_equal(hello(&table, 1, 1, 2, 30001, &err), SL_EREFUSED);
    peer_table_deinit(&table);
}

static void test_peer_that_never_comes_is_given_up(void **unused)
{
    (void)unused;
    struct peer_table table;
    struct err err = {0};
    peer_table_init(&table, 2, 0, 1000);
    assert_int_equal(peer_tick(&table, 100, &err), -1);
    assert_int_equal(peer_tick(&table, 9000000, &err), -1);
    table.connect_ms = 5000;
    assert_int_equal(peer_tick(&table, 10000000, &err), -1);
    assert_int_equal(hello(&table, 0, 0, 1, 10001000, &err), 10 + PEER_NEW);
    assert_int_equal(hello(&table, 1, 0, 2, 10001000, &err), 10 + PEER_NEW);
    assert_int_equal(peer_tick(&table, 10009000, &err), -1);
    peer_forget(&table, 1);   // refused elsewhere: its time begins anew
    assert_int_equal(peer_tick(&table, 10010000, &err), -1);
    assert_int_equal(peer_tick(&table, 10014999, &err), -1);
    assert_int_equal(peer_tick(&table, 10015000, &err), 1);
    assert_int_equal(err.code, SL_ETIMEOUT);
    assert_string_equal(err.text, "trainer 1 has not come within 5.0 s (connect_timeout)");
    assert_int_equal(peer_tick(&table, 10016000, &err), -1);
    peer_table_deinit(&table);
}

static void test_peer_that_is_done_may_leave(void **unused)
{
    (void)unused;
    struct peer_table table;
    struct err err = {0};
    peer_table_init(&table, 1, 0, 1000);
    hello(&table, 0, 0, 1, 0, &err);
    peer_done(&table, 0);
    peer_lost(&table, 0, false, "closed", 10);
    assert_int_equal(peer_tick(&table, 99999, &err), -1);
    assert_true(peer_all_here(&table));
    assert_int_equal(hello(&table, 0, 0, 9, 5, &err), SL_EREFUSED);
    assert_int_equal(hello(&table, 0, 1, 1, 5, &err), 10 + PEER_BACK);   // did not hear the answer
    peer_table_deinit(&table);
}

static void test_peer_link_waits_then_gives_up(void **unused)
{
    (void)unused;
    struct peer_link link;
    struct err err = {0};
    char text[256];
    peer_link_init(&link, 5000, 1000, 100);
    assert_false(peer_link_says(&link, 900, text, sizeof text));
    peer_link_note(&link, "connection refused");
    assert_true(peer_link_says(&link, 1100, text, sizeof text));
    assert_string_equal(text, "waiting 1.0 s: connection refused");
    assert_false(peer_link_says(&link, 1200, text, sizeof text));
    assert_int_equal(peer_link_tick(&link, 5099, &err), 0);
    peer_link_welcomed(&link);
    assert_int_equal(peer_link_tick(&link, 99999, &err), 0);
    peer_link_lost(&link, false, "reset by peer", 100000);
    peer_link_note(&link, "connection refused");
    assert_int_equal(peer_link_tick(&link, 100999, &err), 0);
    assert_int_equal(peer_link_tick(&link, 101000, &err), SL_ECLOSED);
    assert_string_equal(err.text, "reset by peer");
    assert_int_equal(peer_link_tick(&link, 101001, &err), 0);

    peer_link_init(&link, 5000, 1000, 0);
    assert_int_equal(peer_link_tick(&link, 5000, &err), SL_ETIMEOUT);
    peer_link_init(&link, 5000, 1000, 0);
    peer_link_welcomed(&link);
    peer_link_lost(&link, true, "silent", 20000);
    assert_int_equal(peer_link_tick(&link, 20000, &err), SL_ECLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer_living_holder_refuses_a_newcomer),
        cmocka_unit_test(test_peer_next_incarnation_after_a_loss),
        cmocka_unit_test(test_peer_gives_up_after_the_deadline),
        cmocka_unit_test(test_peer_that_never_comes_is_given_up),
        cmocka_unit_test(test_peer_that_is_done_may_leave),
        cmocka_unit_test(test_peer_link_waits_then_gives_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
