// SPDX-License-Identifier: Apache-2.0
// fluid.io: save and load Parameters or all persistables. In a distributed job only trainer 0
// saves, and what lives on the servers comes from them; only servers load persistables.

#include <assert.h>
#include <string.h>

#include "common/api/api_private.h"
#include "common/api/comm_source.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_load.h"
#include "common/ckpt/ckpt_save.h"
#include "common/ckpt/ckpt_source.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/exec/scope.h"
#include "common/passes/params.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"

static int save(struct api_executor *exe, const char *dirname, const struct program *program,
                bool params_only, struct err *err);
static int load(struct api_executor *exe, const char *dirname, const struct program *program,
                enum ckpt_what what, const struct sl_load_options *options,
                struct sl_load_report *report, struct err *err);
static void fill_report(const struct ckpt_report *from, struct sl_load_report *to);
static void remember_loaded(struct api_executor *exe, const struct ckpt_report *report);

struct sl_load_options sl_load_defaults(void)
{
    return (struct sl_load_options){0};
}

static int give(struct sl_error *to, const struct err *from, int rc)
{
    if (rc != 0)
        api_executor_error(to, from);
    return rc;
}

int sl_io_save_params(sl_executor *exe, const char *dirname, const sl_program *program,
                      struct sl_error *err)
{
    struct err inner = {0};
    return give(err, &inner,
                save(exe, dirname, program ? program : sl_default_main_program(), true, &inner));
}

int sl_io_save_persistables(sl_executor *exe, const char *dirname, const sl_program *program,
                            struct sl_error *err)
{
    struct err inner = {0};
    return give(err, &inner,
                save(exe, dirname, program ? program : sl_default_main_program(), false, &inner));
}

int sl_io_load_params(sl_executor *exe, const char *dirname, const sl_program *program,
                      struct sl_load_report *report, struct sl_error *err)
{
    return sl_io_load_params_with(exe, dirname, program, NULL, report, err);
}

int sl_io_load_persistables(sl_executor *exe, const char *dirname, const sl_program *program,
                            struct sl_load_report *report, struct sl_error *err)
{
    return sl_io_load_persistables_with(exe, dirname, program, NULL, report, err);
}

int sl_io_load_params_with(sl_executor *exe, const char *dirname, const sl_program *program,
                           const struct sl_load_options *options, struct sl_load_report *report,
                           struct sl_error *err)
{
    struct err inner = {0};
    program = program ? program : sl_default_main_program();
    return give(err, &inner, load(exe, dirname, program, CKPT_PARAMS, options, report, &inner));
}

int sl_io_load_persistables_with(sl_executor *exe, const char *dirname, const sl_program *program,
                                 const struct sl_load_options *options,
                                 struct sl_load_report *report, struct sl_error *err)
{
    struct err inner = {0};
    program = program ? program : sl_default_main_program();
    return give(err, &inner,
                load(exe, dirname, program, CKPT_PERSISTABLES, options, report, &inner));
}

// ---- saving

// Which trainer is this? -1 outside a distributed job.
static int trainer_of(const struct api_executor *exe, const struct program *program)
{
    const struct op_desc *barrier = api_executor_find_op(program, "fetch_barrier");
    if (exe->comm != NULL)
        return comm_trainer_id(exe->comm);
    return barrier ? (int)op_desc_get_int(barrier, "trainer_id", 0) : -1;
}

// What lives on the servers can be had from there, what only trainers hold when this one does.
static bool can_save(const struct api_executor *exe, const struct slice_var *var)
{
    const struct variable *own = scope_find(exe->scope, var->name);
    return var->role == SLICE_PARAM || var->role == SLICE_STATE ||
           (var->role == SLICE_TRAINER && own != NULL && own->kind == VARIABLE_TENSOR &&
            own->tensor.data != NULL);
}

// Parameters and states of the servers, and what only the trainer's program holds.
static void names_to_save(const struct api_executor *exe, const struct program *program,
                          bool params_only, struct str_list *out)
{
    if (params_only) {
        params_list(program, out);
        return;
    }
    ckpt_vars_saved(program, out);
    if (exe->comm == NULL)
        return;
    const struct slice_map *map = comm_slices(exe->comm);
    struct map seen;
    map_init(&seen);
    for (size_t i = 0; i < out->count; i++)
        map_set(&seen, out->items[i], out);
    for (size_t i = 0; i < map->vars_count; i++)
        if (map_get(&seen, map->vars[i]->name) == NULL && can_save(exe, map->vars[i]))
            str_list_add(out, map->vars[i]->name);
    map_deinit(&seen);
}

static int write_folder(const struct ckpt_source *source, const char *dirname,
                        const struct ckpt_progress *progress, struct err *err)
{
    struct ckpt_saved saved = {0};
    const struct ckpt_save_options options = {.into = true, .progress = progress};
    int rc = ckpt_save(source, dirname, &options, &saved, err);
    if (rc == 0)
        ckpt_save_deinit(&saved);
    return rc;
}

// All rows of one version: training of other trainers may go on meanwhile.
static int save_from_servers(struct api_executor *exe, const char *dirname,
                             const struct str_list *names, struct err *err)
{
    struct ckpt_source *source = NULL;
    struct ckpt_progress progress;
    uint64_t step = 0;
    int rc = comm_pin(exe->comm, &step, err);
    if (rc < 0)
        return rc;
    ckpt_progress_init(&progress);
    progress.step = (int64_t)step;
    progress.epoch = comm_welcome(exe->comm)->epoch;
    rc = comm_source_new(exe->comm, exe->scope, names, &source, err);
    if (rc == 0)
        rc = write_folder(source, dirname, &progress, err);
    comm_source_free(source);
    ckpt_progress_deinit(&progress);
    int unpinned = comm_unpin(exe->comm, rc < 0 ? NULL : err);
    return rc < 0 ? rc : unpinned;
}

static int save_local(struct api_executor *exe, const char *dirname, const struct str_list *names,
                      struct err *err)
{
    struct ckpt_source *source = NULL;
    int rc = ckpt_source_scope(exe->scope, names, &source, err);
    if (rc == 0)
        rc = write_folder(source, dirname, NULL, err);
    ckpt_source_free(source);
    return rc;
}

static int save(struct api_executor *exe, const char *dirname, const struct program *program,
                bool params_only, struct err *err)
{
    if (dirname == NULL || dirname[0] == '\0')
        return err_set(err, SL_EINVAL, "save: no folder given");
    if (program->server >= 0 && program->slices != NULL)
        return err_set(err, SL_EREFUSED,
                       "save %s: this is a server's program; trainer 0 saves for all servers",
                       dirname);
    int trainer = trainer_of(exe, program);
    if (trainer > 0)
        return err_set(err, SL_SKIPPED, "save %s: trainer %d writes nothing, trainer 0 does",
                       dirname, trainer);
    struct str_list names = {0};
    int rc = trainer == 0 ? api_executor_connect(exe, program, err) : 0;
    if (rc == 0) {
        names_to_save(exe, program, params_only, &names);
        rc = exe->comm ? save_from_servers(exe, dirname, &names, err)
                       : save_local(exe, dirname, &names, err);
    }
    str_list_deinit(&names);
    return rc < 0 ? err_prefix(err, "save %s", dirname) : 0;
}

// ---- loading

static int check_load(const char *dirname, const struct program *program, enum ckpt_what what,
                      const struct sl_load_options *options, struct err *err)
{
    bool params = what == CKPT_PARAMS;
    if (dirname == NULL || dirname[0] == '\0')
        return err_set(err, SL_EINVAL, "load: no folder given");
    if (!params && program->slices != NULL && program->server < 0)
        return err_set(err, SL_EREFUSED,
                       "load %s: this is a trainer's program; the servers load, and the trainer's "
                       "start-up program gets the values from them",
                       dirname);
    if (params && !options->allow_update_ops && params_has_update_ops(program))
        return err_set(
            err, SL_EREFUSED,
            "load %s: the program updates parameters, so what is loaded would change: load into "
            "the test program, or set allow_update_ops (fine-tuning)",
            dirname);
    return 0;
}

static int load(struct api_executor *exe, const char *dirname, const struct program *program,
                enum ckpt_what what, const struct sl_load_options *options,
                struct sl_load_report *report, struct err *err)
{
    const struct sl_load_options defaults = sl_load_defaults();
    options = options ? options : &defaults;
    if (report != NULL)
        memset(report, 0, sizeof *report);
    int rc = check_load(dirname, program, what, options, err);
    if (rc < 0)
        return rc;
    struct str_list params = {0};
    params_list(program, &params);
    struct ckpt_report done;
    ckpt_report_init(&done);
    const struct ckpt_load_options how = {
        .what = what, .params = &params, .partial = options->partial};
    rc = ckpt_load(dirname, program, exe->scope, &how, &done, err);
    if (report != NULL)
        fill_report(&done, report);
    if (rc == 0) {
        remember_loaded(exe, &done);
        ckpt_report_deinit(&exe->report);
        exe->report = done;
    } else {
        ckpt_report_deinit(&done);
    }
    str_list_deinit(&params);
    return rc;
}

static void remember_loaded(struct api_executor *exe, const struct ckpt_report *report)
{
    for (size_t i = 0; i < report->items_count; i++)
        if (report->items[i].fate == CKPT_LOADED || report->items[i].fate == CKPT_SLICED)
            map_set(&exe->loaded, report->items[i].name, exe);
}

static void fill_report(const struct ckpt_report *from, struct sl_load_report *to)
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
