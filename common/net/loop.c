// SPDX-License-Identifier: Apache-2.0
// The event loop over libuv. Other threads reach it by posting jobs: a lock-free stack that the
// loop thread empties as a whole and turns round, so jobs run in the order of posting; the poster
// that found it empty wakes the loop. Invariant: every handle's memory is freed in its close
// callback only. SIGPIPE stays blocked on the thread that runs the loop (libuv writes without
// MSG_NOSIGNAL); the process's disposition is left alone.
#include "common/net/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/net/loop_inside.h"

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t turn_end;
    _Atomic(struct loop_job *) posted;      // newest first
    atomic_bool stop;
    atomic_bool running;
    _Atomic(pthread_t) owner;
    pthread_t thread;
    bool started;
    struct loop_turn *turns, **turns_tail;
    struct loop_resident residents;         // ring: connections and what makes them
    struct loop_resident tools;             // ring: timers, signals
    bool closing;                           // in loop_free: timers and signals are silent
};

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    struct loop_resident resident;
    void (*run)(void *arg);
    void *arg;
};

struct loop_signal {
    uv_signal_t uv;
    struct loop *loop;
    struct loop_resident resident;
    void (*run)(void *arg, int signo);
    void *arg;
};

static bool evict_next(struct loop_resident *ring);
static void on_wake(uv_async_t *wake);
static void on_turn_end(uv_prepare_t *prepare);
static void run_posted(struct loop *loop);
static void *thread_main(void *arg);
static bool block_sigpipe(sigset_t *out_before);
static void restore_sigpipe(const sigset_t *before, bool was_pending);
static void on_timer(uv_timer_t *uv);
static void evict_timer(void *arg);
static void free_timer(uv_handle_t *handle);
static void on_signal(uv_signal_t *uv, int signo);
static void evict_signal(void *arg);
static void free_signal(uv_handle_t *handle);

struct loop *loop_new(struct err *err)
{
    struct loop *loop = MEM_NEW(struct loop);
    int failed = uv_loop_init(&loop->uv);
    if (failed) {
        err_set(err, SL_EIO, "event loop: %s", uv_strerror(failed));
        mem_free(loop);
        return NULL;
    }
    loop->turns_tail = &loop->turns;
    loop->residents.next = loop->residents.prev = &loop->residents;
    loop->tools.next = loop->tools.prev = &loop->tools;
    failed = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (failed) {
        err_set(err, SL_EIO, "event loop: %s", uv_strerror(failed));
        (void)uv_loop_close(&loop->uv);
        mem_free(loop);
        return NULL;
    }
    loop->wake.data = loop;
    (void)uv_prepare_init(&loop->uv, &loop->turn_end);
    loop->turn_end.data = loop;
    (void)uv_prepare_start(&loop->turn_end, on_turn_end);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    ASSERT(!atomic_load(&loop->running));
    sigset_t before;
    bool was_pending = block_sigpipe(&before);
    run_posted(loop);
    loop->closing = true;
    // A connection's last callback may free timers, so these go first and wholly.
    while (evict_next(&loop->residents) || loop->residents.next != &loop->residents)
        (void)uv_run(&loop->uv, UV_RUN_ONCE);
    while (evict_next(&loop->tools))
        continue;
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->turn_end, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    int busy = uv_loop_close(&loop->uv);
    ASSERT(!busy);
    restore_sigpipe(&before, was_pending);
    mem_free(loop);
}

void loop_run(struct loop *loop)
{
    sigset_t before;
    bool was_pending = block_sigpipe(&before);
    atomic_store(&loop->owner, pthread_self());
    atomic_store(&loop->running, true);
    while (!atomic_exchange(&loop->stop, false))
        (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    atomic_store(&loop->running, false);
    restore_sigpipe(&before, was_pending);
}

int loop_start(struct loop *loop, const char *thread_name, struct err *err)
{
    ASSERT(!loop->started);
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&loop->thread, NULL, thread_main, loop);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return err_set(err, SL_EIO, "cannot start the thread %s: %s", thread_name,
                       uv_strerror(-failed));
    (void)pthread_setname_np(loop->thread, thread_name);
    loop->started = true;
    return 0;
}

void loop_join(struct loop *loop)
{
    if (!loop->started)
        return;
    (void)pthread_join(loop->thread, NULL);
    loop->started = false;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    (void)uv_async_send(&loop->wake);
}

bool loop_is_owner(const struct loop *loop)
{
    return !atomic_load(&loop->running) || pthread_equal(atomic_load(&loop->owner), pthread_self());
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return uv_now(&loop->uv);
}

void loop_post(struct loop *loop, struct loop_job *job)
{
    struct loop_job *head = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    do {
        job->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->posted, &head, job, memory_order_release,
                                                    memory_order_relaxed));
    if (!head)
        (void)uv_async_send(&loop->wake);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*run)(void *arg), void *arg)
{
    struct loop_timer *timer = MEM_NEW(struct loop_timer);
    timer->loop = loop;
    timer->run = run;
    timer->arg = arg;
    (void)uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
    timer->resident.evict = evict_timer;
    timer->resident.arg = timer;
    timer->resident.tool = true;
    loop_move_in(loop, &timer->resident);
    return timer;
}

void loop_timer_start(struct loop_timer *timer, uint64_t after_ms, uint64_t repeat_ms)
{
    (void)uv_timer_start(&timer->uv, on_timer, after_ms, repeat_ms);
}

void loop_timer_stop(struct loop_timer *timer)
{
    (void)uv_timer_stop(&timer->uv);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (!timer)
        return;
    loop_move_out(&timer->resident);
    uv_close((uv_handle_t *)&timer->uv, free_timer);
}

int loop_on_signal(struct loop *loop, int signo, void (*run)(void *arg, int signo), void *arg,
                   struct err *err)
{
    struct loop_signal *sig = MEM_NEW(struct loop_signal);
    sig->loop = loop;
    sig->run = run;
    sig->arg = arg;
    (void)uv_signal_init(&loop->uv, &sig->uv);
    sig->uv.data = sig;
    int failed = uv_signal_start(&sig->uv, on_signal, signo);
    if (failed) {
        uv_close((uv_handle_t *)&sig->uv, free_signal);
        return err_set(err, SL_EIO, "signal %d: %s", signo, uv_strerror(failed));
    }
    uv_unref((uv_handle_t *)&sig->uv);
    sig->resident.evict = evict_signal;
    sig->resident.arg = sig;
    sig->resident.tool = true;
    loop_move_in(loop, &sig->resident);
    return 0;
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

void loop_at_turn_end(struct loop *loop, struct loop_turn *turn)
{
    if (turn->queued)
        return;
    turn->queued = true;
    turn->next = NULL;
    *loop->turns_tail = turn;
    loop->turns_tail = &turn->next;
}

void loop_forget_turn(struct loop *loop, struct loop_turn *turn)
{
    if (!turn->queued)
        return;
    struct loop_turn **at = &loop->turns;
    while (*at != turn)
        at = &(*at)->next;
    *at = turn->next;
    if (loop->turns_tail == &turn->next)
        loop->turns_tail = at;
    turn->queued = false;
}

void loop_move_in(struct loop *loop, struct loop_resident *resident)
{
    struct loop_resident *ring = resident->tool ? &loop->tools : &loop->residents;
    resident->next = ring;
    resident->prev = ring->prev;
    ring->prev->next = resident;
    ring->prev = resident;
}

void loop_move_out(struct loop_resident *resident)
{
    if (!resident->next)
        return;
    resident->prev->next = resident->next;
    resident->next->prev = resident->prev;
    resident->next = resident->prev = NULL;
}

// Evicts the first resident that was not told yet; false when there is none.
static bool evict_next(struct loop_resident *ring)
{
    for (struct loop_resident *resident = ring->next; resident != ring; resident = resident->next) {
        if (resident->evicted)
            continue;
        resident->evicted = true;
        resident->evict(resident->arg);
        return true;
    }
    return false;
}

static void on_wake(uv_async_t *wake)
{
    struct loop *loop = wake->data;
    run_posted(loop);
    if (atomic_load(&loop->stop))
        uv_stop(&loop->uv);
}

static void on_turn_end(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    while (loop->turns) {
        struct loop_turn *turn = loop->turns;
        loop->turns = turn->next;
        if (!loop->turns)
            loop->turns_tail = &loop->turns;
        turn->queued = false;
        turn->run(turn->arg);
    }
}

static void run_posted(struct loop *loop)
{
    struct loop_job *newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    struct loop_job *oldest = NULL;
    while (newest) {
        struct loop_job *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct loop_job *next = oldest->next;
        oldest->run(oldest->arg);
        oldest = next;
    }
}

static void *thread_main(void *arg)
{
    loop_run(arg);
    return NULL;
}

// Returns whether one was pending before.
static bool block_sigpipe(sigset_t *out_before)
{
    sigset_t pending, pipe_only;
    (void)sigpending(&pending);
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, out_before);
    return sigismember(&pending, SIGPIPE) == 1;
}

// Eats a SIGPIPE of ours, then gives the thread its mask back.
static void restore_sigpipe(const sigset_t *before, bool was_pending)
{
    sigset_t pipe_only;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    if (!was_pending && sigismember(before, SIGPIPE) != 1) {
        struct timespec none = {0};
        (void)sigtimedwait(&pipe_only, NULL, &none);
    }
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

static void on_timer(uv_timer_t *uv)
{
    struct loop_timer *timer = uv->data;
    if (!timer->loop->closing)
        timer->run(timer->arg);
}

static void evict_timer(void *arg)
{
    loop_timer_free(arg);
}

static void free_timer(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void on_signal(uv_signal_t *uv, int signo)
{
    struct loop_signal *sig = uv->data;
    if (!sig->loop->closing)
        sig->run(sig->arg, signo);
}

static void evict_signal(void *arg)
{
    struct loop_signal *sig = arg;
    loop_move_out(&sig->resident);
    uv_close((uv_handle_t *)&sig->uv, free_signal);
}

static void free_signal(uv_handle_t *handle)
{
    mem_free(handle->data);
}
