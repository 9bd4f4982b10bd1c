// SPDX-License-Identifier: Apache-2.0
// Fluid's broadcast rule for two tensors, reduced to a few nested loops. The operand of lower rank
// is laid along the dimensions [axis, axis + its rank) of the other (axis -1: the last ones); a
// side of 1 repeats. Trailing sides of 1 that stick out behind are dropped.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/dims.h"

// out and the two operands as d[0] x .. x d[rank-1]; a stride of 0 repeats. Neighbouring dimensions
// are merged, so equal shapes have rank 1; the last strides are 0 or 1.
struct broadcast {
    int rank;
    int64_t d[LIMIT_RANK];
    int64_t x[LIMIT_RANK], y[LIMIT_RANK];
    bool x_repeats, y_repeats;   // some dimension is repeated
    bool empty;                  // no elements
};

// The shape of the result; -1 sides are allowed. False when the shapes do not go together.
bool broadcast_dims(const struct dims *x, const struct dims *y, int64_t axis, struct dims *out);
// For known shapes that broadcast_dims accepted.
void broadcast_plan(const struct dims *x, const struct dims *y, int64_t axis,
                    struct broadcast *out);

// Where a run of n = d[rank-1] elements begins, in elements. Starts as {0}; broadcast_next goes to
// the next run in memory order of out, false after the last. (A plan without elements has no runs.)
struct broadcast_at {
    int64_t out, x, y;
    int64_t index[LIMIT_RANK];
};
bool broadcast_next(const struct broadcast *b, struct broadcast_at *at);

// row(out, x, y, n, x_stride, y_stride): one innermost run of n elements.
typedef void broadcast_row(void *out, const void *x, const void *y, int64_t n, int64_t x_stride,
                           int64_t y_stride);
// out has the result's shape; runs go in memory order of out.
void broadcast_walk(const struct broadcast *b, int elem_bytes, void *out, const void *x,
                    const void *y, broadcast_row *row);
