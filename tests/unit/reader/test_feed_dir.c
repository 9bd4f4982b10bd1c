// SPDX-License-Identifier: Apache-2.0
// Step folders, both ways.
#include "tests/unit/reader/reader_fixture.h"

// A [rows,2] float tensor with values base, base + 1, ...
static void write_step(const char *dir, int64_t step, const char *name, int64_t rows, float base)
{
    struct variable var;
    struct err err = {0};
    struct dims dims = {.rank = 2, .d = {rows, 2}};
    variable_init(&var);
    struct tensor *t = variable_tensor(&var);
    assert_int_equal(tensor_resize(t, DTYPE_FP32, &dims), 0);
    for (int64_t i = 0; i < rows * 2; i++)
        tensor_f32(t)[i] = base + (float)i;
    if (feed_dir_write(dir, step, name, &var, &err))
        fail_msg("%s", err.text);
    variable_deinit(&var);
}

static struct reader *open_dir(const char *dir, int64_t first_step)
{
    struct reader *reader = NULL;
    struct err err = {0};
    struct reader_options options = {.first_step = first_step};
    if (reader_open(dir, &options, &reader, &err))
        fail_msg("%s", err.text);
    return reader;
}

static void test_steps_come_in_order_of_their_numbers(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader_position position;
    char where[600];
    snprintf(where, sizeof where, "%s/%s", root_path, "d");
    for (int i = 998; i < 1002; i++)
        write_step(where, i, "x", i - 990, (float)i);
    put_file("d/notes.txt", "not a step");
    struct reader *reader = open_dir(where, 0);
    assert_int_equal(reader_samples(reader), 4);
    assert_int_equal(reader_steps(reader), 4);
    for (int epoch = 0; epoch < 2; epoch++) {
        for (int i = 998; i < 1002; i++) {
            assert_int_equal(reader_next(reader, &err), 1);
            assert_int_equal(reader_batch_samples(reader), i - 990);
            assert_true(tensor_f32(feed(reader, "x"))[0] == (float)i);
        }
        assert_int_equal(reader_next(reader, &err), 0);
    }
    position = (struct reader_position){0, 1000};
    assert_int_equal(reader_seek(reader, &position, &err), 0);
    assert_int_equal(reader_next(reader, &err), 1);
    assert_true(tensor_f32(feed(reader, "x"))[0] == 1000.0f);
    reader_free(reader);
    reader = open_dir(where, 1000);
    assert_int_equal(reader_steps(reader), 2);
    reader_tell(reader, &position);
    assert_int_equal(position.sample, 1000);
    reader_free(reader);
}

static void test_broken_folders_are_one_error(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader;
    struct reader_options options = {.first_step = 7};
    write_step(at("d"), 0, "x", 2, 0);
    assert_int_equal(reader_open(at("d"), &options, &reader, &err), SL_ENOENT);
    assert_non_null(strstr(err.text, "step 7"));
    write_step(at("d"), 2, "x", 2, 0);
    options.first_step = 0;
    assert_int_equal(reader_open(at("d"), &options, &reader, &err), SL_EFORMAT);
    write_step(at("d"), 1, "y", 2, 0);
    assert_int_equal(reader_open(at("d"), &options, &reader, &err), 0);
    assert_int_equal(reader_next(reader, &err), 1);
    assert_int_equal(reader_next(reader, &err), SL_EFORMAT);
    assert_non_null(strstr(err.text, "step 1"));
    reader_free(reader);
    put_file("d/step_000/x", "cut");
    assert_true(reader_open(at("d"), &options, &reader, &err) < 0);
    assert_non_null(strstr(err.text, "step_000/x"));
    unlink(at("d/step_000/x"));
    assert_int_equal(reader_open(at("d"), &options, &reader, &err), SL_EFORMAT);
}

static void test_every_truncation_of_a_feed_is_an_error(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader;
    struct reader_options options = {0};
    struct stat st;
    write_step(at("d"), 0, "x", 2, 0);
    write_step(at("d"), 1, "x", 2, 0);
    assert_int_equal(stat(at("d/step_001/x"), &st), 0);
    for (off_t n = st.st_size - 1; n >= 0; n--) {
        assert_int_equal(truncate(at("d/step_001/x"), n), 0);
        assert_int_equal(reader_open(at("d"), &options, &reader, &err), 0);
        assert_int_equal(reader_next(reader, &err), 1);
        assert_true(reader_next(reader, &err) < 0);
        assert_non_null(strstr(err.text, "step_001/x"));
        reader_free(reader);
    }
}

static void test_names_of_fetches_are_checked(void **state)
{
    (void)state;
    struct variable var;
    struct err err = {0};
    variable_init(&var);
    variable_tensor(&var);
    assert_true(feed_dir_write(at("d"), 0, "../x", &var, &err) < 0);
    assert_false(fsutil_is_dir(at("d")));
    variable_deinit(&var);
}

static void test_recorded_feeds_are_read(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader = open_dir(golden("feeds/digits"), 0);
    assert_int_equal(reader_next(reader, &err), 1);
    assert_int_equal(feed(reader, "img")->dims.d[0], 32);
    assert_int_equal(feed(reader, "img")->dims.d[1], 784);
    assert_int_equal(feed(reader, "label")->dtype, DTYPE_INT64);
    reader_free(reader);
}

// The program says which files hold SelectedRows.
static void test_selected_rows_go_both_ways(void **state)
{
    (void)state;
    struct variable var;
    struct err err = {0};
    char where[600];
    snprintf(where, sizeof where, "%s/%s", root_path, "d");
    for (int64_t step = 0; step < 2; step++) {
        variable_init(&var);
        struct selected_rows *rows = variable_rows(&var);
        struct dims dims = {.rank = 2, .d = {2 + step, 2}};
        rows->height = 100;
        assert_int_equal(selected_rows_resize(rows, (size_t)(2 + step)), 0);
        assert_int_equal(tensor_resize(&rows->value, DTYPE_FP32, &dims), 0);
        for (int64_t i = 0; i < 2 + step; i++) {
            rows->rows[i] = 99 - i;
            tensor_f32(&rows->value)[2 * i] = tensor_f32(&rows->value)[2 * i + 1] = (float)i;
        }
        assert_int_equal(feed_dir_write(where, step, "g", &var, &err), 0);
        variable_deinit(&var);
        write_step(where, step, "x", 7, 0);
    }
    struct str_list names = {0};
    str_list_add(&names, "g");
    struct reader_options options = {.rows_vars = &names, .prefetch = 1};
    struct reader *reader;
    assert_int_equal(reader_open(where, &options, &reader, &err), 0);
    for (int64_t step = 0; step < 2; step++) {
        assert_int_equal(reader_next(reader, &err), 1);
        assert_string_equal(reader_feed_name(reader, 0), "g");
        const struct variable *value = reader_feed_value(reader, 0);
        assert_int_equal(value->kind, VARIABLE_SELECTED_ROWS);
        assert_int_equal(value->rows.rows_count, 2 + step);
        assert_int_equal(value->rows.height, 100);
        assert_int_equal(value->rows.rows[1], 98);
        assert_true(tensor_f32(&value->rows.value)[2] == 1.0f);
        assert_int_equal(reader_batch_samples(reader), 7);
    }
    reader_free(reader);
    str_list_deinit(&names);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_selected_rows_go_both_ways),
        TEST(test_steps_come_in_order_of_their_numbers),
        TEST(test_broken_folders_are_one_error),
        TEST(test_every_truncation_of_a_feed_is_an_error),
        TEST(test_names_of_fetches_are_checked),
        TEST(test_recorded_feeds_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
