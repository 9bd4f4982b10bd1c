// SPDX-License-Identifier: Apache-2.0
// The bodies of all frames but PUSH and DATA, as plain structs. One frame is one message; what the
// frame header already says (step, incarnation, request, variable, slice, offset) is not repeated.
// decode: every number is checked, texts hold no control characters, lists are capped; everything
// lives in the arena until its next use. encode: at most LIMIT_ENVELOPE_BYTES, else SL_ELIMIT
// (send it in pages).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"
#include "common/wire/frame.h"

struct buf;
struct err;

#define MESSAGE_RANGES_MAX 1024          // in one PULL or MISSING
#define MESSAGE_PARTIALS_MAX 1024        // in one PARTIALS or COMMIT_STEP page
#define MESSAGE_WAITING_MAX 64           // trainer ids that a heartbeat names
#define MESSAGE_TEXT_MAX 1024            // texts for people
#define MESSAGE_PAGE_BYTES (48u << 10)   // text of a PROGRESS page

enum message_role { MESSAGE_TRAINER = 1, MESSAGE_READER = 2 };
enum message_origin { MESSAGE_FRESH = 1, MESSAGE_LOADED = 2 };
enum message_decision { MESSAGE_APPLY = 1, MESSAGE_SKIP = 2, MESSAGE_STOP = 3 };
enum message_partial_kind {
    MESSAGE_NONFINITE = 1,
    MESSAGE_SQUARED_NORM = 2,
    MESSAGE_PARAM_SQUARED_NORM = 3
};

// client -> server, first frame. header.incarnation: the client's wish (0 = any).
struct message_hello {
    uint32_t protocol;                   // FRAME_VERSION
    enum message_role role;
    const char *job_id;                  // "" when none is set
    uint64_t topology;                   // slice_map_hash; not looked at for a reader
    uint32_t trainer_id;                 // < trainers
    uint32_t trainers, servers;          // 1..LIMIT_TRAINERS, 1..LIMIT_SERVERS; a reader may say 0
    uint32_t server_index;               // which server the client takes this one for
    uint64_t nonce;
    const char *place;                   // for people: "host worker3 pid 4711"
};

// server -> client. header.step: version held; header.incarnation: granted.
struct message_welcome {
    uint32_t server_index, servers, trainers;
    enum message_origin origin;
    const char *digest;                  // of the checkpoint loaded, hex; "" when fresh
    uint64_t topology;
    uint64_t epoch;
    uint32_t heartbeat_ms, silence_ms;   // how often to speak, how long silence is borne
    uint32_t progress_bytes;             // > 0: that much JSON follows in PROGRESS pages
};

// Both ways; final unless retry_ms > 0. Refusal of the HELLO, or of the request in the header.
struct message_refused {
    int code;                            // SL_E*
    uint32_t retry_ms;
    const char *text;
};

// A page of text. header.offset: where it goes; FRAME_LAST on the last.
struct message_progress {
    uint32_t total_bytes;
    const char *text;                    // text_bytes bytes, also NUL-terminated
    uint32_t text_bytes;
};

// Bytes [offset, offset + bytes) of a slice. bytes > 0, no overflow, <= LIMIT_TENSOR_BYTES.
struct message_range {
    uint32_t variable, slice;
    uint64_t offset, bytes;
};

// MISSING (server -> trainer, header.step): push these again. PULL (header.step: version wanted,
// 0 = whatever is current or pinned; header.request): answered by DATA frames that cover the ranges
// in order.
struct message_ranges {
    struct message_range *items;
    size_t count;                        // 1..MESSAGE_RANGES_MAX; MISSING: 0 = nothing is missing
};

// A number for the second phase: of a slice (PARTIALS) or combined for a variable (COMMIT_STEP).
struct message_partial {
    enum message_partial_kind kind;
    uint32_t variable, slice;
    double value;
};

// server -> trainer after the send barrier, pages until FRAME_LAST.
struct message_partials {
    struct message_partial *items;
    size_t count;                        // 0..MESSAGE_PARTIALS_MAX
};

// trainer -> server: what every trainer computed from all servers' partials.
struct message_commit_step {
    enum message_decision decision;
    struct message_partial *items;
    size_t count;
};

// COMMITTED: header.step = the version that step gave; = acknowledgement of all pushes of step.
struct message_committed {
    uint64_t step;
    enum message_decision decision;      // what was done with it
};

// Both ways. A server says whom it waits for; header.step: where the sender is.
struct message_heartbeat {
    uint64_t sent_ms;                    // sender's monotonic clock; for round trips by echo
    uint64_t echo_ms;                    // sent_ms of the last one received
    uint32_t waiting_ms;                 // > 0: waiting so long
    uint32_t *waiting_for;               // trainer ids
    size_t waiting_count;
    const char *text;                    // "" or what is going on, for people
};

// A variable of the slice map, or a part of its slices when they do not fit one page.
struct message_inventory_slice {
    uint32_t server;
    int64_t row, rows;
    const char *name;
};
struct message_inventory_var {
    uint32_t index;                      // in the sorted slice_map
    const char *name;
    uint32_t role;                       // enum slice_role
    const char *param;                   // "" when none
    enum dtype dtype;
    struct dims dims;                    // full shape
    bool replicated, sparse;
    uint32_t slices_total, slices_first;
    struct message_inventory_slice *slices;
    size_t slices_count;
};
// Pages in order of (variable, slice); FRAME_LAST on the last. header.step: version held.
struct message_inventory {
    uint32_t server_index, servers, trainers, vars_total;
    struct message_inventory_var *vars;
    size_t vars_count;
};

// PIN: header.step = version wanted (0 = current); PINNED answers with header.step = version kept
// until UNPIN. GOODBYE: I leave in order (code 0) or because of code. FATAL: the job ends; name
// whose fault it is.
struct message_end {
    int code;                            // 0 or SL_E*
    const char *text;
};

// SEND_BARRIER, FETCH_BARRIER, FETCHED, COMPLETE, COMPLETED, INVENTORY_REQUEST, PIN, PINNED, UNPIN
// have no fields of their own.
struct message {
    enum frame_type type;
    union {
        struct message_hello hello;
        struct message_welcome welcome;
        struct message_refused refused;
        struct message_progress progress;
        struct message_ranges ranges;            // MISSING, PULL
        struct message_partials partials;
        struct message_commit_step commit_step;
        struct message_committed committed;
        struct message_heartbeat heartbeat;
        struct message_inventory inventory;
        struct message_end end;                  // GOODBYE, FATAL
    };
};

// Appends the envelope to out. NULL texts count as "".
int message_encode(const struct message *message, struct buf *out, struct err *err);
// Envelope size without writing it: how a page is filled. Negative SL_E* never.
size_t message_bytes(const struct message *message);

// Memory of one decoded message: a block of fixed size that is reused for each.
struct message_arena;
struct message_arena *message_arena_new(void);
void message_arena_free(struct message_arena *arena);
// Parses bytes of an envelope of header->type. out points into arena until the arena's next decode.
int message_decode(const struct frame *header, const void *body, size_t bytes,
                   struct message_arena *arena, struct message *out, struct err *err);
