// SPDX-License-Identifier: Apache-2.0
// The canonical text: what it says, what it is blind to, how differences are told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/program/program.h"
#include "common/program/program_text.h"

static void add_var(struct block *block, const char *name)
{
    struct var_desc *var = block_add_var(block, var_desc_new(name));
    var->dims = (struct dims){.rank = 2, .d = {-1, 4}};
}

static struct program *sample(void)
{
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    add_var(block, "x");
    add_var(block, "y");
    struct op_desc *op = block_append_op(block, op_desc_new("mul"));
    op_desc_add_input(op, "Y", "y");
    op_desc_add_input(op, "X", "x");
    op_desc_add_output(op, "Out", "x");
    op_desc_set_float(op, "scale", 0.5f);
    op_desc_set_bool(op, "is_test", true);
    op_desc_set_string(op, "mode", "a\"b\n");
    return program;
}

static void test_program_text_is_canonical(void **state)
{
    (void)state;
    struct program *program = sample();
    struct buf text;
    buf_init(&text, 0);
    program_text_format(program, &text);
    assert_string_equal(buf_text(&text), "block 0\n"
                                         "  var x lod_tensor float32 [-1,4]\n"
                                         "  var y lod_tensor float32 [-1,4]\n"
                                         "  op 0 mul\n"
                                         "    in X: x\n"
                                         "    in Y: y\n"
                                         "    out Out: x\n"
                                         "    attr is_test = 1\n"
                                         "    attr mode = \"a\\\"b\\x0a\"\n"
                                         "    attr scale = 0.5f\n");
    buf_deinit(&text);
    program_free(program);
}

static void test_program_text_is_blind_to_what_means_nothing(void **state)
{
    (void)state;
    struct program *a = sample(), *b = program_new();
    struct block *block = program_block(b, 0);
    struct str_list stack = {0};
    str_list_add(&stack, "File \"x.py\"");
    add_var(block, "y");                        // other orders everywhere
    add_var(block, "x");
    struct op_desc *op = block_append_op(block, op_desc_new("mul"));
    op_desc_set_string(op, "mode", "a\"b\n");
    op_desc_set_int(op, "is_test", 1);          // the other era
    op_desc_set_string(op, "op_namescope", "/optimizer_870/");
    op_desc_set_strings(op, "op_callstack", &stack);
    op_desc_set_float(op, "scale", 0.5f);
    op_desc_add_input(op, "X", "x");
    op_desc_add_input(op, "Y", "y");
    op_desc_add_input(op, "Unused", NULL);
    op_desc_add_output(op, "Out", "x");
    b->has_version = false;
    assert_true(program_text_diff(a, b, NULL));
    add_var(program_block(a, 0), "__control_var@0.25");
    add_var(block, "__control_var@0.75");
    op_desc_add_output(program_block(a, 0)->ops[0], "Out", "__control_var@0.25");
    op_desc_add_output(op, "Out", "__control_var@0.75");
    assert_true(program_text_diff(a, b, NULL));
    str_list_deinit(&stack);
    program_free(a);
    program_free(b);
}

static void differ(struct program *b, const char *text)
{
    struct program *a = sample();
    struct buf diff;
    buf_init(&diff, 0);
    assert_false(program_text_diff(a, b, &diff));
    if (!strstr(buf_text(&diff), text))
        fail_msg("\"%s\" does not say \"%s\"", buf_text(&diff), text);
    buf_deinit(&diff);
    program_free(a);
    program_free(b);
}

static void test_program_text_diff_says_where(void **state)
{
    (void)state;
    struct program *b = sample();
    op_desc_set_float(program_block(b, 0)->ops[0], "scale", 0.25f);
    differ(b, "block 0, op 0, mul:\n-   attr scale = 0.5f\n+   attr scale = 0.25f\n");
    b = sample();
    block_var(program_block(b, 0), "y")->persistable = true;
    differ(b, "block 0, variables:\n- var y lod_tensor float32 [-1,4]\n"
              "+ var y lod_tensor float32 [-1,4] persistable\n");
    b = sample();
    block_append_op(program_block(b, 0), op_desc_new("relu"));
    differ(b, "1 operators against 2; the first one too many is relu");
    b = sample();
    program_append_block(b, 0);
    differ(b, "1 blocks against 2");
    b = sample();
    op_desc_set_long(program_block(b, 0)->ops[0], "is_test", 1);
    differ(b, "+   attr is_test = 1L");
    b = sample();
    block_insert_op(program_block(b, 0), 0, op_desc_new("relu"));
    differ(b, "block 0, op 0, mul:\n-   mul\n");
}

static void test_program_text_diff_is_short(void **state)
{
    (void)state;
    struct program *a = program_new(), *b = program_new();
    struct buf diff;
    buf_init(&diff, 0);
    for (int i = 0; i < 100; i++) {
        op_desc_set_int(block_append_op(program_block(a, 0), op_desc_new("f")), "i", i);
        op_desc_set_int(block_append_op(program_block(b, 0), op_desc_new("f")), "i", i + 1000);
    }
    assert_false(program_text_diff(a, b, &diff));
    assert_non_null(strstr(buf_text(&diff), "... and 90 more places"));
    assert_null(strstr(buf_text(&diff), "op 10,"));
    buf_deinit(&diff);
    program_free(a);
    program_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_text_is_canonical),
        cmocka_unit_test(test_program_text_is_blind_to_what_means_nothing),
        cmocka_unit_test(test_program_text_diff_says_where),
        cmocka_unit_test(test_program_text_diff_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
