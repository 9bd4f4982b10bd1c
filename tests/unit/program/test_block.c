// SPDX-License-Identifier: Apache-2.0
// Blocks: scoping, order, replacing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/program/program.h"

static void test_block_sees_its_ancestors(void **state)
{
    (void)state;
    struct program *program = program_new();
    struct block *child = program_append_block(program, 0);
    struct block *grandchild = program_append_block(program, 1);
    struct block *other = program_append_block(program, 0);
    block_add_var(program_block(program, 0), var_desc_new("w"));
    block_add_var(child, var_desc_new("c"));
    assert_non_null(block_find_var(grandchild, "w"));
    assert_non_null(block_find_var(grandchild, "c"));
    assert_null(block_var(grandchild, "c"));
    assert_null(block_find_var(other, "c"));
    assert_null(block_find_var(program_block(program, 0), "c"));
    program_free(program);
}

static void test_block_keeps_the_order_of_variables(void **state)
{
    (void)state;
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    uint64_t revision = program->revision;
    block_add_var(block, var_desc_new("b"));
    block_add_var(block, var_desc_new("a"));
    block_add_var(block, var_desc_new("c"));
    struct var_desc *fresh = var_desc_new("b");
    fresh->persistable = true;
    assert_ptr_equal(block_add_var(block, fresh), fresh);
    assert_int_equal(block->vars_count, 3);
    assert_ptr_equal(block->vars[0], fresh);
    assert_ptr_equal(block_var(block, "b"), fresh);
    block_remove_var(block, "a");
    block_remove_var(block, "a");
    assert_int_equal(block->vars_count, 2);
    assert_string_equal(block->vars[1]->name, "c");
    assert_null(block_var(block, "a"));
    assert_true(program->revision > revision);
    program_free(program);
}

static void test_block_inserts_and_removes_operators(void **state)
{
    (void)state;
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    block_append_op(block, op_desc_new("b"));
    block_insert_op(block, 0, op_desc_new("a"));
    for (int i = 0; i < 20; i++)
        block_append_op(block, op_desc_new("tail"));
    block_insert_op(block, 2, op_desc_new("c"));
    assert_string_equal(block->ops[0]->type, "a");
    assert_string_equal(block->ops[1]->type, "b");
    assert_string_equal(block->ops[2]->type, "c");
    block_remove_op(block, 1);
    assert_string_equal(block->ops[1]->type, "c");
    assert_int_equal(block->ops_count, 22);
    program_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_sees_its_ancestors),
        cmocka_unit_test(test_block_keeps_the_order_of_variables),
        cmocka_unit_test(test_block_inserts_and_removes_operators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
