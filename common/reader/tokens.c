// SPDX-License-Identifier: Apache-2.0
// Lines of token ids, blanks between. Two uses:
//
//   a line is a sample: words, a sequence of its ids, and label, the line's first or last number
//   (--label; none: every number is an id). At least one id is left for words.
//
//   n-grams (--ngram N): every N ids in a row are a sample, feeds w0 .. w<N-1> of [B, 1] that take
//   the program's names in order (word2vec: N - 1 words before and the next word). A line of fewer
//   ids has no sample. Nothing is added at the ends of a line.
//
// Ids are unsigned 64-bit, their bits are fed as int64, or reduced modulo hash_dim; a label may be
// negative and is fed as it is.
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/reader/reader_format.h"
#include "common/reader/text_lines.h"
#include "common/reader/text_rows.h"
#include "common/reader/text_scan.h"

#define NGRAM_MAX 64
#define ID_BYTES 24   // of text that an id and the blank behind it are usually below

struct tokens {
    struct text_rows rows;      // a line a sample
    struct text_lines *lines;   // n-grams
    uint64_t modulo;
    enum reader_label label;
    int ngram;
    uint64_t *places;   // of the last ngram ids of a line that is looked at
};

static int parse(const void *self, const char *line, size_t bytes, struct reader_column *columns,
                 struct err *err);
static int index_line(void *self, struct text_lines *lines, const char *line, size_t bytes,
                      uint64_t offset, struct err *err);
static int read_id(const struct tokens *tokens, struct text_scan *scan, uint64_t *out,
                   struct err *err);
static int put_label(struct text_scan *scan, struct reader_column *to, struct err *err);
static bool read_ngram(const struct tokens *tokens, const char *text, size_t bytes, bool whole,
                       uint64_t *out);

static bool tokens_matches(const char *path)
{
    (void)path;
    return false;
}

static void tokens_close(void *self)
{
    struct tokens *tokens = self;
    text_rows_close(&tokens->rows);
    text_lines_close(tokens->lines);
    mem_free(tokens->places);
    mem_free(tokens);
}

static int tokens_open(const char *path, const struct reader_options *options,
                       struct reader_data *out, struct err *err)
{
    const struct reader_text *text = &options->text;
    const struct dims one = {.rank = 1, .d = {1}};
    struct tokens *tokens = MEM_NEW(struct tokens);
    out->self = tokens;
    tokens->modulo = (uint64_t)text->hash_dim;
    tokens->label = text->label;
    tokens->ngram = text->ngram;
    if (text->ngram < 0 || text->ngram > NGRAM_MAX)
        return err_set(err, SL_EINVAL, "%s: --ngram %d: must be 1 to %d", path, text->ngram,
                       NGRAM_MAX);
    if (text->ngram == 0) {
        reader_data_add(out, "words", DTYPE_INT64, &one, true);
        if (text->label != READER_LABEL_NONE)
            reader_data_add(out, "label", DTYPE_INT64, &one, false);
        return text_rows_open(&tokens->rows, path, options, parse, tokens, out, err);
    }
    tokens->places = mem_must_calloc((size_t)text->ngram, sizeof *tokens->places);
    for (int i = 0; i < text->ngram; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        reader_data_add(out, name, DTYPE_INT64, &one, false);
    }
    int rc = text_lines_open(path, text, index_line, tokens, true, &tokens->lines, err);
    if (rc == 0)
        text_rows_describe(tokens->lines, out);
    return rc;
}

static int tokens_append(void *self, int64_t sample, struct reader_column *columns, struct err *err)
{
    struct tokens *tokens = self;
    if (!tokens->lines)
        return text_rows_append(&tokens->rows, sample, columns, err);
    uint64_t ids[NGRAM_MAX];
    const char *text;
    size_t bytes, most = (size_t)tokens->ngram * ID_BYTES;
    int rc = text_lines_read(tokens->lines, sample, most, &text, &bytes, err);
    // More blanks than usual: the whole line then.
    if (rc == 0 && !read_ngram(tokens, text, bytes, bytes < most, ids)) {
        rc = text_lines_read(tokens->lines, sample, 0, &text, &bytes, err);
        if (rc == 0 && !read_ngram(tokens, text, bytes, true, ids)) {
            rc = err_set(err, SL_EFORMAT, "the file has changed since it was opened");
            text_lines_blame(tokens->lines, sample, err);
        }
    }
    for (int i = 0; i < tokens->ngram && rc == 0; i++) {
        void *to = reader_column_add(&columns[i], 1);
        if (to)
            memcpy(to, &ids[i], sizeof ids[i]);
        else
            rc = err_set(err, SL_ENOMEM, "no memory for the batch");
    }
    return rc;
}

const struct reader_format tokens_format = {
    .scheme = "tokens",
    .what = "lines of token ids (tokens://, --label, --ngram)",
    .single_files = true,
    .optional_fields = true,
    .matches = tokens_matches,
    .open = tokens_open,
    .append = tokens_append,
    .close = tokens_close,
};

static int parse(const void *self, const char *line, size_t bytes, struct reader_column *columns,
                 struct err *err)
{
    const struct tokens *tokens = self;
    struct text_scan scan = {line, line + bytes};
    const char *last = NULL;
    text_scan_blanks(&scan);
    if (tokens->label == READER_LABEL_FIRST) {
        int rc = put_label(&scan, &columns[1], err);
        if (rc < 0)
            return rc;
        text_scan_blanks(&scan);
    } else if (tokens->label == READER_LABEL_LAST) {
        for (last = scan.end; last > scan.at && (last[-1] == ' ' || last[-1] == '\t'); last--)
            continue;
        for (; last > scan.at && last[-1] != ' ' && last[-1] != '\t'; last--)
            continue;
    }
    while (scan.at < scan.end && scan.at != last) {
        uint64_t id;
        int rc = read_id(tokens, &scan, &id, err);
        void *to = rc == 0 ? reader_column_add(&columns[0], 1) : NULL;
        if (!to)
            return rc < 0 ? rc : err_set(err, SL_ENOMEM, "no memory for the batch");
        memcpy(to, &id, sizeof id);
        text_scan_blanks(&scan);
    }
    if (reader_column_pending(&columns[0]) == 0)
        return err_set(err, SL_EFORMAT, "has a label but no ids");
    return last ? put_label(&scan, &columns[1], err) : 0;
}

// Adds a record where each n-gram begins.
static int index_line(void *self, struct text_lines *lines, const char *line, size_t bytes,
                      uint64_t offset, struct err *err)
{
    struct tokens *tokens = self;
    struct text_scan scan = {line, line + bytes};
    uint64_t n = (uint64_t)tokens->ngram, id;
    for (uint64_t i = 0;; i++) {
        text_scan_blanks(&scan);
        if (scan.at == scan.end)
            return 1;
        tokens->places[i % n] = offset + (uint64_t)(scan.at - line);
        int rc = read_id(tokens, &scan, &id, err);
        if (rc == 0 && i + 1 >= n)
            rc = text_lines_add(lines, tokens->places[(i + 1) % n]);
        if (rc < 0)
            return rc;
    }
}

static int read_id(const struct tokens *tokens, struct text_scan *scan, uint64_t *out,
                   struct err *err)
{
    const char *from = scan->at;
    char shown[TEXT_SCAN_SHOWN];
    if (!text_scan_u64(scan, out) || !text_scan_ends(scan))
        return err_set(err, SL_EFORMAT, "%s is no unsigned 64-bit id",
                       text_scan_show(scan, from, shown));
    if (tokens->modulo)
        *out %= tokens->modulo;
    return 0;
}

static int put_label(struct text_scan *scan, struct reader_column *to, struct err *err)
{
    const char *from = scan->at;
    char shown[TEXT_SCAN_SHOWN];
    int64_t label;
    if (!text_scan_i64(scan, &label) || !text_scan_ends(scan))
        return err_set(err, SL_EFORMAT, "label: %s is no whole number",
                       text_scan_show(scan, from, shown));
    void *out = reader_column_add(to, 1);
    if (!out)
        return err_set(err, SL_ENOMEM, "no memory for the batch");
    memcpy(out, &label, sizeof label);
    return 0;
}

// whole: the text ends where its line does, so the last number is not cut.
static bool read_ngram(const struct tokens *tokens, const char *text, size_t bytes, bool whole,
                       uint64_t *out)
{
    struct text_scan scan = {text, text + bytes};
    for (int i = 0; i < tokens->ngram; i++) {
        text_scan_blanks(&scan);
        if (read_id(tokens, &scan, &out[i], NULL) < 0 || (scan.at == scan.end && !whole))
            return false;
    }
    return true;
}
