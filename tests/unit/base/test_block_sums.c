// SPDX-License-Identifier: Apache-2.0
// Sums of blocks, however the stream is cut.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/block_sums.h"
#include "common/base/mem.h"

static char *sums_of(const uint8_t *data, size_t bytes, size_t step)
{
    struct block_sums *sums = block_sums_new();
    for (size_t at = 0; at < bytes; at += step)
        block_sums_add(sums, data + at, bytes - at < step ? bytes - at : step);
    return block_sums_end(sums);
}

static void test_any_cut_gives_the_same_sums(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, BLOCK_SUMS_BYTES - 1, BLOCK_SUMS_BYTES, 2 * BLOCK_SUMS_BYTES + 7};
    uint8_t *data = mem_alloc(3 * BLOCK_SUMS_BYTES);
    for (size_t i = 0; i < 3 * BLOCK_SUMS_BYTES; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *whole = sums_of(data, sizes[i], sizes[i] + 1);
        char *pieces = sums_of(data, sizes[i], 99991);
        assert_string_equal(whole, pieces);
        assert_true(block_sums_fits(whole, sizes[i]));
        assert_false(block_sums_fits(whole, sizes[i] + BLOCK_SUMS_BYTES));
        for (uint64_t b = 0; b * BLOCK_SUMS_BYTES < sizes[i]; b++) {
            size_t left = sizes[i] - (size_t)b * BLOCK_SUMS_BYTES;
            assert_true(block_sums_at(whole, b) ==
                        block_sums_of(data + b * BLOCK_SUMS_BYTES,
                                      left < BLOCK_SUMS_BYTES ? left : BLOCK_SUMS_BYTES));
        }
        mem_free(whole);
        mem_free(pieces);
    }
    mem_free(data);
}

static void test_other_texts_do_not_fit(void **state)
{
    (void)state;
    assert_true(block_sums_fits("", 0));
    assert_true(block_sums_fits("0123456789abcdef", 5));
    assert_false(block_sums_fits("0123456789abcdef", 0));
    assert_false(block_sums_fits("0123456789ABCDEF", 5));
    assert_false(block_sums_fits("0123456789abcde", 5));
    assert_false(block_sums_fits("0123456789abcdeg", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_cut_gives_the_same_sums),
        cmocka_unit_test(test_other_texts_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
