// SPDX-License-Identifier: Apache-2.0
// Rows are added in the order of the indices, so equal inputs give equal bits.

#include "common/ops/row_index.h"

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op_clones.h"

int row_index_check(const struct op_ctx *ctx, const char *name, const struct tensor *index,
                    int64_t rows)
{
    uint64_t n = tensor_count(index);
    if (index->dtype != DTYPE_INT64 && index->dtype != DTYPE_INT32)
        return err_set(ctx->err, SL_EUNSUPPORTED, "%s is %s; it must be int64 or int32", name,
                       dtype_name((int)index->dtype));
    for (uint64_t i = 0; i < n; i++) {
        int64_t at = row_index_at(index, i);
        if (at < 0 || at >= rows)
            return err_set(ctx->err, SL_EINVAL, "element %llu of %s is %lld, not in [0,%lld)",
                           (unsigned long long)i, name, (long long)at, (long long)rows);
    }
    return 0;
}

void row_index_take(struct tensor *to, const struct tensor *from, const struct tensor *index,
                    int64_t row)
{
    size_t bytes = (size_t)row * dtype_bytes(from->dtype);
    uint64_t n = bytes > 0 ? tensor_count(index) : 0;
    for (uint64_t i = 0; i < n; i++)
        memcpy((char *)to->data + i * bytes,
               (const char *)from->data + (uint64_t)row_index_at(index, i) * bytes, bytes);
}

void row_index_put(struct tensor *to, const struct tensor *from, const struct tensor *index,
                   int64_t row)
{
    size_t bytes = (size_t)row * dtype_bytes(from->dtype);
    uint64_t n = bytes > 0 ? tensor_count(index) : 0;
    for (uint64_t i = 0; i < n; i++)
        memcpy((char *)to->data + (uint64_t)row_index_at(index, i) * bytes,
               (const char *)from->data + i * bytes, bytes);
}

void row_index_clear(struct tensor *to, const struct tensor *index, int64_t row)
{
    size_t bytes = (size_t)row * dtype_bytes(to->dtype);
    uint64_t n = bytes > 0 ? tensor_count(index) : 0;
    for (uint64_t i = 0; i < n; i++)
        memset((char *)to->data + (uint64_t)row_index_at(index, i) * bytes, 0, bytes);
}

#define DEFINE_ADD(T, S)                                                                           \
    OP_CLONES static void add_##S(T *to, const T *from, const struct tensor *index, int64_t row,   \
                                  int64_t except)                                                  \
    {                                                                                              \
        uint64_t n = tensor_count(index);                                                          \
        for (uint64_t i = 0; i < n; i++) {                                                         \
            int64_t at = row_index_at(index, i);                                                   \
            T *sum = to + at * row;                                                                \
            const T *each = from + (int64_t)i * row;                                               \
            for (int64_t e = 0; at != except && e < row; e++)                                      \
                sum[e] += each[e];                                                                 \
        }                                                                                          \
    }

DEFINE_ADD(float, f32)
DEFINE_ADD(double, f64)
DEFINE_ADD(uint32_t, u32)
DEFINE_ADD(uint64_t, u64)

bool row_index_add(struct tensor *to, const struct tensor *from, const struct tensor *index,
                   int64_t row, int64_t except)
{
    switch (to->dtype) {
    case DTYPE_FP32:
        add_f32(tensor_f32(to), tensor_f32(from), index, row, except);
        return true;
    case DTYPE_FP64:
        add_f64(tensor_f64(to), tensor_f64(from), index, row, except);
        return true;
    case DTYPE_INT32:
        add_u32(to->data, from->data, index, row, except);
        return true;
    case DTYPE_INT64:
        add_u64(to->data, from->data, index, row, except);
        return true;
    default:
        return false;
    }
}
