// SPDX-License-Identifier: Apache-2.0
// exp and tanh in float, written so that a loop over them is vectorised; within 2 units in the last
// place of the exact value, NaN and infinities as in C's, denormal results too. Every vector width
// gives the same bits (no FMA contraction).
//
//   exp   x = n ln2 + r, |r| <= ln2/2:   2^n (1 + r + r^2 q(r)), q a minimax polynomial
//   tanh  |x| < 5/8: x + x^3 p(x^2);     beyond: 1 - 2 / (exp(2|x|) + 1) with the sign of x
#pragma once

#include <math.h>
#include <stdint.h>

// 2^n for n in [-126, 127].
static inline float vmath_power_of_2(int32_t n)
{
    union {
        uint32_t bits;
        float value;
    } u = {.bits = (uint32_t)(n + 127) << 23};
    return u.value;
}

static inline float vmath_exp(float x)
{
    const float to_integer = 12582912.0f;   // 1.5 * 2^23: leaves an integer in the low bits
    union {
        float value;
        int32_t bits;
    } shifted;
    x = x < -104.0f ? -104.0f : x;   // 0
    x = x > 89.0f ? 89.0f : x;       // infinity
    shifted.value = x * 1.44269504f + to_integer;
    float n = shifted.value - to_integer;
    float r = x - n * 0.693359375f;   // ln2 in two parts: the first one times n is exact
    r = r - n * -2.12194440e-4f;
    float q = 0.000199193776f;
    q = q * r + 0.0013947225f;
    q = q * r + 0.00833326264f;
    q = q * r + 0.0416662538f;
    q = q * r + 0.166666669f;
    q = q * r + 0.5f;
    // In two steps, so that neither factor leaves the range. (A NaN has no meaning here, and
    // stays.)
    int32_t power = (shifted.bits & 0x3ff) - ((shifted.bits & 0x200) << 1);
    int32_t half = power >> 1;
    return (1 + (r + r * r * q)) * vmath_power_of_2(half) * vmath_power_of_2(power - half);
}

static inline float vmath_tanh(float x)
{
    float z = x * x, a = fabsf(x);
    float p = 0.00214753686f;
    p = p * z - 0.00818267386f;
    p = p * z + 0.0217029671f;
    p = p * z - 0.0539472043f;
    p = p * z + 0.133332098f;
    p = p * z - 0.333333309f;
    float small = x + x * z * p, large = copysignf(1 - 2 / (vmath_exp(2 * a) + 1), x);
    return a < 0.625f ? small : large;
}

static inline double vmath_exp_f64(double x)
{
    return exp(x);
}

static inline double vmath_tanh_f64(double x)
{
    return tanh(x);
}

// By the type of x: float as above, double as C's.
#define VMATH_EXP(x) _Generic((x), float : vmath_exp, double : vmath_exp_f64)(x)
#define VMATH_TANH(x) _Generic((x), float : vmath_tanh, double : vmath_tanh_f64)(x)
