// SPDX-License-Identifier: Apache-2.0
// See serve.h: puts a server together (shard, state, round, apply, handler, listener) and runs its
// loop on the calling thread. Decides nothing itself.
#include "common/ps/serve.h"

#include <stdatomic.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/workers.h"
#include "common/net/loop.h"
#include "common/net/rpc_server.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"
#include "common/ps/apply.h"
#include "common/ps/handler.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"

#define SERVE_TICK_MS 100
#define SERVE_REPLY_BYTES SHARD_CELL_BYTES   // hashed, copied and folded while in the cache

struct serve {
    struct serve_options options;
    char *endpoint, *job_id, *digest, *progress, *congestion;
    const struct program *program;
    struct scope *scope;
    struct shard shard;
    struct state state;
    struct round *round;
    struct workers *workers;
    struct apply *apply;
    struct loop *loop;
    struct handler *handler;
    struct rpc_server *server;
    struct loop_timer *tick;
    struct loop_job stop_job;
    atomic_flag stop_posted;
    struct serve_stats last;   // of the run that ended
    bool ended;
    bool filled;   // the state has the scope's values
    struct err why;
};

static int copy_options(struct serve *serve, const struct serve_options *options, struct err *err);
static int build(struct serve *serve, struct err *err);
static void on_tick(void *arg);
static void on_end(void *self, const struct err *why);
static void on_stop(void *arg);

int serve_new(const struct serve_options *options, const struct program *program,
              struct scope *scope, struct serve **out, struct err *err)
{
    struct serve *serve = MEM_NEW(struct serve);
    serve->program = program;
    serve->scope = scope;
    state_init(&serve->state);
    atomic_flag_clear(&serve->stop_posted);
    serve->stop_job = (struct loop_job){.run = on_stop, .arg = serve};
    int rc = copy_options(serve, options, err);
    if (rc >= 0)
        rc = build(serve, err);
    if (rc < 0) {
        serve_free(serve);
        return rc;
    }
    *out = serve;
    return 0;
}

void serve_free(struct serve *serve)
{
    if (!serve)
        return;
    if (serve->loop)
        loop_free(serve->loop);
    handler_free(serve->handler);
    if (serve->filled)
        (void)apply_state_return(&serve->state, serve->scope, NULL);
    apply_free(serve->apply);
    workers_free(serve->workers);
    round_free(serve->round);
    state_deinit(&serve->state);
    shard_deinit(&serve->shard);
    mem_free(serve->endpoint);
    mem_free(serve->job_id);
    mem_free(serve->digest);
    mem_free(serve->progress);
    mem_free(serve->congestion);
    mem_free(serve);
}

int serve_run(struct serve *serve, struct err *err)
{
    struct rpc_server_options listen = {
        .endpoint = serve->endpoint,
        .insecure = serve->options.insecure,
        .conn = {.congestion = serve->congestion},
    };
    if (serve->ended)
        return err_set(err, SL_EUSAGE, "this server has run already");
    serve->server = rpc_server_new(serve->loop, &listen, handler_accept, serve->handler, err);
    if (!serve->server)
        return err ? err->code : SL_EIO;
    if (serve->options.ready)
        serve->options.ready(serve->options.self, rpc_server_endpoint(serve->server));
    serve->tick = loop_timer_new(serve->loop, on_tick, serve);
    loop_timer_start(serve->tick, SERVE_TICK_MS, SERVE_TICK_MS);
    loop_run(serve->loop);
    handler_stats(serve->handler, &serve->last);
    struct err back = {0};
    int rc = apply_state_return(&serve->state, serve->scope, &back);
    serve->filled = false;
    if (serve->why.code < 0) {
        if (err)
            *err = serve->why;
        return serve->why.code;
    }
    if (rc < 0 && err)
        *err = back;
    return rc < 0 ? rc : 0;
}

void serve_stop(struct serve *serve)
{
    if (!atomic_flag_test_and_set(&serve->stop_posted))
        loop_post(serve->loop, &serve->stop_job);
}

uint64_t serve_step(const struct serve *serve)
{
    return serve->state.version;
}

uint64_t serve_state_bytes(const struct serve *serve)
{
    return state_bytes(&serve->state);
}

size_t serve_slices(const struct serve *serve)
{
    return serve->shard.slices_count - serve->shard.grads_count;
}

void serve_stats(const struct serve *serve, struct serve_stats *out)
{
    if (serve->ended)
        *out = serve->last;
    else
        handler_stats(serve->handler, out);
}

static char *copy_text(const char *text)
{
    return text ? mem_must_strdup(text) : NULL;
}

static int copy_options(struct serve *serve, const struct serve_options *options, struct err *err)
{
    const struct block *global = program_block(serve->program, 0);
    const char *endpoint = options->endpoint;
    for (size_t i = 0; !endpoint && i < global->ops_count; i++)
        if (strcmp(global->ops[i]->type, "listen_and_serv") == 0)
            endpoint = op_desc_get_string(global->ops[i], "endpoint", NULL);
    if (!endpoint)
        return err_set(err, SL_EINVAL,
                       "no endpoint to listen on: the program has no listen_and_serv with one");
    serve->options = *options;
    serve->endpoint = mem_must_strdup(endpoint);
    serve->options.endpoint = serve->endpoint;
    serve->options.job_id = serve->job_id = copy_text(options->job_id);
    serve->congestion =
        options->congestion && options->congestion[0] ? copy_text(options->congestion) : NULL;
    serve->options.congestion = serve->congestion;
    serve->options.origin.digest = serve->digest =
        mem_must_strdup(options->origin.digest ? options->origin.digest : "");
    serve->options.origin.progress = serve->progress =
        mem_must_strdup(options->origin.progress ? options->origin.progress : "");
    return 0;
}

static int build(struct serve *serve, struct err *err)
{
    const struct slice_map *map = serve->program->slices;
    if (!map || serve->program->server < 0)
        return err_set(err, SL_EUSAGE, "this is no transpiled server program: it has no slice map");
    int rc = shard_init(&serve->shard, map, serve->program->server, err);
    if (rc >= 0)
        rc = apply_state_fill(serve->program, &serve->shard, serve->scope,
                              serve->options.origin.step, SERVE_REPLY_BYTES, &serve->state, err);
    if (rc < 0)
        return rc;
    serve->filled = true;
    struct round_options round = {
        .shard = &serve->shard,
        .trainers = map->trainers,
        .second_phase = map->phases != 0,
        .stages = apply_norms_stages(map),
        .step = serve->options.origin.step,
    };
    serve->round = round_new(&round, err);
    if (!serve->round)
        return err ? err->code : SL_ENOMEM;
    if (serve->options.threads > 0)
        serve->workers = workers_new(serve->options.threads);
    struct apply_options apply = {
        .program = serve->program,
        .shard = &serve->shard,
        .state = &serve->state,
        .round = serve->round,
        .workers = serve->workers,
    };
    rc = apply_new(&apply, &serve->apply, err);
    if (rc < 0)
        return rc;
    serve->loop = loop_new(err);
    if (!serve->loop)
        return err ? err->code : SL_ENOMEM;
    struct handler_options handler = {
        .loop = serve->loop,
        .shard = &serve->shard,
        .state = &serve->state,
        .round = serve->round,
        .apply = serve->apply,
        .serve = &serve->options,
        .topology = slice_map_hash(map),
        .frame_bytes = SERVE_REPLY_BYTES,
        .on_end = on_end,
        .self = serve,
    };
    serve->handler = handler_new(&handler);
    return 0;
}

static void on_tick(void *arg)
{
    struct serve *serve = arg;
    handler_tick(serve->handler);
}

static void on_end(void *self, const struct err *why)
{
    struct serve *serve = self;
    serve->ended = true;
    serve->why = *why;
    rpc_server_close(serve->server);
    serve->server = NULL;
    loop_timer_free(serve->tick);
    serve->tick = NULL;
    loop_stop(serve->loop);
}

static void on_stop(void *arg)
{
    struct serve *serve = arg;
    struct err why = {0};
    if (!serve->server)
        return;
    err_set(&why, SL_ESTOPPED, "server %s was stopped on request at step %llu",
            rpc_server_endpoint(serve->server), (unsigned long long)serve->state.version);
    handler_fail(serve->handler, &why);
}
