// SPDX-License-Identifier: Apache-2.0
// Numbers out of a line. Decimal fractions take the exact short way (Clinger): digits below 2^53
// and a power of ten up to 10^22 are both exact in double, so one multiplication or division rounds
// as strtod does. A float out of such a double is right too, unless the double is exactly half way
// between two floats, where the first rounding may have decided; that, and every longer number,
// goes to strtof and strtod. No state.
#include "common/reader/text_scan.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

#define NUMBER_MAX 256u
#define SHOWN_MAX 40u
#define EXACT_DIGITS 19
#define EXACT_POWER 22

struct decimal {
    uint64_t digits;
    int power;
    bool negative, exact;   // digits x 10^power is the number
    const char *end;
};

static bool read_decimal(const struct text_scan *scan, struct decimal *out);
static bool short_way(const struct decimal *number, double *out);
static bool copy_number(const struct text_scan *scan, const char *end, char *out);

void text_scan_blanks(struct text_scan *scan)
{
    while (*scan->at == ' ' || *scan->at == '\t')
        scan->at++;
}

size_t text_scan_word(const struct text_scan *scan)
{
    const char *p = scan->at;
    while (p < scan->end && *p != ' ' && *p != '\t')
        p++;
    return (size_t)(p - scan->at);
}

bool text_scan_u64(struct text_scan *scan, uint64_t *out)
{
    const char *p = scan->at;
    uint64_t value = 0;
    while (*p >= '0' && *p <= '9') {
        unsigned digit = (unsigned)(*p - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
        p++;
    }
    if (p == scan->at)
        return false;
    *out = value;
    scan->at = p;
    return true;
}

bool text_scan_i64(struct text_scan *scan, int64_t *out)
{
    bool negative = *scan->at == '-';
    struct text_scan digits = {scan->at + (negative || *scan->at == '+'), scan->end};
    uint64_t value;
    if (!text_scan_u64(&digits, &value) || value > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    scan->at = digits.at;
    return true;
}

bool text_scan_f32(struct text_scan *scan, float *out)
{
    struct decimal number;
    double exact;
    if (!read_decimal(scan, &number))
        return false;
    if (short_way(&number, &exact)) {
        uint64_t bits;
        memcpy(&bits, &exact, sizeof bits);
        double size = fabs(exact);
        bool tie = (bits & 0x1fffffffu) == 0x10000000u;
        if (!tie && ((size >= (double)FLT_MIN && size < (double)FLT_MAX) || number.digits == 0)) {
            *out = (float)exact;
            scan->at = number.end;
            return true;
        }
    }
    char text[NUMBER_MAX];
    if (!copy_number(scan, number.end, text))
        return false;
    float value = strtof(text, NULL);
    if (!isfinite(value))
        return false;
    *out = value;
    scan->at = number.end;
    return true;
}

bool text_scan_f64(struct text_scan *scan, double *out)
{
    struct decimal number;
    double value;
    char text[NUMBER_MAX];
    if (!read_decimal(scan, &number))
        return false;
    if (!short_way(&number, &value)) {
        if (!copy_number(scan, number.end, text))
            return false;
        value = strtod(text, NULL);
        if (!isfinite(value))
            return false;
    }
    *out = value;
    scan->at = number.end;
    return true;
}

bool text_scan_ends(const struct text_scan *scan)
{
    return scan->at >= scan->end || *scan->at == ' ' || *scan->at == '\t';
}

const char *text_scan_show(const struct text_scan *scan, const char *from, char *out)
{
    struct text_scan word = {from, scan->end};
    size_t bytes = text_scan_word(&word), at = 0;
    bool cut = bytes > SHOWN_MAX;
    out[at++] = '`';
    for (size_t i = 0; i < (cut ? SHOWN_MAX : bytes); i++) {
        unsigned char c = (unsigned char)from[i];
        at += (size_t)snprintf(out + at, TEXT_SCAN_SHOWN - at,
                               c < 0x20 || c >= 0x7f ? "\\x%02x" : "%c", c);
    }
    snprintf(out + at, TEXT_SCAN_SHOWN - at, "%s`", cut ? "..." : "");
    return out;
}

// [+-] digits [. digits] [e [+-] digits], with a digit before the exponent.
static bool read_decimal(const struct text_scan *scan, struct decimal *out)
{
    const char *p = scan->at;
    int seen = 0, kept = 0, point = 0;
    long power = 0;
    *out = (struct decimal){.exact = true, .negative = *p == '-'};
    p += *p == '-' || *p == '+';
    for (;; p++) {
        if (*p == '.' && !point) {
            point = 1;
            continue;
        }
        if (*p < '0' || *p > '9')
            break;
        seen++;
        power -= point;
        if (kept == EXACT_DIGITS) {
            out->exact = false;
            continue;
        }
        out->digits = out->digits * 10 + (unsigned)(*p - '0');
        kept += out->digits != 0;
    }
    if (!seen)
        return false;
    if (*p == 'e' || *p == 'E') {
        const char *e = p + 1;
        bool minus = *e == '-';
        long more = 0;
        e += *e == '-' || *e == '+';
        if (*e >= '0' && *e <= '9') {
            for (; *e >= '0' && *e <= '9'; e++)
                more = more < 100000 ? more * 10 + (*e - '0') : more;
            power += minus ? -more : more;
            p = e;
        }
    }
    out->power = power > 100000 ? 100000 : power < -100000 ? -100000 : (int)power;
    out->end = p;
    return true;
}

static bool short_way(const struct decimal *number, double *out)
{
    static const double tens[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int power = number->power;
    if (!number->exact || number->digits > (1ull << 53))
        return false;
    if (number->digits == 0)
        power = 0;
    if (power > EXACT_POWER || power < -EXACT_POWER)
        return false;
    double value = (double)number->digits;
    value = power >= 0 ? value * tens[power] : value / tens[-power];
    *out = number->negative ? -value : value;
    return true;
}

static bool copy_number(const struct text_scan *scan, const char *end, char *out)
{
    size_t bytes = (size_t)(end - scan->at);
    if (bytes >= NUMBER_MAX)
        return false;
    memcpy(out, scan->at, bytes);
    out[bytes] = 0;
    return true;
}
