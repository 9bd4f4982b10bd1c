// SPDX-License-Identifier: Apache-2.0
// The variables come from a frozen view of all, of which the model's are picked.
#include "trainer/export.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_save.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/config/option.h"
#include "common/passes/prune.h"
#include "common/program/program.h"
#include "trainer/engine.h"

// Some variables of a source.
struct picked {
    const struct ckpt_source *from;
    size_t *indices;
};

static int targets_of(const struct engine *engine, struct str_list *out, struct err *err);
static void needed_feeds(const struct engine *engine, const struct str_list *targets,
                         struct str_list *out);
static int save(const struct export *export, const struct ckpt_source *all,
                struct ckpt_saved *saved, struct err *err);
static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err);

int export_open(const struct engine *engine, struct export *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    if (!option_is_set(engine->options, "save_inference") || !engine_saves(engine))
        return 0;
    struct str_list targets = {0}, feeds = {0}, names = {0};
    int rc = targets_of(engine, &targets, err);
    if (rc == 0) {
        needed_feeds(engine, &targets, &feeds);
        rc = prune_inference(engine->job.main, &feeds, &targets, &out->program, &names, err);
    }
    if (rc == 0) {
        ckpt_vars_saved(out->program, &out->names);
        out->dir = option_string(engine->options, "save_inference");
    }
    str_list_deinit(&names);
    str_list_deinit(&feeds);
    str_list_deinit(&targets);
    return rc < 0 ? err_prefix(err, "--save_inference") : 0;
}

void export_close(struct export *export)
{
    program_free(export->program);
    str_list_deinit(&export->names);
    memset(export, 0, sizeof *export);
}

int export_write(const struct export *export, struct engine *engine, char *line, size_t bytes,
                 struct err *err)
{
    line[0] = '\0';
    if (export->dir == NULL)
        return 0;
    struct ckpt_source *source = NULL;
    struct ckpt_saved saved = {0};
    int rc = engine_freeze(engine, &source, err);
    if (rc == 0) {
        rc = save(export, source, &saved, err);
        int thawed = engine_thaw(engine, source, rc < 0 ? NULL : err);
        rc = rc < 0 ? rc : thawed;
    }
    if (rc == 0)
        snprintf(line, bytes, "saved %s  for prediction, %zu variables", saved.path,
                 saved.variables);
    ckpt_save_deinit(&saved);
    return rc < 0 ? err_prefix(err, "--save_inference") : 0;
}

static int targets_of(const struct engine *engine, struct str_list *out, struct err *err)
{
    const struct str_list *wanted = option_list(engine->options, "targets");
    for (size_t i = 0; i < wanted->count; i++)
        str_list_add(out, wanted->items[i]);
    if (out->count == 0 && engine->job.predict != NULL)
        str_list_add(out, engine->job.predict);
    return out->count > 0
               ? 0
               : err_set(err, SL_EUSAGE, "--targets says which variables the model shall give");
}

// A feed is needed when the targets cannot be made without it.
static void needed_feeds(const struct engine *engine, const struct str_list *targets,
                         struct str_list *out)
{
    const struct str_list *all = &engine->job.feeds;
    for (size_t i = 0; i < all->count; i++) {
        struct str_list others = {0}, names = {0};
        struct program *program = NULL;
        for (size_t k = 0; k < all->count; k++)
            if (k != i)
                str_list_add(&others, all->items[k]);
        if (prune_inference(engine->job.main, &others, targets, &program, &names, NULL) < 0)
            str_list_add(out, all->items[i]);
        program_free(program);
        str_list_deinit(&names);
        str_list_deinit(&others);
    }
}

static int save(const struct export *export, const struct ckpt_source *all,
                struct ckpt_saved *saved, struct err *err)
{
    struct ckpt_var *vars = mem_must_calloc(export->names.count + 1, sizeof *vars);
    struct picked picked = {
        .from = all, .indices = mem_must_calloc(export->names.count + 1, sizeof *picked.indices)};
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++)
        if (str_list_has(&export->names, all->vars[i].name)) {
            vars[count] = all->vars[i];
            picked.indices[count++] = i;
        }
    struct buf model;
    buf_init(&model, 0);
    int rc = count == export->names.count
                 ? program_serialize(export->program, &model, err)
                 : err_set(err, SL_ENOENT, "%zu of the model's %zu variables are not there",
                           export->names.count - count, export->names.count);
    if (rc == 0) {
        const struct ckpt_source source = {vars, count, read_rows, &picked};
        const struct ckpt_blob blob = {"__model__", model.data, model.bytes};
        const struct ckpt_save_options how = {.blobs = &blob, .blobs_count = 1};
        rc = ckpt_save(&source, export->dir, &how, saved, err);
    }
    buf_deinit(&model);
    mem_free(picked.indices);
    mem_free(vars);
    return rc;
}

static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    const struct picked *picked = self;
    return picked->from->read_rows(picked->from->self, picked->indices[i], row, rows, out, err);
}
