// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/wire/checksum.h"
#include "common/wire/frame.h"

static const struct frame push = {
    .type = FRAME_PUSH,
    .flags = FRAME_LAST | FRAME_RESENT,
    .body_bytes = 65536,
    .variable = 3,
    .slice = 2,
    .request = 77,
    .step = 0x0102030405060708,
    .incarnation = 9,
    .offset = 1ull << 41,
    .body_hash = 0xabcdef,
};

// Makes the header checksum right again after a change, to reach the checks behind it.
static void rehash(uint8_t *bytes)
{
    uint64_t hash = checksum_of(bytes, 56);
    for (int i = 0; i < 8; i++)
        bytes[56 + i] = (uint8_t)(hash >> (8 * i));
}

static void assert_same(const struct frame *a, const struct frame *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->body_bytes, b->body_bytes);
    assert_int_equal(a->variable, b->variable);
    assert_int_equal(a->slice, b->slice);
    assert_int_equal(a->request, b->request);
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->incarnation, b->incarnation);
    assert_int_equal(a->offset, b->offset);
    assert_int_equal(a->body_hash, b->body_hash);
}

static void test_frame_has_the_bytes_of_the_readme(void **state)
{
    (void)state;
    uint8_t bytes[FRAME_HEADER_BYTES];
    frame_encode(&push, bytes);
    static const uint8_t start[] = {0x53, 0x4c, 0x50, 0x53, 1, 0, 5,    5,    0,    0, 1, 0, 3, 0,
                                    0,    0,    2,    0,    0, 0, 77,   0,    0,    0, 8, 7, 6, 5,
                                    4,    3,    2,    1,    9, 0, 0,    0,    0,    0, 0, 0, 0, 0,
                                    0,    0,    0,    2,    0, 0, 0xef, 0xcd, 0xab, 0, 0, 0, 0, 0};
    assert_memory_equal(bytes, start, sizeof start);
}

static void test_frame_round_trips_every_type(void **state)
{
    (void)state;
    for (int type = 1; type < FRAME_TYPES_END; type++) {
        uint8_t bytes[FRAME_HEADER_BYTES];
        struct frame in = push, out;
        struct err err = {0};
        in.type = (enum frame_type)type;
        frame_encode(&in, bytes);
        assert_int_equal(frame_decode(bytes, &out, &err), 0);
        assert_same(&in, &out);
        assert_string_not_equal(frame_type_name(type), "unknown type");
        char text[FRAME_TEXT_MAX];
        assert_true(strlen(frame_format(&out, text)) > 0);
    }
    assert_string_equal(frame_type_name(0), "unknown type");
    assert_string_equal(frame_type_name(FRAME_TYPES_END), "unknown type");
}

static void test_frame_rejects_every_changed_byte(void **state)
{
    (void)state;
    uint8_t bytes[FRAME_HEADER_BYTES];
    frame_encode(&push, bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        for (unsigned change = 1; change < 256; change++) {
            struct frame out = {0};
            struct err err = {0};
            bytes[i] ^= (uint8_t)change;
            assert_true(frame_decode(bytes, &out, &err) < 0);
            assert_true(err.text[0]);
            assert_int_equal(out.type, 0);
            bytes[i] ^= (uint8_t)change;
        }
}

static void test_frame_survives_every_changed_byte_with_a_right_checksum(void **state)
{
    (void)state;
    for (int type = 1; type < FRAME_TYPES_END; type++)
        for (size_t i = 0; i < 56; i++)
            for (unsigned change = 1; change < 256; change++) {
                uint8_t bytes[FRAME_HEADER_BYTES];
                struct frame in = push, out;
                struct err err = {0};
                in.type = (enum frame_type)type;
                frame_encode(&in, bytes);
                bytes[i] ^= (uint8_t)change;
                rehash(bytes);
                if (frame_decode(bytes, &out, &err) < 0) {
                    assert_true(err.text[0]);
                    continue;
                }
                assert_true(out.type > 0 && out.type < FRAME_TYPES_END);
                assert_true(out.body_bytes <= (frame_type_is_raw(out.type) ? LIMIT_FRAME_BODY_BYTES
                                                                           : LIMIT_ENVELOPE_BYTES));
                assert_true(out.offset + out.body_bytes <= LIMIT_TENSOR_BYTES);
            }
}

// A field set to a value, and what the error must say.
struct bad_field {
    size_t at, bytes;
    uint64_t value;
    int code;
    const char *says;
};

static void test_frame_names_the_bad_field_and_its_value(void **state)
{
    (void)state;
    static const struct bad_field table[] = {
        {4, 2, 2, SL_EFORMAT, "version is 2"},
        {6, 1, 0, SL_EFORMAT, "type is 0"},
        {6, 1, 77, SL_EFORMAT, "type is 77"},
        {7, 1, 0x80, SL_EFORMAT, "0x80"},
        {8, 4, 0, SL_ELIMIT, "0 bytes"},
        {8, 4, LIMIT_FRAME_BODY_BYTES + 1, SL_ELIMIT, "4194305"},
        {8, 4, 0xffffffff, SL_ELIMIT, "4294967295"},
        {40, 8, UINT64_MAX, SL_ELIMIT, "18446744073709551615"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t bytes[FRAME_HEADER_BYTES];
        struct frame out;
        struct err err = {0};
        frame_encode(&push, bytes);
        for (size_t b = 0; b < table[i].bytes; b++)
            bytes[table[i].at + b] = (uint8_t)(table[i].value >> (8 * b));
        rehash(bytes);
        assert_int_equal(frame_decode(bytes, &out, &err), table[i].code);
        assert_non_null(strstr(err.text, table[i].says));
    }
    struct frame envelope = {.type = FRAME_HELLO, .body_bytes = LIMIT_ENVELOPE_BYTES + 1};
    uint8_t bytes[FRAME_HEADER_BYTES];
    struct frame out;
    struct err err = {0};
    frame_encode(&envelope, bytes);
    assert_int_equal(frame_decode(bytes, &out, &err), SL_ELIMIT);
    assert_non_null(strstr(err.text, "65537"));
}

static void test_frame_of_no_rows_may_be_empty(void **state)
{
    (void)state;
    static const struct {
        enum frame_type type;
        uint8_t flags;
        uint32_t request;
        uint64_t offset;
        bool good;
    } table[] = {
        {FRAME_PUSH, FRAME_SPARSE, 0, 0, true},
        {FRAME_PUSH, FRAME_SPARSE | FRAME_LAST | FRAME_RESENT, 0, 0, true},
        {FRAME_PUSH, FRAME_LAST, 0, 0, false},
        {FRAME_PUSH, FRAME_SPARSE, 1, 0, false},
        {FRAME_PUSH, FRAME_SPARSE, 0, 64, false},
        {FRAME_DATA, FRAME_SPARSE, 0, 0, false},
        {FRAME_LOOKUP, FRAME_SPARSE, 0, 0, false},
        {FRAME_MERGE, 0, 0, 0, false},
        {FRAME_MERGED, FRAME_SPARSE, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t bytes[FRAME_HEADER_BYTES];
        struct err err = {0};
        struct frame out, in = {.type = table[i].type,
                                .flags = table[i].flags,
                                .request = table[i].request,
                                .offset = table[i].offset};
        frame_encode(&in, bytes);
        assert_int_equal(frame_decode(bytes, &out, &err), table[i].good ? 0 : SL_ELIMIT);
        assert_true(frame_type_is_raw(in.type) && frame_may_be_empty(&in) == table[i].good);
    }
}

static void test_frame_recognises_strangers(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 (gRPC)"},
        {"GET / HTTP/1.1\r\n", "an HTTP client"},
        {"HTTP/1.1 400 Bad", "an HTTP server"},
        {"\x16\x03\x01\x02", "TLS"},
        {"SSH-2.0-x", "SSH"},
        {"hello world", "magic is 68 65 6c 6c"},
        {"x", "magic is 78"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct err err = {0};
        assert_int_equal(frame_sniff((const uint8_t *)table[i][0], strlen(table[i][0]), &err),
                         SL_EFORMAT);
        assert_non_null(strstr(err.text, table[i][1]));
    }
    uint8_t bytes[FRAME_HEADER_BYTES];
    frame_encode(&push, bytes);
    for (size_t count = 0; count <= sizeof bytes; count++)
        assert_int_equal(frame_sniff(bytes, count, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_has_the_bytes_of_the_readme),
        cmocka_unit_test(test_frame_round_trips_every_type),
        cmocka_unit_test(test_frame_rejects_every_changed_byte),
        cmocka_unit_test(test_frame_survives_every_changed_byte_with_a_right_checksum),
        cmocka_unit_test(test_frame_names_the_bad_field_and_its_value),
        cmocka_unit_test(test_frame_of_no_rows_may_be_empty),
        cmocka_unit_test(test_frame_recognises_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
