// SPDX-License-Identifier: Apache-2.0
// Fork and join: every member once a round, all done at the end of it.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/team.h"

struct work {
    int calls[TEAM_MEMBERS_MAX];   // a member's own
    int shared;                    // written between rounds, read within
    int wrong;
};

static void count(void *arg, int member)
{
    struct work *work = arg;
    work->calls[member]++;
    if (work->calls[member] != work->shared)
        __atomic_fetch_add(&work->wrong, 1, __ATOMIC_RELAXED);
}

static void test_every_member_runs_once_a_round(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 8, TEAM_MEMBERS_MAX};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct work work = {0};
        struct team *team = team_new(sizes[s]);
        int rounds = sizes[s] > 8 ? 50 : 2000;
        for (int round = 1; round <= rounds; round++) {
            work.shared = round;
            team_run(team, count, &work);
            for (int m = 0; m < TEAM_MEMBERS_MAX; m++)
                assert_int_equal(work.calls[m], m < sizes[s] ? round : 0);
        }
        assert_int_equal(work.wrong, 0);
        team_free(team);
    }
}

static void test_a_team_may_do_nothing(void **state)
{
    (void)state;
    team_free(team_new(4));
    team_free(NULL);
}

static void test_rounds_allocate_nothing(void **state)
{
    (void)state;
    struct work work = {0};
    struct team *team = team_new(3);
    unsigned long before = mem_allocation_count();
    for (work.shared = 1; work.shared <= 100; work.shared++)
        team_run(team, count, &work);
    assert_int_equal(mem_allocation_count(), before);
    team_free(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_member_runs_once_a_round),
        cmocka_unit_test(test_a_team_may_do_nothing),
        cmocka_unit_test(test_rounds_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
