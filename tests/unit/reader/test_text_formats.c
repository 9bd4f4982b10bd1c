// SPDX-License-Identifier: Apache-2.0
// MultiSlot, feasign and token lines: what is fed, and what is wrong with a line.
#include "tests/unit/reader/reader_fixture.h"

static void expect_i64(const struct reader *reader, const char *name, size_t count,
                       const uint64_t *values)
{
    const struct tensor *t = feed(reader, name);
    assert_int_equal(t->dtype, DTYPE_INT64);
    assert_int_equal(tensor_count(t), count);
    assert_memory_equal(t->data, values, count * sizeof *values);
}

static void expect_f32(const struct reader *reader, const char *name, size_t count,
                       const float *values)
{
    const struct tensor *t = feed(reader, name);
    assert_int_equal(t->dtype, DTYPE_FP32);
    assert_int_equal(tensor_count(t), count);
    assert_memory_equal(t->data, values, count * sizeof *values);
}

static void expect_lod(const struct reader *reader, const char *name, size_t count,
                       const uint64_t *offsets)
{
    const struct tensor *t = feed(reader, name);
    assert_int_equal(t->lod_levels, count ? 1 : 0);
    if (!count)
        return;
    assert_int_equal(t->lod[0].count, count);
    assert_memory_equal(t->lod[0].offsets, offsets, count * sizeof *offsets);
    assert_true(tensor_lod_is_valid(t));
}

static struct str_list list_of(const char *text)
{
    struct str_list list = {0};
    str_list_split(&list, text, ',');
    return list;
}

#define I64(...)                                                                                   \
    sizeof((uint64_t[]){__VA_ARGS__}) / 8, (uint64_t[])                                            \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define F32(...)                                                                                   \
    sizeof((float[]){__VA_ARGS__}) / 4, (float[])                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void test_multislot(void **state)
{
    (void)state;
    struct str_list slots = list_of("ids:uint64,dense:float:3,w:float,out=label:uint64:1");
    struct reader_options options = text_options(2);
    options.text.slots = &slots;
    put_file("a.txt", "2 17 18446744073709551615 3 1 0.5 -2e-3 1 0.25 1 1\r\n"
                      "\n1 0 3 1 2 3  2 4 5\t1 0\n"
                      "3 1 2 9223372036854775808 3 0 0 0 1 7 1 1");
    struct reader *reader = open_data(at("a.txt"), &options);
    assert_int_equal(reader_samples(reader), 3);
    assert_int_equal(reader_feeds(reader), 4);
    next_batch(reader);
    expect_i64(reader, "ids", I64(17, UINT64_MAX, 0));
    expect_lod(reader, "ids", I64(0, 2, 3));
    expect_f32(reader, "dense", F32(1, 0.5f, -2e-3f, 1, 2, 3));
    assert_int_equal(feed(reader, "dense")->dims.d[0], 2);
    assert_int_equal(feed(reader, "dense")->dims.d[1], 3);
    expect_lod(reader, "dense", 0, NULL);
    expect_f32(reader, "w", F32(0.25f, 4, 5));
    expect_lod(reader, "w", I64(0, 1, 3));
    expect_i64(reader, "out", I64(1, 0));
    next_batch(reader);
    expect_i64(reader, "ids", I64(1, 2, 1ull << 63));
    assert_int_equal(reader_batch_samples(reader), 1);
    reader_free(reader);
    // Ids are reduced as unsigned numbers.
    options.text.hash_dim = 1000;
    options.batch_size = 3;
    reader = open_data(at("a.txt"), &options);
    next_batch(reader);
    expect_i64(reader, "ids", I64(17, 615, 0, 1, 2, 808));
    reader_free(reader);
    str_list_deinit(&slots);
}

// The program says types, shapes and sequences when the declaration does not.
static void test_slots_follow_the_program(void **state)
{
    (void)state;
    const struct reader_want wants[] = {
        {.name = "ids",
         .dims = {.rank = 2, .d = {-1, 1}},
         .typed = true,
         .dtype = DTYPE_INT64,
         .lod_levels = 1},
        {.name = "x", .dims = {.rank = 3, .d = {-1, 2, 2}}, .typed = true, .dtype = DTYPE_FP32},
        {.name = "y", .dims = {.rank = 2, .d = {-1, 1}}, .typed = true, .dtype = DTYPE_FP64},
    };
    struct reader_options options = text_options(2);
    options.wants = wants;
    options.wants_count = 3;
    options.format = "multislot";
    put_file("a.txt", "1 5 4 1 2 3 4 1 0.1\n2 6 7 4 5 6 7 8 1 0.2\n");
    struct reader *reader = open_data(at("a.txt"), &options);
    next_batch(reader);
    expect_lod(reader, "ids", I64(0, 1, 3));
    assert_int_equal(feed(reader, "x")->dims.rank, 3);
    assert_int_equal(feed(reader, "x")->dims.d[2], 2);
    assert_int_equal(feed(reader, "y")->dtype, DTYPE_FP64);
    assert_true(tensor_f64(feed(reader, "y"))[1] == 0.2);
    reader_free(reader);
    // A slot that the program does not feed is read and dropped; what it feeds must be there.
    struct str_list slots = list_of("ids,x,y");
    options.text.slots = &slots;
    options.wants_count = 1;
    options.format = NULL;
    str_list_deinit(&slots);
    slots = list_of("ids,x:float,y:float");
    reader = open_data(at("a.txt"), &options);
    assert_int_equal(reader_feeds(reader), 1);
    reader_free(reader);
    str_list_deinit(&slots);
    options.wants_count = 3;
    static const struct {
        const char *slots, *says;
    } rows[] = {
        {"ids,x,q=y:float:1", "q is float32 in the data; the program's variable y is float64"},
        {"ids:float,x,y", "slot ids is float, the program's variable ids is int64"},
        {"ids,x:uint64,y", "slot x is uint64"},
        {"ids:int,x,y", "type int: must be uint64 or float"},
        {"ids:uint64:0,x,y", "dims 0"},
        {"ids:uint64:4x,x,y", "dims 4x"},
        {"=ids", "is not [FEED=]NAME"},
        {"ids,ids,x,y", "comes twice"},
        {"a=ids,a=x", "comes twice"},
        {"C1..3=1..2", "differ in length"},
        {"ids,x,y:float:2", "slot y has 1 values, its shape has 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        slots = list_of(rows[i].slots);
        refuses(at("a.txt"), &options, rows[i].says);
        str_list_deinit(&slots);
    }
    const struct reader_want missing[] = {{.name = "ids"}, {.name = "z"}};
    slots = list_of("ids,x:float,y:float");
    options.wants = missing;
    options.wants_count = 2;
    refuses(at("a.txt"), &options,
            "the program feeds z, which multislot does not give: it has ids, x, y");
    str_list_deinit(&slots);
    options.text.slots = NULL;
    options.wants_count = 0;
    options.format = "multislot";
    refuses(at("a.txt"), &options, "--slots must say");
}

static void test_bad_multislot_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        size_t bytes;
        const char *says;
    } rows[] = {
        {"1 5", 0, "slot w: the line ends before it"},
        {"2 5", 0, "slot ids: the line ends after 1 of 2 values"},
        {"18446744073709551615 5", 0, "the line ends after 1 of 18446744073709551615"},
        {"18446744073709551616 5", 0, "`18446744073709551616` is no number of values"},
        {"-1 5 1 1", 0, "slot ids: `-1` is no number of values"},
        {"0 1 1", 0, "slot ids has 0 values"},
        {"1 -5 1 1", 0, "slot ids: `-5` is no unsigned 64-bit number"},
        {"1 18446744073709551616 1 1", 0, "slot ids: `18446744073709551616` is no unsigned"},
        {"1 5x 1 1", 0, "`5x`"},
        {"1 5.0 1 1", 0, "`5.0`"},
        {"1 5 1 nan", 0, "slot w: `nan` is no finite number"},
        {"1 5 1 1e999", 0, "`1e999`"},
        {"1 5 1 0x1", 0, "`0x1`"},
        {"1 5 1 1 1", 0, "more behind the last of 2 slots: `1`"},
        {"1 5\0 1 1", 8, "`5\\x00`"},
        {"1 5 1 1\0", 8, "`1\\x00`"},
        {"\0", 1, "`\\x00`"},
        {"1,5,1,1", 0, "`1,5,1,1`"},
        {"x", 0, "slot ids: `x`"},
    };
    struct str_list slots = list_of("ids,w:float");
    struct reader_options options = text_options(1);
    options.text.slots = &slots;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[200];
        size_t bytes = rows[i].bytes ? rows[i].bytes : strlen(rows[i].line);
        memcpy(text, "1 1 1 1\n", 8);
        memcpy(text + 8, rows[i].line, bytes);
        memcpy(text + 8 + bytes, "\n1 2 1 2\n", 9);
        put_bytes("a.txt", text, 17 + bytes);
        options.text.skip_bad_lines = false;
        refuses(at("a.txt"), &options, "a.txt: line 2: ");
        refuses(at("a.txt"), &options, rows[i].says);
        options.text.skip_bad_lines = true;
        struct reader *reader = open_data(at("a.txt"), &options);
        assert_int_equal(reader_samples(reader), 2);
        assert_int_equal(reader_bad_lines(reader), 1);
        assert_int_equal(reader_notes(reader)->count, 2);
        assert_non_null(strstr(reader_notes(reader)->items[0], "line 2 is left out"));
        assert_non_null(strstr(reader_notes(reader)->items[1], "1 bad line is left out, 2 good"));
        next_batch(reader);
        next_batch(reader);
        expect_i64(reader, "ids", I64(2));
        reader_free(reader);
    }
    str_list_deinit(&slots);
}

static void test_feasigns(void **state)
{
    (void)state;
    struct str_list slots = list_of("label:uint64:1,a=3,b=29,d=x:float:2,o=30:float");
    struct reader_options options = text_options(2);
    options.text.slots = &slots;
    put_file("a.txt", "1 3:4351255118977467729 x:0.5 29:16543128959394097760 77:1 x:2 3:0 29:7\n"
                      "0\tx:1 x:2 30:0.25 29:18446744073709551615 zz:what?\r\n");
    struct reader *reader = open_data(at("a.txt"), &options);
    next_batch(reader);
    expect_i64(reader, "label", I64(1, 0));
    expect_i64(reader, "a", I64(4351255118977467729, 0, 0));   // the second line has none: 0
    expect_lod(reader, "a", I64(0, 2, 3));
    expect_i64(reader, "b", I64(16543128959394097760u, 7, UINT64_MAX));
    expect_lod(reader, "b", I64(0, 2, 3));
    expect_f32(reader, "d", F32(0.5f, 2, 1, 2));
    expect_f32(reader, "o", F32(0, 0.25f));
    expect_lod(reader, "o", I64(0, 1, 2));
    reader_free(reader);
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"x:1 x:2", "slot label has 0 values, its shape has 1"},
        {"1 x:1", "slot x has 1 values, its shape has 2"},
        {"1 x:1 x:2 x:3", "slot x has more than the 2 values"},
        {"1 x:1 x:2 3:-7", "slot 3: `-7`"},
        {"1 x:1 x:2 3:18446744073709551616", "slot 3: `18446744073709551616`"},
        {"1 x:1 x:2 3:", "slot 3: ``"},
        {"1 x:1 x:2 3:5:6", "`3:5:6` is no pair slot:feasign"},
        {"1 x:1 x:2 3", "`3` is no pair slot:feasign"},
        {"1.5 x:1 x:2", "slot label: `1.5`"},
        {"1 2 x:1 x:2", "`2` is no pair"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_file("b.txt", rows[i].line);
        options.format = "feasign";
        refuses(at("b.txt"), &options, "b.txt: line 1: ");
        refuses(at("b.txt"), &options, rows[i].says);
    }
    str_list_deinit(&slots);
}

static void test_feasigns_in_front_of_their_slots(void **state)
{
    (void)state;
    struct str_list slots = list_of("click=1:uint64:1,s3..4=3..4");
    struct reader_options options = text_options(1);
    options.text.slots = &slots;
    options.text.feasign_first = true;
    put_file("a.txt", "1:1 4351255118977467729:3 5:4 16543128959394097760:3 8:5\n");
    struct reader *reader = open_data(at("a.txt"), &options);
    next_batch(reader);
    expect_i64(reader, "click", I64(1));
    expect_i64(reader, "s3", I64(4351255118977467729, 16543128959394097760u));
    expect_i64(reader, "s4", I64(5));
    reader_free(reader);
    str_list_deinit(&slots);
}

static void test_token_lines(void **state)
{
    (void)state;
    struct reader_options options = text_options(2);
    put_file("a.txt", "1 5 6 7\n-1 8\n");
    char uri[600];
    snprintf(uri, sizeof uri, "tokens://%s", at("a.txt"));
    struct reader *reader = open_data(uri, &options);
    next_batch(reader);
    expect_i64(reader, "words", I64(5, 6, 7, 8));
    expect_lod(reader, "words", I64(0, 3, 4));
    expect_i64(reader, "label", I64(1, UINT64_MAX));
    reader_free(reader);
    put_file("a.txt", "5 6 7 1\n\n8\t-1  \r\n");
    options.text.label = READER_LABEL_LAST;
    options.text.hash_dim = 6;
    reader = open_data(uri, &options);
    next_batch(reader);
    expect_i64(reader, "words", I64(5, 0, 1, 2));
    expect_lod(reader, "words", I64(0, 3, 4));
    expect_i64(reader, "label", I64(1, UINT64_MAX));
    reader_free(reader);
    put_file("a.txt", "5 6\n18446744073709551615\n");
    options.text.label = READER_LABEL_NONE;
    options.text.hash_dim = 0;
    reader = open_data(uri, &options);
    next_batch(reader);
    assert_int_equal(reader_feeds(reader), 1);
    expect_i64(reader, "words", I64(5, 6, UINT64_MAX));
    reader_free(reader);
    static const struct {
        const char *line, *says;
        enum reader_label label;
    } rows[] = {
        {"1", "has a label but no ids", READER_LABEL_FIRST},
        {"1", "has a label but no ids", READER_LABEL_LAST},
        {"x 1 2", "label: `x`", READER_LABEL_FIRST},
        {"1 2 1.5", "label: `1.5`", READER_LABEL_LAST},
        {"1 -2 3", "`-2` is no unsigned 64-bit id", READER_LABEL_FIRST},
        {"1 18446744073709551616", "`18446744073709551616`", READER_LABEL_FIRST},
        {"1 2,3", "`2,3`", READER_LABEL_NONE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_file("a.txt", rows[i].line);
        options.text.label = rows[i].label;
        refuses(uri, &options, "line 1: ");
        refuses(uri, &options, rows[i].says);
    }
}

static void test_ngrams(void **state)
{
    (void)state;
    struct reader_options options = text_options(16);
    const struct reader_want wants[] = {{.name = "first"}, {.name = "second"}, {.name = "next"}};
    options.wants = wants;
    options.wants_count = 3;
    options.text.ngram = 3;
    // A line of two has none; blanks in numbers that a usual line does not have.
    char text[400];
    int n = snprintf(text, sizeof text, "1 2 3 4\n5 6\n\n 7%120s8%120s18446744073709551615 9\r\n",
                     "", "");
    put_bytes("a.txt", text, (size_t)n);
    struct reader *reader = open_data(at("a.txt"), &options);
    assert_int_equal(reader_samples(reader), 4);
    next_batch(reader);
    expect_i64(reader, "first", I64(1, 2, 7, 8));
    expect_i64(reader, "second", I64(2, 3, 8, UINT64_MAX));
    expect_i64(reader, "next", I64(3, 4, UINT64_MAX, 9));
    expect_lod(reader, "next", 0, NULL);
    assert_int_equal(feed(reader, "next")->dims.rank, 2);
    reader_free(reader);
    put_file("a.txt", "1 2 3\n4 5 6 x 7 8 9\n1 2 3\n");
    refuses(at("a.txt"), &options, "line 2: `x` is no unsigned");
    options.text.skip_bad_lines = true;
    reader = open_data(at("a.txt"), &options);
    assert_int_equal(reader_samples(reader), 2);   // none of the bad line's first n-grams stays
    reader_free(reader);
    options.text.ngram = 65;
    refuses(at("a.txt"), &options, "--ngram 65");
}

// Truncated at every byte: either all samples that are left are whole, or one clear error.
static void test_every_truncation_is_whole_or_an_error(void **state)
{
    (void)state;
    static const char text[] = "2 17 23 2 0.5 1.5\n1 5 2 -1e-5 7\r\n\n3 1 2 3 2 0 0\n";
    struct str_list slots = list_of("ids,w:float:2");
    struct reader_options options = text_options(8);
    options.text.slots = &slots;
    size_t errors = 0;
    for (size_t cut = 1; cut < sizeof text; cut++) {
        struct reader *reader = NULL;
        struct err err = {0};
        put_bytes("a.txt", text, cut);
        int rc = reader_open(at("a.txt"), &options, &reader, &err);
        errors += rc < 0;
        if (rc < 0)
            assert_non_null(strstr(err.text, "a.txt: line "));
        else
            assert_int_equal(reader_next(reader, &err), 1);
        reader_free(reader);
    }
    assert_in_range(errors, 20, sizeof text);
    str_list_deinit(&slots);
}

// One byte changed: the file is read, or the error names file and line. Nothing else happens.
static void test_every_changed_byte_is_read_or_an_error(void **state)
{
    (void)state;
    static const struct {
        const char *format, *slots, *text;
        int ngram;
    } rows[] = {
        {"multislot", "ids,w:float:2", "2 17 23 2 0.5 1.5\n1 5 2 -1e-5 7\r\n", 0},
        {"feasign", "label,ids=3,w=4:float:2", "1 3:17 4:0.5 4:1.5\n0 4:1 3:5 4:2 3:6\n", 0},
        {"tokens", NULL, "1 17 23\n0 5 6 7\n", 0},
        {"tokens", NULL, "1 17 23\n0 5 6 7\n", 3},
        {"criteo", NULL,
         "1\t1\t2\t3\t4\t5\t6\t7\t8\t9\t1\t2\t3\t4"
         "\ta\tb\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\tz\n",
         0},
    };
    static const char bytes[] = {0, '\n', '\r', ' ', '\t', ':', '9', '-', '.', 'e', (char)0xff};
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        struct str_list slots = list_of(rows[row].slots ? rows[row].slots : "");
        struct reader_options options = text_options(1);
        options.format = rows[row].format;
        options.text.slots = rows[row].slots ? &slots : NULL;
        options.text.ngram = rows[row].ngram;
        size_t length = strlen(rows[row].text);
        for (size_t at_byte = 0; at_byte < length; at_byte++)
            for (size_t k = 0; k < sizeof bytes; k++) {
                char text[200];
                struct err err = {0};
                struct reader *reader = NULL;
                memcpy(text, rows[row].text, length);
                text[at_byte] = bytes[k];
                put_bytes("a.txt", text, length);
                options.text.skip_bad_lines = at_byte & 1;
                int rc = reader_open(at("a.txt"), &options, &reader, &err);
                for (int more = rc == 0; more > 0;)
                    rc = more = reader_next(reader, &err);
                assert_true(rc == 0 || strstr(err.text, "a.txt: line ") ||
                            strstr(err.text, "not enough for one step"));
                reader_free(reader);
            }
        str_list_deinit(&slots);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_multislot),
        TEST(test_slots_follow_the_program),
        TEST(test_bad_multislot_lines),
        TEST(test_feasigns),
        TEST(test_feasigns_in_front_of_their_slots),
        TEST(test_token_lines),
        TEST(test_ngrams),
        TEST(test_every_truncation_is_whole_or_an_error),
        TEST(test_every_changed_byte_is_read_or_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
