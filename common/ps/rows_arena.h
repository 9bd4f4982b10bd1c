// SPDX-License-Identifier: Apache-2.0
// Memory for the selected rows that one trainer pushes in one step.
//
// How many rows come is known from the first header of each gradient only. Pieces are cut from one
// block; what does not fit gets a block of its own. At the step's end all pieces are given back at
// once and the block grows to what the step had needed, so that steady steps allocate nothing.
// Invariant: a piece does not move before rows_arena_next. Owner: the loop thread.
#pragma once

#include <stdint.h>

struct err;
struct rows_arena_extra;

struct rows_arena {
    uint8_t *base;
    uint64_t bytes, used;
    uint64_t wanted;   // by this step, extras included
    uint64_t most;     // of wanted
    struct rows_arena_extra *extras;
};

void rows_arena_init(struct rows_arena *arena, uint64_t most);
void rows_arena_deinit(struct rows_arena *arena);
// At least 1 byte, aligned for any element. NULL: SL_EREFUSED above the cap, SL_ENOMEM.
void *rows_arena_take(struct rows_arena *arena, uint64_t bytes, struct err *err);
// The step is over: nobody uses its pieces any more.
void rows_arena_next(struct rows_arena *arena);
