// SPDX-License-Identifier: Apache-2.0
// The counters live in the map's value pointers: a number of at most intptr size, no allocation a
// key.
#include "common/program/unique_name.h"

#include <inttypes.h>
#include <stdint.h>

#include "common/base/mem.h"

void unique_name_init(struct unique_name *names)
{
    map_init(&names->next);
}

void unique_name_deinit(struct unique_name *names)
{
    map_deinit(&names->next);
}

char *unique_name_next(struct unique_name *names, const char *key)
{
    uintptr_t number = (uintptr_t)map_get(&names->next, key);
    map_set(&names->next, key, (void *)(number + 1));
    return mem_must_printf("%s_%" PRIuPTR, key, number);
}

void unique_name_skip(struct unique_name *names, const char *key, int64_t taken)
{
    uintptr_t next = (uintptr_t)map_get(&names->next, key);
    if (taken >= 0 && (uintptr_t)taken >= next)
        map_set(&names->next, key, (void *)((uintptr_t)taken + 1));
}
