// SPDX-License-Identifier: Apache-2.0
// Variables change kind without leaking; selected rows copy deeply.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/tensor/variable.h"

static void fill(struct variable *var)
{
    const int64_t d[] = {2, 3};
    struct dims dims = dims_make(2, d);
    struct selected_rows *sr = variable_rows(var);
    assert_int_equal(tensor_resize(&sr->value, DTYPE_FP32, &dims), 0);
    assert_int_equal(selected_rows_resize(sr, 2), 0);
    sr->height = 9;
    sr->rows[0] = 7;
    sr->rows[1] = 1;
    for (int i = 0; i < 6; i++)
        tensor_f32(&sr->value)[i] = (float)i;
}

static void test_variable_changes_kind(void **state)
{
    (void)state;
    struct variable var;
    variable_init(&var);
    assert_int_equal(var.kind, VARIABLE_EMPTY);
    fill(&var);
    struct tensor *t = variable_tensor(&var);
    assert_int_equal(var.kind, VARIABLE_TENSOR);
    assert_int_equal(tensor_count(t), 0);
    assert_ptr_equal(variable_tensor(&var), t);
    fill(&var);
    assert_int_equal(var.kind, VARIABLE_SELECTED_ROWS);
    variable_deinit(&var);
    variable_deinit(&var);
    variable_deinit(NULL);
}

static void test_variable_copy(void **state)
{
    (void)state;
    struct variable a, b;
    variable_init(&a);
    variable_init(&b);
    fill(&a);
    assert_int_equal(variable_copy(&b, &a), 0);
    assert_int_equal(b.kind, VARIABLE_SELECTED_ROWS);
    assert_ptr_not_equal(a.rows.rows, b.rows.rows);
    assert_int_equal(b.rows.rows[0], 7);
    assert_int_equal(b.rows.height, 9);
    assert_true(tensor_f32(&b.rows.value)[5] == 5.0f);
    unsigned long before = mem_allocation_count();
    assert_int_equal(variable_copy(&b, &a), 0);
    assert_int_equal(mem_allocation_count(), before);
    variable_deinit(&a);
    assert_int_equal(variable_copy(&b, &a), 0);
    assert_int_equal(b.kind, VARIABLE_EMPTY);
    variable_deinit(&b);
}

static void test_selected_rows_resize_refuses(void **state)
{
    (void)state;
    struct selected_rows sr;
    selected_rows_init(&sr);
    assert_int_equal(selected_rows_resize(&sr, SIZE_MAX), SL_ELIMIT);
    mem_fail_nth(1);
    assert_int_equal(selected_rows_resize(&sr, 4), SL_ENOMEM);
    mem_fail_nth(0);
    assert_int_equal(sr.rows_count, 0);
    selected_rows_deinit(&sr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variable_changes_kind),
        cmocka_unit_test(test_variable_copy),
        cmocka_unit_test(test_selected_rows_resize_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
