// SPDX-License-Identifier: Apache-2.0
// The tree of a program: it owns its blocks, they own variables and operators. A program belongs to
// one thread at a time; nothing here runs anything.
#include "common/program/program.h"

#include <stdatomic.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/program/program_pb.h"
#include "common/program/slice_map.h"

static void free_block(struct block *block);
static void clone_block(struct program *to, const struct block *from);
static uint8_t *clone_bytes(const uint8_t *data, size_t bytes);

struct program *program_new(void)
{
    struct program *program = MEM_NEW(struct program);
    program->has_version = true;
    program->version = PROGRAM_VERSION;
    program->server = -1;
    program_append_block(program, -1);
    return program;
}

void program_free(struct program *program)
{
    if (!program)
        return;
    for (size_t i = 0; i < program->blocks_count; i++)
        free_block(program->blocks[i]);
    mem_free(program->blocks);
    mem_free(program->op_compatible_map);
    mem_free(program->op_version_map);
    mem_free(program->unknown);
    if (program->slices)
        slice_map_deinit(program->slices);
    mem_free(program->slices);
    mem_free(program);
}

struct program *program_clone(const struct program *program)
{
    struct program *clone = MEM_NEW(struct program);
    *clone = *program;
    clone->blocks = NULL;
    clone->blocks_count = clone->blocks_cap = 0;
    program_touch(clone);
    clone->op_compatible_map =
        clone_bytes(program->op_compatible_map, program->op_compatible_map_bytes);
    clone->op_version_map = clone_bytes(program->op_version_map, program->op_version_map_bytes);
    clone->unknown = clone_bytes(program->unknown, program->unknown_bytes);
    for (size_t i = 0; i < program->blocks_count; i++)
        clone_block(clone, program->blocks[i]);
    if (program->slices) {
        clone->slices = MEM_NEW(struct slice_map);
        slice_map_copy(clone->slices, program->slices);
    }
    return clone;
}

// Revisions are unique in the process, so a plan cached for a freed program never fits a later one
// that happens to lie at the same address.
void program_touch(struct program *program)
{
    static atomic_uint_fast64_t last;
    program->revision = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

int program_parse(const void *data, size_t bytes, const char *name, struct program **out,
                  struct err *err)
{
    if (bytes > LIMIT_PROGRAM_BYTES)
        return err_set(err, SL_ELIMIT, "%s: %zu bytes, a program has at most %u", name, bytes,
                       LIMIT_PROGRAM_BYTES);
    struct program *program = MEM_NEW(struct program);
    program->server = -1;
    program_touch(program);
    int rc = program_pb_decode(data, bytes, program, err);
    if (rc) {
        err_prefix(err, "%s", name);
        program_free(program);
        return rc;
    }
    *out = program;
    return 0;
}

int program_load(const char *path, struct program **out, struct err *err)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_PROGRAM_BYTES);
    int rc = fsutil_read(path, LIMIT_PROGRAM_BYTES, &bytes, err);
    if (!rc)
        rc = program_parse(bytes.data, bytes.bytes, path, out, err);
    buf_deinit(&bytes);
    return rc;
}

int program_serialize(const struct program *program, struct buf *out, struct err *err)
{
    return program_pb_encode(program, out, err);
}

int program_save(const struct program *program, const char *path, struct err *err)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_PROGRAM_BYTES);
    int rc = program_serialize(program, &bytes, err);
    if (rc)
        err_prefix(err, "%s", path);
    else
        rc = fsutil_write_atomic(path, bytes.data, bytes.bytes, err);
    buf_deinit(&bytes);
    return rc;
}

struct block *program_block(const struct program *program, size_t idx)
{
    ASSERT(idx < program->blocks_count);
    return program->blocks[idx];
}

struct block *program_append_block(struct program *program, int parent_idx)
{
    struct block *block = MEM_NEW(struct block);
    block->program = program;
    block->idx = (int)program->blocks_count;
    block->parent_idx = parent_idx;
    block->has_forward_block_idx = true;    // Fluid always writes it
    block->forward_block_idx = -1;
    map_init(&block->var_by_name);
    MEM_GROW(program->blocks, program->blocks_count, program->blocks_cap);
    program->blocks[program->blocks_count++] = block;
    program_touch(program);
    return block;
}

static void free_block(struct block *block)
{
    for (size_t i = 0; i < block->vars_count; i++)
        var_desc_free(block->vars[i]);
    for (size_t i = 0; i < block->ops_count; i++)
        op_desc_free(block->ops[i]);
    mem_free(block->vars);
    mem_free(block->ops);
    map_deinit(&block->var_by_name);
    mem_free(block->unknown);
    mem_free(block);
}

static void clone_block(struct program *to, const struct block *from)
{
    struct block *block = program_append_block(to, from->parent_idx);
    block->has_forward_block_idx = from->has_forward_block_idx;
    block->forward_block_idx = from->forward_block_idx;
    block->unknown = clone_bytes(from->unknown, from->unknown_bytes);
    block->unknown_bytes = from->unknown_bytes;
    for (size_t i = 0; i < from->vars_count; i++)
        block_add_var(block, var_desc_clone(from->vars[i]));
    for (size_t i = 0; i < from->ops_count; i++)
        block_append_op(block, op_desc_clone(from->ops[i]));
}

static uint8_t *clone_bytes(const uint8_t *data, size_t bytes)
{
    if (!data)
        return NULL;
    uint8_t *copy = mem_must_calloc(bytes + 1, 1);
    return bytes ? memcpy(copy, data, bytes) : copy;
}
