// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ps/ps_fixture.h"

#include "common/ps/round.h"

struct table {
    struct fixture f;
    struct round *round;
    uint32_t w, b;   // wire indices of the gradients
};

static void table_init(struct table *t, int trainers, bool second_phase)
{
    fixture_init(&t->f, trainers);
    struct err err = {0};
    struct round_options options = {
        .shard = &t->f.shards[0], .trainers = trainers, .second_phase = second_phase, .step = 5};
    t->round = round_new(&options, &err);
    assert_non_null(t->round);
    int none;
    t->w = shard_grad_by_name(&t->f.shards[0], "w@GRAD.block0", &none)->variable;
    t->b = shard_grad_by_name(&t->f.shards[0], "b@GRAD", &none)->variable;
    for (int i = 0; i < trainers; i++)
        round_enter(t->round, i, 1);
}

static void table_deinit(struct table *t)
{
    round_free(t->round);
    fixture_deinit(&t->f);
}

static struct round_push key(struct table *t, int trainer, uint32_t variable, uint64_t offset,
                             uint64_t bytes)
{
    return (struct round_push){.trainer = trainer,
                               .incarnation = 1,
                               .step = round_step(t->round),
                               .variable = variable,
                               .offset = offset,
                               .bytes = bytes,
                               .hash = 100 + offset};
}

static void push(struct table *t, int trainer, uint32_t variable, uint64_t offset, uint64_t bytes)
{
    struct round_push k = key(t, trainer, variable, offset, bytes);
    void *dst;
    struct err err = {0};
    assert_int_equal(round_place(t->round, &k, &dst, &err), ROUND_SLOT);
    memset(dst, trainer + 1, (size_t)bytes);
    assert_int_equal(round_received(t->round, &k, true, NULL), 1);
}

static void push_all(struct table *t, int trainer)
{
    push(t, trainer, t->w, 0, 80);
    push(t, trainer, t->b, 0, 12);
}

static void barrier(struct table *t, int trainer)
{
    struct err err = {0};
    assert_int_equal(round_send_barrier(t->round, trainer, 1, round_step(t->round), &err), 0);
}

static void test_round_applies_when_all_are_in(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2, false);
    assert_true(round_is_idle(t.round));
    push_all(&t, 1);
    barrier(&t, 1);
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    assert_true(round_is_waiting_for(t.round, 0));
    assert_false(round_is_waiting_for(t.round, 1));
    push_all(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    barrier(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    assert_int_equal(((uint8_t *)round_slot(t.round, 1, 0))[11], 2);
    round_applied(t.round);
    assert_int_equal(round_step(t.round), 6);
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    assert_true(round_is_idle(t.round));
    table_deinit(&t);
}

static void test_round_counts_a_repeated_barrier_once(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2, false);
    push_all(&t, 0);
    for (int i = 0; i < 5; i++)
        barrier(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    push_all(&t, 1);
    barrier(&t, 1);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    round_applied(t.round);
    struct err err = {0};
    assert_int_equal(round_send_barrier(t.round, 0, 1, 5, &err), 1);   // committed already
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    assert_true(round_is_idle(t.round));
    assert_int_equal(round_send_barrier(t.round, 0, 1, 7, &err), SL_EREFUSED);
    table_deinit(&t);
}

static void test_round_drains_repeats_and_stale(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 1, false);
    push(&t, 0, t.w, 0, 32);
    struct err err = {0};
    void *dst;
    struct round_push k = key(&t, 0, t.w, 0, 32);
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_COMPLETE);
    assert_null(dst);
    k.hash++;
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EDIVERGED);
    k = key(&t, 0, t.w, 16, 32);
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_MIXED);
    k.step = 4;
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_STALE);
    k.step = 6;
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EREFUSED);
    k = key(&t, 0, t.w, 8, 8);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    k = key(&t, 0, 999, 0, 8);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    push(&t, 0, t.w, 32, 48);
    push(&t, 0, t.b, 0, 12);
    barrier(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    table_deinit(&t);
}

static void test_round_does_not_count_a_corrupt_chunk(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 1, false);
    struct round_push k = key(&t, 0, t.w, 0, 80);
    void *dst;
    struct err err = {0};
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_SLOT);
    assert_int_equal(round_received(t.round, &k, false, NULL), 0);
    push(&t, 0, t.b, 0, 12);
    barrier(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    struct round_range missing[4];
    uint64_t cursor = 0;
    assert_int_equal(round_missing(t.round, 0, missing, 4, &cursor), 1);
    assert_int_equal(missing[0].offset, 0);
    assert_int_equal(missing[0].bytes, 80);
    assert_int_equal(cursor, 0);
    assert_false(round_cell_ready(t.round, 0, 0) && round_cell_ready(t.round, 1, 0));
    push(&t, 0, t.w, 0, 80);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    table_deinit(&t);
}

static void test_round_lists_missing_ranges_in_pages(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 1, false);
    push(&t, 0, t.w, 16, 16);
    push(&t, 0, t.w, 48, 16);
    struct round_range all[8];
    uint64_t cursor = 0;
    size_t count = 0;
    do {
        count += round_missing(t.round, 0, all + count, 1, &cursor);
    } while (cursor && count < 8);
    assert_int_equal(count, 4);   // b, and w 0, 32, 64
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += all[i].bytes;
    assert_int_equal(bytes, 12 + 16 + 16 + 16);
    table_deinit(&t);
}

static void test_round_fences_a_zombie(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2, false);
    struct err err = {0};
    void *dst;
    // The old incarnation is in the middle of a chunk when the new one takes its place.
    struct round_push old = key(&t, 0, t.w, 0, 80);
    assert_int_equal(round_place(t.round, &old, &dst, &err), ROUND_SLOT);
    push(&t, 0, t.b, 0, 12);
    round_enter(t.round, 0, 2);
    assert_int_equal(round_received(t.round, &old, true, NULL), 0);
    assert_int_equal(round_place(t.round, &old, &dst, &err), ROUND_FENCED);
    assert_int_equal(round_send_barrier(t.round, 0, 1, 5, &err), SL_EREFUSED);
    struct round_push fresh = old;
    fresh.incarnation = 2;
    assert_int_equal(round_place(t.round, &fresh, &dst, &err), ROUND_SLOT);
    assert_int_equal(round_received(t.round, &fresh, true, NULL), 1);
    // What the old one completed stays; the same bytes are acknowledged, others are a divergence.
    fresh.variable = t.b;
    fresh.bytes = 12;
    assert_int_equal(round_place(t.round, &fresh, &dst, &err), ROUND_COMPLETE);
    fresh.hash++;
    assert_int_equal(round_place(t.round, &fresh, &dst, &err), SL_EDIVERGED);
    fresh.incarnation = 3;
    assert_int_equal(round_place(t.round, &fresh, &dst, &err), SL_EREFUSED);
    table_deinit(&t);
}

static void test_round_takes_back_what_was_on_its_way(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 1, false);
    struct err err = {0};
    void *dst;
    struct round_push k = key(&t, 0, t.w, 0, 80);
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_SLOT);
    void *again;
    assert_int_equal(round_place(t.round, &k, &again, &err), ROUND_COMPLETE);   // never two writers
    round_leave(t.round, 0);
    assert_int_equal(round_place(t.round, &k, &again, &err), ROUND_SLOT);
    assert_ptr_equal(again, dst);
    round_abandoned(t.round, &k);
    assert_int_equal(round_place(t.round, &k, &again, &err), ROUND_SLOT);
    assert_int_equal(round_received(t.round, &k, true, NULL), 1);
    table_deinit(&t);
}

static void test_round_completed_trainer_counts_as_zeros(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2, false);
    struct err err = {0};
    push_all(&t, 0);
    push_all(&t, 1);
    assert_int_equal(round_complete(t.round, 1, 1, &err), SL_EREFUSED);   // in the middle of a step
    barrier(&t, 0);
    barrier(&t, 1);
    round_advance(t.round);
    round_applied(t.round);
    assert_int_equal(round_complete(t.round, 1, 1, &err), 0);
    assert_int_equal(round_complete(t.round, 1, 1, &err), 0);   // a set
    assert_int_equal(((uint8_t *)round_slot(t.round, 1, 0))[0], 0);
    push_all(&t, 0);
    assert_true(round_cell_ready(t.round, 0, 0));
    barrier(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    round_applied(t.round);
    struct round_push late = key(&t, 1, t.w, 0, 80);
    void *dst;
    assert_int_equal(round_place(t.round, &late, &dst, &err), ROUND_STALE);
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    assert_int_equal(round_complete(t.round, 0, 1, &err), 0);
    assert_int_equal(round_advance(t.round), ROUND_OVER);
    table_deinit(&t);
}

static void test_round_fetch_barrier_is_a_set(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2, false);
    struct err err = {0};
    bool all;
    assert_int_equal(round_fetch_barrier(t.round, 0, 1, 5, &all, &err), 0);
    assert_false(all);
    assert_int_equal(round_fetch_barrier(t.round, 0, 1, 5, &all, &err), 0);
    assert_false(all);
    assert_int_equal(round_fetch_barrier(t.round, 1, 1, 5, &all, &err), 0);
    assert_true(all);
    assert_int_equal(round_fetch_barrier(t.round, 1, 1, 6, &all, &err), SL_EREFUSED);
    table_deinit(&t);
}

static void test_round_second_phase_waits_for_equal_decisions(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2, true);
    struct err err = {0};
    assert_int_equal(round_commit_step(t.round, 0, 1, 5, ROUND_DO_APPLY, "x", 1, &err),
                     SL_EREFUSED);
    for (int i = 0; i < 2; i++) {
        push_all(&t, i);
        barrier(&t, i);
    }
    assert_int_equal(round_advance(t.round), ROUND_DECIDE);
    assert_int_equal(round_commit_step(t.round, 0, 1, 5, ROUND_DO_SKIP, "norm", 4, &err), 0);
    assert_int_equal(round_commit_step(t.round, 0, 1, 5, ROUND_DO_SKIP, "norm", 4, &err), 0);
    assert_int_equal(round_advance(t.round), ROUND_DECIDE);
    assert_true(round_is_waiting_for(t.round, 1));
    assert_int_equal(round_commit_step(t.round, 1, 1, 5, ROUND_DO_SKIP, "nOrm", 4, &err),
                     SL_EDIVERGED);
    assert_int_equal(round_commit_step(t.round, 1, 1, 5, ROUND_DO_APPLY, "norm", 4, &err),
                     SL_EDIVERGED);
    assert_int_equal(round_commit_step(t.round, 1, 1, 5, ROUND_DO_SKIP, "norm", 4, &err), 0);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    assert_int_equal(round_decision(t.round), ROUND_DO_SKIP);
    size_t bytes;
    assert_memory_equal(round_decision_content(t.round, &bytes), "norm", 4);
    round_applied(t.round);
    assert_int_equal(round_commit_step(t.round, 1, 1, 5, ROUND_DO_SKIP, "norm", 4, &err), 1);
    table_deinit(&t);
}

static void test_round_goes_through_the_stages_of_the_second_phase(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2, true);
    struct err err = {0};
    struct round_options options = {
        .shard = &t.f.shards[0], .trainers = 2, .second_phase = true, .stages = 2, .step = 5};
    round_free(t.round);
    t.round = round_new(&options, &err);
    for (int step = 5; step < 7; step++) {
        for (int i = 0; i < 2; i++) {
            round_enter(t.round, i, 1);
            push_all(&t, i);
            barrier(&t, i);
        }
        assert_int_equal(round_advance(t.round), ROUND_DECIDE);
        for (int stage = 0; stage < 2; stage++) {
            assert_int_equal(round_stage(t.round), stage);
            for (int i = 0; i < 2; i++) {
                assert_int_equal(round_advance(t.round), ROUND_DECIDE);
                assert_int_equal(round_commit_step(t.round, i, 1, (uint64_t)step, ROUND_DO_APPLY,
                                                   stage ? "two" : "one", 3, &err),
                                 0);
            }
            assert_int_equal(round_advance(t.round), stage ? ROUND_APPLY : ROUND_DECIDE);
            size_t bytes;   // of the stage that has ended
            assert_memory_equal(round_decision_content(t.round, &bytes), stage ? "two" : "one", 3);
        }
        round_applied(t.round);
    }
    table_deinit(&t);
}

static void test_round_of_a_server_without_gradients(void **unused)
{
    (void)unused;
    struct slice_map map;
    slice_map_init(&map);
    map.servers = 1;
    map.trainers = 2;
    struct err err = {0};
    assert_int_equal(slice_map_finish(&map, &err), 0);
    struct shard shard;
    assert_int_equal(shard_init(&shard, &map, 0, &err), 0);
    struct round_options options = {.shard = &shard, .trainers = 2};
    struct round *round = round_new(&options, &err);
    round_enter(round, 0, 1);
    round_enter(round, 1, 1);
    assert_int_equal(round_send_barrier(round, 0, 1, 0, &err), 0);
    assert_int_equal(round_advance(round), ROUND_COLLECT);
    assert_int_equal(round_send_barrier(round, 1, 1, 0, &err), 0);
    assert_int_equal(round_advance(round), ROUND_APPLY);
    round_free(round);
    shard_deinit(&shard);
    slice_map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_applies_when_all_are_in),
        cmocka_unit_test(test_round_counts_a_repeated_barrier_once),
        cmocka_unit_test(test_round_drains_repeats_and_stale),
        cmocka_unit_test(test_round_does_not_count_a_corrupt_chunk),
        cmocka_unit_test(test_round_lists_missing_ranges_in_pages),
        cmocka_unit_test(test_round_fences_a_zombie),
        cmocka_unit_test(test_round_takes_back_what_was_on_its_way),
        cmocka_unit_test(test_round_completed_trainer_counts_as_zeros),
        cmocka_unit_test(test_round_fetch_barrier_is_a_set),
        cmocka_unit_test(test_round_second_phase_waits_for_equal_decisions),
        cmocka_unit_test(test_round_goes_through_the_stages_of_the_second_phase),
        cmocka_unit_test(test_round_of_a_server_without_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
