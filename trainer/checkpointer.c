// SPDX-License-Identifier: Apache-2.0
// The folder name follows the unit of --save_every; without one, what bounds the run. A save holds
// the step boundary only: the servers serve a pinned version while training may go on elsewhere.
#include "trainer/checkpointer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_facts.h"
#include "common/ckpt/ckpt_find.h"
#include "common/ckpt/ckpt_manifest.h"
#include "common/ckpt/ckpt_report.h"
#include "common/ckpt/ckpt_save.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"
#include "trainer/engine.h"
#include "trainer/work.h"

static int write_folder(struct checkpointer *saver, struct engine *engine, const struct work *work,
                        const struct ckpt_source *source, const char *path, struct ckpt_saved *out,
                        struct err *err);
static int write_frozen(struct checkpointer *saver, struct engine *engine, const struct work *work,
                        const char *path, struct ckpt_saved *out, struct err *err);

int checkpointer_init(struct checkpointer *saver, const struct engine *engine, struct err *err)
{
    const struct option_set *options = engine->options;
    memset(saver, 0, sizeof *saver);
    saver->saved_step = -1;
    saver->saved_ms = clock_now_ms();
    saver->every = option_every(options, "save_every");
    saver->keep = (int)option_int(options, "keep");
    saver->by_steps = option_is_set(options, "steps");
    if (!engine_saves(engine) || !option_is_set(options, "save_dir"))
        return 0;
    saver->dir = option_string(options, "save_dir");
    return ckpt_save_check(saver->dir, err);
}

char *checkpointer_warning(const struct checkpointer *saver, const struct engine *engine)
{
    int64_t step = engine->start.progress.step;
    char *path = NULL, *warning = NULL;
    struct ckpt_manifest manifest;
    if (!saver->dir || ckpt_find_newest(saver->dir, &path, NULL, NULL) < 0)
        return NULL;
    ckpt_manifest_init(&manifest);
    if (ckpt_manifest_read(path, &manifest, NULL) == 0 && manifest.has_progress &&
        manifest.progress.step > step)
        warning = mem_must_printf(
            "--save_dir %s holds %s (step %lld) of a run that was further on than this one (step "
            "%lld): loading the parent folder takes the highest step",
            saver->dir, path, (long long)manifest.progress.step, (long long)step);
    ckpt_manifest_deinit(&manifest);
    mem_free(path);
    return warning;
}

void checkpointer_deinit(struct checkpointer *saver)
{
    mem_free(saver->saved_path);
    saver->saved_path = NULL;
}

bool checkpointer_due(const struct checkpointer *saver, const struct work *work)
{
    return saver->dir && work_is_due(work, saver->every, saver->saved_ms);
}

int checkpointer_save(struct checkpointer *saver, struct engine *engine, const struct work *work,
                      double loss, char *line, size_t line_bytes, struct err *err)
{
    line[0] = '\0';
    if (!saver->dir || saver->saved_step == work->progress.step)
        return 0;
    if (!isfinite(loss))
        return err_set(err, SL_EREFUSED, "step %lld: the loss is %g: not saved%s%s",
                       (long long)work->progress.step, loss,
                       saver->saved_path ? "; the last good checkpoint is " : "",
                       saver->saved_path ? saver->saved_path : "");
    uint64_t begun_ms = clock_now_ms();
    struct ckpt_saved saved = {0};
    int rc = write_frozen(saver, engine, work, NULL, &saved, err);
    if (rc < 0) {
        ckpt_save_deinit(&saved);
        return rc;
    }
    saver->saved_step = work->progress.step;
    saver->saved_ms = clock_now_ms();
    mem_free(saver->saved_path);
    saver->saved_path = mem_must_strdup(saved.path);
    memcpy(saver->digest, saved.digest, sizeof saver->digest);
    char size[32];
    snprintf(line, line_bytes, "saved %s  step %lld  %zu variables %s  %.2f s%s%s", saved.path,
             (long long)work->progress.step, saved.variables, ckpt_report_size(saved.bytes, size),
             (double)(saver->saved_ms - begun_ms) / 1e3, saved.note ? "; " : "",
             saved.note ? saved.note : "");
    ckpt_save_deinit(&saved);
    return 0;
}

int checkpointer_write(struct checkpointer *saver, struct engine *engine, const struct work *work,
                       const char *path, struct err *err)
{
    struct ckpt_saved saved = {0};
    int rc = write_frozen(saver, engine, work, path, &saved, err);
    ckpt_save_deinit(&saved);
    return rc;
}

// path NULL: the next folder of the series.
static int write_frozen(struct checkpointer *saver, struct engine *engine, const struct work *work,
                        const char *path, struct ckpt_saved *out, struct err *err)
{
    struct ckpt_source *source = NULL;
    int rc = engine_freeze(engine, &source, err);
    if (rc < 0)
        return err_prefix(err, "save");
    rc = write_folder(saver, engine, work, source, path, out, err);
    int thawed = engine_thaw(engine, source, rc < 0 ? NULL : err);
    return rc < 0 || thawed < 0 ? err_prefix(err, "save") : 0;
}

static int write_folder(struct checkpointer *saver, struct engine *engine, const struct work *work,
                        const struct ckpt_source *source, const char *path, struct ckpt_saved *out,
                        struct err *err)
{
    struct ckpt_progress progress;
    ckpt_progress_init(&progress);
    ckpt_progress_copy(&progress, &work->progress);
    progress.has_learning_rate = engine_learning_rate(engine, source, &progress.learning_rate);
    bool stepwise = saver->every.count ? saver->every.unit == OPTION_EVERY_STEP : saver->by_steps;
    char name[48];
    if (work->epoch_ended && !stepwise)
        snprintf(name, sizeof name, "epoch_%lld", (long long)progress.epoch);
    else
        snprintf(name, sizeof name, "step_%lld", (long long)progress.step);
    struct ckpt_facts facts;
    ckpt_facts_init(&facts);
    ckpt_facts_network(&facts, engine->job.main);
    facts.servers = engine->comm ? comm_slices(engine->comm)->servers : 0;
    facts.trainers = engine->trainers;
    struct ckpt_save_options how = {.progress = &progress, .facts = &facts};
    int rc = path ? ckpt_save(source, path, &how, out, err)
                  : ckpt_save_series(source, saver->dir, name, saver->keep, &how, out, err);
    ckpt_facts_deinit(&facts);
    ckpt_progress_deinit(&progress);
    return rc;
}
