// SPDX-License-Identifier: Apache-2.0
// The allocator seam over malloc. The fault hook counts down over the allocations that may fail
// (mem_alloc and friends); mem_must_* are not hooked, because their failure ends the process.
// Any thread may allocate; the counters are atomic.
#include "common/base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LARGE_BYTES (4u << 20)
#define LARGE_PAGE_BYTES (2u << 20)
#define ALIGN_BYTES 64

static atomic_long fail_countdown;
static atomic_ulong allocation_count;

static bool must_fail_now(size_t bytes);
static void *or_abort(void *ptr, size_t bytes);

void *mem_alloc(size_t bytes)
{
    return must_fail_now(bytes) ? NULL : malloc(bytes ? bytes : 1);
}

void *mem_calloc(size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        total = SIZE_MAX;
    return must_fail_now(total) ? NULL : calloc(count ? count : 1, bytes ? bytes : 1);
}

void *mem_realloc(void *old, size_t bytes)
{
    return must_fail_now(bytes) ? NULL : realloc(old, bytes ? bytes : 1);
}

void *mem_alloc_aligned(size_t bytes)
{
    void *ptr = NULL;
    if (must_fail_now(bytes))
        return NULL;
    // Large pages spare the copies in and out of sockets most of their address look-ups.
    bool large = bytes >= LARGE_BYTES;
    if (posix_memalign(&ptr, large ? LARGE_PAGE_BYTES : ALIGN_BYTES, bytes ? bytes : 1) != 0)
        return NULL;
    if (large)
        (void)madvise(ptr, bytes, MADV_HUGEPAGE);
    return ptr;
}

void mem_free(void *ptr)
{
    free(ptr);
}

void *mem_must_calloc(size_t count, size_t bytes)
{
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    return or_abort(calloc(count ? count : 1, bytes ? bytes : 1), bytes);
}

void *mem_must_realloc(void *old, size_t bytes)
{
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    return or_abort(realloc(old, bytes ? bytes : 1), bytes);
}

char *mem_must_strdup(const char *text)
{
    return mem_must_strndup(text, strlen(text));
}

char *mem_must_strndup(const char *text, size_t bytes)
{
    size_t used = strnlen(text, bytes);
    char *copy = mem_must_calloc(used + 1, 1);
    memcpy(copy, text, used);
    return copy;
}

char *mem_must_printf(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int bytes = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    size_t used = bytes < 0 ? 0 : (size_t)bytes;
    char *text = mem_must_calloc(used + 1, 1);
    va_start(args, fmt);
    vsnprintf(text, used + 1, fmt, args);
    va_end(args);
    return text;
}

void mem_fail_nth(long nth)
{
    atomic_store(&fail_countdown, nth);
}

unsigned long mem_allocation_count(void)
{
    return atomic_load(&allocation_count);
}

// Counts one allocation; true for the one that the fault hook picked, and for sizes that no object
// can have.
static bool must_fail_now(size_t bytes)
{
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    if (bytes > PTRDIFF_MAX)
        return true;
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) <= 0)
        return false;
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

static void *or_abort(void *ptr, size_t bytes)
{
    if (ptr)
        return ptr;
    fprintf(stderr, "out of memory (%zu bytes)\n", bytes);
    abort();
}
