// SPDX-License-Identifier: Apache-2.0
// See rows_arena.h.
#include "common/ps/rows_arena.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

#define ARENA_ALIGN 64u

struct rows_arena_extra {
    struct rows_arena_extra *next;
    void *data;
};

static void free_extras(struct rows_arena *arena);

void rows_arena_init(struct rows_arena *arena, uint64_t most)
{
    memset(arena, 0, sizeof *arena);
    arena->most = most;
}

void rows_arena_deinit(struct rows_arena *arena)
{
    free_extras(arena);
    mem_free(arena->base);
    memset(arena, 0, sizeof *arena);
}

void *rows_arena_take(struct rows_arena *arena, uint64_t bytes, struct err *err)
{
    uint64_t room = bytes <= arena->most ? (bytes / ARENA_ALIGN + 1) * ARENA_ALIGN : bytes;
    if (room > arena->most - arena->wanted) {
        err_set(err, SL_EREFUSED,
                "its sparse gradients of one step have more than %llu bytes on this server",
                (unsigned long long)arena->most);
        return NULL;
    }
    arena->wanted += room;
    if (room <= arena->bytes - arena->used) {
        void *data = arena->base + arena->used;
        arena->used += room;
        return data;
    }
    struct rows_arena_extra *extra = mem_calloc(1, sizeof *extra);
    void *data = extra ? mem_alloc_aligned((size_t)room) : NULL;
    if (!data) {
        mem_free(extra);
        err_set(err, SL_ENOMEM, "no memory for %llu bytes of a sparse gradient",
                (unsigned long long)bytes);
        return NULL;
    }
    *extra = (struct rows_arena_extra){.next = arena->extras, .data = data};
    arena->extras = extra;
    return data;
}

void rows_arena_next(struct rows_arena *arena)
{
    free_extras(arena);
    if (arena->wanted > arena->bytes) {
        // Half as much again: batches differ a little from step to step.
        uint64_t bytes = arena->wanted + arena->wanted / 2;
        bytes = bytes < arena->most ? bytes : arena->wanted;
        mem_free(arena->base);
        arena->base = mem_alloc_aligned((size_t)bytes);
        arena->bytes = arena->base ? bytes : 0;   // without memory every piece is an extra one
    }
    arena->used = arena->wanted = 0;
}

static void free_extras(struct rows_arena *arena)
{
    while (arena->extras) {
        struct rows_arena_extra *extra = arena->extras;
        arena->extras = extra->next;
        mem_free(extra->data);
        mem_free(extra);
    }
}
