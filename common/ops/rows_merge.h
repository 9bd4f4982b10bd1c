// SPDX-License-Identifier: Apache-2.0
// Merging of selected rows: which rows are there, sorted and each once, and for each of them the
// sum of its values in the order in which they occur (several inputs one after the other: a server
// gives its trainers' in ascending id). Equal inputs give equal bits, whatever the memory.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/selected_rows.h"

struct err;

#define ROWS_MERGE_TOTAL_MAX (1u << 31)   // rows of all inputs together

// Rows and their values, [count, width]; values may be NULL where only rows are asked for.
struct rows_merge_in {
    const int64_t *rows;
    size_t count;
    const void *values;
};

// What rows_merge_find found; it points into the work tensor and lives as long as that is left
// alone. Row k is rows[k]; it occurs at the positions order[starts[k]] .. order[starts[k + 1] - 1],
// ascending; positions count through all inputs. (For a lookup: copy what came for row k to each of
// its positions.)
struct rows_merge {
    const int64_t *rows;
    size_t count;
    const uint32_t *starts;   // count + 1
    const uint32_t *order;    // total
    size_t total;
    bool sorted;   // one input had rows sorted and distinct already: rows are its own, no order
};

// Finds the distinct rows. work is any tensor that is kept from call to call (a kernel's temp): it
// grows by doubling, so nothing is allocated in steady state. SL_EINVAL when a row is not in
// [0, height); SL_ELIMIT when there are more than ROWS_MERGE_TOTAL_MAX, or height times the number
// of rows does not fit 64 bits; SL_ENOMEM. When every input is empty, count is 0.
int rows_merge_find(struct tensor *work, const struct rows_merge_in *in, size_t inputs,
                    int64_t height, struct rows_merge *out, struct err *err);
// As rows_merge_find, but order and starts are always made, also when rows were sorted already.
int rows_merge_find_order(struct tensor *work, const struct rows_merge_in *in, size_t inputs,
                          int64_t height, struct rows_merge *out, struct err *err);
// out [m->count, width] = the sums; out is none of the inputs' memory.
void rows_merge_sum_f32(const struct rows_merge *m, const struct rows_merge_in *in, size_t inputs,
                        int64_t width, float *out);
void rows_merge_sum_f64(const struct rows_merge *m, const struct rows_merge_in *in, size_t inputs,
                        int64_t width, double *out);

// Does a gradient fit a parameter: its type, rows, row shape; as many values as indices?
// SL_EMISMATCH if not. (Without rows its value may have any shape.)
int rows_merge_check(const struct selected_rows *grad, const struct tensor *param, struct err *err);

// Both steps on variables. dst becomes the merge of the inputs (none of which is dst), with the
// first one's height and row shape. SL_EMISMATCH when heights, row shapes or types differ,
// SL_EUNSUPPORTED for another element type than float32 and float64.
int rows_merge_into(struct selected_rows *dst, struct tensor *work,
                    const struct selected_rows *const *in, size_t inputs, struct err *err);
// The same into one of the inputs. work: two temps.
int rows_merge_in_place(struct selected_rows *dst, struct tensor *work,
                        const struct selected_rows *const *in, size_t inputs, struct err *err);
