// SPDX-License-Identifier: Apache-2.0
// Cutting a batch among workers, and joining what they made. Private.
#pragma once

#include <stdint.h>

#include "common/tensor/variable.h"

struct err;

// Samples of a fed tensor: sequences of its outermost level, or rows.
int64_t parallel_cut_samples(const struct tensor *t);
// Which samples of n >= workers are worker's: as many as n / workers rounded up, the last ones what
// is left (5 over 3: 2, 2, 1), as Fluid deals them; where that leaves a worker without any (4 over
// 3), the first workers have one more than the others.
void parallel_cut_range(int64_t n, int workers, int worker, int64_t *out_first, int64_t *out_count);
// to borrows these samples of from, with their LoD. Allocates only when LoD grows.
int parallel_cut_view(const struct tensor *from, int64_t first, int64_t count, struct tensor *to);
// out becomes all parts one after the other along dimension 0, LoD too; selected rows likewise.
// Shapes behind dimension 0 and types must be equal (SL_EMISMATCH, which names the workers).
int parallel_cut_join(const struct variable *const *parts, int count, struct variable *out,
                      struct err *err);
