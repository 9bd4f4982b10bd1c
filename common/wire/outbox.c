// SPDX-License-Identifier: Apache-2.0
// The queue of outgoing frames. Bodies of chunks are borrowed, envelopes are owned. A frame's
// header is encoded, and its body summed, when its bytes are first handed out: the sum warms the
// cache for the copy into the socket that follows. Invariant: an entry does not move while it is
// queued, since the writer may hold pointers to its header. Entries are reused, so steady traffic
// allocates nothing.
#include "common/wire/outbox.h"

#include <sys/uio.h>

#include "common/base/assert.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/wire/checksum.h"
#include "common/wire/frame.h"
#include "common/wire/message.h"
#include "common/wire/session.h"

#define FRAMES_DEFAULT 4096
#define BYTES_DEFAULT (256u << 20)
#define MESSAGES_EXTRA 1024             // messages may exceed the cap by so many frames
#define SPARE_BODIES_MAX 64             // how many envelope buffers are kept for reuse
#define SPARE_BODY_BYTES 4096

struct outbox_frame {
    struct outbox_frame *next;
    struct frame header;
    uint8_t head[FRAME_HEADER_BYTES];
    bool encoded;
    const uint8_t *body;
    uint64_t *hash_cell;
    void (*release)(void *arg, bool written);
    void *arg;
    struct buf envelope;
};

static struct outbox_frame *take_entry(struct outbox *box);
static void append(struct outbox *box, struct outbox_frame *entry);
static void recycle(struct outbox *box, struct outbox_frame *entry);
static void encode(struct outbox_frame *entry);
static size_t frame_bytes(const struct outbox_frame *entry);

void outbox_init(struct outbox *box, size_t frames_max, size_t bytes_max)
{
    *box = (struct outbox){
        .frames_max = frames_max ? frames_max : FRAMES_DEFAULT,
        .bytes_max = bytes_max ? bytes_max : BYTES_DEFAULT,
    };
}

void outbox_drop(struct outbox *box)
{
    while (box->head) {
        struct outbox_frame *entry = box->head;
        box->head = entry->next;
        if (!box->head)
            box->tail = NULL;
        if (entry->release)
            entry->release(entry->arg, false);
        buf_deinit(&entry->envelope);
        mem_free(entry);
    }
    while (box->spare) {
        struct outbox_frame *entry = box->spare;
        box->spare = entry->next;
        buf_deinit(&entry->envelope);
        mem_free(entry);
    }
    box->frames = box->bytes = box->head_done = box->spares = box->spare_bodies = 0;
    box->refused = false;
}

bool outbox_has_room(const struct outbox *box, size_t body_bytes)
{
    return box->frames == 0 || (box->frames < box->frames_max &&
                                box->bytes + FRAME_HEADER_BYTES + body_bytes <= box->bytes_max);
}

int outbox_add_chunk(struct outbox *box, const struct session_chunk *chunk)
{
    ASSERT(frame_type_is_raw(chunk->header.type));
    ASSERT(chunk->body_bytes > 0 || frame_may_be_empty(&chunk->header));
    ASSERT(chunk->body_bytes <= LIMIT_FRAME_BODY_BYTES);
    if (!outbox_has_room(box, chunk->body_bytes)) {
        box->refused = true;
        return SL_EAGAIN;
    }
    struct outbox_frame *entry = take_entry(box);
    if (!entry)
        return SL_ENOMEM;
    entry->header = chunk->header;
    entry->header.body_bytes = chunk->body_bytes;
    entry->body = chunk->body;
    entry->hash_cell = chunk->hash_cell;
    entry->release = chunk->release;
    entry->arg = chunk->arg;
    append(box, entry);
    return 0;
}

int outbox_add_message(struct outbox *box, const struct frame *header,
                       const struct message *message, struct err *err)
{
    if (box->frames >= box->frames_max + MESSAGES_EXTRA)
        return err_set(err, SL_ELIMIT,
                       "%s: %zu frames wait to be written, the peer does not take them",
                       frame_type_name((int)message->type), box->frames);
    struct outbox_frame *entry = take_entry(box);
    if (!entry)
        return err_set(err, SL_ENOMEM, "%s: no memory to send it",
                       frame_type_name((int)message->type));
    entry->header = *header;
    entry->header.type = message->type;
    int code = message_encode(message, &entry->envelope, err);
    if (code < 0) {
        recycle(box, entry);
        return code;
    }
    entry->header.body_bytes = (uint32_t)entry->envelope.bytes;
    entry->body = entry->envelope.data;
    append(box, entry);
    return 0;
}

size_t outbox_pull(struct outbox *box, struct iovec *iov, size_t iov_max, size_t bytes_max,
                   size_t *out_bytes)
{
    size_t count = 0;
    size_t bytes = 0;
    size_t done = box->head_done;
    for (struct outbox_frame *entry = box->head; entry; entry = entry->next) {
        bool need_two = done < FRAME_HEADER_BYTES && entry->header.body_bytes > 0;
        if (count + (need_two ? 2 : 1) > iov_max && count > 0)
            break;
        if (count > 0 && bytes >= bytes_max)
            break;
        if (!entry->encoded)
            encode(entry);
        if (done < FRAME_HEADER_BYTES) {
            iov[count++] = (struct iovec){entry->head + done, FRAME_HEADER_BYTES - done};
            bytes += FRAME_HEADER_BYTES - done;
            done = FRAME_HEADER_BYTES;
        }
        if (count == iov_max)
            break;
        size_t body_done = done - FRAME_HEADER_BYTES;
        if (body_done < entry->header.body_bytes) {
            iov[count++] = (struct iovec){(void *)(uintptr_t)(entry->body + body_done),
                                          entry->header.body_bytes - body_done};
            bytes += entry->header.body_bytes - body_done;
        }
        done = 0;
    }
    *out_bytes = bytes;
    return count;
}

void outbox_wrote(struct outbox *box, size_t bytes)
{
    ASSERT(bytes <= box->bytes);
    box->bytes -= bytes;
    box->bytes_out += bytes;
    box->head_done += bytes;
    while (box->head && box->head_done >= frame_bytes(box->head)) {
        struct outbox_frame *entry = box->head;
        box->head_done -= frame_bytes(entry);
        box->head = entry->next;
        if (!box->head)
            box->tail = NULL;
        box->frames--;
        box->frames_out++;
        void (*release)(void *, bool) = entry->release;
        void *arg = entry->arg;
        recycle(box, entry);
        if (release)
            release(arg, true);
    }
}

bool outbox_take_room(struct outbox *box)
{
    if (!box->refused || box->frames > box->frames_max / 2 || box->bytes > box->bytes_max / 2)
        return false;
    box->refused = false;
    return true;
}

static struct outbox_frame *take_entry(struct outbox *box)
{
    struct outbox_frame *entry = box->spare;
    if (!entry) {
        entry = mem_calloc(1, sizeof *entry);
        if (entry)
            buf_init(&entry->envelope, LIMIT_ENVELOPE_BYTES);
        return entry;
    }
    box->spare = entry->next;
    box->spares--;
    if (entry->envelope.cap)
        box->spare_bodies--;
    return entry;
}

static void append(struct outbox *box, struct outbox_frame *entry)
{
    entry->next = NULL;
    if (box->tail)
        box->tail->next = entry;
    else
        box->head = entry;
    box->tail = entry;
    box->frames++;
    box->bytes += frame_bytes(entry);
}

static void recycle(struct outbox *box, struct outbox_frame *entry)
{
    if (entry->envelope.cap > SPARE_BODY_BYTES || box->spare_bodies >= SPARE_BODIES_MAX)
        buf_deinit(&entry->envelope);
    struct buf envelope = entry->envelope;
    buf_init(&entry->envelope, LIMIT_ENVELOPE_BYTES);
    if (envelope.cap) {
        buf_clear(&envelope);
        entry->envelope = envelope;
        box->spare_bodies++;
    }
    entry->encoded = false;
    entry->hash_cell = NULL;
    entry->release = NULL;
    entry->body = NULL;
    if (box->spares >= box->frames_max) {
        if (entry->envelope.cap)
            box->spare_bodies--;
        buf_deinit(&entry->envelope);
        mem_free(entry);
        return;
    }
    entry->next = box->spare;
    box->spare = entry;
    box->spares++;
}

static void encode(struct outbox_frame *entry)
{
    uint64_t hash = entry->hash_cell ? *entry->hash_cell : 0;
    if (hash == 0) {
        hash = checksum_of(entry->body, entry->header.body_bytes);
        if (entry->hash_cell)
            *entry->hash_cell = hash;
    }
    entry->header.body_hash = hash;
    frame_encode(&entry->header, entry->head);
    entry->encoded = true;
}

static size_t frame_bytes(const struct outbox_frame *entry)
{
    return FRAME_HEADER_BYTES + (size_t)entry->header.body_bytes;
}
