// SPDX-License-Identifier: Apache-2.0
// Reads the job file through inih. inih is lenient where a mistake should be told: it takes text
// behind a section silently, continues values on indented lines and cuts long lines. So this file
// hands it one line at a time, after having looked at the line itself.
// Must not run in two threads at once: inih's settings are global.
#include "common/config/option_file.h"

#include <ini.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/fsutil.h"

struct reading {
    struct option_file *file;
    const char *path;
    const char *at;      // the rest of the text
    int line;
    struct err *err;
    int rc;
};

static char *next_line(char *out, int cap, void *ctx);
static const char *line_fault(const char *line, size_t bytes);
static int take_key(void *ctx, const char *section, const char *name, const char *value);

int option_file_read(struct option_file *file, const char *path, struct err *err)
{
    struct buf text;
    buf_init(&text, LIMIT_CONFIG_FILE_BYTES);
    *file = (struct option_file){0};
    int rc = fsutil_read(path, LIMIT_CONFIG_FILE_BYTES, &text, err);
    if (!rc && strlen(buf_text(&text)) != text.bytes)
        rc = err_set(err, SL_EUSAGE, "%s: is not a text file", path);
    if (!rc) {
        struct reading reading = {.file = file, .path = path, .at = buf_text(&text), .err = err};
        ini_use_stack = false;
        ini_allow_realloc = false;
        ini_max_line = LIMIT_CONFIG_LINE_BYTES + 3;
        ini_initial_alloc = LIMIT_CONFIG_LINE_BYTES + 3;
        ini_allow_multiline = false;
        ini_allow_no_value = false;
        ini_stop_on_first_error = true;
        int bad_line = ini_parse_stream(next_line, &reading, take_key, &reading);
        rc = reading.rc;
        if (!rc && bad_line > 0)
            rc = err_set(err, SL_EUSAGE, "%s:%d: is neither a [section] nor `key = value`", path,
                         bad_line);
        else if (!rc && bad_line < 0)
            rc = err_set(err, SL_ENOMEM, "%s: no memory to read it", path);
    }
    buf_deinit(&text);
    if (rc)
        option_file_deinit(file);
    return rc ? SL_EUSAGE : 0;
}

void option_file_deinit(struct option_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        mem_free(file->entries[i].name);
        mem_free(file->entries[i].value);
    }
    mem_free(file->entries);
    *file = (struct option_file){0};
}

// inih's reader: the next line with its end, or NULL at the end or at a line that must not be.
static char *next_line(char *out, int cap, void *ctx)
{
    struct reading *reading = ctx;
    if (reading->rc || !*reading->at)
        return NULL;
    size_t bytes = strcspn(reading->at, "\n");
    reading->line++;
    const char *fault = line_fault(reading->at, bytes);
    if (!fault && bytes + 2 > (size_t)cap)
        fault = "the line is longer than 64 KiB";
    if (fault) {
        reading->rc =
            err_set(reading->err, SL_EUSAGE, "%s:%d: %s", reading->path, reading->line, fault);
        return NULL;
    }
    memcpy(out, reading->at, bytes);
    out[bytes] = '\n';
    out[bytes + 1] = 0;
    reading->at += bytes + (reading->at[bytes] == '\n');
    return out;
}

static const char *line_fault(const char *line, size_t bytes)
{
    while (bytes > 0 && strchr(" \t\r", line[bytes - 1]))
        bytes--;
    if (bytes > LIMIT_CONFIG_LINE_BYTES)
        return "the line is longer than 64 KiB";
    if (bytes == 0 || *line == ';' || *line == '#')
        return NULL;
    if (*line == ' ' || *line == '\t')
        return "an indented line; every key and section begins at the left edge, a value is one "
               "line";
    if (*line != '[')
        return NULL;
    const char *close = memchr(line, ']', bytes);
    if (!close)
        return "a section without `]`";
    if (close != line + bytes - 1)
        return "text behind `]`; a section stands alone on its line";
    return close == line + 1 ? "a section without a name" : NULL;
}

// inih's handler: 1 = go on.
static int take_key(void *ctx, const char *section, const char *name, const char *value)
{
    struct reading *reading = ctx;
    struct option_file *file = reading->file;
    (void)section;
    for (size_t i = 0; i < file->count && !reading->rc; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            reading->rc =
                err_set(reading->err, SL_EUSAGE, "%s:%d: %s is there twice, first in line %d",
                        reading->path, reading->line, name, file->entries[i].line);
    if (!reading->rc && !*value)
        reading->rc = err_set(reading->err, SL_EUSAGE, "%s:%d: %s has no value", reading->path,
                              reading->line, name);
    if (reading->rc)
        return 0;
    MEM_GROW(file->entries, file->count, file->cap);
    file->entries[file->count++] =
        (struct option_file_entry){mem_must_strdup(name), mem_must_strdup(value), reading->line};
    return 1;
}
