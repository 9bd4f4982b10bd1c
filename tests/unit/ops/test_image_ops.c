// SPDX-License-Identifier: Apache-2.0
// What golden vectors do not show of ops on images and matrices: shapes that are not known yet,
// outputs in the memory of inputs, seeds, hostile sizes, bad shapes and attributes refused with
// words.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ops/op_runner.h"

#define D(...)                                                                                     \
    (const int64_t[])                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void fill(struct tensor *t, float first, float step)
{
    for (uint64_t i = 0; i < tensor_count(t); i++)
        tensor_f32(t)[i] = first + (float)i * step;
}

static void run_ok(struct op_runner *run)
{
    struct err err = {0};
    if (op_runner_run(run, &err) < 0)
        fail_msg("%s", err.text);
}

static void expect_refused(struct op_runner *run, int code, const char *words)
{
    struct err err = {0};
    int rc = op_runner_infer(run, &err);
    if (rc != code || strstr(err.text, words) == NULL)
        fail_msg("%d \"%s\", expected %d with \"%s\"", rc, err.text, code, words);
    op_runner_free(run);
}

static void expect_dims(const struct op_runner *run, const char *slot, int rank, const int64_t *d)
{
    struct dims want = dims_make(rank, d);
    const struct dims *got = &op_runner_dims(run, slot, 0)->dims;
    char text[DIMS_TEXT_MAX], want_text[DIMS_TEXT_MAX];
    if (!dims_equal(got, &want))
        fail_msg("%s is %s, expected %s", slot, dims_format(got, text),
                 dims_format(&want, want_text));
}

static struct op_runner *conv(const char *type, const int64_t *in, const int64_t *filter)
{
    struct op_runner *run = op_runner_new(type);
    op_runner_shape(run, "Input", DTYPE_FP32, 4, in);
    op_runner_shape(run, "Filter", DTYPE_FP32, 4, filter);
    op_runner_output(run, "Output", NULL);
    return run;
}

static void test_conv_shapes_with_unknown_sides(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_runner *run = conv("conv2d", D(-1, 3, 9, -1), D(8, 3, 3, 3));
    op_runner_ints(run, "strides", D(2, 2), 2);
    assert_int_equal(op_runner_infer(run, &err), 0);
    expect_dims(run, "Output", 4, D(-1, 8, 4, -1));
    op_runner_free(run);
    run = conv("conv2d", D(-1, 9, -1, 4), D(8, 2, 3, 3));
    op_runner_string(run, "data_format", "NHWC");
    op_runner_string(run, "padding_algorithm", "SAME");
    op_runner_int(run, "groups", 2);
    assert_int_equal(op_runner_infer(run, &err), 0);
    expect_dims(run, "Output", 4, D(-1, 9, -1, 8));
    op_runner_free(run);
    run = conv("conv2d_transpose", D(-1, 4, 5, -1), D(4, 6, 3, 3));
    op_runner_ints(run, "strides", D(2, 2), 2);
    op_runner_ints(run, "output_size", D(12, 14), 2);
    assert_int_equal(op_runner_infer(run, &err), 0);
    expect_dims(run, "Output", 4, D(-1, 6, 12, 14));
    op_runner_free(run);
}

static void test_conv_refuses_what_does_not_fit(void **state)
{
    (void)state;
    expect_refused(conv("conv2d", D(2, 3, 8, 8), D(4, 2, 3, 3)), SL_EMISMATCH, "fit together");
    expect_refused(conv("conv2d", D(2, 3, 8, 8), D(0, 3, 3, 3)), SL_EMISMATCH, "fit together");
    expect_refused(conv("conv2d", D(2, 3, 2, 8), D(4, 3, 5, 3)), SL_EINVAL, "does not fit");
    expect_refused(conv("conv2d", D(2, 3, 0, 8), D(4, 3, 1, 1)), SL_EINVAL, "does not fit");
    expect_refused(conv("conv2d", D(2, 3, 8, 8), D(4, 3, 0, 3)), SL_EINVAL, "does not fit");
    struct op_runner *run = conv("conv2d", D(2, 3, 8, 8), D(4, 3, 3, 3));
    op_runner_int(run, "groups", 0);
    expect_refused(run, SL_EINVAL, "groups 0");
    run = conv("conv2d", D(2, 4, 8, 8), D(3, 2, 3, 3));
    op_runner_int(run, "groups", 2);
    expect_refused(run, SL_EMISMATCH, "2 groups");
    run = conv("conv2d", D(2, 3, 8, 8), D(4, 3, 3, 3));
    op_runner_ints(run, "strides", D(0, 1), 2);
    expect_refused(run, SL_EINVAL, "strides has 0");
    run = conv("conv2d", D(2, 3, 8, 8), D(4, 3, 3, 3));
    op_runner_ints(run, "dilations", D(1), 1);
    expect_refused(run, SL_EINVAL, "dilations must have 2");
    run = conv("conv2d", D(2, 3, 8, 8), D(4, 3, 3, 3));
    op_runner_ints(run, "paddings", D(1, 1, 1), 3);
    expect_refused(run, SL_EINVAL, "2 or 4");
    run = conv("conv2d", D(2, 3, 8, 8), D(4, 3, 3, 3));
    op_runner_ints(run, "paddings", D(-1, 1), 2);
    expect_refused(run, SL_EINVAL, "paddings has -1");
    run = conv("conv2d", D(2, 3, 8, 8), D(4, 3, 3, 3));
    op_runner_string(run, "padding_algorithm", "HALF");
    expect_refused(run, SL_EINVAL, "HALF");
    run = conv("conv2d", D(2, 3, 8, 8), D(4, 3, 3, 3));
    op_runner_string(run, "data_format", "CHWN");
    expect_refused(run, SL_EINVAL, "CHWN");
    run = conv("conv2d", D(2, 3, 8, 8), D(4, 3, 3, 3));
    op_runner_shape(run, "Bias", DTYPE_FP32, 1, D(4));
    expect_refused(run, SL_EUNSUPPORTED, "MKL-DNN");
    expect_refused(conv("conv2d", D(2, 3, INT64_C(1) << 40, 8), D(4, 3, 1, 1)), SL_ELIMIT,
                   "a side of more than");
    run = conv("conv2d_transpose", D(2, 4, 5, 5), D(4, 6, 3, 3));
    op_runner_ints(run, "output_size", D(8, 7), 2);
    expect_refused(run, SL_EINVAL, "output_size has 8");
    run = conv("conv2d_transpose", D(2, 4, 1, 5), D(4, 6, 1, 3));
    op_runner_ints(run, "paddings", D(1, 0), 2);
    expect_refused(run, SL_EINVAL, "output side of -1");
    expect_refused(conv("conv2d_transpose", D(2, 3, 5, 5), D(4, 6, 3, 3)), SL_EMISMATCH,
                   "fit together");
}

// The padded image would have 2^57 elements, the output 27.
static void test_conv_refuses_working_memory_beyond_all_bounds(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_runner *run = op_runner_new("conv2d");
    fill(op_runner_input(run, "Input", DTYPE_FP32, 4, D(1, 4, 2, 2)), 1, 1);
    fill(op_runner_input(run, "Filter", DTYPE_FP32, 4, D(3, 4, 1, 1)), 1, 1);
    op_runner_output(run, "Output", NULL);
    op_runner_ints(run, "strides", D(1 << 28, 1 << 28), 2);
    op_runner_ints(run, "paddings", D(1 << 28, 1 << 28), 2);
    assert_int_equal(op_runner_run(run, &err), SL_ELIMIT);
    op_runner_free(run);
}

// A filter of ones over an image of ones counts the places inside of the image.
static void test_conv_of_one_pixel_with_much_padding(void **state)
{
    (void)state;
    struct op_runner *run = op_runner_new("conv2d");
    fill(op_runner_input(run, "Input", DTYPE_FP32, 4, D(1, 1, 1, 1)), 5, 0);
    fill(op_runner_input(run, "Filter", DTYPE_FP32, 4, D(1, 1, 3, 3)), 1, 0);
    op_runner_output(run, "Output", NULL);
    op_runner_ints(run, "paddings", D(4, 4), 2);
    run_ok(run);
    expect_dims(run, "Output", 4, D(1, 1, 7, 7));
    for (int i = 0; i < 49; i++) {
        bool inside = i / 7 >= 2 && i / 7 <= 4 && i % 7 >= 2 && i % 7 <= 4;
        assert_true(tensor_f32(op_runner_result(run, "Output", 0))[i] == (inside ? 5.0f : 0.0f));
    }
    op_runner_free(run);
}

static struct op_runner *pool(const char *type, const char *how, const int64_t *x)
{
    struct op_runner *run = op_runner_new(type);
    op_runner_shape(run, "X", DTYPE_FP32, 4, x);
    op_runner_output(run, "Out", NULL);
    op_runner_ints(run, "ksize", D(2, 2), 2);
    op_runner_string(run, "pooling_type", how);
    return run;
}

static void test_pool_shapes(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_runner *run = pool("pool2d", "avg", D(-1, 3, 7, -1));
    op_runner_ints(run, "strides", D(2, 2), 2);
    op_runner_int(run, "ceil_mode", 1);
    assert_int_equal(op_runner_infer(run, &err), 0);
    expect_dims(run, "Out", 4, D(-1, 3, 4, -1));
    op_runner_int(run, "adaptive", 1);
    assert_int_equal(op_runner_infer(run, &err), 0);
    expect_dims(run, "Out", 4, D(-1, 3, 2, 2));
    op_runner_free(run);
    expect_refused(pool("pool2d", "sum", D(1, 3, 7, 7)), SL_EINVAL, "`sum`");
    expect_refused(pool("pool2d", "max", D(1, 3, 1, 7)), SL_EINVAL, "does not fit");
    run = pool("pool2d", "max", D(1, 3, 7, 7));
    op_runner_ints(run, "ksize", D(2), 1);
    expect_refused(run, SL_EINVAL, "ksize must have 2");
    run = pool("pool2d", "max", D(1, 3, 7, 7));
    op_runner_ints(run, "ksize", D(0, 2), 2);
    expect_refused(run, SL_EINVAL, "ksize has 0");
}

static void test_pool_gradient_refuses_places_outside_of_the_image(void **state)
{
    (void)state;
    for (int32_t place = -1; place <= 16; place += 17) {
        struct err err = {0};
        struct op_runner *run = op_runner_new("max_pool2d_with_index_grad");
        fill(op_runner_input(run, "X", DTYPE_FP32, 4, D(1, 1, 4, 4)), 0, 1);
        struct tensor *mask = op_runner_input(run, "Mask", DTYPE_INT32, 4, D(1, 1, 2, 2));
        fill(op_runner_input(run, "Out@GRAD", DTYPE_FP32, 4, D(1, 1, 2, 2)), 1, 0);
        op_runner_output(run, "X@GRAD", NULL);
        op_runner_ints(run, "ksize", D(2, 2), 2);
        op_runner_ints(run, "strides", D(2, 2), 2);
        for (int i = 0; i < 4; i++)
            tensor_i32(mask)[i] = place;
        assert_int_equal(op_runner_run(run, &err), place < 0 ? 0 : SL_EINVAL);
        op_runner_free(run);
    }
}

static struct op_runner *batch_norm(int64_t channels)
{
    struct op_runner *run = op_runner_new("batch_norm");
    fill(op_runner_input(run, "X", DTYPE_FP32, 2, D(4, 2)), 0, 1);
    fill(op_runner_input(run, "Scale", DTYPE_FP32, 1, D(2)), 1, 0);
    fill(op_runner_input(run, "Bias", DTYPE_FP32, 1, &channels), 0, 0);
    fill(op_runner_input(run, "Mean", DTYPE_FP32, 1, D(2)), 10, 0);
    fill(op_runner_input(run, "Variance", DTYPE_FP32, 1, D(2)), 4, 0);
    op_runner_output(run, "Y", NULL);
    op_runner_in_place(run, "MeanOut", "Mean");
    op_runner_in_place(run, "VarianceOut", "Variance");
    op_runner_output(run, "SavedMean", NULL);
    op_runner_output(run, "SavedVariance", NULL);
    op_runner_float(run, "momentum", 0.75f);
    return run;
}

// The columns of X are 0 2 4 6 and 1 3 5 7: means 3 and 4, variance 5.
static void test_batch_norm_moves_its_statistics_in_place(void **state)
{
    (void)state;
    struct op_runner *run = batch_norm(2);
    run_ok(run);
    const float *mean = tensor_f32(op_runner_result(run, "MeanOut", 0)),
                *variance = tensor_f32(op_runner_result(run, "VarianceOut", 0)),
                *saved = tensor_f32(op_runner_result(run, "SavedMean", 0));
    assert_true(mean[0] == 8.25f && mean[1] == 8.5f && saved[0] == 3 && saved[1] == 4);
    assert_true(variance[0] == 4.25f && variance[1] == 4.25f);
    run_ok(run);
    assert_true(mean[0] == 6.9375f);
    op_runner_int(run, "is_test", 1);
    run_ok(run);
    assert_true(mean[0] == 6.9375f);
    float y = tensor_f32(op_runner_result(run, "Y", 0))[0];
    assert_true(fabsf(y + 6.9375f / sqrtf(4.4375f + 1e-5f)) < 1e-5f);
    op_runner_free(run);
}

static void test_normalisations_refuse_what_does_not_fit(void **state)
{
    (void)state;
    expect_refused(batch_norm(3), SL_EMISMATCH, "Bias is [3]");
    struct op_runner *run = batch_norm(2);
    op_runner_string(run, "data_layout", "NCDHW");
    expect_refused(run, SL_EINVAL, "NCDHW");
    run = op_runner_new("layer_norm");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(3, 4));
    op_runner_int(run, "begin_norm_axis", 2);
    expect_refused(run, SL_EINVAL, "begin_norm_axis 2");
    run = op_runner_new("layer_norm");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(3, 4));
    op_runner_shape(run, "Scale", DTYPE_FP32, 1, D(3));
    expect_refused(run, SL_EMISMATCH, "a row of X has 4");
    run = op_runner_new("group_norm");
    op_runner_shape(run, "X", DTYPE_FP32, 4, D(3, 4, 2, 2));
    op_runner_int(run, "groups", 5);
    expect_refused(run, SL_EINVAL, "groups 5");
    run = op_runner_new("lrn");
    op_runner_shape(run, "X", DTYPE_FP32, 4, D(3, 4, 2, 2));
    op_runner_int(run, "n", 0);
    expect_refused(run, SL_EINVAL, "n 0");
    run = op_runner_new("norm");
    op_runner_shape(run, "X", DTYPE_FP32, 2, D(3, 4));
    op_runner_int(run, "axis", 2);
    expect_refused(run, SL_EINVAL, "axis 2");
}

static struct op_runner *dropout(void)
{
    struct op_runner *run = op_runner_new("dropout");
    fill(op_runner_input(run, "X", DTYPE_FP32, 1, D(4096)), 1, 0);
    op_runner_output(run, "Out", NULL);
    op_runner_output(run, "Mask", NULL);
    return run;
}

static void test_dropout_draws_anew_without_a_seed(void **state)
{
    (void)state;
    uint8_t first[4096];
    struct op_runner *run = dropout();
    run_ok(run);
    const uint8_t *mask = op_runner_result(run, "Mask", 0)->data;
    int kept = 0;
    for (int i = 0; i < 4096; i++)
        kept += mask[i];
    assert_in_range(kept, 1800, 2300);
    memcpy(first, mask, sizeof first);
    run_ok(run);
    assert_int_not_equal(memcmp(first, mask, sizeof first), 0);
    op_runner_int(run, "fix_seed", 1);
    op_runner_int(run, "seed", 7);
    run_ok(run);
    memcpy(first, mask, sizeof first);
    run_ok(run);
    assert_memory_equal(first, mask, sizeof first);
    op_runner_free(run);
}

static void test_dropout_of_everything_and_in_a_test(void **state)
{
    (void)state;
    struct op_runner *run = dropout();
    op_runner_float(run, "dropout_prob", 1);
    op_runner_string(run, "dropout_implementation", "upscale_in_train");
    run_ok(run);
    assert_true(tensor_f32(op_runner_result(run, "Out", 0))[5] == 0);
    op_runner_float(run, "dropout_prob", 0.25f);
    op_runner_int(run, "is_test", 1);
    run_ok(run);
    assert_true(tensor_f32(op_runner_result(run, "Out", 0))[5] == 1);
    op_runner_string(run, "dropout_implementation", "downgrade_in_infer");
    run_ok(run);
    assert_true(tensor_f32(op_runner_result(run, "Out", 0))[5] == 0.75f);
    op_runner_float(run, "dropout_prob", 1.5f);
    expect_refused(run, SL_EINVAL, "dropout_prob 1.5");
}

static struct op_runner *product(const char *type, int x_rank, const int64_t *x, int y_rank,
                                 const int64_t *y)
{
    struct op_runner *run = op_runner_new(type);
    op_runner_shape(run, "X", DTYPE_FP32, x_rank, x);
    op_runner_shape(run, "Y", DTYPE_FP32, y_rank, y);
    op_runner_output(run, "Out", NULL);
    return run;
}

static void test_product_shapes(void **state)
{
    (void)state;
    static const struct {
        int x_rank, y_rank, out_rank;
        int64_t x[4], y[4], out[4];
    } rows[] = {
        {2, 2, 2, {-1, 3}, {3, 4}, {-1, 4}},
        {4, 4, 4, {-1, 2, 5, 3}, {-1, 2, 3, 4}, {-1, 2, 5, 4}},
        {4, 2, 4, {-1, 2, 5, 3}, {3, 4}, {-1, 2, 5, 4}},
        {2, 3, 3, {5, 3}, {-1, 3, 4}, {-1, 5, 4}},
        {1, 1, 1, {3}, {3}, {1}},
        {1, 3, 2, {3}, {6, 3, 4}, {6, 4}},
        {3, 1, 2, {6, 2, 3}, {3}, {6, 2}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        struct op_runner *run =
            product("matmul", rows[i].x_rank, rows[i].x, rows[i].y_rank, rows[i].y);
        assert_int_equal(op_runner_infer(run, &err), 0);
        expect_dims(run, "Out", rows[i].out_rank, rows[i].out);
        op_runner_free(run);
    }
    expect_refused(product("matmul", 2, D(2, 3), 2, D(4, 3)), SL_EMISMATCH, "inner sizes");
    expect_refused(product("matmul", 3, D(2, 3, 4), 3, D(3, 4, 3)), SL_EMISMATCH, "batch sizes");
    expect_refused(product("matmul", 0, D(0), 2, D(4, 3)), SL_EINVAL, "at least one");
    expect_refused(product("bmm", 2, D(2, 3), 2, D(3, 3)), SL_EINVAL, "three");
    struct op_runner *run = product("matmul", 2, D(2, 3), 2, D(3, 4));
    op_runner_int(run, "head_number", 2);
    expect_refused(run, SL_EUNSUPPORTED, "head_number");
}

static struct op_runner *resize(int32_t height, int32_t width)
{
    struct op_runner *run = op_runner_new("nearest_interp");
    fill(op_runner_input(run, "X", DTYPE_FP32, 4, D(1, 1, 2, 2)), 1, 1);
    struct tensor *size = op_runner_input(run, "OutSize", DTYPE_INT32, 1, D(2));
    tensor_i32(size)[0] = height;
    tensor_i32(size)[1] = width;
    op_runner_output(run, "Out", NULL);
    return run;
}

static void test_resizing_takes_sizes_from_tensors(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_runner *run = resize(1, 3);
    run_ok(run);
    expect_dims(run, "Out", 4, D(1, 1, -1, -1));
    const struct tensor *out = op_runner_result(run, "Out", 0);
    struct dims want = dims_make(4, D(1, 1, 1, 3));
    assert_true(dims_equal(&out->dims, &want));
    assert_true(tensor_f32(out)[0] == 1 && tensor_f32(out)[2] == 2);
    op_runner_free(run);
    run = resize(0, 3);
    assert_int_equal(op_runner_run(run, &err), SL_EINVAL);
    op_runner_free(run);
    run = op_runner_new("bilinear_interp");
    op_runner_shape(run, "X", DTYPE_FP32, 4, D(1, 1, 2, 2));
    op_runner_output(run, "Out", NULL);
    expect_refused(run, SL_EINVAL, "height of Out would be 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv_shapes_with_unknown_sides),
        cmocka_unit_test(test_conv_refuses_what_does_not_fit),
        cmocka_unit_test(test_conv_refuses_working_memory_beyond_all_bounds),
        cmocka_unit_test(test_conv_of_one_pixel_with_much_padding),
        cmocka_unit_test(test_pool_shapes),
        cmocka_unit_test(test_pool_gradient_refuses_places_outside_of_the_image),
        cmocka_unit_test(test_batch_norm_moves_its_statistics_in_place),
        cmocka_unit_test(test_normalisations_refuse_what_does_not_fit),
        cmocka_unit_test(test_dropout_draws_anew_without_a_seed),
        cmocka_unit_test(test_dropout_of_everything_and_in_a_test),
        cmocka_unit_test(test_product_shapes),
        cmocka_unit_test(test_resizing_takes_sizes_from_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
