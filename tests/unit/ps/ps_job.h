// SPDX-License-Identifier: Apache-2.0
// A small job for tests and benchmarks: parameters cut over M servers, SGD (learning rate 1 unless
// said otherwise) in each server's optimize blocks, servers as threads of this process on free
// ports.
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/exec/scope.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"
#include "common/ps/comm.h"
#include "common/ps/serve.h"
#include "common/ps/shard.h"
#include "common/tensor/tensor.h"

#define PS_JOB_SERVERS_MAX 4

struct ps_job_server {
    struct program *program;
    struct scope *scope;
    struct serve *serve;
    pthread_t thread;
    sem_t ready, committed;
    char endpoint[64];
    struct err err;
    int rc;
    char notes[4096];   // what it said (waiting and notice texts), a line each
};

struct ps_job {
    struct slice_map map;
    struct ps_job_server servers[PS_JOB_SERVERS_MAX];
    const char *endpoints[PS_JOB_SERVERS_MAX];
};

// Adds parameter name [rows, columns] (columns 0: rank 1), cut in `pieces` on the servers in turn.
static inline void ps_job_param(struct slice_map *map, const char *name, int64_t rows,
                                int64_t columns, int pieces)
{
    struct dims dims = {.rank = columns ? 2 : 1, .d = {rows, columns}};
    char *grad_name = mem_must_printf("%s@GRAD", name);
    struct slice_var *param = slice_map_add(map, name, SLICE_PARAM, NULL, DTYPE_FP32, &dims);
    struct slice_var *grad = slice_map_add(map, grad_name, SLICE_GRAD, name, DTYPE_FP32, &dims);
    int64_t each = (rows + pieces - 1) / pieces;
    for (int p = 0; p < pieces; p++) {
        int64_t row = p * each, count = row + each > rows ? rows - row : each;
        char *a = pieces > 1 ? mem_must_printf("%s.block%d", name, p) : mem_must_strdup(name);
        char *b =
            pieces > 1 ? mem_must_printf("%s.block%d", grad_name, p) : mem_must_strdup(grad_name);
        int server = (p + (int)(map->vars_count / 2)) % map->servers;
        slice_var_add(param, server, row, count, a);
        slice_var_add(grad, server, row, count, b);
        mem_free(a);
        mem_free(b);
    }
    mem_free(grad_name);
}

// The same, as a table: its gradient travels as rows, and trainers look it up.
static inline void ps_job_table(struct slice_map *map, const char *name, int64_t rows,
                                int64_t columns, int pieces)
{
    size_t first = map->vars_count;
    ps_job_param(map, name, rows, columns, pieces);
    for (size_t v = first; v < map->vars_count; v++)
        map->vars[v]->sparse = true;
}

static inline void ps_job_begin(struct slice_map *map, int servers, int trainers)
{
    slice_map_init(map);
    map->servers = servers;
    map->trainers = trainers;
}

static inline void ps_job_finish(struct slice_map *map)
{
    struct dims one = {.rank = 1, .d = {1}};
    struct slice_var *lr =
        slice_map_add(map, "learning_rate_0", SLICE_STATE, NULL, DTYPE_FP32, &one);
    lr->replicated = true;
    for (int s = 0; s < map->servers; s++)
        slice_var_add(lr, s, 0, 1, "learning_rate_0");
    struct err err = {0};
    if (slice_map_finish(map, &err) < 0) {
        fprintf(stderr, "slice map: %s\n", err.text);
        abort();
    }
}

static inline struct var_desc *ps_job_var(struct program *program, const char *name,
                                          const struct dims *dims, bool persistable)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->kind = VAR_LOD_TENSOR;
    var->dtype = DTYPE_FP32;
    var->dims = *dims;
    var->has_persistable = true;
    var->persistable = persistable;
    block_add_var(program_block(program, 0), var);
    return var;
}

// The program of a server: sum, scale 1/N, sgd a slice.
static inline struct program *ps_job_program(const struct slice_map *map, int server)
{
    struct program *program = program_new();
    struct op_desc *serv = op_desc_new("listen_and_serv");
    struct dims one = {.rank = 1, .d = {1}};
    struct str_list ids = {0};
    int64_t blocks[4096];
    size_t count = 0;
    ps_job_var(program, "learning_rate_0", &one, true);
    for (size_t v = 0; v < map->vars_count; v++) {
        const struct slice_var *var = map->vars[v];
        for (size_t s = 0; s < var->slices_count && var->role == SLICE_GRAD; s++) {
            const struct slice *slice = &var->slices[s];
            if (slice->server != server)
                continue;
            const struct slice_var *param = slice_map_find(map, var->param);
            struct dims dims = shard_slice_dims(var, slice);
            ps_job_var(program, param->slices[s].name, &dims, true);
            enum var_kind kind = var->sparse ? VAR_SELECTED_ROWS : VAR_LOD_TENSOR;
            ps_job_var(program, slice->name, &dims, true)->kind = kind;
            struct block *block = program_append_block(program, 0);
            struct op_desc *sum = op_desc_new("sum"), *scale = op_desc_new("scale"),
                           *sgd = op_desc_new("sgd");
            for (int t = 0; t < map->trainers; t++) {
                char *name = mem_must_printf("%s.trainer_%d", slice->name, t);
                ps_job_var(program, name, &dims, false)->kind = kind;
                op_desc_add_input(sum, "X", name);
                op_desc_add_input(serv, "X", name);
                mem_free(name);
            }
            op_desc_add_output(sum, "Out", slice->name);
            op_desc_add_input(scale, "X", slice->name);
            op_desc_add_output(scale, "Out", slice->name);
            op_desc_set_float(scale, "scale", 1.0f / (float)map->trainers);
            op_desc_set_float(scale, "bias", 0);
            op_desc_set_bool(scale, "bias_after_scale", true);
            op_desc_add_input(sgd, "Grad", slice->name);
            op_desc_add_input(sgd, "LearningRate", "learning_rate_0");
            op_desc_add_input(sgd, "Param", param->slices[s].name);
            op_desc_add_output(sgd, "ParamOut", param->slices[s].name);
            block_append_op(block, sum);
            block_append_op(block, scale);
            block_append_op(block, sgd);
            blocks[count++] = block->idx;
        }
    }
    op_desc_set_string(serv, "endpoint", "127.0.0.1:0");
    op_desc_set_int(serv, "Fanin", map->trainers);
    op_desc_set_int(serv, "distributed_mode", 0);
    op_desc_set_int(serv, "lr_decay_block_id", -1);
    op_desc_set_blocks(serv, "optimize_blocks", blocks, count);
    block_append_op(program_block(program, 0), serv);
    str_list_deinit(&ids);
    program->server = server;
    program->slices = MEM_NEW(struct slice_map);
    slice_map_copy(program->slices, map);
    return program;
}

// Parameters = value everywhere; the learning rate.
static inline struct scope *ps_job_scope(const struct program *program, float value, float rate)
{
    struct scope *scope = scope_new();
    const struct slice_map *map = program->slices;
    for (size_t v = 0; v < map->vars_count; v++) {
        const struct slice_var *var = map->vars[v];
        for (size_t s = 0; s < var->slices_count && var->role != SLICE_GRAD; s++) {
            if (var->slices[s].server != program->server)
                continue;
            struct dims dims = shard_slice_dims(var, &var->slices[s]);
            struct tensor *tensor = variable_tensor(scope_var(scope, var->slices[s].name));
            if (tensor_resize(tensor, DTYPE_FP32, &dims) < 0)
                abort();
            for (uint64_t i = 0; i < tensor_count(tensor); i++)
                tensor_f32(tensor)[i] = var->role == SLICE_PARAM ? value : rate;
        }
    }
    return scope;
}

static inline void ps_job_note(void *self, const char *text)
{
    struct ps_job_server *server = self;
    size_t used = strlen(server->notes);
    snprintf(server->notes + used, sizeof server->notes - used, "%s\n", text);
}

static inline void ps_job_ready(void *self, const char *bound)
{
    struct ps_job_server *server = self;
    snprintf(server->endpoint, sizeof server->endpoint, "%s", bound);
    sem_post(&server->ready);
}

static inline void ps_job_committed(void *self, uint64_t step)
{
    struct ps_job_server *server = self;
    (void)step;
    sem_post(&server->committed);
}

static inline void *ps_job_main(void *arg)
{
    struct ps_job_server *server = arg;
    server->rc = serve_run(server->serve, &server->err);
    sem_post(&server->ready);   // when it never became ready
    return NULL;
}

// Starts server s of job->map; options may be NULL. The job's endpoints[s] is set when it listens.
static inline int ps_job_start(struct ps_job *job, int s, const struct serve_options *options,
                               float value, float rate)
{
    struct ps_job_server *server = &job->servers[s];
    struct serve_options own = options ? *options : (struct serve_options){0};
    own.endpoint = own.endpoint ? own.endpoint : "127.0.0.1:0";
    own.ready = ps_job_ready;
    own.waiting = ps_job_note;
    own.notice = ps_job_note;
    own.committed = ps_job_committed;
    own.self = server;
    server->program = ps_job_program(&job->map, s);
    server->scope = ps_job_scope(server->program, value, rate);
    sem_init(&server->ready, 0, 0);
    sem_init(&server->committed, 0, 0);
    int rc = serve_new(&own, server->program, server->scope, &server->serve, &server->err);
    if (rc < 0)
        return rc;
    pthread_create(&server->thread, NULL, ps_job_main, server);
    sem_wait(&server->ready);
    job->endpoints[s] = server->endpoint;
    return 0;
}

static inline int ps_job_join(struct ps_job *job, int s)
{
    pthread_join(job->servers[s].thread, NULL);
    return job->servers[s].rc;
}

static inline void ps_job_free(struct ps_job *job)
{
    for (int s = 0; s < job->map.servers; s++) {
        serve_free(job->servers[s].serve);
        scope_free(job->servers[s].scope);
        program_free(job->servers[s].program);
    }
    slice_map_deinit(&job->map);
}
