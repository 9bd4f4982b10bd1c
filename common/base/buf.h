// SPDX-License-Identifier: Apache-2.0
// A growable, capped byte buffer; also the string builder (buf_printf keeps a NUL behind the end).
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t bytes;     // used
    size_t cap;       // allocated
    size_t bytes_max; // 0 = no cap of its own
};

void buf_init(struct buf *buf, size_t bytes_max);
void buf_deinit(struct buf *buf);
void buf_clear(struct buf *buf);                                   // keeps the memory
// Room for more bytes behind the used ones; SL_ELIMIT over the cap, SL_ENOMEM without memory.
int buf_reserve(struct buf *buf, size_t more);
int buf_append(struct buf *buf, const void *data, size_t bytes);   // same errors
int buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *buf, const char *fmt, va_list args);
int buf_append_u32le(struct buf *buf, uint32_t value);
int buf_append_u64le(struct buf *buf, uint64_t value);
const char *buf_text(struct buf *buf);                             // terminated; "" when empty
char *buf_take_text(struct buf *buf);                              // moves out; mem_free it
