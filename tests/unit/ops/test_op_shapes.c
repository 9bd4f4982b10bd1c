// SPDX-License-Identifier: Apache-2.0
// Shapes as the builder asks for them (-1 = not known yet), and what is refused with which words.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ops/op_runner.h"

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void expect_dims(const struct op_runner *run, const char *slot, size_t i, const char *text)
{
    char got[DIMS_TEXT_MAX];
    assert_true(op_runner_dims(run, slot, i)->set);
    assert_string_equal(dims_format(&op_runner_dims(run, slot, i)->dims, got), text);
}

static void expect_ok(struct op_runner *run)
{
    struct err err = {0};
    if (op_runner_infer(run, &err) < 0)
        fail_msg("%s", err.text);
}

static void expect_refused(struct op_runner *run, const char *words)
{
    struct err err = {0};
    assert_true(op_runner_infer(run, &err) < 0);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" has no \"%s\"", err.text, words);
    op_runner_free(run);
}

static void test_mul_flattens_both_sides(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("mul");
    op_runner_int(run, "x_num_col_dims", 2);
    op_runner_int(run, "y_num_col_dims", 2);
    op_runner_shape(run, "X", DTYPE_FP32, 4, D(-1, 7, 3, 4));
    op_runner_shape(run, "Y", DTYPE_FP32, 3, D(6, 2, 5));
    op_runner_output(run, "Out", NULL);
    expect_ok(run);
    expect_dims(run, "Out", 0, "[-1,7,5]");
    op_runner_free(run);
}

static void test_mul_refuses_other_inner_sizes(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("mul");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, 13));
    op_runner_shape(run, "Y", DTYPE_FP32, 2, D(12, 1));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, "X has 13 columns, Y has 12 rows");
    run = op_runner_new("mul");
    op_runner_shape(run, "X", DTYPE_FP32, 1, D(13));
    op_runner_shape(run, "Y", DTYPE_FP32, 2, D(13, 1));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, "x_num_col_dims 1");
}

static void test_missing_input_is_named(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("mul");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, 13));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, "input Y is missing");
}

static void test_elementwise_follows_the_broadcast_rule(void **state)
{
    (void)state;
    static const struct {
        int x_rank;
        int64_t x[4];
        int y_rank;
        int64_t y[4];
        int64_t axis;
        const char *out;   // NULL: refused
    } rows[] = {
        {2, {-1, 200}, 1, {200}, 1, "[-1,200]"},
        {2, {-1, 1}, 1, {1}, 1, "[-1,1]"},
        {4, {2, 3, 4, 5}, 2, {3, 4}, 1, "[2,3,4,5]"},
        {4, {2, 3, 4, 5}, 1, {5}, -1, "[2,3,4,5]"},
        {3, {2, 3, 4}, 3, {2, 1, 4}, -1, "[2,3,4]"},
        {2, {-1, 1}, 2, {-1, 6}, -1, "[-1,6]"},
        {3, {2, 3, 4}, 2, {3, 1}, 1, "[2,3,4]"},
        {2, {2, 3}, 2, {2, 1}, 0, "[2,3]"},
        {2, {5, 3}, 2, {3, 1}, 1, NULL},
        {1, {3}, 3, {2, 3, 4}, 1, "[2,3,4]"},
        {2, {2, 3}, 1, {2}, -1, NULL},
        {2, {2, 3}, 1, {4}, 1, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct op_runner *run = op_runner_new("elementwise_add");
        op_runner_int(run, "axis", rows[i].axis);
        op_runner_shape(run, "X", DTYPE_FP32, rows[i].x_rank, rows[i].x);
        op_runner_shape(run, "Y", DTYPE_FP32, rows[i].y_rank, rows[i].y);
        op_runner_output(run, "Out", NULL);
        if (rows[i].out == NULL) {
            expect_refused(run, "does not go along X");
            continue;
        }
        expect_ok(run);
        expect_dims(run, "Out", 0, rows[i].out);
        op_runner_free(run);
    }
}

static void test_cross_entropy2_keeps_the_shape_of_x(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("cross_entropy2");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, 10));
    op_runner_shape(run, "Label", DTYPE_INT64, 2, D(-1, 1));
    op_runner_output(run, "Y", NULL);
    op_runner_output(run, "XShape", NULL);
    op_runner_output(run, "MatchX", NULL);
    expect_ok(run);
    expect_dims(run, "Y", 0, "[-1,1]");
    expect_dims(run, "XShape", 0, "[-1,10,0]");
    expect_dims(run, "MatchX", 0, "[-1,1]");
    op_runner_free(run);
    run = op_runner_new("cross_entropy_grad2");
    op_runner_shape(run, "XShape", DTYPE_FP32, 3, D(-1, 10, 0));
    op_runner_shape(run, "Label", DTYPE_INT64, 2, D(-1, 1));
    op_runner_shape(run, "MatchX", DTYPE_FP32, 2, D(-1, 1));
    op_runner_shape(run, "Y@GRAD", DTYPE_FP32, 2, D(-1, 1));
    op_runner_output(run, "X@GRAD", NULL);
    expect_ok(run);
    expect_dims(run, "X@GRAD", 0, "[-1,10]");
    op_runner_free(run);
}

static void test_labels_must_go_with_the_rows(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("cross_entropy");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(4, 10));
    op_runner_shape(run, "Label", DTYPE_INT64, 2, D(4, 10));
    op_runner_output(run, "Y", NULL);
    expect_refused(run, "Label [4,10] does not go with X [4,10]");
}

static void test_concat_adds_along_the_axis(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("concat");
    op_runner_int(run, "axis", -1);
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, 3));
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(8, 4));
    op_runner_output(run, "Out", NULL);
    expect_ok(run);
    expect_dims(run, "Out", 0, "[8,7]");
    op_runner_free(run);
    run = op_runner_new("concat");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(2, 3));
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(2, 4));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, "argument 1 of X [2,4]");
}

static void test_split_by_number_and_by_sections(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("split");
    op_runner_int(run, "num", 3);
    op_runner_int(run, "axis", 1);
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, 6));
    for (int i = 0; i < 3; i++)
        op_runner_output(run, "Out", NULL);
    expect_ok(run);
    expect_dims(run, "Out", 2, "[-1,2]");
    op_runner_free(run);
    run = op_runner_new("split_byref");
    op_runner_ints(run, "sections", D(137, -1), 2);
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(273, 64));
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "Out", NULL);
    expect_ok(run);
    expect_dims(run, "Out", 0, "[137,64]");
    expect_dims(run, "Out", 1, "[136,64]");
    op_runner_free(run);
    run = op_runner_new("split_byref");
    op_runner_ints(run, "sections", D(100, 100), 2);
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(273, 64));
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "Out", NULL);
    expect_refused(run, "the sections make 200, X has 273");
}

static void test_metrics_have_fluids_types(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("top_k");
    op_runner_int(run, "k", 5);
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, 10));
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "Indices", NULL);
    expect_ok(run);
    expect_dims(run, "Indices", 0, "[-1,5]");
    assert_int_equal(op_runner_dims(run, "Indices", 0)->dtype, DTYPE_INT64);
    op_runner_free(run);
    run = op_runner_new("accuracy");
    op_runner_shape(run, "Out", DTYPE_FP32, 2, D(-1, 5));
    op_runner_shape(run, "Indices", DTYPE_INT64, 2, D(-1, 5));
    op_runner_shape(run, "Label", DTYPE_INT64, 2, D(-1, 1));
    op_runner_output(run, "Accuracy", NULL);
    op_runner_output(run, "Correct", NULL);
    op_runner_output(run, "Total", NULL);
    expect_ok(run);
    expect_dims(run, "Accuracy", 0, "[1]");
    assert_int_equal(op_runner_dims(run, "Total", 0)->dtype, DTYPE_INT32);
    op_runner_free(run);
}

static void test_optimizer_refuses_another_gradient_shape(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("sgd");
    op_runner_shape(run, "Param", DTYPE_FP32, 2, D(3, 4));
    op_runner_shape(run, "LearningRate", DTYPE_FP32, 1, D(1));
    op_runner_shape(run, "Grad", DTYPE_FP32, 2, D(4, 3));
    op_runner_output(run, "ParamOut", NULL);
    expect_refused(run, "Grad has shape [4,3], Param [3,4]");
    run = op_runner_new("sgd");
    op_runner_shape(run, "Param", DTYPE_FP32, 2, D(3, 4));
    op_runner_shape(run, "LearningRate", DTYPE_FP32, 1, D(2));
    op_runner_shape(run, "Grad", DTYPE_FP32, 2, D(3, 4));
    op_runner_output(run, "ParamOut", NULL);
    expect_refused(run, "LearningRate must have one element");
}

static void test_fill_takes_its_shape_from_the_attribute(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("fill_constant");
    op_runner_ints(run, "shape", D(784, 24), 2);
    op_runner_output(run, "Out", NULL);
    expect_ok(run);
    expect_dims(run, "Out", 0, "[784,24]");
    op_runner_free(run);
    run = op_runner_new("softmax");
    op_runner_int(run, "axis", 2);
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, 10));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, "axis 2 is not within the rank 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mul_flattens_both_sides),
        cmocka_unit_test(test_mul_refuses_other_inner_sizes),
        cmocka_unit_test(test_missing_input_is_named),
        cmocka_unit_test(test_elementwise_follows_the_broadcast_rule),
        cmocka_unit_test(test_cross_entropy2_keeps_the_shape_of_x),
        cmocka_unit_test(test_labels_must_go_with_the_rows),
        cmocka_unit_test(test_concat_adds_along_the_axis),
        cmocka_unit_test(test_split_by_number_and_by_sections),
        cmocka_unit_test(test_metrics_have_fluids_types),
        cmocka_unit_test(test_optimizer_refuses_another_gradient_shape),
        cmocka_unit_test(test_fill_takes_its_shape_from_the_attribute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
