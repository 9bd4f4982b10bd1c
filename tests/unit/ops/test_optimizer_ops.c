// SPDX-License-Identifier: Apache-2.0
// Every optimizer op with state: in place or apart gives the same bits, pieces of rows give the
// bits of the whole, norms of pieces add up to those of the whole, bad inputs are refused with
// words.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/ops/whole_norms.h"
#include "tests/unit/ops/op_runner.h"

#define ROWS 37
#define COLS 5
#define SLOTS_MAX 8

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

// What an input holds: numbers of a row each, or one element.
enum holds { NUMBERS, POSITIVES, ONE_NUMBER, ONE_COUNT };

struct slot {
    const char *in, *out;   // out NULL: not written
    enum holds holds;
};

struct optimizer {
    const char *type;
    struct slot slots[SLOTS_MAX];
    const char *flag;   // a BOOLEAN attribute that is tried both ways
    const char *number;
    float value;   // of the FLOAT attribute `number`
    bool whole;    // not to be run on pieces
};

#define PARAM                                                                                      \
    {                                                                                              \
        "Param", "ParamOut", NUMBERS                                                               \
    }
#define GRAD                                                                                       \
    {                                                                                              \
        "Grad", NULL, NUMBERS                                                                      \
    }
#define LR                                                                                         \
    {                                                                                              \
        "LearningRate", NULL, ONE_NUMBER                                                           \
    }
static const struct optimizer optimizers[] = {
    {"adagrad", {PARAM, GRAD, LR, {"Moment", "MomentOut", POSITIVES}}, NULL, NULL, 0, false},
    {"decayed_adagrad",
     {PARAM, GRAD, LR, {"Moment", "MomentOut", POSITIVES}},
     NULL,
     NULL,
     0,
     false},
    {"adadelta",
     {PARAM,
      GRAD,
      {"AvgSquaredGrad", "AvgSquaredGradOut", POSITIVES},
      {"AvgSquaredUpdate", "AvgSquaredUpdateOut", POSITIVES}},
     NULL,
     NULL,
     0,
     false},
    {"adamax",
     {PARAM,
      GRAD,
      LR,
      {"Moment", "MomentOut", NUMBERS},
      {"InfNorm", "InfNormOut", POSITIVES},
      {"Beta1Pow", NULL, ONE_NUMBER}},
     NULL,
     NULL,
     0,
     false},
    {"rmsprop",
     {PARAM,
      GRAD,
      LR,
      {"MeanSquare", "MeanSquareOut", POSITIVES},
      {"MeanGrad", "MeanGradOut", NUMBERS},
      {"Moment", "MomentOut", NUMBERS}},
     "centered",
     "epsilon",
     1,
     false},
    {"ftrl",
     {PARAM,
      GRAD,
      LR,
      {"SquaredAccumulator", "SquaredAccumOut", POSITIVES},
      {"LinearAccumulator", "LinearAccumOut", NUMBERS}},
     NULL,
     "l1",
     0.1f,
     false},
    {"ftrl",
     {PARAM,
      GRAD,
      LR,
      {"SquaredAccumulator", "SquaredAccumOut", POSITIVES},
      {"LinearAccumulator", "LinearAccumOut", NUMBERS}},
     NULL,
     "lr_power",
     -0.7f,
     false},
    {"proximal_gd", {PARAM, GRAD, LR}, NULL, "l1", 0.1f, false},
    {"proximal_adagrad",
     {PARAM, GRAD, LR, {"Moment", "MomentOut", POSITIVES}},
     NULL,
     "l1",
     0.1f,
     false},
    {"lars_momentum",
     {PARAM, GRAD, LR, {"Velocity", "VelocityOut", NUMBERS}},
     NULL,
     "mu",
     0.9f,
     true},
    {"lamb",
     {PARAM,
      GRAD,
      LR,
      {"Moment1", "Moment1Out", NUMBERS},
      {"Moment2", "Moment2Out", POSITIVES},
      {"Beta1Pow", NULL, ONE_NUMBER},
      {"Beta2Pow", NULL, ONE_NUMBER}},
     NULL,
     "weight_decay",
     0.01f,
     true},
    {"dpsgd", {PARAM, GRAD, LR}, NULL, "clip", 1e-3f, true},
    {"average_accumulates",
     {{"param", NULL, NUMBERS},
      {"in_sum_1", "out_sum_1", NUMBERS},
      {"in_sum_2", "out_sum_2", NUMBERS},
      {"in_sum_3", "out_sum_3", NUMBERS},
      {"in_num_accumulates", "out_num_accumulates", ONE_COUNT},
      {"in_old_num_accumulates", "out_old_num_accumulates", ONE_COUNT},
      {"in_num_updates", "out_num_updates", ONE_COUNT}},
     NULL,
     "average_window",
     0.5f,
     false},
};

// How an op is run: which rows of the inputs, in place or apart, the flag.
struct form {
    enum dtype dtype;
    int64_t row, rows;
    bool in_place, flag;
};

static void set_number(struct tensor *t, uint64_t i, double x)
{
    if (t->dtype == DTYPE_FP32)
        tensor_f32(t)[i] = (float)x;
    else
        tensor_f64(t)[i] = x;
}

// The same numbers for an element, whatever rows are asked for.
static void add_slot(struct op_runner *run, const struct slot *slot, const struct form *form,
                     uint64_t seed)
{
    struct tensor *t;
    if (slot->holds == ONE_COUNT) {
        *tensor_i64(op_runner_input(run, slot->in, DTYPE_INT64, 1, D(1))) = 16383;
    } else if (slot->holds == ONE_NUMBER) {
        set_number(op_runner_input(run, slot->in, form->dtype, 1, D(1)), 0, 0.4);
    } else {
        t = op_runner_input(run, slot->in, form->dtype, 2, D(form->rows, COLS));
        for (int64_t i = 0; i < (form->row + form->rows) * COLS; i++) {
            double x = (double)(rng_next_u64(&seed) >> 11) / 9007199254740992.0 - 0.5;
            if (i >= form->row * COLS)
                set_number(t, (uint64_t)(i - form->row * COLS),
                           slot->holds == POSITIVES ? fabs(x) + 0.01 : x);
        }
    }
    if (slot->out != NULL && form->in_place)
        op_runner_in_place(run, slot->out, slot->in);
    else if (slot->out != NULL)
        op_runner_output(run, slot->out, NULL);
}

static struct op_runner *make(const struct optimizer *o, const struct form *form)
{
    struct op_runner *run = op_runner_new(o->type);
    for (uint64_t i = 0; i < SLOTS_MAX && o->slots[i].in != NULL; i++)
        add_slot(run, &o->slots[i], form, 100 + i);
    if (o->flag != NULL)
        op_runner_int(run, o->flag, form->flag);
    if (o->number != NULL)
        op_runner_float(run, o->number, o->value);
    if (strcmp(o->type, "dpsgd") == 0)
        op_runner_int(run, "seed", 5);
    if (strcmp(o->type, "average_accumulates") == 0) {
        op_runner_int(run, "max_average_window", 100000);
        op_runner_int(run, "min_average_window", form->flag ? 100000 : 10);
    }
    return run;
}

static void run_ok(struct op_runner *run)
{
    struct err err = {0};
    if (op_runner_run(run, &err) < 0)
        fail_msg("%s", err.text);
}

// b's outputs are a's from `row` on.
static void expect_same(const struct optimizer *o, struct op_runner *a, int64_t row,
                        struct op_runner *b)
{
    for (size_t i = 0; i < SLOTS_MAX && o->slots[i].in != NULL; i++) {
        const struct slot *slot = &o->slots[i];
        if (slot->out == NULL)
            continue;
        const struct tensor *x = op_runner_result(a, slot->out, 0),
                            *y = op_runner_result(b, slot->out, 0);
        size_t at = slot->holds == ONE_COUNT ? 0 : (size_t)(row * COLS) * dtype_bytes(x->dtype);
        assert_memory_equal((const char *)x->data + at, y->data, tensor_bytes(y));
    }
}

static void test_in_place_and_apart_are_equal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        for (int flag = 0; flag < 2; flag++) {
            for (enum dtype dtype = DTYPE_FP32; dtype <= DTYPE_FP64; dtype++) {
                struct form form = {dtype, 0, ROWS, false, flag};
                struct op_runner *apart = make(&optimizers[i], &form);
                form.in_place = true;
                struct op_runner *in_place = make(&optimizers[i], &form);
                run_ok(apart);
                run_ok(in_place);
                expect_same(&optimizers[i], apart, 0, in_place);
                op_runner_free(apart);
                op_runner_free(in_place);
            }
        }
    }
}

static void test_pieces_equal_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        assert_int_equal(op_table_find(optimizers[i].type)->row_splittable, !optimizers[i].whole);
        for (int flag = 0; flag < 2 && !optimizers[i].whole; flag++) {
            struct form form = {DTYPE_FP32, 0, ROWS, false, flag};
            struct op_runner *whole = make(&optimizers[i], &form);
            run_ok(whole);
            for (form.row = 0; form.row < ROWS; form.row += form.rows) {
                form.rows = form.row % 3 + 1 < ROWS - form.row ? form.row % 3 + 1 : ROWS - form.row;
                form.in_place = form.row % 2 == 0;
                struct op_runner *part = make(&optimizers[i], &form);
                run_ok(part);
                expect_same(&optimizers[i], whole, form.row, part);
                op_runner_free(part);
            }
            op_runner_free(whole);
        }
    }
}

// Two pieces tell their norms, then run again with the sums.
static void test_norms_of_pieces_make_the_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        const struct optimizer *o = &optimizers[i];
        if (op_input_index(op_table_find(o->type), WHOLE_NORMS_INPUT) < 0)
            continue;
        struct form form = {DTYPE_FP32, 0, ROWS, false, false};
        struct op_runner *whole = make(o, &form);
        double sums[2] = {0, 0};
        run_ok(whole);
        for (int piece = 0; piece < 4; piece++) {
            form.row = piece % 2 ? 20 : 0;
            form.rows = piece % 2 ? ROWS - 20 : 20;
            struct op_runner *part = make(o, &form);
            op_runner_output(part, WHOLE_NORMS_OUTPUT, NULL);
            if (piece >= 2)
                memcpy(op_runner_input(part, WHOLE_NORMS_INPUT, DTYPE_FP64, 1, D(2))->data, sums,
                       sizeof sums);
            run_ok(part);
            const double *norms = tensor_f64(op_runner_result(part, WHOLE_NORMS_OUTPUT, 0));
            sums[0] += piece < 2 ? norms[0] : 0;
            sums[1] += piece < 2 ? norms[1] : 0;
            const float *got = tensor_f32(op_runner_result(part, "ParamOut", 0));
            const float *want = tensor_f32(op_runner_result(whole, "ParamOut", 0));
            for (int64_t k = 0; piece >= 2 && k < form.rows * COLS; k++)
                assert_true(fabsf(got[k] - want[form.row * COLS + k]) <= 1e-6f);
            op_runner_free(part);
        }
        op_runner_free(whole);
    }
}

static void expect_refused(struct op_runner *run, int code, const char *words)
{
    struct err err = {0};
    int rc = op_runner_run(run, &err);
    if (rc != code || strstr(err.text, words) == NULL)
        fail_msg("%d \"%s\", expected %d with \"%s\"", rc, err.text, code, words);
    op_runner_free(run);
}

static void allow_windows(struct op_runner *run, const struct optimizer *o)
{
    if (strcmp(o->type, "average_accumulates") == 0)
        op_runner_int(run, "max_average_window", 20000);
}

static void test_bad_inputs_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        const struct optimizer *o = &optimizers[i];
        struct form form = {DTYPE_INT32, 0, ROWS, false, false};
        struct op_runner *run = op_runner_new(o->type);
        for (size_t s = 0; s < SLOTS_MAX && o->slots[s].in != NULL; s++) {
            enum holds holds = o->slots[s].holds;
            op_runner_input(run, o->slots[s].in, holds == ONE_COUNT ? DTYPE_INT64 : form.dtype,
                            holds < ONE_NUMBER ? 2 : 1, holds < ONE_NUMBER ? D(2, 3) : D(1));
            if (o->slots[s].out != NULL)
                op_runner_output(run, o->slots[s].out, NULL);
        }
        allow_windows(run, o);
        expect_refused(run, SL_EUNSUPPORTED, "int32");
        form.dtype = DTYPE_FP32;
        run = op_runner_new(o->type);
        for (uint64_t s = 0; s < SLOTS_MAX && o->slots[s].in != NULL; s++) {
            form.rows = s == 1 ? ROWS - 1 : ROWS;
            add_slot(run, &o->slots[s], &form, s);
        }
        allow_windows(run, o);
        expect_refused(run, SL_EMISMATCH, "has shape [36,5]");
    }
    struct form form = {DTYPE_FP32, 0, ROWS, false, false};
    struct op_runner *run = make(&optimizers[sizeof optimizers / sizeof *optimizers - 1], &form);
    op_runner_int(run, "max_average_window", 3);
    expect_refused(run, SL_EINVAL, "min_average_window");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_place_and_apart_are_equal),
        cmocka_unit_test(test_pieces_equal_the_whole),
        cmocka_unit_test(test_norms_of_pieces_make_the_whole),
        cmocka_unit_test(test_bad_inputs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
