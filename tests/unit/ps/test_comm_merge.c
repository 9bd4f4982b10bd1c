// SPDX-License-Identifier: Apache-2.0
// Sums over trainers on loopback: real servers and trainers as threads of this process.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/ps/ps_worker.h"

static void start_job(struct ps_job *job, int servers, int trainers)
{
    memset(job, 0, sizeof *job);
    ps_job_begin(&job->map, servers, trainers);
    ps_job_param(&job->map, "w", 70, 30, servers);
    ps_job_finish(&job->map);
    for (int s = 0; s < servers; s++)
        if (ps_job_start(job, s, NULL, 1000, 1) < 0)
            fail_msg("%s", job->servers[s].err.text);
}

static void end_job(struct ps_job *job)
{
    for (int s = 0; s < job->map.servers; s++)
        assert_int_equal(ps_job_join(job, s), 0);
    ps_job_free(job);
}

static void join_sound(struct worker *w)
{
    pthread_join(w->thread, NULL);
    if (w->rc < 0)
        fail_msg("trainer %d: %s", w->trainer, w->err.text);
    assert_false(w->wrong_sum);
}

static void test_comm_merge_sums_of_every_step(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 2, 3);
    struct worker workers[3] = {{.steps = 40, .merge_every = 1},
                                {.steps = 40, .merge_every = 1},
                                {.steps = 40, .merge_every = 1}};
    run_workers(&job, workers, 3);
    for (int t = 0; t < 3; t++) {
        if (workers[t].rc < 0)
            fail_msg("trainer %d: %s", t, workers[t].err.text);
        assert_false(workers[t].wrong || workers[t].wrong_sum);
    }
    end_job(&job);
}

// Steps, the last sum, COMPLETE; the sum is waited for behind it.
static void *early_or_late(void *arg)
{
    struct worker *w = arg;
    w->stay = true;
    worker_main(w);
    if (w->rc >= 0)
        w->rc = worker_add(w, UINT32_MAX);
    if (w->rc >= 0)
        w->rc = comm_complete(w->comm, &w->err);
    if (w->rc >= 0)
        w->rc = worker_sum(w, UINT32_MAX, 2);
    comm_close(w->comm);
    return NULL;
}

static void test_comm_merge_waits_beyond_its_own_end(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 2, 2);
    struct worker workers[2] = {{.steps = 2, .job = &job}, {.steps = 9, .job = &job, .trainer = 1}};
    for (int t = 0; t < 2; t++)
        pthread_create(&workers[t].thread, NULL, early_or_late, &workers[t]);
    for (int t = 0; t < 2; t++)
        join_sound(&workers[t]);
    end_job(&job);
}

// The other one adds nothing and completes: the sum is of those who have added.
static void *alone(void *arg)
{
    struct worker *w = arg;
    w->stay = true;
    worker_main(w);
    if (w->rc >= 0)
        w->rc = worker_add(w, 5);
    if (w->rc >= 0)
        w->rc = worker_sum(w, 5, 1);
    if (w->rc >= 0)
        w->rc = comm_complete(w->comm, &w->err);
    comm_close(w->comm);
    return NULL;
}

static void test_comm_merge_without_one_that_completed(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 1, 2);
    struct worker workers[2] = {{.steps = 3, .job = &job}, {.steps = 1, .job = &job, .trainer = 1}};
    pthread_create(&workers[0].thread, NULL, alone, &workers[0]);
    pthread_create(&workers[1].thread, NULL, worker_main, &workers[1]);
    join_sound(&workers[0]);
    join_sound(&workers[1]);
    end_job(&job);
}

// Without waiting: 0 until it is settled; what was never added is an error; so is too much of it.
static void test_comm_merge_asks_without_waiting(void **unused)
{
    (void)unused;
    struct ps_job job;
    start_job(&job, 1, 1);
    struct worker w = {.job = &job, .stay = true};
    worker_main(&w);
    assert_int_equal(w.rc, 0);
    int64_t out[3], numbers[] = {4, -5, 6};
    int trainers = 0;
    assert_int_equal(comm_merge_result(w.comm, 1, false, out, 3, &trainers, &w.err), 0);
    assert_int_equal(comm_merge_result(w.comm, 1, true, out, 3, &trainers, &w.err), SL_ENOENT);
    assert_int_equal(comm_merge(w.comm, 1, numbers, 0, &w.err), SL_ELIMIT);
    assert_int_equal(comm_merge(w.comm, 1, numbers, (4u << 20) / 8 + 1, &w.err), SL_ELIMIT);
    assert_int_equal(comm_merge(w.comm, 1, numbers, 3, &w.err), 0);
    int rc = 0;
    while (rc == 0)
        rc = comm_merge_result(w.comm, 1, false, out, 3, &trainers, &w.err);
    assert_int_equal(rc, 1);
    assert_int_equal(trainers, 1);
    assert_memory_equal(out, numbers, sizeof out);
    assert_int_equal(comm_merge_result(w.comm, 1, true, out, 2, &trainers, &w.err), SL_ENOENT);
    for (uint32_t key = 2; key < 40; key++)   // more than are remembered
        assert_int_equal(comm_merge(w.comm, key, numbers, 3, &w.err), 0);
    assert_int_equal(comm_merge_result(w.comm, 39, true, out, 3, &trainers, &w.err), 1);
    assert_int_equal(comm_merge_result(w.comm, 2, true, out, 3, &trainers, &w.err), SL_ENOENT);
    assert_int_equal(comm_complete(w.comm, &w.err), 0);
    comm_close(w.comm);
    end_job(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comm_merge_sums_of_every_step),
        cmocka_unit_test(test_comm_merge_waits_beyond_its_own_end),
        cmocka_unit_test(test_comm_merge_without_one_that_completed),
        cmocka_unit_test(test_comm_merge_asks_without_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
