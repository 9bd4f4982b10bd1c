// SPDX-License-Identifier: Apache-2.0
// The index list and the value belong together: value.dims.d[0] == rows_count, held by whoever
// fills them. The list grows by need and is never shrunk, so nothing is allocated in steady state.
#include "common/tensor/selected_rows.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

void selected_rows_init(struct selected_rows *sr)
{
    *sr = (struct selected_rows){0};
    tensor_init(&sr->value);
}

void selected_rows_deinit(struct selected_rows *sr)
{
    if (!sr)
        return;
    mem_free(sr->rows);
    tensor_deinit(&sr->value);
    selected_rows_init(sr);
}

int selected_rows_resize(struct selected_rows *sr, size_t count)
{
    if (count > sr->rows_cap) {
        uint64_t bytes;
        if (!limit_mul_u64(count, sizeof *sr->rows, &bytes) || bytes > LIMIT_TENSOR_BYTES)
            return SL_ELIMIT;
        int64_t *grown = mem_realloc(sr->rows, bytes);
        if (!grown)
            return SL_ENOMEM;
        sr->rows = grown;
        sr->rows_cap = count;
    }
    sr->rows_count = count;
    return 0;
}

int selected_rows_shape(struct selected_rows *sr, int64_t height, size_t count, enum dtype dtype,
                        const struct dims *tall)
{
    struct dims dims = *tall;
    if (dims.rank < 1 || count > INT64_MAX / 2)
        return SL_EINVAL;
    int64_t room = (int64_t)(sr->rows_cap + sr->rows_cap / 2);
    if (count > sr->rows_cap && room > (int64_t)count) {
        if (selected_rows_resize(sr, (size_t)room) == 0) {
            dims.d[0] = room;
            (void)tensor_resize(&sr->value, dtype, &dims);
        }
    }
    dims.d[0] = (int64_t)count;
    int rc = selected_rows_resize(sr, count);
    if (!rc)
        rc = tensor_resize(&sr->value, dtype, &dims);
    if (!rc)
        sr->height = height;
    return rc;
}

int selected_rows_copy(struct selected_rows *dst, const struct selected_rows *src)
{
    if (dst == src)
        return 0;
    int rc = tensor_copy(&dst->value, &src->value);
    if (!rc)
        rc = selected_rows_resize(dst, src->rows_count);
    if (rc)
        return rc;
    if (src->rows_count)
        memcpy(dst->rows, src->rows, src->rows_count * sizeof *dst->rows);
    dst->height = src->height;
    return 0;
}
