// SPDX-License-Identifier: Apache-2.0
// The map keeps insertion order through replacing and removing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/map.h"

static void order_is(const struct map *map, const char *want)
{
    char got[256] = "";
    for (const struct map_entry *e = map_first(map); e; e = map_next(e)) {
        size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%s=%s ", map_key(e), (char *)map_value(e));
    }
    assert_string_equal(got, want);
}

static void test_map_iterates_in_insertion_order(void **state)
{
    (void)state;
    char one[] = "1", two[] = "2", three[] = "3";
    struct map map;
    map_init(&map);
    map_set(&map, "zebra", one);
    map_set(&map, "ant", two);
    map_set(&map, "mouse", three);
    order_is(&map, "zebra=1 ant=2 mouse=3 ");
    map_set(&map, "zebra", three);
    order_is(&map, "zebra=3 ant=2 mouse=3 ");
    assert_ptr_equal(map_remove(&map, "ant"), two);
    assert_null(map_remove(&map, "ant"));
    map_set(&map, "ant", one);
    order_is(&map, "zebra=3 mouse=3 ant=1 ");
    map_deinit(&map);
    assert_int_equal(map_count(&map), 0);
    assert_null(map_first(&map));
}

static void test_map_copies_keys(void **state)
{
    (void)state;
    char key[8] = "k", value[] = "v";
    struct map map;
    map_init(&map);
    map_set(&map, key, value);
    key[0] = 'x';
    assert_ptr_equal(map_get(&map, "k"), value);
    assert_null(map_get(&map, "x"));
    assert_null(map_get(&map, ""));
    map_set(&map, "", value);
    assert_ptr_equal(map_get(&map, ""), value);
    map_deinit(&map);
}

static void test_map_holds_many(void **state)
{
    (void)state;
    static int values[5000];
    struct map map;
    map_init(&map);
    char key[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "fc_%d.w_0", i);
        map_set(&map, key, &values[i]);
    }
    assert_int_equal(map_count(&map), 5000);
    int i = 0;
    for (const struct map_entry *e = map_first(&map); e; e = map_next(e), i++)
        assert_ptr_equal(map_value(e), &values[i]);
    assert_int_equal(i, 5000);
    assert_ptr_equal(map_get(&map, "fc_4321.w_0"), &values[4321]);
    map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_iterates_in_insertion_order),
        cmocka_unit_test(test_map_copies_keys),
        cmocka_unit_test(test_map_holds_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
