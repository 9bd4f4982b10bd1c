// SPDX-License-Identifier: Apache-2.0
// Criteo's lines, and the sample lines of the recorded ctr_dnn against the batches that were fed.
#include "tests/unit/reader/reader_fixture.h"

// The first two lines of Kaggle's train.txt as far as these columns go, and what Fluid's reader
// (under Python 2) makes of their words.
static const char first_words[] = "05db9164\t38a947a1";

static struct reader *open_criteo(const char *text, struct reader_options *options)
{
    put_file("part-0", text);
    return open_data(at("part-0"), options);
}

// label, 13 integers, 26 words: the given ones first, the rest empty.
static const char *line_of(const char *label, const char *integers, const char *words)
{
    static char text[1000];
    size_t n = 0, tabs = 0;
    n = (size_t)snprintf(text, sizeof text, "%s\t%s", label, integers);
    for (const char *p = integers; *p; p++)
        tabs += *p == '\t';
    for (; tabs < 12; tabs++)
        text[n++] = '\t';
    n += (size_t)snprintf(text + n, sizeof text - n, "\t%s", words);
    tabs = 0;
    for (const char *p = words; *p; p++)
        tabs += *p == '\t';
    for (; tabs < 25; tabs++)
        text[n++] = '\t';
    memcpy(text + n, "\n", 2);
    return text;
}

static void test_numbers_and_hashes(void **state)
{
    (void)state;
    struct reader_options options = text_options(1);
    struct reader *reader = open_criteo(line_of("1", "1\t0\t5\t\t1382", first_words), &options);
    assert_int_equal(reader_feeds(reader), 28);
    next_batch(reader);
    const float *dense = tensor_f32(feed(reader, "dense_input"));
    static const float wanted[13] = {(float)(1.0 / 20), (float)(3.0 / 603), (float)(5.0 / 100), 0,
                                     (float)(1382.0 / 64000)};
    assert_memory_equal(dense, wanted, sizeof wanted);
    // Known pairs of words and ids: hash("1405db9164") % 1000001 and of empty words of the slots.
    assert_int_equal(tensor_i64(feed(reader, "C1"))[0], 737395);
    assert_int_equal(tensor_i64(feed(reader, "C22"))[0], 26235);
    assert_int_equal(tensor_i64(feed(reader, "C19"))[0], 26230);
    assert_int_equal(tensor_i64(feed(reader, "C26"))[0], 26223);
    assert_int_equal(tensor_i64(feed(reader, "label"))[0], 1);
    assert_int_equal(feed(reader, "C1")->lod_levels, 0);
    reader_free(reader);
    // A program with sequences gets them with one id a sample.
    const struct reader_want wants[] = {
        {.name = "label", .dims = {.rank = 2, .d = {-1, 1}}, .typed = true, .dtype = DTYPE_FP32},
        {.name = "C1",
         .dims = {.rank = 2, .d = {-1, 1}},
         .typed = true,
         .dtype = DTYPE_INT64,
         .lod_levels = 1},
    };
    options.wants = wants;
    options.wants_count = 2;
    options.text.hash_dim = 1001;
    reader = open_criteo(line_of("0", "", first_words), &options);
    next_batch(reader);
    assert_int_equal(reader_feeds(reader), 2);
    assert_int_equal(feed(reader, "label")->dtype, DTYPE_FP32);
    assert_int_equal(feed(reader, "C1")->lod_levels, 1);
    assert_int_equal(feed(reader, "C1")->lod[0].offsets[1], 1);
    assert_in_range(tensor_i64(feed(reader, "C1"))[0], 0, 1000);
    reader_free(reader);
}

static void test_one_table_of_all_features(void **state)
{
    (void)state;
    struct reader_options options = text_options(1);
    const struct reader_want wants[] = {{.name = "feat_idx", .dims = {.rank = 3, .d = {-1, 39, 1}}},
                                        {.name = "feat_value", .dims = {.rank = 2, .d = {-1, 39}}},
                                        {.name = "label"}};
    options.wants = wants;
    options.wants_count = 3;
    struct reader *reader = open_criteo(line_of("1", "4\t\t50", first_words), &options);
    next_batch(reader);
    assert_int_equal(feed(reader, "feat_idx")->dims.rank, 3);
    const int64_t *index = tensor_i64(feed(reader, "feat_idx"));
    const float *value = tensor_f32(feed(reader, "feat_value"));
    static const int64_t wanted[] = {1, 0, 3, 0};
    static const float values[] = {(float)(4.0 / 20), 0, (float)(50.0 / 100), 0};
    assert_memory_equal(index, wanted, sizeof wanted);
    assert_memory_equal(value, values, sizeof values);
    assert_int_equal(index[13], 14 + 737395);
    assert_true(value[13] == 1.0f && value[15] == 0.0f && index[15] == 0);
    reader_free(reader);
}

static void test_bad_lines(void **state)
{
    (void)state;
    struct reader_options options = text_options(1);
    char good[1000];
    snprintf(good, sizeof good, "%s", line_of("1", "1", "a"));
    static const struct {
        const char *label, *integers, *words, *says;
    } rows[] = {
        {"x", "1", "a", "line 2: column 1 (label): `x` is no whole number"},
        {"", "1", "a", "column 1 (label): ``"},
        {"1", "1\tno", "a", "column 3 (integer 2): `no` is no number"},
        {"1", "1\t2 3", "a", "column 3 (integer 2): `2`"},
        {"1", "1e999", "a", "column 2 (integer 1): `1e999`"},
        {"1", "1",
         "a\tb\tc\td\te\tf\tg\th\ti\tj\tk\tl\tm\tn\to\tp\tq\tr\ts\tt\tu\tv\tw\tx\ty\tz\t!",
         "has 41 columns between tabs, 40 are expected"},
        {"1", "1\t2\t3\t4\t5\t6\t7\t8\t9\t10\t11\t12\t13\t14", "a", "has 41 columns"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[2000];
        snprintf(text, sizeof text, "%s%s", good,
                 line_of(rows[i].label, rows[i].integers, rows[i].words));
        put_file("a.txt", text);
        refuses(at("a.txt"), &options, rows[i].says);
        options.text.skip_bad_lines = true;
        struct reader *reader = open_data(at("a.txt"), &options);
        assert_int_equal(reader_samples(reader), 1);
        assert_int_equal(reader_bad_lines(reader), 1);
        reader_free(reader);
        options.text.skip_bad_lines = false;
    }
}

// A path below the data of the shared folder; skips aloud without it.
static const char *shared_data(const char *name)
{
    static char path[1024];
    const char *shared = getenv("SLUICE_SHARED");
    snprintf(path, sizeof path, "%s/data/%s", shared ? shared : SOURCE_ROOT "/../shared", name);
    if (access(path, R_OK) != 0) {
        print_message("skipped: no %s; set SLUICE_SHARED\n", path);
        skip();
    }
    return path;
}

// Real lines of feasign:slot pairs, half of the feasigns above 2^63: those of one slot come out
// bit for bit, in order, as a plain walk over the text finds them.
static void test_real_feasigns_keep_their_bits(void **state)
{
    (void)state;
    struct buf text;
    uint64_t large = 0, seen = 0;
    char path[1024];
    snprintf(path, sizeof path, "%s", shared_data("ctr/feed_ctr_demo_10.txt"));
    buf_init(&text, 0);
    assert_int_equal(fsutil_read(path, 1 << 20, &text, NULL), 0);
    struct str_list slots = {0};
    str_list_split(&slots, "label=1:uint64:1,s29=29,s51=51", ',');
    struct reader_options options = text_options(1);
    options.text.slots = &slots;
    options.text.feasign_first = true;
    struct reader *reader = open_data(path, &options);
    assert_int_equal(reader_samples(reader), 10);
    const char *at_text = buf_text(&text);
    for (int line = 0; line < 10; line++) {
        next_batch(reader);
        size_t counts[2] = {0, 0}, end = strcspn(at_text, "\n");
        const struct tensor *fed[] = {feed(reader, "s29"), feed(reader, "s51")};
        for (const char *p = at_text; p < at_text + end;) {
            char *colon, *after;
            uint64_t feasign = strtoull(p, &colon, 10);
            unsigned long slot = strtoul(colon + 1, &after, 10);
            if (slot == 1)
                assert_int_equal(tensor_i64(feed(reader, "label"))[0], feasign);
            for (int i = 0; i < 2; i++) {
                if (slot != (i ? 51u : 29u))
                    continue;
                assert_true((uint64_t)tensor_i64(fed[i])[counts[i]++] == feasign);
                large += feasign >> 63;
                seen++;
            }
            p = after + strspn(after, " ");
        }
        for (int i = 0; i < 2; i++)
            assert_int_equal(tensor_count(fed[i]), counts[i] ? counts[i] : 1);
        at_text += end + 1;
    }
    assert_true(seen == 90 && large > 20);
    reader_free(reader);
    str_list_deinit(&slots);
    buf_deinit(&text);
}

// The recorded batches of ctr_dnn_sgd come from the 80 sample lines, in slots of 1001 ids.
static void test_recorded_batches_are_what_the_sample_gives(void **state)
{
    (void)state;
    char sample[1024], folder[1024], path[1200];
    snprintf(folder, sizeof folder, "%s", golden("ctr_dnn_sgd/feed"));
    snprintf(sample, sizeof sample, "%s", shared_data("ctr/criteo_slot_sample.txt"));
    struct str_list slots = {0};
    str_list_split(&slots, "dense_input=dense_feature:float:13,C1..26=1..26,label=click:uint64:1",
                   ',');
    struct reader_options options = text_options(16);
    options.text.slots = &slots;
    options.text.hash_dim = 1001;
    options.prefetch = 3;
    struct reader *reader = open_data(sample, &options);
    assert_int_equal(reader_samples(reader), 80);
    for (int step = 0; step < 5; step++) {
        next_batch(reader);
        for (size_t i = 0; i < reader_feeds(reader); i++) {
            const struct tensor *t = &reader_feed_value(reader, i)->tensor;
            struct variable wanted;
            variable_init(&wanted);
            snprintf(path, sizeof path, "%s/step_%03d/%s", folder, step,
                     reader_feed_name(reader, i));
            assert_int_equal(tensor_io_load(path, VARIABLE_TENSOR, &wanted, NULL), 0);
            assert_int_equal(t->dtype, wanted.tensor.dtype);
            assert_true(dims_equal(&t->dims, &wanted.tensor.dims));
            assert_memory_equal(t->data, wanted.tensor.data, tensor_bytes(t));
            assert_int_equal(t->lod_levels, wanted.tensor.lod_levels);
            for (int level = 0; level < t->lod_levels; level++) {
                assert_int_equal(t->lod[level].count, wanted.tensor.lod[level].count);
                assert_memory_equal(t->lod[level].offsets, wanted.tensor.lod[level].offsets,
                                    t->lod[level].count * sizeof(uint64_t));
            }
            variable_deinit(&wanted);
        }
    }
    reader_free(reader);
    str_list_deinit(&slots);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_numbers_and_hashes),
        TEST(test_one_table_of_all_features),
        TEST(test_bad_lines),
        TEST(test_real_feasigns_keep_their_bits),
        TEST(test_recorded_batches_are_what_the_sample_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
