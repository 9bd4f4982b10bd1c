// SPDX-License-Identifier: Apache-2.0
// The three ways to begin from a folder differ in what they take: --load_dir takes all variables
// and counters but no position (new data), --resume the position, seed and data identity too,
// --init_from parameters only. What is taken is put into `progress`; trainers get it from the
// servers as text, and tell the way by what is in it: only --resume leaves a data identity there.
#include "common/api/job_start.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_find.h"
#include "common/ckpt/ckpt_load.h"
#include "common/config/option.h"
#include "common/passes/params.h"
#include "common/program/program.h"

static const struct {
    enum job_start_mode mode;
    const char *option;
    const char *name;
} ways[] = {
    {JOB_START_FRESH, NULL, "fresh"},
    {JOB_START_LOAD, "load_dir", "load"},
    {JOB_START_RESUME, "resume", "resume"},
    {JOB_START_INIT, "init_from", "init"},
};
#define WAYS (sizeof ways / sizeof ways[0])

static const char *chosen_dir(const struct option_set *options, enum job_start_mode *out_mode);
static int load_from(const struct option_set *options, const char *path,
                     const struct program *program, struct scope *scope, struct job_start *start,
                     struct err *err);
static int write_report(const struct option_set *options, const struct program *program,
                        const struct ckpt_report *report, struct err *err);
static int take_progress(struct job_start *start, struct err *err);

void job_start_init(struct job_start *start)
{
    memset(start, 0, sizeof *start);
    ckpt_report_init(&start->report);
    ckpt_progress_init(&start->progress);
}

void job_start_deinit(struct job_start *start)
{
    ckpt_report_deinit(&start->report);
    ckpt_progress_deinit(&start->progress);
    str_list_deinit(&start->notes);
}

const char *job_start_mode_name(enum job_start_mode mode)
{
    return ways[mode].name;
}

int job_start_load(const struct option_set *options, const struct program *program,
                   struct scope *scope, struct job_start *start, struct err *err)
{
    const char *dir = chosen_dir(options, &start->mode);
    if (!dir)
        return 0;
    char *path = NULL;
    int rc = ckpt_find_newest(dir, &path, &start->notes, err);
    if (rc == SL_ENOENT && str_eq(option_string(options, "if_no_checkpoint"), "start")) {
        str_list_addf(&start->notes,
                      "%s: no checkpoint there; starting from nothing, as --if_no_checkpoint says",
                      dir);
        start->mode = JOB_START_FRESH;
        return 0;
    }
    if (rc < 0) {
        if (rc == SL_ENOENT)
            err_prefix(err, "--%s %s (--if_no_checkpoint start begins from nothing then)",
                       ways[start->mode].option, dir);
        return rc;
    }
    rc = load_from(options, path, program, scope, start, err);
    mem_free(path);
    int written = write_report(options, program, &start->report, rc < 0 ? NULL : err);
    rc = rc < 0 ? rc : written;
    return rc < 0 ? rc : take_progress(start, err);
}

int job_start_from_servers(bool loaded, const char *progress, struct job_start *start,
                           struct err *err)
{
    start->mode = loaded ? JOB_START_LOAD : JOB_START_FRESH;
    if (!loaded || !*progress)
        return 0;
    int rc = ckpt_progress_parse(progress, strlen(progress), "the servers' progress",
                                 &start->progress, err);
    if (rc == 0 && start->progress.data_count > 0)
        start->mode = JOB_START_RESUME;
    return rc;
}

void job_start_lines(const struct job_start *start, struct str_list *out)
{
    for (size_t i = 0; i < start->notes.count; i++)
        str_list_add(out, start->notes.items[i]);
    if (!start->report.path)
        return;
    struct buf text;
    buf_init(&text, 0);
    ckpt_report_summary(&start->report, job_start_mode_name(start->mode), &text);
    str_list_add(out, buf_text(&text));
    buf_deinit(&text);
    if (start->report.rate_line)
        str_list_add(out, start->report.rate_line);
    for (size_t i = 0; i < start->report.items_count; i++) {
        const struct ckpt_item *item = &start->report.items[i];
        if (item->fate == CKPT_KEPT)
            str_list_addf(out, "kept %s: %s", item->name,
                          item->note ? item->note : "the folder has no such file");
    }
}

static const char *chosen_dir(const struct option_set *options, enum job_start_mode *out_mode)
{
    for (size_t i = 0; i < WAYS; i++)
        if (ways[i].option && option_is_set(options, ways[i].option)) {
            *out_mode = ways[i].mode;
            return option_string(options, ways[i].option);
        }
    *out_mode = JOB_START_FRESH;
    return NULL;
}

static int load_from(const struct option_set *options, const char *path,
                     const struct program *program, struct scope *scope, struct job_start *start,
                     struct err *err)
{
    struct str_list params = {0};
    struct ckpt_load_options how = {
        .what = start->mode == JOB_START_INIT ? CKPT_PARAMS : CKPT_PERSISTABLES,
        .except = option_list(options, "load_except"),
        .partial = option_bool(options, "partial"),
        .filename = option_string(options, "load_filename"),
    };
    if (how.what == CKPT_PARAMS && !program->slices) {
        bool inferred = false;
        how.params = &params;
        if (option_is_set(options, "params_list"))
            how.params = option_list(options, "params_list");
        else
            inferred = params_list(program, &params);
        if (inferred)
            str_list_addf(&start->notes,
                          "which variables are Parameters was inferred from the program (%zu are)",
                          params.count);
    }
    int rc = ckpt_load_rate_rule(option_string(options, "learning_rate_from"),
                                 start->mode == JOB_START_RESUME,
                                 option_is_set(options, "learning_rate"), &how.rate_from, err);
    if (rc == 0)
        rc = ckpt_load(path, program, scope, &how, &start->report, err);
    str_list_deinit(&params);
    return rc;
}

// --load_report, also of a load that was refused.
static int write_report(const struct option_set *options, const struct program *program,
                        const struct ckpt_report *report, struct err *err)
{
    const char *name = option_string(options, "load_report");
    if (!name || !report->path)
        return 0;
    bool server = program->slices && program->server >= 0;
    char *path = server ? mem_must_printf("%s.%d", name, program->server) : mem_must_strdup(name);
    struct buf text;
    buf_init(&text, 0);
    int rc = ckpt_report_json(report, &text);
    if (!rc)
        rc = buf_append(&text, "\n", 1);
    rc = rc ? err_set(err, rc, "--load_report: the report cannot be written as JSON")
            : fsutil_write_atomic(path, text.data, text.bytes, err);
    buf_deinit(&text);
    mem_free(path);
    return rc ? err_prefix(err, "--load_report") : 0;
}

static int take_progress(struct job_start *start, struct err *err)
{
    if (start->mode == JOB_START_RESUME &&
        (!start->report.has_progress || !start->report.progress.data_count))
        return err_set(err, SL_EREFUSED,
                       "--resume %s: the folder does not say where the reader stood; --load_dir "
                       "begins with new data",
                       start->report.path);
    if (start->mode == JOB_START_INIT || !start->report.has_progress)
        return 0;
    ckpt_progress_copy(&start->progress, &start->report.progress);
    if (start->mode == JOB_START_RESUME)
        return 0;
    struct ckpt_progress counters;
    ckpt_progress_init(&counters);
    counters.step = start->progress.step;
    counters.epoch = start->progress.epoch;
    ckpt_progress_deinit(&start->progress);
    start->progress = counters;
    return 0;
}
