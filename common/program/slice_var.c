// SPDX-License-Identifier: Apache-2.0
// One variable of a slice_map and its slices.
#include "common/base/mem.h"
#include "common/program/slice_map.h"

void slice_var_add(struct slice_var *var, int server, int64_t row, int64_t rows, const char *name)
{
    MEM_GROW(var->slices, var->slices_count, var->slices_cap);
    var->slices[var->slices_count++] =
        (struct slice){.server = server, .row = row, .rows = rows, .name = mem_must_strdup(name)};
}
