// SPDX-License-Identifier: Apache-2.0
// The transpiler against Paddle 1.8.5's recorded programs, and what it refuses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/passes/transpiler.h"
#include "common/program/slice_map.h"
#include "tests/unit/passes/golden_folder.h"

#define FIRST_PORT 6174

struct variant {
    const char *folder;
    int pservers, trainers;
    bool async, uncut, dc_asgd, half_async, exact;
    int64_t min_block_size;
};

static const struct variant variants[] = {
    {.folder = "dist", .pservers = 2, .trainers = 2},
    {.folder = "dist_3ps", .pservers = 3, .trainers = 2},
    {.folder = "dist_4x4", .pservers = 4, .trainers = 4},
    {.folder = "dist_noslice", .pservers = 2, .trainers = 2, .uncut = true},
    {.folder = "dist_minblock_16384", .pservers = 2, .trainers = 2, .min_block_size = 16384},
    {.folder = "dist_async", .pservers = 2, .trainers = 2, .async = true},
    {.folder = "dist_half_async", .pservers = 2, .trainers = 2, .async = true, .half_async = true},
    {.folder = "dist_dc_asgd", .pservers = 2, .trainers = 2, .async = true, .dc_asgd = true},
    {.folder = "dist_1ps_1tr", .pservers = 1, .trainers = 1, .exact = true},
};

// exact: Fluid's text cannot run, the default differs.
static const struct {
    const char *name;
    bool exact;
} cases[] = {
    {"fit_a_line", false},
    {"digits_sgd", false},
    {"digits_momentum", false},
    {"digits_adam", false},
    {"mlp_digits", false},
    {"digits_momentum_nesterov", false},
    {"digits_adam_lazy", false},
    {"digits_adagrad", false},
    {"digits_adamax", false},
    {"digits_ftrl", false},
    {"digits_decayed_adagrad", false},
    {"digits_rmsprop", false},
    {"digits_rmsprop_centered", false},
    {"digits_rmsprop_momentum", false},
    {"digits_lars", false},
    {"digits_dpsgd", false},
    {"digits_adadelta", true},
    {"lenet_digits", false},
    {"lenet_digits_bn", false},
    {"lr_cosine", false},
    {"lr_exponential", false},
    {"lr_noam", false},
    {"lr_piecewise", false},
    {"lr_polynomial", false},
    {"lr_polynomial_cycle", false},
    {"reg_l1", false},
    {"reg_l2", false},
    {"reg_per_param", false},
    {"text_conv", false},
    {"text_gru", false},
    {"word2vec", false},
    {"clip_global_norm", true},
    {"clip_global_norm_l2", true},
    {"clip_norm", true},
    {"clip_value", true},
    {"word2vec_sparse", false},
    {"ctr_dnn_adam", false},
    {"ctr_dnn_sgd", false},
    {"deepfm_flat", false},
    {"wide_deep", false},
};

static void endpoints(struct buf *out, int count)
{
    buf_init(out, 0);
    for (int i = 0; i < count; i++)
        buf_printf(out, "%s127.0.0.1:%d", i ? "," : "", FIRST_PORT + i);
}

static struct transpiler *transpile(const struct variant *v, bool exact, const struct program *main,
                                    const struct program *startup)
{
    struct transpiler_config config = transpiler_config_default();
    struct transpiler *t = NULL;
    struct err err = {0};
    struct buf eps;
    endpoints(&eps, v->pservers);
    config.slice_var_up = !v->uncut;
    config.enable_dc_asgd = v->dc_asgd;
    config.half_async = v->half_async;
    config.fluid_exact = exact || v->exact;
    if (v->min_block_size)
        config.min_block_size = v->min_block_size;
    struct transpiler_job job = {
        .pservers = buf_text(&eps), .trainers = v->trainers, .sync_mode = !v->async};
    if (transpiler_new(&config, &job, main, startup, &t, &err) < 0)
        fail_msg("%s", err.text);
    buf_deinit(&eps);
    return t;
}

static size_t expect(const char *dir, const char *file, int index, struct program *got)
{
    char *rest = index < 0 ? mem_must_printf("%s/%s.pb", dir, file)
                           : mem_must_printf("%s/%s_%d.pb", dir, file, index);
    bool compared = golden_folder_expect(rest, got);
    mem_free(rest);
    return compared;
}

static size_t check_variant(const char *name, const struct variant *v, bool exact)
{
    char *dir = mem_must_printf("%s/%s", name, v->folder);
    char *main_path = mem_must_printf("%s/main.pb", name),
         *startup_path = mem_must_printf("%s/startup.pb", name);
    char *there = golden_folder_path(dir);
    size_t compared = 0;
    if (there != NULL) {
        struct program *main = golden_folder_load(main_path),
                       *startup = golden_folder_load(startup_path), *out;
        struct transpiler *t = transpile(v, exact, main, startup);
        for (int i = 0; i < v->trainers; i++) {
            assert_int_equal(transpiler_trainer_program(t, i, &out, NULL), 0);
            compared += expect(dir, "trainer", i, out);
        }
        assert_int_equal(transpiler_startup_trainer(t, 0, &out, NULL), 0);
        compared += expect(dir, "trainer_startup", -1, out);
        for (int i = 0; i < v->pservers; i++) {
            const char *endpoint = transpiler_endpoints(t)->items[i];
            assert_int_equal(transpiler_server_program(t, endpoint, &out, NULL), 0);
            compared += expect(dir, "pserver", i, out);
            assert_int_equal(transpiler_startup_server(t, endpoint, &out, NULL), 0);
            compared += expect(dir, "pserver_startup", i, out);
        }
        transpiler_free(t);
        program_free(main);
        program_free(startup);
    }
    mem_free(there);
    mem_free(main_path);
    mem_free(startup_path);
    mem_free(dir);
    return compared;
}

static void test_transpiler_equals_fluid(void **state)
{
    (void)state;
    size_t compared = 0;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t v = 0; v < sizeof variants / sizeof *variants; v++)
            compared += check_variant(cases[c].name, &variants[v], cases[c].exact);
    golden_folder_done(compared);
}

// ---- a small program of our own

static void add_var(struct block *block, const char *name, int64_t rows, int64_t cols,
                    bool persistable)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dims = (struct dims){.rank = 2, .d = {rows, cols}};
    var->has_persistable = true;
    var->persistable = persistable;
    block_add_var(block, var);
}

static void add_update(struct program *program, const char *param, int64_t rows, int64_t cols)
{
    struct block *block = program_block(program, 0);
    char *grad = mem_must_printf("%s@GRAD", param);
    char *velocity = mem_must_printf("%s_velocity_0", param);
    struct str_list pair = {0};
    add_var(block, param, rows, cols, true);
    add_var(block, grad, rows, cols, false);
    add_var(block, velocity, rows, cols, true);
    struct op_desc *make = op_desc_new("scale");
    op_desc_add_output(make, "Out", grad);
    op_desc_set_int(make, OP_ROLE_ATTR, OP_ROLE_BACKWARD);
    block_append_op(block, make);
    struct op_desc *op = op_desc_new("momentum");
    op_desc_add_input(op, "Param", param);
    op_desc_add_input(op, "Grad", grad);
    op_desc_add_input(op, "Velocity", velocity);
    op_desc_add_input(op, "LearningRate", "learning_rate_0");
    op_desc_add_output(op, "ParamOut", param);
    op_desc_add_output(op, "VelocityOut", velocity);
    op_desc_set_int(op, OP_ROLE_ATTR, OP_ROLE_OPTIMIZE);
    str_list_add(&pair, param);
    str_list_add(&pair, grad);
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &pair);
    block_append_op(block, op);
    str_list_deinit(&pair);
    mem_free(velocity);
    mem_free(grad);
}

static struct program *small_program(void)
{
    struct program *program = program_new();
    add_var(program_block(program, 0), "learning_rate_0", 1, 1, true);
    add_update(program, "res2.block1.w", 1000, 100);
    add_update(program, "tmp.trainer_0", 3, 2);
    return program;
}

static struct transpiler *transpile_small(enum transpiler_split split, int pservers, int trainers)
{
    struct program *main = small_program(), *startup = program_new();
    struct transpiler_config config = transpiler_config_default();
    struct transpiler *t = NULL;
    struct err err = {0};
    struct buf eps;
    endpoints(&eps, pservers);
    config.split_method = split;
    struct transpiler_job job = {
        .pservers = buf_text(&eps), .trainers = trainers, .sync_mode = true};
    if (transpiler_new(&config, &job, main, startup, &t, &err) < 0)
        fail_msg("%s", err.text);
    buf_deinit(&eps);
    program_free(main);
    program_free(startup);
    return t;
}

static void test_transpiler_slice_map_covers_everything(void **state)
{
    (void)state;
    struct transpiler *t = transpile_small(TRANSPILER_ROUND_ROBIN, 3, 2);
    const struct slice_map *map = transpiler_slices(t);
    const struct slice_var *w = slice_map_find(map, "res2.block1.w");
    assert_int_equal(w->role, SLICE_PARAM);
    assert_int_equal(w->slices_count, 3);
    assert_int_equal(w->slices[0].rows, 334);
    assert_int_equal(w->slices[2].rows, 332);
    assert_string_equal(w->slices[1].name, "res2.block1.w.block1");
    const struct slice_var *velocity = slice_map_find(map, "res2.block1.w_velocity_0");
    assert_int_equal(velocity->role, SLICE_STATE);
    assert_int_equal(velocity->slices_count, 3);
    assert_string_equal(velocity->slices[1].name, "res2.block1.w_velocity_0");
    const struct slice_var *grad = slice_map_find(map, "res2.block1.w@GRAD");
    assert_int_equal(grad->role, SLICE_GRAD);
    assert_string_equal(grad->param, "res2.block1.w");
    const struct slice_var *rate = slice_map_find(map, "learning_rate_0");
    assert_true(rate->replicated);
    assert_int_equal(rate->slices_count, 3);
    assert_int_equal(slice_map_find(map, "tmp.trainer_0")->slices_count, 1);
    transpiler_free(t);
}

static void test_transpiler_lists_what_only_trainers_hold(void **state)
{
    (void)state;
    struct program *main = small_program(), *startup = program_new();
    add_var(program_block(main, 0), "statistics", 7, 1, true);
    add_var(program_block(main, 0), "temporary", 7, 1, false);
    add_var(program_block(main, 0), "unknown", -1, 1, true);
    struct var_desc *frozen = block_var(program_block(main, 0), "statistics");
    frozen->is_parameter = true;
    const struct transpiler_job job = {.pservers = "a:1,b:2", .trainers = 2, .sync_mode = true};
    struct transpiler *t = NULL;
    struct err err = {0};
    if (transpiler_new(NULL, &job, main, startup, &t, &err) < 0)
        fail_msg("%s", err.text);
    const struct slice_map *map = transpiler_slices(t);
    const struct slice_var *held = slice_map_find(map, "statistics");
    assert_non_null(held);
    assert_int_equal(held->role, SLICE_TRAINER);
    assert_string_equal(held->param, "statistics");
    assert_int_equal(held->slices_count, 1);
    assert_int_equal(held->slices[0].rows, 7);
    assert_null(slice_map_find(map, "temporary"));
    assert_null(slice_map_find(map, "unknown"));
    transpiler_free(t);
    program_free(main);
    program_free(startup);
}

static void add_simple(struct program *program, const char *type, const char *x, const char *y,
                       const char *out, const char *param, const char *grad)
{
    struct op_desc *op = op_desc_new(type);
    struct str_list pair = {0};
    if (x != NULL)
        op_desc_add_input(op, "X", x);
    if (y != NULL)
        op_desc_add_input(op, "Y", y);
    op_desc_add_output(op, "Out", out);
    op_desc_set_int(op, OP_ROLE_ATTR, OP_ROLE_OPTIMIZE);
    str_list_add(&pair, param);
    str_list_add(&pair, grad);
    op_desc_set_strings(op, OP_ROLE_VAR_ATTR, &pair);
    str_list_deinit(&pair);
    block_insert_op(program_block(program, 0), program_block(program, 0)->ops_count - 1, op);
}

// One parameter, cut in two, whose gradient is scaled by a function of its sum.
static struct program *clipped_program(const char *reduction)
{
    struct program *program = program_new();
    struct block *block = program_block(program, 0);
    add_var(block, "learning_rate_0", 1, 1, true);
    add_update(program, "w", 1000, 100);
    struct op_desc *update = block->ops[block->ops_count - 1];
    add_var(block, "sum", 1, 1, false);
    add_var(block, "factor", 1, 1, false);
    add_var(block, "clipped", 1000, 100, false);
    add_simple(program, reduction, "w@GRAD", NULL, "sum", "w", "clipped");
    add_simple(program, "sqrt", "sum", NULL, "factor", "w", "clipped");
    add_simple(program, "elementwise_mul", "w@GRAD", "factor", "clipped", "w", "clipped");
    op_desc_rename_input(update, "w@GRAD", "clipped");
    return program;
}

static void test_transpiler_clips_the_merged_gradient(void **state)
{
    (void)state;
    struct transpiler_config config = transpiler_config_default();
    config.clip_merged = true;
    const struct transpiler_job job = {.pservers = "a:1,b:2", .trainers = 2, .sync_mode = true};
    struct program *main = clipped_program("reduce_sum"), *startup = program_new();
    struct program *server = NULL, *trainer = NULL;
    struct transpiler *t = NULL;
    struct err err = {0};
    if (transpiler_new(&config, &job, main, startup, &t, &err) < 0 ||
        transpiler_server_program(t, "b:2", &server, &err) < 0 ||
        transpiler_trainer_program(t, 1, &trainer, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(transpiler_slices(t)->phases, SLICE_PHASE_CLIP);
    assert_non_null(slice_map_find(transpiler_slices(t), "w@GRAD"));   // what is sent
    const struct block *global = program_block(trainer, 0);
    for (size_t i = 0; i < global->ops_count; i++)
        assert_string_not_equal(global->ops[i]->type, "elementwise_mul");
    const char *const update[] = {"sum", "scale", "reduce_sum", "elementwise_mul"};
    const struct block *block = program_block(server, 1);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(block->ops[i]->type, update[i]);
    assert_string_equal(op_desc_input1(block->ops[2], "X"), "w@GRAD.block1");
    assert_string_equal(op_desc_input1(block->ops[4], "Grad"), "clipped");
    assert_int_equal(block_var(program_block(server, 0), "clipped")->dims.d[0], 500);
    const struct op_desc *listen = program_block(server, 0)->ops[0];
    assert_int_equal(op_desc_get_int(listen, "clip_block_id", -1), 2);
    assert_string_equal(op_desc_attr(listen, "merged_sums")->strings[0], "sum");
    assert_string_equal(op_desc_attr(listen, "merged_sum_grads")->strings[0], "w@GRAD");
    assert_string_equal(program_block(server, 2)->ops[0]->type, "sqrt");
    transpiler_free(t);
    program_free(server);
    program_free(trainer);
    program_free(main);

    main = clipped_program("reduce_max");   // the largest of pieces does not add up
    assert_int_equal(transpiler_new(&config, &job, main, startup, &t, &err), SL_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "`reduce_max`"));
    program_free(main);
    program_free(startup);
}

static void test_transpiler_names_are_not_taken_apart(void **state)
{
    (void)state;
    struct transpiler *t = transpile_small(TRANSPILER_ROUND_ROBIN, 2, 2);
    struct program *server = NULL, *trainer = NULL;
    assert_int_equal(transpiler_server_program(t, "127.0.0.1:6174", &server, NULL), 0);
    assert_non_null(block_var(program_block(server, 0), "res2.block1.w.block0"));
    assert_non_null(block_var(program_block(server, 0), "tmp.trainer_0@GRAD.trainer_1"));
    assert_int_equal(server->server, 0);
    assert_int_equal(slice_map_hash(server->slices), slice_map_hash(transpiler_slices(t)));
    assert_int_equal(transpiler_trainer_program(t, 1, &trainer, NULL), 0);
    assert_int_equal(trainer->server, -1);
    assert_null(block_var(program_block(trainer, 0), "res2.block1.w_velocity_0"));
    assert_non_null(block_var(program_block(trainer, 0), "tmp.trainer_0"));
    program_free(server);
    program_free(trainer);
    transpiler_free(t);
}

static void test_transpiler_hash_name_is_stable_and_meets(void **state)
{
    (void)state;
    struct transpiler *a = transpile_small(TRANSPILER_HASH_NAME, 3, 2),
                      *b = transpile_small(TRANSPILER_HASH_NAME, 3, 2);
    assert_int_equal(slice_map_hash(transpiler_slices(a)), slice_map_hash(transpiler_slices(b)));
    const struct slice_var *w = slice_map_find(transpiler_slices(a), "res2.block1.w");
    const struct slice_var *g = slice_map_find(transpiler_slices(a), "res2.block1.w@GRAD");
    bool seen[3] = {false};
    for (size_t i = 0; i < w->slices_count; i++) {
        assert_int_equal(w->slices[i].server, g->slices[i].server);
        assert_false(seen[w->slices[i].server]);
        seen[w->slices[i].server] = true;
    }
    transpiler_free(a);
    transpiler_free(b);
}

static void test_transpiler_one_trainer_can_run(void **state)
{
    (void)state;
    struct transpiler *t = transpile_small(TRANSPILER_ROUND_ROBIN, 1, 1);
    struct program *trainer = NULL, *server = NULL;
    assert_int_equal(transpiler_trainer_program(t, 0, &trainer, NULL), 0);
    assert_int_equal(transpiler_server_program(t, "127.0.0.1:6174", &server, NULL), 0);
    assert_non_null(block_var(program_block(trainer, 0), "tmp.trainer_0@GRAD.trainer_0"));
    assert_non_null(block_var(program_block(server, 0), "tmp.trainer_0@GRAD.trainer_0"));
    program_free(trainer);
    program_free(server);
    transpiler_free(t);
}

static void test_transpiler_server_without_parameters(void **state)
{
    (void)state;
    struct transpiler *t = transpile_small(TRANSPILER_ROUND_ROBIN, 40, 2);
    struct program *server = NULL;
    assert_int_equal(
        transpiler_server_program(t, transpiler_endpoints(t)->items[39], &server, NULL), 0);
    assert_int_equal(server->blocks_count, 2);
    assert_int_equal(program_block(server, 1)->ops_count, 0);
    assert_string_equal(program_block(server, 0)->ops[0]->type, "listen_and_serv");
    program_free(server);
    transpiler_free(t);
}

static void expect_refusal(struct transpiler_config config, struct transpiler_job job,
                           const char *text)
{
    struct program *main = small_program(), *startup = program_new();
    struct transpiler *t = NULL;
    struct err err = {0};
    assert_true(transpiler_new(&config, &job, main, startup, &t, &err) < 0);
    assert_null(t);
    if (strstr(err.text, text) == NULL)
        fail_msg("`%s` does not say `%s`", err.text, text);
    program_free(main);
    program_free(startup);
}

// 1.8.5 overlooks Adadelta, which has no LearningRate: by default its updates are on the servers.
static void test_transpiler_adadelta_is_updated(void **state)
{
    (void)state;
    struct program *main = golden_folder_load("digits_adadelta/main.pb");
    struct program *startup = golden_folder_load("digits_adadelta/startup.pb"), *server = NULL;
    if (main == NULL) {
        golden_folder_done(0);
        return;
    }
    struct transpiler *t = transpile(&variants[0], false, main, startup);
    assert_int_equal(transpiler_server_program(t, "127.0.0.1:6174", &server, NULL), 0);
    const struct block *block = program_block(server, 1);
    assert_int_equal(block->ops_count, 3);
    assert_string_equal(block->ops[2]->type, "adadelta");
    assert_true(
        slice_map_find(transpiler_slices(t), "fc_0.w_0__avg_squared_grad_0")->slices_count == 2);
    program_free(server);
    program_free(main);
    program_free(startup);
    transpiler_free(t);
}

static void test_transpiler_refuses_bad_settings(void **state)
{
    (void)state;
    const struct transpiler_job job = {.pservers = "a:1,b:2", .trainers = 2, .sync_mode = true};
    struct transpiler_config config = transpiler_config_default();
    struct transpiler_job bad = job;
    config.min_block_size = 1024;
    expect_refusal(config, job, "min_block_size");
    config = transpiler_config_default();
    config.enable_dc_asgd = true;
    expect_refusal(config, job, "sync_mode");
    config = transpiler_config_default();
    config.runtime_split_send_recv = true;
    expect_refusal(config, job, "runtime_split_send_recv");
    config = transpiler_config_default();
    bad.pservers = "";
    expect_refusal(config, bad, "pservers");
    bad.pservers = "a:1,a:1";
    expect_refusal(config, bad, "twice");
    bad = job;
    bad.trainers = 0;
    expect_refusal(config, bad, "trainers");
}

static void test_transpiler_refuses_a_program_without_updates(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    const struct transpiler_job job = {.pservers = "a:1", .trainers = 1, .sync_mode = true};
    struct transpiler *t = NULL;
    struct err err = {0};
    assert_true(transpiler_new(NULL, &job, main, startup, &t, &err) < 0);
    assert_non_null(strstr(err.text, "minimize"));
    program_free(main);
    program_free(startup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transpiler_equals_fluid),
        cmocka_unit_test(test_transpiler_slice_map_covers_everything),
        cmocka_unit_test(test_transpiler_lists_what_only_trainers_hold),
        cmocka_unit_test(test_transpiler_clips_the_merged_gradient),
        cmocka_unit_test(test_transpiler_names_are_not_taken_apart),
        cmocka_unit_test(test_transpiler_hash_name_is_stable_and_meets),
        cmocka_unit_test(test_transpiler_one_trainer_can_run),
        cmocka_unit_test(test_transpiler_server_without_parameters),
        cmocka_unit_test(test_transpiler_adadelta_is_updated),
        cmocka_unit_test(test_transpiler_refuses_bad_settings),
        cmocka_unit_test(test_transpiler_refuses_a_program_without_updates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
