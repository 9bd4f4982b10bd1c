// SPDX-License-Identifier: Apache-2.0
// Names count for each key alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/program/unique_name.h"

static void test_unique_name_counts_each_key(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"fc", "fc_0"},
        {"fc", "fc_1"},
        {"fc_0.tmp", "fc_0.tmp_0"},
        {"fc", "fc_2"},
        {"fc_0.tmp", "fc_0.tmp_1"},
    };
    struct unique_name names;
    unique_name_init(&names);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *name = unique_name_next(&names, rows[i][0]);
        assert_string_equal(name, rows[i][1]);
        mem_free(name);
    }
    unique_name_deinit(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unique_name_counts_each_key)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
