// SPDX-License-Identifier: Apache-2.0
// fluid.io.save_inference_model and load_inference_model: a pruned program and its persistables in
// one folder, written as one.

#include <string.h>

#include "common/api/api_io.h"
#include "common/api/api_private.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_find.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/passes/prune.h"
#include "common/program/program.h"
#include "common/storage/store.h"

#define MODEL_NAME "__model__"

static int save_model(struct api_executor *exe, const char *dirname, const struct program *program,
                      const struct program *model, const struct sl_inference_options *options,
                      struct err *err);
static int read_model(const char *dirname, const char *name, struct program **out, struct err *err);
static void add_all(const char *const *items, size_t count, struct str_list *out);
static const char *column(const struct program *program, size_t i,
                          void (*list)(const struct program *, struct str_list *));

struct sl_inference_options sl_inference_defaults(void)
{
    return (struct sl_inference_options){0};
}

int sl_io_save_inference_model(sl_executor *exe, const char *dirname, const char *const *feeds,
                               size_t feeds_count, const char *const *targets, size_t targets_count,
                               const sl_program *program,
                               const struct sl_inference_options *options, char **out_targets,
                               struct sl_error *err)
{
    const struct sl_inference_options defaults = sl_inference_defaults();
    struct err inner = {0};
    struct str_list from = {0}, to = {0}, names = {0};
    struct program *model = NULL;
    program = program ? program : sl_default_main_program();
    options = options ? options : &defaults;
    add_all(feeds, feeds_count, &from);
    add_all(targets, targets_count, &to);
    int rc = api_io_prepare(exe, dirname, program, &inner);
    if (rc == 0)
        rc = prune_inference(program, &from, &to, &model, &names, &inner);
    if (rc == 0)
        rc = save_model(exe, dirname, program, model, options, &inner);
    for (size_t i = 0; rc == 0 && out_targets != NULL && i < names.count; i++)
        out_targets[i] = mem_must_strdup(names.items[i]);
    program_free(model);
    str_list_deinit(&from);
    str_list_deinit(&to);
    str_list_deinit(&names);
    return api_io_give(err, &inner, rc);
}

sl_program *sl_io_load_inference_model(sl_executor *exe, const char *dirname,
                                       const struct sl_inference_options *options,
                                       struct sl_load_report *report, struct sl_error *err)
{
    const struct sl_inference_options defaults = sl_inference_defaults();
    struct err inner = {0};
    struct program *model = NULL;
    options = options ? options : &defaults;
    struct ckpt_load_options how = {.filename = options->params_filename};
    struct str_list saved = {0};
    if (report != NULL)
        memset(report, 0, sizeof *report);
    int rc = dirname == NULL || dirname[0] == '\0'
                 ? err_set(&inner, SL_EINVAL, "load_inference_model: no folder given")
                 : read_model(dirname, options->model_filename, &model, &inner);
    if (rc == 0)
        ckpt_vars_saved(model, &saved);
    if (rc == 0 && saved.count > 0)
        rc = api_load_into(exe, dirname, model, &how, NULL, report, &inner);
    str_list_deinit(&saved);
    if (rc < 0) {
        program_free(model);
        api_io_give(err, &inner, rc);
        return NULL;
    }
    return model;
}

size_t sl_program_feeds(const sl_program *program)
{
    struct str_list names = {0};
    prune_feeds(program ? program : sl_default_main_program(), &names);
    size_t count = names.count;
    str_list_deinit(&names);
    return count;
}

const char *sl_program_feed(const sl_program *program, size_t i)
{
    return column(program ? program : sl_default_main_program(), i, prune_feeds);
}

size_t sl_program_fetches(const sl_program *program)
{
    struct str_list names = {0};
    prune_fetches(program ? program : sl_default_main_program(), &names);
    size_t count = names.count;
    str_list_deinit(&names);
    return count;
}

const char *sl_program_fetch(const sl_program *program, size_t i)
{
    return column(program ? program : sl_default_main_program(), i, prune_fetches);
}

static int save_model(struct api_executor *exe, const char *dirname, const struct program *program,
                      const struct program *model, const struct sl_inference_options *options,
                      struct err *err)
{
    struct buf text;
    struct str_list names = {0};
    buf_init(&text, 0);
    int rc = program_serialize(model, &text, err);
    if (rc == 0) {
        const struct ckpt_blob blob = {
            .name = options->model_filename ? options->model_filename : MODEL_NAME,
            .data = text.data,
            .bytes = text.bytes,
        };
        const struct ckpt_save_options how = {
            .filename = options->params_filename, .blobs = &blob, .blobs_count = 1};
        if (!options->program_only)
            ckpt_vars_saved(model, &names);
        struct ckpt_save_options without = how;
        if (names.count == 0)
            without.filename = NULL;   // no variables: no file for them
        rc = api_io_save(exe, dirname, program, &names, &without, err);
    }
    str_list_deinit(&names);
    buf_deinit(&text);
    return rc;
}

static int read_model(const char *dirname, const char *name, struct program **out, struct err *err)
{
    struct store_file *file = NULL;
    name = name ? name : MODEL_NAME;
    int rc = ckpt_find_check_file(dirname, name, err);
    if (rc == 0)
        rc = store_open(dirname, name, &file, err);
    if (rc < 0)
        return err_prefix(err, "load_inference_model %s", dirname);
    uint64_t bytes = store_file_bytes(file);
    uint8_t *data = bytes <= LIMIT_PROGRAM_BYTES ? mem_alloc((size_t)bytes) : NULL;
    if (data == NULL)
        rc = err_set(err, SL_ELIMIT, "%s: %llu bytes, more than a program may have",
                     store_file_name(file), (unsigned long long)bytes);
    else
        rc = store_file_read(file, 0, data, (size_t)bytes, err);
    if (rc == 0)
        rc = program_parse(data, (size_t)bytes, store_file_name(file), out, err);
    mem_free(data);
    store_file_close(file);
    return rc;
}

static void add_all(const char *const *items, size_t count, struct str_list *out)
{
    for (size_t i = 0; i < count; i++)
        str_list_add(out, items[i] ? items[i] : "");
}

// The name lives in the program's operator, not in the list.
static const char *column(const struct program *program, size_t i,
                          void (*list)(const struct program *, struct str_list *))
{
    struct str_list names = {0};
    list(program, &names);
    const struct var_desc *var =
        i < names.count ? block_var(program_block(program, 0), names.items[i]) : NULL;
    str_list_deinit(&names);
    return var ? var->name : NULL;
}
