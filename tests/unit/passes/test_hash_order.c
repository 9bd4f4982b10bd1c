// SPDX-License-Identifier: Apache-2.0
// The order of a set of strings, against CPython 3.7 with PYTHONHASHSEED=0.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/passes/hash_order.h"

// list(set(["fc_%d.w_0@GRAD:%d" % (i, i) for i in range(30)] +
//          ["a", "fc_0.w_0@GRAD.block1:2", "fc_3.w_0@GRAD:3"]))
static const int order_of_30[] = {17, 20, 0, 3, 4,  24, 18, 15, 27, 8, 5,  23, 2, 11, 14, 16,
                                  19, 29, 9, 6, -1, -2, 28, 21, 25, 1, 22, 12, 7, 26, 10, 13};

static void test_hash_order_equals_cpythons_set(void **state)
{
    (void)state;
    struct str_list list = {0};
    for (int i = 0; i < 30; i++)
        str_list_addf(&list, "fc_%d.w_0@GRAD:%d", i, i);
    str_list_add(&list, "a");
    str_list_add(&list, "fc_0.w_0@GRAD.block1:2");
    str_list_add(&list, "fc_3.w_0@GRAD:3");
    hash_order_sort(&list);
    assert_int_equal(list.count, sizeof order_of_30 / sizeof *order_of_30);
    for (size_t i = 0; i < list.count; i++) {
        int n = order_of_30[i];
        char *want = n >= 0 ? mem_must_printf("fc_%d.w_0@GRAD:%d", n, n)
                            : mem_must_strdup(n == -1 ? "a" : "fc_0.w_0@GRAD.block1:2");
        assert_string_equal(list.items[i], want);
        mem_free(want);
    }
    str_list_deinit(&list);
}

static void test_hash_order_of_few(void **state)
{
    (void)state;
    struct str_list list = {0};
    hash_order_sort(&list);
    assert_int_equal(list.count, 0);
    str_list_add(&list, "x");
    str_list_add(&list, "x");
    hash_order_sort(&list);
    assert_int_equal(list.count, 1);
    str_list_deinit(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_order_equals_cpythons_set),
        cmocka_unit_test(test_hash_order_of_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
