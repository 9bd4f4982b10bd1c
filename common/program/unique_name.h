// SPDX-License-Identifier: Apache-2.0
// Fluid's unique names: each key counts for itself, "fc" gives fc_0, fc_1, ...; "fc_0.tmp" gives
// fc_0.tmp_0, ... A generator belongs to whoever builds a network; there is no global one.
#pragma once

#include <stdint.h>

#include "common/base/map.h"

struct unique_name {
    struct map next;            // key -> the number it gives next
};

void unique_name_init(struct unique_name *names);
void unique_name_deinit(struct unique_name *names);
// "<key>_<n>" with the key's next number; mem_free it.
char *unique_name_next(struct unique_name *names, const char *key);
// The key's numbers up to and with taken are used: the next one is higher.
void unique_name_skip(struct unique_name *names, const char *key, int64_t taken);
