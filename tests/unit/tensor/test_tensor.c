// SPDX-License-Identifier: Apache-2.0
// Who owns a tensor's memory, and when it moves.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/tensor/tensor.h"

static struct dims matrix(int64_t rows, int64_t columns)
{
    const int64_t d[] = {rows, columns};
    return dims_make(2, d);
}

static void make(struct tensor *t, int64_t rows, int64_t columns)
{
    struct dims dims = matrix(rows, columns);
    tensor_init(t);
    assert_int_equal(tensor_resize(t, DTYPE_FP32, &dims), 0);
    for (uint64_t i = 0; i < tensor_count(t); i++)
        tensor_f32(t)[i] = (float)i;
}

static void test_tensor_begins_without_elements(void **state)
{
    (void)state;
    struct tensor t;
    tensor_init(&t);
    assert_int_equal(tensor_count(&t), 0);
    assert_int_equal(tensor_bytes(&t), 0);
    tensor_deinit(&t);
    tensor_deinit(NULL);
}

static void test_tensor_resize_keeps_memory_that_is_large_enough(void **state)
{
    (void)state;
    struct tensor t;
    make(&t, 8, 4);
    const void *data = t.data;
    assert_int_equal((uintptr_t)data % 64, 0);
    unsigned long before = mem_allocation_count();
    struct dims small = matrix(3, 4), full = matrix(4, 8), empty = matrix(0, 4);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &small), 0);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &empty), 0);
    assert_int_equal(tensor_resize(&t, DTYPE_INT32, &full), 0);
    assert_ptr_equal(t.data, data);
    assert_int_equal(mem_allocation_count(), before);
    assert_int_equal(tensor_resize(&t, DTYPE_INT64, &full), 0);
    assert_true(t.capacity_bytes >= 256);
    tensor_deinit(&t);
}

static void test_tensor_resize_refuses(void **state)
{
    (void)state;
    struct tensor t;
    make(&t, 2, 2);
    struct dims negative = matrix(-1, 2), huge = matrix(INT64_C(1) << 40, INT64_C(1) << 40);
    struct dims large = matrix(1 << 20, 4);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &negative), SL_EINVAL);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &huge), SL_ELIMIT);
    assert_int_equal(tensor_resize(&t, (enum dtype)77, &large), SL_EINVAL);
    mem_fail_nth(1);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &large), SL_ENOMEM);
    mem_fail_nth(0);
    assert_int_equal(tensor_count(&t), 4);
    assert_true(tensor_f32(&t)[3] == 3.0f);
    tensor_deinit(&t);
}

static void test_tensor_shared_rows_are_a_view(void **state)
{
    (void)state;
    struct tensor whole, view;
    make(&whole, 6, 2);
    tensor_init(&view);
    assert_int_equal(tensor_share_rows(&view, &whole, 2, 3), 0);
    assert_int_equal(view.dims.d[0], 3);
    assert_true(tensor_f32(&view)[0] == 4.0f);
    tensor_f32(&whole)[4] = 44.0f;
    assert_true(tensor_f32(&view)[0] == 44.0f);
    // A view that grows leaves: its neighbours stay as they are.
    struct dims more = matrix(4, 2);
    assert_int_equal(tensor_resize(&view, DTYPE_FP32, &more), 0);
    memset(view.data, 0xff, tensor_bytes(&view));
    assert_true(tensor_f32(&whole)[10] == 10.0f);
    // The memory lives as long as one user does.
    assert_int_equal(tensor_share_rows(&view, &whole, 5, 1), 0);
    tensor_deinit(&whole);
    assert_true(tensor_f32(&view)[1] == 11.0f);
    assert_int_equal(tensor_share_rows(&whole, &view, 0, 2), SL_EINVAL);
    assert_int_equal(tensor_share_rows(&whole, &view, -1, 1), SL_EINVAL);
    assert_int_equal(tensor_share_rows(&whole, &view, 1, 1), SL_EINVAL);
    assert_int_equal(tensor_share_rows(&whole, &view, INT64_MAX, INT64_MAX), SL_EINVAL);
    tensor_deinit(&whole);
    tensor_deinit(&view);
}

static void test_tensor_resize_leaves_shared_memory_alone(void **state)
{
    (void)state;
    struct tensor a, b;
    make(&a, 2, 2);
    tensor_init(&b);
    tensor_share(&b, &a);
    assert_ptr_equal(a.data, b.data);
    struct dims same = matrix(2, 2);
    assert_int_equal(tensor_resize(&b, DTYPE_FP32, &same), 0);
    assert_ptr_not_equal(a.data, b.data);
    tensor_deinit(&a);
    tensor_deinit(&b);
}

static void test_tensor_borrowed_memory_is_never_replaced(void **state)
{
    (void)state;
    float place[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct tensor t, view;
    struct dims dims = matrix(2, 4), small = matrix(1, 4), large = matrix(3, 4);
    tensor_init(&t);
    tensor_borrow(&t, DTYPE_FP32, &dims, place, sizeof place);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &small), 0);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &large), SL_ELIMIT);
    assert_int_equal(tensor_resize(&t, DTYPE_FP32, &dims), 0);
    assert_ptr_equal(t.data, place);
    tensor_init(&view);
    assert_int_equal(tensor_share_rows(&view, &t, 1, 1), 0);
    assert_ptr_equal(view.data, place + 4);
    struct tensor source;
    make(&source, 2, 4);
    assert_int_equal(tensor_copy(&t, &source), 0);
    assert_true(place[7] == 7.0f);
    tensor_deinit(&source);
    tensor_deinit(&view);
    tensor_deinit(&t);
    assert_true(place[1] == 1.0f);
}

static void test_tensor_copy_and_move(void **state)
{
    (void)state;
    struct tensor a, b, c;
    uint64_t offsets[] = {0, 1, 3};
    const struct lod_level lod = {.offsets = offsets, .count = 3};
    make(&a, 3, 2);
    assert_int_equal(tensor_set_lod(&a, 1, &lod), 0);
    tensor_init(&b);
    assert_int_equal(tensor_copy(&b, &a), 0);
    assert_ptr_not_equal(a.data, b.data);
    assert_memory_equal(a.data, b.data, tensor_bytes(&a));
    assert_int_equal(b.lod_levels, 1);
    assert_int_equal(b.lod[0].offsets[2], 3);
    assert_int_equal(tensor_copy(&b, &b), 0);
    unsigned long before = mem_allocation_count();
    assert_int_equal(tensor_copy(&b, &a), 0);
    assert_int_equal(mem_allocation_count(), before);
    tensor_init(&c);
    const void *data = b.data;
    tensor_move(&c, &b);
    assert_ptr_equal(c.data, data);
    assert_null(b.data);
    assert_int_equal(b.lod_levels, 0);
    tensor_deinit(&a);
    tensor_deinit(&b);
    tensor_deinit(&c);
}

static void test_tensor_lod_is_valid(void **state)
{
    (void)state;
    struct tensor t;
    uint64_t inner[] = {0, 2, 2, 5}, outer[] = {0, 1, 3}, down[] = {0, 3, 2, 5};
    struct lod_level two[] = {{.offsets = outer, .count = 3}, {.offsets = inner, .count = 4}};
    make(&t, 5, 1);
    assert_true(tensor_lod_is_valid(&t));
    tensor_set_lod(&t, 2, two);
    assert_true(tensor_lod_is_valid(&t));
    tensor_set_lod(&t, 1, two);         // ends at 3, the tensor has 5 rows
    assert_false(tensor_lod_is_valid(&t));
    tensor_set_lod(&t, 1, &(struct lod_level){.offsets = down, .count = 4});
    assert_false(tensor_lod_is_valid(&t));
    tensor_set_lod(&t, 1, &(struct lod_level){.offsets = inner + 1, .count = 3});
    assert_false(tensor_lod_is_valid(&t));
    tensor_set_lod(&t, 1, &(struct lod_level){.count = 0});
    assert_false(tensor_lod_is_valid(&t));
    two[1].count = 0;
    tensor_set_lod(&t, 2, two);
    assert_false(tensor_lod_is_valid(&t));
    tensor_clear_lod(&t);
    assert_true(tensor_lod_is_valid(&t));
    assert_int_equal(tensor_set_lod(&t, LIMIT_LOD_LEVELS + 1, NULL), SL_ELIMIT);
    tensor_deinit(&t);
}

static void test_tensor_reserve_lod_keeps_the_other_levels(void **state)
{
    (void)state;
    struct tensor t;
    uint64_t first[] = {0, 1, 2}, *kept;
    const struct lod_level level = {.offsets = first, .count = 3};
    tensor_init(&t);
    assert_int_equal(tensor_set_lod(&t, 1, &level), 0);
    assert_int_equal(tensor_reserve_lod(&t, 3, 1, 5), 0);
    assert_int_equal(t.lod_levels, 3);
    assert_int_equal(t.lod[0].count, 3);
    assert_memory_equal(t.lod[0].offsets, first, sizeof first);
    assert_int_equal(t.lod[1].count, 5);
    assert_int_equal(t.lod[2].count, 0);
    kept = t.lod[1].offsets;
    assert_int_equal(tensor_reserve_lod(&t, 2, 1, 4), 0);
    assert_int_equal(t.lod_levels, 2);
    assert_ptr_equal(t.lod[1].offsets, kept);
    assert_int_equal(tensor_reserve_lod(&t, 2, 2, 4), SL_ELIMIT);
    assert_int_equal(tensor_reserve_lod(&t, LIMIT_LOD_LEVELS + 1, 0, 4), SL_ELIMIT);
    tensor_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_begins_without_elements),
        cmocka_unit_test(test_tensor_resize_keeps_memory_that_is_large_enough),
        cmocka_unit_test(test_tensor_resize_refuses),
        cmocka_unit_test(test_tensor_shared_rows_are_a_view),
        cmocka_unit_test(test_tensor_resize_leaves_shared_memory_alone),
        cmocka_unit_test(test_tensor_borrowed_memory_is_never_replaced),
        cmocka_unit_test(test_tensor_copy_and_move),
        cmocka_unit_test(test_tensor_lod_is_valid),
        cmocka_unit_test(test_tensor_reserve_lod_keeps_the_other_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
