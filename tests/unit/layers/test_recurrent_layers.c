// SPDX-License-Identifier: Apache-2.0
// Every recurrent and structured layer, built as tests/goldens/record/layers_recurrent.py builds it
// in Fluid: the programs must be equal, gradients included. Then what the layers refuse.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/layers/layers.h"
#include "common/program/var_desc.h"
#include "tests/unit/passes/golden_folder.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

// Floats have gradients.
static sl_var *fed(sl_net *net, const char *name, enum sl_dtype dtype, struct sl_shape shape,
                   int lod_level)
{
    sl_var *var = sl_data_lod(net, name, dtype, shape, lod_level);
    var->stop_gradient = dtype != SL_FP32;
    return var;
}

static size_t lstms(sl_net *net, sl_var *x, sl_var *h, sl_var *c, sl_var **outs)
{
    struct sl_lstm_options other = sl_lstm_defaults(), clipped = other;
    other.h_0 = h;
    other.c_0 = c;
    other.use_peepholes = false;
    other.is_reverse = true;
    other.gate_activation = "tanh";
    other.cell_activation = "relu";
    other.candidate_activation = "identity";
    other.name = "mine";
    clipped.cell_clip = 0.5;
    clipped.proj_clip = 0.25;
    clipped.use_peepholes = false;
    clipped.proj_activation = "identity";
    outs[0] = sl_dynamic_lstm(net, x, 24, NULL, NULL);
    outs[1] = sl_dynamic_lstm(net, x, 24, &other, NULL);
    outs[2] = sl_dynamic_lstmp(net, x, 24, 5, NULL, NULL);
    outs[3] = sl_dynamic_lstmp(net, x, 24, 5, &clipped, NULL);
    return 4;
}

static size_t grus(sl_net *net, sl_var *x, sl_var *h, sl_var **outs)
{
    struct sl_gru_options other = sl_gru_defaults();
    other.h_0 = h;
    other.no_bias = true;
    other.origin_mode = true;
    other.is_reverse = true;
    other.gate_activation = "relu";
    other.candidate_activation = "sigmoid";
    outs[0] = sl_dynamic_gru(net, x, 6, NULL);
    outs[1] = sl_dynamic_gru(net, x, 6, &other);
    return 2;
}

static size_t units(sl_net *net, sl_var *h, sl_var *c, sl_var **outs)
{
    struct sl_gru_options bare = sl_gru_defaults();
    bare.no_bias = true;
    bare.origin_mode = true;
    sl_var *gates = fed(net, "gates", SL_FP32, SL_SHAPE(-1, 18), 0), *cell;
    sl_var *word = fed(net, "word", SL_FP32, SL_SHAPE(-1, 7), 0);
    sl_var *hidden = sl_lstm_unit(net, word, h, c, 0.5, NULL, &cell);
    outs[0] = sl_gru_unit(net, gates, h, 18, NULL).hidden;
    outs[1] = sl_gru_unit(net, gates, h, 18, &bare).hidden;
    outs[2] = sl_elementwise_add(net, hidden, cell, -1);
    return 3;
}

static size_t chains(sl_net *net, sl_var **outs)
{
    struct sl_param_attr shared = sl_param_attr_defaults();
    shared.name = "chain";
    sl_var *packed = fed(net, "packed", SL_FP32, SL_SHAPE(-1, 6), 1);
    sl_var *tags = fed(net, "tags", SL_INT64, SL_SHAPE(-1, 1), 1);
    sl_var *padded = fed(net, "padded", SL_FP32, SL_SHAPE(-1, 9, 6), 0);
    sl_var *padded_tags = fed(net, "padded_tags", SL_INT64, SL_SHAPE(-1, 9), 0);
    sl_var *length = fed(net, "length", SL_INT64, SL_SHAPE(-1, 1), 0);
    outs[0] = sl_linear_chain_crf(net, packed, tags, &shared, NULL);
    sl_crf_decoding(net, packed, "chain", NULL, NULL);
    sl_crf_decoding(net, packed, "chain", tags, NULL);
    outs[1] = sl_linear_chain_crf(net, padded, padded_tags, NULL, length);
    sl_crf_decoding(net, padded, "chain", padded_tags, length);
    return 2;
}

static size_t classes(sl_net *net, sl_var **outs)
{
    static const double dist[] = {0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1};
    struct sl_hsigmoid_options custom = {.is_sparse = true, .no_bias = true};
    struct sl_nce_options plain = sl_nce_defaults(), sparse, drawn;
    sl_var *x = fed(net, "x", SL_FP32, SL_SHAPE(-1, 8), 0);
    sl_var *label = fed(net, "label", SL_INT64, SL_SHAPE(-1, 1), 0);
    custom.path_table = fed(net, "table", SL_INT64, SL_SHAPE(-1, 4), 0);
    custom.path_code = fed(net, "code", SL_INT64, SL_SHAPE(-1, 4), 0);
    plain.seed = 3;
    sparse = drawn = plain;
    sparse.num_neg_samples = 4;
    sparse.is_sparse = true;
    sparse.sampler = SL_SAMPLER_LOG_UNIFORM;
    sparse.no_bias = true;
    drawn.sampler = SL_SAMPLER_CUSTOM;
    drawn.custom_dist = dist;
    drawn.sample_weight = fed(net, "weight", SL_FP32, SL_SHAPE(-1, 1), 0);
    drawn.sample_weight->stop_gradient = true;
    outs[0] = sl_hsigmoid(net, x, label, 11, NULL);
    outs[1] = sl_hsigmoid(net, x, label, 11, &custom);
    outs[2] = sl_nce(net, x, label, 7, &plain);
    outs[3] = sl_nce(net, x, label, 7, &sparse);
    outs[4] = sl_nce(net, x, label, 7, &drawn);
    return 5;
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

static void test_recurrent_layers_make_fluids_program(void **state)
{
    (void)state;
    struct program *main = program_new(), *startup = program_new();
    struct sl_error err = {0};
    sl_program_set_random_seed(main, 7);
    sl_program_set_random_seed(startup, 7);
    sl_net *net = sl_net_new(main, startup);
    sl_var *h = fed(net, "h", SL_FP32, SL_SHAPE(-1, 6), 0);
    sl_var *c = fed(net, "c", SL_FP32, SL_SHAPE(-1, 6), 0), *outs[32];
    size_t n = lstms(net, fed(net, "lstm_in", SL_FP32, SL_SHAPE(-1, 24), 1), h, c, outs);
    n += grus(net, fed(net, "gru_in", SL_FP32, SL_SHAPE(-1, 18), 1), h, outs + n);
    n += units(net, h, c, outs + n);
    n += chains(net, outs + n);
    n += classes(net, outs + n);
    for (size_t i = 0; i < n; i++)
        outs[i] = sl_mean(net, outs[i]);
    sl_minimize(net, sl_sgd(0.1), sl_sum(net, outs, n));
    if (sl_net_error(net, &err) < 0)
        fail_msg("%s", err.text);
    expect_program("recurrent_main.pb", main);
    expect_program("recurrent_startup.pb", startup);
    sl_net_free(net);
    program_free(main);
    program_free(startup);
}

static sl_var *wrong(sl_net *net, int what)
{
    sl_var *x = fed(net, "x", SL_FP32, SL_SHAPE(-1, 8), 1);
    sl_var *label = fed(net, "label", SL_INT64, SL_SHAPE(-1, 1), 1);
    struct sl_hsigmoid_options tree = {.path_code = label};
    struct sl_nce_options nce = sl_nce_defaults();
    nce.sampler = SL_SAMPLER_CUSTOM;
    switch (what) {
    case 0:
        return sl_dynamic_lstm(net, x, 10, NULL, NULL);
    case 1:
        return sl_dynamic_lstm(net, x, 12, NULL, NULL);
    case 2:
        return sl_dynamic_lstmp(net, x, 8, 0, NULL, NULL);
    case 3:
        return sl_dynamic_gru(net, x, 4, NULL);
    case 4:
        return sl_crf_decoding(net, x, "nobody", NULL, NULL);
    case 5:
        return sl_hsigmoid(net, x, label, 1, NULL);
    case 6:
        return sl_hsigmoid(net, x, label, 5, &tree);
    case 7:
        return sl_nce(net, x, label, 5, &nce);
    case 8:
        return sl_linear_chain_crf(net, x, label, NULL, label);
    default:
        return sl_lstm_unit(net, x, x, label, 0, NULL, NULL);
    }
}

static void test_recurrent_layers_judge_their_arguments(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "size must be a multiple of 4, not 10",
        "not [2,8]",
        "proj_size is 0",
        "must be [rows, 3 widths]",
        "there is no parameter `nobody`",
        "there must be 2 classes or more",
        "path_table and path_code go together",
        "custom_dist goes with SL_SAMPLER_CUSTOM",
        "must be [sequences, steps, tags]",
        "the last two of one width",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct program *main = program_new(), *startup = program_new();
        sl_net *net = sl_net_new(main, startup);
        struct sl_error err = {0};
        assert_null(wrong(net, (int)i));
        assert_true(sl_net_error(net, &err) < 0);
        if (strstr(err.text, texts[i]) == NULL)
            fail_msg("`%s` does not say `%s`", err.text, texts[i]);
        sl_net_free(net);
        program_free(main);
        program_free(startup);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recurrent_layers_make_fluids_program),
        cmocka_unit_test(test_recurrent_layers_judge_their_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
