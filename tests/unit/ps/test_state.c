// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ps/ps_fixture.h"

#include "common/exec/plan.h"
#include "common/ps/state.h"

static const struct dims four = {.rank = 1, .d = {4}};

struct bank {
    struct state state;
    struct state_entry *w, *lr;
};

static void bank_init(struct bank *b)
{
    struct err err = {0};
    state_init(&b->state);
    assert_int_equal(state_add(&b->state, "w", DTYPE_FP32, &four, STATE_WHOLE, &err), 0);
    assert_int_equal(state_add(&b->state, "lr", DTYPE_FP32, &four, STATE_NEVER, &err), 1);
    assert_int_equal(state_add(&b->state, "w", DTYPE_FP32, &four, STATE_WHOLE, &err), SL_EEXIST);
    assert_int_equal(state_layout(&b->state, 7, 8, &err), 0);
    b->w = state_find(&b->state, "w");
    b->lr = state_find(&b->state, "lr");
    state_load(&b->state, b->w, (const float[]){1, 2, 3, 4});
    state_load(&b->state, b->lr, (const float[]){9, 9, 9, 9});
}

// A step that adds one to every element of w, through the plan's variables.
static void step(struct bank *b)
{
    struct err err = {0};
    assert_int_equal(state_begin(&b->state, &err), 0);
    const float *now = tensor_f32(variable_tensor(&b->w->now));
    float *next = tensor_f32(variable_tensor(&b->w->next));
    for (int i = 0; i < 4; i++)
        next[i] = now[i] + 1;
    state_commit(&b->state);
}

static float first_at(struct bank *b, const struct state_entry *entry, uint64_t version)
{
    const float *at = (const float *)(const void *)state_at(&b->state, entry, version, NULL);
    return at ? at[0] : -1;
}

static void test_state_serves_version_and_the_one_before(void **unused)
{
    (void)unused;
    struct bank b;
    bank_init(&b);
    assert_true(state_has(&b.state, 7));
    assert_false(state_has(&b.state, 6));
    step(&b);
    assert_int_equal(b.state.version, 8);
    assert_true(first_at(&b, b.w, 8) == 2 && first_at(&b, b.w, 7) == 1);
    assert_true(first_at(&b, b.lr, 8) == 9);
    struct err err = {0};
    assert_int_equal(state_begin(&b.state, &err), 0);
    assert_false(state_has(&b.state, 7));   // its bank is being written
    assert_true(first_at(&b, b.w, 8) == 2);
    state_commit(&b.state);
    state_deinit(&b.state);
}

static void test_state_never_overwrites_what_a_reply_reads(void **unused)
{
    (void)unused;
    struct bank b;
    bank_init(&b);
    struct err err = {0};
    int64_t token = state_hold(&b.state, b.w, 7);
    const float *reading = (const float *)(const void *)state_at(&b.state, b.w, 7, NULL);
    step(&b);
    assert_int_equal(state_begin(&b.state, &err), SL_EBUSY);
    assert_non_null(strstr(err.text, "version 7"));
    assert_true(reading[0] == 1);
    state_release(&b.state, token);
    step(&b);
    assert_true(first_at(&b, b.w, 9) == 3);
    // What no step writes needs no hold.
    token = state_hold(&b.state, b.lr, 9);
    step(&b);
    step(&b);
    state_release(&b.state, token);
    state_deinit(&b.state);
}

static void test_state_pin_outlives_steps(void **unused)
{
    (void)unused;
    struct bank b;
    bank_init(&b);
    struct err err = {0};
    assert_int_equal(state_pin(&b.state, 9, &err), SL_ENOENT);
    assert_int_equal(state_pin(&b.state, 7, &err), 0);
    assert_int_equal(state_pin(&b.state, 7, &err), 0);
    step(&b);
    assert_null(b.state.snapshots[0].copy);   // no copy yet: the bank still has it
    for (int i = 0; i < 5; i++)
        step(&b);
    assert_true(first_at(&b, b.w, 7) == 1 && first_at(&b, b.lr, 7) == 9);
    int64_t token = state_hold(&b.state, b.w, 7);
    state_unpin(&b.state, 7);
    state_unpin(&b.state, 7);
    assert_true(first_at(&b, b.w, 7) == 1);   // a reply still reads the snapshot
    state_release(&b.state, token);
    assert_false(state_has(&b.state, 7));
    assert_int_equal(b.state.snapshots_count, 0);
    state_deinit(&b.state);
}

static void test_state_skip_keeps_values(void **unused)
{
    (void)unused;
    struct bank b;
    bank_init(&b);
    step(&b);
    struct err err = {0};
    assert_int_equal(state_begin(&b.state, &err), 0);
    tensor_f32(variable_tensor(&b.w->next))[0] = 1e9f;
    state_skip(&b.state);
    assert_int_equal(b.state.version, 9);
    assert_true(first_at(&b, b.w, 9) == 2);
    state_deinit(&b.state);
}

static struct variable other_var;
static struct variable *bind_other(void *self, const char *name, bool write, bool written)
{
    (void)self;
    (void)write;
    (void)written;
    return strcmp(name, "g") == 0 ? &other_var : NULL;
}

static void test_state_binder_reads_old_until_written(void **unused)
{
    (void)unused;
    struct bank b;
    bank_init(&b);
    struct plan_binder other = {.bind = bind_other};
    struct state_binder self = {.state = &b.state, .other = &other};
    struct plan_binder binder = state_plan_binder(&self);
    assert_ptr_equal(binder.bind(binder.self, "w", false, false), &b.w->now);
    assert_ptr_equal(binder.bind(binder.self, "w", true, false), &b.w->next);
    assert_ptr_equal(binder.bind(binder.self, "w", false, true), &b.w->next);
    assert_ptr_equal(binder.bind(binder.self, "g", true, false), &other_var);
    assert_null(binder.bind(binder.self, "nothing", false, false));
    state_end_block(&b.state, "w");   // a later block of the same step reads the new value
    assert_ptr_equal(binder.bind(binder.self, "w", false, false), &b.w->next);
    state_deinit(&b.state);
}

static void test_state_copies_first_what_may_not_be_written(void **unused)
{
    (void)unused;
    struct state state;
    struct err err = {0};
    state_init(&state);
    state_add(&state, "c", DTYPE_FP32, &four, STATE_PERHAPS, &err);
    assert_int_equal(state_layout(&state, 0, 0, &err), 0);
    struct state_entry *c = state_find(&state, "c");
    state_load(&state, c, (const float[]){5, 6, 7, 8});
    for (int i = 0; i < 3; i++) {   // nobody writes it
        assert_int_equal(state_begin(&state, &err), 0);
        state_commit(&state);
    }
    assert_true(tensor_f32(variable_tensor(&c->now))[3] == 8);
    state_deinit(&state);
}

static void test_state_forgets_checksums_of_overwritten_bank(void **unused)
{
    (void)unused;
    struct bank b;
    bank_init(&b);
    uint64_t *hashes;
    state_at(&b.state, b.w, 7, &hashes);
    hashes[0] = hashes[1] = 77;
    step(&b);
    state_at(&b.state, b.w, 7, &hashes);
    assert_int_equal(hashes[0], 77);
    step(&b);
    state_at(&b.state, b.w, 9, &hashes);
    assert_int_equal(hashes[0], 0);
    assert_int_equal(hashes[1], 0);
    state_deinit(&b.state);
}

// A table of ten rows of two, whose steps touch a few.
struct rows_bank {
    struct state state;
    struct state_entry *t;
    float want[20];
};

static void rows_init(struct rows_bank *b)
{
    static const struct dims dims = {.rank = 2, .d = {10, 2}};
    struct err err = {0};
    state_init(&b->state);
    assert_int_equal(state_add(&b->state, "t", DTYPE_FP32, &dims, STATE_ROWS, &err), 0);
    assert_int_equal(state_layout(&b->state, 4, 16, &err), 0);
    b->t = state_find(&b->state, "t");
    for (int i = 0; i < 20; i++)
        b->want[i] = (float)i;
    state_load(&b->state, b->t, b->want);
}

static void rows_step(struct rows_bank *b, const int64_t *rows, size_t count)
{
    struct err err = {0};
    assert_int_equal(state_begin(&b->state, &err), 0);
    const float *now = tensor_f32(variable_tensor(&b->t->now));
    float *next = tensor_f32(variable_tensor(&b->t->next));
    for (size_t i = 0; i < count; i++)
        for (int e = 0; e < 2; e++)
            b->want[rows[i] * 2 + e] = next[rows[i] * 2 + e] = now[rows[i] * 2 + e] + 100;
    state_touch(&b->state, b->t, rows, count);
    state_commit(&b->state);
}

static void rows_are_right(struct rows_bank *b)
{
    const uint8_t *at = state_at(&b->state, b->t, b->state.version, NULL);
    assert_memory_equal(at, b->want, sizeof b->want);
}

static void test_state_copies_only_touched_rows(void **unused)
{
    (void)unused;
    struct rows_bank b;
    rows_init(&b);
    static const int64_t one[] = {7, 2}, two[] = {3}, all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    rows_step(&b, one, 2);
    rows_are_right(&b);
    rows_step(&b, two, 1);   // its bank lacked rows 7 and 2
    rows_are_right(&b);
    rows_step(&b, two, 0);
    rows_are_right(&b);
    rows_step(&b, two, 0);
    rows_are_right(&b);
    // What nobody touched is not copied: a change there, which no step makes, stays in its bank.
    struct err err = {0};
    float *hidden = tensor_f32(variable_tensor(&b.t->next)) + 18;
    hidden[0] = -5;
    rows_step(&b, one, 2);
    assert_true(tensor_f32(variable_tensor(&b.t->now))[18] == -5);
    hidden[0] = b.want[18];
    rows_step(&b, all, 10);
    rows_step(&b, all, 10);
    rows_are_right(&b);
    rows_step(&b, one, 1);
    rows_are_right(&b);
    // Repeated rows, and more of them than there are.
    for (int i = 0; i < 3; i++) {
        assert_int_equal(state_begin(&b.state, &err), 0);
        for (int k = 0; k < 7; k++)
            state_touch(&b.state, b.t, one, 2);
        float *next = tensor_f32(variable_tensor(&b.t->next));
        b.want[4] = next[4] = next[4] + 1;
        state_commit(&b.state);
        rows_are_right(&b);
    }
    state_deinit(&b.state);
}

static void test_state_skip_takes_touched_rows_back(void **unused)
{
    (void)unused;
    struct rows_bank b;
    struct err err = {0};
    rows_init(&b);
    static const int64_t one[] = {1, 8};
    rows_step(&b, one, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(state_begin(&b.state, &err), 0);
        float *next = tensor_f32(variable_tensor(&b.t->next));
        next[2] = next[16] = -1;   // an update on trial
        state_touch(&b.state, b.t, one, 2);
        state_skip(&b.state);
        rows_are_right(&b);
    }
    rows_step(&b, one, 1);
    rows_are_right(&b);
    // An update of which nobody knows the rows.
    assert_int_equal(state_begin(&b.state, &err), 0);
    state_touch(&b.state, b.t, NULL, 0);
    tensor_f32(variable_tensor(&b.t->next))[13] = -1;
    state_skip(&b.state);
    rows_are_right(&b);
    state_deinit(&b.state);
}

static void test_state_of_rows_forgets_hashes_and_keeps_pins(void **unused)
{
    (void)unused;
    struct rows_bank b;
    struct err err = {0};
    rows_init(&b);
    static const int64_t rows[] = {0, 5};
    uint64_t *hashes;
    for (int i = 0; i < 4; i++) {
        float before[20];
        memcpy(before, b.want, sizeof before);
        (void)state_at(&b.state, b.t, b.state.version, &hashes);
        for (int c = 0; c < 5; c++)
            hashes[c] = 77;
        uint64_t version = b.state.version;
        assert_int_equal(state_pin(&b.state, version, &err), 0);
        rows_step(&b, rows, 2);
        (void)state_at(&b.state, b.t, b.state.version, &hashes);
        assert_true(hashes[0] == 0 && hashes[2] == 0);
        rows_step(&b, rows, 1);
        rows_are_right(&b);
        assert_memory_equal(state_at(&b.state, b.t, version, NULL), before, sizeof before);
        state_unpin(&b.state, version);
    }
    state_end(&b.state);
    rows_are_right(&b);
    state_deinit(&b.state);
}

static void test_state_without_rows_may_be_touched_by_none(void **unused)
{
    (void)unused;
    struct state state;
    struct err err = {0};
    state_init(&state);
    assert_int_equal(state_add(&state, "e", DTYPE_FP32, &(struct dims){.rank = 2, .d = {0, 3}},
                               STATE_ROWS, &err),
                     0);
    assert_int_equal(state_layout(&state, 0, 16, &err), 0);
    state_load(&state, state.entries[0], NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(state_begin(&state, &err), 0);
        state_touch(&state, state.entries[0], NULL, 0);
        state_commit(&state);
    }
    state_deinit(&state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_serves_version_and_the_one_before),
        cmocka_unit_test(test_state_never_overwrites_what_a_reply_reads),
        cmocka_unit_test(test_state_pin_outlives_steps),
        cmocka_unit_test(test_state_skip_keeps_values),
        cmocka_unit_test(test_state_binder_reads_old_until_written),
        cmocka_unit_test(test_state_copies_first_what_may_not_be_written),
        cmocka_unit_test(test_state_forgets_checksums_of_overwritten_bank),
        cmocka_unit_test(test_state_copies_only_touched_rows),
        cmocka_unit_test(test_state_skip_takes_touched_rows_back),
        cmocka_unit_test(test_state_of_rows_forgets_hashes_and_keeps_pins),
        cmocka_unit_test(test_state_without_rows_may_be_touched_by_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
