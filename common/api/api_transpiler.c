// SPDX-License-Identifier: Apache-2.0
// fluid.DistributeTranspiler. As in Fluid the programs that were given become the trainer's; what
// they were lives on inside the transpiler, so variables got from them stay valid.

#include "common/api/api_private.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/transpiler.h"
#include "common/program/program.h"

struct served {
    struct program *main, *startup;
};

struct api_transpiler {
    struct transpiler_config config;
    struct transpiler *plan;                  // NULL until sl_transpile
    struct program *trainer;                  // the caller's main program
    struct program *old_main, *old_startup;   // what the caller's programs were
    struct served *served;                    // one a server, made when asked for
};

static void become(struct program *program, struct program *take, struct program **out_old);
static int find_server(const struct api_transpiler *t, const char *endpoint, struct err *err);
static int make_served(struct api_transpiler *t, const char *endpoint, struct served **out,
                       struct err *err);

struct sl_transpiler_config sl_transpiler_config_defaults(void)
{
    const struct transpiler_config c = transpiler_config_default();
    return (struct sl_transpiler_config){.slice_var_up = c.slice_var_up,
                                         .split_method = (enum sl_split_method)c.split_method,
                                         .min_block_size = c.min_block_size,
                                         .sync_mode = c.sync_mode,
                                         .wait_port = c.wait_port};
}

sl_transpiler *sl_transpiler_new(const struct sl_transpiler_config *config)
{
    const struct sl_transpiler_config defaults = sl_transpiler_config_defaults();
    const struct sl_transpiler_config *c = config ? config : &defaults;
    struct api_transpiler *t = MEM_NEW(struct api_transpiler);
    t->config = (struct transpiler_config){.slice_var_up = c->slice_var_up,
                                           .split_method = (enum transpiler_split)c->split_method,
                                           .min_block_size = c->min_block_size,
                                           .sync_mode = c->sync_mode,
                                           .runtime_split_send_recv = c->runtime_split_send_recv,
                                           .wait_port = c->wait_port,
                                           .enable_dc_asgd = c->enable_dc_asgd,
                                           .half_async = c->half_async,
                                           .fluid_exact = c->fluid_exact,
                                           .init_whole = c->init_whole,
                                           .clip_merged = c->clip_merged};
    return t;
}

void sl_transpiler_free(sl_transpiler *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; t->served != NULL && i < transpiler_endpoints(t->plan)->count; i++) {
        program_free(t->served[i].main);
        program_free(t->served[i].startup);
    }
    mem_free(t->served);
    program_free(t->old_main);
    program_free(t->old_startup);
    transpiler_free(t->plan);
    mem_free(t);
}

int sl_transpile(sl_transpiler *t, const struct sl_job *job, sl_program *program,
                 sl_program *startup, struct sl_error *err)
{
    struct err inner = {0};
    program = program ? program : sl_default_main_program();
    startup = startup ? startup : sl_default_startup_program();
    const struct transpiler_job how = {
        .pservers = job->pservers, .trainers = job->trainers, .sync_mode = job->sync_mode};
    struct program *trainer = NULL, *trainer_startup = NULL;
    struct transpiler *plan = NULL;
    int rc = t->plan ? err_set(&inner, SL_EUSAGE,
                               "transpiler: it has transpiled already; make a new one")
                     : transpiler_new(&t->config, &how, program, startup, &plan, &inner);
    if (rc == 0)
        rc = transpiler_trainer_program(plan, job->trainer_id, &trainer, &inner);
    if (rc == 0)
        rc = transpiler_startup_trainer(plan, job->trainer_id, &trainer_startup, &inner);
    if (rc < 0) {
        program_free(trainer);
        transpiler_free(plan);
        return api_executor_error(err, &inner);
    }
    t->plan = plan;
    t->trainer = program;
    t->served = mem_must_calloc(transpiler_endpoints(plan)->count, sizeof *t->served);
    become(program, trainer, &t->old_main);
    become(startup, trainer_startup, &t->old_startup);
    return 0;
}

sl_program *sl_get_trainer_program(sl_transpiler *t, struct sl_error *err)
{
    struct err inner = {0};
    if (t->trainer == NULL) {
        err_set(&inner, SL_EUSAGE, "transpiler: call sl_transpile first");
        api_executor_error(err, &inner);
    }
    return t->trainer;
}

sl_program *sl_get_pserver_program(sl_transpiler *t, const char *endpoint, struct sl_error *err)
{
    struct err inner = {0};
    struct served *served = NULL;
    if (make_served(t, endpoint, &served, &inner) < 0) {
        api_executor_error(err, &inner);
        return NULL;
    }
    return served->main;
}

sl_program *sl_get_startup_program(sl_transpiler *t, const char *endpoint,
                                   const sl_program *pserver_program, struct sl_error *err)
{
    struct err inner = {0};
    struct served *served = NULL;
    (void)pserver_program;   // the endpoint says it all
    if (make_served(t, endpoint, &served, &inner) < 0) {
        api_executor_error(err, &inner);
        return NULL;
    }
    return served->startup;
}

int sl_get_pserver_programs(sl_transpiler *t, const char *endpoint, sl_program **out_main,
                            sl_program **out_startup, struct sl_error *err)
{
    struct err inner = {0};
    struct served *served = NULL;
    if (make_served(t, endpoint, &served, &inner) < 0)
        return api_executor_error(err, &inner);
    *out_main = served->main;
    *out_startup = served->startup;
    return 0;
}

// program gets take's contents; its own go to *out_old. Both keep their address otherwise.
static void become(struct program *program, struct program *take, struct program **out_old)
{
    struct program kept = *program;
    *program = *take;
    *take = kept;
    for (size_t i = 0; i < program->blocks_count; i++)
        program->blocks[i]->program = program;
    for (size_t i = 0; i < take->blocks_count; i++)
        take->blocks[i]->program = take;
    program_touch(program);
    *out_old = take;
}

static int find_server(const struct api_transpiler *t, const char *endpoint, struct err *err)
{
    if (t->plan == NULL)
        return err_set(err, SL_EUSAGE, "transpiler: call sl_transpile first");
    const struct str_list *all = transpiler_endpoints(t->plan);
    for (size_t i = 0; i < all->count; i++)
        if (str_eq(all->items[i], endpoint))
            return (int)i;
    char *list = str_list_join(all, ",");
    int rc = err_set(err, SL_EINVAL, "transpiler: endpoint `%s` is not one of %s",
                     endpoint ? endpoint : "", list);
    mem_free(list);
    return rc;
}

static int make_served(struct api_transpiler *t, const char *endpoint, struct served **out,
                       struct err *err)
{
    int server = find_server(t, endpoint, err);
    if (server < 0)
        return server;
    struct served *served = &t->served[server];
    int rc = served->main ? 0 : transpiler_server_program(t->plan, endpoint, &served->main, err);
    if (rc == 0 && served->startup == NULL)
        rc = transpiler_startup_server(t->plan, endpoint, &served->startup, err);
    *out = served;
    return rc;
}
