// SPDX-License-Identifier: Apache-2.0
// A ProgramDesc: blocks of variables and operators. Block 0 is the global one; a block sees the
// variables of its ancestors. The order of variables and operators is kept as read or appended.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"
#include "common/program/op_desc.h"
#include "common/program/var_desc.h"

struct buf;
struct err;
struct slice_map;

#define PROGRAM_VERSION 1008005         // what Paddle 1.8.5 writes

struct block {
    struct program *program;
    int idx;
    int parent_idx;                     // -1 for block 0
    bool has_forward_block_idx;
    int forward_block_idx;
    struct var_desc **vars;
    size_t vars_count, vars_cap;
    struct map var_by_name;
    struct op_desc **ops;
    size_t ops_count, ops_cap;
    uint8_t *unknown;
    size_t unknown_bytes;
};

struct program {
    struct block **blocks;
    size_t blocks_count, blocks_cap;
    bool has_version;
    int64_t version;
    uint32_t random_seed;               // Python's side: initializers write it into their ops
    uint8_t *op_compatible_map;         // carried from file to file, not looked into; NULL: absent
    size_t op_compatible_map_bytes;
    uint8_t *op_version_map;
    size_t op_version_map_bytes;
    uint8_t *unknown;                   // fields of newer writers, kept as they came
    size_t unknown_bytes;
    uint64_t revision;   // grows with every structural change: plans are cached by it
    // A transpiled program also knows where the slices live (owned; NULL otherwise) and which
    // server it is for (-1: a trainer's).
    struct slice_map *slices;
    int server;
};

struct program *program_new(void);      // one empty block, version PROGRAM_VERSION
void program_free(struct program *program);
struct program *program_clone(const struct program *program);
void program_touch(struct program *program);    // call after changing ops or variables by hand

// Decodes and checks limits, required fields, and block indices: a parent comes before its block, a
// block that an operator names comes behind the operator's. name stands in errors.
int program_parse(const void *data, size_t bytes, const char *name, struct program **out,
                  struct err *err);
int program_load(const char *path, struct program **out, struct err *err);
// Serialises; a program that was read and not changed gives the same bytes.
int program_serialize(const struct program *program, struct buf *out, struct err *err);
int program_save(const struct program *program, const char *path, struct err *err);

struct block *program_block(const struct program *program, size_t idx);
struct block *program_append_block(struct program *program, int parent_idx);

struct var_desc *block_var(const struct block *block, const char *name);       // own only
struct var_desc *block_find_var(const struct block *block, const char *name);  // ancestors too
struct var_desc *block_add_var(struct block *block,
                               struct var_desc *take);   // existing name: replaced
void block_remove_var(struct block *block, const char *name);
struct op_desc *block_append_op(struct block *block, struct op_desc *take);
void block_insert_op(struct block *block, size_t at, struct op_desc *take);
void block_remove_op(struct block *block, size_t at);
