// SPDX-License-Identifier: Apache-2.0
// Inside wire only: the frames that wait to be written, in order. See session.h for the meaning.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct frame;
struct iovec;
struct message;
struct outbox_frame;
struct session_chunk;

struct outbox {
    struct outbox_frame *head, *tail;   // queued
    struct outbox_frame *spare;         // written ones, for reuse
    size_t frames, frames_max;
    size_t bytes, bytes_max;            // queued and not yet written
    size_t head_done;                   // bytes of head that are written
    size_t spares, spare_bodies;
    bool refused;                       // a chunk was turned away since the last outbox_take_room
    uint64_t frames_out, bytes_out;
};

void outbox_init(struct outbox *box, size_t frames_max, size_t bytes_max);
// Releases what is queued with written = false and frees all; the box stays usable.
void outbox_drop(struct outbox *box);
bool outbox_has_room(const struct outbox *box, size_t body_bytes);
int outbox_add_chunk(struct outbox *box, const struct session_chunk *chunk);
int outbox_add_message(struct outbox *box, const struct frame *header,
                       const struct message *message, struct err *err);
size_t outbox_pull(struct outbox *box, struct iovec *iov, size_t iov_max, size_t bytes_max,
                   size_t *out_bytes);
void outbox_wrote(struct outbox *box, size_t bytes);
// True once when a chunk had been refused and the queue is at most half full now.
bool outbox_take_room(struct outbox *box);
