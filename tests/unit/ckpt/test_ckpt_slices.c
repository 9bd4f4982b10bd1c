// SPDX-License-Identifier: Apache-2.0
// Any number of servers saves, any number loads.
#include "tests/unit/ckpt/ckpt_fixture.h"

// Servers' scopes seen as one source of full variables, as the trainer that saves sees them.
struct cluster {
    struct slice_map map;
    struct scope *scopes[8];
    struct program *programs[8];
    struct ckpt_var vars[MODEL_VARS];
};

static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    (void)err;
    const struct cluster *cluster = self;
    const struct slice_var *var = slice_map_find(&cluster->map, model_vars[i].name);
    for (int64_t r = row; r < row + rows; r++) {
        for (size_t k = 0; k < var->slices_count; k++) {
            const struct slice *slice = &var->slices[k];
            if (r < slice->row || r >= slice->row + slice->rows)
                continue;
            const struct tensor *t = value_of(cluster->scopes[slice->server], slice->name);
            size_t bytes = tensor_bytes(t) / (size_t)slice->rows;
            memcpy((char *)out + (size_t)(r - row) * bytes,
                   (const char *)t->data + (size_t)(r - slice->row) * bytes, bytes);
            break;
        }
    }
    return 0;
}

static void cluster_open(struct cluster *cluster, int servers)
{
    memset(cluster, 0, sizeof *cluster);
    model_slices(servers, &cluster->map);
    for (int s = 0; s < servers; s++) {
        cluster->scopes[s] = scope_new();
        cluster->programs[s] = server_program(&cluster->map, s);
    }
    for (size_t i = 0; i < MODEL_VARS; i++)
        cluster->vars[i] = (struct ckpt_var){.name = model_vars[i].name, .kind = VARIABLE_TENSOR,
                                             .dtype = model_vars[i].dtype,
                                             .dims = model_dims(&model_vars[i])};
}

static void cluster_close(struct cluster *cluster)
{
    for (int s = 0; s < cluster->map.servers; s++) {
        scope_free(cluster->scopes[s]);
        program_free(cluster->programs[s]);
    }
    slice_map_deinit(&cluster->map);
}

static void cluster_load(struct cluster *cluster, const char *dir, enum ckpt_what what,
                         char *out_digest)
{
    for (int s = 0; s < cluster->map.servers; s++) {
        struct ckpt_report report;
        struct err err = {0};
        struct ckpt_load_options options = {.what = what, .slices = &cluster->map, .server = s};
        ckpt_report_init(&report);
        if (ckpt_load(at(dir), cluster->programs[s], cluster->scopes[s], &options, &report, &err))
            fail_msg("server %d of %d: %s", s, cluster->map.servers, err.text);
        assert_int_equal(ckpt_report_count(&report, CKPT_EXTRA), 0);
        if (s)
            assert_string_equal(report.digest, out_digest);
        memcpy(out_digest, report.digest, sizeof report.digest);
        ckpt_report_deinit(&report);
    }
}

static void cluster_save(struct cluster *cluster, const char *dir)
{
    struct ckpt_source source = {cluster->vars, MODEL_VARS, read_rows, cluster};
    struct ckpt_progress progress;
    struct err err = {0};
    model_progress(10, &progress);
    struct ckpt_save_options options = {.progress = &progress};
    if (ckpt_save(&source, at(dir), &options, NULL, &err))
        fail_msg("%s", err.text);
    ckpt_progress_deinit(&progress);
}

static void test_two_servers_saved_any_number_loaded(void **state)
{
    (void)state;
    static const int numbers[] = {1, 2, 3, 5};
    struct scope *scope = model_scope(1);
    struct cluster cluster;
    char digest[FSUTIL_SHA256_HEX];
    assert_int_equal(save_model(scope, at("one"), 10, false, NULL, NULL), 0);
    cluster_open(&cluster, 2);
    cluster_load(&cluster, "one", CKPT_PERSISTABLES, digest);
    cluster_save(&cluster, "two");
    cluster_close(&cluster);
    // The manifest holds every file's sum: equal text, equal files.
    char *expected = mem_must_strdup(text_of("one/" CKPT_MANIFEST_NAME));
    assert_string_equal(text_of("two/" CKPT_MANIFEST_NAME), expected);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char dir[32];
        snprintf(dir, sizeof dir, "pulled_%d", numbers[i]);
        cluster_open(&cluster, numbers[i]);
        cluster_load(&cluster, "two", CKPT_PERSISTABLES, digest);
        cluster_save(&cluster, dir);
        cluster_close(&cluster);
        snprintf(dir, sizeof dir, "pulled_%d/%s", numbers[i], CKPT_MANIFEST_NAME);
        assert_string_equal(text_of(dir), expected);
    }
    mem_free(expected);
    scope_free(scope);
}

static void test_a_server_takes_its_rows_only(void **state)
{
    (void)state;
    struct scope *scope = model_scope(1);
    struct cluster cluster;
    struct err err = {0};
    for (int plain = 0; plain < 2; plain++) {
        char digest[FSUTIL_SHA256_HEX];
        assert_int_equal(save_model(scope, at("m"), 10, false, NULL, NULL), 0);
        if (plain)
            unlink(at("m/" CKPT_MANIFEST_NAME));
        cluster_open(&cluster, 3);
        cluster_load(&cluster, "m", CKPT_PERSISTABLES, digest);
        const struct slice_var *w = slice_map_find(&cluster.map, "w");
        assert_int_equal(w->slices_count, 3);
        for (size_t k = 0; k < 3; k++) {
            const struct slice *slice = &w->slices[k];
            const struct tensor *t = value_of(cluster.scopes[slice->server], slice->name);
            assert_int_equal(t->dims.d[0], slice->rows);
            for (int64_t i = 0; i < slice->rows * 3; i++)
                assert_true(tensor_f32(t)[i] == 401.0f + (float)(slice->row * 3 + i));
        }
        // Gradients are in the slice map and in the program, and no file is asked for.
        assert_null(scope_find(cluster.scopes[0], "b@GRAD"));
        cluster_close(&cluster);
    }
    // A damaged file is noticed by every server that reads from it, wherever the damage is.
    assert_int_equal(unlink(at("m/b")), 0);
    fsutil_remove_tree(at("m"), NULL);
    assert_int_equal(save_model(scope, at("m"), 10, false, NULL, NULL), 0);
    FILE *file = fopen(at("m/w"), "r+");
    fseek(file, -1, SEEK_END);
    fputc(0x7f, file);
    fclose(file);
    cluster_open(&cluster, 3);
    for (int s = 0; s < 3; s++) {
        struct ckpt_report report;
        struct ckpt_load_options options = {.slices = &cluster.map, .server = s};
        ckpt_report_init(&report);
        assert_int_equal(
            ckpt_load(at("m"), cluster.programs[s], cluster.scopes[s], &options, &report, &err),
            SL_ECORRUPT);
        struct str_list names = {0};
        scope_names(cluster.scopes[s], &names);
        assert_int_equal(names.count, 0);
        str_list_deinit(&names);
        ckpt_report_deinit(&report);
    }
    cluster_close(&cluster);
    scope_free(scope);
}

static void test_digest_tells_plain_folders_apart(void **state)
{
    (void)state;
    struct scope *a = model_scope(1), *b = model_scope(2);
    struct cluster cluster;
    char first[FSUTIL_SHA256_HEX], second[FSUTIL_SHA256_HEX], third[FSUTIL_SHA256_HEX];
    assert_int_equal(save_model(a, at("a"), 10, false, NULL, NULL), 0);
    assert_int_equal(save_model(a, at("c"), 10, false, NULL, NULL), 0);
    assert_int_equal(save_model(b, at("b"), 10, false, NULL, NULL), 0);
    unlink(at("a/" CKPT_MANIFEST_NAME));
    unlink(at("b/" CKPT_MANIFEST_NAME));
    unlink(at("c/" CKPT_MANIFEST_NAME));
    cluster_open(&cluster, 2);
    cluster_load(&cluster, "a", CKPT_PERSISTABLES, first);
    cluster_load(&cluster, "b", CKPT_PERSISTABLES, second);
    cluster_load(&cluster, "c", CKPT_PERSISTABLES, third);
    assert_string_not_equal(first, second);
    assert_string_equal(first, third);
    cluster_close(&cluster);
    scope_free(a);
    scope_free(b);
}

static void test_parameters_only_leave_states_alone(void **state)
{
    (void)state;
    struct scope *scope = model_scope(1);
    struct cluster cluster;
    char digest[FSUTIL_SHA256_HEX];
    assert_int_equal(save_model(scope, at("m"), 10, false, NULL, NULL), 0);
    cluster_open(&cluster, 2);
    cluster_load(&cluster, "m", CKPT_PARAMS, digest);
    for (int s = 0; s < 2; s++)
        assert_null(scope_find(cluster.scopes[s], "w_moment1_0"));
    cluster_close(&cluster);
    scope_free(scope);
}

static void test_a_server_program_without_slices_is_refused(void **state)
{
    (void)state;
    struct scope *scope = model_scope(1);
    struct ckpt_report report;
    struct err err = {0};
    struct program *program = model_program();
    ckpt_report_init(&report);
    block_append_op(program_block(program, 0), op_desc_new("listen_and_serv"));
    assert_int_equal(ckpt_load(at("m"), program, scope, NULL, &report, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "slice_map.json"));
    program_free(program);
    scope_free(scope);
}

// Paddle's own save of two servers, read by the second half of a cut parameter's server.
static void test_recorded_save_is_cut_like_paddle_does(void **state)
{
    (void)state;
    struct slice_map map;
    struct ckpt_report report;
    struct err err = {0};
    struct program *program;
    struct dims full = {.rank = 2, .d = {784, 24}}, one = {.rank = 1, .d = {1}};
    static const char *const cut[] = {"fc_0.w_0", "fc_0.w_0_moment1_0", "fc_0.w_0_moment2_0"};
    slice_map_init(&map);
    map.servers = map.trainers = 2;
    for (int i = 0; i < 3; i++) {
        struct slice_var *var = slice_map_add(&map, cut[i], i ? SLICE_STATE : SLICE_PARAM,
                                              i ? cut[0] : NULL, DTYPE_FP32, &full);
        slice_var_add(var, 1, 0, 392, i ? cut[i] : "fc_0.w_0.block0");
        slice_var_add(var, 0, 392, 392, i ? cut[i] : "fc_0.w_0.block1");
    }
    struct slice_var *pow =
        slice_map_add(&map, "fc_0.w_0_beta1_pow_acc_0", SLICE_STATE, cut[0], DTYPE_FP32, &one);
    pow->replicated = true;
    slice_var_add(pow, 0, 0, 1, "fc_0.w_0_beta1_pow_acc_0");
    slice_var_add(pow, 1, 0, 1, "fc_0.w_0_beta1_pow_acc_0");
    assert_int_equal(slice_map_finish(&map, &err), 0);
    assert_int_equal(program_load(golden("digits_adam/dist/pserver_0.pb"), &program, &err), 0);
    struct scope *scope = scope_new();
    struct ckpt_load_options options = {.slices = &map, .server = 0};
    ckpt_report_init(&report);
    if (ckpt_load(golden("digits_adam/dist_run/saved"), program, scope, &options, &report, &err))
        fail_msg("%s", err.text);
    assert_int_equal(ckpt_report_count(&report, CKPT_SLICED), 3);
    assert_int_equal(ckpt_report_count(&report, CKPT_LOADED), 1);
    // What Paddle's server 0 held after its own load.
    static const float w[] = {-0.03661103546619415f, 0.12042178958654404f, -0.04856161857843399f};
    assert_true(tensor_f32(value_of(scope, "fc_0.w_0.block1"))[0] == w[0]);
    assert_true(tensor_f32(value_of(scope, "fc_0.w_0.block1"))[1] == w[1]);
    assert_true(tensor_f32(value_of(scope, "fc_0.w_0_moment1_0"))[0] == -0.00668483879417181f);
    assert_true(tensor_f32(value_of(scope, "fc_0.w_0_beta1_pow_acc_0"))[0] == 0.3138104975223541f);
    assert_int_equal(value_of(scope, "fc_0.w_0.block1")->dims.d[0], 392);
    ckpt_report_deinit(&report);
    scope_free(scope);
    program_free(program);
    slice_map_deinit(&map);
}

// A table of 12 blocks on two servers. Damage in the rows of one is found by that one; the other
// does not read them.
static void test_a_server_checks_the_blocks_of_its_rows(void **state)
{
    (void)state;
    const struct dims full = {.rank = 2, .d = {12 << 10, 1024}};
    struct slice_map map;
    struct err err = {0};
    slice_map_init(&map);
    map.servers = 2;
    map.trainers = 1;
    struct slice_var *var = slice_map_add(&map, "table", SLICE_PARAM, NULL, DTYPE_FP32, &full);
    for (int i = 0; i < 2; i++)
        slice_var_add(var, i, i * (6 << 10), 6 << 10, i ? "table.block1" : "table.block0");
    assert_int_equal(slice_map_finish(&map, &err), 0);

    struct scope *whole = scope_new();
    struct tensor *t = variable_tensor(scope_var(whole, "table"));
    assert_int_equal(tensor_resize(t, DTYPE_FP32, &full), 0);
    for (uint64_t i = 0; i < tensor_count(t); i++)
        tensor_f32(t)[i] = (float)(i % 1000003);
    struct str_list names = {0};
    str_list_add(&names, "table");
    struct ckpt_source *source;
    struct ckpt_saved saved = {0};
    assert_int_equal(ckpt_source_scope(whole, &names, &source, &err), 0);
    assert_int_equal(ckpt_save(source, at("t"), NULL, &saved, &err), 0);
    char *path = fsutil_join(saved.path, "table");
    ckpt_save_deinit(&saved);
    ckpt_source_free(source);
    str_list_deinit(&names);

    for (int damaged = -1; damaged < 2; damaged++) {
        if (damaged >= 0) {   // a bit in the middle of this server's rows
            int fd = open(path, O_RDWR);
            off_t place = (off_t)((damaged * 24 + 12) << 20);
            uint8_t byte;
            assert_true(fd >= 0 && pread(fd, &byte, 1, place) == 1);
            byte ^= 4;
            assert_int_equal(pwrite(fd, &byte, 1, place), 1);
            close(fd);
        }
        for (int server = 0; server < 2; server++) {
            struct program *program = server_program(&map, server);
            struct scope *scope = scope_new();
            struct ckpt_report report;
            struct ckpt_load_options options = {.slices = &map, .server = server};
            ckpt_report_init(&report);
            int rc = ckpt_load(at("t"), program, scope, &options, &report, &err);
            assert_int_equal(rc, server <= damaged ? SL_ECORRUPT : 0);
            if (rc == 0) {
                const char *name = server ? "table.block1" : "table.block0";
                const uint64_t first = (uint64_t)server * (6 << 20);
                const struct tensor *part = value_of(scope, name);
                assert_int_equal(tensor_count(part), 6 << 20);
                for (uint64_t i = 0; i < tensor_count(part); i += 4097)
                    assert_true(tensor_f32(part)[i] == tensor_f32(t)[first + i]);
            }
            ckpt_report_deinit(&report);
            scope_free(scope);
            program_free(program);
        }
    }
    mem_free(path);
    scope_free(whole);
    slice_map_deinit(&map);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_servers_saved_any_number_loaded),
        TEST(test_a_server_takes_its_rows_only),
        TEST(test_a_server_checks_the_blocks_of_its_rows),
        TEST(test_digest_tells_plain_folders_apart),
        TEST(test_parameters_only_leave_states_alone),
        TEST(test_a_server_program_without_slices_is_refused),
        TEST(test_recorded_save_is_cut_like_paddle_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
