// SPDX-License-Identifier: Apache-2.0
// A text file as an array of records: where each begins is found in one pass at open, and a record
// is read by number. Plain text is read in place; gzip and the output of a command are unpacked
// into an unnamed temporary file first (in TMPDIR, else /tmp), so any file can be read in any
// order with five bytes of memory a record.
//
// Lines end with LF or CRLF, the last one also with the end of the file. Lines of blanks only have
// no number. A line over TEXT_LINES_MAX bytes is a bad line.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

struct err;
struct reader_text;
struct text_lines;

#define TEXT_LINES_MAX (8u << 20)        // bytes of a line
#define TEXT_LINES_CHECKED (64u << 20)   // bytes of a file that is looked at whole
#define TEXT_LINES_NOTES 3               // bad lines that are described one by one

// Looks at one line (terminated by NUL, which is not part of it; no line end) during the pass. 0:
// it is a record; 1: its records were added by text_lines_add, at offset + the place in the line. A
// negative code with a reason (no file, no line number) says that the line is bad.
typedef int (*text_lines_fn)(void *self, struct text_lines *lines, const char *line, size_t bytes,
                             uint64_t offset, struct err *err);

// on_line sees every line when always, when bad ones are to be left out (how->skip_bad_lines), and
// when the file has at most TEXT_LINES_CHECKED bytes: then a bad line is found here; else the first
// reading finds it. Bad lines end the opening with an error that names file and line, or are left
// out and counted.
int text_lines_open(const char *path, const struct reader_text *how, text_lines_fn on_line,
                    void *self, bool always, struct text_lines **out, struct err *err);
void text_lines_close(struct text_lines *lines);   // NULL is fine
int text_lines_add(struct text_lines *lines, uint64_t offset);

int64_t text_lines_count(const struct text_lines *lines);         // records
uint64_t text_lines_file_bytes(const struct text_lines *lines);   // of the file as it lies there
uint64_t text_lines_bad(const struct text_lines *lines);          // lines left out
const struct str_list *text_lines_notes(const struct text_lines *lines);
// From the start of the record to the end of its line, terminated by NUL, valid until the next
// call. When bytes_max is not 0 only that much of it, which may end anywhere.
int text_lines_read(struct text_lines *lines, int64_t record, size_t bytes_max, const char **out,
                    size_t *out_bytes, struct err *err);
// Puts "PATH: line N: " before what err says about the record; returns the code.
int text_lines_blame(struct text_lines *lines, int64_t record, struct err *err);
// The first line with something in it of a file (gzip too), cut to cap - 1 bytes. false: none, or
// it cannot be read.
bool text_lines_peek(const char *path, char *out, size_t cap);
