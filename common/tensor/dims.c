// SPDX-License-Identifier: Apache-2.0
// Shapes: pure arithmetic, overflow-checked where the numbers come from outside (dims_count).
#include "common/tensor/dims.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"

struct dims dims_make(int rank, const int64_t *d)
{
    ASSERT(rank >= 0 && rank <= LIMIT_RANK);
    struct dims dims = {.rank = rank};
    for (int i = 0; i < rank; i++)
        dims.d[i] = d[i];
    return dims;
}

bool dims_equal(const struct dims *a, const struct dims *b)
{
    return a->rank == b->rank && !memcmp(a->d, b->d, (size_t)a->rank * sizeof a->d[0]);
}

int64_t dims_product(const struct dims *dims, int from, int to)
{
    ASSERT(from >= 0 && to <= dims->rank);
    int64_t product = 1;
    for (int i = from; i < to; i++)
        product *= dims->d[i];
    return product;
}

bool dims_count(const struct dims *dims, size_t elem_bytes, uint64_t *out)
{
    // A zero anywhere empties the tensor, but the other dimensions must still be sane: the product
    // of any of them is taken by kernels.
    uint64_t count = 1, nonzero = elem_bytes ? elem_bytes : 1;
    for (int i = 0; i < dims->rank; i++) {
        if (dims->d[i] < 0)
            return false;
        uint64_t d = (uint64_t)dims->d[i];
        if (d && !limit_mul_u64(nonzero, d, &nonzero))
            return false;
        count = d ? count * d : 0;
    }
    if (nonzero > LIMIT_TENSOR_BYTES)
        return false;
    *out = count;
    return true;
}

const char *dims_format(const struct dims *dims, char *text)
{
    size_t used = 0;
    text[used++] = '[';
    for (int i = 0; i < dims->rank; i++)
        used += (size_t)snprintf(text + used, DIMS_TEXT_MAX - used, "%s%" PRId64, i ? "," : "",
                                 dims->d[i]);
    text[used++] = ']';
    text[used] = 0;
    return text;
}
