// SPDX-License-Identifier: Apache-2.0
// The pool runs every job once, done after run on the same thread, and waits for the last one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/workers.h"

struct item {
    atomic_int ran;
    atomic_int done;
    pthread_t thread;
};

static atomic_int started;

static void run(void *arg)
{
    struct item *item = arg;
    item->thread = pthread_self();
    atomic_fetch_add(&item->ran, 1);
    atomic_fetch_add(&started, 1);
}

static void done(void *arg)
{
    struct item *item = arg;
    assert_true(pthread_equal(item->thread, pthread_self()));
    assert_int_equal(atomic_load(&item->ran), 1);
    atomic_fetch_add(&item->done, 1);
}

static void test_workers_run_every_job_once(void **state)
{
    (void)state;
    static struct item items[1000];
    const int counts[] = {0, 1, 4};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (int i = 0; i < 1000; i++)
            items[i] = (struct item){0};
        struct workers *workers = workers_new(counts[c]);
        assert_int_equal(workers_threads(workers), counts[c]);
        for (int i = 0; i < 1000; i++)
            workers_submit(workers, run, i % 2 ? done : NULL, &items[i]);
        workers_wait(workers);
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(atomic_load(&items[i].ran), 1);
            assert_int_equal(atomic_load(&items[i].done), i % 2);
        }
        workers_wait(workers);
        workers_free(workers);
    }
}

static void test_workers_free_waits_for_queued_jobs(void **state)
{
    (void)state;
    static struct item items[200];
    atomic_store(&started, 0);
    struct workers *workers = workers_new(2);
    for (int i = 0; i < 200; i++)
        workers_submit(workers, run, NULL, &items[i]);
    workers_free(workers);
    assert_int_equal(atomic_load(&started), 200);
    workers_free(NULL);
}

static int order[100];
static int ordered;

static void append(void *arg)
{
    order[ordered++] = *(int *)arg;
}

static void test_workers_start_in_order(void **state)
{
    (void)state;
    static int numbers[100];
    struct workers *workers = workers_new(1);
    for (int i = 0; i < 100; i++) {
        numbers[i] = i;
        workers_submit(workers, append, NULL, &numbers[i]);
    }
    workers_free(workers);
    for (int i = 0; i < 100; i++)
        assert_int_equal(order[i], i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_run_every_job_once),
        cmocka_unit_test(test_workers_free_waits_for_queued_jobs),
        cmocka_unit_test(test_workers_start_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
