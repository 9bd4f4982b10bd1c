// SPDX-License-Identifier: Apache-2.0
// Batches prepared ahead are those that one by one would come, positions included; and lists of
// text files, globs and folders, whose samples are numbered through.
#include "tests/unit/reader/reader_fixture.h"

#define LINES 100

// LINES lines "label id" in files of 30 lines, ids 0 .. 99.
static int setup(void **state)
{
    int rc = fixture_setup(state);
    char name[32], text[2000];
    assert_int_equal(mkdir(at("set"), 0700), 0);
    for (int part = 0; part * 30 < LINES; part++) {
        size_t n = 0;
        for (int i = part * 30; i < part * 30 + 30 && i < LINES; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%d %d\n", i % 2, i);
        snprintf(name, sizeof name, "set/part-%d", part);
        put_bytes(name, text, n);
    }
    put_file("set/_SUCCESS", "");
    put_file("set/.part-9.crc", "no");
    return rc;
}

static struct reader_options options_of(int prefetch)
{
    return (struct reader_options){
        .batch_size = 7, .seed = 11, .keep_last = true, .format = "tokens", .prefetch = prefetch};
}

// Everything of two epochs: ids, samples and positions, as text.
static void record(struct reader *reader, struct buf *out)
{
    for (int ends = 0; ends < 2;) {
        struct reader_position at;
        struct err err = {0};
        int rc = reader_next(reader, &err);
        assert_true(rc >= 0);
        reader_tell(reader, &at);
        buf_printf(out, "| %d %d %d:", rc, (int)at.epoch, (int)at.sample);
        ends += rc == 0;
        for (int64_t i = 0; rc && i < reader_batch_samples(reader); i++)
            buf_printf(out, " %d", (int)tensor_i64(feed(reader, "words"))[i]);
    }
}

static void test_prefetch_changes_nothing(void **state)
{
    (void)state;
    struct buf plain, ahead;
    buf_init(&plain, 0);
    static const int depths[] = {0, 1, 2, 5, 64};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        struct reader_options options = options_of(depths[i]);
        struct reader *reader = open_data(at("set"), &options);
        buf_init(&ahead, 0);
        record(reader, i ? &ahead : &plain);
        if (i)
            assert_string_equal(buf_text(&ahead), buf_text(&plain));
        buf_deinit(&ahead);
        // Some of an epoch, back to a place, and the rest is the same.
        struct reader_position at = {.epoch = 1, .sample = 49};
        assert_int_equal(reader_seek(reader, &at, NULL), 0);
        next_batch(reader);
        int64_t wanted = tensor_i64(feed(reader, "words"))[0];
        next_batch(reader);
        reader_rewind(reader);
        next_batch(reader);
        assert_int_equal(reader_seek(reader, &at, NULL), 0);
        struct reader_position told;
        reader_tell(reader, &told);
        assert_int_equal(told.sample, 49);
        next_batch(reader);
        assert_int_equal(tensor_i64(feed(reader, "words"))[0], wanted);
        reader_tell(reader, &told);
        assert_int_equal(told.sample, 56);
        reader_free(reader);
    }
    buf_deinit(&plain);
    struct reader_options options = options_of(65);
    refuses(at("set"), &options, "--prefetch 65");
}

// An error comes with its batch, not before, and can be come back to.
static void test_an_error_waits_for_its_turn(void **state)
{
    (void)state;
    struct reader_options options = options_of(4);
    options.ordered = true;
    struct reader *reader = open_data(at("set"), &options);
    assert_int_equal(truncate(at("set/part-1"), 3), 0);
    struct err err = {0};
    struct reader_position at;
    int good = 0, rc;
    while ((rc = reader_next(reader, &err)) > 0)
        good++;
    assert_true(rc < 0);
    assert_non_null(strstr(err.text, "part-1"));
    assert_int_equal(good, 4);
    reader_tell(reader, &at);
    assert_int_equal(at.sample, 28);
    assert_true(reader_next(reader, &err) < 0);
    at.sample = 63;
    assert_int_equal(reader_seek(reader, &at, &err), 0);
    assert_int_equal(reader_next(reader, &err), 1);
    reader_free(reader);
}

static void test_globs_and_folders_are_lists_of_files(void **state)
{
    (void)state;
    struct reader_options options = options_of(0);
    char uri[700];
    struct buf all, one;
    buf_init(&all, 0);
    struct reader *reader = open_data(at("set"), &options);
    assert_int_equal(reader_items(reader), 4);
    assert_string_equal(reader_item_uri(reader, 3), at("set/part-3"));
    assert_int_equal(reader_item_samples(reader, 0), 30);
    assert_int_equal(reader_item_samples(reader, 3), 10);
    record(reader, &all);
    reader_free(reader);
    const char *const patterns[] = {"tokens://%s/set/part-*", "%s/set/part-[0-3]", "%s/set/part-?"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(uri, sizeof uri, patterns[i], root_path);
        reader = open_data(uri, &options);
        buf_init(&one, 0);
        record(reader, &one);
        assert_string_equal(buf_text(&one), buf_text(&all));
        buf_deinit(&one);
        reader_free(reader);
    }
    buf_deinit(&all);
    options.shard = READER_FILE;
    options.trainers = 3;
    options.trainer_id = 0;
    reader = open_data(at("set"), &options);
    assert_int_equal(reader_samples(reader), 40);   // files 0 and 3
    assert_int_equal(reader_item_samples(reader, 1), 0);
    reader_free(reader);
    options.trainer_id = 2;
    options.shard = READER_NONE;
    snprintf(uri, sizeof uri, "%s/set/part-{trainer_id}", root_path);
    reader = open_data(uri, &options);
    assert_int_equal(reader_samples(reader), 30);
    assert_string_equal(reader_item_uri(reader, 0), uri);
    reader_free(reader);
    options.shard = READER_GLOBAL;
    snprintf(uri, sizeof uri, "%s/none-*", root_path);
    refuses(uri, &options, "no file is there");
    options.format = "nonsense";
    refuses(at("set"), &options, "known");
}

// What resuming needs: the position means the same for any number of trainers, bad lines left out.
static void test_skipped_lines_keep_the_numbers_exact(void **state)
{
    (void)state;
    struct reader_options options = options_of(2);
    struct reader *clean = open_data(at("set"), &options);
    put_file("set/part-0", "");
    struct buf text;
    buf_init(&text, 0);
    for (int i = 0; i < 30; i++)
        buf_printf(&text, "%s%d %d\n%s", i % 5 ? "" : "oops\n", i % 2, i, i % 7 ? "" : "\n1 x\n");
    put_bytes("set/part-0", text.data, text.bytes);
    buf_deinit(&text);
    options.text.skip_bad_lines = true;
    struct reader *skipping = open_data(at("set"), &options);
    assert_int_equal(reader_bad_lines(skipping), 11);
    struct buf a, b;
    buf_init(&a, 0);
    buf_init(&b, 0);
    record(skipping, &b);
    put_file("set/part-0", "");
    reader_free(clean);
    // The same lines without the bad ones.
    buf_init(&text, 0);
    for (int i = 0; i < 30; i++)
        buf_printf(&text, "%d %d\n", i % 2, i);
    put_bytes("set/part-0", text.data, text.bytes);
    buf_deinit(&text);
    clean = open_data(at("set"), &options);
    assert_int_equal(reader_bad_lines(clean), 0);
    record(clean, &a);
    assert_string_equal(buf_text(&a), buf_text(&b));
    buf_deinit(&a);
    buf_deinit(&b);
    reader_free(clean);
    reader_free(skipping);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_prefetch_changes_nothing),
        TEST(test_an_error_waits_for_its_turn),
        TEST(test_globs_and_folders_are_lists_of_files),
        TEST(test_skipped_lines_keep_the_numbers_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
