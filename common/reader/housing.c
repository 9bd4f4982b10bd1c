// SPDX-License-Identifier: Apache-2.0
// UCI housing text: rows of 14 numbers, 13 features and the price, blanks between. Each feature
// becomes (x - mean) / (max - min) over ALL rows, in double as Fluid does, stored as float32; a
// constant feature becomes 0. The first 80% of the rows (rounded down: 404 of 506) train, the rest
// tests. Feeds: x [B, 13], y [B, 1], float32.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/reader/reader_format.h"

#define COLUMNS 14
#define FEATURES 13
#define FILE_BYTES_MAX (1u << 30)
#define WORD_MAX 64

struct housing {
    double *values;             // rows x COLUMNS
    size_t values_count, values_cap;
    int64_t first;              // row of sample 0
};

static int parse(const char *text, const char *path, struct housing *housing, struct err *err);
static int parse_line(const char *line, size_t bytes, struct housing *housing, const char *path,
                      size_t number, struct err *err);
static void normalise(struct housing *housing);

static bool housing_matches(const char *path)
{
    return fsutil_is_file(path) && (str_ends_with(path, ".data") || str_ends_with(path, ".txt"));
}

static void housing_close(void *self)
{
    struct housing *housing = self;
    mem_free(housing->values);
    mem_free(housing);
}

static int housing_open(const char *path, const struct reader_options *options,
                        struct reader_data *out, struct err *err)
{
    struct housing *housing = MEM_NEW(struct housing);
    struct buf text;
    buf_init(&text, 0);
    int rc = fsutil_read(path, FILE_BYTES_MAX, &text, err);
    if (!rc && memchr(text.data, 0, text.bytes))
        rc = err_set(err, SL_EFORMAT, "%s: has a zero byte: not text", path);
    if (!rc)
        rc = parse(buf_text(&text), path, housing, err);
    out->bytes = text.bytes;
    buf_deinit(&text);
    int64_t rows = (int64_t)(housing->values_count / COLUMNS), train = rows * 4 / 5;
    if (!rc && rows < 2)
        rc = err_set(err, SL_EFORMAT, "%s: has %lld rows, at least 2 are needed", path,
                     (long long)rows);
    if (rc) {
        housing_close(housing);
        return rc;
    }
    normalise(housing);
    housing->first = options->test ? train : 0;
    out->samples = options->test ? rows - train : train;
    const struct dims features = {.rank = 1, .d = {FEATURES}}, one = {.rank = 1, .d = {1}};
    reader_data_add(out, "x", DTYPE_FP32, &features, false);
    reader_data_add(out, "y", DTYPE_FP32, &one, false);
    out->self = housing;
    return 0;
}

static int housing_sample(void *self, int64_t sample, size_t field, void *out, struct err *err)
{
    (void)err;
    const struct housing *housing = self;
    const double *row = housing->values + (size_t)(housing->first + sample) * COLUMNS;
    float *to = out;
    if (field == 1)
        to[0] = (float)row[FEATURES];
    else
        for (size_t i = 0; i < FEATURES; i++)
            to[i] = (float)row[i];
    return 0;
}

const struct reader_format housing_format = {
    .scheme = "housing",
    .what = "UCI housing text (*.data, *.txt: 14 numbers a line)",
    .matches = housing_matches,
    .open = housing_open,
    .sample = housing_sample,
    .close = housing_close,
};

static int parse(const char *text, const char *path, struct housing *housing, struct err *err)
{
    size_t number = 0;
    for (const char *line = text; *line;) {
        size_t bytes = strcspn(line, "\n");
        int rc = parse_line(line, bytes, housing, path, ++number, err);
        if (rc)
            return rc;
        if (!line[bytes])
            break;
        line += bytes + 1;
    }
    return 0;
}

static int parse_line(const char *line, size_t bytes, struct housing *housing, const char *path,
                      size_t number, struct err *err)
{
    const char *end = line + bytes;
    size_t columns = 0;
    for (const char *at = line;;) {
        at += strspn(at, " \t\r");
        if (at >= end)
            break;
        size_t n = strcspn(at, " \t\r\n");
        char word[WORD_MAX];
        double value = 0;
        bool ok = n < sizeof word;
        if (ok) {
            memcpy(word, at, n);
            word[n] = 0;
            ok = str_parse_f64(word, &value) && isfinite(value);
        }
        if (!ok)
            return err_set(err, SL_EFORMAT, "%s: line %zu: column %zu: `%.*s` is not a number",
                           path, number, columns + 1, (int)(n < 40 ? n : 40), at);
        if (columns < COLUMNS) {
            MEM_GROW(housing->values, housing->values_count, housing->values_cap);
            housing->values[housing->values_count++] = value;
        }
        columns++;
        at += n;
    }
    if (columns != COLUMNS && columns != 0)
        return err_set(err, SL_EFORMAT, "%s: line %zu: has %zu numbers, %d are expected", path,
                       number, columns, COLUMNS);
    return 0;
}

static void normalise(struct housing *housing)
{
    size_t rows = housing->values_count / COLUMNS;
    for (size_t c = 0; c < FEATURES; c++) {
        double sum = 0, least = INFINITY, most = -INFINITY;
        for (size_t r = 0; r < rows; r++) {
            double x = housing->values[r * COLUMNS + c];
            sum += x;
            least = x < least ? x : least;
            most = x > most ? x : most;
        }
        double mean = sum / (double)rows, range = most - least;
        for (size_t r = 0; r < rows; r++) {
            double *x = &housing->values[r * COLUMNS + c];
            *x = range > 0 ? (*x - mean) / range : 0;
        }
    }
}
