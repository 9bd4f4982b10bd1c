// SPDX-License-Identifier: Apache-2.0
// Gradients that come as selected rows: t@GRAD of the fixture's table, 16 bytes a row and a cell.
#include <stdio.h>

#include "tests/unit/ps/ps_fixture.h"

#include "common/base/mem.h"
#include "common/ps/round.h"

struct table {
    struct fixture f;
    struct round *round;
    uint32_t t, b;   // wire indices of the gradients
    int grad;        // of t
};

static void table_init(struct table *t, int trainers)
{
    fixture_table_init(&t->f, trainers);
    struct err err = {0};
    struct round_options options = {.shard = &t->f.shards[0], .trainers = trainers, .step = 5};
    t->round = round_new(&options, &err);
    assert_non_null(t->round);
    int none;
    const struct shard_slice *slice =
        shard_grad_by_name(&t->f.shards[0], "t@GRAD.block0.trainer_1", &none);
    t->t = slice->variable;
    t->grad = slice->grad;
    t->b = shard_grad_by_name(&t->f.shards[0], "b@GRAD", &none)->variable;
    for (int i = 0; i < trainers; i++)
        round_enter(t->round, i, 1);
}

static void table_deinit(struct table *t)
{
    round_free(t->round);
    fixture_deinit(&t->f);
}

static struct round_push key(struct table *t, int trainer, uint32_t rows, uint64_t offset,
                             uint64_t bytes)
{
    return (struct round_push){.trainer = trainer,
                               .incarnation = 1,
                               .step = round_step(t->round),
                               .variable = t->t,
                               .offset = offset,
                               .bytes = bytes,
                               .hash = 100 + offset,
                               .sparse = true,
                               .rows = rows};
}

// Writes the message of rows (values: 10 * row, 10 * row + 1) into out.
static void message(uint8_t *out, const int64_t *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        float tenfold = 10 * (float)rows[i], values[2] = {tenfold, tenfold + 1};
        memcpy(out + 8 * i, &rows[i], 8);
        memcpy(out + 8 * count + 8 * i, values, 8);
    }
}

// Sends cells [first, end) of a message in one chunk; returns round_received's code.
static int send_cells(struct table *t, int trainer, const int64_t *rows, uint32_t count,
                      uint32_t first, uint32_t end, struct err *err)
{
    uint8_t bytes[512];
    message(bytes, rows, count);
    struct round_push k = key(t, trainer, count, first * 16u, (end - first) * 16u);
    void *dst;
    int rc = round_place(t->round, &k, &dst, err);
    if (rc != ROUND_SLOT)
        return rc < 0 ? rc : -1000 - rc;
    if (k.bytes)
        memcpy(dst, bytes + k.offset, (size_t)k.bytes);
    return round_received(t->round, &k, true, err);
}

static void send_rows(struct table *t, int trainer, const int64_t *rows, uint32_t count)
{
    struct err err = {0};
    if (send_cells(t, trainer, rows, count, 0, count, &err) != 1)
        fail_msg("%s", err.text);
}

static void finish(struct table *t, int trainer)
{
    struct err err = {0};
    struct round_push k = key(t, trainer, 0, 0, 12);
    void *dst;
    k.variable = t->b;
    k.sparse = false;
    assert_int_equal(round_place(t->round, &k, &dst, &err), ROUND_SLOT);
    assert_int_equal(round_received(t->round, &k, true, &err), 1);
    assert_int_equal(round_send_barrier(t->round, trainer, 1, round_step(t->round), &err), 0);
}

static void holds(struct table *t, int trainer, const int64_t *rows, uint32_t count)
{
    const int64_t *got;
    const void *values;
    assert_int_equal(round_rows(t->round, trainer, t->grad, &got, &values), count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(got[i], rows[i]);
        assert_true(((const float *)values)[2 * i + 1] == (float)(10 * rows[i] + 1));
    }
}

static void test_round_rows_of_different_numbers_make_a_step(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2);
    static const int64_t one[] = {0, 2, 5}, two[] = {1};
    send_rows(&t, 0, one, 3);
    finish(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    assert_true(round_is_waiting_for(t.round, 1));
    send_rows(&t, 1, two, 1);
    finish(&t, 1);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    holds(&t, 0, one, 3);
    holds(&t, 1, two, 1);
    assert_null(round_slot(t.round, 0, t.grad));
    round_applied(t.round);
    holds(&t, 0, NULL, 0);
    table_deinit(&t);
}

static void test_round_rows_may_be_none_but_must_come(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 1);
    struct err err = {0};
    finish(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_COLLECT);
    struct round_range range;
    uint64_t cursor = 0;
    assert_int_equal(round_missing(t.round, 0, &range, 1, &cursor), 1);
    assert_int_equal(range.offset, 0);
    assert_int_equal(range.bytes, 6 * 16);   // nobody said how many: the most there may be
    assert_int_equal(cursor, 0);
    assert_int_equal(send_cells(&t, 0, NULL, 0, 0, 0, &err), 1);
    assert_int_equal(round_missing(t.round, 0, &range, 1, &cursor), 0);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    holds(&t, 0, NULL, 0);
    table_deinit(&t);
}

static void test_round_rows_are_asked_for_by_cell(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 1);
    struct err err = {0};
    static const int64_t rows[] = {0, 1, 2, 3, 4};
    assert_int_equal(send_cells(&t, 0, rows, 5, 1, 3, &err), 1);
    struct round_range ranges[4];
    uint64_t cursor = 0;
    assert_int_equal(round_missing(t.round, 0, ranges, 2, &cursor), 2);   // b@GRAD first
    assert_int_equal(ranges[1].offset, 0);
    assert_int_equal(ranges[1].bytes, 16);
    assert_true(cursor != 0);
    assert_int_equal(round_missing(t.round, 0, ranges + 2, 2, &cursor), 1);
    assert_int_equal(ranges[2].offset, 48);
    assert_int_equal(ranges[2].bytes, 32);
    assert_int_equal(cursor, 0);
    // A repeat is drained, a part of it is told apart.
    assert_int_equal(send_cells(&t, 0, rows, 5, 1, 3, &err), -1000 - ROUND_COMPLETE);
    assert_int_equal(send_cells(&t, 0, rows, 5, 2, 4, &err), -1000 - ROUND_MIXED);
    // What was on its way is missing after a loss.
    struct round_push k = key(&t, 0, 5, 48, 32);
    void *dst;
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_SLOT);
    round_leave(t.round, 0);
    assert_int_equal(round_received(t.round, &k, true, &err), 0);
    assert_int_equal(send_cells(&t, 0, rows, 5, 3, 5, &err), 1);
    assert_int_equal(send_cells(&t, 0, rows, 5, 0, 1, &err), 1);
    finish(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    holds(&t, 0, rows, 5);
    // Of the step before: stale, whatever they say.
    round_applied(t.round);
    k = key(&t, 0, 2, 0, 32);
    k.step--;
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_STALE);
    k.incarnation = 0;
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_FENCED);
    table_deinit(&t);
}

static void test_round_rows_keep_their_number(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 1);
    struct err err = {0};
    static const int64_t rows[] = {0, 1, 2, 3, 4, 5};
    // Nothing of three rows has come: there may be six after all.
    struct round_push k = key(&t, 0, 3, 0, 16);
    void *dst;
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_SLOT);
    assert_int_equal(send_cells(&t, 0, rows, 6, 0, 2, &err), SL_EDIVERGED);
    round_leave(t.round, 0);
    assert_int_equal(send_cells(&t, 0, rows, 6, 0, 2, &err), 1);
    assert_int_equal(round_received(t.round, &k, true, &err), 0);
    assert_int_equal(send_cells(&t, 0, rows, 3, 2, 3, &err), SL_EDIVERGED);
    assert_non_null(strstr(err.text, "trainer 0 sent 6 rows of t@GRAD.block0 in step 5 and now "
                                     "says that there are 3"));
    assert_int_equal(send_cells(&t, 0, rows, 6, 2, 6, &err), 1);
    finish(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    holds(&t, 0, rows, 6);
    table_deinit(&t);
}

static void test_round_rows_survive_a_new_incarnation(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 1);
    struct err err = {0};
    static const int64_t rows[] = {1, 4};
    assert_int_equal(send_cells(&t, 0, rows, 2, 0, 1, &err), 1);
    round_enter(t.round, 0, 2);
    struct round_push k = key(&t, 0, 2, 0, 16);
    void *dst;
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_FENCED);
    k.incarnation = 2;
    assert_int_equal(round_place(t.round, &k, &dst, &err), ROUND_COMPLETE);
    k.hash++;
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EDIVERGED);
    table_deinit(&t);
}

static void test_round_rows_are_judged(void **unused)
{
    (void)unused;
    static const struct {
        int64_t rows[4];
        uint32_t count;
        const char *says;
    } bad[] = {
        {{0, 6}, 2, "row 6 is not in [0,6)"},
        {{-1, 2}, 2, "row -1 is not in [0,6)"},
        {{INT64_MAX}, 1, "is not in [0,6)"},
        {{3, 1, 4}, 3, "not ascending: 1 comes after 3"},
        {{3, 3}, 2, "not ascending: 3 comes after 3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct table t;
        table_init(&t, 1);
        struct err err = {0};
        assert_int_equal(send_cells(&t, 0, bad[i].rows, bad[i].count, 0, bad[i].count, &err),
                         SL_EINVAL);
        if (!strstr(err.text, bad[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.text, bad[i].says);
        table_deinit(&t);
    }
    struct table t;
    table_init(&t, 1);
    struct err err = {0};
    void *dst;
    struct round_push k = key(&t, 0, 7, 0, 16);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "a push of 7 rows, but the slice has 6"));
    k = key(&t, 0, UINT32_MAX, 0, 16);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    k = key(&t, 0, 2, 0, 48);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    k = key(&t, 0, 2, 8, 24);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    k = key(&t, 0, 2, 0, 8);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    k = key(&t, 0, 2, 0, 0);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    k = key(&t, 0, 2, UINT64_MAX - 15, 16);
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    k = key(&t, 0, 0, 0, 12);
    k.variable = t.b;
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "b@GRAD: it is pushed as rows, but the slice map says whole"));
    k = key(&t, 0, 0, 0, 48);
    k.sparse = false;
    assert_int_equal(round_place(t.round, &k, &dst, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "it is pushed whole, but the slice map says rows"));
    table_deinit(&t);
}

static void test_round_rows_of_a_completed_trainer_are_none(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2);
    struct err err = {0};
    static const int64_t rows[] = {2};
    assert_int_equal(round_complete(t.round, 1, 1, &err), 0);
    send_rows(&t, 0, rows, 1);
    finish(&t, 0);
    assert_int_equal(round_advance(t.round), ROUND_APPLY);
    holds(&t, 0, rows, 1);
    holds(&t, 1, NULL, 0);
    table_deinit(&t);
}

// Batches of one size: memory grows once, at a step's end, and then no more.
static void test_round_rows_allocate_nothing_in_steady_state(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t, 2);
    static const int64_t rows[] = {0, 1, 2, 3, 4, 5};
    unsigned long before = 0;
    for (int step = 0; step < 20; step++) {
        for (int trainer = 0; trainer < 2; trainer++) {
            uint32_t count = (uint32_t)((step + trainer) % 3 + 4);
            send_rows(&t, trainer, rows, count);
            finish(&t, trainer);
        }
        assert_int_equal(round_advance(t.round), ROUND_APPLY);
        holds(&t, 1, rows, (uint32_t)((step + 1) % 3 + 4));
        round_applied(t.round);
        if (step == 4)
            before = mem_allocation_count();
    }
    assert_int_equal(mem_allocation_count() - before, 0);
    table_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_rows_of_different_numbers_make_a_step),
        cmocka_unit_test(test_round_rows_may_be_none_but_must_come),
        cmocka_unit_test(test_round_rows_are_asked_for_by_cell),
        cmocka_unit_test(test_round_rows_keep_their_number),
        cmocka_unit_test(test_round_rows_survive_a_new_incarnation),
        cmocka_unit_test(test_round_rows_are_judged),
        cmocka_unit_test(test_round_rows_of_a_completed_trainer_are_none),
        cmocka_unit_test(test_round_rows_allocate_nothing_in_steady_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
