// SPDX-License-Identifier: Apache-2.0
// Counting what is not a number that one can go on with.
#pragma once

#include <stddef.h>

#include "common/tensor/dtype.h"

// How many of the elements in bytes bytes are NaN or infinite; 0 for types that have no such.
size_t finite_count_others(enum dtype dtype, const void *data, size_t bytes);
