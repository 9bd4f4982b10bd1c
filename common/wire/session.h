// SPDX-License-Identifier: Apache-2.0
// One connection's protocol without the connection: says where the next bytes go, is told how many
// came, and has the bytes that should leave. No sockets, no clock, no thread of its own; every call
// and callback is on the owner's (loop) thread. Callbacks may send, but not free the session.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/frame.h"

struct err;
struct iovec;
struct message;
struct session;

// Each returns 0, or negative with err set: the session then fails with it (session_got
// returns it).
struct session_ops {
    // A header with a raw body came. *out_dst = where its body_bytes go (they stay the session's
    // until on_chunk or on_abandon), or leave it NULL: the bytes are drained, on_chunk still comes.
    // Bytes arrive before their checksum is known: hand out only memory that nobody reads yet.
    int (*place)(void *self, const struct frame *header, void **out_dst, struct err *err);
    // All of the body is at dst (NULL: drained) and still in the cache. sound: its checksum passed.
    int (*on_chunk)(void *self, const struct frame *header, void *dst, bool sound, struct err *err);
    // The connection ended in the middle of a placed chunk. May be NULL.
    void (*on_abandon)(void *self, const struct frame *header, void *dst);
    // Any other frame. message lives until the callback returns.
    int (*on_message)(void *self, const struct frame *header, const struct message *message,
                      struct err *err);
    // The output queue was full (a send gave SL_EAGAIN) and is half empty again. May be NULL.
    void (*on_room)(void *self);
};

struct session_options {
    uint64_t allow;               // FRAME_BITs that may come at first; others are errors. 0 = all
    size_t queue_frames_max;      // output cap; 0 = 4096
    // Output cap, bodies included; 0 = 256 MiB. One frame always fits an empty queue.
    size_t queue_bytes_max;
};

struct session *session_new(const struct session_ops *ops, void *self,
                            const struct session_options *options);
void session_free(struct session *session);      // drops first; NULL is fine
// Ends both directions: abandons the open chunk, releases queued frames with written = false.
void session_drop(struct session *session);
// Replaces the callbacks, e.g. once a hello told who this is.
void session_set_ops(struct session *session, const struct session_ops *ops, void *self);
void session_allow(struct session *session, uint64_t types);
// No more callbacks from input: what still comes is drained. For a connection that is being closed.
void session_stop(struct session *session);

// ---- in
// Where the next bytes go, at least 1. Never fails; after an error it gives a drain. Small frames
// are gathered in a read-ahead buffer, the rest of a large body goes straight to its place.
void session_want(struct session *session, void **out_ptr, size_t *out_bytes);
// bytes (<= what want said) are there. Runs callbacks. SL_EFORMAT / SL_ELIMIT / SL_ECORRUPT
// (envelope) / what a callback returned: the input is dead from then on, close the connection.
int session_got(struct session *session, size_t bytes, struct err *err);
// The peer closed. 0 between frames; SL_ECLOSED in the middle of one, saying which and how much is
// missing.
int session_end(struct session *session, struct err *err);

// ---- out
// header: type, flags, variable, slice, request, step, incarnation, offset; the session sets
// body_bytes and body_hash.
struct session_chunk {
    struct frame header;
    const void *body;             // borrowed until release; must not change meanwhile
    uint32_t body_bytes;
    // One checksum for many receivers: NULL = compute each time (just before the bytes leave,
    // cache-hot). Else *hash_cell != 0 is the body's checksum, and 0 is filled in at first use.
    // Valid until release.
    uint64_t *hash_cell;
    // Called once: written = all bytes were taken by the connection (session_wrote), or the session
    // was freed. May be NULL.
    void (*release)(void *arg, bool written);
    void *arg;
};

// Queues a frame with a raw body; frames leave in the order of queueing. SL_EAGAIN when the queue
// is at its cap (nothing queued, no release; on_room comes); SL_ENOMEM.
int session_send_chunk(struct session *session, const struct session_chunk *chunk);
// Queues any other frame (encoded now; header.type is taken from the message). May exceed the caps
// by 1024 frames, so that barriers and FATAL are not stuck; then SL_ELIMIT: close the connection.
int session_send_message(struct session *session, const struct frame *header,
                         const struct message *message, struct err *err);
// Next bytes to write, at most iov_max entries and about bytes_max bytes (>= one entry when there
// is any output). Returns entries; out_bytes their sum. The same bytes come again until
// session_wrote.
size_t session_pull_output(struct session *session, struct iovec *iov, size_t iov_max,
                           size_t bytes_max, size_t *out_bytes);
void session_wrote(struct session *session, size_t bytes);
bool session_has_output(const struct session *session);
bool session_has_room(const struct session *session);         // for a chunk of FRAME_CHUNK_BYTES
size_t session_output_bytes(const struct session *session);   // queued and not yet written

struct session_stats {
    uint64_t bytes_in, bytes_out, frames_in, frames_out, chunks_bad;
};
void session_stats(const struct session *session, struct session_stats *out);
