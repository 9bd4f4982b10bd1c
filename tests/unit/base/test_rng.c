// SPDX-License-Identifier: Apache-2.0
// The random engines against values that Paddle 1.8.5 wrote, bit by bit, out of $SLUICE_GOLDENS.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

typedef void (*fill_fn)(float *out, size_t count, float a, float b, uint32_t seed, uint64_t first);

// A row of a start-up program: the file of initial values, the op, its attributes. A seed of 0
// means the program's, which the name of the case ends with.
struct row {
    const char *name;
    fill_fn fill;
    uint32_t seed;
    float a, b;
};

static const struct row initializers[] = {
    {"msra_conv", rng_fill_normal, 0, 0.0f, 0.27216553688049316f},
    {"msra_normal", rng_fill_normal, 9, 0.0f, 0.28867512941360474f},
    {"msra_uniform", rng_fill_uniform, 8, -0.5f, 0.5f},
    {"xavier_fan", rng_fill_uniform, 0, -0.6793662309646606f, 0.6793662309646606f},
    {"xavier_conv", rng_fill_normal, 0, 0.0f, 0.08528028428554535f},
    {"xavier_normal", rng_fill_normal, 6, 0.0f, 0.2182178944349289f},
    {"xavier_uniform", rng_fill_uniform, 5, -0.37796446681022644f, 0.37796446681022644f},
    {"truncated_program_seed", rng_fill_truncated_normal, 0, 0.0f, 1.0f},
    {"truncated_mid", rng_fill_truncated_normal, 41, 0.10000000149011612f, 0.5f},
    {"truncated_small", rng_fill_truncated_normal, 3, 0.0f, 1.0f},
    {"normal_program_seed", rng_fill_normal, 0, 0.0f, 1.0f},
    {"normal_mid", rng_fill_normal, 77, 0.0f, 2.0f},
    {"normal_odd", rng_fill_normal, 12345, 1.5f, 0.30000001192092896f},
    {"normal_small", rng_fill_normal, 3, 0.0f, 1.0f},
    {"uniform_program_seed", rng_fill_uniform, 0, -1.0f, 1.0f},
    {"uniform_mid", rng_fill_uniform, 99, -0.5f, 2.0f},
    {"uniform_small", rng_fill_uniform, 3, -1.0f, 1.0f},
};
static const struct row digits[] = {
    {"fc_0.w_0", rng_fill_uniform, 1234, -0.08617275208234787f, 0.08617275208234787f},
    {"fc_1.w_0", rng_fill_uniform, 1234, -0.42008402943611145f, 0.42008402943611145f},
};
static const struct row fit_a_line[] = {
    {"fc_0.w_0", rng_fill_uniform, 1234, -0.6546536684036255f, 0.6546536684036255f},
};

static const struct {
    const char *name;
    const struct row *rows;
    size_t count;
    uint32_t program_seed;
} cases[] = {
    {"initializers_1", initializers, sizeof initializers / sizeof *initializers, 1},
    {"initializers_90", initializers, sizeof initializers / sizeof *initializers, 90},
    {"initializers_2020", initializers, sizeof initializers / sizeof *initializers, 2020},
    {"digits_sgd", digits, 2, 0},
    {"digits_momentum", digits, 2, 0},
    {"digits_adam", digits, 2, 0},
    {"fit_a_line", fit_a_line, 1, 0},
};

// Compares one file; a tensor file without LoD has its data behind 20 bytes and the description.
static void check_file(const char *path, const struct row *row, uint32_t seed)
{
    struct buf file;
    struct err err = {0};
    buf_init(&file, 0);
    if (fsutil_read(path, 1u << 24, &file, &err) != 0)
        fail_msg("%s", err.text);
    int32_t description;
    memcpy(&description, file.data + 16, sizeof description);
    size_t start = 20 + (size_t)description, count = (file.bytes - start) / sizeof(float);
    assert_true(count > 0);
    float *got = mem_alloc_aligned(count * sizeof *got);
    row->fill(got, count, row->a, row->b, seed, 0);
    for (size_t i = 0; i < count; i++)
        if (memcmp(&got[i], file.data + start + i * sizeof *got, sizeof *got) != 0)
            fail_msg("%s: element %zu differs: %.9g", path, i, (double)got[i]);
    mem_free(got);
    buf_deinit(&file);
}

static void test_rng_equals_paddles_initial_values(void **state)
{
    (void)state;
    const char *root = getenv("SLUICE_GOLDENS"), *shared = getenv("SLUICE_SHARED");
    size_t files = 0;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char *dir = mem_must_printf("%s/%s/init", root ? root : "", cases[c].name);
        if (!fsutil_is_dir(dir) && shared) {
            mem_free(dir);
            dir = mem_must_printf("%s/goldens/%s/init", shared, cases[c].name);
        }
        for (size_t i = 0; fsutil_is_dir(dir) && i < cases[c].count; i++, files++) {
            const struct row *row = &cases[c].rows[i];
            char *path = fsutil_join(dir, row->name);
            check_file(path, row, row->seed ? row->seed : cases[c].program_seed);
            mem_free(path);
        }
        mem_free(dir);
    }
    if (files > 0) {
        print_message("%zu files are equal\n", files);
        return;
    }
    const char *ci = getenv("CI");
    if (ci && strcmp(ci, "true") == 0)
        fail_msg("no golden cases: set SLUICE_GOLDENS");
    print_message("no golden cases (SLUICE_GOLDENS is not set)\n");
    skip();
}

static void test_rng_minstd_steps(void **state)
{
    (void)state;
    struct rng_minstd rng;
    rng_minstd_seed(&rng, 1);
    for (int i = 0; i < 10000; i++)
        rng_minstd_canonical(&rng);
    assert_int_equal(rng.x, 399268537);   // the C++ standard's required 10000th value
    const uint32_t ones[] = {0, 1, 2147483647u, 2147483648u};
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) {
        rng_minstd_seed(&rng, ones[i]);
        assert_int_equal(rng.x, 1);
    }
    rng.x = 0;
    rng_minstd_seed(&rng, 5);
    assert_int_equal(rng.x, 5);
}

static void test_rng_canonical_stays_below_one(void **state)
{
    (void)state;
    struct rng_minstd rng;
    // The step before the engine's largest value, 2^31-2: the inverse of 48271 is 1899818559.
    rng.x = (uint32_t)(1899818559ull * 2147483646ull % 2147483647ull);
    float u = rng_minstd_canonical(&rng);
    assert_int_equal(rng.x, 2147483646);
    assert_true(u < 1.0f && u > 0.9999999f);
}

static void test_rng_splitmix_known_values(void **state)
{
    (void)state;
    uint64_t s = 1234567;
    assert_true(rng_next_u64(&s) == 6457827717110365317ull);
    assert_true(rng_next_u64(&s) == 3203168211198807973ull);
    assert_true(rng_next_u64(&s) == 9817491932198370423ull);
    assert_true(rng_entropy_u64() != rng_entropy_u64());
}

static void test_rng_gives_any_part_of_a_stream(void **state)
{
    (void)state;
    static const fill_fn fills[] = {rng_fill_uniform, rng_fill_normal, rng_fill_truncated_normal};
    static const uint64_t firsts[] = {0, 1, 2, 7, 100, 101, 998};
    float whole[1000], part[1000];
    for (size_t f = 0; f < 3; f++) {
        fills[f](whole, 1000, 0.25f, 2.0f, 77, 0);
        for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
            size_t count = 1000 - (size_t)firsts[i];
            fills[f](part, count, 0.25f, 2.0f, 77, firsts[i]);
            assert_memory_equal(part, whole + firsts[i], count * sizeof *part);
        }
    }
    struct rng_minstd far = {.x = 77};
    rng_minstd_skip(&far, 2147483646u);   // the engine's whole period
    assert_int_equal(far.x, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng_gives_any_part_of_a_stream),
        cmocka_unit_test(test_rng_equals_paddles_initial_values),
        cmocka_unit_test(test_rng_minstd_steps),
        cmocka_unit_test(test_rng_canonical_stays_below_one),
        cmocka_unit_test(test_rng_splitmix_known_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
