// SPDX-License-Identifier: Apache-2.0
// The canonical text of a program, and the difference between two. Equal programs give equal text:
// operators in order; variables, slots and attributes sorted; INT and BOOLEAN unified;
// op_callstack, op_namescope and the digits of __control_var@... left out; tmp_dc_output_N numbered
// modulo 4.
#pragma once

#include <stdbool.h>

struct buf;
struct err;
struct program;

void program_text_format(const struct program *program, struct buf *out);
// true when equal; otherwise out_diff (may be NULL) gets the first differences, one hunk each, with
// block, op index and the two texts.
bool program_text_diff(const struct program *a, const struct program *b, struct buf *out_diff);
