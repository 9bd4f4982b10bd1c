// SPDX-License-Identifier: Apache-2.0
// The memory of one batch: a column a feed, grown sample by sample, that a variable then borrows.
// A batch keeps its memory for the next one, so nothing is allocated in steady state.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/variable.h"

// Elements of one feed, sample by sample: sample i of the batch has elements starts[i] ..
// starts[i + 1] - 1.
struct reader_column {
    size_t unit;   // bytes of an element
    char *data;
    size_t count, cap;         // elements
    uint64_t *starts, *rows;   // rows: starts in rows, for LoD
    size_t samples, samples_cap;
};

void reader_column_init(struct reader_column *column, size_t unit);
void reader_column_deinit(struct reader_column *column);
void reader_column_clear(struct reader_column *column);   // no samples; keeps the memory
// Room for count more elements of the current sample, contents undefined; NULL without memory.
void *reader_column_add(struct reader_column *column, size_t count);
// Elements of the current sample so far.
size_t reader_column_pending(const struct reader_column *column);
// Ends the current sample. SL_ENOMEM.
int reader_column_end(struct reader_column *column);
// value becomes [samples, dims...], or with sequence [rows of all samples, dims...] with one level
// of LoD; the elements of each sample fill whole rows (SL_EFORMAT). It borrows the memory until the
// column is next changed.
int reader_column_show(struct reader_column *column, enum dtype dtype, const struct dims *dims,
                       bool sequence, struct variable *value);
