// SPDX-License-Identifier: Apache-2.0
// Fluid's unique names: a counter a key, "fc" -> "fc_0", "fc_1", ...
#pragma once

#include "common/base/map.h"

struct program;

struct unique_name {
    struct map counts;              // key -> how many were made, as a pointer-sized number
};

void unique_name_init(struct unique_name *names);
void unique_name_deinit(struct unique_name *names);
// "<key>_<n>", n counted for each key from 0; mem_free it.
char *unique_name_make(struct unique_name *names, const char *key);
// Goes on where the variables of a program stand: "fc_3.tmp_1" means that fc_0..fc_3 and fc_3.tmp_0,
// fc_3.tmp_1 are taken.
void unique_name_continue(struct unique_name *names, const struct program *program);
