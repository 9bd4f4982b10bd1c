// SPDX-License-Identifier: Apache-2.0
// The unit of the native protocol: a fixed 64-byte little-endian header and body_bytes bytes behind
// it. README.md beside this file has the bytes; this is the header as a struct.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"

struct err;

#define FRAME_HEADER_BYTES 64
#define FRAME_MAGIC "SLPS"
#define FRAME_VERSION 1
#define FRAME_CHUNK_BYTES (256u << 10)   // usual body of PUSH and DATA

// name, number, whether the body is raw tensor bytes (else a protobuf envelope), text
#define FRAME_TYPES(X)                                                                             \
    X(FRAME_HELLO, 1, false, "hello")                                                              \
    X(FRAME_WELCOME, 2, false, "welcome")                                                          \
    X(FRAME_REFUSED, 3, false, "refused")                                                          \
    X(FRAME_PROGRESS, 4, false, "progress")                                                        \
    X(FRAME_PUSH, 5, true, "push")                                                                 \
    X(FRAME_SEND_BARRIER, 6, false, "send_barrier")                                                \
    X(FRAME_MISSING, 7, false, "missing")                                                          \
    X(FRAME_PARTIALS, 8, false, "partials")                                                        \
    X(FRAME_COMMIT_STEP, 9, false, "commit_step")                                                  \
    X(FRAME_COMMITTED, 10, false, "committed")                                                     \
    X(FRAME_PULL, 11, false, "pull")                                                               \
    X(FRAME_DATA, 12, true, "data")                                                                \
    X(FRAME_FETCH_BARRIER, 13, false, "fetch_barrier")                                             \
    X(FRAME_FETCHED, 14, false, "fetched")                                                         \
    X(FRAME_COMPLETE, 15, false, "complete")                                                       \
    X(FRAME_COMPLETED, 16, false, "completed")                                                     \
    X(FRAME_HEARTBEAT, 17, false, "heartbeat")                                                     \
    X(FRAME_INVENTORY_REQUEST, 18, false, "inventory_request")                                     \
    X(FRAME_INVENTORY, 19, false, "inventory")                                                     \
    X(FRAME_PIN, 20, false, "pin")                                                                 \
    X(FRAME_PINNED, 21, false, "pinned")                                                           \
    X(FRAME_UNPIN, 22, false, "unpin")                                                             \
    X(FRAME_GOODBYE, 23, false, "goodbye")                                                         \
    X(FRAME_FATAL, 24, false, "fatal")                                                             \
    X(FRAME_LOOKUP, 25, true, "lookup")                                                            \
    X(FRAME_MERGE, 26, true, "merge")                                                              \
    X(FRAME_MERGED, 27, true, "merged")

enum frame_type {
#define X(name, number, raw, text) name = number,
    FRAME_TYPES(X)
#undef X
    FRAME_TYPES_END
};

// A set of types for session_allow: FRAME_BIT(FRAME_HELLO) | FRAME_BIT(FRAME_GOODBYE).
#define FRAME_BIT(type) (1ull << (type))
#define FRAME_ALL (FRAME_BIT(FRAME_TYPES_END) - 2)

enum frame_flag {
    FRAME_LAST = 1,       // PUSH, DATA: the slice's (range's) last chunk; pages: the last page
    FRAME_SPARSE = 2,     // PUSH: the body is part of selected rows, of which request says how many
    FRAME_RESENT = 4,     // PUSH: sent again
    FRAME_FLAGS_ALL = 7,  // any other bit is refused
};

// Fields that a type does not use are 0. The header alone says where a body goes.
struct frame {
    enum frame_type type;
    uint8_t flags;              // enum frame_flag
    uint32_t body_bytes;        // <= LIMIT_FRAME_BODY_BYTES; envelopes <= LIMIT_ENVELOPE_BYTES
    uint32_t variable;          // index in the sorted slice_map
    uint32_t slice;             // index in the variable
    uint32_t request;           // chosen by the asker, repeated in every answer (PULL -> DATA);
                                // PUSH with FRAME_SPARSE: rows of the slice's gradient;
                                // MERGE, MERGED: the sum's key
    uint64_t step;              // PUSH, barriers, COMMIT_STEP: step; DATA, COMMITTED, PULL: version
    uint64_t incarnation;       // of the trainer that sends, or that is answered
    uint64_t offset;            // of the chunk: in the slice, in its gradient's rows, in what a
                                // lookup found
    uint64_t body_hash;         // checksum_of(body); set by the sending session
};

// Writes the 64 bytes (magic, version, all fields, header checksum). The header must be valid.
void frame_encode(const struct frame *header, uint8_t out[FRAME_HEADER_BYTES]);
// Reads and judges 64 bytes. SL_EFORMAT (magic, version, type, flags), SL_ECORRUPT (checksum),
// SL_ELIMIT (length, offset); the text names field and value, and guesses the speaker when it is
// HTTP, HTTP/2 or TLS.
int frame_decode(const uint8_t in[FRAME_HEADER_BYTES], struct frame *out, struct err *err);
// What the first bytes say, as soon as they cannot be ours: SL_EFORMAT with a text; 0 = fine
// so far.
int frame_sniff(const uint8_t *bytes, size_t count, struct err *err);
bool frame_type_is_raw(enum frame_type type);       // PUSH, DATA, LOOKUP, MERGE, MERGED
// May a raw body be empty? Only that of no rows: PUSH with FRAME_SPARSE and request 0.
bool frame_may_be_empty(const struct frame *header);
const char *frame_type_name(int type);              // "push"; "unknown type"
// "push step 7 variable 3 slice 0 offset 1048576 (65536 bytes)" for messages; returns text.
#define FRAME_TEXT_MAX 192
const char *frame_format(const struct frame *header, char text[FRAME_TEXT_MAX]);
