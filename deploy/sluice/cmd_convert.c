// SPDX-License-Identifier: Apache-2.0
// `sluice ckpt convert`: a checkpoint in another form. Every form is read as a ckpt_source, so that
// each can become each other one.
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_report.h"
#include "common/ckpt/ckpt_save.h"
#include "common/ckpt/ckpt_slice.h"
#include "common/ckpt/ckpt_view.h"
#include "common/storage/store.h"
#include "deploy/sluice/cmd_args.h"
#include "deploy/sluice/cmd_numpy.h"
#include "deploy/sluice/cmd_view.h"

struct conversion {
    const char *from, *out, *to, *file;
    struct cmd_view_from view_from;
    bool join;
};

static int run(int argc, char **argv);
static int join(const struct conversion *c);
static int from_numpy(const struct conversion *c);
static int from_folder(const struct conversion *c);
static int write_out(const struct conversion *c, const struct ckpt_source *source,
                     struct ckpt_save_options *how, struct err *err);
static int read_view(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err);
static int read_others(const struct ckpt_view *view, struct ckpt_save_options *how,
                       struct err *err);

const struct cmd cmd_ckpt_convert = {
    .name = "ckpt convert",
    .args = "DIR --out OUT [--to separate|combined|npy|npz] [--file NAME] [--filename FILE]\n"
            "                           [--program FILE] [--join]",
    .help = "Writes a checkpoint in another form: Fluid's files, one combined file, numpy's.",
    .details =
        "DIR is a folder of Fluid's files (or, with --filename, of one combined file), a folder of "
        ".npy\n"
        "files, or an .npz file. --to says what OUT becomes (default separate): a folder of one "
        "file a\n"
        "variable, a folder with one combined file called --file (default __params__), a folder "
        "of\n"
        "NAME.npy, or one .npz file. Other files of DIR (a __model__) go along into Fluid's "
        "forms, and so\n"
        "does the progress that a manifest tells. --join makes one checkpoint of what `sluice ckpt "
        "slice`\n"
        "wrote: the same files, byte for byte.\n" CMD_VIEW_DETAILS "\n\nexample:\n"
        "  sluice ckpt convert models/epoch_3 --to npz --out epoch_3.npz",
    .run = run,
};

static int run(int argc, char **argv)
{
    struct conversion c = {.to = "separate"};
    const struct cmd_option options[] = {{"--out", .text = &c.out},
                                         {"--to", .text = &c.to},
                                         {"--file", .text = &c.file},
                                         {"--filename", .text = &c.view_from.filename},
                                         {"--program", .text = &c.view_from.program},
                                         {"--join", .flag = &c.join},
                                         {.name = NULL}};
    int code = cmd_args_parse(&cmd_ckpt_convert, argc, argv, options, &c.from, 1, 1);
    if (code != CMD_OK)
        return code;
    if (c.out == NULL)
        return cmd_usage(&cmd_ckpt_convert, "--out is needed");
    if (!str_eq(c.to, "separate") && !str_eq(c.to, "combined") && !str_eq(c.to, "npy") &&
        !str_eq(c.to, "npz"))
        return cmd_usage(&cmd_ckpt_convert, "--to %s: separate, combined, npy or npz is expected",
                         c.to);
    if (c.file != NULL && !str_eq(c.to, "combined"))
        return cmd_usage(&cmd_ckpt_convert, "--file is the name of the combined file: --to "
                                            "combined is missing");
    if (c.join && (!str_eq(c.to, "separate") || c.view_from.filename != NULL))
        return cmd_usage(&cmd_ckpt_convert, "--join gives the files as they were: no --to, no "
                                            "--filename");
    if (c.join)
        return join(&c);
    return cmd_numpy_is(c.from) && c.view_from.filename == NULL ? from_numpy(&c) : from_folder(&c);
}

static int join(const struct conversion *c)
{
    struct ckpt_slice_done done;
    struct err err = {0};
    char size[32];
    if (ckpt_slice_join(c->from, c->out, &done, &err) < 0)
        return cmd_failed(&err);
    printf("joined %s into %s: %zu variables of %zu pieces, %s, %zu other files; all sums agree\n",
           c->from, c->out, done.variables, done.pieces, ckpt_report_size(done.bytes, size),
           done.others);
    return cmd_write(NULL, 0);
}

static int from_numpy(const struct conversion *c)
{
    struct cmd_numpy_source *numpy = NULL;
    struct err err = {0};
    int rc = cmd_numpy_open(c->from, &numpy, &err);
    if (rc == 0)
        rc = write_out(c, cmd_numpy_source(numpy), &(struct ckpt_save_options){0}, &err);
    cmd_numpy_close(numpy);
    return rc < 0 ? cmd_failed(&err) : cmd_write(NULL, 0);
}

static int from_folder(const struct conversion *c)
{
    struct ckpt_view view;
    struct err err = {0};
    int code = cmd_view_open(c->from, &c->view_from, &view);
    if (code != CMD_OK)
        return code;
    struct ckpt_var *vars = mem_must_calloc(view.count + 1, sizeof *vars);
    for (size_t i = 0; i < view.count; i++)
        vars[i] = ckpt_view_describe(&view, i);
    const struct ckpt_source source = {vars, view.count, read_view, &view};
    struct ckpt_save_options how = {
        .progress = view.folder.manifest.has_progress ? &view.folder.manifest.progress : NULL,
        .allow_non_finite = true};
    int rc = view.count > 0 ? 0 : err_set(&err, SL_ENOENT, "%s: no variable's file in it", c->from);
    bool fluid = str_eq(c->to, "separate") || str_eq(c->to, "combined");
    if (rc == 0 && fluid)
        rc = read_others(&view, &how, &err);
    if (rc == 0)
        rc = write_out(c, &source, &how, &err);
    for (size_t i = 0; i < view.others.count && rc == 0 && !fluid; i++)
        printf("left out: %s is no variable\n", view.others.items[i]);
    for (size_t i = 0; i < how.blobs_count; i++)
        mem_free((void *)how.blobs[i].data);
    mem_free((void *)how.blobs);
    mem_free(vars);
    ckpt_view_close(&view);
    return rc < 0 ? cmd_failed(&err) : cmd_write(NULL, 0);
}

static int write_out(const struct conversion *c, const struct ckpt_source *source,
                     struct ckpt_save_options *how, struct err *err)
{
    uint64_t bytes = 0;
    char size[32];
    int rc;
    if (str_eq(c->to, "npy") || str_eq(c->to, "npz")) {
        rc = cmd_numpy_save(source, c->out, str_eq(c->to, "npz"), &bytes, err);
    } else {
        struct ckpt_saved saved = {0};
        if (str_eq(c->to, "combined"))
            how->filename = c->file != NULL ? c->file : "__params__";
        rc = ckpt_save(source, c->out, how, &saved, err);
        bytes = saved.bytes;
        ckpt_save_deinit(&saved);
    }
    if (rc == 0)
        printf("converted %s into %s (%s): %zu variables, %s\n", c->from, c->out, c->to,
               source->count, ckpt_report_size(bytes, size));
    return rc;
}

static int read_view(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    return ckpt_view_read(self, i, row, rows, out, err);
}

// The folder's files that hold no variable, whole. The sums are made anew.
static int read_others(const struct ckpt_view *view, struct ckpt_save_options *how, struct err *err)
{
    struct ckpt_blob *blobs = mem_must_calloc(view->others.count + 1, sizeof *blobs);
    int rc = 0;
    how->blobs = blobs;
    for (size_t i = 0; i < view->others.count && rc == 0; i++) {
        struct store_file *file;
        if (str_eq(view->others.items[i], CKPT_SUMS_NAME))
            continue;
        rc = store_open(view->uri, view->others.items[i], &file, err);
        if (rc < 0)
            break;
        size_t bytes = (size_t)store_file_bytes(file);
        void *data = mem_alloc(bytes);
        rc = data == NULL ? err_set(err, SL_ENOMEM, "%s: no memory", view->others.items[i])
                          : store_file_read(file, 0, data, bytes, err);
        blobs[how->blobs_count++] = (struct ckpt_blob){view->others.items[i], data, bytes};
        store_file_close(file);
    }
    return rc;
}
