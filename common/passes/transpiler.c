// SPDX-License-Identifier: Apache-2.0
// The transpiler's front: checks the configuration and the job, keeps copies, hands out programs.
// transpiler_plan.c, transpiler_tables.c and transpiler_slices.c decide, transpiler_trainer.c,
// transpiler_server.c and transpiler_startup.c write.

#include "common/passes/transpiler.h"

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/passes/transpiler_plan.h"

static int check_config(const struct transpiler_config *config, const struct transpiler_job *job,
                        struct err *err);
static int read_endpoints(const char *text, struct str_list *out, struct err *err);
static int check_main(const struct program *main, bool exact, struct err *err);

struct transpiler_config transpiler_config_default(void)
{
    return (struct transpiler_config){.slice_var_up = true,
                                      .split_method = TRANSPILER_ROUND_ROBIN,
                                      .min_block_size = TRANSPILER_MIN_BLOCK_SIZE,
                                      .sync_mode = true,
                                      .wait_port = true};
}

int transpiler_split_parse(const char *name, enum transpiler_split *out, struct err *err)
{
    if (str_eq(name, "RoundRobin"))
        *out = TRANSPILER_ROUND_ROBIN;
    else if (str_eq(name, "HashName"))
        *out = TRANSPILER_HASH_NAME;
    else
        return err_set(err, SL_EINVAL,
                       "transpiler: split_method `%s` is not known: RoundRobin or HashName", name);
    return 0;
}

int transpiler_new(const struct transpiler_config *config, const struct transpiler_job *job,
                   const struct program *main, const struct program *startup,
                   struct transpiler **out, struct err *err)
{
    const struct transpiler_config defaults = transpiler_config_default();
    config = config ? config : &defaults;
    int rc = check_config(config, job, err);
    if (rc == 0)
        rc = check_main(main, config->fluid_exact, err);
    if (rc < 0)
        return rc;
    struct transpiler *t = MEM_NEW(struct transpiler);
    t->config = *config;
    t->trainers = job->trainers;
    t->sync_mode = job->sync_mode;
    t->suffix = job->sync_mode && (job->trainers > 1 || !config->fluid_exact);
    t->main = program_clone(main);
    t->startup = program_clone(startup);
    slice_map_init(&t->slices);
    rc = read_endpoints(job->pservers, &t->endpoints, err);
    if (rc == 0)
        rc = transpiler_plan_make(t, err);
    if (rc < 0) {
        transpiler_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void transpiler_free(struct transpiler *t)
{
    if (t == NULL)
        return;
    transpiler_plan_deinit(t);
    slice_map_deinit(&t->slices);
    program_free(t->main);
    program_free(t->startup);
    str_list_deinit(&t->endpoints);
    mem_free(t);
}

const struct str_list *transpiler_endpoints(const struct transpiler *t)
{
    return &t->endpoints;
}

const struct slice_map *transpiler_slices(const struct transpiler *t)
{
    return &t->slices;
}

static int check_config(const struct transpiler_config *config, const struct transpiler_job *job,
                        struct err *err)
{
    if (config->min_block_size < TRANSPILER_MIN_BLOCK_SIZE)
        return err_set(err, SL_EINVAL, "transpiler: min_block_size %lld is below %d",
                       (long long)config->min_block_size, TRANSPILER_MIN_BLOCK_SIZE);
    if (job->trainers < 1 || job->trainers > LIMIT_TRAINERS)
        return err_set(err, SL_EINVAL, "transpiler: trainers must be 1..%d, not %d", LIMIT_TRAINERS,
                       job->trainers);
    if (config->enable_dc_asgd && job->sync_mode)
        return err_set(err, SL_EINVAL, "transpiler: enable_dc_asgd needs sync_mode false");
    if (config->clip_merged && (!job->sync_mode || config->fluid_exact))
        return err_set(err, SL_EINVAL,
                       "transpiler: clip_merged needs sync_mode, and Fluid has no text for it");
    if (config->runtime_split_send_recv && (config->sync_mode || job->sync_mode))
        return err_set(err, SL_EINVAL, "transpiler: runtime_split_send_recv needs sync_mode false");
    return 0;
}

static int read_endpoints(const char *text, struct str_list *out, struct err *err)
{
    str_list_split(out, text ? text : "", ',');
    if (out->count == 0 || out->count > LIMIT_SERVERS)
        return err_set(err, SL_EINVAL, "transpiler: pservers must name 1..%d endpoints",
                       LIMIT_SERVERS);
    for (size_t i = 0; i < out->count; i++) {
        if (out->items[i][0] == '\0')
            return err_set(err, SL_EINVAL, "transpiler: pservers `%s`: endpoint %zu is empty",
                           text ? text : "", i);
        for (size_t j = 0; j < i; j++)
            if (str_eq(out->items[i], out->items[j]))
                return err_set(err, SL_EINVAL, "transpiler: pservers names %s twice",
                               out->items[i]);
    }
    return 0;
}

// What has been transpiled already is refused.
static int check_main(const struct program *main, bool exact, struct err *err)
{
    const struct block *block = program_block(main, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        if (str_eq(op->type, "send") || str_eq(op->type, "recv") ||
            str_eq(op->type, "listen_and_serv"))
            return err_set(
                err, SL_EINVAL,
                "transpiler: block 0 op %zu `%s`: the program has been transpiled already", i,
                op->type);
        if (str_eq(op->type, "lamb") && exact)
            return err_set(err, SL_EUNSUPPORTED,
                           "transpiler: block 0 op %zu `lamb`: Fluid 1.8.5 refuses it "
                           "(fluid_exact)",
                           i);
    }
    return 0;
}
