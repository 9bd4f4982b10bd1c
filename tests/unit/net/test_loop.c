// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "common/base/mem.h"
#include "common/net/gate.h"
#include "common/net/loop.h"
#include "tests/unit/net/net_fixture.h"

#define JOBS 2000
#define POSTERS 4

struct counter {
    struct loop *loop;
    struct gate *gate;
    int expected, count, wrong;
};

struct numbered {
    struct loop_job job;
    struct counter *counter;
    int number;
};

static void run_numbered(void *arg)
{
    struct numbered *numbered = arg;
    struct counter *counter = numbered->counter;
    counter->wrong += numbered->number != counter->count || !loop_is_owner(counter->loop);
    if (++counter->count == counter->expected)
        loop_stop(counter->loop);
    mem_free(numbered);
}

static void post_numbered(struct counter *counter, int number)
{
    struct numbered *numbered = MEM_NEW(struct numbered);
    *numbered = (struct numbered){
        .job = {.run = run_numbered, .arg = numbered}, .counter = counter, .number = number};
    loop_post(counter->loop, &numbered->job);
}

static void test_loop_runs_jobs_in_order(void **state)
{
    (void)state;
    struct counter counter = {.loop = net_fixture_loop(), .expected = JOBS};
    for (int i = 0; i < JOBS / 2; i++)
        post_numbered(&counter, i);             // before it runs
    assert_int_equal(loop_start(counter.loop, "loop", NULL), 0);
    for (int i = JOBS / 2; i < JOBS; i++)
        post_numbered(&counter, i);
    loop_join(counter.loop);
    assert_int_equal(counter.count, JOBS);
    assert_int_equal(counter.wrong, 0);
    loop_free(counter.loop);
}

static void run_counting(void *arg)
{
    struct numbered *numbered = arg;
    if (++numbered->counter->count == numbered->counter->expected)
        loop_stop(numbered->counter->loop);
    mem_free(numbered);
}

static void *post_many(void *arg)
{
    for (int i = 0; i < JOBS; i++) {
        struct numbered *numbered = MEM_NEW(struct numbered);
        *numbered =
            (struct numbered){.job = {.run = run_counting, .arg = numbered}, .counter = arg};
        loop_post(((struct counter *)arg)->loop, &numbered->job);
    }
    return NULL;
}

static void test_loop_loses_no_job_of_many_threads(void **state)
{
    (void)state;
    struct counter counter = {.loop = net_fixture_loop(), .expected = JOBS * POSTERS};
    pthread_t threads[POSTERS];
    assert_int_equal(loop_start(counter.loop, "loop", NULL), 0);
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &counter), 0);
    for (int i = 0; i < POSTERS; i++)
        (void)pthread_join(threads[i], NULL);
    loop_join(counter.loop);
    assert_int_equal(counter.count, JOBS * POSTERS);
    loop_free(counter.loop);
}

static void open_gate(void *arg)
{
    struct counter *counter = arg;
    counter->count++;
    gate_open(counter->gate);
}

static void test_gate_lets_a_thread_wait_for_the_loop(void **state)
{
    (void)state;
    struct counter counter = {.loop = net_fixture_loop(), .gate = gate_new()};
    struct loop_job job = {.run = open_gate, .arg = &counter};
    assert_int_equal(loop_start(counter.loop, "loop", NULL), 0);
    assert_false(loop_is_owner(counter.loop) && counter.count);
    for (int i = 1; i <= 1000; i++) {
        loop_post(counter.loop, &job);
        gate_wait(counter.gate);
        assert_int_equal(counter.count, i);
    }
    assert_false(gate_wait_ms(counter.gate, 5));
    loop_post(counter.loop, &job);
    assert_true(gate_wait_ms(counter.gate, 10000));
    loop_stop(counter.loop);
    loop_join(counter.loop);
    loop_free(counter.loop);
    gate_free(counter.gate);
    gate_free(NULL);
}

static void on_tick(void *arg)
{
    struct counter *counter = arg;
    if (++counter->count == 3)
        loop_stop(counter->loop);
}

static void test_loop_timer_repeats_until_stopped(void **state)
{
    (void)state;
    struct counter counter = {.loop = net_fixture_loop()};
    struct loop_timer *timer = loop_timer_new(counter.loop, on_tick, &counter);
    loop_timer_start(timer, 1, 1);
    net_fixture_run(counter.loop);
    assert_int_equal(counter.count, 3);
    assert_true(loop_now_ms(counter.loop) > 0);
    loop_timer_stop(timer);
    loop_timer_free(timer);
    loop_timer_free(NULL);
    (void)loop_timer_new(counter.loop, on_tick, &counter);      // loop_free frees what is left
    loop_free(counter.loop);
    loop_free(NULL);
}

static void on_signal(void *arg, int signo)
{
    struct counter *counter = arg;
    counter->count = signo;
    loop_stop(counter->loop);
}

static void raise_it(void *arg)
{
    (void)arg;
    (void)raise(SIGUSR1);
}

static void test_loop_hears_signals(void **state)
{
    (void)state;
    struct counter counter = {.loop = net_fixture_loop()};
    struct loop_job job = {.run = raise_it};
    struct err err = {0};
    assert_int_equal(loop_on_signal(counter.loop, SIGUSR1, on_signal, &counter, &err), 0);
    assert_true(loop_on_signal(counter.loop, 4711, on_signal, &counter, &err) < 0);
    assert_non_null(strstr(err.text, "signal 4711"));
    loop_post(counter.loop, &job);
    net_fixture_run(counter.loop);
    assert_int_equal(counter.count, SIGUSR1);
    loop_free(counter.loop);
}

static void test_loop_may_be_stopped_before_it_runs_and_run_again(void **state)
{
    (void)state;
    struct counter counter = {.loop = net_fixture_loop(), .expected = 1};
    loop_stop(counter.loop);
    net_fixture_run(counter.loop);
    post_numbered(&counter, 0);
    net_fixture_run(counter.loop);
    assert_int_equal(counter.count, 1);
    post_numbered(&counter, 1);         // run by loop_free
    loop_free(counter.loop);
    assert_int_equal(counter.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_runs_jobs_in_order),
        cmocka_unit_test(test_loop_loses_no_job_of_many_threads),
        cmocka_unit_test(test_gate_lets_a_thread_wait_for_the_loop),
        cmocka_unit_test(test_loop_timer_repeats_until_stopped),
        cmocka_unit_test(test_loop_hears_signals),
        cmocka_unit_test(test_loop_may_be_stopped_before_it_runs_and_run_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
