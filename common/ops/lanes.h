// SPDX-License-Identifier: Apache-2.0
// Sums over a run of memory in OP_LANES interleaved partial sums that are folded in order: one
// fixed order on every machine and at every vector width, and more exact than one long chain.
#pragma once

#include <stddef.h>

float lanes_sum_f32(const float *x, size_t n);
double lanes_sum_f64(const double *x, size_t n);

// The sum of squares, added up in double, so that pieces add up to what the whole gives.
double lanes_squares_f32(const float *x, size_t n);
double lanes_squares_f64(const double *x, size_t n);
