// SPDX-License-Identifier: Apache-2.0
// Rows of a matrix named by an index tensor: the loops of gather, scatter and lookup tables. Every
// index is checked before anything is moved.
#pragma once

#include "common/ops/op.h"

// An index tensor (int32 or int64), read as int64.
static inline int64_t row_index_at(const struct tensor *index, uint64_t i)
{
    return index->dtype == DTYPE_INT64 ? tensor_i64(index)[i] : tensor_i32(index)[i];
}

// SL_EUNSUPPORTED for another type; SL_EINVAL when an index is not in [0, rows). `name` is the
// slot.
int row_index_check(const struct op_ctx *ctx, const char *name, const struct tensor *index,
                    int64_t rows);

// With to and from as [.., row] matrices of `row` elements each; later indices come later.
void row_index_take(struct tensor *to, const struct tensor *from, const struct tensor *index,
                    int64_t row);   // to[i] = from[index[i]]
void row_index_put(struct tensor *to, const struct tensor *from, const struct tensor *index,
                   int64_t row);   // to[index[i]] = from[i]
void row_index_clear(struct tensor *to, const struct tensor *index, int64_t row);
// to[index[i]] += from[i], but where index[i] is `except` (-1: nowhere). False for an element type
// that is not float32, float64, int32 or int64.
bool row_index_add(struct tensor *to, const struct tensor *from, const struct tensor *index,
                   int64_t row, int64_t except);
