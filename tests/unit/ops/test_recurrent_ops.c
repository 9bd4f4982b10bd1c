// SPDX-License-Identifier: Apache-2.0
// What recorded results do not show of recurrent and structured ops: bad sequences, shapes, labels
// and tables refused with words; the order of sequences and the drawn classes that Paddle 1.8.5
// gives; rows of sparse gradients; no memory in steady state.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/ops/nce_sampler.h"
#include "tests/unit/ops/op_runner.h"

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define WIDTH 3

static void set_offsets(struct tensor *t, size_t count, const uint64_t *offsets)
{
    uint64_t copy[64];
    memcpy(copy, offsets, count * sizeof *offsets);
    assert_int_equal(tensor_set_lod(t, 1, &(struct lod_level){.offsets = copy, .count = count}), 0);
}
#define OFFSETS(t, ...)                                                                            \
    set_offsets(t, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),                     \
                (const uint64_t[]){__VA_ARGS__})

static struct tensor *add(struct op_runner *run, const char *slot, int rank, const int64_t *d)
{
    struct tensor *t = op_runner_input(run, slot, DTYPE_FP32, rank, d);
    for (uint64_t i = 0; i < tensor_count(t); i++)
        tensor_f32(t)[i] = 0.1f * (float)(i % 7) - 0.3f;
    return t;
}

static struct tensor *add_ids(struct op_runner *run, const char *slot, int rank, const int64_t *d,
                              const int64_t *values)
{
    struct tensor *t = op_runner_input(run, slot, DTYPE_INT64, rank, d);
    memcpy(t->data, values, tensor_bytes(t));
    return t;
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

// ---- sequences

static const char *const lstm_outputs[] = {"Hidden", "Cell", "BatchGate", "BatchCellPreAct", NULL};
static const char *const gru_outputs[] = {"Hidden", "BatchGate", "BatchResetHiddenPrev",
                                          "BatchHidden", NULL};

// The input is left without LoD.
static struct op_runner *make(const char *type, int64_t rows, struct tensor **out_input)
{
    bool lstm = strcmp(type, "lstm") == 0;
    int64_t gates = (lstm ? 4 : 3) * WIDTH;
    struct op_runner *run = op_runner_new(type);
    *out_input = add(run, "Input", 2, D(rows, gates));
    add(run, "Weight", 2, D(WIDTH, gates));
    add(run, "Bias", 2, D(1, gates));
    if (lstm)
        op_runner_int(run, "use_peepholes", 0);
    for (const char *const *slot = lstm ? lstm_outputs : gru_outputs; *slot != NULL; slot++)
        op_runner_output(run, *slot, NULL);
    return run;
}

static void test_rows_must_lie_in_sequences(void **state)
{
    (void)state;
    static const char *const types[] = {"lstm", "gru"};
    for (int i = 0; i < 2; i++) {
        struct tensor *input;
        struct op_runner *run = make(types[i], 4, &input);
        expect_refused(run, SL_EINVAL, "Input has 0 levels");
        run = make(types[i], 4, &input);
        OFFSETS(input, 0, 2, 5);
        expect_refused(run, SL_EINVAL, "does not describe its rows");
        run = make(types[i], 4, &input);
        OFFSETS(input, 0, 3, 2, 4);
        expect_refused(run, SL_EINVAL, "does not describe its rows");
        run = make(types[i], 4, &input);
        OFFSETS(input, 0, 4);
        add(run, "H0", 2, D(2, WIDTH));
        if (i == 0)
            add(run, "C0", 2, D(2, WIDTH));
        expect_refused(run, SL_EMISMATCH, "H0 has 2 rows for 1 sequences");
        run = make(types[i], 4, &input);
        OFFSETS(input, 0, 4);
        op_runner_string(run, "gate_activation", "gelu");
        expect_refused(run, SL_EINVAL, "\"gelu\" is not sigmoid");
    }
}

static void test_shapes_of_recurrent_ops_must_fit(void **state)
{
    (void)state;
    struct tensor *input;
    struct op_runner *run = make("lstm", 4, &input);
    OFFSETS(input, 0, 4);
    op_runner_int(run, "use_peepholes", 1);
    expect_refused(run, SL_EMISMATCH, "Bias has shape [1,12], not [1,21]");
    run = make("lstm", 4, &input);
    add(run, "H0", 2, D(1, WIDTH));
    expect_refused(run, SL_EINVAL, "H0 is given without C0");
    run = op_runner_new("gru");
    add(run, "Input", 2, D(4, 10));
    add(run, "Weight", 2, D(3, 9));
    expect_refused(run, SL_EMISMATCH, "Input [4,10] must be [rows, 3 widths]");
    run = op_runner_new("gru_unit");
    add(run, "Input", 2, D(4, 9));
    add(run, "HiddenPrev", 2, D(4, 3));
    add(run, "Weight", 2, D(3, 9));
    op_runner_int(run, "activation", 4);
    expect_refused(run, SL_EINVAL, "activation 4 is not");
    run = op_runner_new("lstm_unit");
    add(run, "X", 2, D(4, 12));
    add(run, "C_prev", 2, D(3, 3));
    expect_refused(run, SL_EMISMATCH, "X has shape [4,12], not [3,12]");
}

static void test_sequences_without_rows_give_nothing(void **state)
{
    (void)state;
    struct tensor *input;
    struct op_runner *run = make("lstm", 0, &input);
    OFFSETS(input, 0, 0, 0);
    run_ok(run);
    assert_int_equal(tensor_count(op_runner_result(run, "Hidden", 0)), 0);
    op_runner_free(run);
}

// Seen in Paddle 1.8.5 for 40 sequences of three rows.
static void test_equal_lengths_come_in_the_order_of_fluid(void **state)
{
    (void)state;
    static const uint64_t order[40] = {30, 21, 22, 23, 24, 25, 26, 27, 28, 29, 20, 31, 32, 33,
                                       34, 35, 36, 37, 38, 39, 10, 1,  2,  3,  4,  5,  6,  7,
                                       8,  9,  0,  11, 12, 13, 14, 15, 16, 17, 18, 19};
    uint64_t offsets[41];
    for (uint64_t i = 0; i <= 40; i++)
        offsets[i] = 3 * i;
    struct tensor *input;
    struct op_runner *run = make("gru", 120, &input);
    set_offsets(input, 41, offsets);
    run_ok(run);
    const struct tensor *gates = op_runner_result(run, "BatchGate", 0);
    assert_int_equal(gates->lod_levels, 3);
    assert_int_equal(gates->lod[0].count, 4);
    assert_int_equal(gates->lod[1].count, 120);
    assert_int_equal(gates->lod[2].count, 40);
    assert_memory_equal(gates->lod[2].offsets, order, sizeof order);
    for (size_t i = 0; i < 120; i++)
        assert_int_equal(gates->lod[1].offsets[i], 3 * order[i % 40] + i / 40);
    op_runner_free(run);
}

static void test_steps_of_another_length_need_no_memory(void **state)
{
    (void)state;
    static const char *const types[] = {"lstm", "gru"};
    for (int i = 0; i < 2; i++) {
        struct tensor *input;
        struct op_runner *run = make(types[i], 9, &input);
        OFFSETS(input, 0, 4, 5, 9);
        run_ok(run);
        const struct dims shorter = {.rank = 2, .d = {5, input->dims.d[1]}};
        unsigned long before = mem_allocation_count();
        for (int step = 0; step < 4; step++) {
            assert_int_equal(tensor_resize(input, DTYPE_FP32, &shorter), 0);
            OFFSETS(input, 0, 2, 5);
            run_ok(run);
        }
        assert_int_equal(mem_allocation_count(), before);
        op_runner_free(run);
    }
}

// ---- chains of tags

// Two sequences of two rows, three tags.
static struct op_runner *make_chain(const char *type, const int64_t *label)
{
    struct op_runner *run = op_runner_new(type);
    struct tensor *x = add(run, "Emission", 2, D(4, 3));
    OFFSETS(x, 0, 2, 4);
    add(run, "Transition", 2, D(5, 3));
    if (label != NULL)
        OFFSETS(add_ids(run, "Label", 2, D(4, 1), label), 0, 2, 4);
    if (strcmp(type, "crf_decoding") == 0) {
        op_runner_output(run, "ViterbiPath", NULL);
        return run;
    }
    op_runner_output(run, "Alpha", NULL);
    op_runner_output(run, "EmissionExps", NULL);
    op_runner_output(run, "TransitionExps", NULL);
    op_runner_output(run, "LogLikelihood", NULL);
    return run;
}

static struct op_runner *make_padded(int64_t length)
{
    struct op_runner *run = op_runner_new("linear_chain_crf");
    add(run, "Emission", 3, D(2, 4, 3));
    add(run, "Transition", 2, D(5, 3));
    add_ids(run, "Label", 2, D(2, 4), D(0, 1, 2, 99, 0, 1, 2, -5));
    add_ids(run, "Length", 2, D(2, 1), D(3, length));
    op_runner_output(run, "Alpha", NULL);
    op_runner_output(run, "EmissionExps", NULL);
    op_runner_output(run, "TransitionExps", NULL);
    op_runner_output(run, "LogLikelihood", NULL);
    return run;
}

static void test_chains_must_be_whole(void **state)
{
    (void)state;
    expect_refused(make_chain("linear_chain_crf", D(0, 1, 3, 0)), SL_EINVAL,
                   "tag 0 of sequence 1 is 3, not in [0,3)");
    expect_refused(make_chain("linear_chain_crf", D(0, -1, 2, 0)), SL_EINVAL,
                   "tag 1 of sequence 0 is -1");
    expect_refused(make_padded(5), SL_EINVAL, "length 1 is 5, not in [0,4]");
    expect_refused(make_padded(-1), SL_EINVAL, "length 1 is -1");
    struct op_runner *run = op_runner_new("crf_decoding");
    add(run, "Emission", 2, D(4, 3));
    add(run, "Transition", 2, D(5, 3));
    op_runner_output(run, "ViterbiPath", NULL);
    expect_refused(run, SL_EINVAL, "Emission must have one level of sequences");
    run = op_runner_new("crf_decoding");
    add(run, "Emission", 2, D(4, 3));
    add(run, "Transition", 2, D(4, 3));
    expect_refused(run, SL_EMISMATCH, "must be [tags + 2, tags]");
}

// Labels behind the end of a sequence are not looked at.
static void test_padding_of_chains_may_hold_anything(void **state)
{
    (void)state;
    struct op_runner *run = make_padded(0);
    run_ok(run);
    const struct tensor *cost = op_runner_result(run, "LogLikelihood", 0);
    assert_true(tensor_f32(cost)[0] > 0 && tensor_f32(cost)[1] == 0);
    op_runner_free(run);
}

static void test_a_chain_without_a_path_is_an_error(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("linear_chain_crf");
    struct tensor *x = add(run, "Emission", 2, D(2, 3)), *w = add(run, "Transition", 2, D(5, 3));
    OFFSETS(x, 0, 2);
    OFFSETS(add_ids(run, "Label", 2, D(2, 1), D(0, 0)), 0, 2);
    for (int i = 6; i < 15; i++)
        tensor_f32(w)[i] = -1000;
    op_runner_output(run, "Alpha", NULL);
    op_runner_output(run, "EmissionExps", NULL);
    op_runner_output(run, "TransitionExps", NULL);
    op_runner_output(run, "LogLikelihood", NULL);
    expect_refused(run, SL_EINVAL, "no path of tags");
}

static void test_the_best_path_is_the_first_of_equals(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("crf_decoding");
    struct tensor *x = op_runner_input(run, "Emission", DTYPE_FP64, 2, D(4, 3));
    struct tensor *w = op_runner_input(run, "Transition", DTYPE_FP64, 2, D(5, 3));
    memset(x->data, 0, tensor_bytes(x));
    memset(w->data, 0, tensor_bytes(w));
    OFFSETS(x, 0, 3, 4);
    op_runner_output(run, "ViterbiPath", NULL);
    run_ok(run);
    const struct tensor *path = op_runner_result(run, "ViterbiPath", 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(tensor_i64(path)[i], 0);
    op_runner_free(run);
}

// ---- few classes out of many

static struct op_runner *make_tree(int64_t label, int64_t classes, int64_t nodes)
{
    struct op_runner *run = op_runner_new("hierarchical_sigmoid");
    add(run, "X", 2, D(1, 4));
    add(run, "W", 2, D(nodes, 4));
    add_ids(run, "Label", 2, D(1, 1), D(label));
    op_runner_int(run, "num_classes", classes);
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "PreOut", NULL);
    return run;
}

static void test_paths_must_lie_in_the_tree(void **state)
{
    (void)state;
    expect_refused(make_tree(6, 6, 5), SL_EINVAL, "label 0 is 6, not in [0,6)");
    expect_refused(make_tree(-1, 6, 5), SL_EINVAL, "label 0 is -1");
    expect_refused(make_tree(0, 6, 4), SL_EMISMATCH, "W has 4 rows; a tree of 6 classes has 5");
    expect_refused(make_tree(0, 1, 4), SL_EINVAL, "num_classes is 1");
    struct op_runner *run = make_tree(0, 6, 5);
    add_ids(run, "PathTable", 2, D(1, 2), D(0, 5));
    expect_refused(run, SL_EINVAL, "PathTable and PathCode go together");
    run = make_tree(0, 6, 5);
    add_ids(run, "PathTable", 2, D(1, 2), D(0, 5));
    add_ids(run, "PathCode", 2, D(1, 2), D(0, 1));
    expect_refused(run, SL_EINVAL, "names node 5 of 5");
}

// All nodes that the table names are rows, those behind the end of a path with 0.
static void test_rows_of_a_sparse_tree(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("hierarchical_sigmoid_grad");
    add(run, "X", 2, D(2, 2));
    add(run, "W", 2, D(9, 2));
    add_ids(run, "Label", 2, D(2, 1), D(0, 0));
    add_ids(run, "PathTable", 2, D(2, 3), D(7, 2, -1, 2, -1, 4));
    add_ids(run, "PathCode", 2, D(2, 3), D(1, 0, 0, 1, 1, 1));
    add(run, "PreOut", 2, D(2, 3));
    add(run, "Out@GRAD", 2, D(2, 1));
    op_runner_output(run, "W@GRAD", NULL);
    op_runner_int(run, "is_sparse", 1);
    run_ok(run);
    const struct selected_rows *rows = &op_runner_variable(run, "W@GRAD", 0)->rows;
    assert_int_equal(op_runner_variable(run, "W@GRAD", 0)->kind, VARIABLE_SELECTED_ROWS);
    assert_int_equal(rows->height, 9);
    assert_int_equal(rows->rows_count, 3);
    assert_memory_equal(rows->rows, D(2, 4, 7), 3 * sizeof(int64_t));
    assert_true(tensor_f32(&rows->value)[0] != 0.0f);
    assert_true(tensor_f32(&rows->value)[2] == 0.0f && tensor_f32(&rows->value)[3] == 0.0f);
    op_runner_free(run);
}

static struct op_runner *make_nce(int64_t label, int64_t sampler)
{
    struct op_runner *run = op_runner_new("nce");
    add(run, "Input", 2, D(1, 4));
    add_ids(run, "Label", 2, D(1, 1), D(label));
    add(run, "Weight", 2, D(5, 4));
    op_runner_int(run, "num_total_classes", 5);
    op_runner_int(run, "sampler", sampler);
    op_runner_int(run, "seed", 3);
    op_runner_output(run, "Cost", NULL);
    op_runner_output(run, "SampleLogits", NULL);
    op_runner_output(run, "SampleLabels", NULL);
    return run;
}

static void test_classes_must_be_there(void **state)
{
    (void)state;
    expect_refused(make_nce(5, 0), SL_EINVAL, "Label of sample 0 is 5, not in [0,5)");
    expect_refused(make_nce(-2, 0), SL_EINVAL, "Label of sample 0 is -2");
    expect_refused(make_nce(0, 3), SL_EINVAL, "sampler 3 is not");
    expect_refused(make_nce(0, 2), SL_EMISMATCH, "sampler 2 needs CustomDistProbs");
    struct op_runner *run = make_nce(0, 2);
    add(run, "CustomDistProbs", 1, D(5));
    add(run, "CustomDistAliasProbs", 1, D(5));
    struct tensor *alias = op_runner_input(run, "CustomDistAlias", DTYPE_INT32, 1, D(5));
    memcpy(alias->data, (const int32_t[]){-1, 0, 5, 1, 1}, 5 * sizeof(int32_t));
    expect_refused(run, SL_EINVAL, "CustomDistAlias of class 2 is 5");
    run = make_nce(0, 0);
    op_runner_ints(run, "custom_neg_classes", D(1, 2), 2);
    expect_refused(run, SL_EINVAL, "custom_neg_classes has 2 classes, num_neg_samples is 10");
    run = make_nce(0, 0);
    op_runner_int(run, "num_neg_samples", 1);
    op_runner_ints(run, "custom_neg_classes", D(7), 1);
    expect_refused(run, SL_EINVAL, "names class 7");
    run = make_nce(0, 0);
    add(run, "SampleWeight", 2, D(2, 1));
    expect_refused(run, SL_EMISMATCH, "SampleWeight has 2 elements for 1 samples");
    run = make_nce(0, 0);
    op_runner_int(run, "num_total_classes", 6);
    expect_refused(run, SL_EMISMATCH, "Weight has shape [5,4], not [6,4]");
}

// Fluid's layer makes [classes, 1]; other programs have a plain row of them.
static void test_biases_of_classes_may_be_a_row(void **state)
{
    (void)state;
    float costs[3];
    for (int kind = 0; kind < 3; kind++) {
        struct op_runner *run = make_nce(2, 0);
        if (kind > 0)
            add(run, "Bias", kind, D(5, 1));
        run_ok(run);
        costs[kind] = tensor_f32(op_runner_result(run, "Cost", 0))[0];
        op_runner_free(run);
    }
    assert_true(costs[1] == costs[2]);
    assert_true(costs[1] != costs[0]);
    struct op_runner *run = make_nce(2, 0);
    add(run, "Bias", 1, D(4));
    expect_refused(run, SL_EMISMATCH, "Bias has shape [4], not [5,1]");
}

// Seen in Paddle 1.8.5: 7 classes, three samples of six draws.
static void test_drawn_classes_are_those_of_fluid(void **state)
{
    (void)state;
    static const float probs[] = {0.1f, 0.2f, 0.3f, 0.1f, 0.1f, 0.1f, 0.1f};
    static const float alias_probs[] = {0.7f, 0.9f, 1, 0.7f, 0.7f, 1, 1};
    static const int32_t alias[] = {1, 2, -1, 2, 2, -1, -1};
    static const struct {
        enum nce_sampler_kind kind;
        uint32_t seed;
        int64_t drawn[18];
    } rows[] = {
        {NCE_SAMPLER_UNIFORM, 1, {0, 0, 3, 0, 2, 6, 3, 0, 3, 4, 0, 3, 5, 1, 2, 1, 2, 5}},
        {NCE_SAMPLER_UNIFORM, 123, {2, 3, 6, 5, 1, 1, 6, 2, 5, 3, 1, 4, 0, 3, 4, 6, 5, 4}},
        {NCE_SAMPLER_LOG_UNIFORM, 7, {3, 5, 0, 4, 0, 0, 4, 4, 0, 3, 3, 2, 1, 0, 4, 0, 5, 5}},
        {NCE_SAMPLER_CUSTOM, 1, {2, 6, 2, 1, 1, 2, 3, 2, 1, 1, 4, 3, 0, 5, 6, 0, 6, 5}},
        {NCE_SAMPLER_CUSTOM, 123, {4, 2, 2, 2, 6, 4, 2, 4, 3, 4, 5, 3, 3, 2, 5, 5, 5, 4}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct nce_sampler sampler = {rows[i].kind, 7, probs, alias_probs, alias};
        int64_t drawn[3 * 7];
        nce_sampler_draw(&sampler, rows[i].seed, 3, 7, 6, drawn + 1);
        for (int k = 0; k < 18; k++)
            assert_int_equal(drawn[k / 6 * 7 + 1 + k % 6], rows[i].drawn[k]);
    }
    const struct nce_sampler uniform = {.kind = NCE_SAMPLER_UNIFORM, .classes = 4};
    assert_true(nce_sampler_probability(&uniform, 3) == 0.25f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_must_lie_in_sequences),
        cmocka_unit_test(test_shapes_of_recurrent_ops_must_fit),
        cmocka_unit_test(test_sequences_without_rows_give_nothing),
        cmocka_unit_test(test_equal_lengths_come_in_the_order_of_fluid),
        cmocka_unit_test(test_steps_of_another_length_need_no_memory),
        cmocka_unit_test(test_chains_must_be_whole),
        cmocka_unit_test(test_padding_of_chains_may_hold_anything),
        cmocka_unit_test(test_a_chain_without_a_path_is_an_error),
        cmocka_unit_test(test_the_best_path_is_the_first_of_equals),
        cmocka_unit_test(test_paths_must_lie_in_the_tree),
        cmocka_unit_test(test_rows_of_a_sparse_tree),
        cmocka_unit_test(test_classes_must_be_there),
        cmocka_unit_test(test_biases_of_classes_may_be_a_row),
        cmocka_unit_test(test_drawn_classes_are_those_of_fluid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
