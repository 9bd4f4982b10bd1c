// SPDX-License-Identifier: Apache-2.0
// fluid.io: save and load Parameters, all persistables or chosen variables. In a distributed job
// only trainer 0 saves, and what lives on the servers comes from them; only servers load
// persistables.

#include "common/api/api_io.h"

#include <string.h>

#include "common/api/api_private.h"
#include "common/api/comm_source.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_source.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/exec/scope.h"
#include "common/passes/params.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"

static const struct program *default_main(const struct program *program);
static int save(struct api_executor *exe, const char *dirname, const struct program *program,
                bool params_only, const struct sl_save_options *options, struct err *err);
static int load(struct api_executor *exe, const char *dirname, const struct program *program,
                enum ckpt_what what, const struct sl_load_options *options,
                struct sl_load_report *report, struct err *err);
static int choose(const struct program *program, const struct sl_vars *vars, struct str_list *out,
                  struct err *err);
static int trainer_of(const struct api_executor *exe, const struct program *program);
static bool can_save(const struct api_executor *exe, const struct slice_var *var);
static int save_from_servers(struct api_executor *exe, const char *dirname,
                             const struct str_list *names, struct ckpt_save_options *how,
                             struct err *err);
static int save_local(struct api_executor *exe, const char *dirname, const struct str_list *names,
                      const struct ckpt_save_options *how, struct err *err);

struct sl_save_options sl_save_defaults(void)
{
    return (struct sl_save_options){0};
}

struct sl_load_options sl_load_defaults(void)
{
    return (struct sl_load_options){0};
}

int api_io_give(struct sl_error *to, const struct err *from, int rc)
{
    if (rc != 0)
        api_executor_error(to, from);
    return rc;
}

int sl_io_save_params(sl_executor *exe, const char *dirname, const sl_program *program,
                      struct sl_error *err)
{
    return sl_io_save_params_with(exe, dirname, program, NULL, err);
}

int sl_io_save_persistables(sl_executor *exe, const char *dirname, const sl_program *program,
                            struct sl_error *err)
{
    return sl_io_save_persistables_with(exe, dirname, program, NULL, err);
}

int sl_io_save_params_with(sl_executor *exe, const char *dirname, const sl_program *program,
                           const struct sl_save_options *options, struct sl_error *err)
{
    struct err inner = {0};
    return api_io_give(err, &inner, save(exe, dirname, program, true, options, &inner));
}

int sl_io_save_persistables_with(sl_executor *exe, const char *dirname, const sl_program *program,
                                 const struct sl_save_options *options, struct sl_error *err)
{
    struct err inner = {0};
    return api_io_give(err, &inner, save(exe, dirname, program, false, options, &inner));
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
    return api_io_give(err, &inner,
                       load(exe, dirname, program, CKPT_PARAMS, options, report, &inner));
}

int sl_io_load_persistables_with(sl_executor *exe, const char *dirname, const sl_program *program,
                                 const struct sl_load_options *options,
                                 struct sl_load_report *report, struct sl_error *err)
{
    struct err inner = {0};
    return api_io_give(err, &inner,
                       load(exe, dirname, program, CKPT_PERSISTABLES, options, report, &inner));
}

int sl_io_save_vars(sl_executor *exe, const char *dirname, const sl_program *program,
                    const struct sl_vars *vars, const struct sl_save_options *options,
                    struct sl_error *err)
{
    struct err inner = {0};
    struct str_list names = {0};
    program = default_main(program);
    const struct ckpt_save_options how = {.filename = options ? options->filename : NULL,
                                          .allow_non_finite = options && options->allow_non_finite};
    int rc = api_io_prepare(exe, dirname, program, &inner);
    if (rc == 0)
        rc = choose(program, vars, &names, &inner);
    if (rc == 0)
        rc = api_io_save(exe, dirname, program, &names, &how, &inner);
    str_list_deinit(&names);
    return api_io_give(err, &inner, rc);
}

int sl_io_load_vars(sl_executor *exe, const char *dirname, const sl_program *program,
                    const struct sl_vars *vars, const struct sl_load_options *options,
                    struct sl_load_report *report, struct sl_error *err)
{
    struct err inner = {0};
    struct str_list names = {0};
    program = default_main(program);
    const struct ckpt_load_options how = {.what = CKPT_NAMES, .params = &names};
    int rc = choose(program, vars, &names, &inner);
    if (rc == 0)
        rc = api_load_into(exe, dirname, program, &how, options, report, &inner);
    str_list_deinit(&names);
    return api_io_give(err, &inner, rc);
}

static const struct program *default_main(const struct program *program)
{
    return program ? program : sl_default_main_program();
}

static int save(struct api_executor *exe, const char *dirname, const struct program *program,
                bool params_only, const struct sl_save_options *options, struct err *err)
{
    struct str_list names = {0};
    program = default_main(program);
    const struct ckpt_save_options how = {.filename = options ? options->filename : NULL,
                                          .allow_non_finite = options && options->allow_non_finite};
    int rc = api_io_prepare(exe, dirname, program, err);
    if (rc == 0) {
        api_io_names(exe, program, params_only, &names);
        rc = api_io_save(exe, dirname, program, &names, &how, err);
    }
    str_list_deinit(&names);
    return rc;
}

static int load(struct api_executor *exe, const char *dirname, const struct program *program,
                enum ckpt_what what, const struct sl_load_options *options,
                struct sl_load_report *report, struct err *err)
{
    struct str_list params = {0};
    program = default_main(program);
    bool is_params = what == CKPT_PARAMS;
    if (is_params && !(options && options->allow_update_ops) && params_has_update_ops(program))
        return err_set(
            err, SL_EREFUSED,
            "load %s: the program updates parameters, so what is loaded would change: load into "
            "the test program, or set allow_update_ops (fine-tuning)",
            dirname ? dirname : "");
    params_list(program, &params);
    const struct ckpt_load_options how = {
        .what = what,
        .params = is_params ? &params : NULL,
        .check_network = is_params && !(options && options->allow_other_forward)};
    int rc = api_load_into(exe, dirname, program, &how, options, report, err);
    str_list_deinit(&params);
    return rc;
}

static int choose(const struct program *program, const struct sl_vars *vars, struct str_list *out,
                  struct err *err)
{
    const struct block *block = program_block(program, 0);
    if (vars == NULL || (vars->names == NULL && vars->predicate == NULL))
        return err_set(err, SL_EINVAL, "save_vars, load_vars: neither names nor a predicate");
    for (size_t i = 0; vars->names != NULL && i < vars->count; i++) {
        if (block_var(block, vars->names[i]) == NULL)
            return err_set(err, SL_ENOENT, "`%s` is not a variable of the program", vars->names[i]);
        if (!str_list_has(out, vars->names[i]))
            str_list_add(out, vars->names[i]);
    }
    for (size_t i = 0; vars->names == NULL && i < block->vars_count; i++)
        if (block->vars[i]->has_tensor && vars->predicate(vars->self, block->vars[i]))
            str_list_add(out, block->vars[i]->name);
    return out->count > 0
               ? 0
               : err_set(err, SL_EINVAL, "save_vars, load_vars: not one variable is chosen");
}

// ---- saving

int api_io_prepare(struct api_executor *exe, const char *dirname, const struct program *program,
                   struct err *err)
{
    if (dirname == NULL || dirname[0] == '\0')
        return err_set(err, SL_EINVAL, "save: no folder given");
    if (program->server >= 0 && program->slices != NULL)
        return err_set(err, SL_EREFUSED,
                       "save %s: this is a server's program; trainer 0 saves for all servers",
                       dirname);
    int trainer = trainer_of(exe, program);
    if (trainer > 0) {
        err_set(err, SL_SKIPPED, "save %s: trainer %d writes nothing, trainer 0 does", dirname,
                trainer);
        if (exe->options.log != NULL)
            exe->options.log(exe->options.self, err->text);
        return SL_SKIPPED;
    }
    int rc = trainer == 0 ? api_executor_connect(exe, program, err) : 0;
    return rc < 0 ? err_prefix(err, "save %s", dirname) : 0;
}

void api_io_names(const struct api_executor *exe, const struct program *program, bool params_only,
                  struct str_list *out)
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

int api_io_save(struct api_executor *exe, const char *dirname, const struct program *program,
                const struct str_list *names, const struct ckpt_save_options *how, struct err *err)
{
    struct ckpt_save_options all = *how;
    struct ckpt_facts facts;
    ckpt_facts_init(&facts);
    ckpt_facts_network(&facts, program);
    facts.trainers = 1;
    all.into = true;
    all.facts = &facts;
    if (exe->comm != NULL) {
        facts.servers = comm_slices(exe->comm)->servers;
        facts.trainers = comm_slices(exe->comm)->trainers;
    }
    int rc = exe->comm ? save_from_servers(exe, dirname, names, &all, err)
                       : save_local(exe, dirname, names, &all, err);
    ckpt_facts_deinit(&facts);
    return rc < 0 ? err_prefix(err, "save %s", dirname) : 0;
}

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

static int write_folder(const struct ckpt_source *source, const char *dirname,
                        const struct ckpt_save_options *how, struct err *err)
{
    struct ckpt_saved saved = {0};
    int rc = ckpt_save(source, dirname, how, &saved, err);
    if (rc == 0)
        ckpt_save_deinit(&saved);
    return rc;
}

// All rows of one version: training of other trainers may go on meanwhile.
static int save_from_servers(struct api_executor *exe, const char *dirname,
                             const struct str_list *names, struct ckpt_save_options *how,
                             struct err *err)
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
    how->progress = &progress;
    rc = comm_source_new(exe->comm, exe->scope, names, &source, err);
    if (rc == 0)
        rc = write_folder(source, dirname, how, err);
    comm_source_free(source);
    ckpt_progress_deinit(&progress);
    int unpinned = comm_unpin(exe->comm, rc < 0 ? NULL : err);
    return rc < 0 ? rc : unpinned;
}

static int save_local(struct api_executor *exe, const char *dirname, const struct str_list *names,
                      const struct ckpt_save_options *how, struct err *err)
{
    struct ckpt_source *source = NULL;
    int rc = ckpt_source_scope(exe->scope, names, &source, err);
    if (rc == 0)
        rc = write_folder(source, dirname, how, err);
    ckpt_source_free(source);
    return rc;
}
