// SPDX-License-Identifier: Apache-2.0
// OP_CLONES builds a hot loop once per vector width and picks one when the program starts. It never
// changes a result: contraction to FMA is off, and reductions name their lanes (OP_LANES partial
// sums folded in one fixed order), so every clone does the same additions.
#pragma once

#include <stddef.h>

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_THREAD__) &&              \
    !defined(__clang__)
#define OP_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define OP_CLONES
#endif

#define OP_LANES 16
