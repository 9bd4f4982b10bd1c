// SPDX-License-Identifier: Apache-2.0
// Which variables are saved, and which are learning rates.
#include "tests/unit/ckpt/ckpt_fixture.h"

static const struct dims one = {.rank = 1, .d = {1}};

static void write_with(struct program *program, int block, const char *type, const char *name)
{
    struct op_desc *op = op_desc_new(type);
    op_desc_add_output(op, "Out", name);
    block_append_op(program_block(program, (size_t)block), op);
}

static void test_saved_are_persistables_of_the_right_type(void **state)
{
    (void)state;
    struct program *program = model_program();
    struct str_list names = {0};
    add_var(program, "feed", DTYPE_FP32, &one, true);
    block_var(program_block(program, 0), "feed")->kind = VAR_FEED_MINIBATCH;
    ckpt_vars_saved(program, &names);
    assert_int_equal(names.count, MODEL_VARS);
    for (size_t i = 0; i < MODEL_VARS; i++)
        assert_string_equal(names.items[i], model_vars[i].name);
    str_list_deinit(&names);
    program_free(program);
}

static void expect_rates(const struct program *program, const char *rates, const char *constant)
{
    struct str_list all = {0}, fixed = {0};
    ckpt_vars_rates(program, NULL, &all, &fixed);
    char *texts[] = {str_list_join(&all, " "), str_list_join(&fixed, " ")};
    assert_string_equal(texts[0], rates);
    assert_string_equal(texts[1], constant);
    mem_free(texts[0]);
    mem_free(texts[1]);
    str_list_deinit(&all);
    str_list_deinit(&fixed);
}

static void test_rates_are_told_by_their_readers(void **state)
{
    (void)state;
    struct program *program = model_program();
    expect_rates(program, COUNTER " learning_rate_0", "learning_rate_0");
    // A global variable of any name that an optimizer reads.
    add_var(program, "my_lr", DTYPE_FP32, &one, true);
    struct op_desc *op = op_desc_new("sgd");
    op_desc_add_input(op, "LearningRate", "my_lr");
    block_append_op(program_block(program, 0), op);
    expect_rates(program, COUNTER " learning_rate_0 my_lr", "learning_rate_0 my_lr");
    // A schedule writes it: no longer constant.
    program_append_block(program, 0);
    write_with(program, 1, "fill_constant", "my_lr");
    expect_rates(program, COUNTER " learning_rate_0 my_lr", "learning_rate_0");
    program_free(program);
}

static void test_a_startup_program_has_only_names(void **state)
{
    (void)state;
    struct program *program = program_new();
    add_var(program, "learning_rate_0", DTYPE_FP32, &one, true);
    add_var(program, "learning_rate", DTYPE_FP32, &one, true);
    add_var(program, "w", DTYPE_FP32, &one, true);
    write_with(program, 0, "fill_constant", "learning_rate_0");
    write_with(program, 0, "fill_constant", "learning_rate");
    write_with(program, 0, "fill_constant", "w");
    expect_rates(program, "learning_rate_0 learning_rate", "learning_rate_0");
    program_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved_are_persistables_of_the_right_type),
        cmocka_unit_test(test_rates_are_told_by_their_readers),
        cmocka_unit_test(test_a_startup_program_has_only_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
