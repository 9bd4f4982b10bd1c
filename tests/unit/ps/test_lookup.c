// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ps/ps_fixture.h"

#include <stdlib.h>

#include "common/ps/lookup.h"

struct table {
    struct fixture f;
    struct lookup lookup;
    int64_t ids[10];
    float out[20];
};

// Rows of t [10,2], of which server 0 has the first 6, wanted in parts of two.
static void table_init(struct table *t, const int64_t *ids, size_t count)
{
    memset(t, 0, sizeof *t);
    fixture_table_init(&t->f, 1);
    t->lookup.part_ids = 2;
    memcpy(t->ids, ids, count * sizeof *ids);
    uint32_t v = 0;
    while (strcmp(t->f.map.vars[v]->name, "t") != 0)
        v++;
    lookup_clear(&t->lookup);
    lookup_add(&t->lookup, v, t->f.map.vars[v], t->ids, count, t->out);
    lookup_begin(&t->lookup);
}

static void table_deinit(struct table *t)
{
    lookup_deinit(&t->lookup);
    fixture_deinit(&t->f);
}

static void answer(struct table *t, int server, uint32_t request, uint64_t offset, uint32_t bytes,
                   bool sound, bool last)
{
    void *dst = lookup_place(&t->lookup, server, request, offset, bytes);
    if (dst)
        memset(dst, (int)request & 0xff, bytes);
    lookup_data(&t->lookup, server, request, bytes, dst, sound, last);
}

static void test_lookup_cuts_at_slices_and_frames(void **unused)
{
    (void)unused;
    static const int64_t ids[] = {0, 2, 3, 5, 6, 9};
    struct table t;
    table_init(&t, ids, 6);
    assert_int_equal(t.lookup.count, 3);
    const struct lookup_part *parts = t.lookup.parts;
    assert_true(parts[0].count == 2 && parts[1].count == 2 && parts[2].count == 2);
    assert_true(parts[1].server == 0 && parts[2].server == 1 && parts[2].slice == 1);
    assert_true(parts[2].ids[0] == 0 && parts[2].ids[1] == 3);   // rows of its slice
    assert_ptr_equal(parts[2].dst, t.out + 8);
    assert_int_equal(parts[1].bytes, 16);
    table_deinit(&t);
    static const int64_t one[] = {7};
    table_init(&t, one, 1);
    assert_int_equal(t.lookup.count, 1);
    assert_null(lookup_take(&t.lookup, 0));
    assert_int_equal(lookup_take(&t.lookup, 1)->ids[0], 1);
    table_deinit(&t);
    table_init(&t, one, 0);
    assert_true(lookup_is_done(&t.lookup));
    table_deinit(&t);
}

static void test_lookup_takes_answers_in_order(void **unused)
{
    (void)unused;
    static const int64_t ids[] = {0, 2, 8};
    struct table t;
    table_init(&t, ids, 3);
    uint32_t a = lookup_take(&t.lookup, 0)->request, b = lookup_take(&t.lookup, 1)->request;
    assert_true(a >= LOOKUP_REQUESTS && b >= LOOKUP_REQUESTS && a != b);
    assert_null(lookup_take(&t.lookup, 0));
    assert_null(lookup_place(&t.lookup, 1, a, 0, 8));    // another server's
    assert_null(lookup_place(&t.lookup, 0, a, 8, 8));    // not the next bytes
    assert_null(lookup_place(&t.lookup, 0, a, 0, 24));   // too many
    answer(&t, 0, a, 0, 8, true, false);
    answer(&t, 0, a, 0, 8, true, false);   // a repeat is drained
    assert_false(lookup_is_done(&t.lookup));
    answer(&t, 0, a, 8, 8, true, true);
    answer(&t, 1, b, 0, 8, true, true);
    assert_true(lookup_is_done(&t.lookup));
    assert_null(lookup_place(&t.lookup, 0, a, 0, 8));
    assert_null(lookup_find(&t.lookup, 0, a));
    table_deinit(&t);
}

static void test_lookup_asks_again(void **unused)
{
    (void)unused;
    static const int64_t ids[] = {0, 1};
    struct table t;
    table_init(&t, ids, 2);
    struct lookup_part *part = lookup_take(&t.lookup, 0);
    uint32_t first = part->request;
    lookup_untake(part);   // no room
    part = lookup_take(&t.lookup, 0);
    answer(&t, 0, part->request, 0, 8, true, false);
    answer(&t, 0, part->request, 8, 8, false, true);   // damaged
    part = lookup_take(&t.lookup, 0);
    assert_non_null(part);
    assert_true(part->request != first);
    answer(&t, 0, first, 0, 8, true, false);   // of a request that is no more
    assert_int_equal(part->got, 0);
    answer(&t, 0, part->request, 0, 8, true, true);   // the end of it was lost
    part = lookup_take(&t.lookup, 0);
    answer(&t, 0, part->request, 0, 8, true, false);
    lookup_again(&t.lookup, 0);
    part = lookup_take(&t.lookup, 0);
    assert_int_equal(part->got, 0);
    answer(&t, 0, part->request, 0, 16, true, true);
    assert_true(lookup_is_done(&t.lookup));
    lookup_again(&t.lookup, 0);
    assert_null(lookup_take(&t.lookup, 0));
    table_deinit(&t);
}

static void test_lookup_may_end_early(void **unused)
{
    (void)unused;
    static const int64_t ids[] = {0, 1, 9};
    struct table t;
    table_init(&t, ids, 3);
    uint32_t request = lookup_take(&t.lookup, 0)->request;
    lookup_end(&t.lookup);
    assert_true(lookup_is_done(&t.lookup));
    assert_null(lookup_place(&t.lookup, 0, request, 0, 8));
    answer(&t, 0, request, 0, 8, true, false);
    assert_null(lookup_take(&t.lookup, 1));
    table_deinit(&t);
}

// A server lets 64 MiB of row numbers wait; half of that is asked at a time.
static void test_lookup_asks_only_what_may_wait(void **unused)
{
    (void)unused;
    struct slice_map map;
    struct lookup lookup = {0};
    struct err err = {0};
    size_t count = 5u << 20;
    int64_t *ids = malloc(count * sizeof *ids);
    float *out = malloc(count * sizeof *out);
    slice_map_init(&map);
    map.servers = map.trainers = 1;
    struct slice_var *v = fixture_var(&map, "t", SLICE_PARAM, NULL, (int64_t)count, 1);
    slice_var_add(v, 0, 0, (int64_t)count, "t");
    assert_int_equal(slice_map_finish(&map, &err), 0);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int64_t)i;
    lookup_add(&lookup, 0, v, ids, count, out);
    lookup_begin(&lookup);
    size_t asked = 0;
    struct lookup_part *part, *first = NULL;
    while ((part = lookup_take(&lookup, 0)) != NULL) {
        first = first ? first : part;
        asked += part->count * sizeof *ids;
    }
    assert_int_equal(asked, LIMIT_LOOKUP_BYTES / 2);
    lookup_data(&lookup, 0, first->request, (uint32_t)first->bytes, first->dst, true, true);
    assert_non_null(lookup_take(&lookup, 0));
    assert_null(lookup_take(&lookup, 0));
    lookup_deinit(&lookup);
    slice_map_deinit(&map);
    free(ids);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup_cuts_at_slices_and_frames),
        cmocka_unit_test(test_lookup_takes_answers_in_order),
        cmocka_unit_test(test_lookup_asks_again),
        cmocka_unit_test(test_lookup_may_end_early),
        cmocka_unit_test(test_lookup_asks_only_what_may_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
