// SPDX-License-Identifier: Apache-2.0
// XXH3-64 (seed 0) of frame headers and bodies, on the widest vector unit of this processor.
// One-shot and streaming give the same number.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Streaming state; storage only, private to checksum.c. No allocation, no destructor.
struct checksum {
    _Alignas(64) uint8_t state[640];
};

uint64_t checksum_of(const void *data, size_t bytes);      // data may be NULL when bytes is 0
void checksum_begin(struct checksum *sum);
void checksum_add(struct checksum *sum, const void *data, size_t bytes);
uint64_t checksum_end(const struct checksum *sum);         // may be called again after more adds
const char *checksum_engine(void);                 // "avx512", "avx2" or "plain", for reports
