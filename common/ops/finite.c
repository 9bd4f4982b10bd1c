// SPDX-License-Identifier: Apache-2.0
// A number is not finite when all bits of its exponent are set. Whole checkpoints go through here,
// so the loops are made for vectors.

#include "common/ops/finite.h"

#include <stdint.h>

#include "common/ops/op_clones.h"

#define DEFINE_FINITE(T, EXPONENT)                                                                 \
    OP_CLONES static size_t others_##T(const T *v, size_t n)                                       \
    {                                                                                              \
        size_t others = 0;                                                                         \
        for (size_t i = 0; i < n; i++)                                                             \
            others += (v[i] & (EXPONENT)) == (EXPONENT);                                           \
        return others;                                                                             \
    }
DEFINE_FINITE(uint16_t, 0x7c00u)
DEFINE_FINITE(uint32_t, 0x7f800000u)
DEFINE_FINITE(uint64_t, 0x7ff0000000000000u)

size_t finite_count_others(enum dtype dtype, const void *data, size_t bytes)
{
    switch (dtype) {
    case DTYPE_FP16:
        return others_uint16_t(data, bytes / sizeof(uint16_t));
    case DTYPE_FP32:
        return others_uint32_t(data, bytes / sizeof(uint32_t));
    case DTYPE_FP64:
        return others_uint64_t(data, bytes / sizeof(uint64_t));
    default:
        return 0;
    }
}
