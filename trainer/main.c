// SPDX-License-Identifier: Apache-2.0
// A training process: options, engine, data, steps, save, evaluation, summary. This file is the
// order of these and the exit code: 0 planned work complete and last save committed, 1 failed, 2
// wrong options, environment or job file, 3 stopped on request with state saved.
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/api/job_config.h"
#include "common/api/stop.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/config/option.h"
#include "common/ps/comm.h"
#include "trainer/best.h"
#include "trainer/checkpointer.h"
#include "trainer/engine.h"
#include "trainer/evaluate.h"
#include "trainer/export.h"
#include "trainer/fetches.h"
#include "trainer/progress_line.h"
#include "trainer/run_summary.h"
#include "trainer/step_report.h"
#include "trainer/totals.h"
#include "trainer/train_loop.h"
#include "trainer/work.h"

#define STOP_LIMIT_MS 15000   // for the step that was being made

static const char usage[] =
    "usage: trainer --role local --model NAME --data URI [--save_dir DIR]      all in one process\n"
    "       trainer --role trainer --trainer_id I --trainers N --pservers HOST:PORT,... --model "
    "NAME --data URI\n"
    "       trainer --config job.conf --trainer_id I\n"
    "       trainer ... --model ctr_dnn --data 'criteo://day_*.gz' --table_rows 1000001 "
    "--bad_lines skip\n"
    "       trainer ... --model word2vec --data tokens://corpus.txt --ngram 5 --table_rows 2073\n"
    "       trainer ... --model sentiment_lstm --data tokens://reviews.txt --label last\n"
    "       trainer ... --model label_semantic --data multislot://conll.txt --hidden 128,128\n"
    "       trainer ... --data part-0 --slots label=click:uint64:1,dense:float:13,C1..26=1..26\n"
    "Trains. Trainer 0 saves what the servers hold; a trainer loads nothing, servers do. Progress "
    "and messages go\n"
    "to stderr, one JSON line about the run to stdout at its end.\n";

struct trainer {
    struct engine engine;
    struct work work;
    struct checkpointer saver;
    struct evaluate evaluate;
    struct best best;
    struct export export;
    struct fetches fetches;
    struct step_report report;
    struct totals totals;
    struct progress_line line;
    bool begun;   // options are known to be right: what fails now fails for another reason
    atomic_bool training;
    atomic_bool complete;   // its own work is; it waits for the others' metrics
    _Atomic uint64_t stop_ms;
};

static int run(const struct option_set *options, struct trainer *trainer, struct err *err);
static int prepare(const struct option_set *options, struct trainer *trainer, struct err *err);
static int begin(struct trainer *trainer, struct err *err);
static int finish(struct trainer *trainer, struct train_loop *loop, struct err *err);
static void tell_totals(struct trainer *trainer, struct train_loop *loop);
static int export_model(struct trainer *trainer, struct err *err);
static void release(struct trainer *trainer);
static void allow_files(void);
static void answer(const struct option_set *options, int asked);
static void say_config(const struct option_set *options, char name[32]);
static void say_lines(const struct str_list *lines);
static void on_waiting(void *self, const char *text);
static void on_stop(void *self, int count);

int main(int argc, char **argv)
{
    static struct trainer trainer;
    struct err err = {0};
    log_setup("trainer", LOG_INFO, false);
    allow_files();
    struct option_set *options =
        option_new(OPTION_TRAINER | OPTION_LOCAL, "trainer", 0, NULL, NULL);
    int rc = option_parse(options, argc, argv, &err);
    if (rc > 0)
        answer(options, rc);
    if (rc == 0)
        rc = run(options, &trainer, &err);
    if (rc < 0 && rc != SL_ESTOPPED)
        log_error("%s", err.text);
    option_free(options);
    return job_config_exit_code(rc);
}

static int run(const struct option_set *options, struct trainer *trainer, struct err *err)
{
    char name[32];
    say_config(options, name);
    progress_line_init(&trainer->line, option_string(options, "progress"),
                       str_eq(option_string(options, "log_format"), "json"), name);
    int rc = stop_start(on_stop, trainer, err);
    if (rc == 0)
        rc = prepare(options, trainer, err);
    if (rc == 0) {
        struct train_loop loop = {
            .engine = &trainer->engine,
            .work = &trainer->work,
            .saver = &trainer->saver,
            .evaluate = &trainer->evaluate,
            .best = &trainer->best,
            .fetches = &trainer->fetches,
            .report = &trainer->report,
            .totals = &trainer->totals,
            .line = &trainer->line,
        };
        atomic_store(&trainer->training, true);
        rc = train_loop_run(&loop, err);
        if (rc == 0)
            rc = finish(trainer, &loop, err);
    }
    if (rc < 0 && rc != SL_ESTOPPED)
        engine_abort(&trainer->engine, err->text);
    stop_end();
    bool begun = trainer->begun;
    release(trainer);
    return rc == SL_EUSAGE && begun ? SL_EINVAL : rc;   // options are judged before anything runs
}

// Everything that can be wrong here is found before the servers are asked.
static int prepare(const struct option_set *options, struct trainer *trainer, struct err *err)
{
    struct engine *engine = &trainer->engine;
    int rc = engine_open(options, engine, err);
    if (rc == 0)
        rc = work_open(engine, &trainer->work, err);
    if (rc == 0)
        rc = evaluate_open(engine, &trainer->evaluate, err);
    if (rc == 0)
        rc = best_init(&trainer->best, engine, err);
    if (rc == 0)
        rc = export_open(engine, &trainer->export, err);
    if (rc == 0)
        rc = fetches_init(&engine->job, engine->train, option_list(options, "fetch"),
                          &trainer->fetches, err);
    if (rc == 0)
        rc = totals_init(&trainer->totals, engine, err);
    if (rc == 0)
        rc = checkpointer_init(&trainer->saver, engine, err);
    if (rc == 0)
        rc = step_report_open(options, &trainer->report, err);
    return rc < 0 ? rc : begin(trainer, err);
}

static int begin(struct trainer *trainer, struct err *err)
{
    struct str_list lines = {0};
    trainer->begun = true;
    int rc = engine_begin(&trainer->engine, on_waiting, trainer, err);
    job_start_lines(&trainer->engine.start, &lines);
    if (rc == 0)
        rc = work_begin(&trainer->work, &trainer->engine, &lines, err);
    if (rc == 0)
        best_begin(&trainer->best, &trainer->engine, &trainer->saver);
    say_lines(&lines);
    str_list_deinit(&lines);
    char *warning = rc == 0 ? checkpointer_warning(&trainer->saver, &trainer->engine) : NULL;
    if (warning)
        log_warn("%s", warning);
    mem_free(warning);
    return rc;
}

// What follows the last save: the evaluation, before the servers may go when it needs them, and the
// summary.
static int finish(struct trainer *trainer, struct train_loop *loop, struct err *err)
{
    bool evaluate = !loop->stopped, early = trainer->evaluate.asks_servers || trainer->best.metric;
    int rc = evaluate && early ? train_loop_evaluate(loop, err) : 0;
    if (rc == 0 && !loop->stopped)
        rc = export_model(trainer, err);
    if (rc == 0)
        rc = totals_end(&trainer->totals, err);
    if (rc == 0)
        rc = engine_complete(&trainer->engine, err);
    if (rc == 0)
        tell_totals(trainer, loop);
    if (rc == 0)
        rc = step_report_close(&trainer->report, err);
    if (rc == 0 && evaluate && !early)
        rc = train_loop_evaluate(loop, err);
    if (rc < 0)
        return rc;
    const struct reader *reader = trainer->work.reader;
    const struct evaluate_result *test = evaluate_last(&trainer->evaluate);
    uint64_t bad = (test ? test->bad_lines : 0) + (reader ? reader_bad_lines(reader) : 0);
    if (bad)
        log_warn("data: %llu bad line%s left out (--bad_lines skip)",
                 (unsigned long long)bad, bad == 1 ? " was" : "s were");
    char *text = run_summary_format(&trainer->engine, &trainer->work, loop, &trainer->saver);
    rc = run_summary_write(&trainer->engine, text, err);
    if ((puts(text) < 0 || fflush(stdout) != 0) && rc == 0)
        rc = err_set(err, SL_EIO, "the summary on stdout: %s", strerror(errno));
    mem_free(text);
    if (rc == 0 && loop->stopped) {
        log_info("stopped on request after step %lld", (long long)trainer->work.progress.step);
        return SL_ESTOPPED;
    }
    return rc;
}

// This trainer's work is done: what becomes of the others' is no failure of it any more.
static void tell_totals(struct trainer *trainer, struct train_loop *loop)
{
    struct str_list lines = {0};
    struct err failed = {0};
    atomic_store(&trainer->complete, true);
    int rc = totals_wait(&trainer->totals, loop->stopped, &lines, &failed);
    train_loop_tell(loop, &lines);
    if (rc < 0)
        log_warn("the metrics of the whole job are not known: %s", failed.text);
    str_list_deinit(&lines);
}

static int export_model(struct trainer *trainer, struct err *err)
{
    char line[512];
    int rc = export_write(&trainer->export, &trainer->engine, line, sizeof line, err);
    if (rc == 0 && line[0])
        log_info("%s", line);
    return rc;
}

static void release(struct trainer *trainer)
{
    totals_deinit(&trainer->totals);
    step_report_close(&trainer->report, NULL);
    export_close(&trainer->export);
    best_deinit(&trainer->best);
    evaluate_close(&trainer->evaluate);
    checkpointer_deinit(&trainer->saver);
    fetches_deinit(&trainer->fetches);
    work_close(&trainer->work);
    engine_close(&trainer->engine);
}

// A data set of many files keeps them all open: as many as the system allows.
static void allow_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void answer(const struct option_set *options, int asked)
{
    struct buf text;
    buf_init(&text, 0);
    job_config_answer(options, asked, usage, &text);
    fputs(buf_text(&text), stdout);
    buf_deinit(&text);
}

static void say_config(const struct option_set *options, char name[32])
{
    bool local = option_role(options) == OPTION_LOCAL;
    snprintf(name, 32, local ? "trainer" : "trainer %lld",
             local ? 0LL : (long long)option_int(options, "trainer_id"));
    job_config_log(options, name);
    for (size_t i = 0; i < option_warnings(options)->count; i++)
        log_warn("%s", option_warnings(options)->items[i]);
    struct str_list lines = {0};
    job_config_lines(options, &lines);
    say_lines(&lines);
    str_list_deinit(&lines);
}

static void say_lines(const struct str_list *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        log_info("%s", lines->items[i]);
}

// On the comm's loop thread.
static void on_waiting(void *self, const char *text)
{
    struct trainer *trainer = self;
    progress_line_break(&trainer->line);
    log_info("%s", text);
    uint64_t stop_ms = atomic_load(&trainer->stop_ms);
    if (stop_ms && clock_now_ms() > stop_ms + STOP_LIMIT_MS) {
        log_error("asked to stop, but the step cannot be finished: ending");
        _exit(1);
    }
}

// On the thread that takes signals.
static void on_stop(void *self, int count)
{
    struct trainer *trainer = self;
    progress_line_break(&trainer->line);
    if (count > 1) {
        log_error("asked to stop again: ending at once");
        _exit(1);
    }
    if (!atomic_load(&trainer->training)) {
        log_info("stopped on request, before the first step");
        _exit(3);
    }
    if (atomic_load(&trainer->complete)) {
        log_info("asked to stop: not waiting for the other trainers");
        if (trainer->engine.comm)
            comm_merge_give_up(trainer->engine.comm);
        return;
    }
    atomic_store(&trainer->stop_ms, clock_now_ms());
    log_info("asked to stop: finishing the step; a second time ends at once");
}
