// SPDX-License-Identifier: Apache-2.0
// MultiSlot text, as Fluid's MultiSlotDataFeed and data generators write it: for each slot, in
// order, how many values it has and then the values.
//
//   2 17 23 1 0.5 3 1.0 2.0 3.0        slots of 2 ids, 1 float and 3 floats
//
// A slot has at least one value; a dense one exactly as many as its dims. More than the slots at
// the end of a line is an error: then the declaration is another one than the writer's.
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/reader/reader_format.h"
#include "common/reader/slots.h"
#include "common/reader/text_rows.h"
#include "common/reader/text_scan.h"

struct multislot {
    struct slots slots;
    struct text_rows rows;
};

static int parse(const void *self, const char *line, size_t bytes, struct reader_column *columns,
                 struct err *err);
static int parse_count(const struct slot *slot, struct text_scan *scan, uint64_t *out,
                       struct err *err);

// Numbers alone do not say that they are slots: the format is always named.
static bool multislot_matches(const char *path)
{
    (void)path;
    return false;
}

static void multislot_close(void *self)
{
    struct multislot *multislot = self;
    text_rows_close(&multislot->rows);
    slots_deinit(&multislot->slots);
    mem_free(multislot);
}

static int multislot_open(const char *path, const struct reader_options *options,
                          struct reader_data *out, struct err *err)
{
    struct multislot *multislot = MEM_NEW(struct multislot);
    out->self = multislot;
    int rc = slots_make(options, path, &multislot->slots, out, err);
    return rc < 0 ? rc
                  : text_rows_open(&multislot->rows, path, options, parse, &multislot->slots, out,
                                   err);
}

static int multislot_append(void *self, int64_t sample, struct reader_column *columns,
                            struct err *err)
{
    struct multislot *multislot = self;
    return text_rows_append(&multislot->rows, sample, columns, err);
}

const struct reader_format multislot_format = {
    .scheme = "multislot",
    .what = "MultiSlot text (multislot://, --slots)",
    .single_files = true,
    .optional_fields = true,
    .matches = multislot_matches,
    .open = multislot_open,
    .append = multislot_append,
    .close = multislot_close,
};

static int parse(const void *self, const char *line, size_t bytes, struct reader_column *columns,
                 struct err *err)
{
    const struct slots *slots = self;
    struct text_scan scan = {line, line + bytes};
    char shown[TEXT_SCAN_SHOWN];
    for (size_t i = 0; i < slots->count; i++) {
        uint64_t count;
        int rc = parse_count(&slots->items[i], &scan, &count, err);
        for (uint64_t k = 0; k < count && rc == 0; k++) {
            text_scan_blanks(&scan);
            rc = scan.at < scan.end
                     ? slots_value(slots, i, &scan, &columns[i], err)
                     : err_set(err, SL_EFORMAT, "slot %s: the line ends after %llu of %llu values",
                               slots->items[i].name, (unsigned long long)k,
                               (unsigned long long)count);
        }
        if (rc < 0)
            return rc;
    }
    text_scan_blanks(&scan);
    return scan.at == scan.end ? 0
                               : err_set(err, SL_EFORMAT, "more behind the last of %zu slots: %s",
                                         slots->count, text_scan_show(&scan, scan.at, shown));
}

static int parse_count(const struct slot *slot, struct text_scan *scan, uint64_t *out,
                       struct err *err)
{
    char shown[TEXT_SCAN_SHOWN];
    *out = 0;
    text_scan_blanks(scan);
    if (scan->at == scan->end)
        return err_set(err, SL_EFORMAT, "slot %s: the line ends before it", slot->name);
    const char *from = scan->at;
    if (!text_scan_u64(scan, out) || !text_scan_ends(scan)) {
        *out = 0;
        return err_set(err, SL_EFORMAT, "slot %s: %s is no number of values", slot->name,
                       text_scan_show(scan, from, shown));
    }
    if (*out == 0)
        return err_set(err, SL_EFORMAT,
                       "slot %s has 0 values; it needs at least one (pad it with 0)", slot->name);
    if (slot->values && *out != slot->values) {
        uint64_t count = *out;
        *out = 0;
        return err_set(err, SL_EFORMAT, "slot %s has %llu values, its shape has %zu", slot->name,
                       (unsigned long long)count, slot->values);
    }
    return 0;
}
