// SPDX-License-Identifier: Apache-2.0
// What golden vectors do not show of losses, reductions and metrics: shapes that are not known yet,
// corners where Fluid's own results are not defined, bad data refused with words.

#include <math.h>
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

static void put(struct tensor *t, const double *values)
{
    for (uint64_t i = 0; i < tensor_count(t); i++) {
        if (t->dtype == DTYPE_FP32)
            tensor_f32(t)[i] = (float)values[i];
        else if (t->dtype == DTYPE_FP64)
            tensor_f64(t)[i] = values[i];
        else if (t->dtype == DTYPE_INT64)
            tensor_i64(t)[i] = (int64_t)values[i];
        else
            tensor_i32(t)[i] = (int32_t)values[i];
    }
}

static void run_ok(struct op_runner *run)
{
    struct err err = {0};
    if (op_runner_run(run, &err) < 0)
        fail_msg("%s", err.text);
}

static void expect_refused(struct op_runner *run, int code, const char *words)
{
    struct err err = {0};
    int rc = op_runner_run(run, &err);
    if (rc != code || strstr(err.text, words) == NULL)
        fail_msg("%d \"%s\", expected %d with \"%s\"", rc, err.text, code, words);
    op_runner_free(run);
}

static void expect_values(struct op_runner *run, const char *slot, uint64_t count,
                          const double *values)
{
    const struct tensor *t = op_runner_result(run, slot, 0);
    assert_int_equal(tensor_count(t), count);
    for (uint64_t i = 0; i < count; i++) {
        double got = t->dtype == DTYPE_FP32    ? (double)tensor_f32(t)[i]
                     : t->dtype == DTYPE_FP64  ? tensor_f64(t)[i]
                     : t->dtype == DTYPE_INT64 ? (double)tensor_i64(t)[i]
                                               : (double)tensor_i32(t)[i];
        if (!(fabs(got - values[i]) <= 1e-6))
            fail_msg("%s: element %d is %g, expected %g", slot, (int)i, got, values[i]);
    }
}

static struct op_runner *make_softmax_loss(int64_t label, int64_t ignore_index)
{
    struct op_runner *run = op_runner_new("softmax_with_cross_entropy");
    put(op_runner_input(run, "Logits", DTYPE_FP32, 2, D(2, 2)), (const double[]){0, 0, 0, 0});
    put(op_runner_input(run, "Label", DTYPE_INT64, 2, D(2, 1)), (const double[]){1, (double)label});
    op_runner_output(run, "Softmax", NULL);
    op_runner_output(run, "Loss", NULL);
    op_runner_int(run, "ignore_index", ignore_index);
    return run;
}

static void test_softmax_loss_ignores_labels_that_are_no_class(void **state)
{
    (void)state;
    struct op_runner *run = make_softmax_loss(-1, -1);
    run_ok(run);
    expect_values(run, "Loss", 2, (const double[]){log(2), 0});
    op_runner_free(run);
    run = op_runner_new("softmax_with_cross_entropy_grad");
    put(op_runner_input(run, "Softmax", DTYPE_FP32, 2, D(2, 2)), (const double[]){.5, .5, .5, .5});
    put(op_runner_input(run, "Label", DTYPE_INT64, 2, D(2, 1)), (const double[]){1, -1});
    put(op_runner_input(run, "Loss@GRAD", DTYPE_FP32, 2, D(2, 1)), (const double[]){2, 2});
    op_runner_output(run, "Logits@GRAD", NULL);
    op_runner_int(run, "ignore_index", -1);
    run_ok(run);
    expect_values(run, "Logits@GRAD", 4, (const double[]){1, -1, 0, 0});
    op_runner_free(run);
    expect_refused(make_softmax_loss(2, -1), SL_EINVAL, "not in [0,2)");
    expect_refused(make_softmax_loss(-1, -100), SL_EINVAL, "Label of row 1 is -1");
}

static struct op_runner *make_reduce(const char *type, const int64_t *dim, size_t count)
{
    struct op_runner *run = op_runner_new(type);
    put(op_runner_input(run, "X", DTYPE_FP64, 5, D(1, 2, 1, 3, 1)),
        (const double[]){1, 5, 3, 5, 2, 4});
    op_runner_output(run, "Out", NULL);
    op_runner_ints(run, "dim", dim, count);
    return run;
}

// Fluid leaves the result undefined when dim names every dimension, and for some of five.
static void test_reduce_over_any_dimensions(void **state)
{
    (void)state;
    struct op_runner *run = make_reduce("reduce_sum", D(4, 3, 2, 1, 0), 5);
    run_ok(run);
    expect_values(run, "Out", 1, (const double[]){20});
    op_runner_free(run);
    run = make_reduce("reduce_max", D(0, -4, 2), 3);
    run_ok(run);
    expect_values(run, "Out", 3, (const double[]){5, 5, 4});
    assert_int_equal(op_runner_result(run, "Out", 0)->dims.rank, 2);
    op_runner_free(run);
    run = make_reduce("reduce_mean", D(3), 1);
    op_runner_int(run, "keep_dim", 1);
    run_ok(run);
    expect_values(run, "Out", 2, (const double[]){3, 11.0 / 3});
    assert_int_equal(op_runner_result(run, "Out", 0)->dims.rank, 5);
    op_runner_free(run);
    expect_refused(make_reduce("reduce_sum", D(5), 1), SL_EINVAL, "within the rank 5");
    expect_refused(make_reduce("reduce_sum", D(-6), 1), SL_EINVAL, "within the rank 5");
    expect_refused(make_reduce("reduce_sum", D(1, -4), 2), SL_EINVAL, "twice");
    expect_refused(make_reduce("reduce_sum", D(0), 0), SL_EINVAL, "names no dimension");
    expect_refused(make_reduce("reduce_all", D(0), 1), SL_EUNSUPPORTED, "must be bool");
}

static void test_reduce_of_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        double value;
    } cases[] = {{"reduce_sum", 0}, {"reduce_prod", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct op_runner *run = op_runner_new(cases[i].type);
        op_runner_input(run, "X", DTYPE_FP32, 2, D(0, 2));
        op_runner_output(run, "Out", NULL);
        run_ok(run);
        expect_values(run, "Out", 2, (const double[]){cases[i].value, cases[i].value});
        op_runner_free(run);
    }
}

static void test_reduce_shapes_that_are_not_known(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_runner *run = op_runner_new("reduce_sum");
    op_runner_shape(run, "X", DTYPE_FP32, 3, D(-1, 4, 5));
    op_runner_output(run, "Out", NULL);
    op_runner_ints(run, "dim", D(-2), 1);
    assert_int_equal(op_runner_infer(run, &err), 0);
    const struct op_var_dims *out = op_runner_dims(run, "Out", 0);
    assert_true(dims_equal(&out->dims, &(struct dims){.rank = 2, .d = {-1, 5}}));
    assert_non_null(out->lod_from);
    op_runner_free(run);
}

static struct op_runner *make_loss(const char *type, const char *x, const char *label,
                                   const char *out, const int64_t *x_dims,
                                   const int64_t *label_dims, const double *values)
{
    struct op_runner *run = op_runner_new(type);
    put(op_runner_input(run, x, DTYPE_FP32, 2, x_dims), values);
    put(op_runner_input(run, label, DTYPE_FP32, 2, label_dims), values);
    op_runner_output(run, out, NULL);
    return run;
}

static void test_losses_refuse_bad_inputs(void **state)
{
    (void)state;
    static const double values[] = {0.5, 0.25, 1, 0.75, 2, 0.5},
                        nan_value[] = {NAN, 0, 0, 0, 0, 0, 0};
    expect_refused(make_loss("bce_loss", "X", "Label", "Out", D(2, 3), D(2, 3), values), SL_EINVAL,
                   "X is 2 at element 4");
    expect_refused(make_loss("bce_loss", "X", "Label", "Out", D(2, 3), D(2, 3), nan_value),
                   SL_EINVAL, "not in [0,1]");
    expect_refused(make_loss("bce_loss", "X", "Label", "Out", D(2, 3), D(3, 2), values),
                   SL_EMISMATCH, "Label has shape [3,2], X [2,3]");
    expect_refused(make_loss("hinge_loss", "Logits", "Labels", "Loss", D(3, 2), D(3, 2), values),
                   SL_EMISMATCH, "must have shape [N,1]");
    expect_refused(make_loss("huber_loss", "X", "Y", "Out", D(3, 2), D(3, 1), values), SL_EMISMATCH,
                   "Y has shape [3,1], X [3,2]");
    expect_refused(make_loss("squared_l2_distance", "X", "Y", "Out", D(1, 3), D(2, 3), values),
                   SL_EMISMATCH, "X has shape [1,3], Y [2,3]");
    struct op_runner *run = make_loss("smooth_l1_loss", "X", "Y", "Out", D(2, 3), D(2, 3), values);
    op_runner_input(run, "InsideWeight", DTYPE_FP32, 2, D(2, 3));
    expect_refused(run, SL_EINVAL, "both or not at all");
    run = op_runner_new("bce_loss");
    put(op_runner_input(run, "X", DTYPE_FP32, 2, D(2, 3)), nan_value + 1);
    op_runner_input(run, "Label", DTYPE_FP64, 2, D(2, 3));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EMISMATCH, "Label is float64, X float32");
    expect_refused(make_loss("cvm", "X", "CVM", "Y", D(2, 1), D(2, 2), values), SL_EMISMATCH,
                   "D of at least 2");
}

static struct op_runner *make_auc(int64_t steps, int64_t counts)
{
    struct op_runner *run = op_runner_new("auc");
    put(op_runner_input(run, "Predict", DTYPE_FP32, 2, D(4, 1)), (const double[]){0, 0.9, 0.4, 1});
    put(op_runner_input(run, "Label", DTYPE_INT64, 2, D(4, 1)), (const double[]){0, 1, 1, 0});
    memset(op_runner_input(run, "StatPos", DTYPE_INT64, 1, D(counts))->data, 0,
           (size_t)counts * sizeof(int64_t));
    memset(op_runner_input(run, "StatNeg", DTYPE_INT64, 1, D(counts))->data, 0,
           (size_t)counts * sizeof(int64_t));
    op_runner_output(run, "AUC", NULL);
    op_runner_in_place(run, "StatPosOut", "StatPos");
    op_runner_in_place(run, "StatNegOut", "StatNeg");
    op_runner_int(run, "num_thresholds", 10);
    op_runner_int(run, "slide_steps", steps);
    return run;
}

static void test_auc_counts_and_slides(void **state)
{
    (void)state;
    struct op_runner *run = make_auc(0, 11);
    run_ok(run);
    run_ok(run);
    expect_values(run, "AUC", 1, (const double[]){0.5});
    expect_values(run, "StatPosOut", 11, (const double[]){0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0});
    op_runner_free(run);
    run = make_auc(1, 23);
    run_ok(run);
    run_ok(run);
    expect_values(run, "StatNegOut", 23, (const double[]){1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1,
                                                          0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2});
    op_runner_free(run);
    expect_refused(make_auc(0, 10), SL_EMISMATCH, "with 11 elements");
    expect_refused(make_auc(2, 23), SL_EMISMATCH, "with 34 elements");
    expect_refused(make_auc(-1, 23), SL_EINVAL, "slide_steps -1");
}

static void test_mean_iou_refuses_a_class_that_is_not(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("mean_iou");
    put(op_runner_input(run, "Predictions", DTYPE_INT64, 1, D(3)), (const double[]){0, 1, 2});
    put(op_runner_input(run, "Labels", DTYPE_INT64, 1, D(3)), (const double[]){0, 1, 1});
    op_runner_output(run, "OutMeanIou", NULL);
    op_runner_output(run, "OutWrong", NULL);
    op_runner_output(run, "OutCorrect", NULL);
    op_runner_int(run, "num_classes", 2);
    expect_refused(run, SL_EINVAL, "Predictions is 2 at element 2, not in [0,2)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax_loss_ignores_labels_that_are_no_class),
        cmocka_unit_test(test_reduce_over_any_dimensions),
        cmocka_unit_test(test_reduce_of_nothing),
        cmocka_unit_test(test_reduce_shapes_that_are_not_known),
        cmocka_unit_test(test_losses_refuse_bad_inputs),
        cmocka_unit_test(test_auc_counts_and_slides),
        cmocka_unit_test(test_mean_iou_refuses_a_class_that_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
