// SPDX-License-Identifier: Apache-2.0
// The allocator seam: the fault hook, zero sizes, alignment, overflow.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/mem.h"

static void test_mem_fail_nth_fails_once_at_the_nth(void **state)
{
    (void)state;
    for (long nth = 1; nth <= 4; nth++) {
        void *got[5] = {0};
        mem_fail_nth(nth);
        got[0] = mem_alloc(1);
        got[1] = mem_calloc(2, 3);
        got[2] = mem_realloc(NULL, 4);
        got[3] = mem_alloc_aligned(5);
        got[4] = mem_alloc(6);
        for (long i = 0; i < 5; i++) {
            assert_int_equal(got[i] == NULL, i == nth - 1);
            mem_free(got[i]);
        }
    }
    mem_fail_nth(1);
    mem_fail_nth(0);
    void *again = mem_alloc(1);
    assert_non_null(again);
    mem_free(again);
}

static void test_mem_must_is_not_hooked(void **state)
{
    (void)state;
    mem_fail_nth(1);
    char *text = mem_must_printf("%d-%s", 7, "x");
    assert_string_equal(text, "7-x");
    mem_free(text);
    assert_null(mem_alloc(1));
}

static void test_mem_realloc_keeps_old_on_failure(void **state)
{
    (void)state;
    char *text = mem_alloc(4);
    memcpy(text, "abc", 4);
    mem_fail_nth(1);
    assert_null(mem_realloc(text, 400));
    assert_string_equal(text, "abc");
    mem_free(text);
}

static void test_mem_sizes_and_alignment(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 63, 64, 65, 4096};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *ptr = mem_alloc_aligned(sizes[i]);
        assert_non_null(ptr);
        assert_int_equal((uintptr_t)ptr % 64, 0);
        memset(ptr, 1, sizes[i]);
        mem_free(ptr);
    }
    void *a = mem_alloc(0), *b = mem_alloc(0);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    mem_free(a);
    mem_free(b);
    mem_free(NULL);
}

static void test_mem_calloc_refuses_overflow(void **state)
{
    (void)state;
    volatile size_t many = SIZE_MAX / 2;
    assert_null(mem_calloc(many, 4));
}

static void test_mem_grow_doubles(void **state)
{
    (void)state;
    int *items = NULL;
    size_t count = 0, cap = 0;
    for (int i = 0; i < 100; i++) {
        MEM_GROW(items, count, cap);
        items[count++] = i;
    }
    assert_int_equal(cap, 128);
    assert_int_equal(items[99], 99);
    mem_free(items);
}

static void test_mem_counts_allocations(void **state)
{
    (void)state;
    unsigned long before = mem_allocation_count();
    mem_free(mem_alloc(1));
    mem_free(mem_must_strdup("x"));
    assert_int_equal(mem_allocation_count() - before, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_fail_nth_fails_once_at_the_nth),
        cmocka_unit_test(test_mem_must_is_not_hooked),
        cmocka_unit_test(test_mem_realloc_keeps_old_on_failure),
        cmocka_unit_test(test_mem_sizes_and_alignment),
        cmocka_unit_test(test_mem_calloc_refuses_overflow),
        cmocka_unit_test(test_mem_grow_doubles),
        cmocka_unit_test(test_mem_counts_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
