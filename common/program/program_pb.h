// SPDX-License-Identifier: Apache-2.0
// A whole program and its bytes. Private to the program layer.
#pragma once

#include <stddef.h>

struct buf;
struct err;
struct program;

// Fills an empty program (no blocks yet). On failure it is half filled.
int program_pb_decode(const void *data, size_t bytes, struct program *out, struct err *err);
int program_pb_encode(const struct program *program, struct buf *out, struct err *err);
