// SPDX-License-Identifier: Apache-2.0
// Where bytes stop being a message: protobuf-c only says that they are none. Private to the program
// layer.
#pragma once

#include <protobuf-c/protobuf-c.h>

struct err;

// Sets err to SL_EFORMAT with the byte offset and the field, like "not a whole ProgramDesc: cut
// off: byte 1234, ProgramDesc blocks ops: 90 bytes announced, 12 are left". For bytes that
// protobuf-c refused to unpack as a descriptor.
int pb_damage_explain(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t bytes,
                      struct err *err);
