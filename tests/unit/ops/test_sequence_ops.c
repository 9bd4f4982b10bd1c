// SPDX-License-Identifier: Apache-2.0
// What recorded cases do not show of the ops of sequences: LoD, lengths and attributes from outside
// that are wrong are refused with words; levels above the last one; corners that Fluid gets wrong.

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
#define COUNT(list) (sizeof(list) / sizeof *(list))
// A level of offsets.
#define LEVEL(...)                                                                                 \
    (struct lod_level)                                                                             \
    {                                                                                              \
        .offsets = (uint64_t[]){__VA_ARGS__},                                                      \
        .count = sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)                              \
    }

static void set_lod(struct tensor *t, int levels, const struct lod_level *lod)
{
    assert_int_equal(tensor_set_lod(t, levels, lod), 0);
}

// Input [rows, width] counting up from 1, with one level unless it has no offsets.
static struct tensor *sequences(struct op_runner *run, const char *slot, enum dtype dtype,
                                int64_t rows, int64_t width, struct lod_level level)
{
    struct tensor *t = op_runner_input(run, slot, dtype, 2, D(rows, width));
    for (uint64_t i = 0; i < tensor_count(t); i++) {
        if (dtype == DTYPE_FP32)
            tensor_f32(t)[i] = (float)(i + 1);
        else if (dtype == DTYPE_INT64)
            tensor_i64(t)[i] = (int64_t)i + 1;
    }
    if (level.count > 0)
        set_lod(t, 1, &level);
    return t;
}

static struct tensor *numbers(struct op_runner *run, const char *slot, int rank, const int64_t *d,
                              const int64_t *values)
{
    struct tensor *t = op_runner_input(run, slot, DTYPE_INT64, rank, d);
    memcpy(t->data, values, tensor_bytes(t));
    return t;
}

static void expect_refused(struct op_runner *run, int code, const char *words)
{
    struct err err = {0};
    int rc = op_runner_run(run, &err);
    if (rc != code || strstr(err.text, words) == NULL)
        fail_msg("%d \"%s\", expected %d with \"%s\"", rc, err.text, code, words);
    op_runner_free(run);
}

static void run_ok(struct op_runner *run)
{
    struct err err = {0};
    if (op_runner_run(run, &err) < 0)
        fail_msg("%s", err.text);
}

static void expect_level(const struct tensor *t, int level, struct lod_level want)
{
    assert_true(level < t->lod_levels);
    assert_int_equal(t->lod[level].count, want.count);
    assert_memory_equal(t->lod[level].offsets, want.offsets, want.count * sizeof *want.offsets);
}

// Every op that reads X's LoD refuses none, one that falls, one that ends elsewhere, one of no
// offsets: the executor checks what is fed, but not what a loaded or written variable holds.
static void test_a_wrong_lod_is_refused(void **state)
{
    (void)state;
    static const char *const types[] = {"sequence_pool",    "sequence_softmax", "sequence_reverse",
                                        "sequence_concat",  "sequence_pad",     "sequence_conv",
                                        "sequence_reshape", "row_conv"};
    const struct {
        struct lod_level level;
        const char *words;
    } rows[] = {
        {.words = "has no LoD"},       {LEVEL(0, 3, 2, 4), "does not fit"},
        {LEVEL(0, 5), "does not fit"}, {LEVEL(0, 2), "does not fit"},
        {LEVEL(1, 4), "does not fit"}, {LEVEL(0, UINT64_MAX, 4), "does not fit"},
    };
    for (size_t t = 0; t < COUNT(types); t++) {
        for (size_t i = 0; i < COUNT(rows); i++) {
            struct op_runner *run = op_runner_new(types[t]);
            sequences(run, "X", DTYPE_FP32, 4, 1, rows[i].level);
            if (strcmp(types[t], "sequence_pad") == 0)
                op_runner_input(run, "PadValue", DTYPE_FP32, 1, D(1));
            if (strcmp(types[t], "sequence_conv") == 0 || strcmp(types[t], "row_conv") == 0)
                op_runner_input(run, "Filter", DTYPE_FP32, 2, D(1, 1));
            if (strcmp(types[t], "sequence_conv") == 0)
                op_runner_int(run, "contextLength", 1);
            if (strcmp(types[t], "sequence_reshape") == 0)
                op_runner_int(run, "new_dim", 1);
            op_runner_output(run, strcmp(types[t], "sequence_reverse") == 0 ? "Y" : "Out", NULL);
            if (strcmp(types[t], "sequence_pad") == 0)
                op_runner_output(run, "Length", NULL);
            expect_refused(run, SL_EMISMATCH, rows[i].words);
        }
    }
}

static void test_the_last_level_is_pooled_and_the_others_stay(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("sequence_pool");
    const struct lod_level levels[] = {LEVEL(0, 1, 1, 3), LEVEL(0, 2, 2, 5)};
    struct tensor *x = sequences(run, "X", DTYPE_FP32, 5, 2, (struct lod_level){0});
    set_lod(x, 2, levels);
    op_runner_string(run, "pooltype", "SUM");
    op_runner_float(run, "pad_value", -1);
    op_runner_output(run, "Out", NULL);
    run_ok(run);
    const struct tensor *out = op_runner_result(run, "Out", 0);
    const float want[] = {4, 6, -1, -1, 21, 24};
    assert_int_equal(out->lod_levels, 1);
    expect_level(out, 0, levels[0]);
    assert_memory_equal(out->data, want, sizeof want);
    op_runner_free(run);
}

static void test_levels_that_an_op_does_not_take_are_refused(void **state)
{
    (void)state;
    static const char *const types[] = {"sequence_reverse", "sequence_concat", "sequence_reshape"};
    const struct lod_level levels[] = {LEVEL(0, 1, 2), LEVEL(0, 2, 4)};
    for (size_t t = 0; t < COUNT(types); t++) {
        struct op_runner *run = op_runner_new(types[t]);
        set_lod(sequences(run, "X", DTYPE_FP32, 4, 1, levels[1]), 2, levels);
        if (t == 2)
            op_runner_int(run, "new_dim", 1);
        op_runner_output(run, t == 0 ? "Y" : "Out", NULL);
        expect_refused(run, SL_EMISMATCH, "takes one");
    }
}

static void test_numbers_from_outside_are_judged(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("sequence_unpad");
    sequences(run, "X", DTYPE_FP32, 2, 3, (struct lod_level){0});
    numbers(run, "Length", 1, D(2), D(3, 4));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EINVAL, "Length 1 is 4; X has 3 rows a sequence");

    run = op_runner_new("sequence_slice");
    sequences(run, "X", DTYPE_FP32, 4, 1, LEVEL(0, 2, 4));
    numbers(run, "Offset", 2, D(2, 1), D(0, INT64_MAX));
    numbers(run, "Length", 2, D(2, 1), D(2, 2));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EINVAL, "sequence 1 has 2 rows; 2 rows from 9223372036854775807");

    run = op_runner_new("sequence_scatter");
    sequences(run, "X", DTYPE_FP32, 2, 3, (struct lod_level){0});
    struct tensor *ids = numbers(run, "Ids", 2, D(2, 1), D(1, 3));
    set_lod(ids, 1, &LEVEL(0, 1, 2));
    sequences(run, "Updates", DTYPE_FP32, 2, 1, LEVEL(0, 1, 2));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EINVAL, "Ids");

    run = op_runner_new("sequence_pad");
    sequences(run, "X", DTYPE_FP32, 4, 1, LEVEL(0, 1, 4));
    op_runner_input(run, "PadValue", DTYPE_FP32, 1, D(1));
    op_runner_int(run, "padded_length", 2);
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "Length", NULL);
    expect_refused(run, SL_EINVAL, "padded_length is 2, but there is a sequence of 3 rows");

    run = op_runner_new("sequence_expand");
    sequences(run, "X", DTYPE_FP32, 3, 1, (struct lod_level){0});
    sequences(run, "Y", DTYPE_FP32, 4, 1, LEVEL(0, 1, 4));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EMISMATCH, "X has 3 rows for 2 sequences of Y");

    run = op_runner_new("sequence_reshape");
    sequences(run, "X", DTYPE_FP32, 3, 2, LEVEL(0, 1, 3));
    op_runner_int(run, "new_dim", 4);
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EMISMATCH, "sequence 0 has 1 rows of 2 elements");

    run = op_runner_new("lod_reset");
    sequences(run, "X", DTYPE_FP32, 4, 1, (struct lod_level){0});
    op_runner_ints(run, "target_lod", D(0, 3, 2, 4), 4);
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EINVAL, "offset 2 falls from 3 to 2");
}

static void test_measures_judge_their_sequences(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("edit_distance");
    sequences(run, "Hyps", DTYPE_INT64, 2, 1, LEVEL(0, 1, 2));
    sequences(run, "Refs", DTYPE_INT64, 2, 1, LEVEL(0, 2, 2));
    op_runner_int(run, "normalized", 1);
    op_runner_output(run, "SequenceNum", NULL);
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EINVAL, "sequence 1 of Refs is empty");

    run = op_runner_new("chunk_eval");
    sequences(run, "Inference", DTYPE_INT64, 2, 1, LEVEL(0, 2));
    sequences(run, "Label", DTYPE_INT64, 2, 1, LEVEL(0, 1, 2));
    op_runner_int(run, "num_chunk_types", 3);
    static const char *const outputs[] = {"Precision",      "Recall",         "F1-Score",
                                          "NumInferChunks", "NumLabelChunks", "NumCorrectChunks"};
    for (size_t i = 0; i < COUNT(outputs); i++)
        op_runner_output(run, outputs[i], NULL);
    expect_refused(run, SL_EMISMATCH, "one LoD");

    run = op_runner_new("chunk_eval");
    numbers(run, "Inference", 2, D(1, 2), D(0, 7));
    numbers(run, "Label", 2, D(1, 2), D(0, 1));
    numbers(run, "SeqLength", 1, D(1), D(2));
    op_runner_int(run, "num_chunk_types", 3);
    for (size_t i = 0; i < COUNT(outputs); i++)
        op_runner_output(run, outputs[i], NULL);
    expect_refused(run, SL_EINVAL, "label 1 is 7, not within 0..6");
}

static void test_an_index_that_max_did_not_give_is_refused(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("sequence_pool_grad");
    sequences(run, "X", DTYPE_FP32, 4, 1, LEVEL(0, 2, 4));
    struct tensor *index = op_runner_input(run, "MaxIndex", DTYPE_INT32, 2, D(2, 1));
    tensor_i32(index)[0] = 0;
    tensor_i32(index)[1] = 4;
    sequences(run, "Out@GRAD", DTYPE_FP32, 2, 1, (struct lod_level){0});
    op_runner_string(run, "pooltype", "MAX");
    op_runner_output(run, "X@GRAD", NULL);
    expect_refused(run, SL_EINVAL, "MaxIndex 1 is 4; X has 4 rows");
}

static void test_an_output_may_not_be_the_input(void **state)
{
    (void)state;
    static const char *const types[] = {"sequence_pool", "sequence_concat", "sequence_reverse"};
    for (size_t t = 0; t < COUNT(types); t++) {
        struct op_runner *run = op_runner_new(types[t]);
        sequences(run, "X", DTYPE_FP32, 4, 1, LEVEL(0, 2, 4));
        op_runner_in_place(run, t == 2 ? "Y" : "Out", "X");
        expect_refused(run, SL_EINVAL, "may not be the input X");
    }
}

// e^200 is more than a float holds.
static void test_softmax_of_large_numbers_stays_finite(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("sequence_softmax");
    struct tensor *x = sequences(run, "X", DTYPE_FP32, 3, 1, LEVEL(0, 2, 3));
    tensor_f32(x)[0] = 200;
    tensor_f32(x)[1] = 199;
    tensor_f32(x)[2] = -300;
    op_runner_output(run, "Out", NULL);
    run_ok(run);
    const float *out = tensor_f32(op_runner_result(run, "Out", 0));
    assert_true(fabsf(out[0] - 0.731058579f) < 1e-6f && fabsf(out[1] - 0.268941421f) < 1e-6f);
    assert_true(out[2] == 1.0f);
    op_runner_free(run);
}

static void test_a_convolution_ahead_of_short_sequences(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("sequence_conv_grad");
    sequences(run, "X", DTYPE_FP32, 3, 1, LEVEL(0, 1, 3));
    sequences(run, "Filter", DTYPE_FP32, 2, 1, (struct lod_level){0});
    sequences(run, "Out@GRAD", DTYPE_FP32, 3, 1, (struct lod_level){0});
    op_runner_int(run, "contextLength", 2);
    op_runner_int(run, "contextStart", 1);
    op_runner_output(run, "X@GRAD", NULL);
    op_runner_output(run, "Filter@GRAD", NULL);
    run_ok(run);
    // Only row 1 sees a row: row 2, at the filter's first place.
    const float dx[] = {0, 0, 2}, dfilter[] = {6, 0};
    assert_memory_equal(op_runner_result(run, "X@GRAD", 0)->data, dx, sizeof dx);
    assert_memory_equal(op_runner_result(run, "Filter@GRAD", 0)->data, dfilter, sizeof dfilter);
    op_runner_free(run);
}

static void test_shapes_that_are_not_known_yet(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_runner *run = op_runner_new("sequence_conv");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, 4));
    op_runner_shape(run, "Filter", DTYPE_FP32, 2, D(12, 5));
    op_runner_int(run, "contextLength", 3);
    op_runner_output(run, "Out", NULL);
    assert_int_equal(op_runner_infer(run, &err), 0);
    assert_true(
        dims_equal(&op_runner_dims(run, "Out", 0)->dims, &(struct dims){.rank = 2, .d = {-1, 5}}));
    op_runner_free(run);
    run = op_runner_new("sequence_conv");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(-1, INT64_MAX / 2));
    op_runner_shape(run, "Filter", DTYPE_FP32, 2, D(12, 5));
    op_runner_int(run, "contextLength", INT32_MAX);
    op_runner_output(run, "Out", NULL);
    assert_int_equal(op_runner_infer(run, &err), SL_EMISMATCH);
    op_runner_free(run);
    run = op_runner_new("sequence_mask");
    op_runner_shape(run, "X", DTYPE_INT64, 1, D(-1));
    op_runner_int(run, "maxlen", 0);
    op_runner_output(run, "Y", NULL);
    assert_int_equal(op_runner_infer(run, &err), SL_EINVAL);
    op_runner_free(run);
}

// Which ops hand X's LoD on, as Fluid 1.8.5 does it (asked of it op by op).
static void test_lod_is_handed_on_where_fluid_hands_it_on(void **state)
{
    (void)state;
    static const struct {
        const char *type, *x, *y, *out;
        bool handed_on;
    } rows[] = {
        {"relu", "X", NULL, "Out", true},
        {"scale", "X", NULL, "Out", true},
        {"softmax", "X", NULL, "Out", true},
        {"cast", "X", NULL, "Out", true},
        {"dropout", "X", NULL, "Out", true},
        {"clip", "X", NULL, "Out", true},
        {"lookup_table_v2", "Ids", "W", "Out", true},
        {"mul", "X", "Y", "Out", true},
        {"elementwise_add", "X", "Y", "Out", true},
        {"mean", "X", NULL, "Out", false},
        {"norm", "X", NULL, "Out", false},
        {"dot", "X", "Y", "Out", false},
        {"transpose2", "X", NULL, "Out", false},
        {"modified_huber_loss", "X", "Y", "Out", false},
        {"softmax_grad", "Out", "Out@GRAD", "X@GRAD", false},
        {"relu_grad", "Out", "Out@GRAD", "X@GRAD", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct err err = {0};
        bool column = strcmp(rows[i].type, "modified_huber_loss") == 0;
        struct op_runner *run = op_runner_new(rows[i].type);
        op_runner_shape(run, rows[i].x, DTYPE_FP32, 2, D(4, column ? 1 : 4));
        if (rows[i].y != NULL)
            op_runner_shape(run, rows[i].y, DTYPE_FP32, 2, D(4, column ? 1 : 4));
        if (strcmp(rows[i].type, "cast") == 0) {
            op_runner_int(run, "in_dtype", DTYPE_FP32);
            op_runner_int(run, "out_dtype", DTYPE_FP64);
        }
        if (strcmp(rows[i].type, "norm") == 0)
            op_runner_int(run, "axis", 1);
        if (strcmp(rows[i].type, "transpose2") == 0)
            op_runner_ints(run, "axis", D(0, 1), 2);
        op_runner_output(run, rows[i].out, NULL);
        if (op_runner_infer(run, &err) < 0)
            fail_msg("%s: %s", rows[i].type, err.text);
        if ((op_runner_dims(run, rows[i].out, 0)->lod_from != NULL) != rows[i].handed_on)
            fail_msg("%s hands LoD on: %d", rows[i].type, !rows[i].handed_on);
        op_runner_free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_lod_is_refused),
        cmocka_unit_test(test_the_last_level_is_pooled_and_the_others_stay),
        cmocka_unit_test(test_levels_that_an_op_does_not_take_are_refused),
        cmocka_unit_test(test_numbers_from_outside_are_judged),
        cmocka_unit_test(test_measures_judge_their_sequences),
        cmocka_unit_test(test_an_index_that_max_did_not_give_is_refused),
        cmocka_unit_test(test_an_output_may_not_be_the_input),
        cmocka_unit_test(test_softmax_of_large_numbers_stays_finite),
        cmocka_unit_test(test_a_convolution_ahead_of_short_sequences),
        cmocka_unit_test(test_shapes_that_are_not_known_yet),
        cmocka_unit_test(test_lod_is_handed_on_where_fluid_hands_it_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
