// SPDX-License-Identifier: Apache-2.0
// The shell behind a proxy that cuts, drops, repeats and corrupts: the ledger must still be right.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/ps/ps_proxy.h"
#include "tests/unit/ps/ps_worker.h"

struct table {
    struct ps_job job;
    struct proxy proxies[2];
};

static void start(struct table *t, uint64_t seed, int one_in)
{
    memset(t, 0, sizeof *t);
    ps_job_begin(&t->job.map, 2, 2);
    ps_job_param(&t->job.map, "w", 1500, 300, 2);
    ps_job_param(&t->job.map, "b", 300, 0, 1);
    ps_job_table(&t->job.map, "table", 60000, 10, 2);
    ps_job_table(&t->job.map, "small", 30, 3, 2);
    ps_job_finish(&t->job.map);
    for (int s = 0; s < 2; s++) {
        assert_int_equal(ps_job_start(&t->job, s, NULL, 1000, 1), 0);
        proxy_start(&t->proxies[s], t->job.servers[s].endpoint, seed + (uint64_t)s * 1000, one_in);
        t->job.endpoints[s] = t->proxies[s].endpoint;
    }
}

static void allow(struct table *t, enum proxy_fault fault, int times)
{
    for (int s = 0; s < 2; s++)
        atomic_store(&t->proxies[s].left[fault], times);
}

static void run(struct table *t, uint64_t steps)
{
    struct worker workers[2] = {{.steps = steps, .merge_every = 4},
                                {.steps = steps, .merge_every = 4}};
    run_workers(&t->job, workers, 2);
    int made[PROXY_FAULTS] = {0};
    for (int f = 0; f < PROXY_FAULTS; f++)
        made[f] = atomic_load(&t->proxies[0].made[f]) + atomic_load(&t->proxies[1].made[f]);
    print_message("%d cuts, %d dropped, %d repeated, %d flipped; %llu + %llu reconnects, %llu + "
                  "%llu sent again\n",
                  made[PROXY_CUT], made[PROXY_DROP], made[PROXY_REPEAT], made[PROXY_FLIP],
                  (unsigned long long)workers[0].stats.reconnects,
                  (unsigned long long)workers[1].stats.reconnects,
                  (unsigned long long)workers[0].stats.chunks_resent,
                  (unsigned long long)workers[1].stats.chunks_resent);
    for (int i = 0; i < 2; i++) {
        if (workers[i].rc < 0)
            fail_msg("trainer %d: %s", i, workers[i].err.text);
        assert_false(workers[i].wrong || workers[i].wrong_sum);
        if (ps_job_join(&t->job, i) < 0)
            fail_msg("server %d: %s", i, t->job.servers[i].err.text);
        assert_int_equal(serve_step(t->job.servers[i].serve), steps);
        proxy_stop(&t->proxies[i]);
    }
    ps_job_free(&t->job);
}

static void test_comm_chaos_cut_connections(void **unused)
{
    (void)unused;
    struct table t;
    start(&t, 11, 15);
    allow(&t, PROXY_CUT, 8);
    run(&t, 40);
    assert_true(atomic_load(&t.proxies[0].made[PROXY_CUT]) > 0);
}

static void test_comm_chaos_flipped_bits(void **unused)
{
    (void)unused;
    struct table t;
    start(&t, 22, 10);
    allow(&t, PROXY_FLIP, 30);
    run(&t, 40);
    assert_true(atomic_load(&t.proxies[0].made[PROXY_FLIP]) > 0);
}

static void test_comm_chaos_repeated_frames(void **unused)
{
    (void)unused;
    struct table t;
    start(&t, 33, 5);
    allow(&t, PROXY_REPEAT, 1000);
    run(&t, 40);
    assert_true(atomic_load(&t.proxies[0].made[PROXY_REPEAT]) > 0);
}

static void test_comm_chaos_lost_frames(void **unused)
{
    (void)unused;
    struct table t;
    start(&t, 44, 20);
    allow(&t, PROXY_DROP, 2);
    run(&t, 20);
    assert_true(atomic_load(&t.proxies[0].made[PROXY_DROP]) +
                    atomic_load(&t.proxies[1].made[PROXY_DROP]) >
                0);
}

static void test_comm_chaos_all_at_once(void **unused)
{
    (void)unused;
    struct table t;
    start(&t, 55, 12);
    allow(&t, PROXY_CUT, 5);
    allow(&t, PROXY_FLIP, 10);
    allow(&t, PROXY_REPEAT, 20);
    allow(&t, PROXY_DROP, 1);
    run(&t, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comm_chaos_cut_connections),
        cmocka_unit_test(test_comm_chaos_flipped_bits),
        cmocka_unit_test(test_comm_chaos_repeated_frames),
        cmocka_unit_test(test_comm_chaos_lost_frames),
        cmocka_unit_test(test_comm_chaos_all_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
