// SPDX-License-Identifier: Apache-2.0
// A small reader of the dict: keys in any order, single or double quotes, trailing commas.

#include "common/tensor/npy.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
#define ALIGN 64

static const struct {
    enum dtype dtype;
    const char *text;
} names[] = {
    {DTYPE_FP32, "<f4"},  {DTYPE_FP64, "<f8"},  {DTYPE_FP16, "<f2"},
    {DTYPE_INT64, "<i8"}, {DTYPE_INT32, "<i4"}, {DTYPE_INT16, "<i2"},
    {DTYPE_INT8, "|i1"},  {DTYPE_UINT8, "|u1"}, {DTYPE_BOOL, "|b1"},
};

struct dict {
    const char *at, *end;
    const char *name;
    struct err *err;
};

static int parse(struct dict *d, struct npy_header *out);
static int parse_value(struct dict *d, const char *key, struct npy_header *out);
static int parse_shape(struct dict *d, struct dims *out);
static void skip_blanks(struct dict *d);
static bool take(struct dict *d, char c);
static bool take_text(struct dict *d, char *out, size_t cap);

int npy_read(const void *data, size_t bytes, const char *name, struct npy_header *out,
             struct err *err)
{
    const uint8_t *head = data;
    if (bytes < MAGIC_BYTES + 4 || memcmp(head, MAGIC, MAGIC_BYTES) != 0)
        return err_set(err, SL_EFORMAT, "%s: not an .npy file", name);
    unsigned version = head[MAGIC_BYTES];
    size_t prefix = version == 1 ? MAGIC_BYTES + 4 : MAGIC_BYTES + 6;
    if (version < 1 || version > 3)
        return err_set(err, SL_EUNSUPPORTED, "%s: .npy format %u is not known", name, version);
    if (bytes < prefix)
        return err_set(err, SL_EFORMAT, "%s: cut off within its header", name);
    uint64_t length = head[MAGIC_BYTES + 2] | (uint64_t)head[MAGIC_BYTES + 3] << 8;
    if (version > 1)
        length |= (uint64_t)head[MAGIC_BYTES + 4] << 16 | (uint64_t)head[MAGIC_BYTES + 5] << 24;
    if (length > bytes - prefix)
        return err_set(err, SL_EFORMAT, "%s: cut off within its header of %" PRIu64 " bytes", name,
                       length);
    struct dict d = {.at = (const char *)head + prefix,
                     .end = (const char *)head + prefix + length,
                     .name = name,
                     .err = err};
    out->data_offset = prefix + length;
    return parse(&d, out);
}

int npy_append(enum dtype dtype, const struct dims *dims, struct buf *out)
{
    const char *type = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].dtype == dtype)
            type = names[i].text;
    if (type == NULL)
        return SL_EUNSUPPORTED;
    struct buf text;
    buf_init(&text, 0);
    buf_printf(&text, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
    for (int i = 0; i < dims->rank; i++)
        buf_printf(&text, i + 1 < dims->rank ? "%" PRId64 ", " : "%" PRId64, dims->d[i]);
    buf_printf(&text, dims->rank == 1 ? ",), }" : "), }");
    size_t total = MAGIC_BYTES + 4 + text.bytes + 1, padding = (ALIGN - total % ALIGN) % ALIGN;
    buf_printf(&text, "%*s\n", (int)padding, "");
    const uint8_t head[] = {1, 0, (uint8_t)text.bytes, (uint8_t)(text.bytes >> 8)};
    int rc = buf_append(out, MAGIC, MAGIC_BYTES);
    if (rc == 0)
        rc = buf_append(out, head, sizeof head);
    if (rc == 0)
        rc = buf_append(out, text.data, text.bytes);
    buf_deinit(&text);
    return rc;
}

static int parse(struct dict *d, struct npy_header *out)
{
    unsigned seen = 0;
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    if (!take(d, '{'))
        return err_set(d->err, SL_EFORMAT, "%s: its header is no dict", d->name);
    while (!take(d, '}')) {
        char key[16];
        int which = -1;
        if (!take_text(d, key, sizeof key) || !take(d, ':'))
            return err_set(d->err, SL_EFORMAT, "%s: its header is no dict of three keys", d->name);
        for (int i = 0; i < 3; i++)
            if (strcmp(key, keys[i]) == 0)
                which = i;
        if (which < 0)
            return err_set(d->err, SL_EFORMAT, "%s: unknown key '%s' in its header", d->name, key);
        int rc = parse_value(d, key, out);
        if (rc < 0)
            return rc;
        seen |= 1u << which;
        take(d, ',');
    }
    if (seen != 7)
        return err_set(d->err, SL_EFORMAT, "%s: its header lacks '%s'", d->name,
                       keys[seen & 1 ? seen & 2 ? 2 : 1 : 0]);
    uint64_t count;
    if (!dims_count(&out->dims, dtype_bytes(out->dtype), &count))
        return err_set(d->err, SL_ELIMIT, "%s: its shape is larger than any tensor here", d->name);
    return 0;
}

static int parse_value(struct dict *d, const char *key, struct npy_header *out)
{
    char text[16];
    skip_blanks(d);
    if (strcmp(key, "shape") == 0)
        return parse_shape(d, &out->dims);
    if (strcmp(key, "fortran_order") == 0) {
        bool yes = d->end - d->at >= 4 && memcmp(d->at, "True", 4) == 0;
        if (yes)
            return err_set(d->err, SL_EUNSUPPORTED,
                           "%s: Fortran order; save numpy.ascontiguousarray(x) instead", d->name);
        if (d->end - d->at < 5 || memcmp(d->at, "False", 5) != 0)
            return err_set(d->err, SL_EFORMAT, "%s: fortran_order is neither True nor False",
                           d->name);
        d->at += 5;
        return 0;
    }
    if (!take_text(d, text, sizeof text))
        return err_set(d->err, SL_EUNSUPPORTED, "%s: its elements are no plain numbers", d->name);
    // One byte has no order: '<', '|' and '=' mean the same.
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text + 1, names[i].text + 1) == 0 &&
            (text[0] == names[i].text[0] || text[1] == 'b' || text[2] == '1')) {
            out->dtype = names[i].dtype;
            return 0;
        }
    return err_set(d->err, SL_EUNSUPPORTED, "%s: elements of type '%s'%s", d->name, text,
                   text[0] == '>' ? ": big endian is not supported" : " are not supported");
}

static int parse_shape(struct dict *d, struct dims *out)
{
    *out = (struct dims){0};
    if (!take(d, '('))
        return err_set(d->err, SL_EFORMAT, "%s: its shape is no tuple", d->name);
    while (!take(d, ')')) {
        int64_t value = 0;
        int digits = 0;
        skip_blanks(d);
        for (; d->at < d->end && *d->at >= '0' && *d->at <= '9' && digits < 19; d->at++, digits++)
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, *d->at - '0', &value))
                return err_set(d->err, SL_ELIMIT, "%s: its shape overflows", d->name);
        if (d->at < d->end && *d->at == 'L')   // of Python 2
            d->at++;
        if (digits == 0 || out->rank == LIMIT_RANK)
            return err_set(d->err, SL_EFORMAT, "%s: its shape is not a tuple of at most %d sizes",
                           d->name, LIMIT_RANK);
        out->d[out->rank++] = value;
        take(d, ',');
    }
    return 0;
}

static void skip_blanks(struct dict *d)
{
    while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' || *d->at == '\t'))
        d->at++;
}

static bool take(struct dict *d, char c)
{
    skip_blanks(d);
    if (d->at == d->end || *d->at != c)
        return false;
    d->at++;
    return true;
}

// A quoted text of at least two characters, without escapes.
static bool take_text(struct dict *d, char *out, size_t cap)
{
    skip_blanks(d);
    if (d->at == d->end || (*d->at != '\'' && *d->at != '"'))
        return false;
    const char *from = d->at + 1;
    const char *to = memchr(from, *d->at, (size_t)(d->end - from));
    if (to == NULL || to - from < 3 || (size_t)(to - from) >= cap)
        return false;
    memcpy(out, from, (size_t)(to - from));
    out[to - from] = '\0';
    d->at = to + 1;
    return true;
}
