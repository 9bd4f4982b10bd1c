// SPDX-License-Identifier: Apache-2.0
// Frame headers: 64 bytes <-> struct frame, and every judgement that the header alone allows.
// Invariant: what frame_decode returned as valid has a known type, known flags and a body length
// within its type's limit, so nobody behind it checks these again. Pure, any thread.
#include "common/wire/frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/wire/checksum.h"

#define HASHED_BYTES (FRAME_HEADER_BYTES - 8)

struct frame_stranger {
    const char *start;
    size_t bytes;
    const char *text;
};

static const struct frame_stranger strangers[] = {
    {"PRI * HTTP/2", 12, "an HTTP/2 (gRPC) client"},
    {"GET ", 4, "an HTTP client"},
    {"POST ", 5, "an HTTP client"},
    {"HEAD ", 5, "an HTTP client"},
    {"PUT ", 4, "an HTTP client"},
    {"OPTIONS ", 8, "an HTTP client"},
    {"HTTP/", 5, "an HTTP server"},
    {"SSH-", 4, "an SSH program"},
    {"\x16\x03", 2, "a TLS client"},
    {"\x15\x03", 2, "a TLS program"},
};

static void put_le(uint8_t *out, uint64_t value, int bytes);
static uint64_t get_le(const uint8_t *in, int bytes);
static int check_fields(struct frame *header, int type, unsigned flags, struct err *err);

void frame_encode(const struct frame *header, uint8_t out[FRAME_HEADER_BYTES])
{
    ASSERT(header->type > 0 && header->type < FRAME_TYPES_END);
    ASSERT((header->flags & ~FRAME_FLAGS_ALL) == 0);
    memcpy(out, FRAME_MAGIC, 4);
    put_le(out + 4, FRAME_VERSION, 2);
    out[6] = (uint8_t)header->type;
    out[7] = header->flags;
    put_le(out + 8, header->body_bytes, 4);
    put_le(out + 12, header->variable, 4);
    put_le(out + 16, header->slice, 4);
    put_le(out + 20, header->request, 4);
    put_le(out + 24, header->step, 8);
    put_le(out + 32, header->incarnation, 8);
    put_le(out + 40, header->offset, 8);
    put_le(out + 48, header->body_hash, 8);
    put_le(out + HASHED_BYTES, checksum_of(out, HASHED_BYTES), 8);
}

int frame_decode(const uint8_t in[FRAME_HEADER_BYTES], struct frame *out, struct err *err)
{
    int code = frame_sniff(in, FRAME_HEADER_BYTES, err);
    if (code < 0)
        return code;
    uint64_t told = get_le(in + HASHED_BYTES, 8);
    uint64_t found = checksum_of(in, HASHED_BYTES);
    if (told != found)
        return err_set(err, SL_ECORRUPT,
                       "frame header: checksum is %016" PRIx64 ", the bytes give %016" PRIx64
                       " (damaged on the way, or out of step)", told, found);
    struct frame header = {
        .body_bytes = (uint32_t)get_le(in + 8, 4),
        .variable = (uint32_t)get_le(in + 12, 4),
        .slice = (uint32_t)get_le(in + 16, 4),
        .request = (uint32_t)get_le(in + 20, 4),
        .step = get_le(in + 24, 8),
        .incarnation = get_le(in + 32, 8),
        .offset = get_le(in + 40, 8),
        .body_hash = get_le(in + 48, 8),
    };
    code = check_fields(&header, in[6], in[7], err);
    if (code < 0)
        return code;
    *out = header;
    return 0;
}

int frame_sniff(const uint8_t *bytes, size_t count, struct err *err)
{
    size_t same = count < 4 ? count : 4;
    if (memcmp(bytes, FRAME_MAGIC, same) == 0) {
        unsigned version = count >= 6 ? (unsigned)get_le(bytes + 4, 2) : FRAME_VERSION;
        if (version == FRAME_VERSION)
            return 0;
        return err_set(err, SL_EFORMAT, "frame header: version is %u, this program speaks %d: "
                       "use the same release on both sides", version, FRAME_VERSION);
    }
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (count >= strangers[i].bytes &&
            memcmp(bytes, strangers[i].start, strangers[i].bytes) == 0)
            return err_set(err, SL_EFORMAT,
                           "the peer is %s; this port speaks only Sluice's native "
                           "protocol (frames that begin with \"%s\")",
                           strangers[i].text, FRAME_MAGIC);
    char seen[3 * 4 + 1] = "";
    for (size_t i = 0; i < same; i++)
        (void)snprintf(seen + 3 * i, 4, " %02x", bytes[i]);
    return err_set(err, SL_EFORMAT,
                   "frame header: magic is%s, not 53 4c 50 53 (\"%s\"): the peer does not "
                   "speak Sluice's native protocol",
                   seen, FRAME_MAGIC);
}

bool frame_type_is_raw(enum frame_type type)
{
    switch (type) {
#define X(name, number, raw, text) case name: return raw;
        FRAME_TYPES(X)
#undef X
    default:
        return false;
    }
}

bool frame_may_be_empty(const struct frame *header)
{
    return header->type == FRAME_PUSH && (header->flags & FRAME_SPARSE) && header->request == 0 &&
           header->offset == 0;
}

const char *frame_type_name(int type)
{
    switch (type) {
#define X(name, number, raw, text) case name: return text;
        FRAME_TYPES(X)
#undef X
    default:
        return "unknown type";
    }
}

const char *frame_format(const struct frame *header, char text[FRAME_TEXT_MAX])
{
    if (frame_type_is_raw(header->type))
        (void)snprintf(text, FRAME_TEXT_MAX,
                       "%s step %" PRIu64 " variable %" PRIu32 " slice %" PRIu32 " offset %" PRIu64
                       " (%" PRIu32 " bytes)",
                       frame_type_name(header->type), header->step, header->variable, header->slice,
                       header->offset, header->body_bytes);
    else
        (void)snprintf(
            text, FRAME_TEXT_MAX, "%s step %" PRIu64 " request %" PRIu32 " (%" PRIu32 " bytes)",
            frame_type_name(header->type), header->step, header->request, header->body_bytes);
    return text;
}

static void put_le(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *in, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

static int check_fields(struct frame *header, int type, unsigned flags, struct err *err)
{
    if (type < 1 || type >= FRAME_TYPES_END)
        return err_set(err, SL_EFORMAT, "frame header: type is %d, known are 1..%d", type,
                       FRAME_TYPES_END - 1);
    header->type = (enum frame_type)type;
    header->flags = (uint8_t)flags;
    if (flags & ~(unsigned)FRAME_FLAGS_ALL)
        return err_set(err, SL_EFORMAT, "frame header: flags of %s are 0x%02x, known are 0x%02x",
                       frame_type_name(type), flags, FRAME_FLAGS_ALL);
    bool raw = frame_type_is_raw(header->type);
    uint32_t most = raw ? LIMIT_FRAME_BODY_BYTES : LIMIT_ENVELOPE_BYTES;
    bool hollow = raw && header->body_bytes == 0 && !frame_may_be_empty(header);
    if (header->body_bytes > most || hollow)
        return err_set(err, SL_ELIMIT,
                       "frame header: body of %s has %" PRIu32 " bytes, allowed are %d..%" PRIu32,
                       frame_type_name(type), header->body_bytes, raw ? 1 : 0, most);
    if (header->offset > LIMIT_TENSOR_BYTES - header->body_bytes)
        return err_set(err, SL_ELIMIT,
                       "frame header: offset of %s is %" PRIu64 ", above the largest tensor (%llu)",
                       frame_type_name(type), header->offset,
                       (unsigned long long)LIMIT_TENSOR_BYTES);
    return 0;
}
