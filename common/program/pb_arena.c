// SPDX-License-Identifier: Apache-2.0
// Chunks double from 8 KiB, so a large program costs few allocations; a request larger than a
// chunk gets its own. A message that expands more than the cap allows fails cleanly in unpack.
#include "common/program/pb_arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/mem.h"

#define CHUNK_BYTES_MIN ((size_t)8 << 10)
#define CHUNK_BYTES_MAX ((size_t)16 << 20)

struct pb_arena_chunk {
    struct pb_arena_chunk *next;
    size_t bytes;
    alignas(max_align_t) unsigned char data[];
};

static void *take(struct pb_arena *arena, size_t bytes, bool must);
static bool grow(struct pb_arena *arena, size_t bytes, bool must);

static void *allocator_take(void *self, size_t bytes)
{
    return pb_arena_take(self, bytes);
}

static void allocator_drop(void *self, void *ptr)
{
    (void)self;
    (void)ptr;
}

void pb_arena_init(struct pb_arena *arena, size_t total_max)
{
    *arena = (struct pb_arena){.total_max = total_max,
                               .allocator = {allocator_take, allocator_drop, arena}};
}

void pb_arena_deinit(struct pb_arena *arena)
{
    while (arena->chunks) {
        struct pb_arena_chunk *next = arena->chunks->next;
        mem_free(arena->chunks);
        arena->chunks = next;
    }
}

void *pb_arena_take(struct pb_arena *arena, size_t bytes)
{
    return take(arena, bytes, false);
}

void *pb_arena_must(struct pb_arena *arena, size_t count, size_t bytes)
{
    size_t total;
    bool fits = !__builtin_mul_overflow(count, bytes, &total);
    void *out = fits ? take(arena, total, true) : NULL;
    ASSERT(out);
    return memset(out, 0, total);
}

static void *take(struct pb_arena *arena, size_t bytes, bool must)
{
    const size_t align = alignof(max_align_t);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + align - 1) / align * align;
    if ((!arena->chunks || bytes > arena->chunks->bytes - arena->used) && !grow(arena, bytes, must))
        return NULL;
    void *out = arena->chunks->data + arena->used;
    arena->used += bytes;
    return out;
}

static bool grow(struct pb_arena *arena, size_t bytes, bool must)
{
    size_t size = arena->chunks ? arena->chunks->bytes * 2 : CHUNK_BYTES_MIN;
    if (size > CHUNK_BYTES_MAX)
        size = CHUNK_BYTES_MAX;
    if (size < bytes)
        size = bytes;
    if (arena->total_max && size > arena->total_max - arena->total)
        return false;
    struct pb_arena_chunk *chunk = must ? mem_must_realloc(NULL, sizeof *chunk + size)
                                        : mem_alloc(sizeof *chunk + size);
    if (!chunk)
        return false;
    chunk->next = arena->chunks;
    chunk->bytes = size;
    arena->chunks = chunk;
    arena->total += size;
    arena->used = 0;
    return true;
}
