// SPDX-License-Identifier: Apache-2.0
// Chunks double from 64 KiB, so a large program costs few allocations; a request larger than a
// chunk gets its own. A message that expands more than the cap allows fails cleanly in unpack.
#include "common/program/pb_arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/mem.h"

#define CHUNK_BYTES_MIN ((size_t)64 << 10)
#define CHUNK_BYTES_MAX ((size_t)16 << 20)

struct pb_arena_chunk {
    struct pb_arena_chunk *next;
    size_t bytes;
    alignas(max_align_t) unsigned char data[];
};

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
    const size_t align = alignof(max_align_t);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + align - 1) / align * align;
    if (!arena->chunks || bytes > arena->chunks->bytes - arena->used) {
        size_t size = arena->chunks ? arena->chunks->bytes * 2 : CHUNK_BYTES_MIN;
        if (size > CHUNK_BYTES_MAX)
            size = CHUNK_BYTES_MAX;
        if (size < bytes)
            size = bytes;
        if (arena->total_max && size > arena->total_max - arena->total)
            return NULL;
        struct pb_arena_chunk *chunk = mem_alloc(sizeof *chunk + size);
        if (!chunk)
            return NULL;
        chunk->next = arena->chunks;
        chunk->bytes = size;
        arena->chunks = chunk;
        arena->total += size;
        arena->used = 0;
    }
    void *out = arena->chunks->data + arena->used;
    arena->used += bytes;
    return out;
}

void *pb_arena_must(struct pb_arena *arena, size_t count, size_t bytes)
{
    size_t total;
    bool fits = !__builtin_mul_overflow(count, bytes, &total);
    void *out = fits ? pb_arena_take(arena, total) : NULL;
    ASSERT(out && "out of memory");
    return memset(out, 0, total);
}
