// SPDX-License-Identifier: Apache-2.0
// Pieces that every message needs, both ways: names, unknown fields, whole messages as bytes.
// Private to the program layer.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct err;
struct pb_arena;

// A name out of a message into *out (mem_free it). what names the field in errors. Names are texts:
// at most LIMIT_NAME_BYTES and without NUL. Absent: SL_EFORMAT.
int pb_fields_name(bool present, const ProtobufCBinaryData *data, const char *what, char **out,
                   struct err *err);
// Borrows text for the life of the message.
ProtobufCBinaryData pb_fields_borrow(const char *text);
// Copies data with a NUL behind it; SL_ENOMEM.
int pb_fields_copy(const void *data, size_t bytes, uint8_t **out, struct err *err);
// The message in wire form; NULL when it is empty. SL_ENOMEM.
int pb_fields_pack(const ProtobufCMessage *msg, uint8_t **out, size_t *out_bytes, struct err *err);
// The unknown fields of a message in wire form (NULL: none), and back into a message.
int pb_fields_take_unknown(const ProtobufCMessage *msg, uint8_t **out, size_t *out_bytes,
                           struct err *err);
int pb_fields_put_unknown(ProtobufCMessage *msg, const uint8_t *data, size_t bytes,
                          struct pb_arena *arena, struct err *err);
