// SPDX-License-Identifier: Apache-2.0
// Envelopes: the way in and out of protobuf-c. Memory for a decoded message comes from an arena of
// a fixed cap (a hostile envelope of 64 KiB could ask protobuf-c for megabytes), reset for each
// message; nothing is allocated per message once the block exists. message_pack.c and
// message_unpack.c convert the fields. One arena is used by one thread.
#include "common/wire/message.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/wire/message_pb.h"

#define ARENA_BYTES (1u << 20)
#define PACK_STACK_BYTES (16u << 10)   // lists up to about 180 ranges are packed without the heap

static void *arena_alloc(void *data, size_t bytes);
static void arena_no_free(void *data, void *ptr);
static int pack_and(const struct message *message, struct buf *out, size_t *out_bytes,
                    struct err *err);

struct message_arena *message_arena_new(void)
{
    return mem_calloc(1, sizeof(struct message_arena));
}

void message_arena_free(struct message_arena *arena)
{
    if (!arena)
        return;
    mem_free(arena->block);
    mem_free(arena);
}

void *message_arena_get(struct message_arena *arena, size_t bytes)
{
    size_t rounded = (bytes + 15) & ~(size_t)15;
    if (rounded < bytes)
        return NULL;
    if (!arena->block) {
        arena->block = mem_alloc(ARENA_BYTES);
        if (!arena->block)
            return NULL;
        arena->cap = ARENA_BYTES;
    }
    if (rounded > arena->cap - arena->used)
        return NULL;
    void *got = arena->block + arena->used;
    arena->used += rounded;
    return got;
}

int message_encode(const struct message *message, struct buf *out, struct err *err)
{
    return pack_and(message, out, NULL, err);
}

size_t message_bytes(const struct message *message)
{
    size_t bytes = 0;
    return pack_and(message, NULL, &bytes, NULL) < 0 ? SIZE_MAX : bytes;
}

int message_decode(const struct frame *header, const void *body, size_t bytes,
                   struct message_arena *arena, struct message *out, struct err *err)
{
    const char *name = frame_type_name((int)header->type);
    if (bytes > LIMIT_ENVELOPE_BYTES)
        return err_set(err, SL_ELIMIT, "%s: body of %zu bytes, at most %u are allowed", name, bytes,
                       LIMIT_ENVELOPE_BYTES);
    arena->used = 0;
    const ProtobufCMessageDescriptor *descriptor = message_descriptor((int)header->type);
    if (!descriptor) {
        // A later version may add fields to these; they are ignored like any unknown field.
        *out = (struct message){.type = header->type};
        return 0;
    }
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_no_free, .allocator_data = arena};
    const ProtobufCMessage *pb = protobuf_c_message_unpack(descriptor, &allocator, bytes, body);
    if (!pb)
        return err_set(err, SL_EFORMAT, "%s: the body (%zu bytes) is not a valid %s", name, bytes,
                       descriptor->name);
    return message_unpack(header, pb, arena, out, err);
}

const ProtobufCMessageDescriptor *message_descriptor(int type)
{
    switch (type) {
    case FRAME_HELLO: return &ps_wire__hello__descriptor;
    case FRAME_WELCOME: return &ps_wire__welcome__descriptor;
    case FRAME_REFUSED: return &ps_wire__refused__descriptor;
    case FRAME_PROGRESS: return &ps_wire__progress__descriptor;
    case FRAME_MISSING:
    case FRAME_PULL: return &ps_wire__ranges__descriptor;
    case FRAME_PARTIALS: return &ps_wire__partials__descriptor;
    case FRAME_COMMIT_STEP: return &ps_wire__commit_step__descriptor;
    case FRAME_COMMITTED: return &ps_wire__committed__descriptor;
    case FRAME_HEARTBEAT: return &ps_wire__heartbeat__descriptor;
    case FRAME_INVENTORY: return &ps_wire__inventory__descriptor;
    case FRAME_GOODBYE:
    case FRAME_FATAL: return &ps_wire__end__descriptor;
    default: return NULL;
    }
}

static void *arena_alloc(void *data, size_t bytes)
{
    return message_arena_get(data, bytes);
}

// The arena forgets everything at once.
static void arena_no_free(void *data, void *ptr)
{
    (void)data;
    (void)ptr;
}

// Packs into out (when there is one), or only measures.
static int pack_and(const struct message *message, struct buf *out, size_t *out_bytes,
                    struct err *err)
{
    const char *name = frame_type_name((int)message->type);
    if (!message_descriptor((int)message->type))
        return 0;
    _Alignas(16) uint8_t stack[PACK_STACK_BYTES];
    struct message_arena arena = {.block = stack, .cap = sizeof stack};
    struct message_arena large = {0};
    union message_pb pb;
    int code = message_pack(message, &arena, &pb);
    if (code < 0)
        code = message_pack(message, &large, &pb);
    if (code < 0) {
        err_set(err, code, "%s: no memory to pack it", name);
        goto done;
    }
    size_t bytes = protobuf_c_message_get_packed_size(&pb.base);
    if (bytes > LIMIT_ENVELOPE_BYTES && out) {
        code =
            err_set(err, SL_ELIMIT, "%s: %zu bytes do not fit one envelope of %u: send it in pages",
                    name, bytes, LIMIT_ENVELOPE_BYTES);
        goto done;
    }
    if (out_bytes)
        *out_bytes = bytes;
    if (out) {
        code = buf_reserve(out, bytes);
        if (code < 0) {
            err_set(err, code, "%s: no memory for %zu bytes", name, bytes);
            goto done;
        }
        out->bytes += protobuf_c_message_pack(&pb.base, out->data + out->bytes);
    }
done:
    mem_free(large.block);
    return code < 0 ? code : 0;
}
