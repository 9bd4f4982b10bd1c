// SPDX-License-Identifier: Apache-2.0
// Numbers out of a line, strictly and fast. A line is terminated by NUL at its end; a NUL before
// that is a wrong byte like any other. Blanks are space and tab.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct text_scan {
    const char *at, *end;   // *end == 0
};

void text_scan_blanks(struct text_scan *scan);   // passes over them
// Bytes of the word at the scan, up to a blank or the end.
size_t text_scan_word(const struct text_scan *scan);
// Each takes a number at the scan and stops behind it; what follows is the caller's to judge. false
// (the scan stays): no digits, over the type's range, or not finite.
bool text_scan_u64(struct text_scan *scan, uint64_t *out);
bool text_scan_i64(struct text_scan *scan, int64_t *out);   // with a sign or without
bool text_scan_f32(struct text_scan *scan, float *out);     // as strtof rounds
bool text_scan_f64(struct text_scan *scan, double *out);    // as strtod rounds
// At a blank, or the end?
bool text_scan_ends(const struct text_scan *scan);
// "`abc`" of the word at from for messages: at most 40 bytes, odd bytes as \xNN. out has room for
// TEXT_SCAN_SHOWN.
#define TEXT_SCAN_SHOWN 200
const char *text_scan_show(const struct text_scan *scan, const char *from, char *out);
