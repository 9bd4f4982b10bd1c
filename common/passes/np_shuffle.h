// SPDX-License-Identifier: Apache-2.0
// numpy.random.seed(seed); numpy.random.shuffle(list): the legacy generator (MT19937), bit for bit.
// Fluid deals uncut parameters to the servers in this order.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Fills order[0..count) with the shuffled indices 0..count-1.
void np_shuffle_order(uint32_t seed, size_t *order, size_t count);
