// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/wire/checksum.h"

static void test_checksum_is_xxh3_64(void **state)
{
    (void)state;
    // Published vectors of XXH3-64 with seed 0.
    assert_int_equal(checksum_of(NULL, 0), 0x2d06800538d394c2ull);
    assert_int_equal(checksum_of("", 0), 0x2d06800538d394c2ull);
    assert_int_equal(checksum_of("abc", 3), 0x78af5f94892f3950ull);
}

static void test_checksum_streaming_equals_one_shot(void **state)
{
    (void)state;
    size_t bytes = 300001;
    uint8_t *data = mem_alloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 131 + (i >> 8));
    static const size_t pieces[] = {1, 7, 63, 64, 255, 256, 257, 1024, 65536, 300001};
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        struct checksum sum;
        checksum_begin(&sum);
        for (size_t at = 0; at < bytes; at += pieces[p])
            checksum_add(&sum, data + at, bytes - at < pieces[p] ? bytes - at : pieces[p]);
        assert_int_equal(checksum_end(&sum), checksum_of(data, bytes));
    }
    mem_free(data);
}

static void test_checksum_sees_every_bit(void **state)
{
    (void)state;
    uint8_t data[700];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    uint64_t right = checksum_of(data, sizeof data);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_true(checksum_of(data, sizeof data) != right);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_non_null(checksum_engine());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum_is_xxh3_64),
        cmocka_unit_test(test_checksum_streaming_equals_one_shot),
        cmocka_unit_test(test_checksum_sees_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
