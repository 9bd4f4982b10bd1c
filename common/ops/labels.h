// SPDX-License-Identifier: Apache-2.0
// Class numbers (hard labels): int64 or int32, one for each row, checked once before the loops.
#pragma once

#include <limits.h>

#include "common/ops/op.h"

#define LABELS_IGNORE_NONE LLONG_MIN

struct labels {
    const struct tensor *tensor;
    int64_t classes, ignore_index;
};

// SL_EUNSUPPORTED for another type, SL_EMISMATCH for another count than rows, SL_EINVAL for a label
// that is neither in [0, classes) nor ignore_index.
int labels_check(const struct op_ctx *ctx, const struct labels *labels, int64_t rows);

static inline int64_t labels_at(const struct labels *labels, int64_t row)
{
    const struct tensor *t = labels->tensor;
    return t->dtype == DTYPE_INT64 ? tensor_i64(t)[row] : tensor_i32(t)[row];
}
