// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "tests/unit/ps/ps_fixture.h"

#include "common/ps/step.h"
#include "common/wire/message.h"

struct table {
    struct fixture f;
    struct step *step;
    float grad[2][20], bias[3], param[2][20];
    uint32_t w, wg, bg;
};

static uint32_t index_of(struct table *t, const char *name)
{
    for (uint32_t v = 0; v < t->f.map.vars_count; v++)
        if (strcmp(t->f.map.vars[v]->name, name) == 0)
            return v;
    fail();
    return 0;
}

static void table_init(struct table *t)
{
    memset(t, 0, sizeof *t);
    fixture_init(&t->f, 2);
    struct step_options options = {
        .map = &t->f.map, .cell_bytes = FIXTURE_CELL, .frame_bytes = 2 * FIXTURE_CELL, .step = 3};
    t->step = step_new(&options);
    t->w = index_of(t, "w");
    t->wg = index_of(t, "w@GRAD");
    t->bg = index_of(t, "b@GRAD");
    step_connected(t->step, 0, false);
    step_connected(t->step, 1, false);
}

static void table_deinit(struct table *t)
{
    step_free(t->step);
    fixture_deinit(&t->f);
}

static void push_all(struct table *t)
{
    struct err err = {0};
    assert_int_equal(step_push(t->step, t->wg, 0, t->grad[0], &err), 0);
    assert_int_equal(step_push(t->step, t->wg, 1, t->grad[1], &err), 0);
    assert_int_equal(step_push(t->step, t->bg, 0, t->bias, &err), 0);
}

// Takes everything for a server; returns a text like "p0 p32 p64 b" (push offsets, barrier, pull).
static const char *drain(struct table *t, int server)
{
    static char text[256];
    text[0] = '\0';
    struct step_out out;
    while (step_take(t->step, server, &out)) {
        size_t used = strlen(text);
        char *at = text + used;
        size_t room = sizeof text - used;
        if (out.what == STEP_PUSH)
            snprintf(at, room, "%s%u@%u%s ", out.resent ? "r" : "p",
                     out.variable == t->wg ? 1u : 0u, (unsigned)out.offset, out.last ? "." : "");
        else
            snprintf(at, room, "%s ",
                     out.what == STEP_BARRIER   ? "barrier"
                     : out.what == STEP_PULL    ? "pull"
                     : out.what == STEP_FETCHED ? "fetched"
                                                : "commit");
    }
    return text;
}

static void test_step_streams_then_says_barrier(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t);
    struct err err = {0};
    assert_string_equal(drain(&t, 0), "");
    assert_int_equal(step_push(t.step, t.wg, 0, t.grad[0], &err), 0);
    assert_int_equal(step_push(t.step, t.wg, 0, t.grad[0], &err), SL_EINVAL);
    assert_string_equal(drain(&t, 0), "p1@0 p1@32 p1@64. ");
    assert_string_equal(drain(&t, 1), "");
    assert_int_equal(step_send_barrier(t.step, &err), SL_EUSAGE);
    assert_non_null(strstr(err.text, "2 gradients were not sent (b@GRAD, w@GRAD.block1)"));
    assert_int_equal(step_push(t.step, t.wg, 1, t.grad[1], &err), 0);
    assert_int_equal(step_push(t.step, t.bg, 0, t.bias, &err), 0);
    assert_int_equal(step_send_barrier(t.step, &err), 0);
    assert_string_equal(drain(&t, 0), "p0@0. barrier ");
    assert_string_equal(drain(&t, 1), "p1@0 p1@32 p1@64. barrier ");
    assert_int_equal(step_pull(t.step, t.w, 0, t.param[0], &err), 0);
    assert_int_equal(step_pull(t.step, t.w, 1, t.param[1], &err), 0);
    assert_int_equal(step_pull(t.step, t.wg, 1, t.param[1], &err), SL_EINVAL);
    assert_string_equal(drain(&t, 1), "pull ");
    assert_false(step_is_done(t.step));
    table_deinit(&t);
}

static void test_step_ends_after_commit_and_pulls(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t);
    struct err err = {0};
    push_all(&t);
    step_send_barrier(t.step, &err);
    step_pull(t.step, t.w, 0, t.param[0], &err);
    struct step_out out = {0};
    while (step_take(t.step, 0, &out) && out.what != STEP_PULL)
        ;
    assert_int_equal(out.what, STEP_PULL);
    assert_int_equal(out.step, 4);
    assert_int_equal(out.ranges_count, 1);
    assert_int_equal(out.ranges[0].bytes, 80);
    assert_null(step_place(t.step, 0, out.request, t.w, 0, 3, 0, 32));       // another version
    assert_null(step_place(t.step, 0, out.request + 1, t.w, 0, 4, 0, 32));   // another request
    assert_null(step_place(t.step, 0, out.request, t.w, 0, 4, 32, 32));      // not the next bytes
    assert_null(step_place(t.step, 0, out.request, t.w, 0, 4, 0, 96));
    assert_null(step_place(t.step, 1, out.request, t.w, 0, 4, 0, 32));   // another server
    void *dst = step_place(t.step, 0, out.request, t.w, 0, 4, 0, 32);
    assert_ptr_equal(dst, t.param[0]);
    step_data(t.step, 0, out.request, t.w, 0, 32, dst, true, false);
    dst = step_place(t.step, 0, out.request, t.w, 0, 4, 32, 48);
    step_data(t.step, 0, out.request, t.w, 0, 48, dst, false, true);   // corrupt: asked for again
    uint32_t before = out.request;
    assert_true(step_take(t.step, 0, &out));
    assert_int_equal(out.what, STEP_PULL);
    assert_int_not_equal(out.request, before);
    assert_int_equal(out.ranges[0].offset, 32);
    assert_int_equal(out.ranges[0].bytes, 48);
    dst = step_place(t.step, 0, out.request, t.w, 0, 4, 32, 48);
    step_data(t.step, 0, out.request, t.w, 0, 48, dst, true, true);
    assert_false(step_is_done(t.step));
    bool pull;
    assert_int_equal(step_waits_for(t.step, &pull), 0);
    assert_false(pull);
    assert_int_equal(step_committed(t.step, 0, 4, &err), 0);
    assert_int_equal(step_committed(t.step, 0, 4, &err), 0);
    assert_int_equal(step_committed(t.step, 1, 3, &err), 0);   // of an older step
    assert_int_equal(step_committed(t.step, 1, 5, &err), SL_EFORMAT);
    assert_int_equal(step_waits_for(t.step, &pull), 1);
    assert_int_equal(step_committed(t.step, 1, 4, &err), 0);
    assert_true(step_is_done(t.step));
    step_finish(t.step);
    assert_int_equal(step_number(t.step), 4);
    assert_string_equal(drain(&t, 0), "fetched ");
    assert_int_equal(step_push(t.step, t.wg, 0, t.grad[0], &err), 0);
    assert_string_equal(drain(&t, 0), "p1@0 p1@32 p1@64. ");
    table_deinit(&t);
}

static void test_step_resends_exactly_what_is_missing(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t);
    struct err err = {0};
    push_all(&t);
    step_send_barrier(t.step, &err);
    drain(&t, 1);
    step_disconnected(t.step, 1);
    assert_string_equal(drain(&t, 1), "");
    step_connected(t.step, 1, true);
    assert_string_equal(drain(&t, 1), "");   // the server first says what it lacks
    struct message_range lacks[] = {{t.wg, 1, 16, 16}, {t.wg, 1, 64, 16}};
    assert_int_equal(step_missing(t.step, 1, 3, lacks, 1, false, &err), 0);
    assert_string_equal(drain(&t, 1), "");
    assert_int_equal(step_missing(t.step, 1, 3, lacks + 1, 1, true, &err), 0);
    assert_string_equal(drain(&t, 1), "r1@16 r1@64. barrier ");
    assert_int_equal(step_resent(t.step), 2);
    // One corrupt chunk on a standing connection.
    assert_int_equal(step_missing(t.step, 1, 3, lacks, 1, true, &err), 0);
    assert_string_equal(drain(&t, 1), "r1@16 barrier ");
    // Lists that cannot be.
    struct message_range bad[] = {
        {t.wg, 0, 0, 16}, {t.wg, 1, 80, 16}, {t.wg, 1, 4, 4}, {t.w, 1, 0, 16}, {99, 0, 0, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(step_missing(t.step, 1, 3, &bad[i], 1, true, &err), SL_EFORMAT);
    table_deinit(&t);
}

static void test_step_back_at_a_server_that_committed_meanwhile(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t);
    struct err err = {0};
    push_all(&t);
    step_send_barrier(t.step, &err);
    drain(&t, 1);
    step_disconnected(t.step, 1);
    step_connected(t.step, 1, true);
    struct message_range all = {t.wg, 1, 0, 80};
    assert_int_equal(step_missing(t.step, 1, 4, &all, 1, true, &err),
                     0);                             // its next step: not ours yet
    assert_string_equal(drain(&t, 1), "barrier ");   // answered by committed
    assert_int_equal(step_committed(t.step, 1, 4, &err), 0);
    assert_string_equal(drain(&t, 1), "");
    table_deinit(&t);
}

static void test_step_lost_before_anything_was_sent(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t);
    struct err err = {0};
    step_disconnected(t.step, 1);
    assert_int_equal(step_push(t.step, t.wg, 1, t.grad[1], &err), 0);
    step_connected(t.step, 1, true);
    assert_int_equal(
        step_missing(t.step, 1, 3, &(struct message_range){t.wg, 1, 0, 80}, 1, true, &err), 0);
    assert_string_equal(drain(&t, 1), "r1@0 r1@32 r1@64. ");
    table_deinit(&t);
}

static void test_step_combines_partials_alike_in_any_order(void **unused)
{
    (void)unused;
    struct table t;
    table_init(&t);
    struct err err = {0};
    push_all(&t);
    step_send_barrier(t.step, &err);
    drain(&t, 0);
    drain(&t, 1);
    struct message_partial a[] = {{MESSAGE_SQUARED_NORM, t.wg, 0, 1.5},
                                  {MESSAGE_SQUARED_NORM, t.bg, 0, 8}};
    struct message_partial b[] = {{MESSAGE_SQUARED_NORM, t.wg, 1, 2.25}};
    assert_int_equal(step_partials(t.step, 1, 3, 0, b, 1, true, &err), 0);
    assert_string_equal(drain(&t, 0), "");
    assert_int_equal(step_partials(t.step, 0, 3, 0, a, 1, false, &err), 0);
    step_disconnected(t.step, 0);   // in the middle of its pages
    step_connected(t.step, 0, true);
    assert_int_equal(step_missing(t.step, 0, 3, NULL, 0, true, &err), 0);
    assert_string_equal(drain(&t, 0), "barrier ");
    assert_int_equal(step_partials(t.step, 0, 3, 0, a, 2, true, &err), 0);
    struct step_out out;
    assert_true(step_take(t.step, 0, &out));
    assert_int_equal(out.what, STEP_COMMIT);
    assert_int_equal(out.decision, MESSAGE_APPLY);
    assert_int_equal(out.partials_count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(out.partials[i].value == (out.partials[i].variable == t.wg ? 3.75 : 8));
    assert_int_equal(out.stage, 0);
    assert_false(step_take(t.step, 0, &out));
    assert_true(step_take(t.step, 1, &out));
    // The next stage: told twice by one server, lost with its connection at the other.
    assert_true(step_partials(t.step, 0, 3, 2, a, 1, true, &err) < 0);
    assert_int_equal(step_partials(t.step, 0, 3, 0, a, 2, true, &err), 0);
    assert_int_equal(step_partials(t.step, 0, 3, 1, a, 2, false, &err), 0);
    assert_int_equal(step_partials(t.step, 0, 3, 1, a, 2, true, &err), 0);
    step_disconnected(t.step, 1);
    step_connected(t.step, 1, true);
    assert_int_equal(step_missing(t.step, 1, 3, NULL, 0, true, &err), 0);
    assert_string_equal(drain(&t, 1), "barrier commit ");   // of the stage before
    assert_int_equal(step_partials(t.step, 1, 3, 1, b, 1, true, &err), 0);
    assert_true(step_take(t.step, 0, &out));
    assert_int_equal(out.what, STEP_COMMIT);
    assert_int_equal(out.stage, 1);
    for (size_t i = 0; i < 2; i++)
        assert_true(out.partials[i].value == (out.partials[i].variable == t.wg ? 3.75 : 8));
    assert_false(step_take(t.step, 0, &out));
    table_deinit(&t);
}

// Rows of the fixture's table: 16 bytes each, frames of two.
struct rows_table {
    struct fixture f;
    struct step *step;
    uint32_t tg, bg, t;
    uint8_t message[2][160];
    float bias[3];
};

static void rows_init(struct rows_table *t)
{
    memset(t, 0, sizeof *t);
    fixture_table_init(&t->f, 2);
    struct step_options options = {
        .map = &t->f.map, .cell_bytes = FIXTURE_CELL, .frame_bytes = 2 * FIXTURE_CELL, .step = 3};
    t->step = step_new(&options);
    for (uint32_t v = 0; v < t->f.map.vars_count; v++) {
        const char *name = t->f.map.vars[v]->name;
        t->tg = strcmp(name, "t@GRAD") == 0 ? v : t->tg;
        t->bg = strcmp(name, "b@GRAD") == 0 ? v : t->bg;
        t->t = strcmp(name, "t") == 0 ? v : t->t;
    }
    step_connected(t->step, 0, false);
    step_connected(t->step, 1, false);
}

static const char *rows_drain(struct rows_table *t, int server)
{
    static char text[256];
    size_t used = 0;
    struct step_out out;
    text[0] = '\0';
    while (step_take(t->step, server, &out) && out.what == STEP_PUSH && used + 40 < sizeof text) {
        assert_true(out.sparse == (out.variable == t->tg));
        assert_true(!out.sparse || out.data == t->message[server] + out.offset);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u:%u@%u+%u%s ",
                                 out.resent ? "r" : "", out.sparse, out.rows, (unsigned)out.offset,
                                 out.bytes, out.last ? "." : "");
    }
    return text;
}

static void test_step_sends_rows(void **unused)
{
    (void)unused;
    struct rows_table t;
    rows_init(&t);
    struct err err = {0};
    assert_int_equal(step_push(t.step, t.tg, 0, t.message[0], &err), SL_EINVAL);
    assert_int_equal(step_push_rows(t.step, t.bg, 0, t.bias, 1, &err), SL_EINVAL);
    assert_int_equal(step_push_rows(t.step, t.t, 0, t.bias, 1, &err), SL_EINVAL);
    assert_int_equal(step_push_rows(t.step, t.tg, 0, t.message[0], 5, &err), 0);
    assert_int_equal(step_push_rows(t.step, t.tg, 0, t.message[0], 5, &err), SL_EINVAL);
    assert_string_equal(rows_drain(&t, 0), "1:5@0+32 1:5@32+32 1:5@64+16. ");
    assert_int_equal(step_send_barrier(t.step, &err), SL_EUSAGE);
    assert_non_null(strstr(err.text, "(b@GRAD, t@GRAD.block1)"));
    assert_int_equal(step_push_rows(t.step, t.tg, 1, t.message[1], 0, &err), 0);
    assert_string_equal(rows_drain(&t, 1), "1:0@0+0. ");
    assert_int_equal(step_push(t.step, t.bg, 0, t.bias, &err), 0);
    assert_int_equal(step_version(t.step), 3);
    assert_int_equal(step_send_barrier(t.step, &err), 0);
    assert_int_equal(step_version(t.step), 4);
    assert_int_equal(step_committed(t.step, 0, 4, &err), 0);
    assert_int_equal(step_committed(t.step, 1, 4, &err), 0);
    assert_true(step_is_done(t.step));
    step_finish(t.step);
    // The next step has other numbers.
    assert_int_equal(step_push_rows(t.step, t.tg, 0, t.message[0], 1, &err), 0);
    assert_int_equal(step_push_rows(t.step, t.tg, 1, t.message[1], 4, &err), 0);
    struct step_out out;
    assert_true(step_take(t.step, 0, &out) && out.what == STEP_PUSH && out.rows == 1 && out.last);
    assert_string_equal(rows_drain(&t, 1), "1:4@0+32 1:4@32+32. ");
    step_free(t.step);
    fixture_deinit(&t.f);
}

static void test_step_sends_missing_rows_again(void **unused)
{
    (void)unused;
    struct rows_table t;
    rows_init(&t);
    struct err err = {0};
    struct message_range all = {t.tg, 0, 0, 96}, part = {t.tg, 0, 32, 32};
    // Of rows that are not pushed yet a server may ask what it likes.
    assert_int_equal(step_missing(t.step, 0, 3, &all, 1, true, &err), 0);
    assert_int_equal(step_push_rows(t.step, t.tg, 0, t.message[0], 4, &err), 0);
    assert_string_equal(rows_drain(&t, 0), "1:4@0+32 1:4@32+32. ");
    assert_int_equal(step_missing(t.step, 0, 3, &all, 1, true, &err), 0);
    assert_string_equal(rows_drain(&t, 0), "r1:4@0+32 r1:4@32+32. ");
    assert_int_equal(step_missing(t.step, 0, 3, &part, 1, true, &err), 0);
    assert_string_equal(rows_drain(&t, 0), "r1:4@32+32. ");
    part.offset = 64;   // beyond its four rows
    assert_int_equal(step_missing(t.step, 0, 3, &part, 1, true, &err), SL_EFORMAT);
    part.offset = 8;
    assert_int_equal(step_missing(t.step, 0, 3, &part, 1, true, &err), SL_EFORMAT);
    part.offset = 0;
    assert_int_equal(step_missing(t.step, 1, 3, &part, 1, true, &err), SL_EFORMAT);
    // No rows: a range of one byte asks for the empty chunk.
    struct message_range one = {t.tg, 1, 0, 1};
    assert_int_equal(step_push_rows(t.step, t.tg, 1, t.message[1], 0, &err), 0);
    assert_string_equal(rows_drain(&t, 1), "1:0@0+0. ");
    assert_int_equal(step_missing(t.step, 1, 3, &one, 1, true, &err), 0);
    assert_string_equal(rows_drain(&t, 1), "r1:0@0+0. ");
    // A server that came back complete has what it does not name.
    step_disconnected(t.step, 0);
    step_connected(t.step, 0, true);
    assert_string_equal(rows_drain(&t, 0), "");
    assert_int_equal(step_missing(t.step, 0, 3, NULL, 0, true, &err), 0);
    assert_string_equal(rows_drain(&t, 0), "");
    step_free(t.step);
    fixture_deinit(&t.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_streams_then_says_barrier),
        cmocka_unit_test(test_step_ends_after_commit_and_pulls),
        cmocka_unit_test(test_step_resends_exactly_what_is_missing),
        cmocka_unit_test(test_step_back_at_a_server_that_committed_meanwhile),
        cmocka_unit_test(test_step_lost_before_anything_was_sent),
        cmocka_unit_test(test_step_combines_partials_alike_in_any_order),
        cmocka_unit_test(test_step_sends_rows),
        cmocka_unit_test(test_step_sends_missing_rows_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
