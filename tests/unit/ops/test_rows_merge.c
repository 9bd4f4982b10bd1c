// SPDX-License-Identifier: Apache-2.0
// Merging selected rows against the plain definition: a pass over all occurrences for each row.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/ops/rows_merge.h"

#define INPUTS_MAX 5

struct fixture {
    struct tensor work;
    struct selected_rows in[INPUTS_MAX], out;
    uint64_t rng;
};

static void init(struct fixture *f, uint64_t seed)
{
    tensor_init(&f->work);
    for (int i = 0; i < INPUTS_MAX; i++)
        selected_rows_init(&f->in[i]);
    selected_rows_init(&f->out);
    f->rng = seed;
}

static void deinit(struct fixture *f)
{
    tensor_deinit(&f->work);
    for (int i = 0; i < INPUTS_MAX; i++)
        selected_rows_deinit(&f->in[i]);
    selected_rows_deinit(&f->out);
}

static void fill(struct fixture *f, int i, int64_t height, size_t count, int64_t width,
                 enum dtype dtype, int64_t distinct)
{
    struct selected_rows *sr = &f->in[i];
    struct dims tall = {.rank = 2, .d = {height, width}};
    assert_int_equal(selected_rows_shape(sr, height, count, dtype, &tall), 0);
    for (size_t k = 0; k < count; k++) {
        int64_t at = (int64_t)(rng_next_u64(&f->rng) % (uint64_t)distinct);
        sr->rows[k] = height - 1 - at * (height / distinct);
    }
    for (size_t e = 0; e < count * (size_t)width; e++) {
        float value = (float)(rng_next_u64(&f->rng) % 2001) / 1000 - 1;
        if (dtype == DTYPE_FP32)
            tensor_f32(&sr->value)[e] = value;
        else if (dtype == DTYPE_FP64)
            tensor_f64(&sr->value)[e] = (double)value / 3;
    }
}

// Row `row`'s element e, added up in order; *found counts occurrences.
static double sum_of(const struct fixture *f, int inputs, int64_t row, int64_t e, int64_t width,
                     size_t *found)
{
    float single = 0;
    double sum = 0;
    *found = 0;
    for (int i = 0; i < inputs; i++) {
        for (size_t k = 0; k < f->in[i].rows_count; k++) {
            size_t at = k * (size_t)width + (size_t)e;
            if (f->in[i].rows[k] != row)
                continue;
            ++*found;
            if (f->in[i].value.dtype == DTYPE_FP32)
                single += tensor_f32(&f->in[i].value)[at];
            else
                sum += tensor_f64(&f->in[i].value)[at];
        }
    }
    return sum + (double)single;
}

static void check(struct fixture *f, int inputs, int64_t width, enum dtype dtype)
{
    const struct selected_rows *list[INPUTS_MAX];
    struct err err = {0};
    size_t total = 0, found = 0, all = 0;
    for (int i = 0; i < inputs; i++) {
        list[i] = &f->in[i];
        total += f->in[i].rows_count;
    }
    assert_int_equal(rows_merge_into(&f->out, &f->work, list, (size_t)inputs, &err), 0);
    assert_int_equal(f->out.height, f->in[0].height);
    assert_int_equal(f->out.value.dims.d[0], f->out.rows_count);
    for (size_t k = 0; k < f->out.rows_count; k++) {
        assert_true(k == 0 || f->out.rows[k - 1] < f->out.rows[k]);
        for (int64_t e = 0; e < width; e++) {
            double want = sum_of(f, inputs, f->out.rows[k], e, width, &found);
            size_t at = k * (size_t)width + (size_t)e;
            double got = dtype == DTYPE_FP32 ? (double)tensor_f32(&f->out.value)[at]
                                             : tensor_f64(&f->out.value)[at];
            assert_true(got == want);
        }
        all += found;
    }
    assert_true(width == 0 || all == total);
}

static void test_sums_every_row_in_order_of_occurrence(void **state)
{
    static const struct {
        int64_t height, width, distinct;
        size_t counts[INPUTS_MAX];
        int inputs;
    } cases[] = {
        {10, 3, 10, {1}, 1},
        {10, 3, 4, {30}, 1},
        {1, 2, 1, {200}, 1},
        {1000001, 10, 300, {1000}, 1},
        {1000001, 1, 100000, {1500}, 1},
        {5000, 7, 50, {49, 0, 120}, 3},
        {100, 5, 100, {0, 0, 3, 0, 200}, 5},
        {(int64_t)1 << 40, 2, 90, {300, 300}, 2},
        {64, 33, 64, {48, 48}, 2},
        {3, 4, 3, {0, 0}, 2},
    };
    (void)state;
    struct fixture f;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (int d = 0; d < 2; d++) {
            enum dtype dtype = d == 0 ? DTYPE_FP32 : DTYPE_FP64;
            init(&f, 17 + c);
            for (int i = 0; i < cases[c].inputs; i++)
                fill(&f, i, cases[c].height, cases[c].counts[i], cases[c].width, dtype,
                     cases[c].distinct);
            check(&f, cases[c].inputs, cases[c].width, dtype);
            deinit(&f);
        }
    }
}

static void test_sorted_rows_need_no_order(void **state)
{
    static const int64_t rows[] = {2, 5, 6, 9};
    const struct rows_merge_in in[] = {{NULL, 0, NULL}, {rows, 4, NULL}};
    struct rows_merge m;
    struct tensor work;
    (void)state;
    tensor_init(&work);
    assert_int_equal(rows_merge_find(&work, in, 2, 10, &m, NULL), 0);
    assert_true(m.sorted && m.rows == rows && m.count == 4);
    assert_int_equal(rows_merge_find_order(&work, in, 2, 10, &m, NULL), 0);
    assert_false(m.sorted);
    assert_int_equal(m.count, 4);
    for (uint32_t k = 0; k < 4; k++) {
        assert_int_equal(m.rows[k], rows[k]);
        assert_int_equal(m.starts[k], k);
        assert_int_equal(m.order[k], k);
    }
    tensor_deinit(&work);
}

static void test_order_names_every_position(void **state)
{
    static const int64_t a[] = {7, 1, 7}, b[] = {1, 0, 7};
    static const int64_t want_rows[] = {0, 1, 7};
    static const uint32_t want_order[] = {4, 1, 3, 0, 2, 5}, want_starts[] = {0, 1, 3, 6};
    const struct rows_merge_in in[] = {{a, 3, NULL}, {b, 3, NULL}};
    struct rows_merge m;
    struct tensor work;
    (void)state;
    tensor_init(&work);
    assert_int_equal(rows_merge_find_order(&work, in, 2, 8, &m, NULL), 0);
    assert_int_equal(m.count, 3);
    assert_memory_equal(m.rows, want_rows, sizeof want_rows);
    assert_memory_equal(m.order, want_order, sizeof want_order);
    assert_memory_equal(m.starts, want_starts, sizeof want_starts);
    tensor_deinit(&work);
}

static void test_sum_is_never_minus_zero(void **state)
{
    static const int64_t rows[] = {3};
    static const float value[] = {-0.0f};
    const struct rows_merge_in in = {rows, 1, value};
    struct rows_merge m;
    struct tensor work;
    float out = 1;
    (void)state;
    tensor_init(&work);
    assert_int_equal(rows_merge_find(&work, &in, 1, 4, &m, NULL), 0);
    rows_merge_sum_f32(&m, &in, 1, 1, &out);
    assert_false(signbit(out));
    tensor_deinit(&work);
}

static void test_refuses_what_does_not_fit(void **state)
{
    struct fixture f;
    struct err err = {0};
    const struct selected_rows *list[] = {&f.in[0], &f.in[1]};
    (void)state;
    init(&f, 3);
    fill(&f, 0, 10, 4, 3, DTYPE_FP32, 10);
    fill(&f, 1, 10, 4, 2, DTYPE_FP32, 10);
    assert_int_equal(rows_merge_into(&f.out, &f.work, list, 2, &err), SL_EMISMATCH);
    fill(&f, 1, 11, 4, 3, DTYPE_FP32, 10);
    assert_int_equal(rows_merge_into(&f.out, &f.work, list, 2, &err), SL_EMISMATCH);
    fill(&f, 1, 10, 4, 3, DTYPE_FP64, 10);
    assert_int_equal(rows_merge_into(&f.out, &f.work, list, 2, &err), SL_EMISMATCH);
    fill(&f, 1, 10, 4, 3, DTYPE_FP32, 10);
    f.in[1].rows[2] = 10;
    assert_int_equal(rows_merge_into(&f.out, &f.work, list, 2, &err), SL_EINVAL);
    f.in[1].rows[2] = -1;
    assert_int_equal(rows_merge_into(&f.out, &f.work, list, 2, &err), SL_EINVAL);
    f.in[1].rows[2] = 2;
    assert_int_equal(selected_rows_resize(&f.in[1], 5), 0);   // five rows, a value of four
    assert_int_equal(rows_merge_into(&f.out, &f.work, list, 2, &err), SL_EMISMATCH);
    fill(&f, 0, 10, 4, 3, DTYPE_INT32, 10);
    assert_int_equal(rows_merge_into(&f.out, &f.work, list, 1, &err), SL_EUNSUPPORTED);
    fill(&f, 0, INT64_MAX, 9, 3, DTYPE_FP32, 10);
    assert_int_equal(rows_merge_into(&f.out, &f.work, list, 1, &err), SL_ELIMIT);
    deinit(&f);
}

// The number of rows goes up and down; once the largest was there, no memory is needed.
static void test_allocates_nothing_in_steady_state(void **state)
{
    struct fixture f;
    const struct selected_rows *list[] = {&f.in[0], &f.in[1]};
    unsigned long before = 0;
    (void)state;
    init(&f, 3);
    for (size_t step = 0; step < 40; step++) {
        fill(&f, 0, 5000, step < 1 ? 900 : 300 + step * 37 % 600, 4, DTYPE_FP32, 5000);
        fill(&f, 1, 5000, step < 1 ? 900 : 300 + step * 91 % 600, 4, DTYPE_FP32, 5000);
        if (step == 2)
            before = mem_allocation_count();
        assert_int_equal(rows_merge_into(&f.out, &f.work, list, 2, NULL), 0);
    }
    assert_int_equal(mem_allocation_count(), before);
    deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_every_row_in_order_of_occurrence),
        cmocka_unit_test(test_sorted_rows_need_no_order),
        cmocka_unit_test(test_order_names_every_position),
        cmocka_unit_test(test_sum_is_never_minus_zero),
        cmocka_unit_test(test_refuses_what_does_not_fit),
        cmocka_unit_test(test_allocates_nothing_in_steady_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
