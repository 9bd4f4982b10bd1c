// SPDX-License-Identifier: Apache-2.0
// Every optimizer that takes a gradient of selected rows, unsorted and with repetitions, against
// itself with the dense gradient that the rows add up to; what has none refuses them by name.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/program/op_desc.h"
#include "tests/unit/ops/op_runner.h"

#define ROWS 700
#define COLS 7
#define STATES_MAX 3
#define POWERS_MAX 2

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

struct optimizer {
    const char *type;
    const char *states[STATES_MAX][2];   // input, output
    const char *powers[POWERS_MAX];
    const char *flag;   // BOOLEAN attribute that is switched on
    const char *number;
    float value;   // of the FLOAT attribute `number`
    bool rows_only;
};

static const struct optimizer optimizers[] = {
    {"sgd", {{0}}, {0}, NULL, NULL, 0, true},
    {"momentum", {{"Velocity", "VelocityOut"}}, {0}, NULL, "mu", 0.9f, false},
    {"momentum", {{"Velocity", "VelocityOut"}}, {0}, "use_nesterov", "mu", 0.9f, false},
    {"adagrad", {{"Moment", "MomentOut"}}, {0}, NULL, NULL, 0, true},
    {"adam",
     {{"Moment1", "Moment1Out"}, {"Moment2", "Moment2Out"}},
     {"Beta1Pow", "Beta2Pow"},
     NULL,
     NULL,
     0,
     false},
    {"adam",
     {{"Moment1", "Moment1Out"}, {"Moment2", "Moment2Out"}},
     {"Beta1Pow", "Beta2Pow"},
     "lazy_mode",
     NULL,
     0,
     true},
    {"rmsprop",
     {{"MeanSquare", "MeanSquareOut"}, {"Moment", "MomentOut"}},
     {0},
     NULL,
     "momentum",
     0.5f,
     false},
    {"rmsprop",
     {{"MeanSquare", "MeanSquareOut"}, {"Moment", "MomentOut"}, {"MeanGrad", "MeanGradOut"}},
     {0},
     "centered",
     "epsilon",
     1,
     false},
    {"lamb",
     {{"Moment1", "Moment1Out"}, {"Moment2", "Moment2Out"}},
     {"Beta1Pow", "Beta2Pow"},
     NULL,
     "weight_decay",
     0.01f,
     false},
    {"ftrl",
     {{"SquaredAccumulator", "SquaredAccumOut"}, {"LinearAccumulator", "LinearAccumOut"}},
     {0},
     NULL,
     "l1",
     0.1f,
     true},
    {"ftrl",
     {{"SquaredAccumulator", "SquaredAccumOut"}, {"LinearAccumulator", "LinearAccumOut"}},
     {0},
     NULL,
     "lr_power",
     -0.7f,
     true},
};

// The first one repeats, the last row is among them in two cases, one is sorted, one is empty.
static const int64_t lists[][9] = {{8, 5, 1, 3, 5, 8, 8, 0, 44},
                                   {699, 2, 2, 2, 2, 2, 2, 2, 2},
                                   {1, 2, 3, 4, 5, 600, 601, 698, 699}};
static const size_t counts[] = {9, 9, 9, 0};

struct form {
    enum dtype dtype;
    size_t list;
    bool in_place, sparse;
};

static void set_number(struct tensor *t, uint64_t i, double x)
{
    if (t->dtype == DTYPE_FP32)
        tensor_f32(t)[i] = (float)x;
    else
        tensor_f64(t)[i] = x;
}

static double number(const struct tensor *t, uint64_t i)
{
    return t->dtype == DTYPE_FP32 ? (double)tensor_f32(t)[i] : tensor_f64(t)[i];
}

// Multiples of 1/64: sums and differences of a few are exact, in any order.
static void fill(struct tensor *t, uint64_t seed, bool positive)
{
    for (uint64_t i = 0; i < tensor_count(t); i++) {
        double x = (double)(rng_next_u64(&seed) % 129) / 64 - 1;
        set_number(t, i, positive ? x * x + 0.25 : x);
    }
}

static void add_gradient(struct op_runner *run, const struct form *form)
{
    size_t count = counts[form->list];
    const int64_t *rows = count > 0 ? lists[form->list] : lists[0];
    struct tensor values;
    tensor_init(&values);
    assert_int_equal(tensor_resize(&values, form->dtype, &(struct dims){2, {(int64_t)count, COLS}}),
                     0);
    fill(&values, 77, false);
    if (form->sparse) {
        struct selected_rows *sr =
            op_runner_rows(run, "Grad", form->dtype, 2, D(ROWS, COLS), rows, count);
        assert_int_equal(tensor_copy(&sr->value, &values), 0);
    } else {
        struct tensor *grad = op_runner_input(run, "Grad", form->dtype, 2, D(ROWS, COLS));
        memset(grad->data, 0, tensor_bytes(grad));
        for (size_t k = 0; k < count * COLS; k++) {
            uint64_t at = (uint64_t)rows[k / COLS] * COLS + k % COLS;
            set_number(grad, at, number(grad, at) + number(&values, k));
        }
    }
    tensor_deinit(&values);
}

static void add_state(struct op_runner *run, const char *in, const char *out,
                      const struct form *form, uint64_t seed)
{
    struct tensor *t = op_runner_input(run, in, form->dtype, 2, D(ROWS, COLS));
    fill(t, seed, seed > 1);
    if (form->in_place) {
        op_runner_in_place(run, out, in);
        return;
    }
    // What is not written holds the input's values already.
    op_runner_output(run, out, NULL);
    assert_int_equal(tensor_copy(variable_tensor(op_runner_variable(run, out, 0)), t), 0);
}

// All but the gradient.
static void add_others(struct op_runner *run, const struct optimizer *o, const struct form *form)
{
    add_state(run, "Param", "ParamOut", form, 1);
    set_number(op_runner_input(run, "LearningRate", form->dtype, 1, D(1)), 0, 0.5);
    for (uint64_t i = 0; i < STATES_MAX && o->states[i][0] != NULL; i++)
        add_state(run, o->states[i][0], o->states[i][1], form, 2 + i);
    for (int i = 0; i < POWERS_MAX && o->powers[i] != NULL; i++)
        set_number(op_runner_input(run, o->powers[i], form->dtype, 1, D(1)), 0, 0.75);
    if (o->flag != NULL)
        op_runner_int(run, o->flag, 1);
    if (o->number != NULL)
        op_runner_float(run, o->number, o->value);
}

static struct op_runner *make(const struct optimizer *o, const struct form *form)
{
    struct op_runner *run = op_runner_new(o->type);
    add_gradient(run, form);
    add_others(run, o, form);
    return run;
}

static bool is_named(const struct form *form, int64_t row)
{
    for (size_t k = 0; k < counts[form->list]; k++)
        if (lists[form->list][k] == row)
            return true;
    return false;
}

// Rows as the dense op leaves them; those without a gradient, when it is left alone, as they were.
static void expect_output(const struct optimizer *o, const struct form *form,
                          struct op_runner *sparse, struct op_runner *dense, const char *out,
                          const struct tensor *before)
{
    const struct tensor *got = op_runner_result(sparse, out, 0),
                        *want = op_runner_result(dense, out, 0);
    size_t bytes = COLS * dtype_bytes(form->dtype);
    for (int64_t row = 0; row < ROWS; row++) {
        bool left = o->rows_only && !is_named(form, row);
        const char *right = left ? before->data : want->data;
        if (memcmp((const char *)got->data + (size_t)row * bytes, right + (size_t)row * bytes,
                   bytes) != 0)
            fail_msg("%s: %s of row %d", o->type, out, (int)row);
    }
}

static void check(const struct optimizer *o, const struct form *form)
{
    struct err err = {0};
    struct form other = *form;
    other.sparse = other.in_place = false;
    struct op_runner *sparse = make(o, form), *dense = make(o, &other);
    struct tensor before;
    tensor_init(&before);
    for (int again = 0; again < 2; again++) {
        if (op_runner_run(sparse, &err) < 0 || op_runner_run(dense, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(tensor_resize(&before, form->dtype, &(struct dims){2, {ROWS, COLS}}), 0);
        fill(&before, 1, false);
        expect_output(o, form, sparse, dense, "ParamOut", &before);
        for (uint64_t i = 0; i < STATES_MAX && o->states[i][0] != NULL; i++) {
            fill(&before, 2 + i, true);
            expect_output(o, form, sparse, dense, o->states[i][1], &before);
        }
        if (form->in_place)
            break;   // a second run would begin elsewhere
    }
    tensor_deinit(&before);
    op_runner_free(sparse);
    op_runner_free(dense);
}

static void test_every_row_is_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++)
        for (enum dtype dtype = DTYPE_FP32; dtype <= DTYPE_FP64; dtype++)
            for (size_t list = 0; list < sizeof counts / sizeof *counts; list++)
                for (int in_place = 0; in_place < 2; in_place++)
                    check(&optimizers[i], &(struct form){dtype, list, in_place, true});
}

static void test_rows_only_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        const struct op_def *def = op_table_find(optimizers[i].type);
        struct op_desc *op = op_desc_new(optimizers[i].type);
        if (optimizers[i].flag != NULL)
            op_desc_set_bool(op, optimizers[i].flag, true);
        assert_int_equal(def->rows_only != NULL && def->rows_only(op), optimizers[i].rows_only);
        op_desc_free(op);
    }
}

// The powers that adam itself moves on are used a step ahead, as Fluid does with selected rows.
static void test_adam_uses_the_powers_that_it_leaves(void **state)
{
    static const struct optimizer *adam = &optimizers[4];
    const struct form form = {DTYPE_FP64, 0, false, true};
    struct op_runner *ahead = make(adam, &form), *behind = make(adam, &form);
    struct err err = {0};
    (void)state;
    op_runner_output(ahead, "Beta1PowOut", NULL);
    op_runner_output(ahead, "Beta2PowOut", NULL);
    assert_int_equal(op_runner_run(ahead, &err), 0);
    assert_int_equal(op_runner_run(behind, &err), 0);
    double one = *tensor_f64(op_runner_result(ahead, "Beta1PowOut", 0));
    assert_true(one == 0.75 * (double)0.9f);
    const struct tensor *a = op_runner_result(ahead, "ParamOut", 0),
                        *b = op_runner_result(behind, "ParamOut", 0);
    assert_memory_not_equal(a->data, b->data, tensor_bytes(a));
    op_runner_free(ahead);
    op_runner_free(behind);
}

static void expect_refused(struct op_runner *run, int code, const char *words)
{
    struct err err = {0};
    int rc = op_runner_run(run, &err);
    if (rc != code || strstr(err.text, words) == NULL)
        fail_msg("%d \"%s\", expected %d with \"%s\"", rc, err.text, code, words);
    op_runner_free(run);
}

static void test_gradients_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        int64_t height, width, row;
        enum dtype dtype;
        int code;
    } bad[] = {
        {ROWS + 1, COLS, 3, DTYPE_FP32, SL_EMISMATCH},
        {ROWS, COLS + 1, 3, DTYPE_FP32, SL_EMISMATCH},
        {ROWS, COLS, ROWS, DTYPE_FP32, SL_EINVAL},
        {ROWS, COLS, -1, DTYPE_FP32, SL_EINVAL},
        {ROWS, COLS, 3, DTYPE_FP64, SL_EMISMATCH},
    };
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        const struct optimizer *o = &optimizers[i];
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            struct op_runner *run = op_runner_new(o->type);
            const struct form form = {DTYPE_FP32, 0, false, true};
            const int64_t rows[] = {5, bad[b].row};
            struct selected_rows *grad = op_runner_rows(run, "Grad", bad[b].dtype, 2,
                                                        D(bad[b].height, bad[b].width), rows, 2);
            fill(&grad->value, 3, false);
            add_others(run, o, &form);
            struct err err = {0};
            assert_int_equal(op_runner_run(run, &err), bad[b].code);
            assert_true(err.text[0] != '\0');
            op_runner_free(run);
        }
    }
}

static void test_others_refuse_selected_rows(void **state)
{
    static const char *const types[] = {"adamax", "adadelta",    "decayed_adagrad", "lars_momentum",
                                        "dpsgd",  "proximal_gd", "proximal_adagrad"};
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct op_runner *run = op_runner_new(types[i]);
        const struct op_def *def = op_table_find(types[i]);
        for (int s = 0; def->inputs[s].name != NULL; s++) {
            if (strcmp(def->inputs[s].name, "Grad") == 0)
                op_runner_rows(run, "Grad", DTYPE_FP32, 2, D(ROWS, COLS), lists[0], 9);
            else
                op_runner_input(run, def->inputs[s].name, DTYPE_FP32, 2, D(ROWS, COLS));
        }
        expect_refused(run, SL_EUNSUPPORTED, types[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_right),
        cmocka_unit_test(test_rows_only_is_told),
        cmocka_unit_test(test_adam_uses_the_powers_that_it_leaves),
        cmocka_unit_test(test_gradients_that_do_not_fit_are_refused),
        cmocka_unit_test(test_others_refuse_selected_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
