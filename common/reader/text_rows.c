// SPDX-License-Identifier: Apache-2.0
// A line is checked by parsing it into columns that nobody reads: one parser, one opinion.
#include "common/reader/text_rows.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/reader/text_lines.h"

static int check(void *self, struct text_lines *lines, const char *line, size_t bytes,
                 uint64_t offset, struct err *err);

int text_rows_open(struct text_rows *rows, const char *path, const struct reader_options *options,
                   text_rows_fn parse, const void *self, struct reader_data *data, struct err *err)
{
    rows->parse = parse;
    rows->self = self;
    rows->columns = data->fields_count;
    rows->scratch = mem_must_calloc(data->fields_count + 1, sizeof *rows->scratch);
    for (size_t i = 0; i < data->fields_count; i++)
        reader_column_init(&rows->scratch[i], dtype_bytes(data->fields[i].dtype));
    int rc = text_lines_open(path, &options->text, check, rows, false, &rows->lines, err);
    if (rc == 0)
        text_rows_describe(rows->lines, data);
    return rc;
}

void text_rows_close(struct text_rows *rows)
{
    text_lines_close(rows->lines);
    for (size_t i = 0; i < rows->columns; i++)
        reader_column_deinit(&rows->scratch[i]);
    mem_free(rows->scratch);
    memset(rows, 0, sizeof *rows);
}

int text_rows_append(struct text_rows *rows, int64_t sample, struct reader_column *columns,
                     struct err *err)
{
    const char *line;
    size_t bytes;
    int rc = text_lines_read(rows->lines, sample, 0, &line, &bytes, err);
    if (rc < 0)
        return rc;
    struct err why = {0};
    rc = rows->parse(rows->self, line, bytes, columns, &why);
    if (rc == 0)
        return 0;
    text_lines_blame(rows->lines, sample, &why);
    return err_set(err, rc, "%s (--bad_lines skip leaves such lines out, in a new run)", why.text);
}

void text_rows_describe(const struct text_lines *lines, struct reader_data *data)
{
    const struct str_list *notes = text_lines_notes(lines);
    data->samples = text_lines_count(lines);
    data->bytes = text_lines_file_bytes(lines);
    data->bad_lines = text_lines_bad(lines);
    for (size_t i = 0; i < notes->count; i++)
        str_list_add(&data->notes, notes->items[i]);
}

static int check(void *self, struct text_lines *lines, const char *line, size_t bytes,
                 uint64_t offset, struct err *err)
{
    (void)lines;
    (void)offset;
    struct text_rows *rows = self;
    for (size_t i = 0; i < rows->columns; i++)
        reader_column_clear(&rows->scratch[i]);
    return rows->parse(rows->self, line, bytes, rows->scratch, err);
}
