// SPDX-License-Identifier: Apache-2.0
// Lines of pairs, blanks between:
//
//   1 3:4351255118977467729 29:16543128959394097760       a label, then slot:feasign
//   click:1 dense_feature:0.5 dense_feature:0.25 1:737395  the label is a slot too
//
// (feasign:slot when so asked for). The values of a slot stand in the line's order, wherever they
// are. Slots that are not declared are passed over. A sequence without a value in a line gets one
// 0; a dense slot must have all its values. A bare word may only be the first: it is the value of
// the feed `label`. Feasigns are unsigned 64-bit numbers: their bits are fed as int64, or they are
// reduced modulo hash_dim (unsigned).
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/reader/reader_format.h"
#include "common/reader/slots.h"
#include "common/reader/text_lines.h"
#include "common/reader/text_rows.h"
#include "common/reader/text_scan.h"

#define LABEL "label"
#define PEEK_BYTES (64u << 10)
#define NONE SIZE_MAX

struct feasign {
    struct slots slots;
    struct text_rows rows;
    size_t *sorted;   // slots by name
    size_t label;     // the slot that a bare first word is; NONE
    bool feasign_first;
};

static void sort_slots(struct feasign *feasign);
static int parse(const void *self, const char *line, size_t bytes, struct reader_column *columns,
                 struct err *err);
static int parse_pair(const struct feasign *feasign, const char *word, size_t bytes, size_t *guess,
                      struct reader_column *columns, struct err *err);
static int parse_label(const struct feasign *feasign, const char *word, size_t bytes,
                       struct reader_column *columns, struct err *err);
static int finish(const struct feasign *feasign, struct reader_column *columns, struct err *err);
static size_t find_slot(const struct feasign *feasign, const char *name, size_t bytes,
                        size_t guess);
static int compare(const char *a, size_t a_bytes, const struct slot *b);

// All words but the first have one colon, and there is one.
static bool feasign_matches(const char *path)
{
    char *line = mem_must_calloc(1, PEEK_BYTES);
    size_t pairs = 0, bare = 0, words = 0;
    if (fsutil_is_file(path) && text_lines_peek(path, line, PEEK_BYTES)) {
        struct text_scan scan = {line, line + strlen(line)};
        for (text_scan_blanks(&scan); scan.at < scan.end; text_scan_blanks(&scan), words++) {
            size_t bytes = text_scan_word(&scan);
            const char *colon = memchr(scan.at, ':', bytes);
            bool pair = colon && !memchr(colon + 1, ':', bytes - (size_t)(colon + 1 - scan.at));
            pairs += pair;
            bare += !pair && words > 0;
            scan.at += bytes;
        }
    }
    mem_free(line);
    return pairs > 0 && bare == 0;
}

static void feasign_close(void *self)
{
    struct feasign *feasign = self;
    text_rows_close(&feasign->rows);
    slots_deinit(&feasign->slots);
    mem_free(feasign->sorted);
    mem_free(feasign);
}

static int feasign_open(const char *path, const struct reader_options *options,
                        struct reader_data *out, struct err *err)
{
    struct feasign *feasign = MEM_NEW(struct feasign);
    out->self = feasign;
    feasign->feasign_first = options->text.feasign_first;
    int rc = slots_make(options, path, &feasign->slots, out, err);
    if (rc < 0)
        return rc;
    feasign->label = NONE;
    for (size_t i = 0; i < out->fields_count; i++)
        if (str_eq(out->fields[i].name, LABEL))
            feasign->label = i;
    sort_slots(feasign);
    return text_rows_open(&feasign->rows, path, options, parse, feasign, out, err);
}

static int feasign_append(void *self, int64_t sample, struct reader_column *columns,
                          struct err *err)
{
    struct feasign *feasign = self;
    return text_rows_append(&feasign->rows, sample, columns, err);
}

const struct reader_format feasign_format = {
    .scheme = "feasign",
    .what = "lines of slot:feasign pairs (feasign://, --slots)",
    .single_files = true,
    .optional_fields = true,
    .matches = feasign_matches,
    .open = feasign_open,
    .append = feasign_append,
    .close = feasign_close,
};

// Insertion sort: once, and few.
static void sort_slots(struct feasign *feasign)
{
    const struct slots *slots = &feasign->slots;
    feasign->sorted = mem_must_calloc(slots->count, sizeof *feasign->sorted);
    for (size_t i = 0; i < slots->count; i++) {
        size_t at = i;
        const struct slot *slot = &slots->items[i];
        for (; at > 0 &&
               compare(slot->name, slot->name_bytes, &slots->items[feasign->sorted[at - 1]]) < 0;
             at--)
            feasign->sorted[at] = feasign->sorted[at - 1];
        feasign->sorted[at] = i;
    }
}

static int parse(const void *self, const char *line, size_t bytes, struct reader_column *columns,
                 struct err *err)
{
    const struct feasign *feasign = self;
    struct text_scan scan = {line, line + bytes};
    size_t guess = 0;
    bool first = true;
    for (text_scan_blanks(&scan); scan.at < scan.end; text_scan_blanks(&scan), first = false) {
        size_t n = text_scan_word(&scan);
        int rc = first && !memchr(scan.at, ':', n)
                     ? parse_label(feasign, scan.at, n, columns, err)
                     : parse_pair(feasign, scan.at, n, &guess, columns, err);
        if (rc < 0)
            return rc;
        scan.at += n;
    }
    return finish(feasign, columns, err);
}

static int parse_pair(const struct feasign *feasign, const char *word, size_t bytes, size_t *guess,
                      struct reader_column *columns, struct err *err)
{
    char shown[TEXT_SCAN_SHOWN];
    struct text_scan whole = {word, word + bytes};
    const char *colon = memchr(word, ':', bytes);
    if (!colon || memchr(colon + 1, ':', bytes - (size_t)(colon + 1 - word)))
        return err_set(err, SL_EFORMAT, "%s is no pair %s", text_scan_show(&whole, word, shown),
                       feasign->feasign_first ? "feasign:slot" : "slot:feasign");
    struct text_scan left = {word, colon}, right = {colon + 1, word + bytes};
    const struct text_scan *name = feasign->feasign_first ? &right : &left;
    struct text_scan *value = feasign->feasign_first ? &left : &right;
    size_t slot = find_slot(feasign, name->at, (size_t)(name->end - name->at), *guess);
    if (slot == NONE)
        return 0;
    *guess = slot;
    const struct slot *s = &feasign->slots.items[slot];
    if (s->values && reader_column_pending(&columns[slot]) == s->values)
        return err_set(err, SL_EFORMAT, "slot %s has more than the %zu values of its shape",
                       s->name, s->values);
    return slots_value(&feasign->slots, slot, value, &columns[slot], err);
}

static int parse_label(const struct feasign *feasign, const char *word, size_t bytes,
                       struct reader_column *columns, struct err *err)
{
    struct text_scan scan = {word, word + bytes};
    if (feasign->label == NONE)
        return 0;
    return slots_value(&feasign->slots, feasign->label, &scan, &columns[feasign->label], err);
}

// Pads sequences, judges dense slots.
static int finish(const struct feasign *feasign, struct reader_column *columns, struct err *err)
{
    for (size_t i = 0; i < feasign->slots.count; i++) {
        const struct slot *slot = &feasign->slots.items[i];
        size_t have = reader_column_pending(&columns[i]);
        if (slot->values && have != slot->values)
            return err_set(err, SL_EFORMAT, "slot %s has %zu values, its shape has %zu", slot->name,
                           have, slot->values);
        if (have)
            continue;
        void *to = reader_column_add(&columns[i], 1);
        if (!to)
            return err_set(err, SL_ENOMEM, "slot %s: no memory for its values", slot->name);
        memset(to, 0, dtype_bytes(slot->dtype));
    }
    return 0;
}

// Lines mostly name the slot of the pair before or the one behind it.
static size_t find_slot(const struct feasign *feasign, const char *name, size_t bytes, size_t guess)
{
    const struct slots *slots = &feasign->slots;
    for (size_t i = guess; i < guess + 2 && i < slots->count; i++)
        if (slots->items[i].name_bytes == bytes && memcmp(slots->items[i].name, name, bytes) == 0)
            return i;
    size_t low = 0, high = slots->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(name, bytes, &slots->items[feasign->sorted[middle]]);
        if (order == 0)
            return feasign->sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NONE;
}

static int compare(const char *a, size_t a_bytes, const struct slot *b)
{
    int order = memcmp(a, b->name, a_bytes < b->name_bytes ? a_bytes : b->name_bytes);
    return order ? order : a_bytes < b->name_bytes ? -1 : a_bytes > b->name_bytes;
}
