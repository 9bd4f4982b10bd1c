// SPDX-License-Identifier: Apache-2.0
// A counting gate over a POSIX semaphore. Any thread may open, any may wait.
#include "common/net/gate.h"

#include <errno.h>
#include <semaphore.h>
#include <time.h>

#include "common/base/assert.h"
#include "common/base/mem.h"

struct gate {
    sem_t sem;
};

struct gate *gate_new(void)
{
    struct gate *gate = MEM_NEW(struct gate);
    int failed = sem_init(&gate->sem, 0, 0);
    ASSERT(!failed);
    return gate;
}

void gate_free(struct gate *gate)
{
    if (!gate)
        return;
    (void)sem_destroy(&gate->sem);
    mem_free(gate);
}

void gate_open(struct gate *gate)
{
    int failed = sem_post(&gate->sem);
    ASSERT(!failed);
}

void gate_wait(struct gate *gate)
{
    while (sem_wait(&gate->sem) < 0)
        ASSERT(errno == EINTR);
}

bool gate_wait_ms(struct gate *gate, uint64_t timeout_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (sem_clockwait(&gate->sem, CLOCK_MONOTONIC, &until) < 0) {
        if (errno == ETIMEDOUT)
            return false;
        ASSERT(errno == EINTR);
    }
    return true;
}
