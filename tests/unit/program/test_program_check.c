// SPDX-License-Identifier: Apache-2.0
// What a well-formed program is.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/str.h"
#include "common/program/program.h"
#include "common/program/program_check.h"

static struct program *sample(void)
{
    struct program *program = program_new();
    struct block *block = program_block(program, 0), *sub = program_append_block(program, 0);
    block_add_var(block, var_desc_new("x"));
    struct op_desc *op = block_append_op(block, op_desc_new("conditional_block"));
    op_desc_add_input(op, "Cond", "x");
    op_desc_add_input(op, "Skip", "@EMPTY@");
    op_desc_add_output(op, "Out", "dropped");
    op_desc_set_block(op, "sub_block", 1);
    op = block_append_op(sub, op_desc_new("assign"));
    op_desc_add_input(op, "X", "x");
    return program;
}

static void expect(struct program *program, const char *text)
{
    struct str_list problems = {0};
    size_t count = program_check(program, &problems);
    assert_int_equal(count, problems.count);
    assert_int_equal(count, text ? 1 : 0);
    if (text && !strstr(problems.items[0], text))
        fail_msg("\"%s\" does not say \"%s\"", problems.items[0], text);
    str_list_deinit(&problems);
    program_free(program);
}

static void test_program_check_accepts(void **state)
{
    (void)state;
    expect(sample(), NULL);
}

static void test_program_check_names_undeclared_inputs(void **state)
{
    (void)state;
    struct program *program = sample();
    op_desc_add_input(program_block(program, 1)->ops[0], "Y", "ghost");
    expect(program, "block 1, op 0, assign: input Y: variable ghost is declared nowhere");
}

static void test_program_check_leaves_unused_blocks_alone(void **state)
{
    (void)state;
    struct program *program = sample();
    struct op_desc *op = block_append_op(program_append_block(program, 0), op_desc_new("assign"));
    op_desc_add_input(op, "X", "ghost");
    expect(program, NULL);
}

static void test_program_check_names_wrong_blocks(void **state)
{
    (void)state;
    struct program *program = sample();
    const int64_t blocks[] = {1, 2};
    op_desc_set_blocks(program_block(program, 0)->ops[0], "optimize_blocks", blocks, 2);
    expect(program, "attribute optimize_blocks names block 2 of 2");
    program = sample();
    program_block(program, 1)->parent_idx = 1;
    op_desc_remove_attr(program_block(program, 0)->ops[0], "none");
    op_desc_rename_input(program_block(program, 1)->ops[0], "x", "@EMPTY@");
    expect(program, "parent 1 does not come before");
}

static void test_program_check_names_impossible_shapes(void **state)
{
    (void)state;
    struct program *program = sample();
    struct var_desc *x = block_var(program_block(program, 0), "x");
    x->dims = (struct dims){.rank = 2, .d = {-1, 4}};
    struct str_list problems = {0};
    assert_int_equal(program_check(program, &problems), 0);
    x->dims.d[1] = -2;
    expect(program, "variable x has impossible dims [-1,-2]");
    program = sample();
    x = block_var(program_block(program, 0), "x");
    x->persistable = true;
    x->dtype = 19;
    expect(program, "element type 19");
    str_list_deinit(&problems);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_check_accepts),
        cmocka_unit_test(test_program_check_names_undeclared_inputs),
        cmocka_unit_test(test_program_check_leaves_unused_blocks_alone),
        cmocka_unit_test(test_program_check_names_wrong_blocks),
        cmocka_unit_test(test_program_check_names_impossible_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
