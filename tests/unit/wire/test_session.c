// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/wire/checksum.h"
#include "common/wire/message.h"
#include "common/wire/session.h"
#include "tests/unit/wire/samples.h"

// A receiver that writes what happens as text, and holds one slot of bytes.
struct receiver {
    struct buf log;
    uint8_t *slot;
    size_t slot_bytes;
    bool drain;             // place gives NULL
    int place_code, message_code;
    size_t abandoned, bad, chunks, rooms;
    struct session *session;
    bool stop_at_message;
};

static int place(void *self, const struct frame *header, void **out_dst, struct err *err)
{
    struct receiver *r = self;
    if (r->place_code)
        return err_set(err, r->place_code, "no place");
    if (header->offset + header->body_bytes > r->slot_bytes)
        return err_set(err, SL_ELIMIT, "beyond the slot");
    if (!r->drain)
        *out_dst = r->slot + header->offset;
    return 0;
}

static int on_chunk(void *self, const struct frame *header, void *dst, bool sound, struct err *err)
{
    (void)err;
    struct receiver *r = self;
    r->chunks++;
    r->bad += !sound;
    assert_true(r->drain ? dst == NULL : dst == r->slot + header->offset);
    uint64_t content = dst ? checksum_of(dst, header->body_bytes) : header->body_hash;
    char text[FRAME_TEXT_MAX];
    return buf_printf(&r->log, "%s %d %016llx\n", frame_format(header, text), sound,
                      (unsigned long long)content);
}

static void on_abandon(void *self, const struct frame *header, void *dst)
{
    struct receiver *r = self;
    assert_ptr_equal(dst, r->slot + header->offset);
    r->abandoned++;
}

static int on_message(void *self, const struct frame *header, const struct message *message,
                      struct err *err)
{
    struct receiver *r = self;
    struct buf body;
    char text[FRAME_TEXT_MAX];
    buf_init(&body, 0);
    assert_int_equal(message_encode(message, &body, NULL), 0);
    (void)buf_printf(&r->log, "%s %016llx\n", frame_format(header, text),
                     (unsigned long long)checksum_of(body.data, body.bytes));
    buf_deinit(&body);
    if (r->stop_at_message)
        session_stop(r->session);
    return r->message_code ? err_set(err, r->message_code, "not this one") : 0;
}

static void on_room(void *self)
{
    ((struct receiver *)self)->rooms++;
}

static const struct session_ops ops = {place, on_chunk, on_abandon, on_message, on_room};

static void receiver_init(struct receiver *r, size_t slot_bytes)
{
    memset(r, 0, sizeof *r);
    buf_init(&r->log, 0);
    r->slot_bytes = slot_bytes;
    r->slot = mem_calloc(1, slot_bytes + 1);
    r->session = session_new(&ops, r, NULL);
    assert_non_null(r->session);
}

static void receiver_deinit(struct receiver *r)
{
    session_free(r->session);
    buf_deinit(&r->log);
    mem_free(r->slot);
}

// Gives bytes to the session, at most piece at a time.
static int feed(struct session *session, const uint8_t *bytes, size_t count, size_t piece,
                struct err *err)
{
    int code = 0;
    while (count && code == 0) {
        void *ptr;
        size_t want;
        session_want(session, &ptr, &want);
        assert_true(want > 0);
        size_t n = want < count ? want : count;
        n = n < piece ? n : piece;
        memcpy(ptr, bytes, n);
        code = session_got(session, n, err);
        bytes += n;
        count -= n;
    }
    return code;
}

static void drain_output(struct session *session, size_t iov_max, size_t bytes_max, struct buf *out)
{
    while (session_has_output(session)) {
        struct iovec iov[16];
        size_t bytes = 0, count = session_pull_output(session, iov, iov_max, bytes_max, &bytes);
        assert_true(count > 0 && count <= iov_max);
        size_t sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += iov[i].iov_len;
        assert_int_equal(sum, bytes);
        // Only a part is taken, as by a socket whose buffer is nearly full.
        size_t take = bytes > 3 && bytes_max < 100000 ? bytes / 2 : bytes;
        size_t left = take;
        for (size_t i = 0; i < count && left; i++) {
            size_t n = iov[i].iov_len < left ? iov[i].iov_len : left;
            assert_int_equal(buf_append(out, iov[i].iov_base, n), 0);
            left -= n;
        }
        session_wrote(session, take);
    }
    assert_int_equal(session_output_bytes(session), 0);
}

static uint8_t *pattern(size_t bytes)
{
    uint8_t *data = mem_alloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 11 + (i >> 7));
    return data;
}

// Raw bodies of every kind in turn; the empty one is a push of no rows.
static void send_chunk(struct session *session, const uint8_t *data, size_t offset, size_t bytes)
{
    static const enum frame_type types[] = {FRAME_LOOKUP, FRAME_PUSH, FRAME_DATA, FRAME_MERGE,
                                            FRAME_MERGED};
    struct session_chunk chunk = {
        .header = {.type = types[bytes % 5], .step = 3, .variable = 1, .offset = offset},
        .body = data + offset,
        .body_bytes = (uint32_t)bytes,
    };
    if (!bytes)
        chunk.header = (struct frame){.type = FRAME_PUSH, .flags = FRAME_SPARSE, .step = 3};
    assert_int_equal(session_send_chunk(session, &chunk), 0);
}

// The samples with chunks of the given sizes among them, as a byte stream.
static void make_stream(const size_t *chunks, size_t count, const uint8_t *data, struct buf *out)
{
    struct session *session = session_new(NULL, NULL, NULL);
    size_t offset = 0, next = 0;
    buf_init(out, 0);
    for (size_t i = 0; i < samples_count || next < count; i++) {
        if (i < samples_count)
            assert_int_equal(session_send_message(session, &samples_table[i].header,
                                                  &samples_table[i].message, NULL),
                             0);
        for (size_t k = 0; k < 2 && next < count; k++) {
            send_chunk(session, data, offset, chunks[next]);
            offset += chunks[next++];
        }
    }
    drain_output(session, 16, 1u << 20, out);
    session_free(session);
}

static const size_t small_chunks[] = {1, 2, 0, 63, 64, 0, 0, 65, 200, 1, 3};
#define SMALL_BYTES 512
static const size_t large_chunks[] = {1u << 20, 0,     100, 70000, 65536, 65535,    1,
                                      200000,   16384, 0,   16383, 40000, 1u << 20, 5};
#define LARGE_CHUNKS (sizeof large_chunks / sizeof *large_chunks)
#define LARGE_BYTES (3u << 20)

static void test_session_gives_the_same_events_for_every_split(void **state)
{
    (void)state;
    uint8_t *data = pattern(SMALL_BYTES);
    struct buf stream;
    make_stream(small_chunks, sizeof small_chunks / sizeof *small_chunks, data, &stream);
    struct receiver whole;
    receiver_init(&whole, SMALL_BYTES);
    assert_int_equal(feed(whole.session, stream.data, stream.bytes, SIZE_MAX, NULL), 0);
    assert_int_equal(session_end(whole.session, NULL), 0);
    for (size_t split = 0; split <= stream.bytes; split++) {
        struct receiver r;
        receiver_init(&r, SMALL_BYTES);
        assert_int_equal(feed(r.session, stream.data, split, SIZE_MAX, NULL), 0);
        assert_int_equal(feed(r.session, stream.data + split, stream.bytes - split, SIZE_MAX, NULL),
                         0);
        assert_string_equal(buf_text(&r.log), buf_text(&whole.log));
        receiver_deinit(&r);
    }
    for (size_t piece = 1; piece < 130; piece++) {
        struct receiver r;
        receiver_init(&r, SMALL_BYTES);
        assert_int_equal(feed(r.session, stream.data, stream.bytes, piece, NULL), 0);
        assert_string_equal(buf_text(&r.log), buf_text(&whole.log));
        assert_memory_equal(r.slot, whole.slot, SMALL_BYTES);
        receiver_deinit(&r);
    }
    receiver_deinit(&whole);
    buf_deinit(&stream);
    mem_free(data);
}

static void test_session_receives_bulk_in_any_pieces(void **state)
{
    (void)state;
    uint8_t *data = pattern(LARGE_BYTES);
    struct buf stream;
    size_t count = sizeof large_chunks / sizeof *large_chunks, total = 0;
    for (size_t i = 0; i < count; i++)
        total += large_chunks[i];
    make_stream(large_chunks, count, data, &stream);
    static const size_t pieces[] = {SIZE_MAX, 1u << 20, 131072, 65536, 65535, 4096, 1000};
    struct buf first;
    buf_init(&first, 0);
    for (size_t p = 0; p < 2 * sizeof pieces / sizeof *pieces; p++) {
        struct receiver r;
        receiver_init(&r, LARGE_BYTES);
        r.drain = p % 2;
        assert_int_equal(feed(r.session, stream.data, stream.bytes, pieces[p / 2], NULL), 0);
        assert_int_equal(r.chunks, count);
        assert_int_equal(r.bad, 0);
        if (!r.drain)
            assert_memory_equal(r.slot, data, total);
        if (p == 0)
            (void)buf_printf(&first, "%s", buf_text(&r.log));
        assert_string_equal(buf_text(&r.log), buf_text(&first));
        struct session_stats stats;
        session_stats(r.session, &stats);
        assert_int_equal(stats.bytes_in, stream.bytes);
        assert_int_equal(stats.frames_in, samples_count + count);
        receiver_deinit(&r);
    }
    uint64_t seed = 1;
    for (int round = 0; round < 20; round++) {      // random pieces
        struct receiver r;
        receiver_init(&r, LARGE_BYTES);
        for (size_t at = 0; at < stream.bytes;) {
            size_t n = (size_t)1 << (rng_next_u64(&seed) % 19);
            n = stream.bytes - at < n ? stream.bytes - at : n;
            assert_int_equal(feed(r.session, stream.data + at, n, SIZE_MAX, NULL), 0);
            at += n;
        }
        assert_string_equal(buf_text(&r.log), buf_text(&first));
        receiver_deinit(&r);
    }
    buf_deinit(&first);
    buf_deinit(&stream);
    mem_free(data);
}

static void test_session_reads_bulk_straight_into_its_place(void **state)
{
    (void)state;
    uint8_t *data = pattern(LARGE_BYTES);
    struct session *sender = session_new(NULL, NULL, NULL);
    struct buf stream;
    buf_init(&stream, 0);
    send_chunk(sender, data, 0, 1u << 20);
    send_chunk(sender, data, 1u << 20, 1u << 20);
    drain_output(sender, 16, 1u << 20, &stream);
    struct receiver r;
    receiver_init(&r, LARGE_BYTES);
    size_t at = 0;
    void *ptr;
    size_t want;
    session_want(r.session, &ptr, &want);
    at += want < stream.bytes ? want : stream.bytes;
    memcpy(ptr, stream.data, at);
    assert_int_equal(session_got(r.session, at, NULL), 0);
    session_want(r.session, &ptr, &want);
    assert_ptr_equal(ptr, r.slot + at - FRAME_HEADER_BYTES);
    assert_int_equal(want, (1u << 20) + FRAME_HEADER_BYTES - at);
    memcpy(ptr, stream.data + at, want);
    assert_int_equal(session_got(r.session, want, NULL), 0);
    session_want(r.session, &ptr, &want);       // the next header alone
    assert_int_equal(want, FRAME_HEADER_BYTES);
    memcpy(ptr, stream.data + (1u << 20) + 64, 64);
    assert_int_equal(session_got(r.session, 64, NULL), 0);
    session_want(r.session, &ptr, &want);
    assert_ptr_equal(ptr, r.slot + (1u << 20));
    assert_int_equal(want, 1u << 20);
    receiver_deinit(&r);
    session_free(sender);
    buf_deinit(&stream);
    mem_free(data);
}

static bool is_prefix(const char *prefix, const char *text)
{
    return strncmp(prefix, text, strlen(prefix)) == 0;
}

// One changed byte anywhere: the input fails, or exactly one chunk is reported as bad.
static void test_session_sees_every_changed_byte(void **state)
{
    (void)state;
    uint8_t *data = pattern(SMALL_BYTES);
    struct buf stream;
    make_stream(small_chunks, sizeof small_chunks / sizeof *small_chunks, data, &stream);
    struct receiver whole;
    receiver_init(&whole, SMALL_BYTES);
    assert_int_equal(feed(whole.session, stream.data, stream.bytes, SIZE_MAX, NULL), 0);
    for (size_t at = 0; at < stream.bytes; at++)
        for (unsigned change = 1; change < 256; change <<= 1) {
            struct receiver r;
            struct err err = {0};
            receiver_init(&r, SMALL_BYTES);
            stream.data[at] ^= (uint8_t)change;
            int code = feed(r.session, stream.data, stream.bytes, SIZE_MAX, &err);
            stream.data[at] ^= (uint8_t)change;
            if (code < 0) {
                assert_true(err.code == code && err.text[0]);
                assert_int_equal(r.bad, 0);
                assert_true(is_prefix(buf_text(&r.log), buf_text(&whole.log)));
                assert_int_equal(session_got(r.session, 1, &err), code);        // dead for good
            } else {
                assert_int_equal(r.bad, 1);
                assert_int_equal(r.chunks, whole.chunks);
            }
            receiver_deinit(&r);
        }
    receiver_deinit(&whole);
    buf_deinit(&stream);
    mem_free(data);
}

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

// As above with all checksums made right again: nothing may crash or run out of its memory.
static void test_session_survives_changes_with_right_checksums(void **state)
{
    (void)state;
    for (size_t i = 0; i < samples_count; i++) {
        struct session *sender = session_new(NULL, NULL, NULL);
        struct buf stream;
        buf_init(&stream, 0);
        assert_int_equal(
            session_send_message(sender, &samples_table[i].header, &samples_table[i].message, NULL),
            0);
        drain_output(sender, 16, 1u << 20, &stream);
        session_free(sender);
        for (size_t at = 4; at < stream.bytes; at++)
            for (unsigned change = 1; change < 256; change <<= 1) {
                struct receiver r;
                struct err err = {0};
                uint8_t bytes[4096];
                assert_true(stream.bytes <= sizeof bytes);
                memcpy(bytes, stream.data, stream.bytes);
                bytes[at] ^= (uint8_t)change;
                put_u64(bytes + 48, checksum_of(bytes + 64, stream.bytes - 64));
                put_u64(bytes + 56, checksum_of(bytes, 56));
                receiver_init(&r, SMALL_BYTES);
                if (feed(r.session, bytes, stream.bytes, 100, &err) < 0)
                    assert_true(err.text[0]);
                receiver_deinit(&r);
            }
        buf_deinit(&stream);
    }
}

static void test_session_says_where_the_peer_stopped(void **state)
{
    (void)state;
    uint8_t *data = pattern(SMALL_BYTES);
    static const size_t one[] = {500};
    struct buf stream;
    make_stream(one, 1, data, &stream);
    struct receiver whole;
    receiver_init(&whole, SMALL_BYTES);
    assert_int_equal(feed(whole.session, stream.data, stream.bytes, SIZE_MAX, NULL), 0);
    size_t clean = 0, abandoned = 0;
    for (size_t count = 0; count <= stream.bytes; count++) {
        struct receiver r;
        struct err err = {0};
        receiver_init(&r, SMALL_BYTES);
        assert_int_equal(feed(r.session, stream.data, count, SIZE_MAX, NULL), 0);
        int code = session_end(r.session, &err);
        assert_true(code == 0 || (code == SL_ECLOSED && strstr(err.text, "in the middle of")));
        clean += code == 0;
        session_free(r.session);
        r.session = NULL;
        abandoned += r.abandoned;
        receiver_deinit(&r);
    }
    assert_int_equal(clean, samples_count + 2);         // between frames
    assert_int_equal(abandoned, 500);   // whenever the chunk was begun and not complete
    receiver_deinit(&whole);
    buf_deinit(&stream);
    mem_free(data);
}

static void test_session_allows_only_what_it_was_told(void **state)
{
    (void)state;
    uint8_t *data = pattern(SMALL_BYTES);
    struct session *sender = session_new(NULL, NULL, NULL);
    struct buf stream;
    struct err err = {0};
    buf_init(&stream, 0);
    send_chunk(sender, data, 0, 11);
    drain_output(sender, 16, 1u << 20, &stream);
    struct receiver r;
    receiver_init(&r, SMALL_BYTES);
    session_allow(r.session, FRAME_BIT(FRAME_HELLO));
    assert_int_equal(feed(r.session, stream.data, stream.bytes, SIZE_MAX, &err), SL_EFORMAT);
    assert_string_equal(err.text, "push came where a hello must come first");
    assert_int_equal(r.chunks, 0);
    receiver_deinit(&r);
    session_free(sender);
    buf_deinit(&stream);
    mem_free(data);
}

static void test_session_ends_with_the_error_of_a_callback(void **state)
{
    (void)state;
    uint8_t *data = pattern(SMALL_BYTES);
    struct buf stream;
    make_stream(small_chunks, sizeof small_chunks / sizeof *small_chunks, data, &stream);
    struct receiver r;
    struct err err = {0};
    receiver_init(&r, SMALL_BYTES);
    r.message_code = SL_EREFUSED;
    assert_int_equal(feed(r.session, stream.data, stream.bytes, SIZE_MAX, &err), SL_EREFUSED);
    assert_string_equal(err.text, "not this one");
    receiver_deinit(&r);
    receiver_init(&r, SMALL_BYTES);
    r.place_code = SL_EMISMATCH;
    assert_int_equal(feed(r.session, stream.data, stream.bytes, SIZE_MAX, &err), SL_EMISMATCH);
    assert_int_equal(r.abandoned, 0);
    receiver_deinit(&r);
    receiver_init(&r, SMALL_BYTES);
    r.stop_at_message = true;
    assert_int_equal(feed(r.session, stream.data, stream.bytes, SIZE_MAX, &err), 0);
    assert_int_equal(session_end(r.session, &err), 0);
    struct session_stats stats;
    session_stats(r.session, &stats);
    assert_int_equal(stats.frames_in, 1);
    receiver_deinit(&r);
    buf_deinit(&stream);
    mem_free(data);
}

static void test_session_output_is_the_same_in_any_pieces(void **state)
{
    (void)state;
    uint8_t *data = pattern(LARGE_BYTES);
    struct buf right;
    make_stream(large_chunks, LARGE_CHUNKS, data, &right);
    static const size_t pulls[][2] = {{1, 1},        {1, 50000},  {2, 1},
                                      {2, 1u << 20}, {3, 200000}, {16, 70000}};
    for (size_t p = 0; p < sizeof pulls / sizeof *pulls; p++) {
        struct session *session = session_new(NULL, NULL, NULL);
        struct buf got;
        size_t offset = 0, next = 0;
        buf_init(&got, 0);
        for (size_t i = 0; i < samples_count; i++) {
            assert_int_equal(session_send_message(session, &samples_table[i].header,
                                                  &samples_table[i].message, NULL),
                             0);
            for (size_t k = 0; k < 2 && next < LARGE_CHUNKS; k++) {
                send_chunk(session, data, offset, large_chunks[next]);
                offset += large_chunks[next++];
            }
        }
        assert_int_equal(session_output_bytes(session), right.bytes);
        drain_output(session, pulls[p][0], pulls[p][1], &got);
        assert_int_equal(got.bytes, right.bytes);
        assert_memory_equal(got.data, right.data, right.bytes);
        session_free(session);
        buf_deinit(&got);
    }
    buf_deinit(&right);
    mem_free(data);
}

struct release_count {
    size_t written, dropped;
};

static void count_release(void *arg, bool written)
{
    struct release_count *count = arg;
    if (written)
        count->written++;
    else
        count->dropped++;
}

static void test_session_releases_each_body_once(void **state)
{
    (void)state;
    uint8_t *data = pattern(3000);
    struct release_count count = {0};
    uint64_t cell = 0;
    struct session *session = session_new(NULL, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        struct session_chunk chunk = {.header = {.type = FRAME_DATA},
                                      .body = data,
                                      .body_bytes = 1000,
                                      .hash_cell = &cell,
                                      .release = count_release,
                                      .arg = &count};
        assert_int_equal(session_send_chunk(session, &chunk), 0);
    }
    assert_int_equal(cell, 0);              // nothing is summed before it leaves
    struct iovec iov[2];
    size_t bytes;
    assert_int_equal(session_pull_output(session, iov, 2, 1, &bytes), 2);
    assert_int_equal(cell, checksum_of(data, 1000));
    session_wrote(session, 1063);
    assert_int_equal(count.written, 0);
    session_wrote(session, 1);
    assert_int_equal(count.written, 1);
    assert_int_equal(session_pull_output(session, iov, 2, 1, &bytes), 2);
    session_wrote(session, 500);
    session_free(session);
    assert_int_equal(count.written, 1);
    assert_int_equal(count.dropped, 2);
    mem_free(data);
}

static void test_session_uses_a_checksum_that_is_known(void **state)
{
    (void)state;
    uint8_t data[100] = {7};
    uint64_t cell =
        checksum_of(data, sizeof data) ^ 1;   // a wrong one shows that it is not computed again
    struct session *sender = session_new(NULL, NULL, NULL);
    struct session_chunk chunk = {
        .header = {.type = FRAME_DATA}, .body = data, .body_bytes = 100, .hash_cell = &cell};
    assert_int_equal(session_send_chunk(sender, &chunk), 0);
    struct buf stream;
    buf_init(&stream, 0);
    drain_output(sender, 16, 1u << 20, &stream);
    struct receiver r;
    receiver_init(&r, 100);
    assert_int_equal(feed(r.session, stream.data, stream.bytes, SIZE_MAX, NULL), 0);
    assert_int_equal(r.bad, 1);
    receiver_deinit(&r);
    session_free(sender);
    buf_deinit(&stream);
}

static void test_session_queue_has_a_cap_and_says_when_there_is_room(void **state)
{
    (void)state;
    uint8_t data[64] = {1};
    struct receiver r = {0};
    struct session_options options = {.queue_frames_max = 10};
    struct session *session = session_new(&ops, &r, &options);
    struct session_chunk chunk = {.header = {.type = FRAME_PUSH}, .body = data, .body_bytes = 64};
    for (int i = 0; i < 10; i++)
        assert_int_equal(session_send_chunk(session, &chunk), 0);
    assert_int_equal(session_send_chunk(session, &chunk), SL_EAGAIN);
    assert_false(session_has_room(session));
    session_wrote(session, 4 * 128);
    assert_int_equal(r.rooms, 0);
    session_wrote(session, 128);
    assert_int_equal(r.rooms, 1);           // half empty
    session_wrote(session, 128);
    assert_int_equal(r.rooms, 1);           // said once
    struct message barrier = {.type = FRAME_SEND_BARRIER};
    struct frame header = {.step = 1};
    int messages = 0;
    while (session_send_message(session, &header, &barrier, NULL) == 0)
        messages++;
    assert_int_equal(messages, 10 + 1024 - 4);
    session_free(session);
    options = (struct session_options){.queue_bytes_max = 1000};
    session = session_new(&ops, &r, &options);
    chunk.body_bytes = 64;
    for (int i = 0; i < 7; i++)
        assert_int_equal(session_send_chunk(session, &chunk), 0);
    assert_int_equal(session_send_chunk(session, &chunk), SL_EAGAIN);
    session_free(session);
}

static void test_session_allocates_nothing_in_steady_state(void **state)
{
    (void)state;
    uint8_t *data = pattern(100000);
    struct session *sender = session_new(NULL, NULL, NULL);
    struct receiver r;
    receiver_init(&r, 200000);
    struct buf stream;
    buf_init(&stream, 0);
    unsigned long before = 0;
    for (int round = 0; round < 10; round++) {
        if (round == 3)
            before = mem_allocation_count();
        buf_clear(&stream);
        buf_clear(&r.log);
        for (int i = 0; i < 20; i++) {
            send_chunk(sender, data, 0, i % 2 ? 100000 : 100);
            assert_int_equal(session_send_message(sender, &samples_table[11].header,
                                                  &samples_table[11].message, NULL),
                             0);
        }
        drain_output(sender, 16, 1u << 20, &stream);
        r.stop_at_message = false;
        for (size_t at = 0; at < stream.bytes;) {
            void *ptr;
            size_t want;
            session_want(r.session, &ptr, &want);
            want = want < stream.bytes - at ? want : stream.bytes - at;
            memcpy(ptr, stream.data + at, want);
            assert_int_equal(session_got(r.session, want, NULL), 0);
            at += want;
        }
    }
    // on_message of this test packs into a buffer of its own: one allocation a message.
    assert_int_equal(mem_allocation_count() - before, 7 * 20);
    receiver_deinit(&r);
    session_free(sender);
    buf_deinit(&stream);
    mem_free(data);
}

static void test_session_survives_failing_allocations(void **state)
{
    (void)state;
    for (long nth = 1; nth < 8; nth++) {
        mem_fail_nth(nth);
        struct session *session = session_new(&ops, NULL, NULL);
        if (session) {
            struct message hello = samples_table[0].message;
            int code = session_send_message(session, &samples_table[0].header, &hello, NULL);
            assert_true(code == 0 || code == SL_ENOMEM);
        }
        session_free(session);
        mem_fail_nth(0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_gives_the_same_events_for_every_split),
        cmocka_unit_test(test_session_receives_bulk_in_any_pieces),
        cmocka_unit_test(test_session_reads_bulk_straight_into_its_place),
        cmocka_unit_test(test_session_sees_every_changed_byte),
        cmocka_unit_test(test_session_survives_changes_with_right_checksums),
        cmocka_unit_test(test_session_says_where_the_peer_stopped),
        cmocka_unit_test(test_session_allows_only_what_it_was_told),
        cmocka_unit_test(test_session_ends_with_the_error_of_a_callback),
        cmocka_unit_test(test_session_output_is_the_same_in_any_pieces),
        cmocka_unit_test(test_session_releases_each_body_once),
        cmocka_unit_test(test_session_uses_a_checksum_that_is_known),
        cmocka_unit_test(test_session_queue_has_a_cap_and_says_when_there_is_room),
        cmocka_unit_test(test_session_allocates_nothing_in_steady_state),
        cmocka_unit_test(test_session_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
