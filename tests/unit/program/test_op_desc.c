// SPDX-License-Identifier: Apache-2.0
// Operators: slots, renames, typed attributes, clones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/program/op_desc.h"

static struct op_desc *sample(void)
{
    struct op_desc *op = op_desc_new("sum");
    op_desc_add_input(op, "X", "a");
    op_desc_add_input(op, "X", "b");
    op_desc_add_input(op, "Unused", NULL);
    op_desc_add_output(op, "Out", "a");
    op_desc_set_int(op, OP_ROLE_ATTR, OP_ROLE_BACKWARD);
    op_desc_set_float(op, "scale", 0.5f);
    op_desc_set_string(op, "name", "text");
    return op;
}

static void test_op_desc_slots(void **state)
{
    (void)state;
    struct op_desc *op = sample();
    assert_int_equal(op_desc_input(op, "X")->args.count, 2);
    assert_string_equal(op_desc_input1(op, "X"), "a");
    assert_int_equal(op_desc_input(op, "Unused")->args.count, 0);
    assert_null(op_desc_input1(op, "Unused"));
    assert_null(op_desc_input(op, "Y"));
    assert_null(op_desc_output1(op, "Y"));
    assert_true(op_desc_reads(op, "b") && !op_desc_writes(op, "b"));
    op_desc_rename_input(op, "a", "c");
    assert_string_equal(op_desc_input1(op, "X"), "c");
    assert_string_equal(op_desc_output1(op, "Out"), "a");
    op_desc_rename_output(op, "a", "d");
    assert_true(op_desc_writes(op, "d") && !op_desc_reads(op, "d"));
    op_desc_free(op);
}

static void test_op_desc_set_replaces_in_place(void **state)
{
    (void)state;
    struct op_desc *op = sample();
    size_t count = op->attrs_count;
    op_desc_set_float(op, "scale", 2.0f);
    op_desc_set_long(op, "name", 7);            // another type under the same name
    assert_int_equal(op->attrs_count, count);
    assert_string_equal(op->attrs[1].name, "scale");
    assert_true(op_desc_get_float(op, "scale", 0) == 2.0f);
    assert_int_equal(op_desc_get_int(op, "name", 0), 7);
    assert_null(op_desc_get_string(op, "name", NULL));
    assert_int_equal(op_desc_get_int(op, "scale", -3), -3);
    op_desc_remove_attr(op, OP_ROLE_ATTR);
    op_desc_remove_attr(op, OP_ROLE_ATTR);
    assert_int_equal(op->attrs_count, count - 1);
    assert_int_equal(op_desc_role(op), OP_ROLE_FORWARD);
    assert_string_equal(op->attrs[0].name, "scale");
    op_desc_free(op);
}

static void test_op_desc_setters_and_clone(void **state)
{
    (void)state;
    struct op_desc *op = sample();
    const int64_t numbers[] = {3, -1};
    const float floats[] = {0.25f};
    struct str_list names = {0};
    str_list_add(&names, "p");
    str_list_add(&names, "p@GRAD");
    op_desc_set_bool(op, "flag", true);
    op_desc_set_block(op, "sub_block", 2);
    op_desc_set_ints(op, "ints", numbers, 2);
    op_desc_set_longs(op, "longs", numbers, 2);
    op_desc_set_blocks(op, "blocks", numbers, 1);
    op_desc_set_floats(op, "floats", floats, 1);
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &names);
    op_desc_set_strings(op, "none", &(struct str_list){0});
    str_list_deinit(&names);
    op->has_is_target = op->is_target = true;
    struct op_desc *clone = op_desc_clone(op);
    assert_int_equal(clone->attrs_count, op->attrs_count);
    for (size_t i = 0; i < op->attrs_count; i++)
        assert_true(attr_equal(&op->attrs[i], &clone->attrs[i]));
    op_desc_free(op);
    assert_string_equal(op_desc_attr(clone, OP_ROLE_VAR_ATTR)->strings[1], "p@GRAD");
    assert_int_equal(op_desc_attr(clone, "longs")->ints[1], -1);
    assert_int_equal(op_desc_get_int(clone, "sub_block", 0), 2);
    assert_int_equal(op_desc_get_int(clone, "flag", 0), 1);
    assert_int_equal(op_desc_role(clone), OP_ROLE_BACKWARD);
    assert_true(clone->is_target);
    op_desc_add_input(clone, "X", "z");         // a clone can grow
    assert_int_equal(op_desc_input(clone, "X")->args.count, 3);
    op_desc_free(clone);
    op_desc_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_op_desc_slots),
        cmocka_unit_test(test_op_desc_set_replaces_in_place),
        cmocka_unit_test(test_op_desc_setters_and_clone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
