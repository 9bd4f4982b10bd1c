// SPDX-License-Identifier: Apache-2.0
// Programs of save and load operators, run by an executor.
#include "tests/unit/ckpt/ckpt_fixture.h"

#include "common/ckpt/op_save_load.h"
#include "common/exec/executor.h"

static struct scope *scope;
static struct err err;

static int setup(void **state)
{
    scope = model_scope(1);
    err = (struct err){0};
    return fixture_setup(state);
}

static int teardown(void **state)
{
    scope_free(scope);
    return fixture_teardown(state);
}

static struct op_desc *append(struct program *program, const char *type, const char *path,
                              const char *slot, const char *const *vars)
{
    struct op_desc *op = op_desc_new(type);
    for (; *vars; vars++) {
        if (str_eq(slot, "X"))
            op_desc_add_input(op, slot, *vars);
        else
            op_desc_add_output(op, slot, *vars);
    }
    op_desc_set_string(op, "file_path", path);
    block_append_op(program_block(program, 0), op);
    return op;
}

static int run(struct program *program)
{
    struct plan_host host = {op_save_load_table, NULL};
    struct executor *exe = executor_new(scope, &host, 1);
    err = (struct err){0};
    int rc = executor_run(exe, program, NULL, 0, NULL, 0, &err);
    executor_free(exe);
    program_free(program);
    return rc;
}

static void test_save_and_load_are_fluids_files(void **state)
{
    (void)state;
    static const char *const w[] = {"w", NULL}, *const moment[] = {"w_moment1_0", NULL};
    struct program *program = model_program();
    block_remove_op(program_block(program, 0), 0);
    append(program, "save", at("new/folder/w"), "X", w);
    append(program, "load", at("new/folder/w"), "Out", moment);
    if (run(program))
        fail_msg("%s", err.text);
    assert_memory_equal(value_of(scope, "w")->data, value_of(scope, "w_moment1_0")->data, 84);
    struct variable var;
    variable_init(&var);
    assert_int_equal(tensor_io_load(at("new/folder/w"), VARIABLE_TENSOR, &var, &err), 0);
    assert_memory_equal(var.tensor.data, value_of(scope, "w")->data, 84);
    variable_deinit(&var);

    program = model_program();
    block_remove_op(program_block(program, 0), 0);
    op_desc_set_bool(append(program, "save", at("new/folder/w"), "X", w), "overwrite", false);
    assert_int_equal(run(program), SL_EEXIST);

    program = model_program();
    block_remove_op(program_block(program, 0), 0);
    append(program, "load", at("none"), "Out", w);
    assert_true(run(program) < 0);
    assert_non_null(strstr(err.text, at("none")));
}

static void test_combined_files(void **state)
{
    (void)state;
    static const char *const some[] = {"b", "dir/w2", "w", NULL}, *const fewer[] = {"b", "dir/w2",
                                                                                    NULL};
    struct scope *before = model_scope(1);
    struct program *program = model_program();
    block_remove_op(program_block(program, 0), 0);
    append(program, "save_combine", at("params"), "X", some);
    if (run(program))
        fail_msg("%s", err.text);
    scope_free(scope);
    scope = model_scope(5000);
    program = model_program();
    block_remove_op(program_block(program, 0), 0);
    append(program, "load_combine", at("params"), "Out", some);
    if (run(program))
        fail_msg("%s", err.text);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(value_of(scope, some[i])->data, value_of(before, some[i])->data,
                            tensor_bytes(value_of(before, some[i])));
    program = model_program();
    block_remove_op(program_block(program, 0), 0);
    append(program, "load_combine", at("params"), "Out", fewer);
    assert_int_equal(run(program), SL_EMISMATCH);
    scope_free(before);
}

static void test_a_piece_by_seek_and_shape(void **state)
{
    (void)state;
    static const char *const w[] = {"w", NULL}, *const piece[] = {"w.block1", NULL};
    static const int64_t shape[] = {3, 3}, too_far[] = {4, 3};
    for (int bad = 0; bad < 2; bad++) {
        struct dims dims = {.rank = 2, .d = {3, 3}};
        struct program *program = model_program();
        block_remove_op(program_block(program, 0), 0);
        add_var(program, "w.block1", DTYPE_FP32, &dims, true);
        append(program, "save", at("w"), "X", w);
        struct op_desc *op = append(program, "load", at("w"), "Out", piece);
        op_desc_set_long(op, "seek", 12);
        op_desc_set_longs(op, "shape", bad ? too_far : shape, 2);
        int rc = run(program);
        assert_int_equal(rc, bad ? SL_EMISMATCH : 0);
        if (!bad)
            assert_memory_equal(value_of(scope, "w.block1")->data,
                                tensor_f32(value_of(scope, "w")) + 12, 36);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_save_and_load_are_fluids_files),
        TEST(test_combined_files),
        TEST(test_a_piece_by_seek_and_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
