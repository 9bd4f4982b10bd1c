// SPDX-License-Identifier: Apache-2.0
// Sequences laid out time step by time step, the way recurrent ops compute: rows of step 0 of all
// sequences, then those of step 1, ...; within a step the longest sequence comes first. Sequences
// that have ended are simply missing, so each step's rows are a prefix of the sequences of the
// step before. The order of sequences of equal length is Fluid's, which is visible in outputs like
// BatchGate.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/ops/op.h"

struct seq_batch {
    int64_t rows, sequences, steps;
    const int64_t *starts;   // steps + 1: the rows of step n are [starts[n], starts[n+1])
    const int64_t *row;      // rows: which row of the sequences lies there
    const int64_t *order;    // sequences: their ids, longest first
    bool reverse;
};

// For the sequences of input, name being its slot. temp keeps the numbers. With reverse each
// sequence begins at its end. SL_EINVAL unless input has one level of LoD that is valid.
int seq_batch_make(const struct op_ctx *ctx, const char *name, const struct tensor *input,
                   bool reverse, struct tensor *temp, struct seq_batch *out);
// The numbers as three levels of LoD (starts, row, order), which is how Fluid hands them on.
int seq_batch_mark(const struct op_ctx *ctx, const struct seq_batch *batch, struct tensor *t);

static inline int64_t seq_batch_rows_of(const struct seq_batch *batch, int64_t step)
{
    return batch->starts[step + 1] - batch->starts[step];
}

// Rows of `bytes` each: to[i] = from[row[i]], and back. No row overlaps another.
void seq_batch_gather(const struct seq_batch *batch, void *to, const void *from, size_t bytes);
void seq_batch_scatter(const struct seq_batch *batch, void *to, const void *from, size_t bytes);
// One row a sequence: to[i] = from[order[i]], and back.
void seq_batch_take(const struct seq_batch *batch, void *to, const void *from, size_t bytes);
void seq_batch_put(const struct seq_batch *batch, void *to, const void *from, size_t bytes);
// For each row of the steps from 1 on, the row one step earlier of the same sequence:
// to[i - starts[1]] = from[row of the step before], with `from` in the order of the sequences.
void seq_batch_gather_before(const struct seq_batch *batch, void *to, const void *from,
                             size_t bytes);
