// SPDX-License-Identifier: Apache-2.0
// Checksums (XXH3-64, seed 0) of a stream in blocks of one size, so that a reader of a part need
// look at no more than its blocks. As text: 16 hexadecimal digits a block, in order.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_SUMS_BYTES (4u << 20)
#define BLOCK_SUMS_DIGITS 16

struct block_sums;

struct block_sums *block_sums_new(void);
void block_sums_add(struct block_sums *sums, const void *data, size_t bytes);
// The text (mem_free it), "" of an empty stream; sums is gone.
char *block_sums_end(struct block_sums *sums);
// The sum of one block.
uint64_t block_sums_of(const void *data, size_t bytes);
// Sum number i of a text of at least i + 1; the text must be digits (block_sums_fits).
uint64_t block_sums_at(const char *text, uint64_t i);
// Is text the sums of a stream of so many bytes: the right number of lower-case digits?
bool block_sums_fits(const char *text, uint64_t bytes);
