// SPDX-License-Identifier: Apache-2.0
// Scopes: variables by name that never move.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/scope.h"

static void test_variables_never_move(void **state)
{
    (void)state;
    struct scope *scope = scope_new();
    struct variable *first = scope_var(scope, "first");
    for (int i = 0; i < 1000; i++) {
        char *name = mem_must_printf("v%d", i);
        scope_var(scope, name);
        mem_free(name);
    }
    assert_ptr_equal(scope_var(scope, "first"), first);
    assert_ptr_equal(scope_find(scope, "first"), first);
    assert_null(scope_find(scope, "absent"));
    scope_free(scope);
}

static void test_names_are_sorted_and_removal_forgets(void **state)
{
    (void)state;
    struct scope *scope = scope_new();
    struct str_list names = {0};
    scope_var(scope, "b");
    scope_var(scope, "a");
    scope_var(scope, "c");
    scope_remove(scope, "b");
    scope_remove(scope, "absent");
    scope_names(scope, &names);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.items[0], "a");
    assert_string_equal(names.items[1], "c");
    assert_null(scope_find(scope, "b"));
    str_list_deinit(&names);
    scope_free(scope);
    scope_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variables_never_move),
        cmocka_unit_test(test_names_are_sorted_and_removal_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
