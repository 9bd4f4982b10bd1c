// SPDX-License-Identifier: Apache-2.0
// Fluid's Executor, and its ParallelExecutor for runs on several workers. What a program is shows
// in its operators: listen_and_serv serves, send and recv talk to servers (the connection is opened
// by the first such program and kept), everything else just runs. Invariant: a variable that a load
// has filled is not overwritten by an initializer unless the caller says so.

#include "common/api/api_private.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "common/api/comm_restore.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ckpt/op_save_load.h"
#include "common/exec/scope.h"
#include "common/program/program.h"
#include "common/ps/comm.h"
#include "common/ps/serve.h"

static void make_executor(struct api_executor *exe);
static int find_parallel(struct api_executor *exe, int workers, struct parallel_executor **out,
                         struct err *err);
static void free_parallel(struct api_executor *exe);
static int check_loaded(struct api_executor *exe, const struct program *program, bool overwrite,
                        struct err *err);
static int serve(struct api_executor *exe, const struct program *program, struct err *err);
static int run(struct api_executor *exe, const struct program *program, const struct api_feed *feed,
               struct api_fetch *fetch, int workers, struct err *err);
static int finish(struct api_executor *exe, struct err *err);

static void log_to_stderr(void *self, const char *text)
{
    (void)self;
    fprintf(stderr, "%s\n", text);
}

struct sl_executor_options sl_executor_defaults(void)
{
    return (struct sl_executor_options){.connect_timeout_ms = 600000, .log = log_to_stderr};
}

sl_executor *sl_executor_new(enum sl_place place)
{
    return sl_executor_new_with(place, NULL);
}

sl_executor *sl_executor_new_with(enum sl_place place, const struct sl_executor_options *options)
{
    (void)place;   // there is one kind of place
    struct api_executor *exe = MEM_NEW(struct api_executor);
    exe->options = options ? *options : sl_executor_defaults();
    exe->scope = scope_new();
    map_init(&exe->loaded);
    ckpt_report_init(&exe->report);
    make_executor(exe);
    return exe;
}

int sl_executor_close(sl_executor *exe, struct sl_error *err)
{
    struct err inner = {0};
    if (finish(exe, &inner) < 0)
        return api_executor_error(err, &inner);
    return 0;
}

void sl_executor_free(sl_executor *exe)
{
    if (exe == NULL)
        return;
    finish(exe, NULL);
    free_parallel(exe);
    executor_free(exe->exe);
    scope_free(exe->scope);
    map_deinit(&exe->loaded);
    ckpt_report_deinit(&exe->report);
    if (exe->last_load != NULL)
        ckpt_report_deinit(exe->last_load);
    mem_free(exe->last_load);
    mem_free(exe);
}

int sl_run(sl_executor *exe, sl_program *program, const sl_feed *feed, sl_fetch *fetch,
           struct sl_error *err)
{
    return sl_run_with(exe, program, feed, fetch, NULL, err);
}

int sl_run_with(sl_executor *exe, sl_program *program, const sl_feed *feed, sl_fetch *fetch,
                const struct sl_run_options *options, struct sl_error *err)
{
    struct err inner = {0};
    program = program ? program : sl_default_main_program();
    int rc = check_loaded(exe, program, options != NULL && options->overwrite_loaded, &inner);
    if (rc == 0 && api_executor_find_op(program, "listen_and_serv") != NULL)
        rc = serve(exe, program, &inner);
    else if (rc == 0)
        rc = run(exe, program, feed, fetch, options != NULL ? options->cpu_num : 1, &inner);
    return rc < 0 ? api_executor_error(err, &inner) : 0;
}

int api_executor_error(struct sl_error *to, const struct err *from)
{
    if (to != NULL) {
        to->code = from->code;
        memcpy(to->text, from->text, sizeof to->text);
    }
    return from->code;
}

const struct op_desc *api_executor_find_op(const struct program *program, const char *type)
{
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->ops_count; i++)
        if (str_eq(block->ops[i]->type, type))
            return block->ops[i];
    return NULL;
}

int api_executor_connect(struct api_executor *exe, const struct program *program, struct err *err)
{
    if (exe->comm != NULL || exe->completed)
        return exe->comm ? 0
                         : err_set(err, SL_EUSAGE,
                                   "executor: this trainer has completed already (closed)");
    const struct op_desc *barrier = api_executor_find_op(program, "fetch_barrier");
    const struct attr *endpoints = barrier ? op_desc_attr(barrier, "endpoints") : NULL;
    if (endpoints == NULL)
        return err_set(err, SL_EUNSUPPORTED,
                       "executor: a trainer program without fetch_barrier (asynchronous mode) "
                       "cannot run yet: transpile with sync_mode true");
    if (program->slices == NULL)
        return err_set(err, SL_EUNSUPPORTED,
                       "executor: the program does not know where its variables live: run the "
                       "program that sl_transpile made, not one that was loaded from a file");
    struct comm_options how = {
        .endpoints = (const char *const *)endpoints->strings,
        .servers = (int)endpoints->count,
        .slices = program->slices,
        .trainer_id = (int)op_desc_get_int(barrier, "trainer_id", 0),
        .connect_timeout_ms =
            exe->options.connect_timeout_ms > 0 ? (uint64_t)exe->options.connect_timeout_ms : 0,
        .waiting = exe->options.waiting,
        .self = exe->options.self,
    };
    int rc = comm_open(&how, &exe->comm, err);
    if (rc < 0)
        return rc;
    make_executor(exe);
    return 0;
}

static void make_executor(struct api_executor *exe)
{
    const struct plan_host hosts[] = {
        {.ops = op_save_load_table},
        {.ops = op_comm_table, .self = exe->comm},
    };
    free_parallel(exe);
    executor_free(exe->exe);
    exe->exe = executor_new(exe->scope, hosts, exe->comm ? 2 : 1);
}

static void free_parallel(struct api_executor *exe)
{
    for (int w = 0; w <= PARALLEL_EXECUTOR_WORKERS_MAX; w++) {
        parallel_executor_free(exe->parallel[w]);
        exe->parallel[w] = NULL;
    }
}

// The one with so many workers, made when it is not there; NULL for one worker.
static int find_parallel(struct api_executor *exe, int workers, struct parallel_executor **out,
                         struct err *err)
{
    const char *text = workers == SL_CPU_NUM ? getenv("CPU_NUM") : NULL;
    int64_t count = workers == SL_CPU_NUM || workers == 0 ? 1 : workers;
    if (text != NULL && text[0] != '\0' && !str_parse_i64(text, &count))
        return err_set(err, SL_EINVAL, "CPU_NUM=%s (environment) is not a number", text);
    if (count < 1 || count > PARALLEL_EXECUTOR_WORKERS_MAX)
        return err_set(err, SL_EINVAL, "%lld workers (CPU_NUM): 1 to %d are possible",
                       (long long)count, PARALLEL_EXECUTOR_WORKERS_MAX);
    const struct plan_host hosts[] = {
        {.ops = op_save_load_table},
        {.ops = op_comm_table, .self = exe->comm},
    };
    if (count > 1 && exe->parallel[count] == NULL)
        exe->parallel[count] =
            parallel_executor_new(exe->scope, hosts, exe->comm ? 2 : 1, (int)count);
    *out = exe->parallel[count];
    return 0;
}

static bool is_initializer(const struct op_desc *op)
{
    for (size_t s = 0; s < op->inputs_count; s++)
        if (op->inputs[s].args.count > 0)
            return false;
    return true;
}

static void collect_overwritten(const struct api_executor *exe, const struct program *program,
                                struct str_list *out)
{
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        for (size_t s = 0; is_initializer(op) && s < op->outputs_count; s++)
            for (size_t k = 0; k < op->outputs[s].args.count; k++)
                if (map_get(&exe->loaded, op->outputs[s].args.items[k]) != NULL)
                    str_list_add(out, op->outputs[s].args.items[k]);
    }
}

static int check_loaded(struct api_executor *exe, const struct program *program, bool overwrite,
                        struct err *err)
{
    struct str_list names = {0};
    int rc = 0;
    collect_overwritten(exe, program, &names);
    if (overwrite) {
        for (size_t i = 0; i < names.count; i++)
            map_remove(&exe->loaded, names.items[i]);
    } else if (names.count > 0) {
        str_list_sort(&names);
        char *list = str_list_join(&names, ", ");
        rc = err_set(
            err, SL_EREFUSED,
            "executor: this start-up program would overwrite what was loaded: %s. Run it before "
            "the load, or set overwrite_loaded in sl_run_with",
            list);
        mem_free(list);
    }
    str_list_deinit(&names);
    return rc;
}

static int serve(struct api_executor *exe, const struct program *program, struct err *err)
{
    struct buf progress;
    struct serve *server = NULL;
    buf_init(&progress, 0);
    const struct ckpt_report *report = &exe->report;
    int rc = report->has_progress ? ckpt_progress_format(&report->progress, &progress) : 0;
    struct serve_options how = {
        .insecure = exe->options.insecure,
        .origin = {.loaded = map_count(&exe->loaded) > 0,
                   .digest = report->digest,
                   .step = report->has_progress ? (uint64_t)report->progress.step : 0,
                   .epoch = report->has_progress ? report->progress.epoch : 0,
                   .progress = buf_text(&progress)},
        .ready = exe->options.ready,
        .waiting = exe->options.waiting,
        .self = exe->options.self,
    };
    if (rc == 0)
        rc = serve_new(&how, program, exe->scope, &server, err);
    if (rc == 0)
        rc = serve_run(server, err);
    serve_free(server);
    buf_deinit(&progress);
    return rc;
}

static bool talks_to_servers(const struct program *program)
{
    return api_executor_find_op(program, "recv") != NULL ||
           api_executor_find_op(program, "send") != NULL;
}

static int run(struct api_executor *exe, const struct program *program, const struct api_feed *feed,
               struct api_fetch *fetch, int workers, struct err *err)
{
    bool distributed = talks_to_servers(program);
    int rc = distributed ? api_executor_connect(exe, program, err) : 0;
    struct parallel_executor *parallel = NULL;
    if (rc == 0)
        rc = find_parallel(exe, workers, &parallel, err);
    if (rc < 0)
        return rc;
    size_t count = feed ? feed->names.count : 0;
    struct executor_feed *feeds = mem_must_calloc(count + 1, sizeof *feeds);
    for (size_t i = 0; i < count; i++)
        feeds[i] = (struct executor_feed){.name = feed->names.items[i], .value = feed->values[i]};
    struct executor_fetch *fetches = fetch ? fetch->items : NULL;
    size_t fetches_count = fetch ? fetch->count : 0;
    if (parallel != NULL)
        rc = parallel_executor_run(parallel, program, feeds, count, fetches, fetches_count, err);
    else
        rc = executor_run(exe->exe, program, feeds, count, fetches, fetches_count, err);
    mem_free(feeds);
    if (rc == 0 && distributed && api_executor_find_op(program, "send") == NULL) {
        int filled = comm_restore_variables(exe->comm, exe->scope, err);   // a start-up program
        rc = filled < 0 ? filled : 0;
    }
    if (rc < 0 && distributed)
        exe->failed = true;
    if (fetch != NULL)
        fetch->ran = rc == 0;
    for (size_t i = 0; rc == 0 && fetch != NULL && i < fetch->count; i++)
        api_feed_view(fetch->items[i].value, &fetch->tensors[i]);
    return rc;
}

// A trainer whose step failed gives up, so that the others hear of it; else it has completed.
static int finish(struct api_executor *exe, struct err *err)
{
    int rc = 0;
    if (exe->comm == NULL)
        return 0;
    if (exe->failed)
        comm_abort(exe->comm, "the trainer's program failed");
    else
        rc = comm_complete(exe->comm, err);
    exe->completed = true;
    comm_close(exe->comm);
    exe->comm = NULL;
    make_executor(exe);
    return rc;
}
