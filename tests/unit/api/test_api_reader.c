// SPDX-License-Identifier: Apache-2.0
// Readers into feeds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/api/api_net.h"

static void write_housing(char *path)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    for (int row = 0; row < 506; row++) {
        for (int column = 0; column < 14; column++)
            fprintf(file, " %d.5", (row * (column + 3)) % 97);
        fprintf(file, "\n");
    }
    fclose(file);
}

static void test_api_reader_housing_fills_feeds(void **state)
{
    (void)state;
    struct sl_error err = {0};
    struct sl_reader_options options = sl_reader_defaults();
    char path[] = "/tmp/sluice_api_XXXXXX";
    write_housing(path);
    options.batch_size = 100;
    sl_reader *reader = sl_reader_housing(path, "features", "price", &options, &err);
    if (reader == NULL)
        fail_msg("%s", err.text);
    sl_program *main = sl_program_new(), *startup = sl_program_new();
    sl_net *net = sl_net_new(main, startup);
    sl_var *x = sl_data(net, "features", SL_FP32, SL_SHAPE(13));
    sl_var *y = sl_data(net, "price", SL_FP32, SL_SHAPE(1));
    sl_var *loss = sl_mean(net, sl_square_error_cost(net, sl_fc(net, x, 1, NULL), y));
    assert_int_equal(sl_net_error(net, &err), 0);
    sl_net_free(net);
    sl_executor *exe = sl_executor_new(SL_CPU);
    sl_feed *feed = sl_feed_new();
    sl_fetch *fetch = sl_fetch_new();
    sl_fetch_add(fetch, sl_var_name(loss));
    assert_int_equal(sl_run(exe, startup, NULL, NULL, &err), 0);
    int batches = 0, rc;
    while ((rc = sl_reader_next(reader, feed, &err)) > 0) {
        if (sl_run(exe, main, feed, fetch, &err) < 0)
            fail_msg("%s", err.text);
        batches++;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(batches, 4);
    assert_int_equal(sl_reader_next(reader, feed, &err), 1);
    sl_fetch_free(fetch);
    sl_feed_free(feed);
    sl_executor_free(exe);
    sl_program_free(main);
    sl_program_free(startup);
    sl_reader_free(reader);
    unlink(path);
}

static void test_api_reader_names_what_it_cannot_open(void **state)
{
    (void)state;
    struct sl_error err = {0};
    assert_null(sl_reader_feed_dir("/nonexistent/feed", NULL, &err));
    api_net_says(&err, "/nonexistent/feed");
    assert_null(sl_reader_idx("/nonexistent/idx", "img", "label", NULL, &err));
    api_net_says(&err, "/nonexistent/idx");
    assert_null(sl_reader_housing("/nonexistent/h", "x", "y", NULL, &err));
    sl_reader_free(NULL);
}

static void put_lines(char *path, const char *text)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_api_reader_reads_slots_of_the_network(void **state)
{
    (void)state;
    char path[] = "/tmp/sluice-api-XXXXXX";
    put_lines(path, "4 1 2 3 4 1 9\n4 1 2\n4 5 6 7 8 1 10\n");
    struct sl_error err = {0};
    sl_program *main = sl_program_new(), *startup = sl_program_new();
    sl_net *net = sl_net_new(main, startup);
    sl_var *feeds[] = {sl_data(net, "x", SL_FP32, SL_SHAPE(4)),
                       sl_data(net, "y", SL_FP32, SL_SHAPE(1))};
    const struct sl_text_options text = {.format = "multislot", .skip_bad_lines = true};
    struct sl_reader_options options = sl_reader_defaults();
    options.batch_size = 2;
    options.shuffle = false;
    options.text = &text;
    sl_reader *reader = sl_reader_open(path, feeds, 2, &options, &err);
    if (reader == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(sl_reader_bad_lines(reader), 1);
    sl_feed *feed = sl_feed_new();
    sl_fetch *fetch = sl_fetch_new();
    sl_executor *exe = sl_executor_new(SL_CPU);
    sl_mean(net, feeds[1]);
    const char *mean = sl_var_name(sl_mean(net, feeds[0]));
    assert_int_equal(sl_reader_next(reader, feed, &err), 1);
    sl_fetch_add(fetch, mean);
    assert_int_equal(sl_run(exe, main, feed, fetch, &err), 0);
    assert_true(sl_fetch_number(fetch, 0) == 4.5);
    assert_int_equal(sl_reader_next(reader, feed, &err), 0);
    sl_fetch_free(fetch);
    sl_feed_free(feed);
    sl_executor_free(exe);
    sl_reader_free(reader);
    const struct sl_text_options none = {.format = "tokens", .ngram = 3};
    options.text = &none;
    assert_null(sl_reader_open(path, feeds, 2, &options, &err));
    api_net_says(&err, "the program feeds x, which tokens does not give");
    sl_net_free(net);
    sl_program_free(main);
    sl_program_free(startup);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_reader_housing_fills_feeds),
        cmocka_unit_test(test_api_reader_names_what_it_cannot_open),
        cmocka_unit_test(test_api_reader_reads_slots_of_the_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
