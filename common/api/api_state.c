// SPDX-License-Identifier: Apache-2.0
// fluid.save and fluid.load: <prefix>.pdparams, .pdopt and .pdmodel, through the same saving and
// loading as everything else.

#include <string.h>

#include "common/api/api_io.h"
#include "common/api/api_private.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/passes/params.h"
#include "common/program/program.h"
#include "common/storage/store.h"

static int save(struct api_executor *exe, const struct program *program, const char *dir,
                const char *prefix, struct err *err);
static int load(struct api_executor *exe, const struct program *program, const char *path,
                const struct sl_load_options *options, struct sl_load_report *report,
                struct err *err);
static int split(const char *path, char **out_dir, char **out_prefix, struct err *err);
static bool has_file(const char *dir, const char *name);
static void list_present(const char *dir, const struct program *program, struct str_list *out);

int sl_io_save(sl_executor *exe, const sl_program *program, const char *model_path,
               struct sl_error *err)
{
    struct err inner = {0};
    char *dir = NULL, *prefix = NULL;
    int rc = split(model_path, &dir, &prefix, &inner);
    if (rc == 0)
        rc = save(exe, program ? program : sl_default_main_program(), dir, prefix, &inner);
    mem_free(dir);
    mem_free(prefix);
    return api_io_give(err, &inner, rc);
}

int sl_io_load(sl_executor *exe, const sl_program *program, const char *model_path,
               const struct sl_load_options *options, struct sl_load_report *report,
               struct sl_error *err)
{
    static const char *const endings[] = {".pdparams", ".pdopt", ".pdmodel"};
    struct err inner = {0};
    if (report != NULL)
        memset(report, 0, sizeof *report);
    char *path = mem_must_strdup(model_path ? model_path : "");
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (str_ends_with(path, endings[i])) {
            path[strlen(path) - strlen(endings[i])] = '\0';
            break;
        }
    int rc =
        load(exe, program ? program : sl_default_main_program(), path, options, report, &inner);
    mem_free(path);
    return api_io_give(err, &inner, rc);
}

static int save(struct api_executor *exe, const struct program *program, const char *dir,
                const char *prefix, struct err *err)
{
    struct str_list names = {0}, params = {0};
    struct buf text;
    buf_init(&text, 0);
    int rc = api_io_prepare(exe, dir, program, err);
    if (rc == 0)
        rc = program_serialize(program, &text, err);
    if (rc == 0) {
        char *model = mem_must_printf("%s.pdmodel", prefix);
        const struct ckpt_blob blob = {.name = model, .data = text.data, .bytes = text.bytes};
        const struct ckpt_save_options how = {
            .pickle = prefix, .pickle_params = &params, .blobs = &blob, .blobs_count = 1};
        api_io_names(exe, program, false, &names);
        params_list(program, &params);
        rc = api_io_save(exe, dir, program, &names, &how, err);
        mem_free(model);
    }
    buf_deinit(&text);
    str_list_deinit(&names);
    str_list_deinit(&params);
    return rc;
}

static int load(struct api_executor *exe, const struct program *program, const char *path,
                const struct sl_load_options *options, struct sl_load_report *report,
                struct err *err)
{
    char *dir = NULL, *prefix = NULL;
    int rc = split(path, &dir, &prefix, err);
    if (rc < 0)
        return rc;
    struct str_list names = {0};
    struct ckpt_load_options how = {.params = &names};
    char *first = mem_must_printf("%s.pdparams", prefix);
    if (has_file(dir, first)) {
        params_list(program, &names);
        how.pickle = prefix;
        rc = api_load_into(exe, dir, program, &how, options, report, err);
    } else if (store_is_folder(path)) {
        list_present(path, program, &names);
        how.what = CKPT_NAMES;
        rc = api_load_into(exe, path, program, &how, options, report, err);
    } else if (has_file(dir, prefix)) {
        how.filename = prefix;
        rc = api_load_into(exe, dir, program, &how, options, report, err);
    } else {
        rc = err_set(err, SL_ENOENT, "load %s: there is neither %s/%s nor a folder of that name",
                     path, dir, first);
    }
    mem_free(first);
    str_list_deinit(&names);
    mem_free(dir);
    mem_free(prefix);
    return rc;
}

static int split(const char *path, char **out_dir, char **out_prefix, struct err *err)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    const char *name = slash ? slash + 1 : path;
    if (name == NULL || *name == '\0')
        return err_set(err, SL_EINVAL, "model path `%s`: must be DIR/PREFIX with a prefix",
                       path ? path : "");
    *out_prefix = mem_must_strdup(name);
    *out_dir = slash == NULL   ? mem_must_strdup(".")
               : slash == path ? mem_must_strdup("/")
                               : mem_must_strndup(path, (size_t)(slash - path));
    return 0;
}

static bool has_file(const char *dir, const char *name)
{
    struct store_file *file = NULL;
    if (store_open(dir, name, &file, NULL) != 0)
        return false;
    store_file_close(file);
    return true;
}

static void list_present(const char *dir, const struct program *program, struct str_list *out)
{
    struct str_list saved = {0};
    ckpt_vars_saved(program, &saved);
    for (size_t i = 0; i < saved.count; i++)
        if (has_file(dir, saved.items[i]))
            str_list_add(out, saved.items[i]);
    str_list_deinit(&saved);
}
