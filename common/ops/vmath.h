// SPDX-License-Identifier: Apache-2.0
// exp, log and tanh in float, written so that a loop over them is vectorised; within 2 units in the
// last place of the exact value, NaN and infinities as in C's, denormal numbers too. Every vector
// width gives the same bits (no FMA contraction).
//
//   exp   x = n ln2 + r, |r| <= ln2/2:   2^n (1 + r + r^2 q(r)), q a minimax polynomial
//   log   x = 2^n (1 + f), sqrt(1/2) <= 1 + f < sqrt(2):   n ln2 + f - f^2/2 + f^3 q(f)
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

// exp(r) and n of the reduction above, for |x| < 128.
static inline float vmath_reduced_exp(float x, int32_t *n)
{
    const float to_integer = 12582912.0f;   // 1.5 * 2^23: leaves an integer in the low bits
    union {
        float value;
        int32_t bits;
    } shifted = {.value = x * 1.44269504f + to_integer};
    float whole = shifted.value - to_integer;
    float r = x - whole * 0.693359375f;   // ln2 in two parts: the first one times n is exact
    r = r - whole * -2.12194440e-4f;
    float q = 0.000199193776f;
    q = q * r + 0.0013947225f;
    q = q * r + 0.00833326264f;
    q = q * r + 0.0416662538f;
    q = q * r + 0.166666669f;
    q = q * r + 0.5f;
    *n = (shifted.bits & 0x3ff) - ((shifted.bits & 0x200) << 1);
    return 1 + (r + r * r * q);
}

static inline float vmath_exp(float x)
{
    int32_t n;
    x = x < -104.0f ? -104.0f : x;   // 0
    x = x > 89.0f ? 89.0f : x;       // infinity
    float e = vmath_reduced_exp(x, &n);
    // In two steps, so that neither factor leaves the range. (A NaN has no n, and stays.)
    int32_t half = n >> 1;
    return e * vmath_power_of_2(half) * vmath_power_of_2(n - half);
}

// For |x| < 80 or NaN.
static inline float vmath_exp_inner(float x)
{
    int32_t n;
    float e = vmath_reduced_exp(x, &n);
    return e * vmath_power_of_2(n);
}

static inline float vmath_log(float x)
{
    union {
        float value;
        uint32_t bits;
    } u = {.value = x < 1.17549435e-38f ? x * 8388608.0f : x};   // 2^23, for denormal numbers
    // 0x3f3504f3 is sqrt(1/2): what lies above it in the bits of x are whole powers of 2.
    const uint32_t above = u.bits - 0x3f3504f3u;
    float n = (float)((int32_t)above >> 23) - (x < 1.17549435e-38f ? 23.0f : 0.0f);
    u.bits = (above & 0x7fffffu) + 0x3f3504f3u;
    float f = u.value - 1, f2 = f * f;
    float q = 0.0691557828f;
    q = q * f - 0.117887994f;
    q = q * f + 0.118723092f;
    q = q * f - 0.123844943f;
    q = q * f + 0.142187804f;
    q = q * f - 0.166692453f;
    q = q * f + 0.200022193f;
    q = q * f - 0.249999866f;
    q = q * f + 0.333333106f;
    float log_f = f * f2 * q + n * -2.12194440e-4f - 0.5f * f2 + f + n * 0.693359375f;
    float result = x > 3.40282347e38f ? x : log_f;
    result = x == 0 ? -INFINITY : result;
    return x >= 0 ? result : NAN;
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
    float twice = 2 * (a > 9.5f ? 9.5f : a);   // from 9.02 on the result is 1
    float large = 1 - 2 / (vmath_exp_inner(twice) + 1);
    return copysignf(a < 0.625f ? x + x * z * p : large, x);
}

static inline double vmath_exp_f64(double x)
{
    return exp(x);
}

static inline double vmath_log_f64(double x)
{
    return log(x);
}

static inline double vmath_tanh_f64(double x)
{
    return tanh(x);
}

// By the type of x: float as above, double as C's.
#define VMATH_EXP(x) _Generic((x), float : vmath_exp, double : vmath_exp_f64)(x)
#define VMATH_LOG(x) _Generic((x), float : vmath_log, double : vmath_log_f64)(x)
#define VMATH_TANH(x) _Generic((x), float : vmath_tanh, double : vmath_tanh_f64)(x)
