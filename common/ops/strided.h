// SPDX-License-Identifier: Apache-2.0
// Moving elements between two strided layouts of one index space: what transposing, slicing,
// padding, cropping, repeating and reversing have in common. Strides count elements; they may be
// negative (backwards), and 0 where one element stands for many.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"

#define STRIDED_RANK_MAX (2 * LIMIT_RANK)

struct strided {
    int rank;
    int64_t d[STRIDED_RANK_MAX];
    int64_t to[STRIDED_RANK_MAX], from[STRIDED_RANK_MAX];
    bool empty;   // some side is 0: nothing moves
};

// Row-major strides of dims into out[rank].
void strided_of(const struct dims *dims, int64_t *out);
// Adds a dimension inside the ones that are there; neighbours that lie as one are merged.
// At most STRIDED_RANK_MAX times; s starts zeroed.
void strided_add_dim(struct strided *s, int64_t d, int64_t to, int64_t from);

// to[..] = from[..] and to[..] += from[..] over the whole index space in row-major order. The two
// memories may not overlap. Additions know float32, float64, int32 and int64 (else false).
void strided_copy(const struct strided *s, enum dtype dtype, void *to, const void *from);
bool strided_accumulate(const struct strided *s, enum dtype dtype, void *to, const void *from);
