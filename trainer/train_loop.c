// SPDX-License-Identifier: Apache-2.0
// A save that fails on the way is told and training goes on: the next one may succeed, and the last
// one must. Owner: the compute thread.
#include "trainer/train_loop.h"

#include <math.h>

#include "common/api/stop.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/ps/comm.h"
#include "trainer/best.h"
#include "trainer/checkpointer.h"
#include "trainer/engine.h"
#include "trainer/evaluate.h"
#include "trainer/fetches.h"
#include "trainer/progress_line.h"
#include "trainer/step_report.h"
#include "trainer/totals.h"
#include "trainer/work.h"

static int make_step(struct train_loop *loop, struct err *err);
static int count(struct train_loop *loop, struct err *err);
static void show(struct train_loop *loop, bool last);
static uint64_t waited_ns(const struct train_loop *loop);
static int save(struct train_loop *loop, struct err *err);

int train_loop_run(struct train_loop *loop, struct err *err)
{
    uint64_t begun_ms = clock_now_ms();
    loop->first_loss = loop->last_loss = NAN;
    loop->waited_before_ns = waited_ns(loop);
    progress_line_start(loop->line);
    int rc = totals_begin(loop->totals, err);
    if (rc < 0)
        return rc;
    while ((rc = work_next(loop->work, err)) > 0) {
        rc = make_step(loop, err);
        if (rc < 0)
            break;
        show(loop, false);
        rc = count(loop, err);
        if (rc < 0)
            break;
        struct err failed = {0};
        if (checkpointer_due(loop->saver, loop->work) && save(loop, &failed) < 0) {
            progress_line_break(loop->line);
            log_warn("%s; training goes on", failed.text);
        }
        rc = evaluate_due(loop->evaluate, loop->work) ? train_loop_evaluate(loop, err) : 0;
        if (rc < 0)
            break;
        if (stop_requested() && work_next(loop->work, err) > 0) {
            loop->stopped = true;
            break;
        }
    }
    show(loop, true);
    progress_line_break(loop->line);
    if (rc >= 0)
        rc = save(loop, err);
    loop->ms = clock_now_ms() - begun_ms;
    loop->wait_ns = waited_ns(loop) - loop->waited_before_ns;
    return rc;
}

void train_loop_tell(struct train_loop *loop, const struct str_list *lines)
{
    if (lines->count)
        progress_line_break(loop->line);
    for (size_t i = 0; i < lines->count; i++)
        log_info("%s", lines->items[i]);
}

int train_loop_evaluate(struct train_loop *loop, struct err *err)
{
    char text[512];
    struct err failed = {0};
    size_t before = loop->evaluate->count;
    int rc = evaluate_run(loop->evaluate, loop->work, err);
    if (rc < 0 || loop->evaluate->count == before)
        return rc;
    const struct evaluate_result *result = evaluate_last(loop->evaluate);
    evaluate_line(loop->evaluate, text, sizeof text);
    progress_line_break(loop->line);
    log_info("%s", text);
    if (best_offer(loop->best, loop->saver, loop->engine, loop->work, result, text, sizeof text,
                   &failed) < 0)
        log_warn("%s; training goes on", failed.text);
    else if (text[0])
        log_info("%s", text);
    return 0;
}

static int make_step(struct train_loop *loop, struct err *err)
{
    struct fetches *fetches = loop->fetches;
    uint64_t begun_ns = clock_now_ns();
    int rc = engine_step(loop->engine, loop->work->feeds, loop->work->feeds_count, fetches->items,
                         fetches->count, err);
    if (rc < 0)
        return err_prefix(err, "step %lld", (long long)loop->work->progress.step + 1);
    double ms = (double)(clock_now_ns() - begun_ns) / 1e6;
    fetches_take(fetches, loop->engine->workers);
    if (loop->work->steps_done == 0)
        loop->first_loss = fetches->loss;
    loop->last_loss = fetches->loss;
    totals_step(loop->totals, fetches, reader_batch_samples(loop->work->reader));
    rc = step_report_add(loop->report, &loop->engine->job, loop->work, fetches, ms, err);
    return rc < 0 ? rc : work_used(loop->work, err);
}

// Totals of an epoch that has ended, and what has arrived of earlier ones.
static int count(struct train_loop *loop, struct err *err)
{
    struct str_list lines = {0};
    int rc = loop->work->epoch_ended
                 ? totals_epoch(loop->totals, loop->work->progress.epoch, err)
                 : 0;
    if (rc == 0)
        rc = totals_poll(loop->totals, &lines, err);
    train_loop_tell(loop, &lines);
    str_list_deinit(&lines);
    return rc;
}

static void show(struct train_loop *loop, bool last)
{
    struct progress_line_facts facts = {
        .loss = loop->fetches->loss,
        .job = &loop->engine->job,
        .metrics = loop->fetches->values,
        .wait_ns = waited_ns(loop) - loop->waited_before_ns,
    };
    progress_line_step(loop->line, loop->work, &facts, last);
}

static uint64_t waited_ns(const struct train_loop *loop)
{
    struct comm_stats stats = {0};
    if (loop->engine->comm)
        comm_stats(loop->engine->comm, &stats);
    return stats.wait_ns;
}

static int save(struct train_loop *loop, struct err *err)
{
    char text[1024];
    // A run of no steps has no loss to judge by.
    bool judged = loop->fetches->has_loss && loop->work->steps_done > 0;
    int rc = checkpointer_save(loop->saver, loop->engine, loop->work, judged ? loop->last_loss : 0,
                               text, sizeof text, err);
    if (rc == 0 && text[0]) {
        progress_line_break(loop->line);
        log_info("%s", text);
    }
    return rc;
}
