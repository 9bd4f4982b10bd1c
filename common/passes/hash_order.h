// SPDX-License-Identifier: Apache-2.0
// The order in which CPython 3.7 with PYTHONHASHSEED=0 walks a set of strings. Fluid's transpiler
// writes such an order into attributes (grad_to_block_id); this makes ours the same, on every
// machine.
#pragma once

#include "common/base/str.h"

// Reorders list (whose strings are put into the set one after the other) and drops duplicates.
void hash_order_sort(struct str_list *list);
