// SPDX-License-Identifier: Apache-2.0
// Values across the border: feeds, fetches, the scope.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/api/api_net.h"

static void test_api_feed_judges_values(void **state)
{
    (void)state;
    struct sl_error err = {0};
    sl_feed *feed = sl_feed_new();
    float data[6] = {0};
    const uint64_t good[] = {0, 2, 3}, bad_end[] = {0, 2}, falls[] = {0, 3, 2}, late[] = {1, 3};
    struct sl_tensor t = {.dtype = SL_FP32, .shape = SL_SHAPE(3, 2), .data = data};
    assert_int_equal(sl_feed_set(feed, "x", &t, &err), 0);
    t.lod_levels = 1;
    t.lod[0] = good;
    t.lod_count[0] = 3;
    assert_int_equal(sl_feed_set(feed, "x", &t, &err), 0);
    const uint64_t *const bad[] = {bad_end, falls, late, NULL};
    const size_t counts[] = {2, 3, 2, 2};
    for (size_t i = 0; i < 4; i++) {
        t.lod[0] = bad[i];
        t.lod_count[0] = counts[i];
        assert_int_equal(sl_feed_set(feed, "x", &t, &err), SL_ERR_INVALID);
    }
    t = (struct sl_tensor){.dtype = SL_FP32, .shape = SL_SHAPE(-1, 2), .data = data};
    assert_true(sl_feed_set(feed, "x", &t, &err) < 0);
    t = (struct sl_tensor){.dtype = (enum sl_dtype)99, .shape = SL_SHAPE(1), .data = data};
    assert_true(sl_feed_set(feed, "x", &t, &err) < 0);
    t = (struct sl_tensor){.dtype = SL_FP32, .shape = SL_SHAPE(2)};
    assert_true(sl_feed_set(feed, "x", &t, &err) < 0);
    t.data = data;
    assert_true(sl_feed_set(feed, NULL, &t, &err) < 0);
    sl_feed_clear(feed);
    sl_feed_free(feed);
    sl_feed_free(NULL);
}

static void test_api_feed_scope_sets_the_learning_rate(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    struct sl_error err = {0};
    sl_executor *exe = sl_executor_new(SL_CPU);
    struct sl_tensor before, after;
    float kept[4], zero = 0;
    api_net_start(&n, exe);
    assert_true(sl_scope_has(exe, "learning_rate_0"));
    assert_false(sl_scope_has(exe, "no_such"));
    assert_int_equal(sl_scope_get(exe, "learning_rate_0", &before, &err), 0);
    assert_true(*(const float *)before.data == 0.1f);
    const struct sl_tensor rate = {.dtype = SL_FP32, .shape = SL_SHAPE(1), .data = &zero};
    assert_int_equal(sl_scope_set(exe, "learning_rate_0", &rate, &err), 0);
    assert_int_equal(sl_scope_get(exe, "fc_0.w_0", &before, &err), 0);
    assert_int_equal(before.shape.rank, 2);
    assert_int_equal(before.bytes, sizeof kept);
    memcpy(kept, before.data, sizeof kept);
    api_net_run(&n, exe, n.main);
    assert_int_equal(sl_scope_get(exe, "fc_0.w_0", &after, &err), 0);
    assert_memory_equal(kept, after.data, sizeof kept);
    assert_int_equal(sl_scope_get(exe, "no_such", &after, &err), SL_ERR_NOT_FOUND);
    api_net_says(&err, "no_such");
    sl_executor_free(exe);
    api_net_free(&n);
}

static void test_api_feed_fetch_before_a_run(void **state)
{
    (void)state;
    sl_fetch *fetch = sl_fetch_new();
    for (int i = 0; i < 20; i++)
        sl_fetch_add(fetch, "a");
    assert_int_equal(sl_fetch_count(fetch), 20);
    assert_null(sl_fetch_get(fetch, 0));
    double number = sl_fetch_number(fetch, 0);
    assert_true(number != number);
    sl_fetch_free(fetch);
    sl_fetch_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_feed_judges_values),
        cmocka_unit_test(test_api_feed_scope_sets_the_learning_rate),
        cmocka_unit_test(test_api_feed_fetch_before_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
