// SPDX-License-Identifier: Apache-2.0
// Where the sequences of tags lie for the CRF ops: rows of tags, either packed (one level of LoD)
// or padded to the same number of rows each, with a tensor of lengths.
#pragma once

#include <stdint.h>

#include "common/ops/op.h"

struct crf_seq {
    int64_t count;
    const uint64_t *offsets;       // packed
    const struct tensor *length;   // padded, int64 or int32
    int64_t stride;                // padded: rows a sequence
};

// For `emission`: [rows, tags] with the LoD of lod_of (whose slot is name), or [count, stride,
// tags] with length. SL_EINVAL and SL_EMISMATCH when lengths or LoD do not fit.
int crf_seq_init(const struct op_ctx *ctx, const char *name, const struct tensor *emission,
                 const struct tensor *lod_of, const struct tensor *length, struct crf_seq *out);

static inline int64_t crf_seq_start(const struct crf_seq *seq, int64_t i)
{
    return seq->length == NULL ? (int64_t)seq->offsets[i] : i * seq->stride;
}

static inline int64_t crf_seq_length(const struct crf_seq *seq, int64_t i)
{
    if (seq->length == NULL)
        return (int64_t)(seq->offsets[i + 1] - seq->offsets[i]);
    return seq->length->dtype == DTYPE_INT64 ? tensor_i64(seq->length)[i]
                                             : tensor_i32(seq->length)[i];
}

// Shapes of Emission (slot `emission`), Transition and, when it is given, Length: [rows, tags] and
// [tags + 2, tags], or [count, stride, tags] and [count, 1] or [count].
int crf_seq_check(const struct op_shape *shape, int emission, int transition, int length);
// Has slot s a tag for each row: the shape of Emission with 1 in place of tags, or without it?
int crf_seq_check_tags(const struct op_shape *shape, int emission, int s);
