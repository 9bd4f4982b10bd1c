// SPDX-License-Identifier: Apache-2.0
// Time, injectable: pure code takes now_ms as an argument; shells read it here.
#pragma once

#include <stdint.h>

uint64_t clock_now_ms(void);        // monotonic
uint64_t clock_now_ns(void);        // monotonic
int64_t clock_wall_s(void);         // seconds since 1970, for people only
// "20:14:03" local wall time of clock_wall_s seconds, into text of at least 16 bytes.
void clock_format_time(int64_t wall_s, char *text);
