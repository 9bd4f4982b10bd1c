// SPDX-License-Identifier: Apache-2.0
// Attributes are plain values: owned texts and arrays, deep copies.
#include "common/program/attr.h"

#include <string.h>

#include "common/base/mem.h"

static void *copy_bytes(const void *data, size_t bytes);
static bool is_boolean_like(const struct attr *attr);
static bool list_equal(const struct attr *a, const struct attr *b);

bool attr_is_list(enum attr_type type)
{
    switch (type) {
    case ATTR_INTS:
    case ATTR_FLOATS:
    case ATTR_STRINGS:
    case ATTR_BOOLEANS:
    case ATTR_BLOCKS:
    case ATTR_LONGS:
        return true;
    case ATTR_INT:
    case ATTR_FLOAT:
    case ATTR_STRING:
    case ATTR_BOOLEAN:
    case ATTR_BLOCK:
    case ATTR_LONG:
        break;
    }
    return false;
}

size_t attr_blocks_count(const struct attr *attr)
{
    return attr->type == ATTR_BLOCK ? 1 : attr->type == ATTR_BLOCKS ? attr->count : 0;
}

int64_t attr_block(const struct attr *attr, size_t n)
{
    return attr->type == ATTR_BLOCK ? attr->i : attr->ints[n];
}

void attr_deinit(struct attr *attr)
{
    if (!attr)
        return;
    mem_free(attr->name);
    mem_free(attr->s);
    mem_free(attr->raw);
    if (attr->type == ATTR_STRINGS) {
        for (size_t i = 0; i < attr->count; i++)
            mem_free(attr->strings[i]);
        mem_free(attr->strings);
    } else if (attr->type == ATTR_FLOATS) {
        mem_free(attr->floats);
    } else {
        mem_free(attr->ints);
    }
    *attr = (struct attr){0};
}

void attr_copy(struct attr *dst, const struct attr *src)
{
    *dst = *src;
    dst->name = src->name ? mem_must_strdup(src->name) : NULL;
    dst->s = src->s ? copy_bytes(src->s, src->s_bytes + 1) : NULL;
    dst->raw = copy_bytes(src->raw, src->raw_bytes);
    if (src->type == ATTR_STRINGS) {
        dst->strings = src->count ? mem_must_calloc(src->count, sizeof *dst->strings) : NULL;
        for (size_t i = 0; i < src->count; i++)
            dst->strings[i] = mem_must_strdup(src->strings[i]);
    } else if (src->type == ATTR_FLOATS) {
        dst->floats = copy_bytes(src->floats, src->count * sizeof *src->floats);
    } else {
        dst->ints = copy_bytes(src->ints, src->count * sizeof *src->ints);
    }
}

bool attr_equal(const struct attr *a, const struct attr *b)
{
    if (strcmp(a->name, b->name))
        return false;
    if (is_boolean_like(a) && is_boolean_like(b))
        return a->i == b->i;
    if (a->type != b->type)
        return attr_is_list(a->type) && attr_is_list(b->type) && !a->count && !b->count;
    switch (a->type) {
    case ATTR_INT:
    case ATTR_BOOLEAN:
    case ATTR_LONG:
    case ATTR_BLOCK:
        return a->i == b->i;
    case ATTR_FLOAT:
        return !memcmp(&a->f, &b->f, sizeof a->f);
    case ATTR_STRING:
        return a->s_bytes == b->s_bytes && (!a->s_bytes || !memcmp(a->s, b->s, a->s_bytes));
    case ATTR_INTS:
    case ATTR_FLOATS:
    case ATTR_STRINGS:
    case ATTR_BOOLEANS:
    case ATTR_BLOCKS:
    case ATTR_LONGS:
        return list_equal(a, b);
    }
    return a->raw_bytes == b->raw_bytes && (!a->raw_bytes || !memcmp(a->raw, b->raw, a->raw_bytes));
}

bool attr_bool(const struct attr *attr)
{
    return attr && attr->i != 0;
}

static void *copy_bytes(const void *data, size_t bytes)
{
    if (!data || !bytes)
        return NULL;
    return memcpy(mem_must_calloc(bytes, 1), data, bytes);
}

static bool is_boolean_like(const struct attr *attr)
{
    return attr->type == ATTR_INT || attr->type == ATTR_BOOLEAN;
}

static bool list_equal(const struct attr *a, const struct attr *b)
{
    if (a->count != b->count)
        return false;
    if (!a->count)
        return true;
    if (a->type == ATTR_STRINGS) {
        for (size_t i = 0; i < a->count; i++)
            if (strcmp(a->strings[i], b->strings[i]))
                return false;
        return true;
    }
    if (a->type == ATTR_FLOATS)
        return !memcmp(a->floats, b->floats, a->count * sizeof *a->floats);
    return !memcmp(a->ints, b->ints, a->count * sizeof *a->ints);
}
