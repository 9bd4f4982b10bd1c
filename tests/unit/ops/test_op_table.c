// SPDX-License-Identifier: Apache-2.0
// The tables themselves: unique types, slots and attributes; gradient rules name existing slots.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

static void check_slots(const struct op_def *def, const struct op_slot_def *slots)
{
    assert_non_null(slots);
    int s = 0;
    for (; slots[s].name != NULL; s++)
        for (int k = 0; k < s; k++)
            if (str_eq(slots[s].name, slots[k].name))
                fail_msg("%s: slot %s twice", def->type, slots[s].name);
    assert_true(s < OP_SLOTS_MAX);
}

static void test_tables_are_well_formed(void **state)
{
    (void)state;
    for (size_t t = 0; t < op_table_count(); t++) {
        const struct op_def *def = op_table_at(t);
        assert_ptr_equal(op_table_find(def->type), def);
        assert_non_null(def->kernel);
        check_slots(def, def->inputs);
        check_slots(def, def->outputs);
        int a = 0;
        for (; def->attrs[a].name != NULL; a++) {
            struct attr value;
            op_attr_default(&def->attrs[a], &value);
            assert_string_equal(value.name, def->attrs[a].name);
            assert_int_equal(value.type, def->attrs[a].type);
            attr_deinit(&value);
            for (int k = 0; k < a; k++)
                assert_string_not_equal(def->attrs[a].name, def->attrs[k].name);
        }
        assert_true(a < OP_ATTRS_MAX);
    }
    assert_null(op_table_find("no_such_op"));
}

static void check_rule(const struct op_def *def, const struct op_def *grad, const char *slots,
                       bool inputs)
{
    struct str_list names = {0};
    str_list_split(&names, slots, ' ');
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.items[i];
        if ((inputs ? op_input_index(grad, name) : op_output_index(grad, name)) < 0)
            fail_msg("%s: its gradient %s has no slot %s", def->type, grad->type, name);
        char *base = mem_must_strdup(name);
        if (str_ends_with(base, GRAD_SUFFIX))
            base[strlen(base) - strlen(GRAD_SUFFIX)] = '\0';
        if (op_input_index(def, base) < 0 && op_output_index(def, base) < 0)
            fail_msg("%s: the rule names %s, which it does not have", def->type, name);
        mem_free(base);
    }
    str_list_deinit(&names);
}

static void test_gradient_rules_name_existing_slots(void **state)
{
    (void)state;
    for (size_t t = 0; t < op_table_count(); t++) {
        const struct op_def *def = op_table_at(t);
        if (def->grad.type == NULL)
            continue;
        const struct op_def *grad = op_table_find(def->grad.type);
        if (grad == NULL)
            fail_msg("%s: there is no op %s", def->type, def->grad.type);
        check_rule(def, grad, def->grad.inputs, true);
        check_rule(def, grad, def->grad.outputs, false);
    }
}

static void test_default_attributes_are_fluids(void **state)
{
    (void)state;
    static const struct {
        const char *type, *attr;
        double value;
    } rows[] = {
        {"mul", "x_num_col_dims", 1},
        {"elementwise_add", "axis", -1},
        {"softmax", "axis", -1},
        {"cross_entropy2", "ignore_index", -100},
        {"scale", "scale", 1},
        {"scale", "bias_after_scale", 1},
        {"adam", "beta1", 0.9},
        {"adam", "beta2", 0.999},
        {"adam", "epsilon", 1e-8},
        {"adam", "min_row_size_to_use_multithread", 1000},
        {"fill_constant", "dtype", 5},
        {"uniform_random", "min", -1},
        {"uniform_random", "diag_val", 1},
        {"top_k", "k", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct op_attr_def *a = op_table_find(rows[i].type)->attrs;
        while (a->name != NULL && !str_eq(a->name, rows[i].attr))
            a++;
        assert_non_null(a->name);
        assert_true(a->number == rows[i].value);
    }
}

static void test_split_gradient_is_a_concat_with_its_attributes(void **state)
{
    (void)state;
    struct op_desc *split = op_desc_new("split"), *made[4];
    op_desc_add_input(split, "X", "x");
    op_desc_add_output(split, "Out", "a");
    op_desc_add_output(split, "Out", "b");
    op_desc_set_int(split, "axis", 1);
    assert_int_equal(op_table_find("split")->grad.make(split, made, 4), 1);
    assert_string_equal(made[0]->type, "concat");
    assert_string_equal(op_desc_input(made[0], "X")->args.items[1], "b@GRAD");
    assert_int_equal(op_desc_input(made[0], "AxisTensor")->args.count, 0);
    assert_string_equal(op_desc_output1(made[0], "Out"), "x@GRAD");
    assert_int_equal(op_desc_get_int(made[0], "axis", 0), 1);
    op_desc_free(made[0]);
    op_desc_free(split);
}

static void test_sum_gradient_is_a_scale_for_each_argument(void **state)
{
    (void)state;
    struct op_desc *sum = op_desc_new("sum"), *made[8];
    op_desc_add_input(sum, "X", "a");
    op_desc_add_input(sum, "X", "b");
    op_desc_add_output(sum, "Out", "y");
    assert_int_equal(op_table_find("sum")->grad.make(sum, made, 8), 2);
    assert_string_equal(made[1]->type, "scale");
    assert_string_equal(op_desc_input1(made[1], "X"), "y@GRAD");
    assert_string_equal(op_desc_output1(made[1], "Out"), "b@GRAD");
    assert_true(op_desc_get_float(made[1], "scale", 0) == 1);
    assert_int_equal(made[1]->attrs_count, 1);
    op_desc_free(made[0]);
    op_desc_free(made[1]);
    op_desc_free(sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_are_well_formed),
        cmocka_unit_test(test_gradient_rules_name_existing_slots),
        cmocka_unit_test(test_default_attributes_are_fluids),
        cmocka_unit_test(test_split_gradient_is_a_concat_with_its_attributes),
        cmocka_unit_test(test_sum_gradient_is_a_scale_for_each_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
