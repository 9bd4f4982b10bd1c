// SPDX-License-Identifier: Apache-2.0
// What golden vectors do not show of kernels: in place or apart gives the same bits, pieces of rows
// give the bits of the whole, bad data is refused with words.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "tests/unit/ops/op_runner.h"

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void fill(struct tensor *t, uint64_t seed)
{
    for (uint64_t i = 0; i < tensor_count(t); i++) {
        double x = (double)(rng_next_u64(&seed) >> 11) / 9007199254740992.0 - 0.5;
        if (t->dtype == DTYPE_FP32)
            tensor_f32(t)[i] = (float)x;
        else
            tensor_f64(t)[i] = x;
    }
}

static void run_ok(struct op_runner *run)
{
    struct err err = {0};
    if (op_runner_run(run, &err) < 0)
        fail_msg("%s", err.text);
}

// An optimizer: states are the inputs SOut follows; powers (one element) come last.
struct optimizer {
    const char *type;
    const char *states[4];
    const char *powers[2];
};
static const struct optimizer optimizers[] = {
    {"sgd", {"Param"}, {NULL}},
    {"momentum", {"Param", "Velocity"}, {NULL}},
    {"adam", {"Param", "Moment1", "Moment2"}, {"Beta1Pow", "Beta2Pow"}},
};

// Rows [row, row + rows) of an optimizer's inputs that were drawn for [rows_all, 5].
static struct op_runner *make_optimizer(const struct optimizer *o, enum dtype dtype,
                                        int64_t rows_all, int64_t row, int64_t rows, bool in_place)
{
    struct op_runner *run = op_runner_new(o->type), *whole = op_runner_new(o->type);
    const char *slots[6] = {"Grad"};
    size_t n = 1;
    for (size_t i = 0; i < 4 && o->states[i] != NULL; i++)
        slots[n++] = o->states[i];
    for (size_t i = 0; i < n; i++) {
        struct tensor *all = op_runner_input(whole, slots[i], dtype, 2, D(rows_all, 5));
        fill(all, i + 7);
        for (uint64_t k = 0; strcmp(slots[i], "Moment2") == 0 && k < tensor_count(all); k++) {
            if (dtype == DTYPE_FP32)
                tensor_f32(all)[k] = fabsf(tensor_f32(all)[k]);
            else
                tensor_f64(all)[k] = fabs(tensor_f64(all)[k]);
        }
        struct tensor *part = op_runner_input(run, slots[i], dtype, 2, D(rows, 5));
        size_t row_bytes = 5 * dtype_bytes(dtype);
        memcpy(part->data, (const char *)all->data + (size_t)row * row_bytes,
               (size_t)rows * row_bytes);
    }
    const char *ones[3] = {"LearningRate", o->powers[0], o->powers[1]};
    for (size_t i = 0; i < 3 && ones[i] != NULL; i++) {
        struct tensor *t = op_runner_input(run, ones[i], dtype, 1, D(1));
        if (dtype == DTYPE_FP32)
            *tensor_f32(t) = 0.5f - 0.1f * (float)i;
        else
            *tensor_f64(t) = 0.5 - 0.1 * (double)i;
    }
    for (size_t i = 1; i < n; i++) {
        char *out = mem_must_printf("%sOut", slots[i]);
        if (in_place)
            op_runner_in_place(run, out, slots[i]);
        else
            op_runner_output(run, out, NULL);
        mem_free(out);
    }
    for (size_t i = 0; i < 2 && o->powers[i] != NULL; i++) {
        char *out = mem_must_printf("%sOut", o->powers[i]);
        if (in_place)
            op_runner_in_place(run, out, o->powers[i]);
        else
            op_runner_output(run, out, NULL);
        mem_free(out);
    }
    op_runner_free(whole);
    return run;
}

static void expect_same(const struct optimizer *o, struct op_runner *a, int64_t row,
                        struct op_runner *b)
{
    for (size_t i = 0; i < 4 && o->states[i] != NULL; i++) {
        char *out = mem_must_printf("%sOut", o->states[i]);
        const struct tensor *x = op_runner_result(a, out, 0), *y = op_runner_result(b, out, 0);
        assert_memory_equal((const char *)x->data + (size_t)row * 5 * dtype_bytes(x->dtype),
                            y->data, tensor_bytes(y));
        mem_free(out);
    }
    for (size_t i = 0; i < 2 && o->powers[i] != NULL; i++) {
        char *out = mem_must_printf("%sOut", o->powers[i]);
        const struct tensor *x = op_runner_result(a, out, 0), *y = op_runner_result(b, out, 0);
        assert_memory_equal(x->data, y->data, tensor_bytes(y));
        mem_free(out);
    }
}

static void test_optimizers_in_place_and_apart_are_equal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        for (int nesterov = 0; nesterov < 2; nesterov++) {
            for (enum dtype dtype = DTYPE_FP32; dtype <= DTYPE_FP64; dtype++) {
                struct op_runner *apart = make_optimizer(&optimizers[i], dtype, 37, 0, 37, false);
                struct op_runner *in_place = make_optimizer(&optimizers[i], dtype, 37, 0, 37, true);
                if (strcmp(optimizers[i].type, "momentum") == 0) {
                    op_runner_float(apart, "mu", 0.9f);
                    op_runner_float(in_place, "mu", 0.9f);
                    op_runner_int(apart, "use_nesterov", nesterov);
                    op_runner_int(in_place, "use_nesterov", nesterov);
                }
                run_ok(apart);
                run_ok(in_place);
                expect_same(&optimizers[i], apart, 0, in_place);
                op_runner_free(apart);
                op_runner_free(in_place);
            }
        }
    }
}

static void test_optimizers_on_rows_equal_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        assert_true(op_table_find(optimizers[i].type)->row_splittable);
        struct op_runner *whole = make_optimizer(&optimizers[i], DTYPE_FP32, 37, 0, 37, false);
        run_ok(whole);
        for (int64_t row = 0; row < 37;) {
            int64_t rows = row % 3 + 1 < 37 - row ? row % 3 + 1 : 37 - row;
            struct op_runner *part =
                make_optimizer(&optimizers[i], DTYPE_FP32, 37, row, rows, row % 2 == 0);
            run_ok(part);
            expect_same(&optimizers[i], whole, row, part);
            op_runner_free(part);
            row += rows;
        }
        op_runner_free(whole);
    }
}

static void test_sum_may_write_any_of_its_arguments(void **state)
{
    (void)state;
    for (int64_t count = 1; count <= 7; count++) {
        for (int64_t target = 0; target < count; target++) {
            struct op_runner *run = op_runner_new("sum");
            struct tensor *x[8];
            float want[3000];
            memset(want, 0, sizeof want);
            for (int64_t i = 0; i < count; i++) {
                x[i] = op_runner_input(run, "X", DTYPE_FP32, 1, D(3000));
                fill(x[i], (uint64_t)i + 1);
                for (int64_t k = 0; k < 3000; k++)
                    want[k] = i == 0 ? tensor_f32(x[i])[k] : want[k] + tensor_f32(x[i])[k];
            }
            struct variable shared = {.kind = VARIABLE_TENSOR};
            tensor_init(&shared.tensor);
            tensor_share(&shared.tensor, x[target]);
            op_runner_output(run, "Out", &shared);
            run_ok(run);
            assert_memory_equal(x[target]->data, want, sizeof want);
            variable_deinit(&shared);
            op_runner_free(run);
        }
    }
}

static void test_unwanted_gradient_is_not_computed(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("mul_grad");
    fill(op_runner_input(run, "X", DTYPE_FP32, 2, D(4, 3)), 1);
    fill(op_runner_input(run, "Y", DTYPE_FP32, 2, D(3, 2)), 2);
    fill(op_runner_input(run, "Out@GRAD", DTYPE_FP32, 2, D(4, 2)), 3);
    op_runner_output(run, "Y@GRAD", NULL);
    run_ok(run);
    assert_int_equal(op_runner_result(run, "Y@GRAD", 0)->dims.d[0], 3);
    op_runner_free(run);
}

static void test_label_outside_of_the_classes_is_refused(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_runner *run = op_runner_new("cross_entropy2");
    fill(op_runner_input(run, "X", DTYPE_FP32, 2, D(2, 3)), 1);
    struct tensor *label = op_runner_input(run, "Label", DTYPE_INT64, 2, D(2, 1));
    tensor_i64(label)[0] = 2;
    tensor_i64(label)[1] = 3;
    op_runner_output(run, "Y", NULL);
    op_runner_output(run, "XShape", NULL);
    op_runner_output(run, "MatchX", NULL);
    assert_int_equal(op_runner_run(run, &err), SL_EINVAL);
    assert_string_equal(err.text, "Label of row 1 is 3, not in [0,3)");
    tensor_i64(label)[1] = -100;
    run_ok(run);
    assert_true(tensor_f32(op_runner_result(run, "Y", 0))[1] == 0);
    op_runner_free(run);
}

static void test_mixed_element_types_are_refused(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_runner *run = op_runner_new("elementwise_add");
    op_runner_input(run, "X", DTYPE_FP32, 1, D(3));
    op_runner_input(run, "Y", DTYPE_FP64, 1, D(3));
    op_runner_output(run, "Out", NULL);
    assert_int_equal(op_runner_run(run, &err), SL_EMISMATCH);
    assert_non_null(strstr(err.text, "X is float32 but Y is float64"));
    op_runner_free(run);
    run = op_runner_new("relu");
    op_runner_input(run, "X", DTYPE_INT8, 1, D(3));
    op_runner_output(run, "Out", NULL);
    assert_int_equal(op_runner_run(run, &err), SL_EUNSUPPORTED);
    op_runner_free(run);
}

static void test_not_a_number_stays_visible(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("relu");
    struct tensor *x = op_runner_input(run, "X", DTYPE_FP32, 1, D(33));
    fill(x, 5);
    tensor_f32(x)[7] = NAN;
    tensor_f32(x)[32] = NAN;
    op_runner_output(run, "Out", NULL);
    run_ok(run);
    assert_true(isnan(tensor_f32(op_runner_result(run, "Out", 0))[7]));
    assert_true(isnan(tensor_f32(op_runner_result(run, "Out", 0))[32]));
    op_runner_free(run);
}

static void test_split_byref_copies_nothing(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("split_byref");
    struct tensor *x = op_runner_input(run, "X", DTYPE_FP32, 2, D(7, 3));
    op_runner_ints(run, "sections", D(4, 3), 2);
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "Out", NULL);
    run_ok(run);
    assert_ptr_equal(op_runner_result(run, "Out", 0)->data, x->data);
    assert_ptr_equal(op_runner_result(run, "Out", 1)->data, tensor_f32(x) + 12);
    op_runner_free(run);
}

static void test_empty_batches_pass(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("mul");
    op_runner_input(run, "X", DTYPE_FP32, 2, D(0, 3));
    fill(op_runner_input(run, "Y", DTYPE_FP32, 2, D(3, 2)), 2);
    op_runner_output(run, "Out", NULL);
    run_ok(run);
    op_runner_free(run);
    run = op_runner_new("softmax");
    op_runner_input(run, "X", DTYPE_FP32, 2, D(0, 3));
    op_runner_output(run, "Out", NULL);
    run_ok(run);
    op_runner_free(run);
    run = op_runner_new("elementwise_add_grad");
    op_runner_input(run, "X", DTYPE_FP32, 2, D(0, 3));
    op_runner_input(run, "Y", DTYPE_FP32, 1, D(3));
    op_runner_input(run, "Out@GRAD", DTYPE_FP32, 2, D(0, 3));
    op_runner_output(run, "Y@GRAD", NULL);
    run_ok(run);
    assert_true(tensor_f32(op_runner_result(run, "Y@GRAD", 0))[2] == 0);
    op_runner_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizers_in_place_and_apart_are_equal),
        cmocka_unit_test(test_optimizers_on_rows_equal_the_whole),
        cmocka_unit_test(test_sum_may_write_any_of_its_arguments),
        cmocka_unit_test(test_unwanted_gradient_is_not_computed),
        cmocka_unit_test(test_label_outside_of_the_classes_is_refused),
        cmocka_unit_test(test_mixed_element_types_are_refused),
        cmocka_unit_test(test_not_a_number_stays_visible),
        cmocka_unit_test(test_split_byref_copies_nothing),
        cmocka_unit_test(test_empty_batches_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
