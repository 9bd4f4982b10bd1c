// SPDX-License-Identifier: Apache-2.0
// What ops of sequences share: reading a tensor's LoD (checked before it is used as indices) and
// giving outputs a LoD of their own. Sequence k of a level are the rows [offsets[k], offsets[k+1])
// of what lies below: the next level's sequences, or the tensor's rows.
#pragma once

#include "common/ops/op.h"

// One level as a kernel walks it.
struct sequences {
    const uint64_t *offsets;   // count + 1 of them, borrowed from the tensor
    size_t count;
    int64_t width;   // elements of one row of the tensor
};

// Length of sequence k.
static inline int64_t sequence_length(const struct sequences *s, size_t k)
{
    return (int64_t)(s->offsets[k + 1] - s->offsets[k]);
}

// The last level of t. SL_EMISMATCH when t has no LoD or one that does not fit it; `slot` names t
// in the error.
int sequence_read(const struct op_ctx *ctx, const char *slot, const struct tensor *t,
                  struct sequences *out);
// The same for ops that take one level only: SL_EMISMATCH when there are more.
int sequence_read_only(const struct op_ctx *ctx, const char *slot, const struct tensor *t,
                       struct sequences *out);
// Level `level` (-1: the last); what it counts are sequences of the next level or rows.
int sequence_read_level(const struct op_ctx *ctx, const char *slot, const struct tensor *t,
                        int level, struct sequences *out);
// The same for t seen as sequences that another tensor's LoD cuts: SL_EMISMATCH unless t has as
// many rows as s names. For gradients.
int sequence_check_rows(const struct op_ctx *ctx, const char *slot, const struct tensor *t,
                        const struct sequences *s, int64_t rows);

// Sizes an output: out takes dtype and dims, keeping its memory when it is large enough. SL_EINVAL
// when out is one of the op's inputs, which would be overwritten while it is read.
int sequence_size(const struct op_ctx *ctx, struct tensor *out, enum dtype dtype,
                  const struct dims *dims);
// That check alone.
int sequence_check_apart(const struct op_ctx *ctx, const struct tensor *out);
// out's LoD becomes the first `levels` levels of from.
int sequence_take_lod(const struct op_ctx *ctx, struct tensor *out, const struct tensor *from,
                      int levels);
// out gets a LoD of `levels` levels, and level `level` room for `count` offsets, for the kernel to
// write to out_offsets; the other levels stay.
int sequence_level(const struct op_ctx *ctx, struct tensor *out, int levels, int level,
                   size_t count, uint64_t **out_offsets);

// The gradient where Out holds X's values in the same order: dx (NULL: not wanted) takes dout's.
int sequence_back_same(const struct op_ctx *ctx, const struct tensor *dout, struct tensor *dx);

// For infer_shape, while a program is built: SL_EMISMATCH when input s has fewer LoD levels than
// `least`, as Fluid checks it.
int sequence_check_level(const struct op_shape *shape, int s, int least);
// An output's dims and LoD level where the level is no input's.
void sequence_set_shape(const struct op_shape *shape, int s, const struct dims *dims, int dtype,
                        int lod_level);
