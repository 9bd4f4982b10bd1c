// SPDX-License-Identifier: Apache-2.0
// Turning a matrix in tiles, so that both sides are read and written along short runs.

#include "common/ops/layout.h"

#include "common/base/err.h"
#include "common/ops/op.h"

#define TILE 16

// to [cols, rows] = from [rows, cols], turned.
#define DEFINE_TURN(T, S)                                                                          \
    static void turn_##S(T *to, const T *from, int64_t rows, int64_t cols)                         \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r += TILE) {                                                 \
            int64_t r_end = r + TILE < rows ? r + TILE : rows;                                     \
            for (int64_t c = 0; c < cols; c += TILE) {                                             \
                int64_t c_end = c + TILE < cols ? c + TILE : cols;                                 \
                for (int64_t j = c; j < c_end; j++)                                                \
                    for (int64_t i = r; i < r_end; i++)                                            \
                        to[j * rows + i] = from[i * cols + j];                                     \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_TURN(uint32_t, u32)
DEFINE_TURN(uint64_t, u64)

static int turn(struct op_ctx *ctx, struct tensor *to, const struct tensor *from, int64_t rows,
                int64_t cols)
{
    size_t bytes = dtype_bytes(from->dtype);
    if (bytes != 4 && bytes != 8)
        return op_bad_dtype(ctx, (int)from->dtype);
    for (int64_t n = 0; n < from->dims.d[0]; n++) {
        int64_t at = n * rows * cols;
        if (bytes == 4)
            turn_u32((uint32_t *)to->data + at, (const uint32_t *)from->data + at, rows, cols);
        else
            turn_u64((uint64_t *)to->data + at, (const uint64_t *)from->data + at, rows, cols);
    }
    return 0;
}

static struct dims channels_first(const struct tensor *t)
{
    const int64_t d[] = {t->dims.d[0], t->dims.d[3], t->dims.d[1], t->dims.d[2]};
    return dims_make(4, d);
}

int layout_input(struct op_ctx *ctx, int temp, const struct tensor *t, bool channels_last,
                 const struct tensor **out)
{
    struct tensor *turned = channels_last ? &ctx->temps[temp] : NULL;
    *out = t;
    if (!channels_last)
        return 0;
    struct dims dims = channels_first(t);
    int rc = op_resize(turned, t->dtype, &dims, ctx->err);
    if (rc < 0)
        return rc;
    *out = turned;
    return turn(ctx, turned, t, t->dims.d[1] * t->dims.d[2], t->dims.d[3]);
}

int layout_output(struct op_ctx *ctx, int temp, struct tensor *t, bool channels_last,
                  struct tensor **out)
{
    *out = t;
    if (t == NULL || !channels_last)
        return 0;
    struct dims dims = channels_first(t);
    *out = &ctx->temps[temp];
    return op_resize(*out, t->dtype, &dims, ctx->err);
}

int layout_finish(struct op_ctx *ctx, struct tensor *t, const struct tensor *out)
{
    if (t == NULL || t == out)
        return 0;
    return turn(ctx, t, out, out->dims.d[1], out->dims.d[2] * out->dims.d[3]);
}
