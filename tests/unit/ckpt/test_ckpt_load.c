// SPDX-License-Identifier: Apache-2.0
// Loading: all or nothing, and everything that is wrong in one error.
#include "tests/unit/ckpt/saved_fixture.h"

#include <math.h>

static int load(const struct ckpt_load_options *options)
{
    return ckpt_load(at("m"), program, scope, options, &report, &err);
}

static void make_plain(void)
{
    assert_int_equal(unlink(at("m/" CKPT_MANIFEST_NAME)), 0);
}

static bool untouched(void)
{
    struct scope *before = model_scope(5000);
    bool same = same_values(before, scope);
    scope_free(before);
    return same;
}

static void replace_file(const char *name, enum dtype dtype, const struct dims *dims,
                         const char *extra)
{
    struct variable var;
    char path[128];
    variable_init(&var);
    assert_int_equal(tensor_resize(variable_tensor(&var), dtype, dims), 0);
    memset(var.tensor.data, 0, tensor_bytes(&var.tensor));
    snprintf(path, sizeof path, "m/%s", name);
    assert_int_equal(tensor_io_save(&var, at(path), &err), 0);
    FILE *file = fopen(at(path), "a");
    assert_non_null(file);
    fputs(extra, file);
    fclose(file);
    variable_deinit(&var);
}

static void test_a_checkpoint_loads_and_reports(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 0);
    put_file("m/notes.txt", "");
    assert_int_equal(load(NULL), 0);
    assert_true(same_values(saved, scope));
    ckpt_report_summary(&report, "resume", &text);
    char expected[400];
    snprintf(
        expected, sizeof expected,
        "resume %s (step 10): 7 variables, 280 bytes, sha256 ok; 0 missing, 1 extra (notes.txt)",
        at("m"));
    assert_string_equal(buf_text(&text), expected);
    assert_int_equal(report.progress.data_count, 1);
    assert_int_equal(strlen(report.digest), 64);
    buf_deinit(&text);
}

static void test_every_truncation_and_changed_byte_is_noticed(void **state)
{
    (void)state;
    char files[MODEL_VARS + 1][64];
    for (size_t i = 0; i < MODEL_VARS; i++)
        snprintf(files[i], sizeof files[i], "m/%s", model_vars[i].name);
    snprintf(files[MODEL_VARS], sizeof files[0], "m/%s", CKPT_MANIFEST_NAME);
    for (size_t f = 0; f <= MODEL_VARS; f++) {
        struct buf data;
        buf_init(&data, 0);
        assert_int_equal(fsutil_read(at(files[f]), 1 << 20, &data, &err), 0);
        for (size_t n = 0; n < data.bytes; n++) {
            put_bytes(files[f], data.data, n);
            assert_true(load(NULL) < 0);
            assert_non_null(strstr(err.text, files[f] + 2));
            data.data[n] ^= (uint8_t)(1 << n % 8);
            put_bytes(files[f], data.data, data.bytes);
            data.data[n] ^= (uint8_t)(1 << n % 8);
            assert_true(load(NULL) < 0);
            assert_non_null(strstr(err.text, files[f] + 2));
            assert_non_null(strstr(err.text, at("m")));
        }
        put_bytes(files[f], data.data, data.bytes);
        buf_deinit(&data);
    }
    assert_true(untouched());
    assert_int_equal(load(NULL), 0);
}

static void test_damage_is_named_as_such(void **state)
{
    (void)state;
    FILE *file = fopen(at("m/w"), "r+");
    fseek(file, -3, SEEK_END);
    fputc(0x7f, file);
    fclose(file);
    assert_int_equal(load(NULL), SL_ECORRUPT);
    assert_non_null(strstr(err.text, "sha256"));
    assert_int_equal(ckpt_report_count(&report, CKPT_DIFFERS), 1);
    assert_true(untouched());
    struct ckpt_load_options options = {.partial = true};
    assert_int_equal(load(&options), 0);
    assert_memory_equal(value_of(scope, "b")->data, value_of(saved, "b")->data, 16);
    assert_true(tensor_f32(value_of(scope, "w"))[0] == 5400.0f);
}

static void test_all_that_does_not_fit_is_in_one_error(void **state)
{
    (void)state;
    struct dims wrong = {.rank = 2, .d = {7, 4}}, one = {.rank = 1, .d = {1}};
    make_plain();
    replace_file("w", DTYPE_FP32, &wrong, "");
    replace_file("w_beta1_pow_acc_0", DTYPE_FP64, &one, "");
    unlink(at("m/b"));
    assert_int_equal(truncate(at("m/dir/w2"), 60), 0);
    assert_int_equal(load(NULL), SL_EMISMATCH);
    assert_non_null(strstr(err.text, "w: file has shape [7,4], the program wants [7,3]"));
    assert_non_null(
        strstr(err.text, "w_beta1_pow_acc_0: file has type float64, the program wants float32"));
    assert_non_null(strstr(err.text, "b: missing"));
    assert_non_null(strstr(err.text, "dir/w2"));
    assert_non_null(strstr(err.text, "Nothing was loaded. (--partial loads the other 3)"));
    assert_int_equal(ckpt_report_count(&report, CKPT_MISSING), 1);
    assert_int_equal(ckpt_report_count(&report, CKPT_DIFFERS), 3);
    assert_true(untouched());
    struct ckpt_load_options options = {.partial = true};
    assert_int_equal(load(&options), 0);
    assert_int_equal(ckpt_report_count(&report, CKPT_LOADED), 3);
    assert_memory_equal(value_of(scope, "w_moment1_0")->data, value_of(saved, "w_moment1_0")->data,
                        84);
}

static void test_a_long_list_is_cut_with_a_count(void **state)
{
    (void)state;
    struct dims one = {.rank = 1, .d = {1}};
    for (int i = 0; i < 200; i++) {
        char name[64];
        snprintf(name, sizeof name, "a_rather_long_variable_name_%d", i);
        add_var(program, name, DTYPE_FP32, &one, true);
    }
    assert_int_equal(load(NULL), SL_EMISMATCH);
    assert_non_null(strstr(err.text, " more. Nothing was loaded."));
    assert_int_equal(ckpt_report_count(&report, CKPT_MISSING), 200);
}

static void test_plain_folders_may_lack_rates_and_have_surplus(void **state)
{
    (void)state;
    struct dims one = {.rank = 1, .d = {1}};
    unlink(at("m/learning_rate_0"));
    assert_int_equal(load(NULL), SL_EMISMATCH);     // with a manifest all is strict
    make_plain();
    unlink(at("m/" COUNTER));
    replace_file("w_beta1_pow_acc_0", DTYPE_FP32, &one, "surplus!");
    assert_int_equal(load(NULL), 0);
    assert_int_equal(ckpt_report_count(&report, CKPT_KEPT), 2);
    assert_false(report.has_manifest);
    assert_true(tensor_f32(value_of(scope, "learning_rate_0"))[0] == 5300.0f);
    for (size_t i = 0; i < report.items_count; i++)
        assert_int_equal(report.items[i].surplus,
                         strcmp(report.items[i].name, "w_beta1_pow_acc_0") == 0 ? 8 : 0);
    // Anything else must be there.
    unlink(at("m/w_moment1_0"));
    assert_int_equal(load(NULL), SL_EMISMATCH);
    assert_non_null(strstr(err.text, "w_moment1_0: missing"));
}

static void test_a_file_that_the_manifest_does_not_list_is_not_trusted(void **state)
{
    (void)state;
    struct dims one = {.rank = 1, .d = {1}};
    replace_file("late", DTYPE_FP32, &one, "");
    add_var(program, "late", DTYPE_FP32, &one, true);
    assert_int_equal(load(NULL), SL_EMISMATCH);
    assert_non_null(strstr(err.text, "late: there is a file, but the manifest does not list it"));
}

static void test_parameters_only(void **state)
{
    (void)state;
    struct str_list params = {0};
    struct ckpt_load_options options = {.what = CKPT_PARAMS, .params = &params};
    assert_int_equal(load(&options), SL_EINVAL);
    str_list_add(&params, "w");
    str_list_add(&params, "dir/w2");
    assert_int_equal(load(&options), 0);
    assert_int_equal(ckpt_report_count(&report, CKPT_LOADED), 2);
    assert_int_equal(ckpt_report_count(&report, CKPT_EXTRA), 0);
    assert_true(tensor_f32(value_of(scope, "w_moment1_0"))[0] == 5600.0f);
    assert_memory_equal(value_of(scope, "w")->data, value_of(saved, "w")->data, 84);
    str_list_add(&params, "fc_0.tmp_0");
    assert_int_equal(load(&options), SL_ENOENT);
    str_list_deinit(&params);
}

static void test_globs_leave_variables_alone(void **state)
{
    (void)state;
    struct str_list globs = {0};
    struct ckpt_load_options options = {.except = &globs};
    str_list_add(&globs, "w_*");
    unlink(at("m/w_moment1_0"));        // nobody asks for it
    assert_int_equal(load(&options), 0);
    assert_int_equal(ckpt_report_count(&report, CKPT_EXCEPTED), 2);
    assert_true(tensor_f32(value_of(scope, "w_moment1_0"))[0] == 5600.0f);
    str_list_deinit(&globs);
}

static void test_job_or_checkpoint_decides_the_learning_rate(void **state)
{
    (void)state;
    struct ckpt_load_options options = {.rate_from = CKPT_RATE_FROM_JOB};
    assert_int_equal(load(&options), 0);
    assert_true(tensor_f32(value_of(scope, "learning_rate_0"))[0] == 5300.0f);
    assert_int_equal(ckpt_report_count(&report, CKPT_KEPT), 1);
    assert_string_equal(report.rate_line,
                        "learning rate learning_rate_0: 5300 in the job, 301 in the "
                        "checkpoint; the job's is used");
    // The counter of a schedule always comes from the checkpoint.
    assert_int_equal(tensor_i64(value_of(scope, COUNTER))[0], 1);
    options.rate_from = CKPT_RATE_FROM_CHECKPOINT;
    assert_int_equal(load(&options), 0);
    assert_non_null(strstr(report.rate_line, "the checkpoint's is used"));
    assert_true(tensor_f32(value_of(scope, "learning_rate_0"))[0] == 301.0f);
    assert_int_equal(load(&options), 0);
    assert_null(report.rate_line);

    static const struct {
        const char *choice;
        bool resume, given;
        enum ckpt_rate_from from;
    } rows[] = {
        {NULL, true, true, CKPT_RATE_FROM_CHECKPOINT},   {NULL, false, true, CKPT_RATE_FROM_JOB},
        {"", false, false, CKPT_RATE_FROM_CHECKPOINT},   {"job", true, false, CKPT_RATE_FROM_JOB},
        {"checkpoint", false, true, CKPT_RATE_FROM_CHECKPOINT},
    };
    enum ckpt_rate_from from;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(
            ckpt_load_rate_rule(rows[i].choice, rows[i].resume, rows[i].given, &from, &err), 0);
        assert_int_equal(from, rows[i].from);
    }
    assert_int_equal(ckpt_load_rate_rule("file", true, true, &from, &err), SL_EINVAL);
}

static void test_a_combined_file_is_sorted_by_name(void **state)
{
    (void)state;
    struct ckpt_source *source = model_source(saved);
    struct ckpt_save_options how = {.filename = "__params__"};
    struct ckpt_load_options options = {.filename = "__params__"};
    assert_int_equal(ckpt_save(source, at("m"), &how, NULL, &err), 0);
    ckpt_source_free(source);
    assert_int_equal(load(&options), 0);
    assert_true(same_values(saved, scope));
    struct scope *fresh = model_scope(5000);
    scope_free(scope);
    scope = fresh;
    struct buf data;
    buf_init(&data, 0);
    assert_int_equal(fsutil_read(at("m/__params__"), 1 << 20, &data, &err), 0);
    for (int plain = 0; plain < 2; plain++) {
        for (size_t n = 0; n < data.bytes; n++) {
            put_bytes("m/__params__", data.data, n);
            assert_true(load(&options) < 0);
            assert_non_null(strstr(err.text, "__params__"));
        }
        if (!plain)
            make_plain();
    }
    assert_true(untouched());
    put_bytes("m/__params__", data.data, data.bytes);
    assert_int_equal(load(&options), 0);
    assert_true(same_values(saved, scope));
    options.filename = "none";
    assert_int_equal(load(&options), SL_EMISMATCH);
    buf_deinit(&data);
}

static void test_selected_rows_and_lod_come_back(void **state)
{
    (void)state;
    struct scope *from = scope_new();
    struct program *sparse = program_new();
    struct ckpt_source *source;
    struct str_list names = {0};
    struct dims dims = {.rank = 2, .d = {3, 2}};
    uint64_t offsets[] = {0, 1, 3};
    struct lod_level level = {offsets, 3, 3};
    struct selected_rows *rows = variable_rows(scope_var(from, "rows"));
    assert_int_equal(tensor_resize(&rows->value, DTYPE_FP32, &dims), 0);
    assert_int_equal(selected_rows_resize(rows, 3), 0);
    rows->height = 100;
    for (int i = 0; i < 3; i++)
        rows->rows[i] = 10 * i;
    fill(&rows->value, 1);
    struct tensor *lod = variable_tensor(scope_var(from, "lod"));
    assert_int_equal(tensor_resize(lod, DTYPE_FP32, &dims), 0);
    fill(lod, 7);
    assert_int_equal(tensor_set_lod(lod, 1, &level), 0);
    add_var(sparse, "rows", DTYPE_FP32, &dims, true);
    block_var(program_block(sparse, 0), "rows")->kind = VAR_SELECTED_ROWS;
    add_var(sparse, "lod", DTYPE_FP32, &dims, true);
    str_list_add(&names, "rows");
    str_list_add(&names, "lod");
    assert_int_equal(ckpt_source_scope(from, &names, &source, &err), 0);
    assert_int_equal(ckpt_save(source, at("s"), NULL, NULL, &err), 0);
    assert_int_equal(ckpt_load(at("s"), sparse, scope, NULL, &report, &err), 0);
    const struct variable *back = scope_find(scope, "rows");
    assert_int_equal(back->kind, VARIABLE_SELECTED_ROWS);
    assert_int_equal(back->rows.height, 100);
    assert_memory_equal(back->rows.rows, rows->rows, 24);
    assert_memory_equal(back->rows.value.data, rows->value.data, 24);
    assert_int_equal(value_of(scope, "lod")->lod_levels, 1);
    assert_memory_equal(value_of(scope, "lod")->lod[0].offsets, offsets, sizeof offsets);
    ckpt_source_free(source);
    str_list_deinit(&names);
    program_free(sparse);
    scope_free(from);
}

static void test_names_do_not_leave_the_folder(void **state)
{
    (void)state;
    struct dims one = {.rank = 1, .d = {1}};
    put_file("outside", "");
    add_var(program, "../outside", DTYPE_FP32, &one, true);
    assert_int_equal(load(NULL), SL_EMISMATCH);
    make_plain();
    assert_int_equal(load(NULL), SL_EMISMATCH);
    assert_true(untouched());
}

static void test_missing_folders_and_interrupted_saves(void **state)
{
    (void)state;
    assert_int_equal(ckpt_load(at("none"), program, scope, NULL, &report, &err), SL_ENOENT);
    assert_non_null(strstr(err.text, "none"));
    struct ckpt_manifest busy;
    struct buf text;
    ckpt_manifest_init(&busy);
    buf_init(&text, 0);
    busy.busy = true;
    assert_int_equal(ckpt_manifest_format(&busy, &text), 0);
    put_bytes("m/" CKPT_MANIFEST_NAME, text.data, text.bytes);
    assert_int_equal(load(NULL), SL_EREFUSED);
    assert_non_null(strstr(err.text, "interrupted"));
    buf_deinit(&text);
    ckpt_manifest_deinit(&busy);
}

static void test_recorded_distributed_saves_load_into_the_local_program(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t loaded, kept, surplus;
    } rows[] = {{"fit_a_line", 2, 1, 0}, {"digits_adam", 20, 1, 2}, {"digits_momentum", 8, 1, 0},
                {"lr_piecewise", 5, 1, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[256];
        struct program *main_program, *startup;
        size_t surplus = 0;
        snprintf(name, sizeof name, "%s/main.pb", rows[i].name);
        assert_int_equal(program_load(golden(name), &main_program, &err), 0);
        snprintf(name, sizeof name, "%s/startup.pb", rows[i].name);
        assert_int_equal(program_load(golden(name), &startup, &err), 0);
        const struct program *programs[] = {main_program, startup};
        for (int k = 0; k < 2; k++) {
            struct scope *fresh = scope_new();
            surplus = 0;
            snprintf(name, sizeof name, "%s/dist_run/saved", rows[i].name);
            if (ckpt_load(golden(name), programs[k], fresh, NULL, &report, &err))
                fail_msg("%s", err.text);
            for (size_t v = 0; v < report.items_count; v++)
                surplus += report.items[v].surplus > 0;
            assert_int_equal(ckpt_report_count(&report, CKPT_LOADED), rows[i].loaded);
            assert_int_equal(ckpt_report_count(&report, CKPT_KEPT), rows[i].kept);
            assert_int_equal(surplus, rows[i].surplus);
            scope_free(fresh);
            // Paddle's save on one machine lacks nothing.
            fresh = scope_new();
            snprintf(name, sizeof name, "%s/final", rows[i].name);
            if (ckpt_load(golden(name), programs[k], fresh, NULL, &report, &err))
                fail_msg("%s", err.text);
            assert_int_equal(ckpt_report_count(&report, CKPT_KEPT), 0);
            scope_free(fresh);
        }
        program_free(main_program);
        program_free(startup);
    }
}

static void test_recorded_saves_are_written_again_byte_for_byte(void **state)
{
    (void)state;
    static const char *const cases[] = {"fit_a_line", "digits_adam", "lr_piecewise"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[256];
        struct program *main_program;
        struct str_list names = {0};
        struct ckpt_source *source;
        snprintf(name, sizeof name, "%s/main.pb", cases[i]);
        assert_int_equal(program_load(golden(name), &main_program, &err), 0);
        struct scope *fresh = scope_new();
        snprintf(name, sizeof name, "%s/final", cases[i]);
        assert_int_equal(ckpt_load(golden(name), main_program, fresh, NULL, &report, &err), 0);
        ckpt_vars_saved(main_program, &names);
        assert_int_equal(ckpt_source_scope(fresh, &names, &source, &err), 0);
        assert_int_equal(ckpt_save(source, at("again"), NULL, NULL, &err), 0);
        for (size_t k = 0; k < names.count; k++) {
            char sums[2][FSUTIL_SHA256_HEX];
            uint64_t bytes;
            snprintf(name, sizeof name, "%s/final/%s", cases[i], names.items[k]);
            assert_int_equal(fsutil_sha256_file(golden(name), sums[0], &bytes, &err), 0);
            snprintf(name, sizeof name, "again/%s", names.items[k]);
            assert_int_equal(fsutil_sha256_file(at(name), sums[1], &bytes, &err), 0);
            assert_string_equal(sums[0], sums[1]);
        }
        ckpt_source_free(source);
        str_list_deinit(&names);
        program_free(main_program);
        scope_free(fresh);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_checkpoint_loads_and_reports),
        TEST(test_every_truncation_and_changed_byte_is_noticed),
        TEST(test_damage_is_named_as_such),
        TEST(test_all_that_does_not_fit_is_in_one_error),
        TEST(test_a_long_list_is_cut_with_a_count),
        TEST(test_plain_folders_may_lack_rates_and_have_surplus),
        TEST(test_a_file_that_the_manifest_does_not_list_is_not_trusted),
        TEST(test_parameters_only),
        TEST(test_globs_leave_variables_alone),
        TEST(test_job_or_checkpoint_decides_the_learning_rate),
        TEST(test_a_combined_file_is_sorted_by_name),
        TEST(test_selected_rows_and_lod_come_back),
        TEST(test_names_do_not_leave_the_folder),
        TEST(test_missing_folders_and_interrupted_saves),
        TEST(test_recorded_distributed_saves_load_into_the_local_program),
        TEST(test_recorded_saves_are_written_again_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
