// SPDX-License-Identifier: Apache-2.0
// Keys are stable: scripts read them. A value that there is none of is null.
#include "trainer/run_summary.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/config/option.h"
#include "common/ps/comm.h"
#include "trainer/best.h"
#include "trainer/checkpointer.h"
#include "trainer/engine.h"
#include "trainer/evaluate.h"
#include "trainer/totals.h"
#include "trainer/train_loop.h"
#include "trainer/work.h"

static json_t *number(double value);
static json_t *text_or_null(const char *text);
static json_t *origin(const struct engine *engine);
static json_t *test_part(const struct engine *engine, const struct evaluate_result *test);
static json_t *test_accuracy(const struct engine *engine, const struct evaluate_result *test);
static json_t *evaluations(const struct engine *engine, const struct evaluate *evaluate);
static json_t *epochs(const struct engine *engine, const struct totals *totals);
static json_t *total_part(const struct engine *engine, const struct totals_result *result);
static json_t *best_part(const struct best *best);
static json_t *traffic(const struct engine *engine, const struct train_loop *loop);

char *run_summary_format(const struct engine *engine, const struct work *work,
                         const struct train_loop *loop, const struct checkpointer *saver)
{
    const struct evaluate_result *test = evaluate_last(loop->evaluate);
    json_t *all = json_object();
    bool local = !engine->comm;
    const char *path = engine->start.report.path;
    json_object_set_new(all, "role", json_string(local ? "local" : "trainer"));
    json_object_set_new(all, "trainer_id", json_integer(engine->trainer_id));
    json_object_set_new(all, "trainers", json_integer(engine->trainers));
    json_object_set_new(all, "complete", json_boolean(!loop->stopped));
    json_object_set_new(all, "loaded_from",
                        text_or_null(engine->start.mode == JOB_START_FRESH ? NULL
                                     : local                               ? path
                                                                           : "the servers"));
    json_object_set_new(all, "loaded", origin(engine));
    json_object_set_new(all, "steps", json_integer(work->steps_done));
    json_object_set_new(all, "samples", json_integer(work->samples_done));
    uint64_t bad_lines = work->reader ? reader_bad_lines(work->reader) : 0;
    json_object_set_new(all, "bad_lines", json_integer((json_int_t)bad_lines));
    json_object_set_new(all, "global_step", json_integer(work->progress.step));
    json_object_set_new(all, "global_epoch", json_integer(work->progress.epoch));
    json_object_set_new(all, "first_loss", number(loop->first_loss));
    json_object_set_new(all, "last_loss", number(loop->last_loss));
    json_object_set_new(all, "saved_to", text_or_null(saver->saved_path));
    json_object_set_new(all, "digest", text_or_null(saver->saved_path ? saver->digest : NULL));
    json_object_set_new(all, "test", test_part(engine, test));
    json_object_set_new(all, "test_accuracy", test_accuracy(engine, test));
    json_object_set_new(all, "evaluations", evaluations(engine, loop->evaluate));
    json_object_set_new(all, "epochs", epochs(engine, loop->totals));
    json_object_set_new(all, "total", loop->totals->run_known
                                          ? total_part(engine, &loop->totals->run)
                                          : json_null());
    json_object_set_new(all, "best", best_part(loop->best));
    json_object_set_new(all, "seconds", json_real((double)loop->ms / 1e3));
    json_object_set_new(all, "samples_per_second",
                        loop->ms
                            ? json_real(round((double)work->samples_done * 1e3 / (double)loop->ms))
                            : json_null());
    json_object_set_new(all, "servers", traffic(engine, loop));
    char *text = json_dumps(all, JSON_REAL_PRECISION(9));
    json_decref(all);
    char *copy = mem_must_strdup(text ? text : "{}");
    free(text);
    return copy;
}

int run_summary_write(const struct engine *engine, const char *text, struct err *err)
{
    const char *path = option_string(engine->options, "summary");
    if (!path)
        return 0;
    char *line = mem_must_printf("%s\n", text);
    int rc = fsutil_write_atomic(path, line, strlen(line), err);
    mem_free(line);
    return rc < 0 ? err_prefix(err, "--summary") : 0;
}

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

// How the run began: the way, and the checkpoint's digest and step.
static json_t *origin(const struct engine *engine)
{
    const struct job_start *start = &engine->start;
    if (start->mode == JOB_START_FRESH)
        return json_null();
    const char *digest = engine->comm ? comm_welcome(engine->comm)->digest : start->report.digest;
    return json_pack("{s:s, s:s, s:I, s:I}", "how", job_start_mode_name(start->mode), "digest",
                     digest, "step", (json_int_t)start->progress.step, "epoch",
                     (json_int_t)start->progress.epoch);
}

static json_t *test_part(const struct engine *engine, const struct evaluate_result *test)
{
    if (!test || !test->samples)
        return json_null();
    json_t *part =
        json_pack("{s:I, s:I, s:I, s:I, s:o}", "step", (json_int_t)test->step, "epoch",
                  (json_int_t)test->epoch, "samples", (json_int_t)test->samples, "bad_lines",
                  (json_int_t)test->bad_lines, "loss", number(test->loss));
    for (size_t i = 0; i < engine->job.metric_names.count && i < EVALUATE_METRICS_MAX; i++)
        json_object_set_new(part, engine->job.metric_names.items[i], number(test->metrics[i]));
    return part;
}

static json_t *test_accuracy(const struct engine *engine, const struct evaluate_result *test)
{
    for (size_t i = 0; test && test->samples && i < engine->job.metric_names.count; i++)
        if (str_eq(engine->job.metric_names.items[i], "acc"))
            return number(test->metrics[i]);
    return json_null();
}

static json_t *evaluations(const struct engine *engine, const struct evaluate *evaluate)
{
    json_t *list = json_array();
    for (size_t i = 0; i < evaluate->count; i++)
        json_array_append_new(list, test_part(engine, &evaluate->results[i]));
    return list;
}

// Of the whole job.
static json_t *epochs(const struct engine *engine, const struct totals *totals)
{
    json_t *list = json_array();
    for (size_t i = 0; i < totals->count; i++)
        json_array_append_new(list, total_part(engine, &totals->results[i]));
    return list;
}

static json_t *total_part(const struct engine *engine, const struct totals_result *result)
{
    json_t *part = json_pack("{s:I, s:I, s:i, s:o}", "epoch", (json_int_t)result->epoch, "samples",
                             (json_int_t)result->samples, "trainers", result->trainers, "loss",
                             number(result->loss));
    if (!result->epoch)
        json_object_del(part, "epoch");
    for (size_t m = 0; m < engine->job.metric_names.count; m++)
        json_object_set_new(part, engine->job.metric_names.items[m], number(result->metrics[m]));
    return part;
}

static json_t *best_part(const struct best *best)
{
    if (!best->known)
        return json_null();
    return json_pack("{s:s, s:o, s:I, s:s}", "metric", best->metric, "value", number(best->value),
                     "step", (json_int_t)best->step, "path", best->path);
}

static json_t *traffic(const struct engine *engine, const struct train_loop *loop)
{
    if (!engine->comm)
        return json_null();
    struct comm_stats stats;
    comm_stats(engine->comm, &stats);
    double share = loop->ms ? (double)loop->wait_ns / 1e6 / (double)loop->ms : 0;
    return json_pack("{s:I, s:I, s:f, s:I}", "bytes_sent", (json_int_t)stats.bytes_sent,
                     "bytes_received", (json_int_t)stats.bytes_received, "wait_share",
                     round(share * 1e4) / 1e4, "reconnects", (json_int_t)stats.reconnects);
}
