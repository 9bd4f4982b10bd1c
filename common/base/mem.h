// SPDX-License-Identifier: Apache-2.0
// The one allocator seam, with a fault hook for tests.
// mem_alloc and friends return NULL on failure: use them for every size that a user, file or peer
// chose. mem_must_* abort with a message: only for small sizes that the program itself fixes.
// Everything is released with mem_free (NULL is fine).
#pragma once

#include <stddef.h>

void *mem_alloc(size_t bytes);                 // not zeroed; bytes 0 gives a unique pointer
void *mem_calloc(size_t count, size_t bytes);  // zeroed; NULL on overflow too
void *mem_realloc(void *old, size_t bytes);    // old stays valid on failure
void *mem_alloc_aligned(size_t bytes);         // 64-byte aligned, for tensor data; zero-length fine
void mem_free(void *ptr);

void *mem_must_calloc(size_t count, size_t bytes);
void *mem_must_realloc(void *old, size_t bytes);
char *mem_must_strdup(const char *text);
char *mem_must_strndup(const char *text, size_t bytes);
char *mem_must_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define MEM_NEW(type) ((type *)mem_must_calloc(1, sizeof(type)))

// Makes room for one more element in a growing array (doubling). items is the array's pointer
// variable, count the used elements, cap a size_t with the capacity.
#define MEM_GROW(items, count, cap)                                                                \
    do {                                                                                           \
        if ((count) >= (cap)) {                                                                    \
            (cap) = (cap) ? (cap) * 2 : 8;                                                         \
            (items) = mem_must_realloc((items), (cap) * sizeof *(items));                          \
        }                                                                                          \
    } while (0)

// Tests: makes the nth allocation from now (1 = next) fail, once; 0 switches off. mem_must_* are
// not counted and do not fail.
void mem_fail_nth(long nth);
// Tests and benchmarks: allocations made since process start (for "no allocation in steady state").
unsigned long mem_allocation_count(void);
