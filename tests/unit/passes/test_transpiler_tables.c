// SPDX-License-Identifier: Apache-2.0
// What the transpiler does with sparse tables where 1.8.5's text cannot run, and its refusals.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/passes/transpiler.h"
#include "common/program/slice_map.h"
#include "tests/unit/passes/golden_folder.h"

#define ROWS 5001
#define WIDTH 8

static struct var_desc *add_var(struct block *block, const char *name, int64_t rows, int64_t width,
                                bool persistable)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dtype = DTYPE_FP32;
    var->dims = (struct dims){.rank = 2, .d = {rows, width}};
    var->has_persistable = true;
    var->persistable = persistable;
    return block_add_var(block, var);
}

static struct op_desc *add_op(struct program *program, const char *type, int role)
{
    struct op_desc *op = op_desc_new(type);
    op_desc_set_int(op, OP_ROLE_ATTR, role);
    return block_append_op(program_block(program, 0), op);
}

// lookup -> out, whose name is "<ids>.out"; a reader of it behind.
static struct op_desc *add_lookup(struct program *program, const char *type, const char *ids,
                                  int64_t padding)
{
    struct block *block = program_block(program, 0);
    char *out = mem_must_printf("%s.out", ids);
    if (block_var(block, ids) == NULL)
        add_var(block, ids, -1, 1, false)->dtype = DTYPE_INT64;
    add_var(block, out, -1, WIDTH, false);
    struct op_desc *op = add_op(program, type, OP_ROLE_FORWARD);
    op_desc_add_input(op, "W", "table");
    op_desc_add_input(op, "Ids", ids);
    op_desc_add_output(op, "Out", out);
    op_desc_set_bool(op, "is_sparse", true);
    op_desc_set_bool(op, "is_distributed", false);
    op_desc_set_bool(op, "remote_prefetch", true);
    op_desc_set_long(op, "padding_idx", padding);
    mem_free(out);
    return op;
}

static void add_use(struct program *program, const char *x, const char *out)
{
    if (block_var(program_block(program, 0), out) == NULL)
        add_var(program_block(program, 0), out, -1, 1, false);
    struct op_desc *op = add_op(program, "reduce_sum", OP_ROLE_FORWARD);
    op_desc_add_input(op, "X", x);
    op_desc_add_output(op, "Out", out);
}

// The table and its gradient; lookups come between this and finish().
static struct program *begin(void)
{
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    add_var(block, "learning_rate_0", 1, 1, true);
    add_var(block, "table", ROWS, WIDTH, true);
    add_var(block, "table_velocity_0", ROWS, WIDTH, true);
    add_var(block, "table@GRAD", ROWS, WIDTH, false)->kind = VAR_SELECTED_ROWS;
    return program;
}

static void finish(struct program *program)
{
    struct str_list pair = {0};
    struct op_desc *grad = add_op(program, "lookup_table_grad", OP_ROLE_BACKWARD);
    op_desc_add_input(grad, "W", "table");
    op_desc_add_output(grad, "W@GRAD", "table@GRAD");
    struct op_desc *op = add_op(program, "momentum", OP_ROLE_OPTIMIZE);
    op_desc_add_input(op, "Param", "table");
    op_desc_add_input(op, "Grad", "table@GRAD");
    op_desc_add_input(op, "Velocity", "table_velocity_0");
    op_desc_add_input(op, "LearningRate", "learning_rate_0");
    op_desc_add_output(op, "ParamOut", "table");
    op_desc_add_output(op, "VelocityOut", "table_velocity_0");
    str_list_add(&pair, "table");
    str_list_add(&pair, "table@GRAD");
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &pair);
    str_list_deinit(&pair);
}

static struct program *startup_with(const char *type)
{
    struct program *program = program_new();
    add_var(program_block(program, 0), "table", ROWS, WIDTH, true);
    struct op_desc *op = add_op(program, type, OP_ROLE_FORWARD);
    op_desc_add_output(op, "Out", "table");
    op_desc_set_longs(op, "shape", (const int64_t[]){ROWS, WIDTH}, 2);
    op_desc_set_int(op, "seed", 7);
    return program;
}

// Both trainer programs and the slices of a job with two servers. Frees main.
struct made {
    struct transpiler *t;
    struct program *main, *startup, *trainer, *trainer_startup;
};

static struct made transpile(struct program *main)
{
    struct made m = {.main = main, .startup = startup_with("uniform_random")};
    const struct transpiler_job job = {.pservers = "a:1,b:2", .trainers = 2, .sync_mode = true};
    struct err err = {0};
    if (transpiler_new(NULL, &job, main, m.startup, &m.t, &err) < 0 ||
        transpiler_trainer_program(m.t, 1, &m.trainer, &err) < 0 ||
        transpiler_startup_trainer(m.t, 1, &m.trainer_startup, &err) < 0)
        fail_msg("%s", err.text);
    return m;
}

static void release(struct made *m)
{
    transpiler_free(m->t);
    program_free(m->trainer);
    program_free(m->trainer_startup);
    program_free(m->startup);
    program_free(m->main);
}

static size_t count_ops(const struct program *program, const char *type)
{
    const struct block *block = program_block(program, 0);
    size_t count = 0;
    for (size_t i = 0; i < block->ops_count; i++)
        count += str_eq(block->ops[i]->type, type);
    return count;
}

static const struct op_desc *nth_op(const struct program *program, const char *type, size_t n)
{
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->ops_count; i++)
        if (str_eq(block->ops[i]->type, type) && n-- == 0)
            return block->ops[i];
    fail_msg("the program has not enough `%s`", type);
    return NULL;
}

static size_t place_of(const struct program *program, const struct op_desc *op)
{
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->ops_count; i++)
        if (block->ops[i] == op)
            return i;
    return SIZE_MAX;
}

static void expect_exact_refusal(const struct program *main, const char *text)
{
    struct program *startup = startup_with("uniform_random");
    struct transpiler_config config = transpiler_config_default();
    const struct transpiler_job job = {.pservers = "a:1,b:2", .trainers = 2, .sync_mode = true};
    struct transpiler *t = NULL;
    struct err err = {0};
    config.fluid_exact = true;
    assert_int_equal(transpiler_new(&config, &job, main, startup, &t, &err), SL_EUNSUPPORTED);
    if (strstr(err.text, text) == NULL)
        fail_msg("`%s` does not say `%s`", err.text, text);
    program_free(startup);
}

static void test_tables_slices_say_what_is_sparse(void **state)
{
    (void)state;
    struct program *main = begin();
    add_lookup(main, "lookup_table", "a", -1);
    add_use(main, "a.out", "loss");
    finish(main);
    struct made m = transpile(main);
    const struct slice_map *map = transpiler_slices(m.t);
    assert_true(slice_map_find(map, "table")->sparse);
    assert_true(slice_map_find(map, "table@GRAD")->sparse);
    assert_false(slice_map_find(map, "table_velocity_0")->sparse);
    assert_int_equal(slice_map_find(map, "table_velocity_0")->slices_count, 2);
    assert_int_equal(slice_map_find(map, "table_velocity_0")->slices[1].row, 2501);
    assert_int_equal(count_ops(m.trainer, "recv"), 0);
    assert_int_equal(count_ops(m.trainer, "split_selected_rows"), 1);
    assert_int_equal(count_ops(m.trainer_startup, "uniform_random"), 0);
    assert_int_equal(count_ops(m.trainer_startup, "fake_init"), 1);
    release(&m);
}

// The second lookup's ids come after the first result was used: 1.8.5 would read it too early.
static void test_tables_lookups_stay_apart_when_they_must(void **state)
{
    (void)state;
    struct program *main = begin();
    add_lookup(main, "lookup_table", "a", -1);
    add_use(main, "a.out", "b");
    add_lookup(main, "lookup_table", "b", -1);
    add_use(main, "b.out", "loss");
    finish(main);
    struct made m = transpile(main);
    assert_int_equal(count_ops(m.trainer, "distributed_lookup_table"), 2);
    const struct op_desc *first = nth_op(m.trainer, "distributed_lookup_table", 0);
    assert_string_equal(op_desc_input1(first, "Ids"), "a");
    assert_true(place_of(m.trainer, first) <
                place_of(m.trainer, nth_op(m.trainer, "reduce_sum", 0)));
    release(&m);
}

static void test_tables_paddings_and_versions_are_kept(void **state)
{
    (void)state;
    struct program *main = begin();
    add_lookup(main, "lookup_table", "a", 0);
    add_lookup(main, "lookup_table", "b", -1);
    add_lookup(main, "lookup_table", "c", 0);
    add_lookup(main, "lookup_table_v2", "d", 0);
    add_use(main, "a.out", "loss");
    finish(main);
    struct made m = transpile(main);
    assert_int_equal(count_ops(m.trainer, "distributed_lookup_table"), 3);
    bool seen = false;
    for (size_t i = 0; i < 3; i++) {
        const struct op_desc *op = nth_op(m.trainer, "distributed_lookup_table", i);
        const struct str_list *ids = &op_desc_input(op, "Ids")->args;
        if (!str_eq(ids->items[0], "a"))
            continue;
        seen = true;
        assert_int_equal(ids->count, 2);
        assert_string_equal(ids->items[1], "c");
        assert_int_equal(op_desc_get_int(op, "padding_idx", -1), 0);
        assert_string_equal(op_desc_get_string(op, "lookup_table_version", ""), "lookup_table");
    }
    assert_true(seen);
    release(&m);
}

// A table that something else reads too is received; its gradient still travels as rows.
static void test_tables_that_are_read_whole_are_received(void **state)
{
    (void)state;
    struct program *main = begin();
    add_lookup(main, "lookup_table", "a", -1);
    add_use(main, "a.out", "loss");
    add_use(main, "table", "sum_of_table");
    finish(main);
    struct made m = transpile(main);
    const struct slice_map *map = transpiler_slices(m.t);
    assert_false(slice_map_find(map, "table")->sparse);
    assert_true(slice_map_find(map, "table@GRAD")->sparse);
    assert_int_equal(count_ops(m.trainer, "lookup_table"), 1);
    assert_int_equal(count_ops(m.trainer, "recv"), 1);
    assert_int_equal(count_ops(m.trainer_startup, "fake_init"), 0);
    assert_int_equal(count_ops(m.trainer_startup, "recv"), 1);
    release(&m);
}

static void test_tables_what_fluid_refuses_works(void **state)
{
    (void)state;
    struct program *main = begin();
    struct op_desc *op = add_lookup(main, "lookup_table", "a", -1);
    op_desc_set_bool(op, "is_distributed", true);
    op_desc_set_bool(op, "remote_prefetch", false);
    add_use(main, "a.out", "loss");
    finish(main);
    expect_exact_refusal(main, "is_distributed");
    struct made m = transpile(main);
    assert_int_equal(count_ops(m.trainer, "distributed_lookup_table"), 1);
    release(&m);

    main = begin();
    add_lookup(main, "lookup_table", "a", -1);
    block_var(program_block(main, 0), "a")->dims = (struct dims){.rank = 3, .d = {-1, 4, 1}};
    add_use(main, "a.out", "loss");
    finish(main);
    expect_exact_refusal(main, "2 dimensions");
    m = transpile(main);
    assert_int_equal(count_ops(m.trainer, "distributed_lookup_table"), 1);
    release(&m);

    main = begin();
    add_lookup(main, "lookup_table", "a", -1);   // nothing reads a.out
    finish(main);
    expect_exact_refusal(main, "cannot make one operator");
    program_free(main);
}

static void test_tables_whole_init_draws_only_a_slice(void **state)
{
    (void)state;
    static const char *const types[] = {"uniform_random", "gaussian_random",
                                        "truncated_gaussian_random"};
    struct transpiler_config config = transpiler_config_default();
    const struct transpiler_job job = {.pservers = "a:1,b:2", .trainers = 2, .sync_mode = true};
    config.init_whole = true;
    for (size_t i = 0; i < 3; i++) {
        struct program *main = begin(), *startup = startup_with(types[i]), *server = NULL;
        struct transpiler *t = NULL;
        struct err err = {0};
        add_lookup(main, "lookup_table", "a", -1);
        finish(main);
        if (transpiler_new(&config, &job, main, startup, &t, &err) < 0 ||
            transpiler_startup_server(t, "b:2", &server, &err) < 0)
            fail_msg("%s", err.text);
        const struct op_desc *op = nth_op(server, types[i], 0);
        assert_int_equal(op_desc_get_int(op, "first_element", -1), 2501 * WIDTH);
        assert_int_equal(op_desc_attr(op, "shape")->ints[0], 2500);
        assert_string_equal(op_desc_output1(op, "Out"), "table.block1");
        assert_int_equal(count_ops(server, "split"), 0);
        transpiler_free(t);
        program_free(server);
        program_free(startup);
        program_free(main);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_slices_say_what_is_sparse),
        cmocka_unit_test(test_tables_lookups_stay_apart_when_they_must),
        cmocka_unit_test(test_tables_paddings_and_versions_are_kept),
        cmocka_unit_test(test_tables_that_are_read_whole_are_received),
        cmocka_unit_test(test_tables_what_fluid_refuses_works),
        cmocka_unit_test(test_tables_whole_init_draws_only_a_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
