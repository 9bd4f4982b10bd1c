// SPDX-License-Identifier: Apache-2.0
// Scores of a few classes a sample, out of many: what hierarchical_sigmoid and nce have in common.
// Sample s has `per` entries p = s per, ..., each with a row of the weights, id[p]; a negative one
// means none (score 0, no gradient). Loops go through the entries in order, so equal inputs give
// equal bits.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/ops/op.h"

struct class_rows {
    enum dtype dtype;   // float32 or float64, of all that follows
    int64_t samples, per, width;
    const int64_t *id;    // [samples per]
    const void *x;        // [samples, width]
    const void *weight;   // [classes, width]
    const void *bias;     // [classes], or NULL
};

// score[p] = weight[id[p]] x[s] + bias[id[p]].
void class_rows_scores(const struct class_rows *c, void *score);

// Gradients from g [samples per]. dx is written; dweight and dbias are added to.
void class_rows_back_x(const struct class_rows *c, const void *g, void *dx);
void class_rows_back_weight(const struct class_rows *c, const void *g, void *dweight);
void class_rows_back_bias(const struct class_rows *c, const void *g, void *dbias);
// The same gradient of the weights as selected rows, sorted; all ids that are not negative are
// among them. tall is the shape of the weights. Uses the two temporaries.
int class_rows_back_sparse(struct op_ctx *ctx, const struct class_rows *c, const void *g,
                           const struct dims *tall, struct tensor temps[2],
                           struct selected_rows *dweight);
