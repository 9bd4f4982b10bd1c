// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/ps/merge.h"

static int add(struct merge *merge, int trainer, uint32_t key, int64_t number,
               struct merge_sum **out)
{
    const int64_t numbers[] = {number, -number, INT64_MAX};
    struct err err = {0};
    int rc = merge_add(merge, trainer, key, numbers, 3, out, &err);
    if (rc < 0)
        fail_msg("%s", err.text);
    return rc;
}

static void test_merge_adds_once(void **unused)
{
    (void)unused;
    struct merge *merge = merge_new(3);
    struct merge_sum *sum, *again;
    assert_int_equal(add(merge, 2, 7, 100, &sum), 0);
    assert_int_equal(add(merge, 0, 7, 1, &sum), 0);
    assert_int_equal(add(merge, 0, 7, 1000, &again), 0);   // a repeat
    assert_ptr_equal(sum, again);
    assert_false(sum->settled);
    assert_null(merge_next(merge));
    assert_int_equal(add(merge, 1, 7, 10, &sum), 1);
    assert_ptr_equal(merge_next(merge), sum);
    assert_null(merge_next(merge));
    assert_true(sum->settled && sum->trainers == 3);
    assert_int_equal(sum->numbers[0], 111);
    assert_int_equal(sum->numbers[1], -111);
    assert_true(sum->numbers[2] == INT64_MAX - 2);       // modulo 2^64
    assert_int_equal(add(merge, 1, 7, 10, &again), 0);   // gets the answer again
    assert_ptr_equal(sum, again);
    assert_int_equal(sum->numbers[0], 111);
    merge_free(merge);
}

static void test_merge_waits_for_nobody_who_has_gone_on_or_left(void **unused)
{
    (void)unused;
    struct merge *merge = merge_new(3);
    struct merge_sum *sum, *later, *late;
    add(merge, 0, 1, 1, &sum);
    assert_int_equal(add(merge, 1, 2, 5, &later), 0);   // it has nothing of 1
    assert_int_equal(merge_leave(merge, 2), 1);
    assert_ptr_equal(merge_next(merge), sum);
    assert_int_equal(sum->trainers, 1);
    assert_int_equal(add(merge, 1, 1, 9, &late), 0);   // too late to count
    assert_ptr_equal(late, sum);
    assert_int_equal(sum->numbers[0], 1);
    assert_int_equal(merge_leave(merge, 0), 1);
    assert_ptr_equal(merge_next(merge), later);
    assert_int_equal(later->trainers, 1);
    assert_int_equal(later->numbers[0], 5);
    assert_int_equal(merge_leave(merge, 1), 0);
    merge_free(merge);
}

static void test_merge_of_other_counts_is_an_error(void **unused)
{
    (void)unused;
    struct merge *merge = merge_new(2);
    struct merge_sum *sum;
    struct err err = {0};
    const int64_t numbers[4] = {0};
    add(merge, 0, 1, 1, &sum);
    assert_int_equal(merge_add(merge, 1, 1, numbers, 4, &sum, &err), SL_EMISMATCH);
    assert_string_equal(err.text, "sum 1: 4 numbers, others have added 3");
    merge_free(merge);
}

static void test_merge_is_bounded(void **unused)
{
    (void)unused;
    struct merge *merge = merge_new(2);
    struct merge_sum *sum, *first = NULL;
    for (uint32_t key = 0; key <= MERGE_OPEN_MAX; key++) {
        int rc = add(merge, 0, key, 1, &sum);
        first = first ? first : sum;
        assert_int_equal(rc, key == MERGE_OPEN_MAX);
    }
    assert_true(first->settled && first->trainers == 1);
    merge_hold(first);
    assert_int_equal(add(merge, 1, 1000, 1, &sum), 1);
    size_t told = 0;
    while (merge_next(merge))
        told++;
    assert_int_equal(told, MERGE_OPEN_MAX + 1);
    size_t kept = 0;
    while (merge_settled(merge, kept))
        kept++;
    assert_int_equal(kept, MERGE_SETTLED_MAX);
    assert_int_equal(first->numbers[0], 1);   // dropped, and held
    merge_release(first);
    merge_free(merge);
}

// Trainers that add to some keys in their order, repeat and leave at any time: whatever the order,
// a sum has what those have added who could, once each.
static void test_merge_in_any_order(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < 300; seed++) {
        uint64_t rng = seed;

        int trainers = 1 + (int)(rng_next_u64(&rng) % 4);
        uint32_t next[4] = {0}, keys = 12;
        bool added[4][12] = {{false}};
        int64_t want[12] = {0}, got[12] = {0};
        size_t adders[12] = {0}, settled = 0, opened = 0;
        struct merge *merge = merge_new(trainers);
        struct merge_sum *sum;
        for (int left = 0; left < trainers;) {
            int t = (int)(rng_next_u64(&rng) % (uint64_t)trainers);
            if (next[t] > keys)
                continue;
            uint64_t what = rng_next_u64(&rng) % 4;
            uint32_t key = next[t];
            if (key == keys) {
                merge_leave(merge, t);
                left++;
                next[t]++;
            } else if (what == 0 && key > 0 && added[t][key - 1]) {   // again
                (void)add(merge, t, key - 1, 1 + t, &sum);
            } else {
                opened += adders[key] == 0 && what != 1;
                if (what != 1) {
                    add(merge, t, key, 1 + t, &sum);
                    want[key] += 1 + t;
                    adders[key]++;
                    added[t][key] = true;
                }
                next[t]++;
            }
            while ((sum = merge_next(merge)) != NULL) {
                settled++;
                got[sum->key] = sum->numbers[0];
                assert_int_equal(sum->trainers, adders[sum->key]);
            }
        }
        assert_int_equal(settled, opened);
        assert_memory_equal(want, got, sizeof want);
        merge_free(merge);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_adds_once),
        cmocka_unit_test(test_merge_waits_for_nobody_who_has_gone_on_or_left),
        cmocka_unit_test(test_merge_of_other_counts_is_an_error),
        cmocka_unit_test(test_merge_is_bounded),
        cmocka_unit_test(test_merge_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
