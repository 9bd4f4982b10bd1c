// SPDX-License-Identifier: Apache-2.0
// Records by number. Where one begins takes five bytes (low and high part), so a file has at most
// 1 TiB unpacked. Reading goes through a window: as large as the record when records come in any
// order, large when they come one behind the other. A file that becomes shorter while it is read is
// an error, never a fault, because nothing is mapped.
//
// Invariant: offsets rise strictly. One thread at a time.
#include "common/reader/text_lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/reader/reader.h"
#include "common/reader/text_scan.h"
#include "common/reader/unpack.h"

#define SCAN_BYTES (1u << 20)
#define AHEAD_BYTES (256u << 10)
#define FILE_BYTES_MAX (1ull << 40)

struct text_lines {
    char *path;
    struct unpacked file;
    uint32_t *low;   // offset of record i is high[i] * 2^32 + low[i]
    uint8_t *high;
    size_t count, cap;
    uint64_t bad;
    struct str_list notes;
    char *window, *line;   // bytes of the file at window_at; the last record read
    size_t window_bytes, window_cap, line_cap;
    uint64_t window_at;
    int64_t last;   // the record read last
};

// The one pass over the file.
struct pass {
    struct text_lines *lines;
    text_lines_fn on_line;
    void *self;
    bool skip;
    char *block;
    size_t bytes, cap;         // of block; its first byte is at offset in the file
    uint64_t offset, number;   // number: lines seen
    bool too_long;             // inside a line that is too long already
};

static int run_pass(struct pass *pass, struct err *err);
static int take_lines(struct pass *pass, bool last, struct err *err);
static int make_room(struct pass *pass, struct err *err);
static int take_line(struct pass *pass, char *line, size_t bytes, uint64_t offset, struct err *err);
static int bad_line(struct pass *pass, const struct err *why, struct err *err);
static uint64_t offset_of(const struct text_lines *lines, int64_t record);
static int fill_window(struct text_lines *lines, uint64_t offset, size_t bytes, struct err *err);
static size_t window_size(const struct text_lines *lines, int64_t record, size_t bytes_max);
static bool reserve(char **data, size_t *cap, size_t needed);
static ssize_t read_at(int fd, void *out, size_t bytes, uint64_t offset);
static bool is_blank(const char *line, size_t bytes);

int text_lines_open(const char *path, const struct reader_text *how, text_lines_fn on_line,
                    void *self, bool always, struct text_lines **out, struct err *err)
{
    struct text_lines *lines = MEM_NEW(struct text_lines);
    uint64_t most = how->unpacked_max ? how->unpacked_max : READER_UNPACKED_MAX;
    lines->path = mem_must_strdup(path);
    lines->file.fd = -1;
    lines->last = -1;
    int rc = unpack_open(path, how->pipe_command, most, &lines->file, err);
    if (rc == 0 && lines->file.bytes > FILE_BYTES_MAX)
        rc = err_set(err, SL_ELIMIT, "%s: %llu bytes of text, at most 1 TiB is possible: cut it",
                     path, (unsigned long long)lines->file.bytes);
    struct pass pass = {.lines = lines, .self = self, .skip = how->skip_bad_lines};
    if (always || how->skip_bad_lines || lines->file.bytes <= TEXT_LINES_CHECKED)
        pass.on_line = on_line;
    if (rc == 0)
        rc = run_pass(&pass, err);
    mem_free(pass.block);
    if (rc < 0)
        text_lines_close(lines);
    else
        *out = lines;
    return rc;
}

void text_lines_close(struct text_lines *lines)
{
    if (!lines)
        return;
    unpack_close(&lines->file);
    str_list_deinit(&lines->notes);
    mem_free(lines->path);
    mem_free(lines->low);
    mem_free(lines->high);
    mem_free(lines->window);
    mem_free(lines->line);
    mem_free(lines);
}

int text_lines_add(struct text_lines *lines, uint64_t offset)
{
    if (lines->count == lines->cap) {
        size_t cap = lines->cap ? lines->cap + lines->cap / 2 : 1024;
        uint32_t *low = mem_realloc(lines->low, cap * sizeof *low);
        if (!low)
            return SL_ENOMEM;
        lines->low = low;
        uint8_t *high = mem_realloc(lines->high, cap);
        if (!high)
            return SL_ENOMEM;
        lines->high = high;
        lines->cap = cap;
    }
    lines->low[lines->count] = (uint32_t)offset;
    lines->high[lines->count++] = (uint8_t)(offset >> 32);
    return 0;
}

int64_t text_lines_count(const struct text_lines *lines)
{
    return (int64_t)lines->count;
}

uint64_t text_lines_file_bytes(const struct text_lines *lines)
{
    return lines->file.file_bytes;
}

uint64_t text_lines_bad(const struct text_lines *lines)
{
    return lines->bad;
}

const struct str_list *text_lines_notes(const struct text_lines *lines)
{
    return &lines->notes;
}

int text_lines_read(struct text_lines *lines, int64_t record, size_t bytes_max, const char **out,
                    size_t *out_bytes, struct err *err)
{
    uint64_t offset = offset_of(lines, record);
    size_t wanted = window_size(lines, record, bytes_max);
    lines->last = record;
    for (;;) {
        bool inside = offset >= lines->window_at && offset < lines->window_at + lines->window_bytes;
        size_t skipped = inside ? (size_t)(offset - lines->window_at) : 0;
        size_t have = inside ? lines->window_bytes - skipped : 0;
        const char *text = lines->window + skipped;
        const char *end = have ? memchr(text, '\n', have) : NULL;
        bool at_end = lines->window_at + lines->window_bytes >= lines->file.bytes;
        size_t bytes = end ? (size_t)(end - text) : have;
        bool enough = bytes_max && have >= bytes_max;
        if (inside && (end || at_end || enough)) {
            if (bytes_max && bytes > bytes_max)
                bytes = bytes_max;
            else if (bytes && text[bytes - 1] == '\r')
                bytes--;
            if (!reserve(&lines->line, &lines->line_cap, bytes + 1))
                return err_set(err, SL_ENOMEM, "%s: no memory for a line of %zu bytes", lines->path,
                               bytes);
            memcpy(lines->line, text, bytes);
            lines->line[bytes] = 0;
            *out = lines->line;
            *out_bytes = bytes;
            return 0;
        }
        if (have >= wanted)
            wanted *= 2;
        int rc = wanted > 2 * TEXT_LINES_MAX
                     ? err_set(err, SL_EFORMAT,
                               "%s: offset %llu: the file has changed: no line "
                               "end for %zu bytes",
                               lines->path, (unsigned long long)offset, have)
                     : fill_window(lines, offset, wanted, err);
        if (rc < 0)
            return rc;
    }
}

int text_lines_blame(struct text_lines *lines, int64_t record, struct err *err)
{
    uint64_t left = offset_of(lines, record), at = 0, number = 1;
    char *block = mem_must_calloc(1, AHEAD_BYTES);
    while (left > 0) {
        size_t bytes = left < AHEAD_BYTES ? (size_t)left : AHEAD_BYTES;
        ssize_t got = read_at(lines->file.fd, block, bytes, at);
        if (got <= 0)
            break;
        for (const char *p = block; (p = memchr(p, '\n', (size_t)(block + got - p))) != NULL; p++)
            number++;
        at += (uint64_t)got;
        left -= (uint64_t)got;
    }
    mem_free(block);
    return err_prefix(err, "%s: line %llu", lines->path, (unsigned long long)number);
}

bool text_lines_peek(const char *path, char *out, size_t cap)
{
    gzFile file = gzopen(path, "rb");
    bool found = false;
    if (!file)
        return false;
    while (!found && gzgets(file, out, (int)cap)) {
        size_t bytes = strlen(out);
        while (bytes && (out[bytes - 1] == '\n' || out[bytes - 1] == '\r'))
            out[--bytes] = 0;
        found = !is_blank(out, bytes);
    }
    gzclose_r(file);
    return found;
}

static int run_pass(struct pass *pass, struct err *err)
{
    uint64_t at = 0;
    for (;;) {
        int rc = make_room(pass, err);
        if (rc < 0)
            return rc;
        // One byte stays free for the NUL behind a last line without a line end.
        ssize_t got = read_at(pass->lines->file.fd, pass->block + pass->bytes,
                              pass->cap - pass->bytes - 1, at);
        if (got < 0)
            return err_set(err, SL_EIO, "%s: offset %llu: %s", pass->lines->path,
                           (unsigned long long)at, strerror(errno));
        at += (uint64_t)got;
        pass->bytes += (size_t)got;
        rc = take_lines(pass, got == 0, err);
        if (rc < 0 || got == 0)
            return rc;
    }
}

// Takes the whole lines of the block (also the rest, at the end), and moves what is left to its
// front.
static int take_lines(struct pass *pass, bool last, struct err *err)
{
    char *line = pass->block, *end = pass->block + pass->bytes;
    while (line < end) {
        char *next = memchr(line, '\n', (size_t)(end - line));
        if (!next && !last)
            break;
        size_t bytes = (size_t)((next ? next : end) - line);
        int rc = take_line(pass, line, bytes, pass->offset + (uint64_t)(line - pass->block), err);
        if (rc < 0)
            return rc;
        line = next ? next + 1 : end;
    }
    if (last && pass->too_long)
        return take_line(pass, line, 0, 0, err);
    size_t left = (size_t)(end - line);
    memmove(pass->block, line, left);
    pass->offset += (uint64_t)(line - pass->block);
    pass->bytes = left;
    if (left > TEXT_LINES_MAX + 1) {
        // Only that it is too long is of interest: the rest of it is passed over.
        pass->too_long = true;
        pass->offset += left;
        pass->bytes = 0;
    }
    return 0;
}

static int make_room(struct pass *pass, struct err *err)
{
    size_t cap = pass->bytes * 2 < SCAN_BYTES ? SCAN_BYTES : pass->bytes * 2;
    if (cap <= pass->cap)
        return 0;
    char *block = mem_realloc(pass->block, cap);
    if (!block)
        return err_set(err, SL_ENOMEM, "%s: no memory for a line of over %zu bytes",
                       pass->lines->path, pass->bytes);
    pass->block = block;
    pass->cap = cap;
    return 0;
}

static int take_line(struct pass *pass, char *line, size_t bytes, uint64_t offset, struct err *err)
{
    struct text_lines *lines = pass->lines;
    struct err why = {0};
    size_t before = lines->count;
    bool too_long = pass->too_long || bytes > TEXT_LINES_MAX;
    pass->too_long = false;
    pass->number++;
    if (too_long) {
        err_set(&why, SL_EFORMAT, "is longer than %u bytes", TEXT_LINES_MAX);
        return bad_line(pass, &why, err);
    }
    if (bytes && line[bytes - 1] == '\r')
        bytes--;
    if (is_blank(line, bytes))
        return 0;
    line[bytes] = 0;
    int rc = pass->on_line ? pass->on_line(pass->self, lines, line, bytes, offset, &why) : 0;
    if (rc == 0)
        rc = text_lines_add(lines, offset);
    if (rc == SL_ENOMEM)
        return err_set(err, rc, "%s: no memory for the places of %zu records", lines->path,
                       lines->count);
    if (rc >= 0)
        return 0;
    lines->count = before;
    return bad_line(pass, &why, err);
}

static int bad_line(struct pass *pass, const struct err *why, struct err *err)
{
    struct text_lines *lines = pass->lines;
    if (!pass->skip)
        return err_set(err, why->code, "%s: line %llu: %s (--bad_lines skip leaves such lines out)",
                       lines->path, (unsigned long long)pass->number, why->text);
    if (lines->bad++ < TEXT_LINES_NOTES)
        str_list_addf(&lines->notes, "%s: line %llu is left out: %s", lines->path,
                      (unsigned long long)pass->number, why->text);
    return 0;
}

static uint64_t offset_of(const struct text_lines *lines, int64_t record)
{
    return (uint64_t)lines->high[record] << 32 | lines->low[record];
}

static int fill_window(struct text_lines *lines, uint64_t offset, size_t bytes, struct err *err)
{
    lines->window_bytes = 0;
    if (!reserve(&lines->window, &lines->window_cap, bytes))
        return err_set(err, SL_ENOMEM, "%s: no memory for %zu bytes", lines->path, bytes);
    ssize_t got = read_at(lines->file.fd, lines->window, bytes, offset);
    if (got < 0)
        return err_set(err, SL_EIO, "%s: offset %llu: %s", lines->path, (unsigned long long)offset,
                       strerror(errno));
    if ((size_t)got < bytes && offset + (uint64_t)got < lines->file.bytes)
        return err_set(err, SL_EIO, "%s: offset %llu: the file became shorter while it was read",
                       lines->path, (unsigned long long)offset);
    lines->window_at = offset;
    lines->window_bytes = (size_t)got;
    return 0;
}

static size_t window_size(const struct text_lines *lines, int64_t record, size_t bytes_max)
{
    uint64_t offset = offset_of(lines, record);
    if (record == lines->last + 1)
        return AHEAD_BYTES;
    if (bytes_max)
        return bytes_max;
    uint64_t next =
        (size_t)record + 1 < lines->count ? offset_of(lines, record + 1) : lines->file.bytes;
    uint64_t bytes = next > offset ? next - offset : 1;
    return bytes < AHEAD_BYTES ? (size_t)bytes : AHEAD_BYTES;
}

static bool reserve(char **data, size_t *cap, size_t needed)
{
    if (needed <= *cap)
        return true;
    size_t more = needed < 4096 ? 4096 : needed + needed / 2;
    char *grown = mem_realloc(*data, more);
    if (!grown)
        return false;
    *data = grown;
    *cap = more;
    return true;
}

static ssize_t read_at(int fd, void *out, size_t bytes, uint64_t offset)
{
    ssize_t got;
    do
        got = pread(fd, out, bytes, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return got;
}

static bool is_blank(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}
