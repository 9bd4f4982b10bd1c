// SPDX-License-Identifier: Apache-2.0
// The vectorised float functions against double ones, and at the edges.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/ops/vmath.h"

// Distance in units of the last place of the exact value (of the smallest normal one below it).
static double error_of(float got, double exact)
{
    int exponent;
    if (isnan(exact) || isinf((float)exact) || isinf(got))
        return isnan(exact) ? !isnan(got) : got != (float)exact;
    frexp(exact, &exponent);
    return fabs((double)got - exact) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static void check(float (*function)(float), double (*exact)(double), double bound)
{
    for (uint64_t i = 0; i < UINT64_C(1) << 32; i += 4099) {
        uint32_t bits = (uint32_t)i;
        float x;
        memcpy(&x, &bits, sizeof x);
        if (!(error_of(function(x), exact((double)x)) <= bound))
            fail_msg("%.9g: %.9g instead of %.9g", (double)x, (double)function(x),
                     exact((double)x));
    }
}

static void test_functions_are_within_two_units_of_the_last_place(void **state)
{
    (void)state;
    check(vmath_exp, exp, 1);
    check(vmath_log, log, 1);
    check(vmath_tanh, tanh, 1.5);
}

static void test_edges_are_those_of_c(void **state)
{
    (void)state;
    assert_true(vmath_exp(INFINITY) == INFINITY && vmath_exp(-INFINITY) == 0 && vmath_exp(0) == 1);
    assert_true(vmath_exp(88.72284f) == INFINITY && vmath_exp(88.72283f) < INFINITY);
    assert_true(vmath_exp(-103.9f) > 0 && vmath_exp(-104.1f) == 0);
    assert_true(vmath_log(0) == -INFINITY && vmath_log(INFINITY) == INFINITY && vmath_log(1) == 0);
    assert_true(vmath_tanh(INFINITY) == 1 && vmath_tanh(-INFINITY) == -1);
    assert_true(signbit(vmath_tanh(-0.0f)) != 0);
    assert_true(isnan(vmath_exp(NAN)) && isnan(vmath_log(NAN)) && isnan(vmath_tanh(NAN)));
    assert_true(isnan(vmath_log(-1)) && isnan(vmath_log(-INFINITY)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions_are_within_two_units_of_the_last_place),
        cmocka_unit_test(test_edges_are_those_of_c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
