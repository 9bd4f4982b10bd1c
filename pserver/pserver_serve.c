// SPDX-License-Identifier: Apache-2.0
// A server has nothing of its own to save: trainer 0 does that. So when it is asked to stop it lets
// trainers that are stopping too finish their step and save, and leaves with them. When there was
// no step yet, when they plainly go on training (a step is committed after STOP_GRACE_MS) or do not
// come to an end in STOP_LIMIT_MS, it ends the job.
//
// serve_run owns the main thread and callbacks come on it; requests to stop come on the thread of
// stop.c.
#include "pserver/pserver_serve.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/api/stop.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_report.h"
#include "common/config/endpoint.h"
#include "common/config/option.h"
#include "common/passes/transpiler.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"
#include "common/ps/serve.h"
#include "pserver/pserver_job.h"
#include "pserver/pserver_options.h"

#define STOP_GRACE_MS 2000
#define STOP_LIMIT_MS 60000

struct serving {
    struct serve *serve;
    uint64_t begun_ms;
    atomic_bool stepped;        // a step was committed
    _Atomic uint64_t stop_ms;   // when the first request to stop came; 0: none did
};

static void on_ready(void *self, const char *bound);
static void on_waiting(void *self, const char *text);
static void on_notice(void *self, const char *text);
static void on_committed(void *self, uint64_t step);
static void on_stop(void *self, int count);
static void say_start(const struct job_start *start);
static void describe(const struct pserver_job *job, const struct serve *serve, const char *listen);
static void say_end(const struct serve *serve);

int pserver_serve(const struct pserver_options *options, struct pserver_job *job, uint64_t begun_ms,
                  struct err *err)
{
    struct serving serving = {.begun_ms = begun_ms};
    struct buf progress;
    buf_init(&progress, 0);
    const struct job_start *start = &job->start;
    struct endpoint listen;
    int rc = endpoint_parse(options->listen, &listen, err);
    if (rc == 0 && start->mode != JOB_START_FRESH)
        rc = ckpt_progress_format(&start->progress, &progress);
    if (rc < 0)
        goto end;
    struct serve_options how = {
        .endpoint = options->listen,
        .insecure = option_bool(options->set, "insecure"),
        .job_id = option_string(options->set, "job_id"),
        .congestion = endpoint_is_loopback(&listen) ? "cubic" : NULL,
        .silent_ms = option_ms(options->set, "deadline"),
        .connect_ms = option_ms(options->set, "connect_timeout"),
        .origin =
            {
                .loaded = start->mode != JOB_START_FRESH,
                .digest = start->report.digest,
                .step = (uint64_t)start->progress.step,
                .epoch = start->progress.epoch,
                .progress = buf_text(&progress),
            },
        .ready = on_ready,
        .waiting = on_waiting,
        .notice = on_notice,
        .committed = on_committed,
        .self = &serving,
    };
    rc = serve_new(&how, job->main, job->scope, &serving.serve, err);
    if (rc < 0)
        goto end;
    describe(job, serving.serve, options->listen);
    say_start(start);
    rc = stop_start(on_stop, &serving, err);
    if (rc == 0)
        rc = serve_run(serving.serve, err);
    stop_end();
    if (rc == SL_ESTOPPED && !stop_requested())
        rc = SL_ECLOSED;   // another server was asked to: for this one the job has failed
    if (rc == 0 && stop_requested())
        rc = err_set(err, SL_ESTOPPED, "stopped on request, after the trainers had ended");
    say_end(serving.serve);
end:
    serve_free(serving.serve);
    buf_deinit(&progress);
    return rc;
}

// ---- what people see

static void describe(const struct pserver_job *job, const struct serve *serve, const char *listen)
{
    const struct slice_map *map = transpiler_slices(job->job.transpiler);
    size_t parameters = 0;
    for (size_t i = 0; i < map->vars_count; i++)
        parameters += map->vars[i]->role == SLICE_PARAM;
    char size[32];
    log_info("%s  server %d of %d, %d trainer%s, sync, %zu variables (%zu slices here, %s state)",
             listen, job->main->server, map->servers, map->trainers, map->trainers == 1 ? "" : "s",
             parameters, serve_slices(serve), ckpt_report_size(serve_state_bytes(serve), size));
}

static void say_start(const struct job_start *start)
{
    struct str_list lines = {0};
    job_start_lines(start, &lines);
    for (size_t i = 0; i < lines.count; i++)
        log_info("%s", lines.items[i]);
    str_list_deinit(&lines);
    struct buf table;
    buf_init(&table, 0);
    ckpt_report_table(&start->report, &table);
    if (table.bytes)
        log_debug("%s", buf_text(&table));
    buf_deinit(&table);
}

static void say_end(const struct serve *serve)
{
    struct serve_stats stats;
    char in[32], out[32];
    serve_stats(serve, &stats);
    log_info("%llu steps served, %s in, %s out", (unsigned long long)stats.steps,
             ckpt_report_size(stats.bytes_received, in), ckpt_report_size(stats.bytes_sent, out));
}

// ---- callbacks on the loop thread

static void on_ready(void *self, const char *bound)
{
    const struct serving *serving = self;
    log_info("ready on %s in %llu ms", bound,
             (unsigned long long)(clock_now_ms() - serving->begun_ms));
}

static void on_waiting(void *self, const char *text)
{
    struct serving *serving = self;
    uint64_t stop_ms = atomic_load(&serving->stop_ms);
    log_info("%s", text);
    if (stop_ms && clock_now_ms() > stop_ms + STOP_LIMIT_MS)
        serve_stop(serving->serve);
}

static void on_notice(void *self, const char *text)
{
    (void)self;
    log_info("%s", text);
}

static void on_committed(void *self, uint64_t step)
{
    struct serving *serving = self;
    (void)step;
    atomic_store(&serving->stepped, true);
    uint64_t stop_ms = atomic_load(&serving->stop_ms);
    if (stop_ms && clock_now_ms() > stop_ms + STOP_GRACE_MS)
        serve_stop(serving->serve);
}

// ---- on the thread that takes signals

static void on_stop(void *self, int count)
{
    struct serving *serving = self;
    if (count > 1) {
        log_error("asked to stop again: ending at once");
        _exit(1);
    }
    atomic_store(&serving->stop_ms, clock_now_ms());
    if (!atomic_load(&serving->stepped)) {
        serve_stop(serving->serve);
        return;
    }
    log_info("asked to stop: trainers that are stopping too may finish their step and save; a "
             "second time ends at once");
}
