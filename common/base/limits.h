// SPDX-License-Identifier: Apache-2.0
// Every limit on something that comes from outside, in one place. Sizes are bytes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMIT_NAME_BYTES 4096              // a variable, op or attribute name
#define LIMIT_PATH_BYTES 4096
#define LIMIT_RANK 9                       // dimensions of a tensor
#define LIMIT_TENSOR_BYTES (1ull << 42)    // 4 TiB: far above any host, far below overflow
#define LIMIT_LOD_LEVELS 16
#define LIMIT_LOD_OFFSETS (1ull << 32)
#define LIMIT_TENSOR_DESC_BYTES 1024       // the TensorDesc in front of a tensor's data
#define LIMIT_PROGRAM_BYTES (512u << 20)
#define LIMIT_BLOCKS 4096
#define LIMIT_OPS_PER_BLOCK (1u << 20)
#define LIMIT_VARS_PER_BLOCK (1u << 20)
#define LIMIT_SLOT_ARGS (1u << 20)
#define LIMIT_JSON_BYTES (64u << 20)       // a manifest
#define LIMIT_CONFIG_LINE_BYTES (64u << 10)
#define LIMIT_CONFIG_FILE_BYTES (1u << 20)
#define LIMIT_SERVERS 1024
#define LIMIT_TRAINERS 4096
#define LIMIT_FRAME_BODY_BYTES (4u << 20)  // one chunk of tensor bytes
#define LIMIT_ENVELOPE_BYTES (64u << 10)   // one protobuf envelope on the wire
#define LIMIT_CONNECTIONS 8192
#define LIMIT_ROWS_BYTES (1ull << 30)   // selected rows of a slice in one push, indices included
#define LIMIT_ROWS_ARENA_BYTES (4ull << 30)   // ... of one trainer in one step on one server
#define LIMIT_LOOKUP_BYTES (64u << 20)     // row numbers that wait on one connection to be answered

// out = a * b; false on overflow.
static inline bool limit_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

// out = a + b; false on overflow.
static inline bool limit_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
