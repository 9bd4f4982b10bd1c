// SPDX-License-Identifier: Apache-2.0
// Trainers as threads, over the ledger: learning rate 1, gradients that are distinct integers per
// (trainer, step), so a push that is lost, doubled or swapped shows as a wrong integer.
#pragma once

#include "tests/unit/ps/ps_job.h"

static inline float ledger_grad(int trainer, uint64_t step, uint64_t i)
{
    return (float)(2 * ((step * 7 + (uint64_t)trainer * 3 + i % 5) % 11) + 2);
}

static inline float ledger_value(int trainers, uint64_t steps, uint64_t i)
{
    float value = 1000;
    for (uint64_t s = 0; s < steps; s++) {
        float sum = 0;
        for (int t = 0; t < trainers; t++)
            sum += ledger_grad(t, s, i);
        value -= sum * (1.0f / (float)trainers);
    }
    return value;
}

struct worker {
    struct ps_job *job;
    int trainer;
    uint64_t steps;
    pthread_t thread;
    int rc;
    struct err err;
    struct comm_stats stats;
    uint64_t read_rows;   // trainer 0 reads all in the middle
    bool stay;            // no complete, no close
    struct comm *comm;
    bool wrong;
    const char *abort_reason;
};

static inline int worker_step(struct worker *w, struct comm *comm, struct tensor *grads,
                              struct tensor *params)
{
    const struct slice_map *map = &w->job->map;
    uint64_t step = comm_step(comm);
    size_t n = 0;
    for (size_t v = 0; v < map->vars_count; v++) {
        const struct slice_var *var = map->vars[v];
        for (size_t s = 0; s < var->slices_count && var->role == SLICE_GRAD; s++, n++) {
            struct dims dims = shard_slice_dims(var, &var->slices[s]);
            if (tensor_resize(&grads[n], DTYPE_FP32, &dims) < 0)
                return SL_ENOMEM;
            for (uint64_t i = 0; i < tensor_count(&grads[n]); i++)
                tensor_f32(&grads[n])[i] = ledger_grad(w->trainer, step, i);
            char *name =
                mem_must_printf("%s%s", var->slices[s].name, w->trainer ? ".trainer_1" : "");
            int rc = comm_push(comm, name, &grads[n], &w->err);
            mem_free(name);
            if (rc < 0)
                return rc;
        }
    }
    int rc = comm_send_barrier(comm, &w->err);
    n = 0;
    for (size_t v = 0; rc >= 0 && v < map->vars_count; v++) {
        const struct slice_var *var = map->vars[v];
        for (size_t s = 0; rc >= 0 && s < var->slices_count && var->role == SLICE_PARAM; s++, n++)
            rc = comm_pull(comm, var->slices[s].name, &params[n], &w->err);
    }
    if (rc >= 0)
        rc = comm_fetch_barrier(comm, &w->err);
    float want[5];   // the ledger repeats every 5 elements
    for (uint64_t i = 0; i < 5; i++)
        want[i] = ledger_value(map->trainers, step + 1, i);
    for (size_t p = 0; rc >= 0 && p < n; p++)
        for (uint64_t i = 0; i < tensor_count(&params[p]); i++)
            w->wrong = w->wrong || tensor_f32(&params[p])[i] != want[i % 5];
    return rc;
}

static inline void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct comm_options options = {.endpoints = w->job->endpoints,
                                   .servers = w->job->map.servers,
                                   .slices = &w->job->map,
                                   .trainer_id = w->trainer,
                                   .connect_timeout_ms = 5000};
    struct tensor grads[32], params[32];
    for (int i = 0; i < 32; i++) {
        tensor_init(&grads[i]);
        tensor_init(&params[i]);
    }
    w->rc = comm_open(&options, &w->comm, &w->err);
    for (uint64_t s = 0; w->rc >= 0 && s < w->steps; s++)
        w->rc = worker_step(w, w->comm, grads, params);
    if (w->comm) {
        if (w->rc >= 0 && w->abort_reason)
            comm_abort(w->comm, w->abort_reason);
        else if (w->rc >= 0 && !w->stay)
            w->rc = comm_complete(w->comm, &w->err);
        comm_stats(w->comm, &w->stats);
        if (!w->stay)
            comm_close(w->comm);
    }
    for (int i = 0; i < 32; i++) {
        tensor_deinit(&grads[i]);
        tensor_deinit(&params[i]);
    }
    return NULL;
}

static inline void run_workers(struct ps_job *job, struct worker *workers, int count)
{
    for (int t = 0; t < count; t++) {
        workers[t].job = job;
        workers[t].trainer = t;
        pthread_create(&workers[t].thread, NULL, worker_main, &workers[t]);
    }
    for (int t = 0; t < count; t++)
        pthread_join(workers[t].thread, NULL);
}
