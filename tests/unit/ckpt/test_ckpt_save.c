// SPDX-License-Identifier: Apache-2.0
// Saving: what is written, what is never lost.
#include "tests/unit/ckpt/ckpt_fixture.h"

#include <math.h>

static struct program *program;

static int setup(void **state)
{
    fail_at = calls = 0;
    fail_errno = ENOSPC;
    fail_short = false;
    program = model_program();
    return fixture_setup(state);
}

static int teardown(void **state)
{
    program_free(program);
    return fixture_teardown(state);
}

static bool loads_as(const char *dir, const struct scope *expected)
{
    struct scope *scope = scope_new();
    struct ckpt_report report;
    struct err err = {0};
    ckpt_report_init(&report);
    int rc = ckpt_load(dir, program, scope, NULL, &report, &err);
    if (rc)
        print_message("%s\n", err.text);
    bool same = rc == 0 && same_values(scope, expected);
    ckpt_report_deinit(&report);
    scope_free(scope);
    return same;
}

static void test_files_are_fluids(void **state)
{
    (void)state;
    struct scope *scope = model_scope(1);
    struct err err = {0};
    struct variable var;
    assert_int_equal(save_model(scope, at("models/epoch_1"), 10, false, NULL, &err), 0);
    for (size_t i = 0; i < MODEL_VARS; i++) {
        char name[64];
        snprintf(name, sizeof name, "models/epoch_1/%s", model_vars[i].name);
        variable_init(&var);
        assert_int_equal(tensor_io_load(at(name), VARIABLE_TENSOR, &var, &err), 0);
        assert_memory_equal(var.tensor.data, value_of(scope, model_vars[i].name)->data,
                            tensor_bytes(&var.tensor));
        variable_deinit(&var);
    }
    struct ckpt_manifest manifest;
    ckpt_manifest_init(&manifest);
    assert_int_equal(ckpt_manifest_read(at("models/epoch_1"), &manifest, &err), 0);
    assert_int_equal(manifest.files_count, MODEL_VARS + 1);
    assert_true(ckpt_manifest_find(&manifest, CKPT_SUMS_NAME)->other);
    assert_false(ckpt_manifest_find(&manifest, "w")->other);
    char sum[FSUTIL_SHA256_HEX];
    uint64_t bytes;
    assert_int_equal(fsutil_sha256_file(at("models/epoch_1/w"), sum, &bytes, &err), 0);
    assert_string_equal(ckpt_manifest_find(&manifest, "w")->sha256, sum);
    assert_int_equal(ckpt_manifest_find(&manifest, "w")->bytes, bytes);
    char line[128];
    snprintf(line, sizeof line, "%s  w\n", sum);
    assert_non_null(strstr(text_of("models/epoch_1/" CKPT_SUMS_NAME), line));
    ckpt_manifest_deinit(&manifest);
    assert_true(loads_as(at("models/epoch_1"), scope));
    scope_free(scope);
}

static void test_equal_values_give_equal_bytes(void **state)
{
    (void)state;
    struct scope *scope = model_scope(1);
    assert_int_equal(save_model(scope, at("a"), 10, false, NULL, NULL), 0);
    assert_int_equal(save_model(scope, at("b"), 10, false, NULL, NULL), 0);
    char *first = mem_must_strdup(text_of("a/" CKPT_MANIFEST_NAME));
    assert_true(strlen(first) > 100);
    assert_string_equal(first, text_of("b/" CKPT_MANIFEST_NAME));
    mem_free(first);
    scope_free(scope);
}

static void test_any_failing_call_leaves_a_checkpoint_that_loads(void **state)
{
    (void)state;
    struct scope *old = model_scope(1), *new = model_scope(5000);
    for (int into = 0; into < 2; into++) {
        const char *dir = into ? "into" : "whole";
        bool failed = true;
        for (long n = 1; failed; n++) {
            struct err err = {0};
            fail_at = 0;
            assert_int_equal(save_model(old, at(dir), 10, into, NULL, &err), 0);
            fail_at = n;
            calls = 0;
            int rc = save_model(new, at(dir), 20, into, &failing_io, &err);
            failed = calls >= n;
            assert_int_equal(rc < 0, failed);
            if (rc)
                assert_non_null(strstr(err.text, strerror(ENOSPC)));
            assert_true(loads_as(at(dir), old) || loads_as(at(dir), new));
        }
        assert_true(loads_as(at(dir), new));
    }
    scope_free(old);
    scope_free(new);
}

static int failing_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    (void)row;
    (void)rows;
    (void)out;
    return i == *(size_t *)self ? err_set(err, SL_ETIMEOUT, "server is gone") : 0;
}

static void test_a_source_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct scope *old = model_scope(1);
    struct err err = {0};
    size_t last = MODEL_VARS - 1;
    assert_int_equal(save_model(old, at("m"), 10, false, NULL, &err), 0);
    struct ckpt_source *good = model_source(old);
    struct ckpt_source bad = {good->vars, good->count, failing_rows, &last};
    struct ckpt_save_options options = {.allow_non_finite = true};
    assert_int_equal(ckpt_save(&bad, at("m"), &options, NULL, &err), SL_ETIMEOUT);
    assert_non_null(strstr(err.text, "server is gone"));
    assert_true(loads_as(at("m"), old));
    ckpt_source_free(good);
    scope_free(old);
}

static void test_values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    struct scope *scope = model_scope(1);
    struct err err = {0};
    assert_int_equal(save_model(scope, at("m"), 10, false, NULL, &err), 0);
    struct scope *bad = model_scope(1);
    tensor_f32(value_of(bad, "w_moment1_0"))[20] = NAN;
    assert_int_equal(save_model(bad, at("m"), 20, false, NULL, &err), SL_EREFUSED);
    assert_non_null(strstr(err.text, "w_moment1_0"));
    assert_int_equal(save_model(bad, at("m"), 20, true, NULL, &err), SL_EREFUSED);
    tensor_f32(value_of(bad, "w_moment1_0"))[20] = 1;
    tensor_f64(value_of(bad, "dir/w2"))[9] = -INFINITY;
    assert_int_equal(save_model(bad, at("m"), 20, false, NULL, &err), SL_EREFUSED);
    assert_true(loads_as(at("m"), scope));
    scope_free(scope);
    scope_free(bad);
}

static void test_into_keeps_files_and_their_entries(void **state)
{
    (void)state;
    struct scope *scope = model_scope(1);
    struct err err = {0};
    struct ckpt_manifest manifest;
    assert_int_equal(save_model(scope, at("m"), 10, false, NULL, &err), 0);
    put_file("m/notes.txt", "mine");
    // Another program's single variable goes into the same folder.
    struct str_list names = {0};
    struct ckpt_source *source;
    str_list_add(&names, "b");
    tensor_f32(value_of(scope, "b"))[0] = -1;
    assert_int_equal(ckpt_source_scope(scope, &names, &source, &err), 0);
    struct ckpt_save_options options = {.into = true};
    assert_int_equal(ckpt_save(source, at("m"), &options, NULL, &err), 0);
    ckpt_source_free(source);
    str_list_deinit(&names);
    ckpt_manifest_init(&manifest);
    assert_int_equal(ckpt_manifest_read(at("m"), &manifest, &err), 0);
    assert_int_equal(manifest.files_count, MODEL_VARS + 1);
    assert_false(manifest.has_progress);
    assert_int_equal(ckpt_manifest_find(&manifest, "w")->step, 10);
    assert_int_equal(ckpt_manifest_find(&manifest, "b")->step, -1);
    ckpt_manifest_deinit(&manifest);
    assert_string_equal(text_of("m/notes.txt"), "mine");
    assert_true(loads_as(at("m"), scope));
    scope_free(scope);
}

static void test_names_do_not_leave_the_folder(void **state)
{
    (void)state;
    static const char *const bad[] = {"../evil", "/tmp/evil", "a/../../evil", CKPT_MANIFEST_NAME,
                                      ""};
    struct scope *scope = model_scope(1);
    struct ckpt_source *source = model_source(scope);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        struct ckpt_var var = source->vars[0];
        var.name = bad[i];
        struct ckpt_source evil = {&var, 1, source->read_rows, source->self};
        assert_true(ckpt_save(&evil, at("m"), NULL, NULL, &err) < 0);
        assert_false(fsutil_is_dir(at("m")));
    }
    ckpt_source_free(source);
    scope_free(scope);
}

static void save_step(const struct scope *scope, int64_t step, int keep, struct ckpt_saved *saved)
{
    struct err err = {0};
    struct ckpt_source *source = model_source(scope);
    struct ckpt_progress progress;
    char name[32];
    model_progress(step, &progress);
    snprintf(name, sizeof name, "step_%d", (int)step);
    struct ckpt_save_options options = {.progress = &progress};
    if (ckpt_save_series(source, at("models"), name, keep, &options, saved, &err))
        fail_msg("%s", err.text);
    ckpt_progress_deinit(&progress);
    ckpt_source_free(source);
}

static void test_series_keeps_the_newest_of_ours(void **state)
{
    (void)state;
    struct scope *scope = model_scope(1);
    struct ckpt_saved saved;
    struct str_list folders = {0};
    mkdir(at("models"), 0777);
    mkdir(at("models/step_1"), 0777);
    put_file("models/step_1/w", "not ours");
    for (int64_t step = 8; step <= 12; step++) {
        save_step(scope, step, 3, &saved);
        assert_null(saved.note);
        assert_int_equal(saved.variables, MODEL_VARS);
        assert_int_equal(strlen(saved.digest), 64);
        ckpt_save_deinit(&saved);
    }
    assert_string_equal(text_of("models/LATEST"), "step_12\n");
    assert_int_equal(store_list_folders(at("models"), &folders, NULL), 0);
    assert_int_equal(folders.count, 4);
    assert_string_equal(folders.items[0], "step_1");
    assert_string_equal(folders.items[1], "step_10");
    str_list_deinit(&folders);
    // A folder with somebody's notes is not removed, and that is said.
    put_file("models/step_10/notes.txt", "best so far");
    save_step(scope, 13, 3, &saved);
    assert_non_null(strstr(saved.note, "notes.txt"));
    ckpt_save_deinit(&saved);
    assert_string_equal(text_of("models/step_10/notes.txt"), "best so far");
    // Not ours: never replaced.
    struct err err = {0};
    struct ckpt_source *source = model_source(scope);
    assert_int_equal(ckpt_save_series(source, at("models"), "step_1", 3, NULL, &saved, &err),
                     SL_EEXIST);
    assert_string_equal(text_of("models/step_1/w"), "not ours");
    assert_string_equal(text_of("models/LATEST"), "step_13\n");
    ckpt_source_free(source);
    scope_free(scope);
}

static void test_a_place_that_cannot_be_written_is_known_at_the_start(void **state)
{
    (void)state;
    struct err err = {0};
    struct str_list names = {0};
    assert_int_equal(ckpt_save_check(at("a/b"), &err), 0);
    assert_int_equal(fsutil_list(at("a/b"), &names, &err), 0);
    assert_int_equal(names.count, 0);
    put_file("file", "");
    assert_true(ckpt_save_check(at("file"), &err) < 0);
    assert_non_null(strstr(err.text, at("file")));
    assert_true(ckpt_save_check("/proc/self/nothing", &err) < 0);
}

static void test_large_rows_stream_in_order(void **state)
{
    (void)state;
    // 3 MiB: several chunks; and a row that is larger than a chunk.
    static const int64_t shapes[][2] = {{3 * 256, 1024}, {2, 400000}};
    for (size_t s = 0; s < 2; s++) {
        struct scope *scope = scope_new(), *loaded = scope_new();
        struct program *one = program_new();
        struct ckpt_source *source;
        struct ckpt_report report;
        struct err err = {0};
        struct str_list names = {0};
        struct dims dims = dims_make(2, shapes[s]);
        struct tensor *t = variable_tensor(scope_var(scope, "big"));
        assert_int_equal(tensor_resize(t, DTYPE_FP32, &dims), 0);
        fill(t, 0);
        add_var(one, "big", DTYPE_FP32, &dims, true);
        str_list_add(&names, "big");
        assert_int_equal(ckpt_source_scope(scope, &names, &source, &err), 0);
        assert_int_equal(ckpt_save(source, at("big"), NULL, NULL, &err), 0);
        ckpt_report_init(&report);
        assert_int_equal(ckpt_load(at("big"), one, loaded, NULL, &report, &err), 0);
        assert_memory_equal(value_of(loaded, "big")->data, t->data, tensor_bytes(t));
        ckpt_report_deinit(&report);
        ckpt_source_free(source);
        str_list_deinit(&names);
        program_free(one);
        scope_free(scope);
        scope_free(loaded);
    }
}

static void test_variables_without_a_value_are_named(void **state)
{
    (void)state;
    struct scope *scope = scope_new();
    struct str_list names = {0};
    struct ckpt_source *source;
    struct err err = {0};
    scope_var(scope, "empty");
    str_list_add(&names, "empty");
    str_list_add(&names, "absent");
    assert_int_equal(ckpt_source_scope(scope, &names, &source, &err), SL_ENOENT);
    assert_non_null(strstr(err.text, "empty, absent"));
    str_list_deinit(&names);
    scope_free(scope);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_files_are_fluids),
        TEST(test_equal_values_give_equal_bytes),
        TEST(test_any_failing_call_leaves_a_checkpoint_that_loads),
        TEST(test_a_source_that_fails_changes_nothing),
        TEST(test_values_that_are_not_finite_are_refused),
        TEST(test_into_keeps_files_and_their_entries),
        TEST(test_names_do_not_leave_the_folder),
        TEST(test_series_keeps_the_newest_of_ours),
        TEST(test_a_place_that_cannot_be_written_is_known_at_the_start),
        TEST(test_large_rows_stream_in_order),
        TEST(test_variables_without_a_value_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
