// SPDX-License-Identifier: Apache-2.0
// A shape. -1 stands for "not known yet" in descriptions only; a tensor never has it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"

struct dims {
    int rank;                       // 0..LIMIT_RANK
    int64_t d[LIMIT_RANK];
};

#define DIMS_TEXT_MAX 256

struct dims dims_make(int rank, const int64_t *d);
bool dims_equal(const struct dims *a, const struct dims *b);
// Product of d[from..to); 1 when empty. Only for dims already checked (dims_count).
int64_t dims_product(const struct dims *dims, int from, int to);
// Elements in out; false when a dimension is negative or the product overflows or leaves
// LIMIT_TENSOR_BYTES for elements of elem_bytes.
bool dims_count(const struct dims *dims, size_t elem_bytes, uint64_t *out);
// "[784,24]" into text of DIMS_TEXT_MAX bytes; returns text.
const char *dims_format(const struct dims *dims, char *text);
