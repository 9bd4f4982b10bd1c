// SPDX-License-Identifier: Apache-2.0
// Mersenne Twister in both widths (Matsumoto and Nishimura), as the C++ standard fixes it. The
// distributions are those of libstdc++: integers by equal parts of the engine's range, what is left
// over drawn again; reals in double from one number of 64 bits or two of 32, the low half first.

#include "common/ops/nce_sampler.h"

#include <math.h>

#include "common/base/rng.h"

struct mt64 {
    uint64_t x[312];
    int at;
};

struct mt32 {
    uint32_t x[624];
    int at;
};

static void mt64_seed(struct mt64 *mt, uint64_t seed);
static uint64_t mt64_next(struct mt64 *mt);
static void mt32_seed(struct mt32 *mt, uint32_t seed);
static uint32_t mt32_next(struct mt32 *mt);

// [0, classes) by equal parts of 2^64.
static int64_t integer_of_64(struct mt64 *mt, uint64_t classes)
{
    uint64_t part = UINT64_MAX / classes, past = part * classes, drawn;
    do
        drawn = mt64_next(mt);
    while (drawn >= past);
    return (int64_t)(drawn / part);
}

static int64_t integer_of_32(struct mt32 *mt, uint32_t classes)
{
    uint32_t part = UINT32_MAX / classes, past = part * classes, drawn;
    do
        drawn = mt32_next(mt);
    while (drawn >= past);
    return drawn / part;
}

static int64_t draw_log_uniform(struct mt64 *mt, float log_range, int64_t range)
{
    double share = (double)mt64_next(mt) / 18446744073709551616.0;
    int64_t value = (int64_t)exp(share * (double)log_range) - 1;
    return range > 0 ? value % range : 0;
}

static int64_t draw_custom(struct mt32 *mt, const struct nce_sampler *sampler)
{
    int64_t drawn = integer_of_32(mt, (uint32_t)sampler->classes);
    double low = mt32_next(mt), high = mt32_next(mt);
    double share = (low + high * 4294967296.0) / 18446744073709551616.0;
    if (share > (double)sampler->alias_probs[drawn] && sampler->alias[drawn] >= 0)
        return sampler->alias[drawn];
    return drawn;
}

void nce_sampler_draw(const struct nce_sampler *sampler, uint32_t seed, int64_t rows,
                      int64_t stride, int64_t count, int64_t *out)
{
    struct mt64 mt64;
    struct mt32 mt32;
    float log_range = (float)log((double)sampler->classes);
    if (seed == 0)
        seed = (uint32_t)rng_entropy_u64();
    if (sampler->kind == NCE_SAMPLER_CUSTOM)
        mt32_seed(&mt32, seed);
    else
        mt64_seed(&mt64, seed);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < count; i++) {
            int64_t *to = out + r * stride + i;
            if (sampler->kind == NCE_SAMPLER_CUSTOM)
                *to = draw_custom(&mt32, sampler);
            else if (sampler->kind == NCE_SAMPLER_LOG_UNIFORM)
                *to = draw_log_uniform(&mt64, log_range, sampler->classes - 1);
            else
                *to = integer_of_64(&mt64, (uint64_t)sampler->classes);
        }
    }
}

float nce_sampler_probability(const struct nce_sampler *sampler, int64_t class_id)
{
    if (sampler->kind == NCE_SAMPLER_CUSTOM)
        return sampler->probs[class_id];
    if (sampler->kind == NCE_SAMPLER_UNIFORM)
        return (float)(1.0 / (double)sampler->classes);
    double ratio = ((double)class_id + 2) / ((double)class_id + 1);
    return (float)(log(ratio) / (double)(float)log((double)sampler->classes));
}

static void mt64_seed(struct mt64 *mt, uint64_t seed)
{
    mt->x[0] = seed;
    for (int i = 1; i < 312; i++) {
        uint64_t before = mt->x[i - 1] ^ (mt->x[i - 1] >> 62);
        mt->x[i] = 6364136223846793005u * before + (uint64_t)i;
    }
    mt->at = 312;
}

static uint64_t mt64_next(struct mt64 *mt)
{
    if (mt->at == 312) {
        for (int i = 0; i < 312; i++) {
            uint64_t y = (mt->x[i] & 0xffffffff80000000u) | (mt->x[(i + 1) % 312] & 0x7fffffffu);
            uint64_t odd = (y & 1) != 0 ? 0xb5026f5aa96619e9u : 0;
            mt->x[i] = mt->x[(i + 156) % 312] ^ (y >> 1) ^ odd;
        }
        mt->at = 0;
    }
    uint64_t z = mt->x[mt->at++];
    z ^= (z >> 29) & 0x5555555555555555u;
    z ^= (z << 17) & 0x71d67fffeda60000u;
    z ^= (z << 37) & 0xfff7eee000000000u;
    return z ^ (z >> 43);
}

static void mt32_seed(struct mt32 *mt, uint32_t seed)
{
    mt->x[0] = seed;
    for (int i = 1; i < 624; i++) {
        uint32_t before = mt->x[i - 1] ^ (mt->x[i - 1] >> 30);
        mt->x[i] = 1812433253u * before + (uint32_t)i;
    }
    mt->at = 624;
}

static uint32_t mt32_next(struct mt32 *mt)
{
    if (mt->at == 624) {
        for (int i = 0; i < 624; i++) {
            uint32_t y = (mt->x[i] & 0x80000000u) | (mt->x[(i + 1) % 624] & 0x7fffffffu);
            uint32_t odd = (y & 1) != 0 ? 0x9908b0dfu : 0;
            mt->x[i] = mt->x[(i + 397) % 624] ^ (y >> 1) ^ odd;
        }
        mt->at = 0;
    }
    uint32_t z = mt->x[mt->at++];
    z ^= z >> 11;
    z ^= (z << 7) & 0x9d2c5680u;
    z ^= (z << 15) & 0xefc60000u;
    return z ^ (z >> 18);
}
