// SPDX-License-Identifier: Apache-2.0
// The receiving machine: header -> (envelope | chunk) -> header ... Where the next bytes go depends
// on the traffic. Small frames are read ahead into one buffer, many per read; after a body of
// BULK_BYTES or more the next header is asked for alone, so that the bulk that follows is read
// straight into its place and never copied. Bodies are summed piece by piece as they come, while in
// the cache. Invariant: bytes are given to the machine in order exactly once, whatever the split;
// `ahead` holds only bytes that were received and not yet consumed. The output half is outbox.c.
#include "common/wire/session.h"

#include <inttypes.h>
#include <string.h>
#include <sys/uio.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/wire/checksum.h"
#include "common/wire/message.h"
#include "common/wire/outbox.h"

#define AHEAD_BYTES (128u << 10)        // holds any envelope with its header
#define BULK_BYTES (64u << 10)          // bodies from here on are read without reading ahead
#define DIRECT_BYTES (16u << 10)        // less of a small body than this is read through `ahead`

_Static_assert(AHEAD_BYTES >= FRAME_HEADER_BYTES + LIMIT_ENVELOPE_BYTES, "an envelope fits");

enum session_phase { PHASE_HEADER, PHASE_ENVELOPE, PHASE_CHUNK };

struct session {
    struct session_ops ops;
    void *self;
    uint64_t allow;
    struct message_arena *arena;
    uint8_t *ahead;
    size_t start, end;                  // received and not consumed: ahead[start..end)
    bool direct;                        // the last want pointed into dst, not into ahead
    bool bulk;                          // the last chunk was large
    bool stopped;                       // no more callbacks from input
    enum session_phase phase;
    struct frame header;
    uint8_t *dst;                       // PHASE_CHUNK; NULL = drained
    size_t body_done;
    struct checksum sum;
    struct err failure;                 // code != 0: the input is dead
    uint64_t bytes_in, frames_in, chunks_bad;
    struct outbox out;
};

static int process(struct session *session, struct err *err);
static int take_header(struct session *session, struct err *err);
static int take_envelope(struct session *session, struct err *err);
static int take_chunk(struct session *session, const uint8_t *bytes, size_t count, struct err *err);
static int end_chunk(struct session *session, struct err *err);
static size_t chunk_left(const struct session *session);

struct session *session_new(const struct session_ops *ops, void *self,
                            const struct session_options *options)
{
    static const struct session_options defaults = {0};
    if (!options)
        options = &defaults;
    struct session *session = mem_calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->ahead = mem_alloc(AHEAD_BYTES);
    session->arena = message_arena_new();
    session->allow = options->allow ? options->allow : FRAME_ALL;
    outbox_init(&session->out, options->queue_frames_max, options->queue_bytes_max);
    session_set_ops(session, ops, self);
    if (!session->ahead || !session->arena) {
        session_free(session);
        return NULL;
    }
    return session;
}

void session_free(struct session *session)
{
    if (!session)
        return;
    session_drop(session);
    message_arena_free(session->arena);
    mem_free(session->ahead);
    mem_free(session);
}

void session_drop(struct session *session)
{
    session->stopped = true;
    uint8_t *dst = session->phase == PHASE_CHUNK ? session->dst : NULL;
    session->dst = NULL;
    if (dst && session->ops.on_abandon)
        session->ops.on_abandon(session->self, &session->header, dst);
    outbox_drop(&session->out);
}

void session_set_ops(struct session *session, const struct session_ops *ops, void *self)
{
    session->ops = ops ? *ops : (struct session_ops){0};
    session->self = self;
}

void session_allow(struct session *session, uint64_t types)
{
    session->allow = types;
}

void session_stop(struct session *session)
{
    session->stopped = true;
}

void session_want(struct session *session, void **out_ptr, size_t *out_bytes)
{
    session->direct = false;
    if (session->failure.code || session->stopped) {
        *out_ptr = session->ahead;
        *out_bytes = AHEAD_BYTES;
        return;
    }
    size_t left = session->phase == PHASE_CHUNK ? chunk_left(session) : 0;
    if (left && session->dst && (session->bulk || left >= DIRECT_BYTES)) {
        session->direct = true;
        *out_ptr = session->dst + session->body_done;
        *out_bytes = left;
        return;
    }
    if (session->start > 0) {
        memmove(session->ahead, session->ahead + session->start, session->end - session->start);
        session->end -= session->start;
        session->start = 0;
    }
    *out_ptr = session->ahead + session->end;
    *out_bytes = AHEAD_BYTES - session->end;
    if (session->bulk && session->phase == PHASE_HEADER)
        *out_bytes = FRAME_HEADER_BYTES - session->end;
    else if (session->bulk && left && left < *out_bytes)
        *out_bytes = left;
}

int session_got(struct session *session, size_t bytes, struct err *err)
{
    session->bytes_in += bytes;
    if (session->stopped)
        return 0;
    if (session->failure.code) {
        if (err)
            *err = session->failure;
        return session->failure.code;
    }
    struct err why = {0};
    int code = 0;
    if (session->direct) {
        ASSERT(bytes <= chunk_left(session));
        code = take_chunk(session, session->dst + session->body_done, bytes, &why);
    } else {
        ASSERT(bytes <= AHEAD_BYTES - session->end);
        session->end += bytes;
    }
    if (code == 0)
        code = process(session, &why);
    if (code < 0) {
        session->failure = why;
        if (!session->failure.code)
            err_set(&session->failure, code, "%s", err_name(code));
        if (err)
            *err = session->failure;
    }
    return code;
}

int session_end(struct session *session, struct err *err)
{
    if (session->failure.code) {
        if (err)
            *err = session->failure;
        return session->failure.code;
    }
    if (session->stopped)
        return 0;
    char text[FRAME_TEXT_MAX];
    size_t have = session->end - session->start;
    switch (session->phase) {
    case PHASE_HEADER:
        if (have == 0)
            return 0;
        return err_set(err, SL_ECLOSED,
                       "the peer closed in the middle of a frame header (%zu of %d bytes)", have,
                       FRAME_HEADER_BYTES);
    case PHASE_ENVELOPE:
    case PHASE_CHUNK:
        break;
    }
    if (session->phase == PHASE_CHUNK)
        have = session->body_done;
    return err_set(err, SL_ECLOSED,
                   "the peer closed in the middle of %s: %zu bytes of the body are missing",
                   frame_format(&session->header, text), session->header.body_bytes - have);
}

int session_send_chunk(struct session *session, const struct session_chunk *chunk)
{
    return outbox_add_chunk(&session->out, chunk);
}

int session_send_message(struct session *session, const struct frame *header,
                         const struct message *message, struct err *err)
{
    return outbox_add_message(&session->out, header, message, err);
}

size_t session_pull_output(struct session *session, struct iovec *iov, size_t iov_max,
                           size_t bytes_max, size_t *out_bytes)
{
    ASSERT(iov_max > 0);
    return outbox_pull(&session->out, iov, iov_max, bytes_max, out_bytes);
}

void session_wrote(struct session *session, size_t bytes)
{
    outbox_wrote(&session->out, bytes);
    if (outbox_take_room(&session->out) && session->ops.on_room && !session->stopped)
        session->ops.on_room(session->self);
}

bool session_has_output(const struct session *session)
{
    return session->out.frames > 0;
}

bool session_has_room(const struct session *session)
{
    return outbox_has_room(&session->out, FRAME_CHUNK_BYTES);
}

size_t session_output_bytes(const struct session *session)
{
    return session->out.bytes;
}

void session_stats(const struct session *session, struct session_stats *out)
{
    *out = (struct session_stats){
        .bytes_in = session->bytes_in,
        .bytes_out = session->out.bytes_out,
        .frames_in = session->frames_in,
        .frames_out = session->out.frames_out,
        .chunks_bad = session->chunks_bad,
    };
}

// Consumes what is in `ahead` as far as it goes.
static int process(struct session *session, struct err *err)
{
    while (!session->stopped) {
        size_t have = session->end - session->start;
        int code = 0;
        if (session->phase == PHASE_CHUNK) {
            size_t take = chunk_left(session) < have ? chunk_left(session) : have;
            if (take == 0)
                return 0;
            const uint8_t *bytes = session->ahead + session->start;
            if (session->dst)
                memcpy(session->dst + session->body_done, bytes, take);
            session->start += take;
            code = take_chunk(session, bytes, take, err);
        } else if (session->phase == PHASE_ENVELOPE) {
            if (have < session->header.body_bytes)
                return 0;
            code = take_envelope(session, err);
        } else {
            if (have < FRAME_HEADER_BYTES)
                return have ? frame_sniff(session->ahead + session->start, have, err) : 0;
            code = take_header(session, err);
        }
        if (code < 0)
            return code;
    }
    return 0;
}

static int take_header(struct session *session, struct err *err)
{
    int code = frame_decode(session->ahead + session->start, &session->header, err);
    if (code < 0)
        return code;
    const struct frame *header = &session->header;
    if (!(session->allow & FRAME_BIT(header->type)))
        return err_set(err, SL_EFORMAT, session->allow == FRAME_BIT(FRAME_HELLO)
                       ? "%s came where a hello must come first" : "%s is not allowed here",
                       frame_type_name((int)header->type));
    session->start += FRAME_HEADER_BYTES;
    session->frames_in++;
    session->body_done = 0;
    session->dst = NULL;
    if (!frame_type_is_raw(header->type)) {
        session->phase = PHASE_ENVELOPE;
        return 0;
    }
    void *dst = NULL;
    if (session->ops.place)
        code = session->ops.place(session->self, header, &dst, err);
    if (code < 0)
        return code;
    session->dst = dst;
    session->phase = PHASE_CHUNK;
    session->bulk = header->body_bytes >= BULK_BYTES;
    checksum_begin(&session->sum);
    return header->body_bytes ? 0 : end_chunk(session, err);
}

static int take_envelope(struct session *session, struct err *err)
{
    struct frame header = session->header;
    const uint8_t *body = session->ahead + session->start;
    uint64_t found = checksum_of(body, header.body_bytes);
    if (found != header.body_hash)
        return err_set(err, SL_ECORRUPT,
                       "%s: checksum of the body is %016" PRIx64 ", its bytes give %016" PRIx64
                       " (damaged on the way)",
                       frame_type_name((int)header.type), header.body_hash, found);
    struct message message;
    int code = message_decode(&header, body, header.body_bytes, session->arena, &message, err);
    if (code < 0)
        return code;
    session->start += header.body_bytes;
    session->phase = PHASE_HEADER;
    session->bulk = false;
    if (!session->ops.on_message)
        return 0;
    return session->ops.on_message(session->self, &header, &message, err);
}

static int take_chunk(struct session *session, const uint8_t *bytes, size_t count, struct err *err)
{
    checksum_add(&session->sum, bytes, count);
    session->body_done += count;
    return chunk_left(session) == 0 ? end_chunk(session, err) : 0;
}

static int end_chunk(struct session *session, struct err *err)
{
    struct frame header = session->header;
    void *dst = session->dst;
    bool sound = checksum_end(&session->sum) == header.body_hash;
    session->dst = NULL;
    session->phase = PHASE_HEADER;
    session->chunks_bad += !sound;
    if (!session->ops.on_chunk)
        return 0;
    return session->ops.on_chunk(session->self, &header, dst, sound, err);
}

static size_t chunk_left(const struct session *session)
{
    return session->header.body_bytes - session->body_done;
}
