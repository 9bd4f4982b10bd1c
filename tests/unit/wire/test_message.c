// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/wire/message.h"
#include "tests/unit/wire/samples.h"

static struct message_arena *arena;

static void encode(const struct message *message, struct buf *out)
{
    struct err err = {0};
    buf_init(out, 0);
    assert_int_equal(message_encode(message, out, &err), 0);
}

static int decode(const struct sample *sample, const void *body, size_t bytes, struct message *out,
                  struct err *err)
{
    // A copy of exactly the size, so that a read beyond the end is seen by the sanitizer.
    void *exact = mem_alloc(bytes);
    memcpy(exact, bytes ? body : "", bytes);
    int code = message_decode(&sample->header, exact, bytes, arena, out, err);
    mem_free(exact);
    return code;
}

static void test_message_round_trips_every_type(void **state)
{
    (void)state;
    bool seen[FRAME_TYPES_END] = {false};
    for (size_t i = 0; i < samples_count; i++) {
        struct buf first, second;
        struct message out;
        struct err err = {0};
        encode(&samples_table[i].message, &first);
        assert_int_equal(message_bytes(&samples_table[i].message), first.bytes);
        assert_int_equal(decode(&samples_table[i], first.data, first.bytes, &out, &err), 0);
        assert_int_equal(out.type, samples_table[i].message.type);
        encode(&out, &second);
        assert_int_equal(first.bytes, second.bytes);
        assert_memory_equal(first.data, second.data, first.bytes);
        seen[out.type] = true;
        buf_deinit(&first);
        buf_deinit(&second);
    }
    for (int type = 1; type < FRAME_TYPES_END; type++)
        assert_true(seen[type] || frame_type_is_raw((enum frame_type)type));
}

static void test_message_keeps_the_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < samples_count; i++) {
        struct buf body;
        struct message out;
        const struct message *in = &samples_table[i].message;
        encode(in, &body);
        assert_int_equal(decode(&samples_table[i], body.data, body.bytes, &out, NULL), 0);
        if (in->type == FRAME_HELLO) {
            assert_int_equal(out.hello.role, in->hello.role);
            assert_string_equal(out.hello.place, in->hello.place);
            assert_int_equal(out.hello.topology, in->hello.topology);
            assert_int_equal(out.hello.nonce, in->hello.nonce);
            assert_int_equal(out.hello.trainer_id, in->hello.trainer_id);
        } else if (in->type == FRAME_MISSING && in->ranges.count) {
            assert_int_equal(out.ranges.count, 3);
            assert_int_equal(out.ranges.items[1].offset, 1ull << 40);
            assert_int_equal(out.ranges.items[1].bytes, 1ull << 41);
        } else if (in->type == FRAME_COMMIT_STEP) {
            assert_int_equal(out.commit_step.decision, MESSAGE_SKIP);
            assert_true(out.commit_step.items[1].value == 2.5e300);
        } else if (in->type == FRAME_PROGRESS) {
            assert_string_equal(out.progress.text, in->progress.text);
        } else if (in->type == FRAME_INVENTORY) {
            const struct message_inventory_var *var = &out.inventory.vars[0];
            assert_string_equal(var->name, "fc_0.w_0");
            assert_int_equal(var->dims.d[1], 200);
            assert_int_equal(var->slices[1].rows, 384);
            assert_string_equal(var->slices[1].name, "fc_0.w_0.block1");
            assert_true(var->sparse && !out.inventory.vars[1].sparse);
            assert_true(out.inventory.vars[1].replicated);
        }
        buf_deinit(&body);
    }
}

static void test_message_survives_every_truncation(void **state)
{
    (void)state;
    for (size_t i = 0; i < samples_count; i++) {
        struct buf body;
        encode(&samples_table[i].message, &body);
        for (size_t bytes = 0; bytes < body.bytes; bytes++) {
            struct message out;
            struct err err = {0};
            if (decode(&samples_table[i], body.data, bytes, &out, &err) < 0)
                assert_true(err.code < 0 && err.text[0]);
        }
        buf_deinit(&body);
    }
}

static void test_message_survives_every_changed_byte(void **state)
{
    (void)state;
    static const uint8_t changes[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
    for (size_t i = 0; i < samples_count; i++) {
        struct buf body;
        encode(&samples_table[i].message, &body);
        for (size_t at = 0; at < body.bytes; at++)
            for (size_t c = 0; c < sizeof changes; c++) {
                struct message out;
                struct err err = {0};
                body.data[at] ^= changes[c];
                if (decode(&samples_table[i], body.data, body.bytes, &out, &err) < 0) {
                    assert_true(err.code < 0 && err.text[0]);
                } else {
                    struct buf again;       // what was accepted can be read to the end
                    encode(&out, &again);
                    buf_deinit(&again);
                }
                body.data[at] ^= changes[c];
            }
        buf_deinit(&body);
    }
}


static void test_message_rejects_numbers_out_of_range(void **state)
{
    (void)state;
    struct message_range zero = {0, 0, 0, 0}, far = {0, 0, LIMIT_TENSOR_BYTES, 1},
                         wrap = {0, 0, UINT64_MAX, 2};
    struct message_partial kind = {(enum message_partial_kind)9, 0, 0, 0};
    uint32_t ids[] = {LIMIT_TRAINERS};
    const struct message table[] = {
        {FRAME_HELLO, .hello = {1, (enum message_role)3, "", 0, 0, 1, 1, 0, 0, ""}},
        {FRAME_HELLO, .hello = {1, MESSAGE_TRAINER, "", 0, 1, 1, 1, 0, 0, ""}},
        {FRAME_HELLO, .hello = {1, MESSAGE_TRAINER, "", 0, 0, 0, 1, 0, 0, ""}},
        {FRAME_HELLO, .hello = {1, MESSAGE_TRAINER, "", 0, 0, LIMIT_TRAINERS + 1, 1, 0, 0, ""}},
        {FRAME_HELLO, .hello = {1, MESSAGE_TRAINER, "", 0, 0, 1, 1, 1, 0, ""}},
        {FRAME_HELLO, .hello = {0, MESSAGE_TRAINER, "", 0, 0, 1, 1, 0, 0, ""}},
        {FRAME_WELCOME, .welcome = {1, 1, 1, MESSAGE_FRESH, "", 0, 0, 0, 0, 0}},
        {FRAME_WELCOME, .welcome = {0, 1, 1, (enum message_origin)0, "", 0, 0, 0, 0, 0}},
        {FRAME_WELCOME, .welcome = {0, 1, 1, MESSAGE_FRESH, "", 0, 0, 0, 0, LIMIT_JSON_BYTES + 1}},
        {FRAME_REFUSED, .refused = {0, 0, ""}},
        {FRAME_REFUSED, .refused = {-1000, 0, ""}},
        {FRAME_PROGRESS, .progress = {0, "x", 1}},
        {FRAME_PROGRESS, .progress = {10, "0123456789x", 11}},
        {FRAME_PROGRESS, .progress = {10, "01\0003456789", 10}},
        {FRAME_PULL, .ranges = {NULL, 0}},
        {FRAME_PULL, .ranges = {&zero, 1}},
        {FRAME_PULL, .ranges = {&far, 1}},
        {FRAME_PULL, .ranges = {&wrap, 1}},
        {FRAME_PARTIALS, .partials = {&kind, 1}},
        {FRAME_COMMIT_STEP, .commit_step = {(enum message_decision)0, NULL, 0}},
        {FRAME_COMMITTED, .committed = {1, (enum message_decision)4}},
        {FRAME_HEARTBEAT, .heartbeat = {0, 0, 0, ids, 1, ""}},
        {FRAME_FATAL, .end = {1, ""}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct sample sample = {{.type = table[i].type}, table[i]};
        struct buf body;
        struct message out;
        struct err err = {0};
        encode(&table[i], &body);
        int code = decode(&sample, body.data, body.bytes, &out, &err);
        if (code != SL_EFORMAT)
            print_message("row %zu\n", i);
        assert_int_equal(code, SL_EFORMAT);
        assert_non_null(strstr(err.text, frame_type_name((int)table[i].type)));
        buf_deinit(&body);
    }
}

static void test_message_rejects_a_bad_inventory(void **state)
{
    (void)state;
    struct message good = {0};
    for (size_t i = 0; i < samples_count; i++)
        if (samples_table[i].message.type == FRAME_INVENTORY)
            good = samples_table[i].message;
    for (int row = 0; row < 9; row++) {
        struct message_inventory_slice slice = {0, 0, 784, "w"};
        struct message_inventory_var var = good.inventory.vars[0];
        var.slices = &slice;
        var.slices_count = var.slices_total = 1;
        var.slices_first = 0;
        struct message bad = good;
        bad.inventory.vars = &var;
        bad.inventory.vars_count = 1;
        switch (row) {
        case 1: slice.server = 3; break;
        case 2: slice.row = 1; break;
        case 3: slice.rows = -1; break;
        case 4: slice.row = INT64_MAX; break;
        case 5: var.dims.d[0] = INT64_MAX; break;
        case 6: var.dtype = (enum dtype)7; break;
        case 7: var.index = 8; break;
        case 8: var.slices_first = 1; break;
        default: break;
        }
        struct sample sample = {{.type = FRAME_INVENTORY}, bad};
        struct buf body;
        struct message out;
        struct err err = {0};
        encode(&bad, &body);
        assert_int_equal(decode(&sample, body.data, body.bytes, &out, &err),
                         row == 0 ? 0 : SL_EFORMAT);
        buf_deinit(&body);
    }
}

static void test_message_cleans_texts(void **state)
{
    (void)state;
    struct sample sample = {{.type = FRAME_FATAL}, {FRAME_FATAL, .end = {-3, "a\x1b[31m\nb"}}};
    struct buf body;
    struct message out;
    encode(&sample.message, &body);
    assert_int_equal(decode(&sample, body.data, body.bytes, &out, NULL), 0);
    assert_string_equal(out.end.text, "a?[31m?b");
    buf_deinit(&body);
}

static void test_message_pages_what_is_too_long(void **state)
{
    (void)state;
    char *text = mem_alloc(LIMIT_ENVELOPE_BYTES + 1);
    memset(text, 'x', LIMIT_ENVELOPE_BYTES);
    text[LIMIT_ENVELOPE_BYTES] = '\0';
    struct message message = {FRAME_PROGRESS,
                              .progress = {LIMIT_JSON_BYTES, text, LIMIT_ENVELOPE_BYTES}};
    struct buf out;
    struct err err = {0};
    buf_init(&out, 0);
    assert_true(message_bytes(&message) > LIMIT_ENVELOPE_BYTES);
    assert_int_equal(message_encode(&message, &out, &err), SL_ELIMIT);
    message.progress.text_bytes = MESSAGE_PAGE_BYTES;
    assert_int_equal(message_encode(&message, &out, &err), 0);
    buf_deinit(&out);
    mem_free(text);
}

static void test_message_takes_the_longest_lists(void **state)
{
    (void)state;
    static struct message_range ranges[MESSAGE_RANGES_MAX + 1];
    for (size_t i = 0; i <= MESSAGE_RANGES_MAX; i++)
        ranges[i] = (struct message_range){1u << 20, 1024, 1ull << 41, 1ull << 41};
    for (size_t more = 0; more < 2; more++) {
        struct sample sample = {{.type = FRAME_PULL},
                                {FRAME_PULL, .ranges = {ranges, MESSAGE_RANGES_MAX + more}}};
        struct buf body;
        struct message out;
        struct err err = {0};
        encode(&sample.message, &body);
        assert_int_equal(decode(&sample, body.data, body.bytes, &out, &err), more ? SL_EFORMAT : 0);
        buf_deinit(&body);
    }
}

// 64 KiB of two-byte empty ranges would be megabytes of structs: the arena's cap stops it.
static void test_message_caps_the_memory_of_an_envelope(void **state)
{
    (void)state;
    uint8_t *body = mem_calloc(1, LIMIT_ENVELOPE_BYTES + 1);
    for (size_t i = 0; i < LIMIT_ENVELOPE_BYTES; i += 2) {
        body[i] = 0x0a;
        body[i + 1] = 0;
    }
    struct sample sample = {{.type = FRAME_PULL}, {.type = FRAME_PULL}};
    struct message out;
    struct err err = {0};
    assert_true(decode(&sample, body, LIMIT_ENVELOPE_BYTES, &out, &err) < 0);
    assert_true(decode(&samples_table[0], body, LIMIT_ENVELOPE_BYTES + 1, &out, &err) == SL_ELIMIT);
    mem_free(body);
}

static void test_message_allocates_nothing_in_steady_state(void **state)
{
    (void)state;
    const struct sample *sample = &samples_table[0];
    struct buf body;
    struct message out;
    encode(&sample->message, &body);
    unsigned long before = 0;
    for (int i = 0; i < 10; i++) {
        if (i == 1)
            before = mem_allocation_count();
        assert_int_equal(message_decode(&sample->header, body.data, body.bytes, arena, &out, NULL),
                         0);
    }
    assert_int_equal(mem_allocation_count(), before);
    buf_deinit(&body);
}

static int make_arena(void **state)
{
    (void)state;
    arena = message_arena_new();
    return arena ? 0 : -1;
}

static int free_arena(void **state)
{
    (void)state;
    message_arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_round_trips_every_type),
        cmocka_unit_test(test_message_keeps_the_values),
        cmocka_unit_test(test_message_survives_every_truncation),
        cmocka_unit_test(test_message_survives_every_changed_byte),
        cmocka_unit_test(test_message_rejects_numbers_out_of_range),
        cmocka_unit_test(test_message_rejects_a_bad_inventory),
        cmocka_unit_test(test_message_cleans_texts),
        cmocka_unit_test(test_message_pages_what_is_too_long),
        cmocka_unit_test(test_message_takes_the_longest_lists),
        cmocka_unit_test(test_message_caps_the_memory_of_an_envelope),
        cmocka_unit_test(test_message_allocates_nothing_in_steady_state),
    };
    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
