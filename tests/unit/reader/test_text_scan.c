// SPDX-License-Identifier: Apache-2.0
// Numbers out of text: as strtof and strtod round them, and nothing else is a number.
#include "tests/unit/storage/temp_folder.h"

#include <float.h>
#include <math.h>

#include "common/base/rng.h"
#include "common/reader/text_scan.h"

static struct text_scan scan_of(const char *text)
{
    return (struct text_scan){text, text + strlen(text)};
}

static void test_whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } rows[] = {
        {"0", true, 0},
        {"007", true, 7},
        {"18446744073709551615", true, UINT64_MAX},
        {"9223372036854775808", true, 1ull << 63},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"x", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text_scan scan = scan_of(rows[i].text);
        uint64_t value = 99;
        assert_int_equal(text_scan_u64(&scan, &value), rows[i].good);
        assert_true(value == (rows[i].good ? rows[i].value : 99));
        assert_true(rows[i].good ? scan.at == scan.end : scan.at == rows[i].text);
    }
    int64_t value;
    struct text_scan scan = scan_of("-9223372036854775808");
    assert_true(text_scan_i64(&scan, &value) && value == INT64_MIN);
    scan = scan_of("9223372036854775808");
    assert_false(text_scan_i64(&scan, &value));
    scan = scan_of("-");
    assert_false(text_scan_i64(&scan, &value));
    scan = scan_of("+5");
    assert_true(text_scan_i64(&scan, &value) && value == 5);
}

static void expect_as_libc(const char *text)
{
    struct text_scan scan = scan_of(text);
    float narrow = -1, narrow_wanted = strtof(text, NULL);
    double wide = -1, wide_wanted = strtod(text, NULL);
    assert_int_equal(text_scan_f32(&scan, &narrow), isfinite(narrow_wanted));
    if (isfinite(narrow_wanted) && (scan.at != scan.end || memcmp(&narrow, &narrow_wanted, 4)))
        fail_msg("%s: %.9g, strtof has %.9g", text, (double)narrow, (double)narrow_wanted);
    scan = scan_of(text);
    assert_int_equal(text_scan_f64(&scan, &wide), isfinite(wide_wanted));
    if (isfinite(wide_wanted) && (scan.at != scan.end || memcmp(&wide, &wide_wanted, 8)))
        fail_msg("%s: %.17g, strtod has %.17g", text, wide, wide_wanted);
}

static void test_fractions_round_as_libc_does(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",
                                        "-0",
                                        "0.0",
                                        ".5",
                                        "5.",
                                        "1e0",
                                        "-1.5e-3",
                                        "16777217",
                                        "16777219",
                                        "33554435",
                                        "0.1",
                                        "0.3",
                                        "1e22",
                                        "1e23",
                                        "1e-22",
                                        "1e-23",
                                        "9007199254740993",
                                        "9007199254740992.5",
                                        "1.00000005960464477539062",
                                        "1.000000059604644775390625",
                                        "1.00000017881393432617187",
                                        "1.000000178813934326171875",
                                        "3.4028234e38",
                                        "3.4028236e38",
                                        "1e39",
                                        "1e400",
                                        "-1e400",
                                        "1.17549435e-38",
                                        "1.4e-45",
                                        "7e-46",
                                        "1e-400",
                                        "4.9e-324",
                                        "2.2250738585072011e-308",
                                        "00000000000000000000000000001.5",
                                        "123456789012345678901234567890",
                                        "0.000000000000000000000000000000000000000000001",
                                        "1e99999999999",
                                        "0e99999999999",
                                        "5e-99999999999",
                                        "8388608.5",
                                        "8388609.5",
                                        "1e+5",
                                        "1E5"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_as_libc(texts[i]);
    uint64_t seed = 3;
    for (int i = 0; i < 200000; i++) {
        char text[64];
        uint64_t bits = rng_next_u64(&seed), how = rng_next_u64(&seed);
        double value = (double)(bits >> (how % 60)) / pow(10, (double)(how >> 8 & 15));
        snprintf(text, sizeof text, how & 64 ? "%.*e" : "%.*f", (int)(how >> 16 & 15), value);
        expect_as_libc(text);
        // Half way between two floats, and just beside it.
        float one = (float)value;
        double half = ((double)one + (double)nextafterf(one, FLT_MAX)) / 2;
        snprintf(text, sizeof text, "%.*g", 16 + (int)(how >> 20 & 3), half);
        expect_as_libc(text);
    }
}

static void test_what_is_no_number(void **state)
{
    (void)state;
    static const char *const texts[] = {"",    "-",   "+",    ".",  "e5", "-.",
                                        "nan", "inf", "-inf", "x1", " 1", "--1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct text_scan scan = scan_of(texts[i]);
        float narrow;
        double wide;
        assert_false(text_scan_f32(&scan, &narrow));
        assert_false(text_scan_f64(&scan, &wide));
        assert_ptr_equal(scan.at, texts[i]);
    }
    // A number ends where it ends; what is behind is the caller's.
    struct text_scan scan = scan_of("1.5e");
    float value;
    assert_true(text_scan_f32(&scan, &value));
    assert_false(text_scan_ends(&scan));
    assert_string_equal(scan.at, "e");
    scan = scan_of("0x10");
    assert_true(text_scan_f32(&scan, &value));
    assert_string_equal(scan.at, "x10");
    char shown[TEXT_SCAN_SHOWN], longer[300];
    const char odd[] = "a\0\x80 b";
    scan = (struct text_scan){odd, odd + sizeof odd - 1};
    assert_string_equal(text_scan_show(&scan, odd, shown), "`a\\x00\\x80`");
    memset(longer, 1, sizeof longer);
    scan = (struct text_scan){longer, longer + sizeof longer};
    assert_int_equal(strlen(text_scan_show(&scan, longer, shown)), 2 + 40 * 4 + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_fractions_round_as_libc_does),
        cmocka_unit_test(test_what_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
