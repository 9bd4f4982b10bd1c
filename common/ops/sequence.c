// SPDX-License-Identifier: Apache-2.0
// Reading and giving LoD. Nothing here depends on an op. Invariant: offsets that sequence_read
// hands out start at 0, never fall, and end at the number of rows below, so kernels index with them
// freely.

#include "common/ops/sequence.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"

int sequence_read(const struct op_ctx *ctx, const char *slot, const struct tensor *t,
                  struct sequences *out)
{
    return sequence_read_level(ctx, slot, t, -1, out);
}

int sequence_read_only(const struct op_ctx *ctx, const char *slot, const struct tensor *t,
                       struct sequences *out)
{
    if (t->lod_levels > 1)
        return err_set(ctx->err, SL_EMISMATCH, "%s has %d LoD levels; this op takes one", slot,
                       t->lod_levels);
    return sequence_read(ctx, slot, t, out);
}

int sequence_read_level(const struct op_ctx *ctx, const char *slot, const struct tensor *t,
                        int level, struct sequences *out)
{
    char text[DIMS_TEXT_MAX];
    int at = level < 0 ? t->lod_levels + level : level;
    if (t->lod_levels == 0)
        return err_set(ctx->err, SL_EMISMATCH, "%s %s has no LoD: it is no batch of sequences",
                       slot, dims_format(&t->dims, text));
    if (at < 0 || at >= t->lod_levels)
        return err_set(ctx->err, SL_EMISMATCH, "%s has %d LoD levels, there is no level %d", slot,
                       t->lod_levels, level);
    if (t->dims.rank < 1 || !tensor_lod_is_valid(t))
        return err_set(ctx->err, SL_EMISMATCH,
                       "%s %s: its LoD does not fit: offsets must begin with 0, not fall, and end "
                       "with the number of rows",
                       slot, dims_format(&t->dims, text));
    out->offsets = t->lod[at].offsets;
    out->count = t->lod[at].count - 1;
    out->width = dims_product(&t->dims, 1, t->dims.rank);
    return 0;
}

int sequence_check_rows(const struct op_ctx *ctx, const char *slot, const struct tensor *t,
                        const struct sequences *s, int64_t rows)
{
    char text[DIMS_TEXT_MAX];
    if (t->dims.rank < 1 || t->dims.d[0] != rows ||
        dims_product(&t->dims, 1, t->dims.rank) != s->width)
        return err_set(ctx->err, SL_EMISMATCH, "%s %s must be %lld rows of %lld elements", slot,
                       dims_format(&t->dims, text), (long long)rows, (long long)s->width);
    return 0;
}

int sequence_size(const struct op_ctx *ctx, struct tensor *out, enum dtype dtype,
                  const struct dims *dims)
{
    int rc = sequence_check_apart(ctx, out);
    return rc < 0 ? rc : op_resize(out, dtype, dims, ctx->err);
}

int sequence_check_apart(const struct op_ctx *ctx, const struct tensor *out)
{
    for (int s = 0; ctx->def->inputs[s].name != NULL; s++)
        for (size_t i = 0; i < ctx->in[s].count; i++)
            if (op_in_at(ctx, s, i) == out)
                return err_set(ctx->err, SL_EINVAL, "an output may not be the input %s itself",
                               ctx->def->inputs[s].name);
    return 0;
}

int sequence_take_lod(const struct op_ctx *ctx, struct tensor *out, const struct tensor *from,
                      int levels)
{
    int rc = tensor_set_lod(out, levels, from->lod);
    return rc < 0 ? err_set(ctx->err, rc, "LoD of an output: %s", err_name(rc)) : 0;
}

int sequence_level(const struct op_ctx *ctx, struct tensor *out, int levels, int level,
                   size_t count, uint64_t **out_offsets)
{
    int rc = tensor_reserve_lod(out, levels, level, count);
    if (rc < 0)
        return err_set(ctx->err, rc, "LoD of an output: %zu offsets: %s", count, err_name(rc));
    *out_offsets = out->lod[level].offsets;
    return 0;
}

int sequence_back_same(const struct op_ctx *ctx, const struct tensor *dout, struct tensor *dx)
{
    if (dx == NULL)
        return 0;
    if (dout->dtype != dx->dtype || tensor_bytes(dout) != tensor_bytes(dx))
        return err_set(ctx->err, SL_EMISMATCH, "Out@GRAD has not the type and size of X");
    if (tensor_bytes(dx) > 0 && dx->data != dout->data)
        memcpy(dx->data, dout->data, tensor_bytes(dx));
    return 0;
}

int sequence_check_level(const struct op_shape *shape, int s, int least)
{
    const struct op_var_dims *in = op_shape_in(shape, s, 0);
    if (shape->building && in->lod_level < least)
        return err_set(shape->err, SL_EMISMATCH,
                       "%s has LoD level %d: it must be a batch of sequences (level %d or more)",
                       shape->def->inputs[s].name, in->lod_level, least);
    return 0;
}

void sequence_set_shape(const struct op_shape *shape, int s, const struct dims *dims, int dtype,
                        int lod_level)
{
    struct op_var_dims *out = op_shape_out(shape, s, 0);
    if (out == NULL)
        return;
    op_shape_set(shape, s, 0, dims, dtype, NULL);
    out->lod_level = lod_level > 0 ? lod_level : 0;
}
