// SPDX-License-Identifier: Apache-2.0
// Folders step_000, step_001, ... that hold one Fluid tensor file a variable: exact batches as
// recorded, and the place where --fetch_dir writes.
#pragma once

#include <stdint.h>

struct err;
struct variable;

// Writes dir/step_NNN/name (folders are made; name is checked like any variable's).
int feed_dir_write(const char *dir, int64_t step, const char *name, const struct variable *value,
                   struct err *err);
