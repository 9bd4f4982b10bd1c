// SPDX-License-Identifier: Apache-2.0
// Each attribute type has one field of the message. Whatever else the message said is kept in
// `raw`, and raw is only kept when building the message from the attribute would give other bytes.
#include "common/program/attr_pb.h"

#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/program/pb_arena.h"
#include "common/program/pb_fields.h"

typedef int64_t number_at_fn(const void *items, size_t i);

static int decode_value(const Framework__OpDesc__Attr *msg, struct attr *out, struct err *err);
static int decode_numbers(struct attr *out, const void *items, size_t count, number_at_fn *at,
                          struct err *err);
static int decode_floats(struct attr *out, const float *items, size_t count, struct err *err);
static int decode_strings(struct attr *out, const ProtobufCBinaryData *items, size_t count,
                          struct err *err);
static int keep_raw(const Framework__OpDesc__Attr *msg, struct attr *out, struct err *err);
static int build(const struct attr *attr, struct pb_arena *arena, Framework__OpDesc__Attr *msg,
                 struct err *err);
static int encode_i32(const struct attr *attr, int64_t value, int32_t *out, struct err *err);
static int encode_i32s(const struct attr *attr, struct pb_arena *arena, int32_t **out,
                       struct err *err);
static Framework__OpDesc__Attr *unpack_raw(const struct attr *attr, struct pb_arena *arena);
static int64_t number_i32(const void *items, size_t i);
static int64_t number_i64(const void *items, size_t i);
static int64_t number_bool(const void *items, size_t i);

int attr_pb_decode(const Framework__OpDesc__Attr *msg, struct attr *out, struct err *err)
{
    int rc = pb_fields_name(msg->has_name, &msg->name, "attribute name", &out->name, err);
    if (rc)
        return rc;
    if (!msg->has_type)
        return err_set(err, SL_EFORMAT, "attribute %s: no type", out->name);
    out->type = (enum attr_type)msg->type;
    rc = decode_value(msg, out, err);
    if (!rc)
        rc = keep_raw(msg, out, err);
    if (rc)
        err_prefix(err, "attribute %s", out->name);
    return rc;
}

int attr_pb_encode(const struct attr *attr, struct pb_arena *arena, Framework__OpDesc__Attr **out,
                   struct err *err)
{
    if (attr->raw) {
        Framework__OpDesc__Attr *raw = unpack_raw(attr, arena);
        struct attr as_read = {0};
        bool same = raw && !attr_pb_decode(raw, &as_read, NULL) && attr_equal(attr, &as_read) &&
                    attr->type == as_read.type;
        attr_deinit(&as_read);
        if (same) {
            *out = raw;
            return 0;
        }
    }
    Framework__OpDesc__Attr *msg = pb_arena_must(arena, 1, sizeof *msg);
    int rc = build(attr, arena, msg, err);
    if (!rc)
        *out = msg;
    return rc;
}

static int decode_value(const Framework__OpDesc__Attr *msg, struct attr *out, struct err *err)
{
    switch (out->type) {
    case ATTR_INT:
        out->i = msg->i;
        return 0;
    case ATTR_FLOAT:
        out->f = msg->f;
        return 0;
    case ATTR_STRING: {
        uint8_t *text;
        int rc = pb_fields_copy(msg->s.data, msg->has_s ? msg->s.len : 0, &text, err);
        if (!rc) {
            out->s = (char *)text;
            out->s_bytes = msg->has_s ? msg->s.len : 0;
        }
        return rc;
    }
    case ATTR_INTS:
        return decode_numbers(out, msg->ints, msg->n_ints, number_i32, err);
    case ATTR_FLOATS:
        return decode_floats(out, msg->floats, msg->n_floats, err);
    case ATTR_STRINGS:
        return decode_strings(out, msg->strings, msg->n_strings, err);
    case ATTR_BOOLEAN:
        out->i = msg->b ? 1 : 0;
        return 0;
    case ATTR_BOOLEANS:
        return decode_numbers(out, msg->bools, msg->n_bools, number_bool, err);
    case ATTR_BLOCK:
        out->i = msg->block_idx;
        return 0;
    case ATTR_LONG:
        out->i = msg->l;
        return 0;
    case ATTR_BLOCKS:
        return decode_numbers(out, msg->blocks_idx, msg->n_blocks_idx, number_i32, err);
    case ATTR_LONGS:
        return decode_numbers(out, msg->longs, msg->n_longs, number_i64, err);
    }
    return 0;       // of a newer writer: carried as raw
}

static int decode_numbers(struct attr *out, const void *items, size_t count, number_at_fn *at,
                          struct err *err)
{
    if (!count)
        return 0;
    out->ints = mem_calloc(count, sizeof *out->ints);
    if (!out->ints)
        return err_set(err, SL_ENOMEM, "no memory for %zu numbers", count);
    out->count = count;
    for (size_t i = 0; i < count; i++)
        out->ints[i] = at(items, i);
    return 0;
}

static int decode_floats(struct attr *out, const float *items, size_t count, struct err *err)
{
    if (!count)
        return 0;
    out->floats = mem_calloc(count, sizeof *out->floats);
    if (!out->floats)
        return err_set(err, SL_ENOMEM, "no memory for %zu numbers", count);
    out->count = count;
    memcpy(out->floats, items, count * sizeof *items);
    return 0;
}

static int decode_strings(struct attr *out, const ProtobufCBinaryData *items, size_t count,
                          struct err *err)
{
    if (!count)
        return 0;
    out->strings = mem_calloc(count, sizeof *out->strings);
    if (!out->strings)
        return err_set(err, SL_ENOMEM, "no memory for %zu strings", count);
    for (size_t i = 0; i < count; i++) {
        if (items[i].len && memchr(items[i].data, 0, items[i].len))
            return err_set(err, SL_EFORMAT, "string %zu of the list has a NUL byte in it", i);
        uint8_t *text;
        int rc = pb_fields_copy(items[i].data, items[i].len, &text, err);
        if (rc)
            return rc;
        out->strings[i] = (char *)text;
        out->count = i + 1;
    }
    return 0;
}

static int keep_raw(const Framework__OpDesc__Attr *msg, struct attr *out, struct err *err)
{
    struct pb_arena arena;
    Framework__OpDesc__Attr built;
    uint8_t *rebuilt = NULL, *read = NULL;
    size_t rebuilt_bytes = 0, read_bytes = 0;
    pb_arena_init(&arena, 0);
    int rc = build(out, &arena, &built, err);
    if (!rc)
        rc = pb_fields_pack(&built.base, &rebuilt, &rebuilt_bytes, err);
    if (!rc)
        rc = pb_fields_pack(&msg->base, &read, &read_bytes, err);
    if (!rc && (read_bytes != rebuilt_bytes || memcmp(read, rebuilt, read_bytes))) {
        out->raw = read;
        out->raw_bytes = read_bytes;
        read = NULL;
    }
    mem_free(rebuilt);
    mem_free(read);
    pb_arena_deinit(&arena);
    return rc;
}

static int build(const struct attr *attr, struct pb_arena *arena, Framework__OpDesc__Attr *msg,
                 struct err *err)
{
    int rc = 0;
    framework__op_desc__attr__init(msg);
    msg->has_name = msg->has_type = true;
    msg->name = pb_fields_borrow(attr->name);
    msg->type = (Framework__AttrType)attr->type;
    switch (attr->type) {
    case ATTR_INT:
        msg->has_i = true;
        return encode_i32(attr, attr->i, &msg->i, err);
    case ATTR_FLOAT:
        msg->has_f = true;
        msg->f = attr->f;
        break;
    case ATTR_STRING:
        msg->has_s = true;
        msg->s = (ProtobufCBinaryData){attr->s_bytes, (uint8_t *)attr->s};
        break;
    case ATTR_INTS:
        msg->n_ints = attr->count;
        return encode_i32s(attr, arena, &msg->ints, err);
    case ATTR_FLOATS:
        msg->n_floats = attr->count;
        msg->floats = attr->floats;
        break;
    case ATTR_STRINGS:
        msg->n_strings = attr->count;
        msg->strings = pb_arena_must(arena, attr->count, sizeof *msg->strings);
        for (size_t i = 0; i < attr->count; i++)
            msg->strings[i] = pb_fields_borrow(attr->strings[i]);
        break;
    case ATTR_BOOLEAN:
        msg->has_b = true;
        msg->b = attr->i != 0;
        break;
    case ATTR_BOOLEANS:
        msg->n_bools = attr->count;
        msg->bools = pb_arena_must(arena, attr->count, sizeof *msg->bools);
        for (size_t i = 0; i < attr->count; i++)
            msg->bools[i] = attr->ints[i] != 0;
        break;
    case ATTR_BLOCK:
        msg->has_block_idx = true;
        return encode_i32(attr, attr->i, &msg->block_idx, err);
    case ATTR_LONG:
        msg->has_l = true;
        msg->l = attr->i;
        break;
    case ATTR_BLOCKS:
        msg->n_blocks_idx = attr->count;
        return encode_i32s(attr, arena, &msg->blocks_idx, err);
    case ATTR_LONGS:
        msg->n_longs = attr->count;
        msg->longs = attr->ints;
        break;
    }
    return rc;
}

static int encode_i32(const struct attr *attr, int64_t value, int32_t *out, struct err *err)
{
    if (value < INT32_MIN || value > INT32_MAX)
        return err_set(err, SL_EINVAL,
                       "attribute %s: %lld does not fit 32 bits; LONG would hold it", attr->name,
                       (long long)value);
    *out = (int32_t)value;
    return 0;
}

static int encode_i32s(const struct attr *attr, struct pb_arena *arena, int32_t **out,
                       struct err *err)
{
    *out = pb_arena_must(arena, attr->count, sizeof **out);
    int rc = 0;
    for (size_t i = 0; !rc && i < attr->count; i++)
        rc = encode_i32(attr, attr->ints[i], &(*out)[i], err);
    return rc;
}

static Framework__OpDesc__Attr *unpack_raw(const struct attr *attr, struct pb_arena *arena)
{
    return (Framework__OpDesc__Attr *)protobuf_c_message_unpack(
        &framework__op_desc__attr__descriptor, &arena->allocator, attr->raw_bytes, attr->raw);
}

static int64_t number_i32(const void *items, size_t i)
{
    return ((const int32_t *)items)[i];
}

static int64_t number_i64(const void *items, size_t i)
{
    return ((const int64_t *)items)[i];
}

static int64_t number_bool(const void *items, size_t i)
{
    return ((const protobuf_c_boolean *)items)[i] ? 1 : 0;
}
