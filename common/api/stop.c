// SPDX-License-Identifier: Apache-2.0
// A signal is a property of the process, so this is the one place with process-wide state: the
// descriptors of the thread and the count of signals.
#include "common/api/stop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/err.h"

static struct {
    atomic_int count;
    int signals;   // signalfd
    int end;       // eventfd: written once, ends the thread
    pthread_t thread;
    bool running;
    void (*on_stop)(void *self, int count);
    void *self;
} stop;

static void *watch(void *unused);

int stop_start(void (*on_stop)(void *self, int count), void *self, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    stop.on_stop = on_stop;
    stop.self = self;
    stop.signals = signalfd(-1, &set, SFD_CLOEXEC);
    stop.end = eventfd(0, EFD_CLOEXEC);
    if (stop.signals < 0 || stop.end < 0)
        return err_set(err, SL_EIO, "cannot watch for signals: %s", strerror(errno));
    int rc = pthread_create(&stop.thread, NULL, watch, NULL);
    if (rc)
        return err_set(err, SL_EIO, "cannot start a thread: %s", strerror(rc));
    stop.running = true;
    return 0;
}

bool stop_requested(void)
{
    return atomic_load_explicit(&stop.count, memory_order_relaxed) > 0;
}

void stop_end(void)
{
    if (!stop.running)
        return;
    stop.running = false;
    eventfd_write(stop.end, 1);
    pthread_join(stop.thread, NULL);
    close(stop.signals);
    close(stop.end);
}

static void *watch(void *unused)
{
    (void)unused;
    struct pollfd fds[] = {{.fd = stop.signals, .events = POLLIN},
                           {.fd = stop.end, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents)
            return NULL;
        struct signalfd_siginfo info;
        if (!fds[0].revents || read(stop.signals, &info, sizeof info) != (ssize_t)sizeof info)
            continue;
        int count = atomic_fetch_add(&stop.count, 1) + 1;
        stop.on_stop(stop.self, count);
    }
}
