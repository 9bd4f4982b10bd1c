// SPDX-License-Identifier: Apache-2.0
// The one way in which the public calls load, and what they tell of it. The executor keeps the
// report of its last load, refused ones too, and separately where its variables came from, which a
// server tells to its trainers.

#include <assert.h>
#include <string.h>

#include "common/api/api_io.h"
#include "common/api/api_private.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/program/program.h"

static int check(const char *dirname, const struct program *program, struct err *err);
static void keep(struct api_executor *exe, struct ckpt_report *take, bool loaded);
static void fill(const struct ckpt_report *from, struct sl_load_report *to);

int api_load_into(struct api_executor *exe, const char *dirname, const struct program *program,
                  const struct ckpt_load_options *how, const struct sl_load_options *options,
                  struct sl_load_report *report, struct err *err)
{
    const struct sl_load_options defaults = sl_load_defaults();
    struct ckpt_load_options all = *how;
    struct str_list except = {0};
    struct ckpt_report done;
    options = options ? options : &defaults;
    if (report != NULL)
        memset(report, 0, sizeof *report);
    int rc = check(dirname, program, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < options->except_count; i++)
        str_list_add(&except, options->except[i]);
    all.except = &except;
    all.partial = options->partial;
    if (all.filename == NULL)
        all.filename = options->filename;
    ckpt_report_init(&done);
    rc = ckpt_load(dirname, program, exe->scope, &all, &done, err);
    if (report != NULL)
        fill(&done, report);
    keep(exe, &done, rc == 0);
    str_list_deinit(&except);
    return rc;
}

size_t sl_load_items(const sl_executor *exe)
{
    return exe->last_load ? exe->last_load->items_count : 0;
}

int sl_load_item(const sl_executor *exe, size_t i, struct sl_load_item *out)
{
    static_assert((int)SL_LOADED == (int)CKPT_LOADED && (int)SL_SLICED == (int)CKPT_SLICED &&
                      (int)SL_KEPT == (int)CKPT_KEPT && (int)SL_EXCEPTED == (int)CKPT_EXCEPTED &&
                      (int)SL_MISSING == (int)CKPT_MISSING &&
                      (int)SL_DIFFERS == (int)CKPT_DIFFERS && (int)SL_EXTRA == (int)CKPT_EXTRA,
                  "fates have the same numbers");
    if (i >= sl_load_items(exe))
        return SL_ERR_INVALID;
    const struct ckpt_item *item = &exe->last_load->items[i];
    *out = (struct sl_load_item){
        .name = item->name,
        .file = item->file,
        .fate = (enum sl_fate)item->fate,
        .row = item->row,
        .rows = item->rows,
        .offset = item->offset,
        .bytes = item->bytes,
        .sha256 = item->sha256[0] ? item->sha256 : NULL,
        .step = item->step,
        .note = item->note,
    };
    return 0;
}

char *sl_load_json(const sl_executor *exe)
{
    struct buf text;
    buf_init(&text, 0);
    int rc = exe->last_load ? ckpt_report_json(exe->last_load, &text) : 0;
    char *out = rc == 0 && text.bytes ? mem_must_strdup(buf_text(&text)) : mem_must_strdup("{}");
    buf_deinit(&text);
    return out;
}

static int check(const char *dirname, const struct program *program, struct err *err)
{
    if (dirname == NULL || dirname[0] == '\0')
        return err_set(err, SL_EINVAL, "load: no folder given");
    if (program->slices != NULL && program->server < 0)
        return err_set(err, SL_EREFUSED,
                       "load %s: this is a trainer's program; the servers load, and the trainer's "
                       "start-up program gets the values from them",
                       dirname);
    return 0;
}

// Takes the report over.
static void keep(struct api_executor *exe, struct ckpt_report *take, bool loaded)
{
    if (exe->last_load == NULL)
        exe->last_load = MEM_NEW(struct ckpt_report);
    else
        ckpt_report_deinit(exe->last_load);
    *exe->last_load = *take;
    if (!loaded)
        return;
    for (size_t i = 0; i < take->items_count; i++)
        if (take->items[i].fate == CKPT_LOADED || take->items[i].fate == CKPT_SLICED)
            map_set(&exe->loaded, take->items[i].name, exe);
    exe->report.has_progress = take->has_progress;
    ckpt_progress_copy(&exe->report.progress, &take->progress);
    memcpy(exe->report.digest, take->digest, sizeof exe->report.digest);
}

static void fill(const struct ckpt_report *from, struct sl_load_report *to)
{
    struct buf text;
    buf_init(&text, 0);
    to->loaded = (int)ckpt_report_count(from, CKPT_LOADED);
    to->sliced = (int)ckpt_report_count(from, CKPT_SLICED);
    to->kept = (int)ckpt_report_count(from, CKPT_KEPT);
    to->missing = (int)ckpt_report_count(from, CKPT_MISSING);
    to->mismatched = (int)ckpt_report_count(from, CKPT_DIFFERS);
    to->extra = (int)ckpt_report_count(from, CKPT_EXTRA);
    to->step = from->has_progress ? from->progress.step : -1;
    to->epoch = from->has_progress ? from->progress.epoch : -1;
    static_assert(sizeof to->digest >= sizeof from->digest, "a digest fits");
    memcpy(to->digest, from->digest, sizeof from->digest);
    ckpt_report_summary(from, "load", &text);
    strncpy(to->text, buf_text(&text), sizeof to->text - 1);
    buf_deinit(&text);
}
