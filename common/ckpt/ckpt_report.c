// SPDX-License-Identifier: Apache-2.0
// A report is plain data that the loader fills; this file turns it into a line, a table or JSON.
// Pure, any thread.
#include "common/ckpt/ckpt_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define NAMES_SHOWN 4
#define SIZE_TEXT_MAX 32

static const char *const fate_names[] = {"loaded",  "sliced",  "kept", "left out",
                                         "missing", "differs", "extra"};

static void append_fate(const struct ckpt_report *report, enum ckpt_fate fate, bool always,
                        const char *word, struct buf *out);
static json_t *item_json(const struct ckpt_item *item);

void ckpt_report_init(struct ckpt_report *report)
{
    memset(report, 0, sizeof *report);
    ckpt_progress_init(&report->progress);
    ckpt_facts_init(&report->facts);
}

void ckpt_report_deinit(struct ckpt_report *report)
{
    for (size_t i = 0; i < report->items_count; i++) {
        mem_free(report->items[i].name);
        mem_free(report->items[i].file);
        mem_free(report->items[i].note);
    }
    mem_free(report->items);
    mem_free(report->path);
    mem_free(report->rate_line);
    ckpt_progress_deinit(&report->progress);
    ckpt_facts_deinit(&report->facts);
    ckpt_report_init(report);
}

struct ckpt_item *ckpt_report_add(struct ckpt_report *report, enum ckpt_fate fate, const char *name,
                                  const char *file)
{
    MEM_GROW(report->items, report->items_count, report->items_cap);
    struct ckpt_item *item = &report->items[report->items_count++];
    memset(item, 0, sizeof *item);
    item->name = mem_must_strdup(name);
    item->file = file ? mem_must_strdup(file) : NULL;
    item->fate = fate;
    item->step = -1;
    return item;
}

size_t ckpt_report_count(const struct ckpt_report *report, enum ckpt_fate fate)
{
    size_t count = 0;
    for (size_t i = 0; i < report->items_count; i++)
        count += report->items[i].fate == fate;
    return count;
}

void ckpt_report_summary(const struct ckpt_report *report, const char *verb, struct buf *out)
{
    struct map variables;
    size_t taken = 0, sliced = 0, surplus = 0;
    char size[SIZE_TEXT_MAX];
    map_init(&variables);
    for (size_t i = 0; i < report->items_count; i++) {
        const struct ckpt_item *item = &report->items[i];
        surplus += item->surplus > 0;
        if (item->fate != CKPT_LOADED && item->fate != CKPT_SLICED)
            continue;
        taken++;
        sliced += item->fate == CKPT_SLICED;
        map_set(&variables, item->name, out);
    }
    buf_printf(out, "%s %s", verb, report->path ? report->path : "");
    if (report->has_progress)
        buf_printf(out, " (step %" PRId64 ")", report->progress.step);
    size_t count = map_count(&variables);
    if (sliced)
        buf_printf(out, ": %zu slice%s of %zu variable%s", taken, taken == 1 ? "" : "s", count,
                   count == 1 ? "" : "s");
    else
        buf_printf(out, ": %zu variable%s", count, count == 1 ? "" : "s");
    buf_printf(out, ", %s, %s; ", ckpt_report_size(report->bytes, size),
               !report->has_manifest                     ? "no manifest"
               : ckpt_report_count(report, CKPT_DIFFERS) ? "sha256 checked"
                                                         : "sha256 ok");
    append_fate(report, CKPT_MISSING, true, "missing", out);
    append_fate(report, CKPT_DIFFERS, false, "different", out);
    append_fate(report, CKPT_KEPT, false, "kept", out);
    append_fate(report, CKPT_EXCEPTED, false, "left out", out);
    append_fate(report, CKPT_EXTRA, true, "extra", out);
    if (surplus)
        buf_printf(out, ", %zu with surplus bytes", surplus);
    map_deinit(&variables);
}

void ckpt_report_table(const struct ckpt_report *report, struct buf *out)
{
    for (size_t i = 0; i < report->items_count; i++) {
        const struct ckpt_item *item = &report->items[i];
        buf_printf(out, "%-8s %s", fate_names[item->fate], item->name);
        if (item->fate == CKPT_SLICED)
            buf_printf(out, "  rows %" PRId64 "..%" PRId64 " of %s", item->row,
                       item->row + item->rows, item->file);
        if (item->bytes)
            buf_printf(out, "  %" PRIu64 " bytes from offset %" PRIu64, item->bytes, item->offset);
        if (item->file && item->fate != CKPT_EXTRA && !str_eq(item->file, item->name) &&
            item->fate != CKPT_SLICED)
            buf_printf(out, "  from %s", item->file);
        if (item->bytes)
            buf_printf(out, "  %s%.8s", item->sha256[0] ? "sha256 " : "no checksum", item->sha256);
        if (item->step >= 0)
            buf_printf(out, "  step %" PRId64, item->step);
        if (item->surplus)
            buf_printf(out, "  %" PRIu64 " surplus bytes in the file", item->surplus);
        if (item->note)
            buf_printf(out, "  %s", item->note);
        buf_printf(out, "\n");
    }
}

int ckpt_report_json(const struct ckpt_report *report, struct buf *out)
{
    json_t *items = json_array(), *counts = json_object();
    struct buf line;
    buf_init(&line, 0);
    for (size_t i = 0; i < report->items_count; i++)
        json_array_append_new(items, item_json(&report->items[i]));
    for (int fate = CKPT_LOADED; fate <= CKPT_EXTRA; fate++)
        json_object_set_new(
            counts, fate_names[fate],
            json_integer((json_int_t)ckpt_report_count(report, (enum ckpt_fate)fate)));
    ckpt_report_summary(report, "load", &line);
    json_t *root = json_pack(
        "{s:s, s:s, s:b, s:s, s:I, s:o, s:o}", "path", report->path ? report->path : "", "summary",
        buf_text(&line), "sha256_checked", report->has_manifest, "digest", report->digest, "bytes",
        (json_int_t)report->bytes, "counts", counts, "variables", items);
    buf_deinit(&line);
    if (root && report->has_progress) {
        json_object_set_new(root, "step", json_integer(report->progress.step));
        json_object_set_new(root, "epoch", json_integer(report->progress.epoch));
    }
    if (root && report->rate_line)
        json_object_set_new(root, "learning_rate", json_string(report->rate_line));
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    int rc = text ? buf_append(out, text, strlen(text)) : SL_EINVAL;
    free(text);
    json_decref(root);
    return rc;
}

const char *ckpt_report_fate_name(enum ckpt_fate fate)
{
    return fate_names[fate];
}

const char *ckpt_report_size(uint64_t bytes, char *text)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " bytes", bytes);
        return text;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        value /= 1024;
    snprintf(text, SIZE_TEXT_MAX, "%.1f %s", value, units[unit]);
    return text;
}

// ", 2 kept (a, b)"
static void append_fate(const struct ckpt_report *report, enum ckpt_fate fate, bool always,
                        const char *word, struct buf *out)
{
    size_t count = ckpt_report_count(report, fate), shown = 0;
    if (!count && !always)
        return;
    buf_printf(out, "%s%zu %s", fate == CKPT_MISSING ? "" : ", ", count, word);
    for (size_t i = 0; i < report->items_count && shown < NAMES_SHOWN; i++)
        if (report->items[i].fate == fate)
            buf_printf(out, "%s%s", shown++ ? ", " : " (", report->items[i].name);
    if (count > NAMES_SHOWN)
        buf_printf(out, " and %zu more", count - NAMES_SHOWN);
    if (count)
        buf_printf(out, ")");
}

static json_t *item_json(const struct ckpt_item *item)
{
    json_t *value = json_pack("{s:s, s:s}", "name", item->name, "fate", fate_names[item->fate]);
    if (!value)
        return json_null();
    if (item->file)
        json_object_set_new(value, "file", json_string(item->file));
    if (item->file)
        json_object_set_new(value, "sha256",
                            item->sha256[0] ? json_string(item->sha256) : json_null());
    if (item->step >= 0)
        json_object_set_new(value, "step", json_integer(item->step));
    if (item->fate == CKPT_SLICED) {
        json_object_set_new(value, "row", json_integer(item->row));
        json_object_set_new(value, "rows", json_integer(item->rows));
    }
    if (item->bytes) {
        json_object_set_new(value, "offset", json_integer((json_int_t)item->offset));
        json_object_set_new(value, "bytes", json_integer((json_int_t)item->bytes));
    }
    if (item->surplus)
        json_object_set_new(value, "surplus", json_integer((json_int_t)item->surplus));
    if (item->note)
        json_object_set_new(value, "note", json_string(item->note));
    return value;
}
