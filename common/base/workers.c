// SPDX-License-Identifier: Apache-2.0
// A fixed pool of threads behind one queue. Jobs start in the order in which they were queued.
// Ownership: what a job's argument points to belongs to the job from submit until done has run.
// Invariant: pending counts the jobs that were queued and have not finished, done included.
// The queue is not capped here; whoever submits bounds its own jobs in flight.
#include "common/base/workers.h"

#include <pthread.h>
#include <stdbool.h>

#include "common/base/assert.h"
#include "common/base/mem.h"

#define THREADS_MAX 64

struct job {
    workers_fn run;
    workers_fn done;
    void *arg;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t has_job;
    pthread_cond_t all_done;
    struct job *ring;
    size_t ring_cap;
    size_t first;
    size_t queued;
    size_t pending;
    bool stopping;
    int thread_count;
    pthread_t threads[THREADS_MAX];
};

static void *worker_main(void *arg);
static void run_job(struct job job);
static void grow_ring(struct workers *workers);

struct workers *workers_new(int threads)
{
    ASSERT(threads >= 0 && threads <= THREADS_MAX);
    struct workers *workers = MEM_NEW(struct workers);
    ASSERT(pthread_mutex_init(&workers->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&workers->has_job, NULL) == 0);
    ASSERT(pthread_cond_init(&workers->all_done, NULL) == 0);
    // A system that gives fewer threads gives a slower pool; without any, jobs run on the caller.
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&workers->threads[i], NULL, worker_main, workers) != 0)
            break;
        workers->thread_count++;
    }
    return workers;
}

void workers_free(struct workers *workers)
{
    if (!workers)
        return;
    workers_wait(workers);
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->has_job);
    pthread_mutex_unlock(&workers->lock);
    for (int i = 0; i < workers->thread_count; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->has_job);
    pthread_cond_destroy(&workers->all_done);
    pthread_mutex_destroy(&workers->lock);
    mem_free(workers->ring);
    mem_free(workers);
}

int workers_threads(const struct workers *workers)
{
    return workers->thread_count;
}

void workers_submit(struct workers *workers, workers_fn run, workers_fn done, void *arg)
{
    struct job job = {run, done, arg};
    if (workers->thread_count == 0) {
        run_job(job);
        return;
    }
    pthread_mutex_lock(&workers->lock);
    if (workers->queued == workers->ring_cap)
        grow_ring(workers);
    workers->ring[(workers->first + workers->queued) % workers->ring_cap] = job;
    workers->queued++;
    workers->pending++;
    pthread_cond_signal(&workers->has_job);
    pthread_mutex_unlock(&workers->lock);
}

void workers_wait(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    while (workers->pending > 0)
        pthread_cond_wait(&workers->all_done, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
}

static void *worker_main(void *arg)
{
    struct workers *workers = arg;
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (workers->queued == 0 && !workers->stopping)
            pthread_cond_wait(&workers->has_job, &workers->lock);
        if (workers->queued == 0)
            break;
        struct job job = workers->ring[workers->first];
        workers->first = (workers->first + 1) % workers->ring_cap;
        workers->queued--;
        pthread_mutex_unlock(&workers->lock);
        run_job(job);
        pthread_mutex_lock(&workers->lock);
        if (--workers->pending == 0)
            pthread_cond_broadcast(&workers->all_done);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

static void run_job(struct job job)
{
    job.run(job.arg);
    if (job.done)
        job.done(job.arg);
}

static void grow_ring(struct workers *workers)
{
    size_t cap = workers->ring_cap ? workers->ring_cap * 2 : 64;
    struct job *ring = mem_must_calloc(cap, sizeof *ring);
    for (size_t i = 0; i < workers->queued; i++)
        ring[i] = workers->ring[(workers->first + i) % workers->ring_cap];
    mem_free(workers->ring);
    workers->ring = ring;
    workers->ring_cap = cap;
    workers->first = 0;
}
