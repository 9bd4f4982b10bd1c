// SPDX-License-Identifier: Apache-2.0
// How programs are divided among workers, and batches cut.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/exec/parallel_cut.h"
#include "common/exec/parallel_split.h"
#include "common/exec/parallel_sum.h"
#include "tests/unit/exec/exec_fixture.h"

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void add(struct block *b, int role, const char *type, const char *in, const char *out)
{
    op_desc_set_int(exec_fixture_op(b, type, in, out), OP_ROLE_ATTR, role);
}

// Forward and backward of parameters a and b out of x.
static void add_gradients(struct block *b)
{
    static const char *const vars[] = {"a", "b", "a@GRAD", "b@GRAD"};
    exec_fixture_var(b, "x", false, 2, D(-1, 3));
    for (size_t i = 0; i < 4; i++)
        exec_fixture_var(b, vars[i], i < 2, 2, D(3, i % 2 ? 7 : 5));
    for (size_t i = 0; i < 2; i++) {
        struct str_list pair = {0};
        str_list_add(&pair, vars[i]);
        str_list_add(&pair, vars[i + 2]);
        add(b, OP_ROLE_BACKWARD, "mul_grad", i == 0 ? "X=x Y=a" : "X=x Y=b",
            i == 0 ? "Y@GRAD=a@GRAD" : "Y@GRAD=b@GRAD");
        op_desc_set_strings(b->ops[b->ops_count - 1], OP_ROLE_VAR_ATTR, &pair);
        str_list_deinit(&pair);
    }
}

// "workers 0 1; sum a@GRAD b@GRAD; once 2.0 3.1": stages, with the part behind what runs once.
static void expect_stages(const struct program *program, const char *expected)
{
    static const char *const names[] = {"once", "turns", "workers", "sum"};
    struct err err = {0};
    struct parallel_split split;
    struct buf text;
    buf_init(&text, 0);
    if (parallel_split_init(program, NULL, 0, 2, &split, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t s = 0; s < split.stages_count; s++) {
        const struct parallel_stage *stage = &split.stages[s];
        buf_printf(&text, "%s%s", s > 0 ? "; " : "", names[stage->kind]);
        for (size_t i = 0; i < stage->count; i++) {
            if (stage->kind == PARALLEL_SUM)
                buf_printf(&text, " %s", split.sums[stage->items[i]].name);
            else if (stage->kind == PARALLEL_ONCE)
                buf_printf(&text, " %zu.%d", stage->items[i], stage->parts[i]);
            else
                buf_printf(&text, " %zu", stage->items[i]);
        }
    }
    assert_string_equal(buf_text(&text), expected);
    buf_deinit(&text);
    parallel_split_deinit(&split);
}

static void test_optimizers_run_once_in_parts(void **state)
{
    (void)state;
    struct program *p = program_new();
    struct block *b = program_block(p, 0);
    exec_fixture_var(b, "lr", true, 1, D(1));
    add(b, OP_ROLE_LR_SCHED, "increment", "X=lr", "Out=lr");
    add_gradients(b);
    add(b, OP_ROLE_OPTIMIZE, "sgd", "Param=a Grad=a@GRAD LearningRate=lr", "ParamOut=a");
    add(b, OP_ROLE_OPTIMIZE, "sgd", "Param=b Grad=b@GRAD LearningRate=lr", "ParamOut=b");
    expect_stages(p, "once 0.0; workers 1 2; sum a@GRAD b@GRAD; once 3.1 4.0");
    program_free(p);
}

// Norms of each, their sum, and each again.
static void test_a_global_norm_is_a_part_between_parts(void **state)
{
    (void)state;
    struct program *p = program_new();
    struct block *b = program_block(p, 0);
    exec_fixture_var(b, "na", false, 1, D(1));
    exec_fixture_var(b, "nb", false, 1, D(1));
    exec_fixture_var(b, "n", false, 1, D(1));
    exec_fixture_var(b, "root", false, 1, D(1));
    add_gradients(b);
    add(b, OP_ROLE_OPTIMIZE, "squared_l2_norm", "X=a@GRAD", "Out=na");
    add(b, OP_ROLE_OPTIMIZE, "squared_l2_norm", "X=b@GRAD", "Out=nb");
    add(b, OP_ROLE_OPTIMIZE, "sum", "X=na,nb", "Out=n");
    add(b, OP_ROLE_OPTIMIZE, "sqrt", "X=n", "Out=root");
    add(b, OP_ROLE_OPTIMIZE, "elementwise_mul", "X=a@GRAD Y=root", "Out=a@GRAD");
    add(b, OP_ROLE_OPTIMIZE, "elementwise_mul", "X=b@GRAD Y=root", "Out=b@GRAD");
    add(b, OP_ROLE_OPTIMIZE, "sgd", "Param=a Grad=a@GRAD", "ParamOut=a");
    add(b, OP_ROLE_OPTIMIZE, "sgd", "Param=b Grad=b@GRAD", "ParamOut=b");
    expect_stages(p, "workers 0 1; sum a@GRAD b@GRAD; once 2.0 3.1; once 4.0 5.0; "
                     "once 6.1 7.0 8.1 9.0");
    program_free(p);
}

// An optimizer that reads a fed value differs between workers, and so does its parameter.
static void test_what_reads_a_feed_is_every_workers(void **state)
{
    (void)state;
    struct program *p = program_new();
    struct block *b = program_block(p, 0);
    struct parallel_split split;
    struct err err = {0};
    exec_fixture_var(b, "rate", false, 1, D(-1));
    add_gradients(b);
    add(b, OP_ROLE_OPTIMIZE, "sgd", "Param=a Grad=a@GRAD LearningRate=rate", "ParamOut=a");
    expect_stages(p, "workers 0 1; sum a@GRAD b@GRAD; workers 2");
    assert_int_equal(parallel_split_init(p, NULL, 0, 2, &split, &err), 0);
    assert_true(parallel_split_is_own(&split, "a"));
    assert_true(parallel_split_is_own(&split, "x"));
    assert_false(parallel_split_is_own(&split, "b"));
    assert_true(split.sums[0].spread);
    assert_false(split.sums[1].spread);
    parallel_split_deinit(&split);
    program_free(p);
}

// A value that the workers need is made before they begin; what needs theirs comes after them.
static void test_order_follows_values(void **state)
{
    (void)state;
    struct program *p = program_new();
    struct block *b = program_block(p, 0);
    exec_fixture_var(b, "x", false, 2, D(-1, 3));
    exec_fixture_var(b, "k", true, 1, D(1));
    exec_fixture_var(b, "y", false, 2, D(-1, 3));
    exec_fixture_var(b, "z", false, 2, D(-1, 3));
    add(b, OP_ROLE_FORWARD, "elementwise_mul", "X=x Y=k", "Out=y");
    add(b, OP_ROLE_LR_SCHED, "increment", "X=k", "Out=k");
    add(b, OP_ROLE_FORWARD, "elementwise_mul", "X=y Y=k", "Out=z");
    expect_stages(p, "workers 0; once 1.0; workers 2");
    program_free(p);
}

static void test_samples_are_dealt_as_fluid_deals_them(void **state)
{
    (void)state;
    static const struct {
        int64_t n;
        int workers;
        int64_t counts[4];
    } rows[] = {{5, 2, {3, 2}},        {7, 2, {4, 3}},        {8, 2, {4, 4}},
                {2, 2, {1, 1}},        {5, 3, {2, 2, 1}},     {7, 3, {3, 3, 1}},
                {8, 3, {3, 3, 2}},     {10, 3, {4, 4, 2}},    {7, 4, {2, 2, 2, 1}},
                {10, 4, {3, 3, 3, 1}}, {14, 4, {4, 4, 4, 2}}, {4, 3, {2, 1, 1}},
                {9, 4, {3, 2, 2, 2}},  {5, 4, {2, 1, 1, 1}},  {1, 1, {1}}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t at = 0;
        for (int w = 0; w < rows[i].workers; w++) {
            int64_t first, count;
            parallel_cut_range(rows[i].n, rows[i].workers, w, &first, &count);
            assert_int_equal(first, at);
            assert_int_equal(count, rows[i].counts[w]);
            at += count;
        }
        assert_int_equal(at, rows[i].n);
    }
}

// 3 documents of 2, 1, 2 sentences of 2, 3, 1, 2, 1 words.
static void test_sequences_are_cut_and_joined(void **state)
{
    (void)state;
    uint64_t documents[] = {0, 2, 3, 5}, sentences[] = {0, 2, 5, 6, 8, 9};
    struct lod_level levels[] = {{.offsets = documents, .count = 4},
                                 {.offsets = sentences, .count = 6}};
    struct variable whole, parts[2], joined;
    const struct variable *pointers[2] = {&parts[0], &parts[1]};
    struct err err = {0};
    exec_fixture_value(&whole, 2, D(9, 2));
    variable_init(&parts[0]);
    variable_init(&parts[1]);
    variable_init(&joined);
    assert_int_equal(tensor_set_lod(&whole.tensor, 2, levels), 0);
    assert_int_equal(parallel_cut_samples(&whole.tensor), 3);
    struct tensor *a = variable_tensor(&parts[0]), *b = variable_tensor(&parts[1]);
    assert_int_equal(parallel_cut_view(&whole.tensor, 0, 2, a), 0);
    assert_int_equal(parallel_cut_view(&whole.tensor, 2, 1, b), 0);
    assert_true(tensor_lod_is_valid(a) && tensor_lod_is_valid(b));
    assert_int_equal(a->dims.d[0], 6);
    assert_int_equal(b->dims.d[0], 3);
    assert_int_equal(b->lod[0].count, 2);
    assert_int_equal(b->lod[1].offsets[1], 2);
    assert_true(tensor_f32(b)[0] == 12);
    assert_int_equal(parallel_cut_join(pointers, 2, &joined, &err), 0);
    assert_int_equal(joined.tensor.lod_levels, 2);
    assert_memory_equal(joined.tensor.data, whole.tensor.data, tensor_bytes(&whole.tensor));
    assert_memory_equal(joined.tensor.lod[0].offsets, documents, sizeof documents);
    assert_memory_equal(joined.tensor.lod[1].offsets, sentences, sizeof sentences);
    variable_deinit(&parts[1]);
    exec_fixture_value(&parts[1], 2, D(3, 3));
    assert_int_equal(parallel_cut_join(pointers, 2, &joined, &err), SL_EMISMATCH);
    assert_non_null(strstr(err.text, "worker 1 has float32 [3,3]"));
    variable_deinit(&whole);
    variable_deinit(&parts[0]);
    variable_deinit(&parts[1]);
    variable_deinit(&joined);
}

static void make_rows(struct variable *out, size_t count, const int64_t *rows, float first)
{
    struct dims dims = dims_make(2, D((int64_t)count, 2));
    variable_init(out);
    struct selected_rows *sr = variable_rows(out);
    sr->height = 10;
    assert_int_equal(selected_rows_resize(sr, count), 0);
    assert_int_equal(tensor_resize(&sr->value, DTYPE_FP32, &dims), 0);
    if (count > 0)
        memcpy(sr->rows, rows, count * sizeof *rows);
    for (size_t i = 0; i < 2 * count; i++)
        tensor_f32(&sr->value)[i] = first + (float)i;
}

// Worker after worker, none merged; the same again takes no memory.
static void test_sparse_gradients_are_joined(void **state)
{
    (void)state;
    struct variable parts[3], spare;
    struct variable *grads[3] = {&parts[0], &parts[1], &parts[2]};
    struct err err = {0};
    unsigned long allocated = 0;
    variable_init(&spare);
    for (size_t i = 0; i < 3; i++)
        variable_init(&parts[i]);
    for (int step = 0; step < 6; step++) {
        struct variable made[3];
        make_rows(&made[0], 2, (const int64_t[]){7, 3}, 0);
        make_rows(&made[1], 0, NULL, 0);
        make_rows(&made[2], 1, (const int64_t[]){3}, 50);
        unsigned long before = mem_allocation_count();
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(variable_copy(&parts[i], &made[i]), 0);
        assert_int_equal(parallel_sum_check(grads, 3, &err), 0);
        for (int piece = 0; piece < 3; piece++)
            assert_int_equal(
                parallel_sum_part(grads, 3, piece, 3, step % 3, step % 2 == 1, &spare, &err), 0);
        allocated = mem_allocation_count() - before;
        const struct selected_rows *sum = &parts[step % 2 == 1 ? 2 : 0].rows;
        assert_int_equal(sum->rows_count, 3);
        assert_int_equal(sum->height, 10);
        assert_memory_equal(sum->rows, ((const int64_t[]){7, 3, 3}), 3 * sizeof(int64_t));
        const float *values = tensor_f32(&sum->value);
        assert_memory_equal(values, ((const float[]){0, 1, 2, 3, 50, 51}), 6 * sizeof(float));
        for (size_t i = 0; i < 3; i++)
            variable_deinit(&made[i]);
    }
    assert_int_equal(allocated, 0);
    variable_deinit(&parts[1]);
    exec_fixture_value(&parts[1], 2, D(10, 2));
    assert_int_equal(parallel_sum_check(grads, 3, &err), SL_EMISMATCH);
    for (size_t i = 0; i < 3; i++)
        variable_deinit(&parts[i]);
    variable_deinit(&spare);
}

// However many share the work, and whatever does not divide.
static void test_dense_sums_do_not_depend_on_pieces(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 1000; n = n * 3 + 1) {
        for (int pieces = 1; pieces < 6; pieces++) {
            struct variable parts[3], spare;
            struct variable *grads[3] = {&parts[0], &parts[1], &parts[2]};
            struct err err = {0};
            variable_init(&spare);
            for (int w = 0; w < 3; w++) {
                exec_fixture_value(&parts[w], 1, D(n));
                for (int64_t i = 0; i < n; i++)
                    tensor_f32(&parts[w].tensor)[i] = 0.1f * (float)(i + 1) / (float)(w + 3);
            }
            assert_int_equal(parallel_sum_check(grads, 3, &err), 0);
            for (int piece = pieces - 1; piece >= 0; piece--)
                assert_int_equal(parallel_sum_part(grads, 3, piece, pieces, 0, false, &spare, &err),
                                 0);
            for (int64_t i = 0; i < n; i++) {
                float a = 0.1f * (float)(i + 1);
                assert_true(tensor_f32(&parts[0].tensor)[i] == (a / 3 + a / 4) + a / 5);
            }
            for (int w = 0; w < 3; w++)
                variable_deinit(&parts[w]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizers_run_once_in_parts),
        cmocka_unit_test(test_a_global_norm_is_a_part_between_parts),
        cmocka_unit_test(test_what_reads_a_feed_is_every_workers),
        cmocka_unit_test(test_order_follows_values),
        cmocka_unit_test(test_samples_are_dealt_as_fluid_deals_them),
        cmocka_unit_test(test_sequences_are_cut_and_joined),
        cmocka_unit_test(test_sparse_gradients_are_joined),
        cmocka_unit_test(test_dense_sums_do_not_depend_on_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
