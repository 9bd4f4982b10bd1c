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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
