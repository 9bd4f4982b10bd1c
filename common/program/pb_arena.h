// SPDX-License-Identifier: Apache-2.0
// A bump allocator for protobuf-c messages, capped, freed at once. Private to the program layer.
#pragma once

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

struct pb_arena_chunk;

struct pb_arena {
    struct pb_arena_chunk *chunks;
    size_t used;                    // in the newest chunk
    size_t total, total_max;        // bytes of all chunks; 0 = no cap
    ProtobufCAllocator allocator;   // for unpack: takes from this arena, frees nothing
};

// The arena must not move afterwards: its allocator points at it.
void pb_arena_init(struct pb_arena *arena, size_t total_max);
void pb_arena_deinit(struct pb_arena *arena);
// Uninitialised, aligned for anything; NULL over the cap or without memory.
void *pb_arena_take(struct pb_arena *arena, size_t bytes);
// Zeroed array; aborts without memory. For sizes that are in memory already in another form.
void *pb_arena_must(struct pb_arena *arena, size_t count, size_t bytes);
