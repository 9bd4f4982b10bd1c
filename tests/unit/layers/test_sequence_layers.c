// SPDX-License-Identifier: Apache-2.0
// Every layer of sequences, built as tests/goldens/record/layers_sequence.py builds it in Fluid:
// the programs must be equal, gradients included. Then what the layers refuse.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/layers/layers.h"
#include "tests/unit/passes/golden_folder.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

static sl_var *data(sl_net *net, const char *name, enum sl_dtype dtype, int64_t width, int levels)
{
    return sl_data_lod(net, name, dtype, SL_SHAPE(-1, width), levels);
}

static sl_var *mean_of_all(sl_net *net, sl_var *const *x, size_t count)
{
    sl_var *means[32];
    assert_true(count <= COUNT(means));
    for (size_t i = 0; i < count; i++)
        means[i] = sl_mean(net, x[i]);
    return sl_sum(net, means, count);
}

static sl_var *moved(sl_net *net, sl_var *x, sl_var *shorter)
{
    const int64_t target[] = {0, 4, 9}, level[] = {0, 1, 4, 9};
    sl_var *outs[11], *length = NULL;
    size_t n = 0;
    sl_var *zero = sl_fill_constant(net, SL_SHAPE(1), SL_FP32, 0.5);
    sl_var *padded = sl_sequence_pad(net, x, zero, -1, &length);
    sl_var *fixed = sl_sequence_pad(net, x, zero, 12, NULL);
    sl_var *back = sl_sequence_unpad(net, padded, length);
    sl_var *offset = data(net, "offset", SL_INT64, 1, 0),
           *count = data(net, "count", SL_INT64, 1, 0);
    sl_var *joined = sl_sequence_concat(net, (sl_var *const[]){x, back}, 2);
    sl_var *row = data(net, "row", SL_FP32, 6, 0);
    outs[n++] = sl_sequence_reverse(net, joined);
    outs[n++] = sl_sequence_slice(net, x, offset, count);
    outs[n++] = sl_sequence_expand(net, shorter, x, 0);
    outs[n++] = sl_sequence_expand(net, row, x, -1);
    outs[n++] = sl_sequence_expand_as(net, row, x);
    outs[n++] = sl_sequence_reshape(net, sl_sequence_reshape(net, x, 3), 6);
    outs[n++] = sl_lod_reset(net, x, shorter);
    outs[n++] = sl_lod_reset_to(net, x, target, COUNT(target));
    outs[n++] = sl_lod_append_to(net, row, level, COUNT(level));
    outs[n++] = sl_lod_append(net, row, data(net, "level", SL_INT32, 1, 0));
    outs[n++] = fixed;
    return mean_of_all(net, outs, n);
}

static sl_var *seen(sl_net *net, sl_var *x)
{
    static const char *const kinds[] = {"average", "sum", "sqrt", "max", "last", "first"};
    struct sl_sequence_conv_options wide_options = sl_sequence_conv_defaults();
    struct sl_param_attr named = sl_param_attr_defaults();
    sl_var *pooled[11];
    size_t n = 0;
    named.name = "wide.w";
    wide_options.filter_size = 4;
    wide_options.padding_start = 0;
    wide_options.act = "relu";
    wide_options.no_bias = true;
    wide_options.param_attr = &named;
    sl_var *conv = sl_sequence_conv(net, x, 5, NULL);
    sl_var *wide = sl_sequence_conv(net, x, 4, &wide_options);
    sl_var *ahead = sl_row_conv(net, x, 2, NULL, "tanh");
    sl_var *weights = sl_sequence_softmax(net, sl_fc(net, conv, 1, NULL));
    for (size_t i = 0; i < COUNT(kinds); i++)
        pooled[n++] = sl_sequence_pool(net, conv, kinds[i]);
    pooled[n++] = sl_sequence_pool_padded(net, wide, "MAX", true, -1.5);
    pooled[n++] = sl_sequence_first_step(net, ahead);
    pooled[n++] = sl_sequence_last_step(net, sl_elementwise_mul(net, conv, weights, 0));
    pooled[n++] = sl_sequence_conv_pool(net, x, 7, 2, "sigmoid", "sqrt", NULL, NULL);
    pooled[n++] = sl_fc(net, sl_glu(net, x, -1), 3, NULL);
    return mean_of_all(net, pooled, n);
}

static sl_var *images(sl_net *net)
{
    sl_var *image = sl_data(net, "image", SL_FP32, SL_SHAPE(2, 6, 8));
    struct sl_im2sequence_options o = sl_im2sequence_defaults(), real = o;
    real.input_image_size = data(net, "size", SL_FP32, 2, 0);
    o.stride[1] = 2;
    o.padding[0] = o.padding[3] = 1;
    sl_var *whole = sl_im2sequence(net, image, 2, 3, &o);
    real.out_stride[0] = real.out_stride[1] = 2;
    sl_im2sequence(net, image, 2, 2, &real);
    return sl_sequence_pool(net, whole, "average");
}

static sl_var *scattered(sl_net *net)
{
    sl_var *base = data(net, "base", SL_FP32, 9, 0), *ids = data(net, "ids", SL_INT64, 1, 1);
    sl_var *updates = data(net, "updates", SL_FP32, 1, 1);
    sl_var_set_stop_gradient(updates, false);
    return sl_sequence_scatter(net, sl_fc(net, base, 9, NULL), ids, updates);
}

static void measured(sl_net *net)
{
    const int64_t ignored[] = {0, 3}, excluded[] = {1, 2};
    sl_var *said = data(net, "said", SL_INT64, 1, 1), *meant = data(net, "meant", SL_INT64, 1, 1);
    sl_var *said_length = data(net, "said_length", SL_INT64, 1, 0);
    sl_var *meant_length = data(net, "meant_length", SL_INT64, 1, 0);
    sl_var *padded = data(net, "padded", SL_INT64, 7, 0),
           *other = data(net, "other", SL_INT64, 7, 0);
    sl_var *scores = data(net, "scores", SL_FP32, 5, 1);
    sl_var *batch = sl_data(net, "batch", SL_FP32, SL_SHAPE(7, 5));
    struct sl_edit_distance_options without = sl_edit_distance_defaults(), by_length = without;
    struct sl_chunk_eval_options some = {excluded, COUNT(excluded), said_length};
    without.normalized = false;
    without.ignored_tokens = ignored;
    without.ignored_count = COUNT(ignored);
    by_length.input_length = said_length;
    by_length.label_length = meant_length;
    sl_sequence_enumerate(net, said, 3, 2);
    sl_sequence_mask(net, said_length, 5, SL_FP32);
    sl_sequence_mask(net, said_length, -1, SL_INT64);
    // As Python does it, the variable is made before the layer's own name.
    sl_sequence_mask_by(net, said_length, sl_fill_constant(net, SL_SHAPE(1), SL_INT32, 4),
                        SL_INT64);
    sl_edit_distance(net, said, meant, NULL, NULL);
    sl_edit_distance(net, said, meant, &without, NULL);
    sl_edit_distance(net, padded, other, &by_length, NULL);
    sl_chunk_eval(net, said, meant, "IOB", 4, NULL);
    sl_chunk_eval(net, padded, other, "IOBES", 3, &some);
    sl_ctc_greedy_decoder(net, scores, 0, NULL, 0, NULL);
    sl_ctc_greedy_decoder(net, batch, 4, said_length, -1, NULL);
}

static void expect_program(const char *file, struct program *got)
{
    struct err err = {0};
    struct program *want = NULL;
    struct buf diff;
    char *path = mem_must_printf("%s/tests/data/%s", SOURCE_ROOT, file);
    buf_init(&diff, 0);
    if (program_load(path, &want, &err) < 0)
        fail_msg("%s", err.text);
    if (!program_text_diff(want, got, &diff))
        fail_msg("%s differs (- recorded, + ours):\n%s", file, buf_text(&diff));
    buf_deinit(&diff);
    program_free(want);
    mem_free(path);
}

static void test_sequence_layers_make_fluids_program(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    sl_program_set_random_seed(main, 7);
    sl_program_set_random_seed(startup, 7);
    sl_net *net = sl_net_new(main, startup);
    struct sl_error err = {0};
    sl_var *words = data(net, "words", SL_INT64, 1, 1), *terms[4];
    sl_var *x = sl_embedding(net, words, 40, 6, NULL), *shorter = data(net, "short", SL_FP32, 6, 1);
    terms[0] = moved(net, x, shorter);
    terms[1] = seen(net, x);
    terms[2] = images(net);
    terms[3] = scattered(net);
    sl_minimize(net, sl_sgd(0.1), mean_of_all(net, terms, COUNT(terms)));
    measured(net);
    if (sl_net_error(net, &err) < 0)
        fail_msg("%s", err.text);
    expect_program("sequence_main.pb", main);
    expect_program("sequence_startup.pb", startup);
    sl_net_free(net);
    program_free(main);
    program_free(startup);
}

static void test_sequence_layers_judge_their_arguments(void **state)
{
    (void)state;
    static const struct {
        int what;
        const char *text;
    } rows[] = {
        {0, "X has LoD level 0"},  {1, "pooltype is MEDIAN"}, {2, "0 filters"},
        {3, "neither a variable"}, {4, "nothing to join"},    {5, "chunk_scheme is BIO"},
        {6, "ref_level is 1"},     {7, "win_size is 0"},      {8, "pool_type (NULL)"},
        {9, "-1 rows ahead"},      {10, "new_dim positive"},  {11, "input X is missing"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct program *main = program_new(), *startup = program_new();
        sl_net *net = sl_net_new(main, startup);
        struct sl_error err = {0};
        sl_var *flat = data(net, "flat", SL_FP32, 6, 0), *x = data(net, "x", SL_FP32, 6, 1);
        sl_var *ids = data(net, "ids", SL_INT64, 1, 1), *got = x;
        switch (rows[i].what) {
        case 0:
            got = sl_sequence_pool(net, flat, "sum");
            break;
        case 1:
            got = sl_sequence_pool(net, x, "median");
            break;
        case 2:
            got = sl_sequence_conv(net, x, 0, NULL);
            break;
        case 3:
            got = sl_lod_reset(net, x, NULL);
            break;
        case 4:
            got = sl_sequence_concat(net, NULL, 0);
            break;
        case 5:
            got = sl_chunk_eval(net, ids, ids, "BIO", 2, NULL).precision;
            break;
        case 6:
            got = sl_sequence_expand(net, flat, x, 1);
            break;
        case 7:
            got = sl_sequence_enumerate(net, ids, 0, 0);
            break;
        case 8:
            got = sl_sequence_pool(net, x, NULL);
            break;
        case 9:
            got = sl_row_conv(net, x, -1, NULL, NULL);
            break;
        case 10:
            got = sl_sequence_reshape(net, x, 0);
            break;
        default:
            got = sl_sequence_softmax(net, NULL);
            break;
        }
        assert_true(sl_net_error(net, &err) < 0);
        if (strstr(err.text, rows[i].text) == NULL)
            fail_msg("`%s` does not say `%s`", err.text, rows[i].text);
        if (rows[i].what != 5)
            assert_null(got);
        sl_net_free(net);
        program_free(main);
        program_free(startup);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequence_layers_make_fluids_program),
        cmocka_unit_test(test_sequence_layers_judge_their_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
