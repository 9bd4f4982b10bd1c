// SPDX-License-Identifier: Apache-2.0
// Lines by number: line ends, empty and overlong lines, gzip, commands, bad lines.
#include "tests/unit/reader/reader_fixture.h"

#include <zlib.h>

#include "common/base/rng.h"
#include "common/reader/pipe_command.h"
#include "common/reader/text_lines.h"

static struct text_lines *open_lines(const char *name, const struct reader_text *how,
                                     text_lines_fn on_line)
{
    static const struct reader_text plain;
    struct text_lines *lines = NULL;
    struct err err = {0};
    if (text_lines_open(at(name), how ? how : &plain, on_line, NULL, false, &lines, &err))
        fail_msg("%s", err.text);
    return lines;
}

static void expect_line(struct text_lines *lines, int64_t record, const char *text)
{
    const char *line;
    size_t bytes;
    struct err err = {0};
    if (text_lines_read(lines, record, 0, &line, &bytes, &err))
        fail_msg("%s", err.text);
    assert_string_equal(line, text);
    assert_int_equal(bytes, strlen(text));
}

static void put_gzip(const char *name, const char *text, size_t bytes)
{
    gzFile file = gzopen(at(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)bytes), (int)bytes);
    assert_int_equal(gzclose(file), Z_OK);
}

static void test_line_ends(void **state)
{
    (void)state;
    static const char text[] = "\n  \t \nfirst\r\nsecond\n\r\n\n third \nlast";
    put_file("a.txt", text);
    put_gzip("a.gz", text, strlen(text));
    static const char *const names[] = {"a.txt", "a.gz"};
    for (size_t i = 0; i < 2; i++) {
        struct text_lines *lines = open_lines(names[i], NULL, NULL);
        assert_int_equal(text_lines_count(lines), 4);
        expect_line(lines, 3, "last");
        expect_line(lines, 0, "first");
        expect_line(lines, 1, "second");
        expect_line(lines, 2, " third ");
        expect_line(lines, 2, " third ");
        struct err err = {0};
        err_set(&err, SL_EFORMAT, "bad");
        assert_int_equal(text_lines_blame(lines, 2, &err), SL_EFORMAT);
        assert_non_null(strstr(err.text, ": line 7: bad"));
        text_lines_close(lines);
    }
    put_file("empty", "");
    struct text_lines *lines = open_lines("empty", NULL, NULL);
    assert_int_equal(text_lines_count(lines), 0);
    text_lines_close(lines);
    text_lines_close(NULL);
}

// Every line is its number, in lengths around the sizes of the buffers.
static void test_any_order_gives_the_same_lines(void **state)
{
    (void)state;
    enum { LINES = 3000 };
    struct buf text;
    buf_init(&text, 0);
    for (int i = 0; i < LINES; i++) {
        buf_printf(&text, "%d:", i);
        for (int k = i % 700 == 0 ? 300000 + i : i % 97; k > 0; k--)
            buf_append(&text, "x", 1);
        buf_append(&text, "\r\n", i % 3 ? 2 : 0);
        if (i % 3 == 0)
            buf_append(&text, "\n", 1);
    }
    put_bytes("a.txt", text.data, text.bytes);
    buf_deinit(&text);
    struct text_lines *lines = open_lines("a.txt", NULL, NULL);
    assert_int_equal(text_lines_count(lines), LINES);
    uint64_t seed = 1;
    for (int i = 0; i < 3 * LINES; i++) {
        int record = i < LINES ? i : (int)(rng_next_u64(&seed) % LINES);
        size_t wanted = (size_t)(record % 700 == 0 ? 300000 + record : record % 97), bytes;
        const char *line;
        char head[32];
        assert_int_equal(text_lines_read(lines, record, 0, &line, &bytes, NULL), 0);
        size_t n = (size_t)snprintf(head, sizeof head, "%d:", record);
        assert_int_equal(bytes, wanted + n);
        assert_memory_equal(line, head, n);
        assert_int_equal(strlen(line), bytes);
        assert_int_equal(text_lines_read(lines, record, 4, &line, &bytes, NULL), 0);
        assert_int_equal(bytes, wanted + n < 4 ? wanted + n : 4);
    }
    text_lines_close(lines);
}

static int no_b(void *self, struct text_lines *lines, const char *line, size_t bytes,
                uint64_t offset, struct err *err)
{
    (void)self;
    (void)lines;
    (void)offset;
    assert_int_equal(strlen(line), bytes);
    return line[0] == 'b' ? err_set(err, SL_EFORMAT, "is b") : 0;
}

static void test_bad_lines_have_no_number(void **state)
{
    (void)state;
    struct text_lines *lines = NULL;
    struct err err = {0};
    struct reader_text stop = {0}, skip = {.skip_bad_lines = true};
    put_file("a.txt", "a\n\nbad\nc\nb\nb\nb\nd");
    assert_int_equal(text_lines_open(at("a.txt"), &stop, no_b, NULL, false, &lines, &err),
                     SL_EFORMAT);
    assert_non_null(strstr(err.text, "a.txt: line 3: is b (--bad_lines skip"));
    lines = open_lines("a.txt", &skip, no_b);
    assert_int_equal(text_lines_count(lines), 3);
    assert_int_equal(text_lines_bad(lines), 4);
    assert_int_equal(text_lines_notes(lines)->count, 3);
    assert_non_null(strstr(text_lines_notes(lines)->items[1], "line 5"));
    expect_line(lines, 1, "c");
    expect_line(lines, 2, "d");
    text_lines_close(lines);
}

static void test_overlong_lines(void **state)
{
    (void)state;
    static const size_t lengths[] = {TEXT_LINES_MAX, TEXT_LINES_MAX + 1, TEXT_LINES_MAX * 3 + 5};
    char *text = malloc(TEXT_LINES_MAX * 3 + 100);
    assert_non_null(text);
    for (size_t i = 0; i < 6; i++) {
        size_t bytes = lengths[i / 2];
        bool last = i % 2;   // nothing behind it, not even a line end
        memcpy(text, "a\n", 2);
        memset(text + 2, 'x', bytes);
        memcpy(text + 2 + bytes, "\nz", 2);
        put_bytes("a.txt", text, 2 + bytes + (last ? 0 : 2));
        struct reader_text how = {.skip_bad_lines = true};
        struct text_lines *lines = open_lines("a.txt", &how, NULL);
        bool fits = bytes <= TEXT_LINES_MAX;
        assert_int_equal(text_lines_count(lines), 1 + fits + !last);
        assert_int_equal(text_lines_bad(lines), !fits);
        expect_line(lines, 0, "a");
        if (!last)
            expect_line(lines, 1 + fits, "z");
        text_lines_close(lines);
        struct err err = {0};
        how.skip_bad_lines = false;
        lines = NULL;
        assert_int_equal(text_lines_open(at("a.txt"), &how, NULL, NULL, false, &lines, &err),
                         fits ? 0 : SL_EFORMAT);
        if (!fits)
            assert_non_null(strstr(err.text, "line 2: is longer than"));
        text_lines_close(lines);
    }
    free(text);
}

static void test_broken_gzip_is_an_error_that_names_the_file(void **state)
{
    (void)state;
    char text[4000], packed[6000];
    uint64_t seed = 9;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 50 == 49 ? '\n' : (char)('a' + rng_next_u64(&seed) % 26);
    put_gzip("a.gz", text, sizeof text);
    FILE *file = fopen(at("a.gz"), "r");
    size_t bytes = fread(packed, 1, sizeof packed, file);
    fclose(file);
    struct reader_text how = {.skip_bad_lines = true};   // a broken file is no bad line
    for (size_t cut = 2; cut < bytes; cut += cut < 40 || cut + 40 > bytes ? 1 : 37) {
        struct text_lines *lines = NULL;
        struct err err = {0};
        put_bytes("cut.gz", packed, cut);
        assert_true(text_lines_open(at("cut.gz"), &how, NULL, NULL, false, &lines, &err) < 0);
        assert_non_null(strstr(err.text, "cut.gz: "));
    }
    packed[bytes / 2] ^= 0x10;
    put_bytes("cut.gz", packed, bytes);
    struct text_lines *lines = NULL;
    assert_true(text_lines_open(at("cut.gz"), &how, NULL, NULL, false, &lines, NULL) < 0);
    packed[bytes / 2] ^= 0x10;
    // Two members, one behind the other, are one text.
    memcpy(packed + bytes, packed, bytes < 3000 ? bytes : 3000);
    if (bytes < 3000) {
        put_bytes("two.gz", packed, bytes * 2);
        lines = open_lines("two.gz", &how, NULL);
        assert_int_equal(text_lines_count(lines), 160);
        text_lines_close(lines);
    }
    how.unpacked_max = sizeof text - 1;
    struct err err = {0};
    assert_int_equal(text_lines_open(at("a.gz"), &how, NULL, NULL, false, &lines, &err), SL_ELIMIT);
    assert_non_null(strstr(err.text, "--unpacked_max"));
}

static void test_words_of_a_command(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;   // joined with |
    } rows[] = {
        {"a b  c\t\nd", "a|b|c|d"},
        {"a 'b c' \"d e\"f", "a|b c|d ef"},
        {"a ''", "a|"},
        {"a '\\' \"\\\"\\\\\\n\" \\' b\\ c", "a|\\|\"\\\\n|'|b c"},
        {"a $HOME * | > ~", "a|$HOME|*|||>|~"},
        {"", NULL},
        {"   ", NULL},
        {"''", NULL},
        {"a 'b", NULL},
        {"a \"b", NULL},
        {"a b\\", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str_list words = {0};
        int rc = pipe_command_split(rows[i].text, &words, NULL);
        assert_int_equal(rc, rows[i].words ? 0 : SL_EINVAL);
        char *joined = str_list_join(&words, "|");
        if (rows[i].words)
            assert_string_equal(joined, rows[i].words);
        mem_free(joined);
        str_list_deinit(&words);
    }
}

static void test_files_go_through_the_command(void **state)
{
    (void)state;
    put_file("a.txt", "b 2\na 1\n");
    put_gzip("a.gz", "b 2\na 1\n", 8);
    struct reader_text how = {.pipe_command = "sed 's/ /-/'"};
    static const char *const names[] = {"a.txt", "a.gz"};
    for (size_t i = 0; i < 2; i++) {
        struct text_lines *lines = open_lines(names[i], &how, NULL);
        assert_int_equal(text_lines_count(lines), 2);
        expect_line(lines, 0, "b-2");
        expect_line(lines, 1, "a-1");
        text_lines_close(lines);
    }
    static const struct {
        const char *command, *says;
        uint64_t most;
    } rows[] = {
        {"no-such-program-here x", "cannot be started", 0},
        {"sh -c 'cat >/dev/null; echo first; echo not good >&2; exit 3'",
         "ended with status 3; it said: not good", 0},
        {"false", "ended with status 1, and said nothing", 0},
        {"sh -c 'kill -9 $$'", "ended by signal 9", 0},
        {"yes", "wrote more than 1000 bytes", 1000},
        {"'cat", "not closed", 0},
        {"sh -c 'yes x | head -c 2000000 >&2; exit 1'", "it said: ", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text_lines *lines = NULL;
        struct err err = {0};
        how = (struct reader_text){
            .pipe_command = rows[i].command, .unpacked_max = rows[i].most, .skip_bad_lines = true};
        assert_true(text_lines_open(at("a.txt"), &how, NULL, NULL, false, &lines, &err) < 0);
        if (!strstr(err.text, rows[i].says) || !strstr(err.text, "a.txt: --pipe_command"))
            fail_msg("%s: %s", rows[i].command, err.text);
    }
    // A program that does not read its input is no error.
    how = (struct reader_text){.pipe_command = "echo one line"};
    struct text_lines *lines = open_lines("a.txt", &how, NULL);
    expect_line(lines, 0, "one line");
    text_lines_close(lines);
}

static void test_a_file_that_shrinks_is_an_error(void **state)
{
    (void)state;
    put_file("a.txt", "one\ntwo\nthree\n");
    struct text_lines *lines = open_lines("a.txt", NULL, NULL);
    assert_int_equal(truncate(at("a.txt"), 5), 0);
    const char *line;
    size_t bytes;
    struct err err = {0};
    assert_int_equal(text_lines_read(lines, 2, 0, &line, &bytes, &err), SL_EIO);
    assert_non_null(strstr(err.text, "became shorter"));
    text_lines_close(lines);
    assert_int_equal(
        text_lines_open(at("none"), &(struct reader_text){0}, NULL, NULL, false, &lines, &err),
        SL_ENOENT);
    assert_int_equal(
        text_lines_open(root_path, &(struct reader_text){0}, NULL, NULL, false, &lines, &err),
        SL_EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_line_ends),
        TEST(test_any_order_gives_the_same_lines),
        TEST(test_bad_lines_have_no_number),
        TEST(test_overlong_lines),
        TEST(test_broken_gzip_is_an_error_that_names_the_file),
        TEST(test_words_of_a_command),
        TEST(test_files_go_through_the_command),
        TEST(test_a_file_that_shrinks_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
