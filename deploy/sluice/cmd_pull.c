// SPDX-License-Identifier: Apache-2.0
// `sluice ckpt pull`: writes what the servers of a running job hold as a Fluid checkpoint folder. A
// read-only client: it takes no trainer id, joins no barrier, and reads one version while training
// goes on.
#include <stdio.h>
#include <string.h>

#include "common/api/comm_source.h"
#include "common/api/job_config.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_progress.h"
#include "common/ckpt/ckpt_report.h"
#include "common/ckpt/ckpt_save.h"
#include "common/ckpt/ckpt_source.h"
#include "common/config/option.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"
#include "deploy/sluice/cmd.h"

static int run(int argc, char **argv);
static int pull(const struct option_set *options, struct err *err);
static int save(struct comm *comm, const char *out, uint64_t step, struct err *err);
static void tell_trainers_part(const struct comm *comm, const struct ckpt_source *source,
                               uint64_t step);
static void tell(const struct str_list *names, const char *what);
static void on_waiting(void *self, const char *text);

const struct cmd cmd_pull = {
    .name = "ckpt pull",
    .args = "--pservers HOST:PORT,... --out DIR",
    .help = "Writes what the servers of a running job hold as a checkpoint folder.",
    .details =
        "Reads one version of all variables while training goes on. DIR is made, or replaced when "
        "it is a\n"
        "checkpoint of ours already. Servers must all be reachable within --connect_timeout.\n\n"
        "example:\n"
        "  sluice ckpt pull --pservers 127.0.0.1:6174,127.0.0.1:6175 --out pulled",
    .run = run,
};

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct option_set *options = option_new(OPTION_PULL, "sluice ckpt pull", 0, NULL, NULL);
    log_setup("sluice", LOG_INFO, false);
    int rc = option_parse(options, argc + 1, argv - 1, &err);
    if (rc == 0) {
        job_config_log(options, "sluice");
        rc = pull(options, &err);
    }
    option_free(options);
    if (rc == SL_EUSAGE)
        return cmd_usage(&cmd_pull, "%s", err.text);
    return rc < 0 ? cmd_failed(&err) : CMD_OK;
}

static int pull(const struct option_set *options, struct err *err)
{
    const struct str_list *endpoints = option_list(options, "pservers");
    const char *out = option_string(options, "out");
    struct comm_options how = {
        .endpoints = (const char *const *)endpoints->items,
        .servers = (int)endpoints->count,
        .trainer_id = COMM_READER,
        .job_id = option_string(options, "job_id"),
        .connect_timeout_ms = option_ms(options, "connect_timeout"),
        .silent_ms = option_ms(options, "deadline"),
        .waiting = on_waiting,
    };
    struct comm *comm = NULL;
    uint64_t step = 0;
    int rc = comm_open(&how, &comm, err);
    if (rc == 0)
        rc = comm_pin(comm, &step, err);
    if (rc == 0) {
        rc = save(comm, out, step, err);
        int unpinned = comm_unpin(comm, rc < 0 ? NULL : err);
        rc = rc < 0 ? rc : unpinned;
    }
    comm_close(comm);
    return rc;
}

static int save(struct comm *comm, const char *out, uint64_t step, struct err *err)
{
    struct ckpt_source *source = NULL;
    struct ckpt_progress progress;
    struct ckpt_saved saved = {0};
    const struct comm_welcome *welcome = comm_welcome(comm);
    ckpt_progress_init(&progress);
    // What a run began from is the only position that servers know; the step is theirs.
    progress.step = (int64_t)step;
    progress.epoch = welcome->epoch;
    struct ckpt_save_options how = {.progress = &progress};
    int rc = comm_source_new(comm, NULL, NULL, &source, err);
    if (rc == 0)
        rc = ckpt_save(source, out, &how, &saved, err);
    if (rc == 0)
        tell_trainers_part(comm, source, step);
    if (rc == 0) {
        char size[32];
        printf("pulled %s  step %llu  %zu variables %s\n", saved.path, (unsigned long long)step,
               saved.variables, ckpt_report_size(saved.bytes, size));
    }
    ckpt_save_deinit(&saved);
    comm_source_free(source);
    ckpt_progress_deinit(&progress);
    return rc;
}

// Values that only trainers hold: servers have them as they were loaded, or not at all.
static void tell_trainers_part(const struct comm *comm, const struct ckpt_source *source,
                               uint64_t step)
{
    const struct slice_map *map = comm_slices(comm);
    const struct comm_welcome *welcome = comm_welcome(comm);
    struct ckpt_progress loaded;
    struct str_list absent = {0}, old = {0};
    ckpt_progress_init(&loaded);
    if (welcome->progress[0] && ckpt_progress_parse(welcome->progress, strlen(welcome->progress),
                                                    "progress", &loaded, NULL) < 0)
        loaded.step = 0;
    for (size_t i = 0; i < map->vars_count; i++) {
        if (map->vars[i]->role != SLICE_TRAINER)
            continue;
        bool here = false;
        for (size_t k = 0; k < source->count && !here; k++)
            here = str_eq(source->vars[k].name, map->vars[i]->name);
        if (!here)
            str_list_add(&absent, map->vars[i]->name);
        else if ((uint64_t)loaded.step != step)
            str_list_add(&old, map->vars[i]->name);
    }
    tell(&absent, "not in the folder, only trainers hold them (trainer 0's own saves have them)");
    tell(&old, "as they were loaded; trainers hold newer ones (trainer 0's own saves have them)");
    str_list_deinit(&absent);
    str_list_deinit(&old);
    ckpt_progress_deinit(&loaded);
}

static void tell(const struct str_list *names, const char *what)
{
    char *text = str_list_join(names, ", ");
    if (names->count)
        log_warn("%zu variable%s %s: %s", names->count, names->count == 1 ? "" : "s", what, text);
    mem_free(text);
}

static void on_waiting(void *self, const char *text)
{
    (void)self;
    log_info("%s", text);
}
