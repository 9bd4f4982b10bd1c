// SPDX-License-Identifier: Apache-2.0
// UCI housing text.
#include "tests/unit/reader/reader_fixture.h"

static int open_text(const char *text, size_t bytes, struct reader **out, struct err *err)
{
    struct reader_options options = {.batch_size = 1, .ordered = true};
    put_bytes("housing.data", text, bytes);
    return reader_open(at("housing.data"), &options, out, err);
}

static void test_features_are_scaled_over_all_rows(void **state)
{
    (void)state;
    static char text[16 * 140];
    struct err err = {0};
    struct reader *reader;
    size_t bytes = housing_text(10, text);
    assert_int_equal(open_text(text, bytes, &reader, &err), 0);
    assert_int_equal(reader_samples(reader), 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(reader_next(reader, &err), 1);
        for (int c = 0; c < 13; c++) {
            double sum = 0, least = 1e9, most = -1e9;
            for (int r = 0; r < 10; r++) {
                double x = (r * 7 + c * 3) % 11 + c / 100.0;
                sum += x;
                least = x < least ? x : least;
                most = x > most ? x : most;
            }
            double x = ((i * 7 + c * 3) % 11 + c / 100.0 - sum / 10) / (most - least);
            assert_true(fabs(tensor_f32(feed(reader, "x"))[c] - x) < 1e-6);
        }
        assert_true(tensor_f32(feed(reader, "y"))[0] == (float)i);
    }
    reader_free(reader);
}

static void test_a_cut_row_is_an_error_with_its_line(void **state)
{
    (void)state;
    static char text[16 * 140];
    struct reader *reader;
    size_t bytes = housing_text(4, text);
    const char *last_blank = strrchr(text, ' ');
    for (size_t n = 1; n < bytes; n++) {
        struct err err = {0};
        int rc = open_text(text, n, &reader, &err);
        // A cut behind a row, or within the last number of one, leaves a shorter data set or
        // number.
        size_t row = n;
        while (row > 0 && text[row - 1] != '\n')
            row--;
        size_t numbers = 0;
        for (size_t i = row; i < n; i++)
            numbers += text[i] != ' ' && (i == row || text[i - 1] == ' ');
        if (rc == 0) {
            assert_true(numbers == 14 || numbers == 0);
            reader_free(reader);
        } else if (numbers != 0 && numbers != 14) {
            assert_non_null(strstr(err.text, "housing.data: line "));
        }
        assert_true(rc != 0 || n > 0);
    }
    assert_non_null(last_blank);
}

static void test_wrong_text_is_an_error(void **state)
{
    (void)state;
    static const char good[] = "1 2 3 4 5 6 7 8 9 10 11 12 13 14\n";
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"1 2 3 4 5 6 7 8 9 10 11 12 13\n", "line 2: has 13 numbers"},
        {"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n", "line 2: has 15 numbers"},
        {"1 2 3 x 5 6 7 8 9 10 11 12 13 14\n", "line 2: column 4: `x`"},
        {"1 2 3 nan 5 6 7 8 9 10 11 12 13 14\n", "column 4"},
        {"1 2 3 1e999 5 6 7 8 9 10 11 12 13 14\n", "column 4"},
        {"1,2,3,4,5,6,7,8,9,10,11,12,13,14\n", "column 1"},
        {"", "has 1 rows"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        struct err err = {0};
        struct reader *reader;
        snprintf(text, sizeof text, "%s%s", good, rows[i].line);
        assert_true(open_text(text, strlen(text), &reader, &err) < 0);
        assert_non_null(strstr(err.text, rows[i].says));
    }
    struct err err = {0};
    struct reader *reader;
    assert_true(open_text("1 2\0 3", 6, &reader, &err) < 0);
    assert_true(open_text("", 0, &reader, &err) < 0);
}

static void test_recorded_feeds_are_what_the_text_gives(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *recorded, *reader;
    struct reader_options steps = {0}, options = {.batch_size = 20, .ordered = true};
    const char *shared = getenv("SLUICE_SHARED");
    char path[1024];
    snprintf(path, sizeof path, "%s/data/uci_housing/housing.data",
             shared ? shared : SOURCE_ROOT "/../shared");
    if (!fsutil_is_file(path)) {
        print_message("skipped: no %s\n", path);
        skip();
    }
    assert_int_equal(reader_open(golden("fit_a_line/feed"), &steps, &recorded, &err), 0);
    assert_int_equal(reader_open(path, &options, &reader, &err), 0);
    assert_int_equal(reader_samples(reader), 404);
    assert_int_equal(reader_next(recorded, &err), 1);
    assert_int_equal(reader_next(reader, &err), 1);
    const struct tensor *a = feed(recorded, "x"), *b = feed(reader, "x");
    assert_true(dims_equal(&a->dims, &b->dims));
    for (uint64_t i = 0; i < tensor_count(a); i++)
        assert_true(fabsf(tensor_f32(a)[i] - tensor_f32(b)[i]) <= 1e-6f);
    assert_memory_equal(feed(recorded, "y")->data, feed(reader, "y")->data, 20 * 4);
    reader_free(recorded);
    reader_free(reader);
    options.test = true;
    assert_int_equal(reader_open(path, &options, &reader, &err), 0);
    assert_int_equal(reader_samples(reader), 102);
    reader_free(reader);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_features_are_scaled_over_all_rows),
        TEST(test_a_cut_row_is_an_error_with_its_line),
        TEST(test_wrong_text_is_an_error),
        TEST(test_recorded_feeds_are_what_the_text_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
