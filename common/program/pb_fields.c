// SPDX-License-Identifier: Apache-2.0
// protobuf-c keeps unknown fields as an array of pointers. Here they are kept as bytes: packing a
// message that has nothing else gives them, unpacking those bytes gives the array back.
#include "common/program/pb_fields.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/program/pb_arena.h"

int pb_fields_name(bool present, const ProtobufCBinaryData *data, const char *what, char **out,
                   struct err *err)
{
    if (!present)
        return err_set(err, SL_EFORMAT, "no %s", what);
    if (data->len > LIMIT_NAME_BYTES)
        return err_set(err, SL_EFORMAT, "a %s of %zu bytes, at most %d are possible", what,
                       data->len, LIMIT_NAME_BYTES);
    if (data->len && memchr(data->data, 0, data->len))
        return err_set(err, SL_EFORMAT, "a %s with a NUL byte in it", what);
    *out = data->len ? mem_must_strndup((const char *)data->data, data->len) : mem_must_strdup("");
    return 0;
}

ProtobufCBinaryData pb_fields_borrow(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)(uintptr_t)text};
}

int pb_fields_copy(const void *data, size_t bytes, uint8_t **out, struct err *err)
{
    uint8_t *copy = mem_alloc(bytes + 1);
    if (!copy)
        return err_set(err, SL_ENOMEM, "no memory for %zu bytes", bytes);
    if (bytes)
        memcpy(copy, data, bytes);
    copy[bytes] = 0;
    *out = copy;
    return 0;
}

int pb_fields_pack(const ProtobufCMessage *msg, uint8_t **out, size_t *out_bytes, struct err *err)
{
    size_t bytes = protobuf_c_message_get_packed_size(msg);
    *out = NULL;
    *out_bytes = bytes;
    if (!bytes)
        return 0;
    *out = mem_alloc(bytes);
    if (!*out)
        return err_set(err, SL_ENOMEM, "no memory for %zu bytes", bytes);
    protobuf_c_message_pack(msg, *out);
    return 0;
}

int pb_fields_take_unknown(const ProtobufCMessage *msg, uint8_t **out, size_t *out_bytes,
                           struct err *err)
{
    if (!msg->n_unknown_fields)
        return 0;
    // No message of this schema has required fields, so a zeroed one of any size is valid.
    ProtobufCMessage *bare = mem_calloc(1, msg->descriptor->sizeof_message);
    if (!bare)
        return err_set(err, SL_ENOMEM, "no memory");
    protobuf_c_message_init(msg->descriptor, bare);
    bare->n_unknown_fields = msg->n_unknown_fields;
    bare->unknown_fields = msg->unknown_fields;
    int rc = pb_fields_pack(bare, out, out_bytes, err);
    mem_free(bare);
    return rc;
}

int pb_fields_put_unknown(ProtobufCMessage *msg, const uint8_t *data, size_t bytes,
                          struct pb_arena *arena, struct err *err)
{
    if (!bytes)
        return 0;
    ProtobufCMessage *bare =
        protobuf_c_message_unpack(msg->descriptor, &arena->allocator, bytes, data);
    if (!bare)
        return err_set(err, SL_ENOMEM, "no memory for the unknown fields of a message");
    msg->n_unknown_fields = bare->n_unknown_fields;
    msg->unknown_fields = bare->unknown_fields;
    return 0;
}
