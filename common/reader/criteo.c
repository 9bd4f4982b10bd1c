// SPDX-License-Identifier: Apache-2.0
// Criteo's display advertising lines: 40 columns between tabs, the label, 13 integers and 26 words.
// What Fluid's ctr_dnn reader makes of them:
//
//   dense_input [B, 13]  (x - least) / range of each integer in double, stored as float32;
//                        an empty one is 0
//   C1 .. C26            hash(text of the column's number 14 .. 39, then the word) % hash_dim: one
//   id
//                        a slot, also for an empty word
//   label [B, 1]         int64 (float32 where the program's label is that)
//
// hash is the one of Python 2 on 64 bits, which those readers ran on (Python 3's differs from run
// to run): x = c0 << 7, then x = 1000003 x ^ c for every character, x ^ length, signed; -1 becomes
// -2; the remainder is never negative. hash_dim is 1000001 unless set.
//
// A program that feeds feat_idx and feat_value (DeepFM) gets all 39 features in one table of 14 +
// hash_dim rows instead: feature 1 .. 13 with its value, 14 + hash % hash_dim with value 1; a
// missing one is index 0 with value 0.
#include <string.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/reader/reader_format.h"
#include "common/reader/text_lines.h"
#include "common/reader/text_rows.h"
#include "common/reader/text_scan.h"

#define INTEGERS 13
#define WORDS 26
#define COLUMNS (1 + INTEGERS + WORDS)
#define HASH_DIM 1000001
#define HASH_FACTOR 1000003u
#define PEEK_BYTES 8192u

struct criteo {
    struct text_rows rows;
    uint64_t hash_dim;
    bool one_table;   // DeepFM's feeds
    bool float_label;
};

static const double least[INTEGERS] = {0, -3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const double range[INTEGERS] = {20, 603, 100, 50, 64000, 500, 100, 50, 500, 10, 10, 10, 50};

static void add_fields(struct criteo *criteo, const struct reader_options *options,
                       struct reader_data *out);
static int parse(const void *self, const char *line, size_t bytes, struct reader_column *columns,
                 struct err *err);
static int cut_columns(const char *line, size_t bytes, struct text_scan *out, struct err *err);
static int parse_label(const struct criteo *criteo, struct text_scan column,
                       struct reader_column *to, struct err *err);
static int parse_integer(struct text_scan column, int i, float *out, struct err *err);
static uint64_t hash_word(const struct criteo *criteo, int number, const struct text_scan *word);
static int put_slots(const struct criteo *criteo, const struct text_scan *all,
                     struct reader_column *columns, struct err *err);
static int put_table(const struct criteo *criteo, const struct text_scan *all,
                     struct reader_column *columns, struct err *err);
static int no_memory(struct err *err);

static bool criteo_matches(const char *path)
{
    char line[PEEK_BYTES];
    size_t tabs = 0;
    if (!fsutil_is_file(path) || !text_lines_peek(path, line, sizeof line))
        return false;
    for (const char *p = line; (p = strchr(p, '\t')) != NULL; p++)
        tabs++;
    return tabs == COLUMNS - 1;
}

static void criteo_close(void *self)
{
    struct criteo *criteo = self;
    text_rows_close(&criteo->rows);
    mem_free(criteo);
}

static int criteo_open(const char *path, const struct reader_options *options,
                       struct reader_data *out, struct err *err)
{
    struct criteo *criteo = MEM_NEW(struct criteo);
    out->self = criteo;
    criteo->hash_dim = options->text.hash_dim ? (uint64_t)options->text.hash_dim : HASH_DIM;
    add_fields(criteo, options, out);
    return text_rows_open(&criteo->rows, path, options, parse, criteo, out, err);
}

static int criteo_append(void *self, int64_t sample, struct reader_column *columns, struct err *err)
{
    struct criteo *criteo = self;
    return text_rows_append(&criteo->rows, sample, columns, err);
}

const struct reader_format criteo_format = {
    .scheme = "criteo",
    .what = "Criteo lines (label, 13 integers, 26 words between tabs)",
    .single_files = true,
    .optional_fields = true,
    .matches = criteo_matches,
    .open = criteo_open,
    .append = criteo_append,
    .close = criteo_close,
};

// Column 0 .. of the batch in the order of put_slots and put_table; the label is the last.
static void add_fields(struct criteo *criteo, const struct reader_options *options,
                       struct reader_data *out)
{
    const struct dims one = {.rank = 1, .d = {1}}, integers = {.rank = 1, .d = {INTEGERS}};
    const struct dims all = {.rank = 1, .d = {INTEGERS + WORDS}};
    for (size_t i = 0; i < options->wants_count; i++) {
        const struct reader_want *want = &options->wants[i];
        criteo->one_table |= str_eq(want->name, "feat_idx") || str_eq(want->name, "feat_value");
        criteo->float_label |=
            str_eq(want->name, "label") && want->typed && want->dtype == DTYPE_FP32;
    }
    if (criteo->one_table) {
        reader_data_add(out, "feat_idx", DTYPE_INT64, &all, false);
        reader_data_add(out, "feat_value", DTYPE_FP32, &all, false);
    } else {
        reader_data_add(out, "dense_input", DTYPE_FP32, &integers, false);
        for (int i = 1; i <= WORDS; i++) {
            char name[8] = {'C', (char)(i < 10 ? '0' + i : '0' + i / 10),
                            (char)(i < 10 ? 0 : '0' + i % 10)};
            reader_data_add(out, name, DTYPE_INT64, &one, false);
        }
    }
    reader_data_add(out, "label", criteo->float_label ? DTYPE_FP32 : DTYPE_INT64, &one, false);
}

static int parse(const void *self, const char *line, size_t bytes, struct reader_column *columns,
                 struct err *err)
{
    const struct criteo *criteo = self;
    struct text_scan all[COLUMNS];
    int rc = cut_columns(line, bytes, all, err);
    if (rc == 0)
        rc = criteo->one_table ? put_table(criteo, all, columns, err)
                               : put_slots(criteo, all, columns, err);
    size_t label = criteo->one_table ? 2 : 1 + WORDS;
    return rc < 0 ? rc : parse_label(criteo, all[0], &columns[label], err);
}

static int cut_columns(const char *line, size_t bytes, struct text_scan *out, struct err *err)
{
    const char *end = line + bytes, *at = line;
    size_t count = 0;
    for (;;) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        if (count < COLUMNS)
            out[count] = (struct text_scan){at, tab ? tab : end};
        count++;
        if (!tab)
            break;
        at = tab + 1;
    }
    return count == COLUMNS
               ? 0
               : err_set(err, SL_EFORMAT, "has %zu columns between tabs, %d are expected", count,
                         COLUMNS);
}

static int parse_label(const struct criteo *criteo, struct text_scan column,
                       struct reader_column *to, struct err *err)
{
    char shown[TEXT_SCAN_SHOWN];
    const char *from = column.at;
    int64_t label;
    if (!text_scan_i64(&column, &label) || column.at != column.end)
        return err_set(err, SL_EFORMAT, "column 1 (label): %s is no whole number",
                       text_scan_show(&column, from, shown));
    float as_float = (float)label;
    void *out = reader_column_add(to, 1);
    if (!out)
        return no_memory(err);
    if (criteo->float_label)
        memcpy(out, &as_float, sizeof as_float);
    else
        memcpy(out, &label, sizeof label);
    return 0;
}

static int parse_integer(struct text_scan column, int i, float *out, struct err *err)
{
    char shown[TEXT_SCAN_SHOWN];
    const char *from = column.at;
    double x;
    *out = 0;
    if (column.at == column.end)
        return 0;
    if (!text_scan_f64(&column, &x) || column.at != column.end)
        return err_set(err, SL_EFORMAT, "column %d (integer %d): %s is no number", i + 2, i + 1,
                       text_scan_show(&column, from, shown));
    *out = (float)((x - least[i]) / range[i]);
    return 0;
}

// number: 14 .. 39, in front of the word.
static uint64_t hash_word(const struct criteo *criteo, int number, const struct text_scan *word)
{
    uint64_t tens = (uint64_t)('0' + number / 10), ones = (uint64_t)('0' + number % 10);
    uint64_t x = tens << 7;
    x = (HASH_FACTOR * x) ^ tens;
    x = (HASH_FACTOR * x) ^ ones;
    for (const char *p = word->at; p < word->end; p++)
        x = (HASH_FACTOR * x) ^ (unsigned char)*p;
    x ^= (uint64_t)(word->end - word->at) + 2;
    if (x == UINT64_MAX)
        x--;
    if (x >> 63 == 0)
        return x % criteo->hash_dim;
    uint64_t rest = (0 - x) % criteo->hash_dim;
    return rest ? criteo->hash_dim - rest : 0;
}

static int put_slots(const struct criteo *criteo, const struct text_scan *all,
                     struct reader_column *columns, struct err *err)
{
    float *dense = reader_column_add(&columns[0], INTEGERS);
    if (!dense)
        return no_memory(err);
    for (int i = 0; i < INTEGERS; i++) {
        int rc = parse_integer(all[1 + i], i, &dense[i], err);
        if (rc < 0)
            return rc;
    }
    for (int i = 0; i < WORDS; i++) {
        uint64_t *id = reader_column_add(&columns[1 + i], 1);
        if (!id)
            return no_memory(err);
        *id = hash_word(criteo, 1 + INTEGERS + i, &all[1 + INTEGERS + i]);
    }
    return 0;
}

static int put_table(const struct criteo *criteo, const struct text_scan *all,
                     struct reader_column *columns, struct err *err)
{
    int64_t *index = reader_column_add(&columns[0], INTEGERS + WORDS);
    float *value = reader_column_add(&columns[1], INTEGERS + WORDS);
    if (!index || !value)
        return no_memory(err);
    for (int i = 0; i < INTEGERS + WORDS; i++) {
        const struct text_scan *column = &all[1 + i];
        bool missing = column->at == column->end;
        uint64_t id = missing        ? 0
                      : i < INTEGERS ? (uint64_t)i + 1
                                     : 1 + INTEGERS + hash_word(criteo, 1 + i, column);
        index[i] = (int64_t)id;
        value[i] = missing ? 0.0f : 1.0f;
        int rc = i < INTEGERS ? parse_integer(*column, i, &value[i], err) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int no_memory(struct err *err)
{
    return err_set(err, SL_ENOMEM, "no memory for the batch");
}
