// SPDX-License-Identifier: Apache-2.0
// Walks the fields of a refused message and of the messages in it, by the schema; the depth is
// bounded by the schema, which has no recursive message. Runs only to explain an error.
#include "common/program/pb_damage.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct walk {
    const uint8_t *start, *at;
    struct buf path;            // "ProgramDesc blocks ops"
    struct err *err;
};

static int walk_message(struct walk *w, const ProtobufCMessageDescriptor *descriptor,
                        const uint8_t *end);
static int walk_field(struct walk *w, const ProtobufCMessageDescriptor *descriptor,
                      const uint8_t *end);
static int walk_bytes(struct walk *w, const ProtobufCFieldDescriptor *field, uint64_t length,
                      const uint8_t *end);
static int damaged(struct walk *w, const uint8_t *at, const char *what);
static bool take_varint(struct walk *w, const uint8_t *end, uint64_t *out);

int pb_damage_explain(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t bytes,
                      struct err *err)
{
    struct walk w = {.start = data, .at = data, .err = err};
    buf_init(&w.path, 0);
    buf_printf(&w.path, "%s", descriptor->short_name);
    int rc = walk_message(&w, descriptor, w.start + bytes);
    buf_deinit(&w.path);
    if (!rc)
        rc = err_set(err, SL_EFORMAT,
                     "it needs too much memory, or a number is longer than its field");
    err_prefix(err, "not a whole %s", descriptor->short_name);
    return rc;
}

static int walk_message(struct walk *w, const ProtobufCMessageDescriptor *descriptor,
                        const uint8_t *end)
{
    int rc = 0;
    while (!rc && w->at < end)
        rc = walk_field(w, descriptor, end);
    return rc;
}

static int walk_field(struct walk *w, const ProtobufCMessageDescriptor *descriptor,
                      const uint8_t *end)
{
    const uint8_t *start = w->at;
    uint64_t key, value;
    if (!take_varint(w, end, &key))
        return damaged(w, start, "no field begins here");
    uint64_t number = key >> 3, left;
    if (!number || number > INT32_MAX)
        return damaged(w, start, "no field begins here");
    switch (key & 7) {
    case 0:
        return take_varint(w, end, &value) ? 0 : damaged(w, start, "a number is cut off");
    case 1:
    case 5:
        left = (uint64_t)(end - w->at);
        value = (key & 7) == 1 ? 8 : 4;
        if (value > left)
            return damaged(w, start, "a number is cut off");
        w->at += value;
        return 0;
    case 2:
        if (!take_varint(w, end, &value))
            return damaged(w, start, "a length is cut off");
        return walk_bytes(w, protobuf_c_message_descriptor_get_field(descriptor, (unsigned)number),
                          value, end);
    default:
        return damaged(w, start, "no field begins here");
    }
}

static int walk_bytes(struct walk *w, const ProtobufCFieldDescriptor *field, uint64_t length,
                      const uint8_t *end)
{
    size_t path_bytes = w->path.bytes;
    uint64_t left = (uint64_t)(end - w->at);
    int rc = 0;
    if (field)
        buf_printf(&w->path, " %s", field->name);
    if (length > left)
        return err_set(w->err, SL_EFORMAT,
                       "cut off: byte %zu, %s: %llu bytes announced, %llu are left",
                       (size_t)(w->at - w->start), buf_text(&w->path), (unsigned long long)length,
                       (unsigned long long)left);
    if (field && field->type == PROTOBUF_C_TYPE_MESSAGE)
        rc = walk_message(w, field->descriptor, w->at + length);
    else
        w->at += length;
    w->path.bytes = path_bytes;
    return rc;
}

static int damaged(struct walk *w, const uint8_t *at, const char *what)
{
    return err_set(w->err, SL_EFORMAT, "damaged: byte %zu, %s: %s", (size_t)(at - w->start),
                   buf_text(&w->path), what);
}

static bool take_varint(struct walk *w, const uint8_t *end, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && w->at < end; shift += 7) {
        uint8_t byte = *w->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}
