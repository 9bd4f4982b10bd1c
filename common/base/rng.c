// SPDX-License-Identifier: Apache-2.0
// Random numbers that equal those of Paddle Fluid 1.8's CPU ops bit for bit.
// The engine is Park and Miller's, x = 48271 x mod 2^31-1. A canonical number is (x - 1) / 2^31 in
// float: 30 bits of one step are enough for the 24 of a float's mantissa; in double the second of
// two steps is the high part, as in libstdc++. The normal distribution
// is Marsaglia's polar method. The truncated normal maps a uniform number through the inverse error
// function, for which Fluid uses the central rational formula of Wichura's algorithm AS 241 over
// the whole range, evaluated in float; so does this file, since initial values must be the same.
// All of it must be compiled without contraction to fused multiply-add.
// The engine for our own decisions is Steele, Lea and Flood's splitmix64.
#include "common/base/rng.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <sys/random.h>

#include "common/base/assert.h"

#define MINSTD_MODULUS 2147483647u
#define MINSTD_MULTIPLIER 48271u

// AS 241, |p - 0.5| <= 0.425: coefficients of numerator and denominator in r, lowest power first.
static const double central_top[8] = {3.3871328727963666080e0, 1.3314166789178437745e2,
                                      1.9715909503065514427e3, 1.3731693765509461125e4,
                                      4.5921953931549871457e4, 6.7265770927008700853e4,
                                      3.3430575583588128105e4, 2.5090809287301226727e3};
static const double central_bottom[8] = {1.0,
                                         4.2313330701600911252e1,
                                         6.8718700749205790830e2,
                                         5.3941960214247511077e3,
                                         2.1213794301586595867e4,
                                         3.9307895800092710610e4,
                                         2.8729085735721942674e4,
                                         5.2264952788528545610e3};

static float draw_point(struct rng_minstd *rng, float *a, float *b);
static void draw_pair(struct rng_minstd *rng, float out[2]);
static float in_range(float canonical, float min, float max);
static float inverse_erf(float x, const float top[8], const float bottom[8]);
static float polynomial(const float coefficients[8], float r);

void rng_minstd_seed(struct rng_minstd *rng, uint32_t seed)
{
    rng->x = seed % MINSTD_MODULUS;
    if (rng->x == 0)
        rng->x = 1;
}

float rng_minstd_canonical(struct rng_minstd *rng)
{
    rng->x = (uint32_t)((uint64_t)rng->x * MINSTD_MULTIPLIER % MINSTD_MODULUS);
    float u = (float)(rng->x - 1) / 2147483648.0f;
    return u < 1.0f ? u : nextafterf(1.0f, 0.0f);
}

double rng_minstd_canonical_f64(struct rng_minstd *rng)
{
    const double range = MINSTD_MODULUS - 1;
    rng_minstd_canonical(rng);
    double sum = (double)(rng->x - 1);
    rng_minstd_canonical(rng);
    sum += (double)(rng->x - 1) * range;
    sum /= range * range;
    return sum < 1 ? sum : nextafter(1, 0);
}

// x after n steps is x * 48271^n mod 2^31-1, by repeated squaring.
void rng_minstd_skip(struct rng_minstd *rng, uint64_t steps)
{
    uint64_t power = MINSTD_MULTIPLIER, x = rng->x;
    for (; steps > 0; steps >>= 1) {
        if (steps & 1)
            x = x * power % MINSTD_MODULUS;
        power = power * power % MINSTD_MODULUS;
    }
    rng->x = (uint32_t)x;
}

void rng_fill_uniform(float *out, size_t count, float min, float max, uint32_t seed, uint64_t first)
{
    struct rng_minstd rng;
    rng_minstd_seed(&rng, seed);
    rng_minstd_skip(&rng, first);
    for (size_t i = 0; i < count; i++)
        out[i] = in_range(rng_minstd_canonical(&rng), min, max);
}

void rng_fill_normal(float *out, size_t count, float mean, float std, uint32_t seed, uint64_t first)
{
    struct rng_minstd rng;
    float pair[2] = {0};
    rng_minstd_seed(&rng, seed);
    for (uint64_t i = 0; i < first / 2; i++)
        draw_point(&rng, &pair[0], &pair[1]);
    if (first % 2 == 1)
        draw_pair(&rng, pair);
    for (size_t i = 0; i < count; i++) {
        if ((first + i) % 2 == 0)
            draw_pair(&rng, pair);
        out[i] = pair[(first + i) % 2] * std + mean;
    }
}

void rng_fill_truncated_normal(float *out, size_t count, float mean, float std, uint32_t seed,
                               uint64_t first)
{
    // erfinv(x) is the normal quantile at (x + 1) / 2 over sqrt(2), and its q is x / 2: hence the
    // factor between the published coefficients and these.
    float top[8], bottom[8];
    for (int i = 0; i < 8; i++) {
        top[i] = (float)(central_top[i] / (2.0 * sqrt(2.0)));
        bottom[i] = (float)central_bottom[i];
    }
    // The normal distribution function at the cuts, -2 and 2 deviations.
    float low = (float)((1.0 + erf(-2.0 / sqrt(2.0))) / 2.0);
    float high = (float)((1.0 + erf(2.0 / sqrt(2.0))) / 2.0);
    struct rng_minstd rng;
    rng_minstd_seed(&rng, seed);
    rng_minstd_skip(&rng, first);
    for (size_t i = 0; i < count; i++) {
        float unit = in_range(rng_minstd_canonical(&rng), FLT_MIN, 1.0f);
        float p = low + (high - low) * unit;
        float deviation = inverse_erf(2.0f * p - 1.0f, top, bottom);
        out[i] = (float)(sqrt(2.0) * (double)deviation * (double)std + (double)mean);
    }
}

uint64_t rng_next_u64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_entropy_u64(void)
{
    uint64_t value;
    ssize_t got;
    do {
        got = getrandom(&value, sizeof value, 0);
    } while (got < 0 && errno == EINTR);
    ASSERT(got == (ssize_t)sizeof value);
    return value;
}

// A point inside the unit circle, not its centre; returns its squared radius.
static float draw_point(struct rng_minstd *rng, float *a, float *b)
{
    float q;
    do {
        *a = 2.0f * rng_minstd_canonical(rng) - 1.0f;
        *b = 2.0f * rng_minstd_canonical(rng) - 1.0f;
        q = *a * *a + *b * *b;
    } while (q > 1.0f || q == 0.0f);
    return q;
}

static void draw_pair(struct rng_minstd *rng, float out[2])
{
    float a, b;
    float q = draw_point(rng, &a, &b);
    float m = sqrtf(-2.0f * logf(q) / q);
    out[0] = b * m;
    out[1] = a * m;
}

static float in_range(float canonical, float min, float max)
{
    return canonical * (max - min) + min;
}

static float inverse_erf(float x, const float top[8], const float bottom[8])
{
    float r = (float)(0.180625 - 0.25 * (double)x * (double)x);
    return x * polynomial(top, r) / polynomial(bottom, r);
}

// Horner's rule, highest power first, every step rounded to float.
static float polynomial(const float coefficients[8], float r)
{
    float value = coefficients[7];
    for (int i = 6; i >= 0; i--)
        value = value * r + coefficients[i];
    return value;
}
