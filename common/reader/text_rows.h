// SPDX-License-Identifier: Apache-2.0
// What formats of one line a sample have in common: lines by number, checked at open where
// text_lines says so, parsed into columns, and blamed by file and line.
#pragma once

#include "common/reader/reader_format.h"

struct err;
struct text_lines;

// Appends what the line says to the columns (one a field) without ending the sample. A reason
// without file and line when it is bad.
typedef int (*text_rows_fn)(const void *self, const char *line, size_t bytes,
                            struct reader_column *columns, struct err *err);

struct text_rows {
    struct text_lines *lines;
    text_rows_fn parse;
    const void *self;
    struct reader_column *scratch;   // for checking
    size_t columns;
};

// Opens path; data has its fields already and gets samples, bytes, bad_lines and notes. Release
// with text_rows_close in any case.
int text_rows_open(struct text_rows *rows, const char *path, const struct reader_options *options,
                   text_rows_fn parse, const void *self, struct reader_data *data, struct err *err);
void text_rows_close(struct text_rows *rows);
int text_rows_append(struct text_rows *rows, int64_t sample, struct reader_column *columns,
                     struct err *err);
// The facts of lines that a reader_data tells.
void text_rows_describe(const struct text_lines *lines, struct reader_data *data);
