// SPDX-License-Identifier: Apache-2.0
// Ops that move, choose and make elements: shapes that are not known yet, what is refused with
// which words, and the places where Fluid's own answer is not the obvious one.

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

static void ints(struct op_runner *run, const char *attr, const char *digits)
{
    int64_t values[16];
    size_t count = 0;
    for (int sign = 1; *digits != '\0'; digits++) {
        if (*digits == '-') {
            sign = -1;
        } else if (*digits != ' ') {
            values[count++] = sign * (*digits - '0');
            sign = 1;
        }
    }
    op_runner_ints(run, attr, values, count);
}

// What a description of one op with input X of x's shape says, as "[..]" or as part of an error.
static void expect_described(const char *type, const char *x_slot, int rank, const int64_t *x,
                             const char *attr, const char *digits, const char *out_slot,
                             const char *expected)
{
    struct err err = {0};
    char text[DIMS_TEXT_MAX];
    struct op_runner *run = op_runner_new(type);
    op_runner_shape(run, x_slot, DTYPE_FP32, rank, x);
    op_runner_output(run, out_slot, NULL);
    ints(run, attr, digits);
    int rc = op_runner_infer(run, &err);
    const char *got =
        rc < 0 ? err.text : dims_format(&op_runner_dims(run, out_slot, 0)->dims, text);
    if (rc < 0 ? strstr(got, expected) == NULL : strcmp(got, expected) != 0)
        fail_msg("%s %s \"%s\": %s, expected %s", type, attr, digits, got, expected);
    op_runner_free(run);
}

static void test_shapes_are_described_with_unknown_sides(void **state)
{
    (void)state;
    static const struct {
        const char *type, *x_slot;
        int rank;
        int64_t x[5];
        const char *attr, *digits, *out_slot, *expected;
    } rows[] = {
        {"reshape2", "X", 3, {-1, 3, 4}, "shape", "0 -1", "Out", "[-1,-1]"},
        {"reshape2", "X", 3, {-1, 3, 4}, "shape", "-1 4", "Out", "[-1,4]"},
        {"reshape2", "X", 3, {2, 3, 4}, "shape", "-1 4", "Out", "[6,4]"},
        {"reshape2", "X", 3, {-1, 3, 4}, "shape", "0 -1", "XShape", "[0,-1,3,4]"},
        {"reshape2", "X", 2, {2, 3}, "shape", "-1 -1", "Out", "cannot take"},
        {"reshape2", "X", 2, {2, 3}, "shape", "4 -1", "Out", "cannot take"},
        {"reshape2", "X", 2, {2, 3}, "shape", "2 3 0", "Out", "cannot take"},
        {"reshape2", "X", 2, {2, 3}, "shape", "-2 3", "Out", "cannot take"},
        {"reshape2", "X", 2, {2, 3}, "shape", "", "Out", "`shape` is empty"},
        {"squeeze2", "X", 4, {-1, 1, 3, 1}, "axes", "", "Out", "[-1,3]"},
        {"squeeze2", "X", 4, {-1, 1, 3, 1}, "axes", "-1", "Out", "[-1,1,3]"},
        {"squeeze2", "X", 2, {-1, 1}, "axes", "2", "Out", "axis 2"},
        {"unsqueeze2", "X", 3, {-1, 3, 4}, "axes", "1 -1", "Out", "[-1,1,3,4,1]"},
        {"unsqueeze2", "X", 2, {2, 3}, "axes", "3", "Out", "axis 3"},
        {"transpose2", "X", 3, {-1, 3, 4}, "axis", "1 0 2", "Out", "[3,-1,4]"},
        {"transpose2", "X", 3, {-1, 3, 4}, "axis", "1 1 2", "Out", "each of the 3"},
        {"transpose2", "X", 2, {2, 3}, "axis", "-1 0", "Out", "each of the 2"},
        {"slice", "Input", 3, {-1, 3, 4}, "axes", "", "Out", "at least one"},
        {"expand", "X", 3, {-1, 3, 4}, "expand_times", "2 1 3", "Out", "[-1,3,12]"},
        {"expand", "X", 2, {2, 3}, "expand_times", "2", "Out", "1 expand_times"},
        {"expand", "X", 2, {2, 3}, "expand_times", "2 0", "Out", "is 0"},
        {"pad", "X", 2, {-1, 3}, "paddings", "0 1 2 3", "Out", "[-1,8]"},
        {"pad", "X", 2, {2, 3}, "paddings", "0 1 2", "Out", "3 paddings"},
        {"pad", "X", 2, {2, 3}, "paddings", "0 -1 2 2", "Out", "-1"},
        {"pad2d", "X", 4, {-1, 2, 3, 4}, "paddings", "0 1 2 3", "Out", "[-1,2,4,9]"},
        {"pad2d", "X", 3, {2, 3, 4}, "paddings", "0 1 2 3", "Out", "four dimensions"},
        {"crop", "X", 2, {-1, 4}, "shape", "-1 2", "Out", "[-1,2]"},
        {"reverse", "X", 2, {-1, 4}, "axis", "", "Out", "no axis"},
        {"reverse", "X", 2, {-1, 4}, "axis", "2", "Out", "axis 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_described(rows[i].type, rows[i].x_slot, rows[i].rank, rows[i].x, rows[i].attr,
                         rows[i].digits, rows[i].out_slot, rows[i].expected);
}

static struct tensor *input_f32(struct op_runner *run, const char *slot, int rank, const int64_t *d)
{
    struct tensor *t = op_runner_input(run, slot, DTYPE_FP32, rank, d);
    for (uint64_t i = 0; i < tensor_count(t); i++)
        tensor_f32(t)[i] = (float)i;
    return t;
}

static void input_i64(struct op_runner *run, const char *slot, const char *digits)
{
    int64_t count = (int64_t)strlen(digits);
    struct tensor *t = op_runner_input(run, slot, DTYPE_INT64, 1, &count);
    for (int64_t i = 0; i < count; i++)
        tensor_i64(t)[i] = digits[i] - '0';
}

static void expect_values(struct op_runner *run, const char *slot, size_t count,
                          const float *expected)
{
    struct err err = {0};
    if (op_runner_run(run, &err) < 0)
        fail_msg("%s", err.text);
    const struct tensor *out = op_runner_result(run, slot, 0);
    assert_int_equal(tensor_count(out), count);
    for (size_t i = 0; i < count; i++)
        if (tensor_f32(out)[i] != expected[i])
            fail_msg("element %zu is %g, expected %g", i, (double)tensor_f32(out)[i],
                     (double)expected[i]);
    op_runner_free(run);
}

static void expect_refused(struct op_runner *run, const char *words)
{
    struct err err = {0};
    assert_true(op_runner_run(run, &err) < 0);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" has no \"%s\"", err.text, words);
    op_runner_free(run);
}

static struct op_runner *strided(const char *start, const char *end, const char *stride)
{
    struct op_runner *run = op_runner_new("strided_slice");
    input_f32(run, "Input", 1, D(6));
    op_runner_output(run, "Out", NULL);
    ints(run, "axes", "0");
    ints(run, "starts", start);
    ints(run, "ends", end);
    ints(run, "strides", stride);
    return run;
}

static void test_a_negative_stride_counts_from_the_low_end(void **state)
{
    (void)state;
    expect_values(strided("5", "0", "-3"), "Out", 2, (const float[]){4, 1});
    expect_values(strided("3", "0", "-4"), "Out", 1, (const float[]){1});
    expect_values(strided("-1", "-7", "-1"), "Out", 6, (const float[]){5, 4, 3, 2, 1, 0});
    expect_values(strided("1", "9", "2"), "Out", 3, (const float[]){1, 3, 5});
    expect_refused(strided("1", "3", "-1"), "nothing lies between");
    expect_refused(strided("1", "3", "0"), "stride 0");
}

static struct op_runner *scatter(const char *ids, bool overwrite)
{
    struct op_runner *run = op_runner_new("scatter");
    input_f32(run, "X", 2, D(4, 1));
    input_i64(run, "Ids", ids);
    input_f32(run, "Updates", 2, D((int64_t)strlen(ids), 1));
    op_runner_output(run, "Out", NULL);
    op_runner_int(run, "overwrite", overwrite);
    return run;
}

static void test_scatter_replaces_or_sums_rows(void **state)
{
    (void)state;
    expect_values(scatter("211", true), "Out", 4, (const float[]){0, 2, 0, 3});
    expect_values(scatter("211", false), "Out", 4, (const float[]){0, 3, 0, 3});
    expect_refused(scatter("214", true), "element 2 of Ids is 4, not in [0,4)");
}

static struct op_runner *gather_grad(bool overwrite)
{
    struct op_runner *run = op_runner_new("gather_grad");
    input_f32(run, "X", 2, D(3, 1));
    input_i64(run, "Index", "2202");
    input_f32(run, "Out@GRAD", 2, D(4, 1));
    op_runner_output(run, "X@GRAD", NULL);
    op_runner_int(run, "overwrite", overwrite);
    return run;
}

static void test_gather_gradient_keeps_the_last_or_sums(void **state)
{
    (void)state;
    expect_values(gather_grad(true), "X@GRAD", 3, (const float[]){2, 0, 3});
    expect_values(gather_grad(false), "X@GRAD", 3, (const float[]){2, 0, 4});
}

static void test_gather_nd_names_the_wrong_number(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("gather_nd");
    input_f32(run, "X", 2, D(3, 4));
    struct tensor *index = op_runner_input(run, "Index", DTYPE_INT32, 2, D(2, 2));
    memcpy(index->data, ((const int32_t[]){2, 3, 1, 4}), 4 * sizeof(int32_t));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, "number 1 of row 1 of Index is 4, not in [0,4)");
}

static struct op_runner *lookup(const char *ids, int64_t padding)
{
    struct op_runner *run = op_runner_new("lookup_table_v2");
    input_f32(run, "W", 2, D(3, 2));
    input_i64(run, "Ids", ids);
    op_runner_output(run, "Out", NULL);
    op_runner_int(run, "padding_idx", padding);
    return run;
}

static void test_lookup_gives_zeros_for_padding(void **state)
{
    (void)state;
    expect_values(lookup("20", -1), "Out", 4, (const float[]){4, 5, 0, 1});
    expect_values(lookup("21", 2), "Out", 4, (const float[]){0, 0, 2, 3});
    expect_refused(lookup("23", -1), "id 1 is 3, not in [0,3)");
}

static void test_crop_and_one_hot_stay_within_bounds(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("crop");
    input_f32(run, "X", 2, D(3, 4));
    op_runner_output(run, "Out", NULL);
    ints(run, "offsets", "2 1");
    ints(run, "shape", "2 2");
    expect_refused(run, "side 0: 2 elements from 2 on are not within 3");
    run = op_runner_new("one_hot_v2");
    input_i64(run, "X", "13");
    op_runner_output(run, "Out", NULL);
    op_runner_int(run, "depth", 3);
    expect_refused(run, "element 1 of X is 3, not in [0,3)");
}

// The places of equal numbers among forty are those that libstdc++'s sort gives (recorded).
static void test_equal_numbers_are_sorted_as_introsort_leaves_them(void **state)
{
    (void)state;
    static const int places[40] = {10, 20, 25, 15, 30, 35, 5,  0, 33, 8,  28, 13, 3, 38,
                                   23, 18, 31, 1,  36, 26, 21, 6, 16, 11, 39, 19, 4, 34,
                                   9,  29, 14, 24, 12, 27, 32, 7, 17, 37, 2,  22};
    struct err err = {0};
    struct op_runner *run = op_runner_new("argsort");
    struct tensor *x = op_runner_input(run, "X", DTYPE_FP32, 1, D(40));
    for (int i = 0; i < 40; i++)
        tensor_f32(x)[i] = (float)(i * 7 % 5);
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "Indices", NULL);
    assert_int_equal(op_runner_run(run, &err), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(tensor_i64(op_runner_result(run, "Indices", 0))[i], places[i]);
    op_runner_free(run);
}

static void test_range_adds_up_its_step(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("range");
    static const char *const slots[] = {"Start", "End", "Step"};
    static const float values[] = {0, 1, 0.1f};
    float expected[10] = {0};
    for (int i = 0; i < 3; i++)
        *tensor_f32(op_runner_input(run, slots[i], DTYPE_FP32, 1, D(1))) = values[i];
    for (int i = 1; i < 10; i++)
        expected[i] = expected[i - 1] + 0.1f;
    op_runner_output(run, "Out", NULL);
    expect_values(run, "Out", 10, expected);
    run = op_runner_new("range");
    for (int i = 0; i < 3; i++)
        *tensor_f32(op_runner_input(run, slots[i], DTYPE_FP32, 1, D(1))) = values[2 - i];
    op_runner_output(run, "Out", NULL);
    expect_refused(run, "Step 0 does not lead");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_are_described_with_unknown_sides),
        cmocka_unit_test(test_a_negative_stride_counts_from_the_low_end),
        cmocka_unit_test(test_scatter_replaces_or_sums_rows),
        cmocka_unit_test(test_gather_gradient_keeps_the_last_or_sums),
        cmocka_unit_test(test_gather_nd_names_the_wrong_number),
        cmocka_unit_test(test_lookup_gives_zeros_for_padding),
        cmocka_unit_test(test_crop_and_one_hot_stay_within_bounds),
        cmocka_unit_test(test_equal_numbers_are_sorted_as_introsort_leaves_them),
        cmocka_unit_test(test_range_adds_up_its_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
