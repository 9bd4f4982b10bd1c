// SPDX-License-Identifier: Apache-2.0
// Which checkpoint is meant, and is it whole.
#include "tests/unit/ckpt/ckpt_fixture.h"

static struct scope *scope;
static struct err err;

static int setup(void **state)
{
    scope = model_scope(1);
    err = (struct err){0};
    return fixture_setup(state);
}

static int teardown(void **state)
{
    scope_free(scope);
    return fixture_teardown(state);
}

static void save(const char *dir, int64_t step)
{
    if (save_model(scope, at(dir), step, false, NULL, &err))
        fail_msg("%s", err.text);
}

static void expect_found(const char *dir, const char *expected)
{
    char *path = NULL;
    if (ckpt_find_newest(at(dir), &path, NULL, &err))
        fail_msg("%s", err.text);
    assert_string_equal(path, at(expected));
    mem_free(path);
}

static void test_the_newest_is_found_by_step(void **state)
{
    (void)state;
    save("models/epoch_9", 90);
    save("models/epoch_10", 100);
    save("models/step_95", 95);
    put_file("models/LATEST", "epoch_9\n");
    expect_found("models", "models/epoch_10");
    expect_found("models/step_95", "models/step_95");
    save("models/another", 101);
    expect_found("models", "models/another");
}

static void test_incomplete_ones_are_passed_over_aloud(void **state)
{
    (void)state;
    char *path;
    struct str_list skipped = {0};
    save("models/epoch_1", 10);
    save("models/epoch_2", 20);
    save("models/epoch_3", 30);
    assert_int_equal(truncate(at("models/epoch_3/w"), 5), 0);
    put_file("models/epoch_2/" CKPT_MANIFEST_NAME, "{}");
    assert_int_equal(ckpt_find_newest(at("models"), &path, &skipped, &err), 0);
    assert_string_equal(path, at("models/epoch_1"));
    assert_int_equal(skipped.count, 2);
    assert_non_null(strstr(skipped.items[1], "epoch_3"));
    mem_free(path);
    str_list_deinit(&skipped);
    unlink(at("models/epoch_1/b"));
    assert_int_equal(ckpt_find_newest(at("models"), &path, NULL, &err), SL_ECORRUPT);
    assert_int_equal(ckpt_find_newest(at("models/epoch_3"), &path, NULL, &err), SL_ECORRUPT);
    assert_non_null(strstr(err.text, "w has 5 bytes"));
}

static void test_plain_folders_and_nothing(void **state)
{
    (void)state;
    char *path;
    assert_int_equal(ckpt_find_newest(at("none"), &path, NULL, &err), SL_ENOENT);
    mkdir(at("empty"), 0777);
    assert_int_equal(ckpt_find_newest(at("empty"), &path, NULL, &err), SL_ENOENT);
    save("plain", 1);
    unlink(at("plain/" CKPT_MANIFEST_NAME));
    expect_found("plain", "plain");
    mkdir(at("parent"), 0777);
    assert_int_equal(rename(at("plain"), at("parent/plain")), 0);
    assert_int_equal(ckpt_find_newest(at("parent"), &path, NULL, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "without a manifest"));
    put_file("empty/LATEST", "epoch_1\n");
    put_file("empty/nothing", "");
    assert_int_equal(ckpt_find_newest(at("empty"), &path, NULL, &err), SL_ENOENT);
}

static void test_verify_names_what_differs(void **state)
{
    (void)state;
    struct ckpt_report report;
    struct program *program = model_program();
    ckpt_report_init(&report);
    save("m", 10);
    put_file("m/notes.txt", "");
    assert_int_equal(ckpt_find_verify(at("m"), NULL, &report, &err), 0);
    assert_int_equal(ckpt_report_count(&report, CKPT_LOADED), MODEL_VARS);
    assert_int_equal(ckpt_report_count(&report, CKPT_EXTRA), 1);
    assert_int_equal(ckpt_find_verify(at("m"), program, &report, &err), 0);
    assert_int_equal(ckpt_report_count(&report, CKPT_LOADED), MODEL_VARS);

    struct dims other = {.rank = 1, .d = {3}};
    add_var(program, "more", DTYPE_FP32, &other, true);
    block_var(program_block(program, 0), "w")->dims = other;
    assert_true(ckpt_find_verify(at("m"), program, &report, &err) < 0);
    assert_int_equal(ckpt_report_count(&report, CKPT_MISSING), 1);
    assert_int_equal(ckpt_report_count(&report, CKPT_DIFFERS), 1);
    assert_non_null(strstr(err.text, "and 1 more"));

    FILE *file = fopen(at("m/dir/w2"), "r+");
    fseek(file, 50, SEEK_SET);
    fputc('!', file);
    fclose(file);
    assert_int_equal(ckpt_find_verify(at("m"), NULL, &report, &err), SL_ECORRUPT);
    assert_non_null(strstr(err.text, "dir/w2: sha256 differs"));
    unlink(at("m/dir/w2"));
    assert_int_equal(ckpt_find_verify(at("m"), NULL, &report, &err), SL_ECORRUPT);
    assert_non_null(strstr(err.text, "dir/w2: missing"));
    assert_int_equal(ckpt_find_verify(at("none"), NULL, &report, &err), SL_ENOENT);
    ckpt_report_deinit(&report);
    program_free(program);
}

static void test_verify_of_a_plain_folder_needs_a_program(void **state)
{
    (void)state;
    struct ckpt_report report;
    struct program *program = model_program();
    ckpt_report_init(&report);
    save("m", 10);
    unlink(at("m/" CKPT_MANIFEST_NAME));
    assert_int_equal(ckpt_find_verify(at("m"), NULL, &report, &err), SL_EUSAGE);
    assert_int_equal(ckpt_find_verify(at("m"), program, &report, &err), 0);
    unlink(at("m/learning_rate_0"));
    assert_int_equal(ckpt_find_verify(at("m"), program, &report, &err), 0);
    assert_int_equal(truncate(at("m/b"), 20), 0);
    assert_true(ckpt_find_verify(at("m"), program, &report, &err) < 0);
    ckpt_report_deinit(&report);
    program_free(program);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_newest_is_found_by_step),
        TEST(test_incomplete_ones_are_passed_over_aloud),
        TEST(test_plain_folders_and_nothing),
        TEST(test_verify_names_what_differs),
        TEST(test_verify_of_a_plain_folder_needs_a_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
