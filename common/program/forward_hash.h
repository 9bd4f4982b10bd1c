// SPDX-License-Identifier: Apache-2.0
// What a program's forward part computes, as numbers that do not depend on names: two programs
// whose forward operators have equal hashes compute the same from parameters of equal shapes.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct op_desc;
struct program;

// One hash an operator of the forward part of block 0 (role forward or loss; feed and fetch left
// out), in order: over its type, its attributes and how its inputs came about. Names, is_test and
// attributes that say where and how fast something is computed do not count; a table lookup hashes
// alike whether it is local, sparse or distributed. *out is to be freed with mem_free; out_ops (may
// be NULL) gets the operators, alike. Returns how many (an operator that holds several lookups
// counts as often).
size_t forward_hash_ops(const struct program *program, uint64_t **out,
                        const struct op_desc ***out_ops);
// One number over all of them.
uint64_t forward_hash_fold(const uint64_t *hashes, size_t count);
