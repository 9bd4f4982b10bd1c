// SPDX-License-Identifier: Apache-2.0
// clone_for_test drops training operators, their variables and blocks, and sets is_test.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/passes/clone.h"
#include "tests/unit/passes/golden_folder.h"

static void add_op(struct block *block, const char *type, const char *in, const char *out, int role,
                   int64_t sub_block)
{
    struct op_desc *op = op_desc_new(type);
    op_desc_add_input(op, "X", in);
    op_desc_add_output(op, "Out", out);
    op_desc_set_int(op, OP_ROLE_ATTR, role);
    op_desc_set_bool(op, "is_test", false);
    if (sub_block > 0) {
        struct attr attr = {.name = "sub_block", .type = ATTR_BLOCK, .i = sub_block};
        op_desc_set_attr(op, &attr);
    }
    block_append_op(block, op);
}

static void test_clone_keeps_the_forward_part(void **state)
{
    (void)state;
    struct program *program = program_new();
    struct block *global = program_block(program, 0);
    static const char *const names[] = {"a", "b", "c", "b@GRAD", "lr"};
    for (size_t i = 0; i < 5; i++)
        block_add_var(global, var_desc_new(names[i]));
    program_append_block(program, 0);
    add_op(program_append_block(program, 0), "scale", "a", "b", OP_ROLE_FORWARD, 0);
    add_op(global, "conditional_block", "a", "lr", OP_ROLE_LR_SCHED, 1);
    add_op(global, "conditional_block", "a", "b", OP_ROLE_FORWARD, 2);
    add_op(global, "mean", "b", "c", OP_ROLE_FORWARD | OP_ROLE_LOSS, 0);
    add_op(global, "mean_grad", "b", "b@GRAD", OP_ROLE_BACKWARD, 0);
    add_op(global, "sgd", "b@GRAD", "lr", OP_ROLE_OPTIMIZE, 0);

    struct program *clone = clone_for_test(program);
    assert_int_equal(program_block(clone, 0)->ops_count, 2);
    assert_int_equal(program_block(clone, 0)->vars_count, 3);
    assert_int_equal(clone->blocks_count, 2);
    assert_int_equal(op_desc_attr(program_block(clone, 0)->ops[0], "sub_block")->i, 1);
    assert_int_equal(program_block(clone, 1)->ops_count, 1);
    assert_int_equal(op_desc_get_int(program_block(clone, 0)->ops[1], "is_test", 0), 1);
    assert_int_equal(program_block(program, 0)->ops_count, 5);
    program_free(clone);
    program_free(program);
}

static void test_clone_pruned_keeps_what_targets_need(void **state)
{
    (void)state;
    struct program *program = program_new(), *pruned = NULL;
    struct block *global = program_block(program, 0);
    static const char *const names[] = {"a", "b", "c", "side", "unmade"};
    struct str_list feeds = {0}, targets = {0};
    struct err err = {0};
    for (size_t i = 0; i < 5; i++)
        block_add_var(global, var_desc_new(names[i]));
    add_op(program_append_block(program, 0), "scale", "a", "side", OP_ROLE_FORWARD, 0);
    add_op(program_append_block(program, 0), "scale", "a", "b", OP_ROLE_FORWARD, 0);
    add_op(global, "conditional_block", "a", "side", OP_ROLE_FORWARD, 1);
    add_op(global, "conditional_block", "a", "b", OP_ROLE_FORWARD, 2);
    add_op(global, "mean", "b", "c", OP_ROLE_FORWARD, 0);
    str_list_add(&targets, "c");
    assert_int_equal(clone_pruned(program, NULL, &targets, &pruned, &err), 0);
    assert_int_equal(program_block(pruned, 0)->ops_count, 2);
    assert_int_equal(pruned->blocks_count, 2);
    assert_int_equal(op_desc_attr(program_block(pruned, 0)->ops[0], "sub_block")->i, 1);
    assert_null(block_var(program_block(pruned, 0), "side"));
    assert_int_equal(op_desc_get_int(program_block(pruned, 0)->ops[1], "is_test", 1), 0);
    program_free(pruned);
    str_list_add(&feeds, "b");
    assert_int_equal(clone_pruned(program, &feeds, &targets, &pruned, &err), 0);
    assert_int_equal(program_block(pruned, 0)->ops_count, 1);
    program_free(pruned);
    str_list_add(&targets, "unmade");
    assert_int_equal(clone_pruned(program, &feeds, &targets, &pruned, &err), SL_EINVAL);
    str_list_add(&targets, "absent");
    assert_true(clone_pruned(program, &feeds, &targets, &pruned, &err) < 0);
    str_list_deinit(&feeds);
    str_list_deinit(&targets);
    program_free(program);
}

// Fluid cloned test.pb before minimize; the forward part is the same, the loss bit aside.
static void test_clone_equals_fluid(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "fit_a_line", "digits_sgd",   "digits_adam", "lenet_digits_bn",  "word2vec_sparse",
        "text_gru",   "lr_piecewise", "reg_l2",      "clip_global_norm", "ctr_dnn_adam"};
    size_t compared = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *main_path = mem_must_printf("%s/main.pb", cases[i]),
             *test_path = mem_must_printf("%s/test.pb", cases[i]);
        struct program *main = golden_folder_load(main_path);
        if (main != NULL) {
            struct program *clone = clone_for_test(main);
            struct block *block = program_block(clone, 0);
            for (size_t k = 0; k < block->ops_count; k++)
                op_desc_set_int(block->ops[k], OP_ROLE_ATTR,
                                op_desc_role(block->ops[k]) & ~OP_ROLE_LOSS);
            compared += golden_folder_expect(test_path, clone);
        }
        program_free(main);
        mem_free(main_path);
        mem_free(test_path);
    }
    golden_folder_done(compared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clone_keeps_the_forward_part),
        cmocka_unit_test(test_clone_pruned_keeps_what_targets_need),
        cmocka_unit_test(test_clone_equals_fluid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
