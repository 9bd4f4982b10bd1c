// SPDX-License-Identifier: Apache-2.0
// Ops on selected rows against what Paddle 1.8.5 makes of the same small inputs, and what they
// refuse.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "tests/unit/ops/op_runner.h"

#define WIDTH 2

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define F(...)                                                                                     \
    (const float[])                                                                                \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

// Rows 8 5 1 5 3 of 10, with values 1..10.
static const int64_t x_rows[] = {8, 5, 1, 5, 3};

static void add_rows(struct op_runner *run, const char *slot, int64_t height, const int64_t *rows,
                     size_t count)
{
    struct selected_rows *sr =
        op_runner_rows(run, slot, DTYPE_FP32, 2, D(height, WIDTH), rows, count);
    for (size_t i = 0; i < count * WIDTH; i++)
        tensor_f32(&sr->value)[i] = (float)(i + 1);
}

static void add_floats(struct op_runner *run, const char *slot, int rank, const int64_t *d,
                       const float *values)
{
    struct tensor *t = op_runner_input(run, slot, DTYPE_FP32, rank, d);
    memcpy(t->data, values, tensor_bytes(t));
}

static struct op_runner *of_x(const char *type)
{
    struct op_runner *run = op_runner_new(type);
    add_rows(run, "X", 10, x_rows, 5);
    op_runner_output(run, "Out", NULL);
    return run;
}

static void run_ok(struct op_runner *run)
{
    struct err err = {0};
    if (op_runner_run(run, &err) < 0)
        fail_msg("%s", err.text);
}

static void expect_rows(struct op_runner *run, size_t output, int64_t height, const int64_t *rows,
                        size_t count, const float *values)
{
    struct variable *var = op_runner_variable(run, "Out", output);
    assert_int_equal(var->kind, VARIABLE_SELECTED_ROWS);
    assert_int_equal(var->rows.height, height);
    assert_int_equal(var->rows.rows_count, count);
    assert_int_equal(var->rows.value.dims.d[0], count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(var->rows.rows[i], rows[i]);
    for (size_t i = 0; i < count * WIDTH; i++)
        assert_true(tensor_f32(&var->rows.value)[i] == values[i]);
}

static void expect_tensor(struct op_runner *run, size_t count, const float *values)
{
    struct variable *var = op_runner_variable(run, "Out", 0);
    assert_int_equal(var->kind, VARIABLE_TENSOR);
    assert_int_equal(tensor_count(&var->tensor), count);
    for (size_t i = 0; i < count; i++)
        assert_true(tensor_f32(&var->tensor)[i] == values[i]);
}

static void expect_refused(struct op_runner *run, int code, const char *words)
{
    struct err err = {0};
    int rc = op_runner_run(run, &err);
    if (rc != code || strstr(err.text, words) == NULL)
        fail_msg("%d \"%s\", expected %d with \"%s\"", rc, err.text, code, words);
    op_runner_free(run);
}

static void test_merged_rows_are_sorted(void **state)
{
    (void)state;
    struct op_runner *run = of_x("merge_selected_rows");
    run_ok(run);
    expect_rows(run, 0, 10, D(1, 3, 5, 8), 4, F(5, 6, 9, 10, 10, 12, 1, 2));
    op_runner_free(run);
}

static void test_rows_become_a_tensor(void **state)
{
    (void)state;
    struct op_runner *run = of_x("get_tensor_from_selected_rows");
    run_ok(run);
    expect_tensor(run, 10, F(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
    op_runner_free(run);
}

static void test_split_rows_count_from_their_section(void **state)
{
    (void)state;
    struct op_runner *run = of_x("split_selected_rows");
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "Out", NULL);
    op_runner_ints(run, "height_sections", D(3, 6, 1), 3);
    run_ok(run);
    expect_rows(run, 0, 3, D(1), 1, F(5, 6));
    expect_rows(run, 1, 6, D(5, 2, 2, 0), 4, F(1, 2, 3, 4, 7, 8, 9, 10));
    expect_rows(run, 2, 1, D(0), 0, NULL);
    op_runner_free(run);
}

static void test_split_refuses_other_sections(void **state)
{
    (void)state;
    struct op_runner *run = of_x("split_selected_rows");
    op_runner_ints(run, "height_sections", D(5, 5), 2);
    expect_refused(run, SL_EINVAL, "1 outputs for 2");
    run = of_x("split_selected_rows");
    op_runner_ints(run, "height_sections", D(9), 1);
    expect_refused(run, SL_EMISMATCH, "height 10");
    run = op_runner_new("split_selected_rows");
    add_rows(run, "X", 10, D(3, 10), 2);
    op_runner_output(run, "Out", NULL);
    op_runner_ints(run, "height_sections", D(10), 1);
    expect_refused(run, SL_EINVAL, "row 1 of X is 10");
}

static void test_scale_and_assign_keep_the_rows(void **state)
{
    (void)state;
    struct op_runner *run = of_x("scale");
    op_runner_float(run, "scale", 2);
    run_ok(run);
    expect_rows(run, 0, 10, x_rows, 5, F(2, 4, 6, 8, 10, 12, 14, 16, 18, 20));
    op_runner_free(run);
    run = of_x("assign");
    run_ok(run);
    expect_rows(run, 0, 10, x_rows, 5, F(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
    op_runner_free(run);
    run = op_runner_new("scale");
    add_rows(run, "X", 10, x_rows, 5);
    op_runner_in_place(run, "Out", "X");
    op_runner_float(run, "scale", 3);
    run_ok(run);
    expect_rows(run, 0, 10, x_rows, 5, F(3, 6, 9, 12, 15, 18, 21, 24, 27, 30));
    op_runner_free(run);
}

static void test_clips_merge_first(void **state)
{
    (void)state;
    struct op_runner *run = of_x("clip");
    op_runner_float(run, "min", 2);
    op_runner_float(run, "max", 7);
    run_ok(run);
    expect_rows(run, 0, 10, D(1, 3, 5, 8), 4, F(5, 6, 7, 7, 7, 7, 2, 2));
    op_runner_free(run);
    // The norm of (3, 4): 5.
    run = op_runner_new("clip_by_norm");
    struct selected_rows *sr = op_runner_rows(run, "X", DTYPE_FP32, 2, D(4, 1), D(3, 1, 3), 3);
    memcpy(sr->value.data, F(1, 3, 3), 3 * sizeof(float));
    op_runner_output(run, "Out", NULL);
    op_runner_float(run, "max_norm", 2.5f);
    run_ok(run);
    const struct selected_rows *out = &op_runner_variable(run, "Out", 0)->rows;
    assert_int_equal(out->rows_count, 2);
    assert_true(tensor_f32(&out->value)[0] == 1.5f && tensor_f32(&out->value)[1] == 2);
    op_runner_free(run);
    run = op_runner_new("clip");
    add_rows(run, "X", 10, x_rows, 5);
    op_runner_in_place(run, "Out", "X");
    op_runner_float(run, "max", 7);
    expect_refused(run, SL_EUNSUPPORTED, "in place");
}

static void test_a_number_multiplies_rows(void **state)
{
    (void)state;
    struct op_runner *run = of_x("elementwise_mul");
    add_floats(run, "Y", 1, D(1), F(3));
    run_ok(run);
    expect_rows(run, 0, 10, x_rows, 5, F(3, 6, 9, 12, 15, 18, 21, 24, 27, 30));
    op_runner_free(run);
    run = of_x("elementwise_mul");
    add_floats(run, "Y", 1, D(2), F(3, 4));
    expect_refused(run, SL_EMISMATCH, "one number");
    run = of_x("elementwise_add");
    add_floats(run, "Y", 1, D(1), F(3));
    expect_refused(run, SL_EUNSUPPORTED, "elementwise_add");
}

static void test_sum_of_rows_is_rows(void **state)
{
    (void)state;
    for (int in_place = 0; in_place < 2; in_place++) {
        struct op_runner *run = op_runner_new("sum");
        add_rows(run, "X", 10, x_rows, 4);
        add_rows(run, "X", 10, D(5, 0), 2);
        if (in_place)
            op_runner_in_place(run, "Out", "X");
        else
            op_runner_output(run, "Out", NULL);
        run_ok(run);
        expect_rows(run, 0, 10, D(0, 1, 5, 8), 4, F(3, 4, 5, 6, 11, 14, 1, 2));
        op_runner_free(run);
    }
    struct op_runner *run = op_runner_new("sum");
    add_rows(run, "X", 10, x_rows, 0);
    add_rows(run, "X", 10, x_rows, 0);
    op_runner_output(run, "Out", NULL);
    run_ok(run);
    expect_rows(run, 0, 10, x_rows, 0, NULL);
    op_runner_free(run);
}

static void test_sum_with_a_tensor_is_a_tensor(void **state)
{
    (void)state;
    for (int order = 0; order < 3; order++) {
        struct op_runner *run = op_runner_new("sum");
        if (order == 0)
            add_rows(run, "X", 3, D(2, 1, 2), 3);
        add_floats(run, "X", 2, D(3, 2), F(1, 1, 1, 1, 1, 1));
        if (order != 0)
            add_rows(run, "X", 3, D(2, 1, 2), 3);
        if (order == 2)
            op_runner_in_place(run, "Out", "X");
        else
            op_runner_output(run, "Out", NULL);
        run_ok(run);
        expect_tensor(run, 6, F(1, 1, 4, 5, 7, 9));
        op_runner_free(run);
    }
    struct op_runner *run = op_runner_new("sum");
    add_rows(run, "X", 3, D(2, 3), 2);
    add_floats(run, "X", 2, D(3, 2), F(1, 1, 1, 1, 1, 1));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EINVAL, "3");
}

static void test_lookup_gives_a_gradient_of_rows(void **state)
{
    static const char *const types[] = {"lookup_table_grad", "lookup_table_v2_grad"};
    (void)state;
    for (int v2 = 0; v2 < 2; v2++) {
        for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
            struct op_runner *run = op_runner_new(types[v2]);
            if (elsewhere)
                add_rows(run, "W", 5, D(0), 0);
            else
                op_runner_input(run, "W", DTYPE_FP32, 2, D(5, WIDTH));
            struct tensor *ids = op_runner_input(run, "Ids", DTYPE_INT64, v2 ? 1 : 2, D(4, 1));
            memcpy(ids->data, D(2, 4, 2, 0), 4 * sizeof(int64_t));
            add_floats(run, "Out@GRAD", 2, D(4, WIDTH), F(1, 2, 3, 4, 5, 6, 7, 8));
            op_runner_output(run, "W@GRAD", NULL);
            op_runner_int(run, "is_sparse", 1);
            op_runner_int(run, "padding_idx", 2);   // its rows stay, as in Paddle
            run_ok(run);
            const struct selected_rows *dw = &op_runner_variable(run, "W@GRAD", 0)->rows;
            assert_int_equal(op_runner_variable(run, "W@GRAD", 0)->kind, VARIABLE_SELECTED_ROWS);
            assert_int_equal(dw->height, 5);
            assert_int_equal(dw->rows_count, 4);
            assert_memory_equal(dw->rows, ids->data, 4 * sizeof(int64_t));
            for (int i = 0; i < 8; i++)
                assert_true(tensor_f32(&dw->value)[i] == (float)(i + 1));
            op_runner_free(run);
        }
    }
}

static void test_lookup_leaves_a_padding_out_that_is_no_row(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("lookup_table_grad");
    op_runner_input(run, "W", DTYPE_FP32, 2, D(5, WIDTH));
    struct tensor *ids = op_runner_input(run, "Ids", DTYPE_INT64, 2, D(3, 1));
    memcpy(ids->data, D(9, 4, 9), 3 * sizeof(int64_t));
    add_floats(run, "Out@GRAD", 2, D(3, WIDTH), F(1, 2, 3, 4, 5, 6));
    op_runner_output(run, "W@GRAD", NULL);
    op_runner_int(run, "is_sparse", 1);
    op_runner_int(run, "padding_idx", 9);
    run_ok(run);
    const struct selected_rows *dw = &op_runner_variable(run, "W@GRAD", 0)->rows;
    assert_int_equal(dw->rows_count, 1);
    assert_int_equal(dw->rows[0], 4);
    assert_true(tensor_f32(&dw->value)[0] == 3 && tensor_f32(&dw->value)[1] == 4);
    op_runner_int(run, "padding_idx", -1);
    expect_refused(run, SL_EINVAL, "id 0 is 9");
}

// A table that lives on servers: its shape is known, nothing is held, nothing can be looked up.
static void test_fake_init_holds_a_shape_only(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("fake_init");
    op_runner_output(run, "Out", NULL);
    op_runner_ints(run, "shape", D((int64_t)1 << 40, WIDTH), 2);
    run_ok(run);
    expect_rows(run, 0, (int64_t)1 << 40, x_rows, 0, NULL);
    op_runner_free(run);
    run = op_runner_new("lookup_table");
    add_rows(run, "W", 5, D(0), 0);
    op_runner_input(run, "Ids", DTYPE_INT64, 2, D(1, 1));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EUNSUPPORTED, "W is selected rows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merged_rows_are_sorted),
        cmocka_unit_test(test_rows_become_a_tensor),
        cmocka_unit_test(test_split_rows_count_from_their_section),
        cmocka_unit_test(test_split_refuses_other_sections),
        cmocka_unit_test(test_scale_and_assign_keep_the_rows),
        cmocka_unit_test(test_clips_merge_first),
        cmocka_unit_test(test_a_number_multiplies_rows),
        cmocka_unit_test(test_sum_of_rows_is_rows),
        cmocka_unit_test(test_sum_with_a_tensor_is_a_tensor),
        cmocka_unit_test(test_lookup_gives_a_gradient_of_rows),
        cmocka_unit_test(test_lookup_leaves_a_padding_out_that_is_no_row),
        cmocka_unit_test(test_fake_init_holds_a_shape_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
