// SPDX-License-Identifier: Apache-2.0
// Order, division among trainers and position.
#include "tests/unit/reader/reader_fixture.h"

#define ROWS 100        // 80 train, 20 test
#define TRAIN 80

static int setup(void **state)
{
    static char text[ROWS * 140];
    int rc = fixture_setup(state);
    put_bytes("housing.data", text, housing_text(ROWS, text));
    return rc;
}

static struct reader *open_part(int trainer, int trainers, int64_t batch, bool keep_last)
{
    struct reader *reader = NULL;
    struct err err = {0};
    struct reader_options options = {.trainer_id = trainer,
                                     .trainers = trainers,
                                     .batch_size = batch,
                                     .seed = 5,
                                     .keep_last = keep_last};
    if (reader_open(at("housing.data"), &options, &reader, &err))
        fail_msg("%s", err.text);
    return reader;
}

// The rows (that is the prices) of the last batch, appended to rows.
static size_t take(const struct reader *reader, int *rows, size_t count)
{
    const struct tensor *y = feed(reader, "y");
    assert_int_equal(y->dims.d[0], reader_batch_samples(reader));
    assert_int_equal(feed(reader, "x")->dims.d[0], y->dims.d[0]);
    for (int64_t i = 0; i < y->dims.d[0]; i++)
        rows[count++] = (int)tensor_f32(y)[i];
    return count;
}

// One epoch of all trainers, step by step: the order of samples.
static size_t epoch_rows(int trainers, int64_t batch, bool keep_last, int *rows)
{
    struct reader *readers[8];
    struct err err = {0};
    size_t count = 0;
    for (int i = 0; i < trainers; i++)
        readers[i] = open_part(i, trainers, batch, keep_last);
    for (int more = 1; more;) {
        for (int i = 0; i < trainers; i++) {
            int rc = reader_next(readers[i], &err);
            assert_true(rc >= 0);
            assert_true(i == 0 || rc == more);
            more = rc;
            if (rc)
                count = take(readers[i], rows, count);
        }
    }
    for (int i = 0; i < trainers; i++)
        reader_free(readers[i]);
    return count;
}

static void test_order_does_not_depend_on_the_trainers(void **state)
{
    (void)state;
    int one[TRAIN], two[TRAIN], four[TRAIN], seen[TRAIN] = {0}, moved = 0;
    assert_int_equal(epoch_rows(1, 16, false, one), TRAIN);
    assert_int_equal(epoch_rows(2, 8, false, two), TRAIN);
    assert_int_equal(epoch_rows(4, 5, false, four), TRAIN);
    assert_memory_equal(one, two, sizeof one);
    assert_memory_equal(one, four, sizeof one);
    for (int i = 0; i < TRAIN; i++) {
        assert_in_range(one[i], 0, TRAIN - 1);
        seen[one[i]]++;
        moved += one[i] != i;
    }
    for (int i = 0; i < TRAIN; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > TRAIN / 2);
}

static void test_the_incomplete_step_is_dropped_or_divided(void **state)
{
    (void)state;
    int all[TRAIN], part[TRAIN];
    assert_int_equal(epoch_rows(1, 1, false, all), TRAIN);
    assert_int_equal(epoch_rows(3, 11, false, part), 66);
    assert_memory_equal(part, all, 66 * sizeof *all);
    // 14 are left: 5, 5 and 4, in order.
    assert_int_equal(epoch_rows(3, 11, true, part), TRAIN);
    assert_memory_equal(part, all, sizeof all);
    // 2 are left for 3 trainers: nobody gets an empty batch.
    assert_int_equal(epoch_rows(3, 13, true, part), 78);

    struct reader *reader = open_part(0, 3, 11, true);
    struct err err = {0};
    assert_int_equal(reader_steps(reader), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(reader_next(reader, &err), 1);
    assert_int_equal(reader_batch_samples(reader), 5);
    reader_free(reader);
}

static void test_position_moves_to_another_number_of_trainers(void **state)
{
    (void)state;
    int all[TRAIN], rest[TRAIN];
    struct err err = {0};
    struct reader_position position;
    assert_int_equal(epoch_rows(1, 1, false, all), TRAIN);
    struct reader *two = open_part(1, 2, 10, false);
    assert_int_equal(reader_next(two, &err), 1);
    reader_tell(two, &position);
    assert_int_equal(position.epoch, 0);
    assert_int_equal(position.sample, 20);
    reader_free(two);
    struct reader *five = open_part(4, 5, 4, false);
    assert_int_equal(reader_seek(five, &position, &err), 0);
    assert_int_equal(reader_next(five, &err), 1);
    assert_int_equal(take(five, rest, 0), 4);
    assert_memory_equal(rest, all + 20 + 16, 4 * sizeof *all);
    position.sample = TRAIN + 1;
    assert_int_equal(reader_seek(five, &position, &err), SL_EMISMATCH);
    position = (struct reader_position){-1, 0};
    assert_int_equal(reader_seek(five, &position, &err), SL_EMISMATCH);
    reader_free(five);
}

static void test_epochs_differ_and_repeat(void **state)
{
    (void)state;
    int first[TRAIN], second[TRAIN], again[TRAIN];
    struct err err = {0};
    struct reader_position position;
    struct reader *reader = open_part(0, 1, 8, false);
    size_t count = 0;
    while (reader_next(reader, &err))
        count = take(reader, first, count);
    assert_int_equal(count, TRAIN);
    reader_tell(reader, &position);
    assert_int_equal(position.epoch, 1);
    assert_int_equal(position.sample, 0);
    for (count = 0; reader_next(reader, &err);)
        count = take(reader, second, count);
    assert_memory_not_equal(first, second, sizeof first);
    assert_int_equal(reader_seek(reader, &position, &err), 0);
    for (count = 0; reader_next(reader, &err);)
        count = take(reader, again, count);
    assert_memory_equal(second, again, sizeof second);
    position.epoch = 0;
    assert_int_equal(reader_seek(reader, &position, &err), 0);
    assert_int_equal(reader_next(reader, &err), 1);
    reader_rewind(reader);
    for (count = 0; reader_next(reader, &err);)
        count = take(reader, again, count);
    assert_memory_equal(first, again, sizeof first);
    reader_free(reader);
}

static void test_test_part_is_in_order(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader;
    struct reader_options options = {
        .batch_size = 6, .ordered = true, .test = true, .keep_last = true};
    int rows[ROWS];
    size_t count = 0;
    assert_int_equal(reader_open(at("housing.data"), &options, &reader, &err), 0);
    assert_int_equal(reader_samples(reader), ROWS - TRAIN);
    while (reader_next(reader, &err))
        count = take(reader, rows, count);
    assert_int_equal(count, ROWS - TRAIN);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(rows[i], TRAIN + (int)i);
    reader_free(reader);
}

static void test_names_and_shapes_follow_the_program(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader;
    const struct reader_want wants[] = {
        {.name = "y", .dims = {.rank = 2, .d = {-1, 1}}},
        {.name = "x", .dims = {.rank = 3, .d = {-1, 1, 13}}}};
    const struct reader_want renamed[] = {
        {.name = "features", .dims = {.rank = 2, .d = {-1, 13}}},
        {.name = "price", .dims = {.rank = 2, .d = {-1, 2}}}};
    struct reader_options options = {.batch_size = 4, .wants = wants, .wants_count = 2};
    assert_int_equal(reader_open(at("housing.data"), &options, &reader, &err), 0);
    assert_int_equal(reader_next(reader, &err), 1);
    assert_int_equal(feed(reader, "x")->dims.rank, 3);
    assert_int_equal(feed(reader, "x")->dims.d[2], 13);
    reader_free(reader);
    options.wants = renamed;
    assert_int_equal(reader_open(at("housing.data"), &options, &reader, &err), 0);
    assert_int_equal(reader_next(reader, &err), 1);
    assert_int_equal(feed(reader, "features")->dims.d[1], 13);
    assert_int_equal(feed(reader, "price")->dims.d[1], 1);   // [-1,2] cannot hold it: left as it is
    reader_free(reader);
}

static void test_lists_join_or_are_divided(void **state)
{
    (void)state;
    static char text[ROWS * 140];
    struct err err = {0};
    struct reader *reader;
    char uri[600];
    put_bytes("more.data", text, housing_text(50, text));
    snprintf(uri, sizeof uri, "%s,housing://%s", at("housing.data"), at("more.data"));
    struct reader_options options = {.batch_size = 10, .trainers = 2, .trainer_id = 1};
    assert_int_equal(reader_open(uri, &options, &reader, &err), 0);
    assert_int_equal(reader_samples(reader), 120);
    assert_int_equal(reader_items(reader), 2);
    assert_string_equal(reader_item_uri(reader, 0), at("housing.data"));
    assert_true(reader_item_bytes(reader, 0) > reader_item_bytes(reader, 1));
    for (int i = 0; i < 6; i++)
        assert_int_equal(reader_next(reader, &err), 1);
    assert_int_equal(reader_next(reader, &err), 0);
    reader_free(reader);
    options.shard = READER_FILE;
    assert_int_equal(reader_open(uri, &options, &reader, &err), 0);
    assert_int_equal(reader_samples(reader), 40);
    assert_int_equal(reader_steps(reader), 4);
    reader_free(reader);
    options.trainers = 3;
    options.trainer_id = 2;
    assert_int_equal(reader_open(uri, &options, &reader, &err), SL_EINVAL);
    options.shard = READER_NONE;
    snprintf(uri, sizeof uri, "%s/part_{trainer_id}.data", root_path);
    put_bytes("part_2.data", text, housing_text(30, text));
    assert_int_equal(reader_open(uri, &options, &reader, &err), 0);
    assert_int_equal(reader_samples(reader), 24);
    assert_string_equal(reader_item_uri(reader, 0), uri);
    reader_free(reader);
}

static void test_wrong_data_is_one_clear_error(void **state)
{
    (void)state;
    struct reader *reader;
    static const struct {
        const char *uri, *says;
        int64_t batch;
    } rows[] = {
        {"none", "no such file", 4},
        {"ftp://x", "unknown scheme", 4},
        {"", "empty path", 4},
        {"a,,b", "", 4},
        {"housing://none", "none", 4},
        {"housing.data", "batch_size", 0},
        {"housing.data", "not enough", 81},
    };
    char cwd[256];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(root_path), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct reader_options options = {.batch_size = rows[i].batch};
        assert_true(reader_open(rows[i].uri, &options, &reader, &err) < 0);
        assert_non_null(strstr(err.text, rows[i].says));
    }
    assert_int_equal(chdir(cwd), 0);
    struct reader_options options = {.batch_size = 1, .trainers = 2, .trainer_id = 2};
    assert_int_equal(reader_open(at("housing.data"), &options, &reader, NULL), SL_EINVAL);
    enum reader_shard shard;
    assert_int_equal(reader_parse_shard("file", &shard, NULL), 0);
    assert_int_equal(shard, READER_FILE);
    assert_int_equal(reader_parse_shard("half", &shard, NULL), SL_EINVAL);
    reader_free(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order_does_not_depend_on_the_trainers),
        TEST(test_the_incomplete_step_is_dropped_or_divided),
        TEST(test_position_moves_to_another_number_of_trainers),
        TEST(test_epochs_differ_and_repeat),
        TEST(test_test_part_is_in_order),
        TEST(test_names_and_shapes_follow_the_program),
        TEST(test_lists_join_or_are_divided),
        TEST(test_wrong_data_is_one_clear_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
