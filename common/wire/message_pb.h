// SPDX-License-Identifier: Apache-2.0
// Inside wire only: what message.c, message_pack.c and message_unpack.c share. The only header that
// shows protobuf-c types.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ps_wire.pb-c.h"

struct err;
struct frame;
struct message;

// A bump allocator over one block; the memory is reused from the start for each message.
struct message_arena {
    uint8_t *block;               // allocated at first use
    size_t used, cap;
};

void *message_arena_get(struct message_arena *arena, size_t bytes);      // NULL when full

// Any body message of protobuf-c.
union message_pb {
    ProtobufCMessage base;
    PsWire__Hello hello;
    PsWire__Welcome welcome;
    PsWire__Refused refused;
    PsWire__Progress progress;
    PsWire__Ranges ranges;
    PsWire__Partials partials;
    PsWire__CommitStep commit_step;
    PsWire__Committed committed;
    PsWire__Heartbeat heartbeat;
    PsWire__Inventory inventory;
    PsWire__End end;
};

// Fills out as a view of message (texts borrowed, lists from arena). SL_ENOMEM: arena full.
int message_pack(const struct message *message, struct message_arena *arena, union message_pb *out);
// Checks pb (a body of header->type) and fills out; lists from arena.
int message_unpack(const struct frame *header, const ProtobufCMessage *pb,
                   struct message_arena *arena, struct message *out, struct err *err);
// The schema of a type; NULL for types without fields.
const ProtobufCMessageDescriptor *message_descriptor(int type);
