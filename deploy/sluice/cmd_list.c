// SPDX-License-Identifier: Apache-2.0
// `sluice ckpt ls`: the checkpoints in a folder. `sluice ckpt show`: the variables of one.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_find.h"
#include "common/ckpt/ckpt_report.h"
#include "common/ckpt/ckpt_view.h"
#include "common/program/program.h"
#include "common/storage/store.h"
#include "deploy/sluice/cmd_args.h"
#include "deploy/sluice/cmd_view.h"

static int list(int argc, char **argv);
static int show(int argc, char **argv);
static void list_one(const char *dir, const char *name, const char *newest, struct cmd_table *table,
                     json_t *array);
static int show_people(const struct ckpt_view *view);
static int show_json(const struct ckpt_view *view);
static void put_progress(const struct ckpt_view *view, struct buf *out);

const struct cmd cmd_ckpt_ls = {
    .name = "ckpt ls",
    .args = "DIR [--json]",
    .help = "Lists the checkpoints in a folder: step, epoch, size, whole or not; * marks the "
            "newest.",
    .details = "DIR is what --save_dir named, or one checkpoint. Newest is decided by the "
               "manifests' step, as a\n"
               "load does it. Sums are not taken: `sluice ckpt verify DIR` does that.\n\n"
               "example:\n"
               "  sluice ckpt ls models",
    .run = list,
};

const struct cmd cmd_ckpt_show = {
    .name = "ckpt show",
    .args = "DIR [--filename FILE] [--program FILE] [--json]",
    .help = "Shows a checkpoint: progress, and type, shape and size of each variable.",
    .details = CMD_VIEW_DETAILS "\n\nexample:\n"
                                "  sluice ckpt show models/epoch_3",
    .run = show,
};

static int list(int argc, char **argv)
{
    bool json = false;
    const char *dir;
    const struct cmd_option options[] = {{"--json", .flag = &json}, {.name = NULL}};
    int code = cmd_args_parse(&cmd_ckpt_ls, argc, argv, options, &dir, 1, 1);
    if (code != CMD_OK)
        return code;
    struct err err = {0};
    struct str_list folders = {0};
    char *newest = NULL;
    if (!store_is_folder(dir)) {
        err_set(&err, SL_ENOENT, "%s: no such folder", dir);
        return cmd_failed(&err);
    }
    static const char *const titles[] = {"",       "checkpoint", ">step", ">epoch",
                                         ">files", ">size",      "state", NULL};
    struct cmd_table table = {.titles = titles};
    json_t *array = json_array();
    ckpt_find_newest(dir, &newest, NULL, NULL);
    if (newest != NULL && str_eq(newest, dir))
        list_one(dir, NULL, newest, &table, array);
    else if (store_list_folders(dir, &folders, &err) < 0)
        code = cmd_failed(&err);
    for (size_t i = 0; i < folders.count; i++)
        list_one(dir, folders.items[i], newest, &table, array);
    struct buf text;
    buf_init(&text, 0);
    if (code == CMD_OK && table.count == 0) {
        err_set(&err, SL_ENOENT, "%s: no checkpoint in it", dir);
        code = cmd_failed(&err);
    }
    if (json && code == CMD_OK)
        code = cmd_view_print_json(array);
    cmd_args_table(&table, &text);
    if (!json && code == CMD_OK)
        code = cmd_write(text.data, text.bytes);
    json_decref(array);
    buf_deinit(&text);
    str_list_deinit(&folders);
    mem_free(newest);
    return code;
}

// A row for dir/name, if that is a folder of variables. name NULL: dir itself.
static void list_one(const char *dir, const char *name, const char *newest, struct cmd_table *table,
                     json_t *array)
{
    char *path = name != NULL ? fsutil_join(dir, name) : mem_must_strdup(dir);
    struct ckpt_view view;
    struct err why = {0};
    int rc = ckpt_view_open(path, NULL, &view, &why);
    bool manifest = rc == 0 && view.folder.has_manifest;
    if (rc == 0 && !manifest && view.count == 0) {
        ckpt_view_close(&view);
        mem_free(path);
        return;
    }
    uint64_t bytes = 0;
    char size[32] = "", step[24] = "", epoch[24] = "", files[24] = "";
    const char *state = "plain folder, no manifest";
    char *whole = NULL;
    bool is_newest = newest != NULL && str_eq(path, newest);
    if (manifest && view.folder.manifest.has_progress) {
        snprintf(step, sizeof step, "%" PRId64, view.folder.manifest.progress.step);
        snprintf(epoch, sizeof epoch, "%" PRId64, view.folder.manifest.progress.epoch);
    }
    if (manifest && ckpt_find_newest(path, &whole, NULL, &why) == 0)
        state = "complete";
    else if (manifest || rc < 0)
        state = why.text;
    for (size_t i = 0; rc == 0 && i < view.count; i++)
        bytes += view.vars[i].header.data_offset + view.vars[i].header.data_bytes;
    if (rc == 0) {
        snprintf(files, sizeof files, "%zu", view.count);
        ckpt_report_size(bytes, size);
    }
    const char *const cells[] = {
        is_newest ? "*" : "", name != NULL ? name : dir, step, epoch, files, size, state};
    cmd_args_row(table, cells);
    json_array_append_new(
        array, json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:s}", "path", path, "newest",
                         is_newest, "complete", whole != NULL, "step",
                         (json_int_t)(*step ? view.folder.manifest.progress.step : -1), "epoch",
                         (json_int_t)(*epoch ? view.folder.manifest.progress.epoch : -1), "files",
                         (json_int_t)(rc == 0 ? view.count : 0), "bytes", (json_int_t)bytes,
                         "state", state));
    if (rc == 0)
        ckpt_view_close(&view);
    mem_free(whole);
    mem_free(path);
}

static int show(int argc, char **argv)
{
    bool json = false;
    const char *dir;
    struct cmd_view_from from = {0};
    const struct cmd_option options[] = {{"--filename", .text = &from.filename},
                                         {"--program", .text = &from.program},
                                         {"--json", .flag = &json},
                                         {.name = NULL}};
    int code = cmd_args_parse(&cmd_ckpt_show, argc, argv, options, &dir, 1, 1);
    struct ckpt_view view;
    if (code == CMD_OK)
        code = cmd_view_open(dir, &from, &view);
    if (code != CMD_OK)
        return code;
    code = json ? show_json(&view) : show_people(&view);
    ckpt_view_close(&view);
    return code;
}

static int show_people(const struct ckpt_view *view)
{
    static const char *const titles[] = {"variable", "type",   "shape",  ">bytes",
                                         "lod",      "sha256", "remark", NULL};
    struct cmd_table table = {.titles = titles};
    struct buf text;
    uint64_t total = 0;
    buf_init(&text, 0);
    put_progress(view, &text);
    for (size_t i = 0; i < view->count; i++) {
        const struct ckpt_view_var *var = &view->vars[i];
        char shape[DIMS_TEXT_MAX], bytes[24], lod[24] = "", sum[17] = "", remark[80] = "";
        snprintf(bytes, sizeof bytes, "%" PRIu64, var->header.data_bytes);
        if (var->header.lod_levels > 0)
            snprintf(lod, sizeof lod, "%d", var->header.lod_levels);
        if (var->sha256 != NULL)
            snprintf(sum, sizeof sum, "%.16s", var->sha256);
        if (var->header.kind == VARIABLE_SELECTED_ROWS)
            snprintf(remark, sizeof remark, "selected rows, height %" PRId64, var->header.height);
        else if (var->surplus > 0)
            snprintf(remark, sizeof remark, "%" PRIu64 " bytes more than its shape says",
                     var->surplus);
        const char *const cells[] = {var->name,
                                     dtype_name(var->header.dtype),
                                     dims_format(&var->header.dims, shape),
                                     bytes,
                                     lod,
                                     sum,
                                     remark};
        cmd_args_row(&table, cells);
        total += var->header.data_bytes;
    }
    cmd_args_table(&table, &text);
    char size[32];
    buf_printf(&text, "%zu variables, %s", view->count, ckpt_report_size(total, size));
    for (size_t i = 0; i < view->others.count; i++)
        buf_printf(&text, "%s%s", i == 0 ? "; other files: " : ", ", view->others.items[i]);
    buf_printf(&text, "\n");
    int code = cmd_write(text.data, text.bytes);
    buf_deinit(&text);
    return code;
}

static void put_progress(const struct ckpt_view *view, struct buf *out)
{
    const struct ckpt_manifest *manifest = &view->folder.manifest;
    if (!view->folder.has_manifest) {
        buf_printf(out, "%s: a plain folder, no manifest\n", view->uri);
        return;
    }
    buf_printf(out, "%s: digest %s\n", view->uri, manifest->digest);
    if (manifest->busy)
        buf_printf(out, "a save into this folder was interrupted\n");
    if (!manifest->has_progress)
        return;
    const struct ckpt_progress *p = &manifest->progress;
    buf_printf(out,
               "step %" PRId64 ", epoch %" PRId64 "; the reader stands at sample %" PRId64
               " of epoch %" PRId64 ", seed %" PRIu64 "\n",
               p->step, p->epoch, p->reader_sample, p->reader_epoch, p->seed);
    if (p->has_learning_rate)
        buf_printf(out, "learning rate %g\n", p->learning_rate);
    for (size_t i = 0; i < p->data_count; i++)
        buf_printf(out, "data %s (%" PRIu64 " bytes)\n", p->data[i].uri, p->data[i].bytes);
}

static int show_json(const struct ckpt_view *view)
{
    json_t *object = json_object(), *vars = json_array(), *others = json_array();
    const struct ckpt_manifest *manifest = &view->folder.manifest;
    json_object_set_new(object, "path", json_string(view->uri));
    if (view->folder.has_manifest)
        json_object_set_new(object, "digest", json_string(manifest->digest));
    if (manifest->has_progress) {
        struct buf text;
        buf_init(&text, 0);
        ckpt_progress_format(&manifest->progress, &text);
        json_object_set_new(object, "progress", json_loads(buf_text(&text), 0, NULL));
        buf_deinit(&text);
    }
    for (size_t i = 0; i < view->count; i++) {
        const struct ckpt_view_var *var = &view->vars[i];
        json_t *dims = json_array();
        for (int d = 0; d < var->header.dims.rank; d++)
            json_array_append_new(dims, json_integer(var->header.dims.d[d]));
        json_t *row =
            json_pack("{s:s, s:s, s:s, s:o, s:I, s:i, s:b, s:I}", "name", var->name, "file",
                      var->file, "dtype", dtype_name(var->header.dtype), "shape", dims, "bytes",
                      (json_int_t)var->header.data_bytes, "lod_levels", var->header.lod_levels,
                      "selected_rows", var->header.kind == VARIABLE_SELECTED_ROWS, "surplus_bytes",
                      (json_int_t)var->surplus);
        if (var->sha256 != NULL)
            json_object_set_new(row, "sha256", json_string(var->sha256));
        json_array_append_new(vars, row);
    }
    for (size_t i = 0; i < view->others.count; i++)
        json_array_append_new(others, json_string(view->others.items[i]));
    json_object_set_new(object, "variables", vars);
    json_object_set_new(object, "other_files", others);
    int code = cmd_view_print_json(object);
    json_decref(object);
    return code;
}
