// SPDX-License-Identifier: Apache-2.0
// Fork and join with little delay. A round begins when the caller raises `round` and ends when
// `left` is 0 again. Whoever waits looks at the number for a while before it sleeps: a training
// step has several rounds within a fraction of a millisecond, and threads that sleep in between are
// woken late, often on the processor that is busy with the caller. Where there are fewer processors
// than members nobody looks, because the time is another member's.
//
// Invariant: run and arg change only while left is 0 and no round has begun, that is in the
// caller's hands; a thread reads them after it has seen the new round. When the system gives fewer
// threads, the caller does the work of those that are missing.

#include "common/base/team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "common/base/assert.h"
#include "common/base/mem.h"

#define LOOKS 10000   // some 0.2 ms, or more where a pause is long

struct member {
    struct team *team;
    int index;
    pthread_t thread;
};

struct team {
    pthread_mutex_t lock;
    pthread_cond_t begun, ended;
    atomic_uint round;
    atomic_int left;   // threads that have not ended this round
    team_fn run;
    void *arg;
    bool stopping;
    int looks;
    int members, threads;
    struct member member[TEAM_MEMBERS_MAX];
};

static void *member_main(void *arg);
static void begin_round(struct team *team, int left);

struct team *team_new(int members)
{
    ASSERT(members >= 1 && members <= TEAM_MEMBERS_MAX);
    struct team *team = MEM_NEW(struct team);
    ASSERT(pthread_mutex_init(&team->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&team->begun, NULL) == 0);
    ASSERT(pthread_cond_init(&team->ended, NULL) == 0);
    team->members = members;
    team->looks = sysconf(_SC_NPROCESSORS_ONLN) >= members ? LOOKS : 0;
    for (int i = 1; i < members; i++) {
        team->member[i] = (struct member){.team = team, .index = i};
        if (pthread_create(&team->member[i].thread, NULL, member_main, &team->member[i]) != 0)
            break;
        team->threads++;
    }
    return team;
}

void team_free(struct team *team)
{
    if (team == NULL)
        return;
    team->stopping = true;
    begin_round(team, 0);
    for (int i = 1; i <= team->threads; i++)
        pthread_join(team->member[i].thread, NULL);
    pthread_cond_destroy(&team->begun);
    pthread_cond_destroy(&team->ended);
    pthread_mutex_destroy(&team->lock);
    mem_free(team);
}

static void look(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

void team_run(struct team *team, team_fn run, void *arg)
{
    team->run = run;
    team->arg = arg;
    if (team->threads > 0)
        begin_round(team, team->threads);
    run(arg, 0);
    for (int i = team->threads + 1; i < team->members; i++)
        run(arg, i);
    for (int n = 0; n < team->looks; n++) {
        if (atomic_load_explicit(&team->left, memory_order_acquire) == 0)
            return;
        look();
    }
    pthread_mutex_lock(&team->lock);
    while (atomic_load_explicit(&team->left, memory_order_acquire) > 0)
        pthread_cond_wait(&team->ended, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

static void begin_round(struct team *team, int left)
{
    atomic_store_explicit(&team->left, left, memory_order_relaxed);
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add_explicit(&team->round, 1, memory_order_release);
    pthread_cond_broadcast(&team->begun);
    pthread_mutex_unlock(&team->lock);
}

static void wait_for_round(struct team *team, unsigned seen)
{
    for (int n = 0; n < team->looks; n++) {
        if (atomic_load_explicit(&team->round, memory_order_acquire) != seen)
            return;
        look();
    }
    pthread_mutex_lock(&team->lock);
    while (atomic_load_explicit(&team->round, memory_order_acquire) == seen)
        pthread_cond_wait(&team->begun, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *arg)
{
    struct member *member = arg;
    struct team *team = member->team;
    for (unsigned seen = 0;; seen++) {
        wait_for_round(team, seen);
        if (team->stopping)
            return NULL;
        team->run(team->arg, member->index);
        if (atomic_fetch_sub_explicit(&team->left, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&team->lock);
            pthread_cond_signal(&team->ended);
            pthread_mutex_unlock(&team->lock);
        }
    }
}
