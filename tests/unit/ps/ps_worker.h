// SPDX-License-Identifier: Apache-2.0
// Trainers as threads, over the ledger: learning rate 1, gradients that are distinct integers per
// (trainer, step), so a push that is lost, doubled or swapped shows as a wrong integer.
#pragma once

#include "common/tensor/selected_rows.h"
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

// Tables: a trainer's batch touches about a quarter of the rows, and sometimes none; all elements
// of a row are alike, and rows repeat every LEDGER_ROWS.
#define LEDGER_ROWS 20

static inline bool ledger_touches(int trainer, uint64_t step, uint64_t row)
{
    return step % 5 != (uint64_t)trainer && (row * 7 + step * 3 + (uint64_t)trainer * 5) % 4 == 0;
}

static inline float ledger_row(int trainers, uint64_t steps, uint64_t row)
{
    float value = 1000;
    for (uint64_t s = 0; s < steps; s++) {
        float sum = 0;
        for (int t = 0; t < trainers; t++)
            sum += ledger_touches(t, s, row) ? ledger_grad(t, s, row) : 0;
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
    uint64_t merge_every;   // steps; adds to a sum then and waits for it. 0: never
    bool stay;              // no complete, no close
    struct comm *comm;
    bool wrong, wrong_sum;
    const char *abort_reason;
};

// The gradient of rows [row, row + rows), in an order that is none, every row in two parts.
static inline int worker_push_rows(struct worker *w, struct comm *comm, const char *name,
                                   const struct slice *slice, const struct dims *dims)
{
    struct selected_rows sr;
    selected_rows_init(&sr);
    size_t touched = 0, width = (size_t)dims->d[1];
    uint64_t step = comm_step(comm);
    for (int64_t r = 0; r < slice->rows; r++)
        touched += ledger_touches(w->trainer, step, (uint64_t)(slice->row + r));
    if (selected_rows_shape(&sr, slice->rows, 2 * touched, DTYPE_FP32, dims) < 0)
        return SL_ENOMEM;
    size_t at = 0;
    for (int64_t r = slice->rows; r-- > 0;) {
        if (!ledger_touches(w->trainer, step, (uint64_t)(slice->row + r)))
            continue;
        float half = ledger_grad(w->trainer, step, (uint64_t)(slice->row + r)) / 2;
        for (size_t part = 0; part < 2; part++) {
            size_t place = part ? 2 * touched - 1 - at : at;
            sr.rows[place] = r;
            for (size_t e = 0; e < width; e++)
                tensor_f32(&sr.value)[place * width + e] = part ? half + 1 : half - 1;
        }
        at++;
    }
    int rc = comm_push_rows(comm, name, &sr, &w->err);
    selected_rows_deinit(&sr);
    return rc;
}

// Looks up every third row of every table and compares it with the ledger after `steps` steps.
static inline int worker_look_up(struct worker *w, struct comm *comm, uint64_t steps)
{
    const struct slice_map *map = &w->job->map;
    struct comm_rows wants[8];
    float want[LEDGER_ROWS];
    size_t count = 0;
    for (uint64_t i = 0; i < LEDGER_ROWS; i++)
        want[i] = ledger_row(map->trainers, steps, i);
    for (size_t v = 0; v < map->vars_count; v++) {
        const struct slice_var *var = map->vars[v];
        if (var->role != SLICE_PARAM || !var->sparse)
            continue;
        size_t rows = (size_t)var->dims.d[0], width = (size_t)var->dims.d[1], n = 0;
        int64_t *ids = mem_must_calloc(rows, sizeof *ids);
        for (uint64_t r = (steps + (uint64_t)w->trainer) % 7; r < rows; r += 3)
            ids[n++] = (int64_t)r;
        wants[count++] = (struct comm_rows){
            .var = var->name, .ids = ids, .count = n, .out = mem_must_calloc(n * width + 1, 4)};
    }
    int rc = count ? comm_lookup(comm, wants, count, &w->err) : 0;
    for (size_t i = 0; i < count; i++) {
        const float *out = wants[i].out;
        size_t width = (size_t)slice_map_find(map, wants[i].var)->dims.d[1];
        for (size_t k = 0; rc >= 0 && k < wants[i].count; k++)
            for (size_t e = 0; e < width; e++)
                w->wrong = w->wrong || out[k * width + e] != want[wants[i].ids[k] % LEDGER_ROWS];
        mem_free((void *)(uintptr_t)wants[i].ids);
        mem_free(wants[i].out);
    }
    return rc;
}

static inline int worker_step(struct worker *w, struct comm *comm, struct tensor *grads,
                              struct tensor *params)
{
    const struct slice_map *map = &w->job->map;
    uint64_t step = comm_step(comm);
    size_t n = 0;
    if (worker_look_up(w, comm, step) < 0)
        return w->err.code;
    for (size_t v = 0; v < map->vars_count; v++) {
        const struct slice_var *var = map->vars[v];
        for (size_t s = 0; s < var->slices_count && var->role == SLICE_GRAD; s++, n++) {
            struct dims dims = shard_slice_dims(var, &var->slices[s]);
            if (var->sparse) {
                char *of = mem_must_printf("%s.trainer_%d", var->slices[s].name, w->trainer);
                int pushed = worker_push_rows(w, comm, of, &var->slices[s], &dims);
                mem_free(of);
                if (pushed < 0)
                    return pushed;
                continue;
            }
            if (tensor_resize(&grads[n], DTYPE_FP32, &dims) < 0)
                return SL_ENOMEM;
            for (uint64_t i = 0; i < tensor_count(&grads[n]); i++)
                tensor_f32(&grads[n])[i] = ledger_grad(w->trainer, step, i);
            char *name = w->trainer
                             ? mem_must_printf("%s.trainer_%d", var->slices[s].name, w->trainer)
                             : mem_must_strdup(var->slices[s].name);
            int rc = comm_push(comm, name, &grads[n], &w->err);
            mem_free(name);
            if (rc < 0)
                return rc;
        }
    }
    int rc = comm_send_barrier(comm, &w->err);
    if (rc >= 0 && step % 2)
        rc = worker_look_up(w, comm, step + 1);
    n = 0;
    for (size_t v = 0; rc >= 0 && v < map->vars_count; v++) {
        const struct slice_var *var = map->vars[v];
        if (var->sparse)
            continue;
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

// Distinct numbers of (trainer, key), large ones too.
#define WORKER_SUM 9000
static inline int64_t worker_number(int trainer, uint32_t key, size_t i)
{
    return (int64_t)(((uint64_t)key * 1000 + i) << (16 * (i % 3))) * (trainer + 1) - (int64_t)i;
}

// Adds to the sum of key.
static inline int worker_add(struct worker *w, uint32_t key)
{
    int64_t *numbers = mem_must_calloc(WORKER_SUM, sizeof *numbers);
    for (size_t i = 0; i < WORKER_SUM; i++)
        numbers[i] = worker_number(w->trainer, key, i);
    int rc = comm_merge(w->comm, key, numbers, WORKER_SUM, &w->err);
    mem_free(numbers);
    return rc;
}

// Waits for it and compares it with what so many trainers add.
static inline int worker_sum(struct worker *w, uint32_t key, int trainers)
{
    int64_t *sum = mem_must_calloc(WORKER_SUM, sizeof *sum);
    int merged = 0;
    int rc = comm_merge_result(w->comm, key, true, sum, WORKER_SUM, &merged, &w->err);
    w->wrong_sum = w->wrong_sum || (rc > 0 && merged != trainers);
    for (size_t i = 0; rc > 0 && i < WORKER_SUM; i++) {
        int64_t want = 0;
        for (int t = 0; t < trainers; t++)
            want += worker_number(t, key, i);
        w->wrong_sum = w->wrong_sum || sum[i] != want;
    }
    mem_free(sum);
    return rc < 0 ? rc : 0;
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
    for (uint64_t s = 0; w->rc >= 0 && s < w->steps; s++) {
        w->rc = worker_step(w, w->comm, grads, params);
        if (w->rc < 0 || !w->merge_every || (s + 1) % w->merge_every)
            continue;
        w->rc = worker_add(w, (uint32_t)s);
        if (w->rc >= 0)
            w->rc = worker_sum(w, (uint32_t)s, w->job->map.trainers);
    }
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
