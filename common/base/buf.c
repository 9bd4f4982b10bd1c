// SPDX-License-Identifier: Apache-2.0
// A growable byte buffer with a cap of its own. Growth doubles, never beyond the cap, and may fail:
// the old content stays valid then. Text helpers keep a NUL one byte behind the used ones, which is
// not counted in bytes. Invariant: bytes <= cap, and cap <= bytes_max + 1 when bytes_max is set.
#include "common/base/buf.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

#define FIRST_CAP 256

void buf_init(struct buf *buf, size_t bytes_max)
{
    *buf = (struct buf){.bytes_max = bytes_max};
}

void buf_deinit(struct buf *buf)
{
    if (!buf)
        return;
    mem_free(buf->data);
    *buf = (struct buf){.bytes_max = buf->bytes_max};
}

void buf_clear(struct buf *buf)
{
    buf->bytes = 0;
    if (buf->cap)
        buf->data[0] = 0;
}

int buf_reserve(struct buf *buf, size_t more)
{
    size_t want;   // one byte more than asked for: the terminator of text
    if (__builtin_add_overflow(buf->bytes, more, &want) || want == SIZE_MAX)
        return SL_ELIMIT;
    if (buf->bytes_max && want > buf->bytes_max)
        return SL_ELIMIT;
    want += 1;
    if (want <= buf->cap)
        return 0;
    size_t cap = buf->cap ? buf->cap : FIRST_CAP;
    while (cap < want)
        cap = cap > SIZE_MAX / 2 ? want : cap * 2;
    if (buf->bytes_max && cap > buf->bytes_max + 1)
        cap = buf->bytes_max + 1;
    uint8_t *data = mem_realloc(buf->data, cap);
    if (!data)
        return SL_ENOMEM;
    buf->data = data;
    buf->cap = cap;
    return 0;
}

int buf_append(struct buf *buf, const void *data, size_t bytes)
{
    int rc = buf_reserve(buf, bytes);
    if (rc)
        return rc;
    if (bytes)
        memcpy(buf->data + buf->bytes, data, bytes);
    buf->bytes += bytes;
    buf->data[buf->bytes] = 0;
    return 0;
}

int buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int rc = buf_vprintf(buf, fmt, args);
    va_end(args);
    return rc;
}

int buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    size_t room = buf->cap - buf->bytes;
    int bytes = vsnprintf(room ? (char *)buf->data + buf->bytes : NULL, room, fmt, args);
    int rc = bytes < 0 ? SL_EINVAL : 0;
    if (!rc && (size_t)bytes >= room) {
        rc = buf_reserve(buf, (size_t)bytes);
        if (!rc)
            vsnprintf((char *)buf->data + buf->bytes, (size_t)bytes + 1, fmt, again);
        else if (room)
            buf->data[buf->bytes] = 0;
    }
    va_end(again);
    if (!rc)
        buf->bytes += (size_t)bytes;
    return rc;
}

int buf_append_u32le(struct buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    return buf_append(buf, bytes, sizeof bytes);
}

int buf_append_u64le(struct buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    return buf_append(buf, bytes, sizeof bytes);
}

const char *buf_text(struct buf *buf)
{
    if (!buf->cap)
        return "";
    buf->data[buf->bytes] = 0;
    return (const char *)buf->data;
}

char *buf_take_text(struct buf *buf)
{
    if (!buf->cap)
        return mem_must_strdup("");
    buf->data[buf->bytes] = 0;
    char *text = (char *)buf->data;
    *buf = (struct buf){.bytes_max = buf->bytes_max};
    return text;
}
