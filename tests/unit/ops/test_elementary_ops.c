// SPDX-License-Identifier: Apache-2.0
// Ops of one or two tensors: what they refuse, empty tensors, and running in place. Their numbers
// are tests/ops' business.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/ops/op.h"
#include "tests/unit/ops/op_runner.h"

#define D(...) ((const int64_t[]){__VA_ARGS__})

// An op with inputs X and Y (second slot; rank -1: none) of ones.
struct subject {
    const char *type, *second;
    int rank;
    const int64_t *dims;
    int second_rank;
    const int64_t *second_dims;
    const char *attr;
    int64_t value;
};

static void fill(struct tensor *t, double value)
{
    for (uint64_t i = 0; i < tensor_count(t); i++) {
        if (t->dtype == DTYPE_FP32)
            tensor_f32(t)[i] = (float)value;
        else
            tensor_i32(t)[i] = (int32_t)value;
    }
}

static struct op_runner *new_run(const struct subject *s)
{
    struct op_runner *run = op_runner_new(s->type);
    const struct op_def *def = op_table_find(s->type);
    if (s->attr != NULL)
        op_runner_int(run, s->attr, s->value);
    fill(op_runner_input(run, "X", DTYPE_FP32, s->rank, s->dims), 1);
    if (s->second_rank >= 0)
        fill(op_runner_input(run, s->second, DTYPE_FP32, s->second_rank, s->second_dims), 1);
    for (const struct op_slot_def *slot = def->outputs; slot->name != NULL; slot++)
        op_runner_output(run, slot->name, NULL);
    return run;
}

static void test_shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    const struct subject rows[] = {
        {"elementwise_div", "Y", 2, D(2, 3), 1, D(2), NULL, 0},
        {"elementwise_max", "Y", 2, D(2, 3), 1, D(3), "axis", 5},
        {"elementwise_pow", "Y", 2, D(2, 3), 1, D(3), "axis", -3},
        {"less_than", "Y", 2, D(2, 3), 1, D(4), NULL, 0},
        {"minus", "Y", 2, D(2, 3), 1, D(3), NULL, 0},
        {"dot", "Y", 3, D(2, 3, 4), 3, D(2, 3, 4), NULL, 0},
        {"dot", "Y", 2, D(2, 3), 2, D(2, 4), NULL, 0},
        {"cos_sim", "Y", 1, D(3), 1, D(3), NULL, 0},
        {"cos_sim", "Y", 2, D(3, 2), 2, D(2, 2), NULL, 0},
        {"prelu", "Alpha", 2, D(2, 3), 1, D(3), NULL, 0},
        {"label_smooth", "PriorDist", 2, D(2, 3), 1, D(2), NULL, 0},
        {"maxout", NULL, 4, D(2, 3, 4, 4), -1, NULL, "groups", 2},
        {"maxout", NULL, 4, D(2, 3, 4, 4), -1, NULL, "groups", 0},
        {"maxout", NULL, 3, D(2, 3, 4), -1, NULL, "groups", 3},
        {"cumsum", NULL, 2, D(2, 3), -1, NULL, "axis", 2},
        {"cumsum", NULL, 2, D(2, 3), -1, NULL, "axis", -3},
        {"increment", NULL, 1, D(2), -1, NULL, NULL, 0},
        {"clip", NULL, 1, D(2), -1, NULL, NULL, 0},
        {"logical_not", NULL, 1, D(2), -1, NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct op_runner *run = new_run(&rows[i]);
        if (op_runner_run(run, &err) == 0)
            fail_msg("row %zu: %s was run", i, rows[i].type);
        assert_true(err.text[0] != '\0');
        op_runner_free(run);
    }
}

static void test_tensors_without_elements_are_fine(void **state)
{
    (void)state;
    const struct subject rows[] = {
        {"relu", NULL, 2, D(0, 3), -1, NULL, NULL, 0},
        {"sigmoid", NULL, 2, D(0, 3), -1, NULL, NULL, 0},
        {"elementwise_add", "Y", 2, D(0, 3), 1, D(3), NULL, 0},
        {"equal", "Y", 2, D(0, 3), 1, D(3), NULL, 0},
        {"cumsum", NULL, 2, D(3, 0), -1, NULL, NULL, 0},
        {"label_smooth", NULL, 2, D(0, 3), -1, NULL, NULL, 0},
        {"cos_sim", "Y", 2, D(0, 3), 2, D(1, 3), NULL, 0},
        {"dot", "Y", 2, D(0, 3), 2, D(0, 3), NULL, 0},
        {"prelu", "Alpha", 2, D(0, 3), 1, D(1), NULL, 0},
        {"maxout", NULL, 4, D(0, 4, 2, 2), -1, NULL, "groups", 2},
        {"isfinite", NULL, 1, D(0), -1, NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct op_runner *run = new_run(&rows[i]);
        if (op_runner_run(run, &err) < 0)
            fail_msg("row %zu: %s: %s", i, rows[i].type, err.text);
        op_runner_free(run);
    }
    struct err err = {0};
    const struct subject empty = {"is_empty", NULL, 1, D(0), -1, NULL, NULL, 0};
    struct op_runner *run = new_run(&empty);
    assert_int_equal(op_runner_run(run, &err), 0);
    assert_int_equal(*(const uint8_t *)op_runner_result(run, "Out", 0)->data, 1);
    op_runner_free(run);
}

static int run_integers(const char *type, int32_t x, int32_t y, int32_t *out, struct err *err)
{
    struct op_runner *run = op_runner_new(type);
    fill(op_runner_input(run, "X", DTYPE_INT32, 1, D(1)), x);
    fill(op_runner_input(run, "Y", DTYPE_INT32, 1, D(1)), y);
    op_runner_output(run, "Out", NULL);
    int rc = op_runner_run(run, err);
    if (rc == 0)
        *out = *tensor_i32(op_runner_result(run, "Out", 0));
    op_runner_free(run);
    return rc;
}

static void test_integers_are_not_divided_by_0_and_never_trap(void **state)
{
    (void)state;
    static const char *const types[] = {"elementwise_div", "elementwise_floordiv",
                                        "elementwise_mod"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct err err = {0};
        int32_t out = 77;
        assert_int_equal(run_integers(types[i], 5, 0, &out, &err), SL_EINVAL);
        assert_int_equal(run_integers(types[i], INT32_MIN, -1, &out, &err), 0);
        assert_int_equal(out, i == 2 ? 0 : INT32_MIN);
        assert_int_equal(run_integers(types[i], -7, 2, &out, &err), 0);
        assert_int_equal(out, i == 2 ? -1 : -3);
    }
}

static void test_ops_run_in_place(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        double x, expected;
    } rows[] = {
        {"relu", -2, 0},
        {"square", 3, 9},
        {"sqrt", 4, 2},
        {"abs", -2, 2},
        {"sigmoid", 0, 0.5},
        {"hard_swish", 3, 3},
        {"pow", 5, 5},
        {"increment", 4, 5},
        {"cumsum", 6, 6},
        {"elementwise_add", 3, 4},
        {"elementwise_div", 3, 3},
        {"minus", 3, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct op_runner *run = op_runner_new(rows[i].type);
        fill(op_runner_input(run, "X", DTYPE_FP32, 1, D(1)), rows[i].x);
        if (op_input_index(op_table_find(rows[i].type), "Y") >= 0)
            fill(op_runner_input(run, "Y", DTYPE_FP32, 1, D(1)), 1);
        op_runner_in_place(run, "Out", "X");
        if (op_runner_run(run, &err) < 0)
            fail_msg("%s: %s", rows[i].type, err.text);
        assert_true(tensor_f32(op_runner_result(run, "Out", 0))[0] == (float)rows[i].expected);
        op_runner_free(run);
    }
}

static void test_nan_is_not_hidden(void **state)
{
    (void)state;
    static const char *const types[] = {"relu", "relu6", "sigmoid",  "tanh",  "leaky_relu",
                                        "elu",  "gelu",  "softplus", "swish", "hard_swish",
                                        "exp",  "sqrt",  "square"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct err err = {0};
        struct op_runner *run = op_runner_new(types[i]);
        fill(op_runner_input(run, "X", DTYPE_FP32, 1, D(1)), (double)NAN);
        op_runner_output(run, "Out", NULL);
        assert_int_equal(op_runner_run(run, &err), 0);
        assert_true(isnan(tensor_f32(op_runner_result(run, "Out", 0))[0]));
        op_runner_free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(test_tensors_without_elements_are_fine),
        cmocka_unit_test(test_integers_are_not_divided_by_0_and_never_trap),
        cmocka_unit_test(test_ops_run_in_place),
        cmocka_unit_test(test_nan_is_not_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
