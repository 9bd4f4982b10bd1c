// SPDX-License-Identifier: Apache-2.0
// `sluice ckpt zero-auc`: yesterday's model, today's metric. The histograms that auc operators keep
// in a checkpoint start from nothing again; everything else stays as it is.
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_save.h"
#include "common/ckpt/ckpt_view.h"
#include "common/program/op_desc.h"
#include "common/program/program.h"
#include "deploy/sluice/cmd_args.h"
#include "deploy/sluice/cmd_view.h"

struct zeroing {
    struct ckpt_view *view;
    const struct str_list *states;
};

static int run(int argc, char **argv);
static int find_states(const char *program, const char *glob, const struct ckpt_view *view,
                       struct str_list *out, struct err *err);
static void add_slot(const struct op_desc *op, const char *slot, struct str_list *out);
static int zero(const char *dir, struct ckpt_view *view, const struct str_list *states,
                struct err *err);
static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err);

const struct cmd cmd_ckpt_zero_auc = {
    .name = "ckpt zero-auc",
    .args = "DIR --program FILE | --vars GLOB",
    .help = "Sets the states of auc metrics in a checkpoint to zero, for the next day's training.",
    .details =
        "With --program they are what its auc operators call StatPos and StatNeg; --vars names "
        "them\n"
        "instead (int64 variables only). The folder is replaced as a whole or not at all, and its\n"
        "manifest and sums are made new.\n\n"
        "example:\n"
        "  sluice ckpt zero-auc models/epoch_3 --program main.pb",
    .run = run,
};

static int run(int argc, char **argv)
{
    const char *dir, *program = NULL, *glob = NULL;
    const struct cmd_option options[] = {
        {"--program", .text = &program}, {"--vars", .text = &glob}, {.name = NULL}};
    int code = cmd_args_parse(&cmd_ckpt_zero_auc, argc, argv, options, &dir, 1, 1);
    if (code != CMD_OK)
        return code;
    if ((program != NULL) == (glob != NULL))
        return cmd_usage(&cmd_ckpt_zero_auc, "either --program or --vars is needed");
    struct ckpt_view view;
    struct err err = {0};
    struct str_list states = {0};
    code = cmd_view_open(dir, &(struct cmd_view_from){0}, &view);
    if (code != CMD_OK)
        return code;
    int rc = find_states(program, glob, &view, &states, &err);
    if (rc == 0)
        rc = zero(dir, &view, &states, &err);
    for (size_t i = 0; i < states.count && rc == 0; i++)
        printf("%s: zero\n", states.items[i]);
    str_list_deinit(&states);
    ckpt_view_close(&view);
    return rc < 0 ? cmd_failed(&err) : cmd_write(NULL, 0);
}

static int find_states(const char *program, const char *glob, const struct ckpt_view *view,
                       struct str_list *out, struct err *err)
{
    struct program *p = NULL;
    int rc = program != NULL ? program_load(program, &p, err) : 0;
    if (rc < 0)
        return rc;
    for (size_t b = 0; p != NULL && b < p->blocks_count; b++)
        for (size_t i = 0; i < p->blocks[b]->ops_count; i++)
            if (str_eq(p->blocks[b]->ops[i]->type, "auc")) {
                add_slot(p->blocks[b]->ops[i], "StatPos", out);
                add_slot(p->blocks[b]->ops[i], "StatNeg", out);
            }
    program_free(p);
    for (size_t i = 0; glob != NULL && i < view->count; i++)
        if (fnmatch(glob, view->vars[i].name, 0) == 0)
            str_list_add(out, view->vars[i].name);
    if (out->count == 0)
        return err_set(err, SL_ENOENT, "%s: %s", program != NULL ? program : glob,
                       program != NULL ? "no auc operator in it" : "no variable has such a name");
    for (size_t i = 0; i < out->count; i++) {
        const struct ckpt_view_var *var = ckpt_view_find(view, out->items[i]);
        if (var == NULL)
            return err_set(err, SL_ENOENT, "%s: %s is not in the folder", view->uri, out->items[i]);
        if (var->header.dtype != DTYPE_INT64)
            return err_set(err, SL_EMISMATCH, "%s: %s is %s; the state of an auc is int64",
                           view->uri, var->name, dtype_name((int)var->header.dtype));
    }
    return 0;
}

static void add_slot(const struct op_desc *op, const char *slot, struct str_list *out)
{
    const struct op_slot *found = op_desc_input(op, slot);
    for (size_t i = 0; found != NULL && i < found->args.count; i++)
        if (!str_list_has(out, found->args.items[i]))
            str_list_add(out, found->args.items[i]);
}

static int zero(const char *dir, struct ckpt_view *view, const struct str_list *states,
                struct err *err)
{
    struct ckpt_var *vars = mem_must_calloc(view->count + 1, sizeof *vars);
    for (size_t i = 0; i < view->count; i++)
        vars[i] = ckpt_view_describe(view, i);
    struct zeroing zeroing = {view, states};
    const struct ckpt_source source = {vars, view->count, read_rows, &zeroing};
    const struct ckpt_manifest *manifest = &view->folder.manifest;
    const struct ckpt_save_options how = {.into = true,
                                          .progress =
                                              manifest->has_progress ? &manifest->progress : NULL,
                                          .allow_non_finite = true};
    struct ckpt_saved saved = {0};
    int rc = ckpt_save(&source, dir, &how, &saved, err);
    ckpt_save_deinit(&saved);
    mem_free(vars);
    return rc;
}

static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    const struct zeroing *z = self;
    if (!str_list_has(z->states, z->view->vars[i].name))
        return ckpt_view_read(z->view, i, row, rows, out, err);
    memset(out, 0, (size_t)((uint64_t)rows * ckpt_view_row_bytes(&z->view->vars[i])));
    return 0;
}
