// SPDX-License-Identifier: Apache-2.0
// In the trainer role the scope holds parameters and whatever only trainers have; optimizer state
// lives on the servers. A checkpoint has the same variables either way: those of the untransformed
// program. One thread, the compute thread; the comm has its own inside.
#include "trainer/engine.h"

#include <string.h>

#include "common/api/comm_restore.h"
#include "common/api/comm_source.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_source.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/ckpt/op_save_load.h"
#include "common/config/endpoint.h"
#include "common/config/option.h"
#include "common/exec/parallel_executor.h"
#include "common/exec/scope.h"
#include "common/passes/transpiler.h"
#include "common/program/program.h"
#include "common/ps/comm.h"

static int build_trainer(struct engine *engine, struct err *err);
static int begin_local(struct engine *engine, struct err *err);
static int begin_trainer(struct engine *engine, void (*waiting)(void *self, const char *text),
                         void *self, struct err *err);
static int connect_servers(struct engine *engine, void (*waiting)(void *self, const char *text),
                           void *self, struct err *err);
static int run_startup(struct engine *engine, struct err *err);

int engine_open(const struct option_set *options, struct engine *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    job_start_init(&out->start);
    out->options = options;
    out->trainers = 1;
    out->workers = (int)option_int(options, "cpu_num");
    int rc = job_build(options, &out->job, err);
    if (rc < 0)
        return rc;
    ckpt_vars_saved(out->job.main, &out->saved);
    out->scope = scope_new();
    out->train = out->job.main;
    out->startup = out->job.startup;
    return option_role(options) == OPTION_LOCAL ? 0 : build_trainer(out, err);
}

int engine_begin(struct engine *engine, void (*waiting)(void *self, const char *text), void *self,
                 struct err *err)
{
    return option_role(engine->options) == OPTION_LOCAL ? begin_local(engine, err)
                                                        : begin_trainer(engine, waiting, self, err);
}

void engine_close(struct engine *engine)
{
    parallel_executor_free(engine->parallel);
    executor_free(engine->exe);
    comm_close(engine->comm);
    scope_free(engine->scope);
    if (engine->train != engine->job.main)
        program_free(engine->train);
    if (engine->startup != engine->job.startup)
        program_free(engine->startup);
    str_list_deinit(&engine->saved);
    job_start_deinit(&engine->start);
    job_deinit(&engine->job);
    memset(engine, 0, sizeof *engine);
}

int engine_step(struct engine *engine, const struct executor_feed *feeds, size_t feeds_count,
                struct executor_fetch *fetches, size_t fetches_count, struct err *err)
{
    int rc = engine->parallel
                 ? parallel_executor_run(engine->parallel, engine->train, feeds, feeds_count,
                                         fetches, fetches_count, err)
                 : executor_run(engine->exe, engine->train, feeds, feeds_count, fetches,
                                fetches_count, err);
    if (rc == SL_ESTOPPED)
        rc = err->code = SL_ECLOSED;   // a server was asked to stop: for this process a failure
    return rc;
}

int engine_freeze(struct engine *engine, struct ckpt_source **out, struct err *err)
{
    if (!engine->comm)
        return ckpt_source_scope(engine->scope, &engine->saved, out, err);
    uint64_t step;
    int rc = comm_pin(engine->comm, &step, err);
    if (rc == 0)
        rc = comm_source_new(engine->comm, engine->scope, &engine->saved, out, err);
    return rc;
}

int engine_thaw(struct engine *engine, struct ckpt_source *source, struct err *err)
{
    if (!engine->comm) {
        ckpt_source_free(source);
        return 0;
    }
    comm_source_free(source);
    return comm_unpin(engine->comm, err);
}

bool engine_learning_rate(const struct engine *engine, const struct ckpt_source *source,
                          double *out)
{
    struct str_list all = {0}, rates = {0};
    bool found = false;
    ckpt_vars_rates(engine->job.main, NULL, &all, &rates);
    for (size_t i = 0; i < source->count && !found && rates.count; i++) {
        float value;
        if (!str_eq(source->vars[i].name, rates.items[0]) || source->vars[i].dtype != DTYPE_FP32)
            continue;
        found = source->read_rows(source->self, i, 0, 1, &value, NULL) == 0;
        if (found)
            *out = value;
    }
    str_list_deinit(&all);
    str_list_deinit(&rates);
    return found;
}

const struct variable *engine_value(const struct engine *engine, const char *name, int worker)
{
    return engine->parallel
               ? parallel_executor_find(engine->parallel, engine->train, name, worker)
               : scope_find(engine->scope, name);
}

int engine_complete(struct engine *engine, struct err *err)
{
    return engine->comm ? comm_complete(engine->comm, err) : 0;
}

void engine_abort(struct engine *engine, const char *reason)
{
    if (engine->comm)
        comm_abort(engine->comm, reason);
}

bool engine_saves(const struct engine *engine)
{
    return engine->trainer_id == 0;
}

static int build_trainer(struct engine *engine, struct err *err)
{
    struct program *train = NULL, *startup = NULL;
    engine->trainer_id = (int)option_int(engine->options, "trainer_id");
    engine->trainers = (int)option_int(engine->options, "trainers");
    int rc = transpiler_trainer_program(engine->job.transpiler, engine->trainer_id, &train, err);
    if (rc < 0)
        return rc;
    engine->train = train;
    rc = transpiler_startup_trainer(engine->job.transpiler, engine->trainer_id, &startup, err);
    if (rc == 0)
        engine->startup = startup;
    return rc;
}

static void make_executors(struct engine *engine, const struct plan_host *hosts, size_t count)
{
    engine->exe = executor_new(engine->scope, hosts, count);
    if (engine->workers > 1)
        engine->parallel = parallel_executor_new(engine->scope, hosts, count, engine->workers);
}

static int begin_local(struct engine *engine, struct err *err)
{
    static const struct plan_host files = {.ops = op_save_load_table};
    make_executors(engine, &files, 1);
    int rc = run_startup(engine, err);
    if (rc == 0)
        rc = job_start_load(engine->options, engine->job.main, engine->scope, &engine->start, err);
    return rc;
}

static int begin_trainer(struct engine *engine, void (*waiting)(void *self, const char *text),
                         void *self, struct err *err)
{
    int rc = connect_servers(engine, waiting, self, err);
    if (rc < 0)
        return rc;
    const struct plan_host hosts[] = {
        {.ops = op_comm_table, .self = engine->comm},
        {.ops = op_save_load_table},
    };
    make_executors(engine, hosts, sizeof hosts / sizeof hosts[0]);
    rc = run_startup(engine, err);
    int restored = rc < 0 ? rc : comm_restore_variables(engine->comm, engine->scope, err);
    if (restored > 0)
        str_list_addf(&engine->start.notes,
                      "%d variable%s that only trainers hold came back from the servers", restored,
                      restored == 1 ? "" : "s");
    return restored < 0 ? restored : 0;
}

static int connect_servers(struct engine *engine, void (*waiting)(void *self, const char *text),
                           void *self, struct err *err)
{
    const struct option_set *options = engine->options;
    const struct str_list *endpoints = option_list(options, "pservers");
    struct endpoint first;
    int rc = endpoint_parse(endpoints->items[0], &first, err);
    if (rc < 0)
        return rc;
    struct comm_options how = {
        .endpoints = (const char *const *)endpoints->items,
        .servers = (int)endpoints->count,
        .slices = engine->train->slices,
        .trainer_id = engine->trainer_id,
        .job_id = option_string(options, "job_id"),
        .connect_timeout_ms = option_ms(options, "connect_timeout"),
        .silent_ms = option_ms(options, "deadline"),
        .congestion = endpoint_is_loopback(&first) ? "cubic" : NULL,
        .waiting = waiting,
        .self = self,
    };
    rc = comm_open(&how, &engine->comm, err);
    if (rc < 0)
        return rc;
    const struct comm_welcome *welcome = comm_welcome(engine->comm);
    rc = job_start_from_servers(welcome->loaded, welcome->progress, &engine->start, err);
    if (rc == 0 && !engine->start.progress.step) {
        engine->start.progress.step = (int64_t)welcome->step;
        engine->start.progress.epoch = welcome->epoch;
    }
    return rc;
}

static int run_startup(struct engine *engine, struct err *err)
{
    int rc = executor_run(engine->exe, engine->startup, NULL, 0, NULL, 0, err);
    return rc < 0 ? err_prefix(err, "start-up program") : 0;
}
