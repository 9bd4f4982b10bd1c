// SPDX-License-Identifier: Apache-2.0
// The system's clocks. Only shells read them; pure code takes the time as an argument.
#include "common/base/clock.h"

#include <string.h>
#include <time.h>

#include "common/base/assert.h"

uint64_t clock_now_ms(void)
{
    return clock_now_ns() / 1000000u;
}

uint64_t clock_now_ns(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t clock_wall_s(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return now.tv_sec;
}

void clock_format_time(int64_t wall_s, char *text)
{
    struct tm local;
    time_t seconds = (time_t)wall_s;
    if (!localtime_r(&seconds, &local) || strftime(text, 16, "%H:%M:%S", &local) == 0)
        memcpy(text, "--:--:--", 9);
}
