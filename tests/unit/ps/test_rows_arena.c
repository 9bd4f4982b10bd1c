// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ps/rows_arena.h"

static void test_rows_arena_pieces_do_not_move_or_overlap(void **unused)
{
    (void)unused;
    struct rows_arena arena;
    struct err err = {0};
    rows_arena_init(&arena, 1u << 20);
    for (int step = 0; step < 4; step++) {
        uint8_t *pieces[20];
        for (size_t i = 0; i < 20; i++) {
            pieces[i] = rows_arena_take(&arena, i * (size_t)(step + 1) * 37, &err);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % 64, 0);
            memset(pieces[i], (int)i, i * (size_t)(step + 1) * 37);
        }
        for (size_t i = 1; i < 20; i++)
            assert_int_equal(pieces[i][i * (size_t)(step + 1) * 37 - 1], i);
        rows_arena_next(&arena);
    }
    rows_arena_deinit(&arena);
}

static void test_rows_arena_grows_between_steps_only(void **unused)
{
    (void)unused;
    struct rows_arena arena;
    rows_arena_init(&arena, 1u << 20);
    unsigned long before = 0;
    for (int step = 0; step < 6; step++) {
        for (int i = 0; i < 8; i++)
            assert_non_null(rows_arena_take(&arena, 1000, NULL));
        rows_arena_next(&arena);
        if (step == 0)
            before = mem_allocation_count();
    }
    assert_int_equal(mem_allocation_count(), before);
    rows_arena_deinit(&arena);
}

static void test_rows_arena_has_a_cap(void **unused)
{
    (void)unused;
    struct rows_arena arena;
    struct err err = {0};
    rows_arena_init(&arena, 4096);
    for (int step = 0; step < 3; step++) {
        assert_non_null(rows_arena_take(&arena, 4096 - 64 - 128, &err));
        assert_non_null(rows_arena_take(&arena, 63, &err));
        assert_null(rows_arena_take(&arena, 64, &err));
        assert_int_equal(err.code, SL_EREFUSED);
        assert_non_null(strstr(err.text, "more than 4096 bytes"));
        assert_null(rows_arena_take(&arena, 4097, NULL));
        assert_null(rows_arena_take(&arena, UINT64_MAX, NULL));
        assert_non_null(rows_arena_take(&arena, 0, &err));
        rows_arena_next(&arena);
    }
    rows_arena_deinit(&arena);
}

static void test_rows_arena_without_memory(void **unused)
{
    (void)unused;
    struct rows_arena arena;
    struct err err = {0};
    rows_arena_init(&arena, 1u << 20);
    for (long nth = 1; nth <= 2; nth++) {
        mem_fail_nth(nth);
        assert_null(rows_arena_take(&arena, 100, &err));
        assert_int_equal(err.code, SL_ENOMEM);
    }
    assert_non_null(rows_arena_take(&arena, 100, &err));
    mem_fail_nth(1);
    rows_arena_next(&arena);
    mem_fail_nth(0);
    assert_non_null(rows_arena_take(&arena, 100, &err));   // a piece of its own
    rows_arena_next(&arena);
    rows_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_arena_pieces_do_not_move_or_overlap),
        cmocka_unit_test(test_rows_arena_grows_between_steps_only),
        cmocka_unit_test(test_rows_arena_has_a_cap),
        cmocka_unit_test(test_rows_arena_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
