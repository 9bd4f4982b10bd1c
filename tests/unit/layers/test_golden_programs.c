// SPDX-License-Identifier: Apache-2.0
// Recorded networks, optimizers, schedules, regularizers and clips, built again through sluice.h:
// main, start-up and test program must be Fluid's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/layers/layers.h"
#include "tests/unit/passes/golden_folder.h"

#define SEED 1234

struct row {
    const char *name;
    sl_var *(*network)(sl_net *net);
    void (*training)(sl_net *net, sl_var *loss, sl_average **out_average);   // NULL: none
};

// ---- networks

static sl_var *classify(sl_net *net, sl_var *predict, sl_var *label)
{
    sl_var *loss = sl_mean(net, sl_cross_entropy(net, predict, label));
    sl_accuracy(net, predict, label, 1);
    return loss;
}

static sl_var *first_hidden;   // of the latest mlp

static sl_var *mlp(sl_net *net, int64_t width, int64_t hidden)
{
    struct sl_fc_options relu = sl_fc_defaults(), softmax = sl_fc_defaults();
    relu.act = "relu";
    softmax.act = "softmax";
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(width));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    first_hidden = sl_fc(net, img, hidden, &relu);
    return classify(net, sl_fc(net, first_hidden, 10, &softmax), label);
}

static sl_var *small(sl_net *net)
{
    return mlp(net, 784, 24);
}

static sl_var *tiny(sl_net *net)
{
    return mlp(net, 196, 8);
}

static sl_var *attributes(sl_net *net)
{
    struct sl_param_attr w1 = sl_param_attr_defaults(), b1 = w1, w2 = w1, b2 = w1;
    struct sl_fc_options relu = sl_fc_defaults(), softmax = sl_fc_defaults();
    w1.name = "first.w";
    w1.learning_rate = 2.0;
    w1.regularizer = sl_l1_decay(0.01);
    b1.name = "first.b";
    b1.learning_rate = 0.0;
    w2.name = "second.w";
    w2.learning_rate = 0.5;
    b2.name = "second.b";
    relu.act = "relu";
    relu.param_attr = &w1;
    relu.bias_attr = &b1;
    softmax.act = "softmax";
    softmax.param_attr = &w2;
    softmax.bias_attr = &b2;
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(784));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    return classify(net, sl_fc(net, sl_fc(net, img, 24, &relu), 10, &softmax), label);
}

static sl_var *lenet(sl_net *net, bool normalized)
{
    struct sl_fc_options softmax = sl_fc_defaults();
    softmax.act = "softmax";
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(1, 28, 28));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    sl_var *x = sl_simple_img_conv_pool(net, img, 6, 5, 2, 2, "relu");
    if (normalized)
        x = sl_batch_norm(net, x, NULL);
    x = sl_simple_img_conv_pool(net, x, 8, 5, 2, 2, "relu");
    return classify(net, sl_fc(net, x, 10, &softmax), label);
}

static sl_var *lenet_plain(sl_net *net)
{
    return lenet(net, false);
}

static sl_var *lenet_normalized(sl_net *net)
{
    return lenet(net, true);
}

static sl_var *with_dropout(sl_net *net, const char *implementation)
{
    struct sl_fc_options relu = sl_fc_defaults(), softmax = sl_fc_defaults();
    struct sl_dropout_options dropout = sl_dropout_defaults();
    relu.act = "relu";
    softmax.act = "softmax";
    dropout.seed = 7;
    dropout.implementation = implementation;
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(784));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    sl_var *hidden = sl_dropout(net, sl_fc(net, img, 16, &relu), 0.3, &dropout);
    return classify(net, sl_fc(net, hidden, 10, &softmax), label);
}

static sl_var *dropout_downgrade(sl_net *net)
{
    return with_dropout(net, "downgrade_in_infer");
}

static sl_var *dropout_upscale(sl_net *net)
{
    return with_dropout(net, "upscale_in_train");
}

static sl_var *words(sl_net *net, bool sparse)
{
    static const char *const names[] = {"firstw", "secondw", "thirdw", "fourthw", "nextw"};
    struct sl_fc_options sigmoid = sl_fc_defaults(), softmax = sl_fc_defaults();
    struct sl_embedding_options table = sl_embedding_defaults();
    struct sl_param_attr shared = sl_param_attr_defaults();
    sl_var *word[5], *embedded[4];
    sigmoid.act = "sigmoid";
    softmax.act = "softmax";
    shared.name = "shared_w";
    table.is_sparse = sparse;
    table.param_attr = &shared;
    for (int i = 0; i < 5; i++)
        word[i] = sl_data(net, names[i], SL_INT64, SL_SHAPE(1));
    for (int i = 0; i < 4; i++)
        embedded[i] = sl_embedding(net, word[i], 200, 16, &table);
    sl_var *hidden = sl_fc(net, sl_concat(net, embedded, 4, 1), 32, &sigmoid);
    return sl_mean(net, sl_cross_entropy(net, sl_fc(net, hidden, 200, &softmax), word[4]));
}

static sl_var *word2vec(sl_net *net)
{
    return words(net, false);
}

static sl_var *word2vec_sparse(sl_net *net)
{
    return words(net, true);
}

static sl_var *embed_text(sl_net *net, bool is_sparse, sl_var **out_label)
{
    struct sl_embedding_options embedding = sl_embedding_defaults();
    embedding.is_sparse = is_sparse;
    sl_var *words = sl_data_lod(net, "words", SL_INT64, SL_SHAPE(-1, 1), 1);
    *out_label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    return sl_embedding(net, words, 300, 16, &embedding);
}

static sl_var *text_lstm(sl_net *net)
{
    struct sl_fc_options tanh = sl_fc_defaults(), softmax = sl_fc_defaults();
    tanh.act = "tanh";
    softmax.act = "softmax";
    sl_var *label, *words = embed_text(net, true, &label);
    sl_var *state = sl_dynamic_lstm(net, sl_fc(net, words, 48, &tanh), 48, NULL, NULL);
    return classify(net, sl_fc(net, sl_sequence_last_step(net, state), 2, &softmax), label);
}

static sl_var *text_gru(sl_net *net)
{
    struct sl_fc_options softmax = sl_fc_defaults();
    struct sl_gru_options gru = sl_gru_defaults();
    softmax.act = "softmax";
    gru.is_reverse = true;
    sl_var *label, *words = embed_text(net, false, &label);
    sl_var *state = sl_dynamic_gru(net, sl_fc(net, words, 36, NULL), 12, &gru);
    return classify(net, sl_fc(net, sl_sequence_first_step(net, state), 2, &softmax), label);
}

// Parameters only.
static sl_var *initializers(sl_net *net, uint32_t seed)
{
    sl_program_set_random_seed(net->main, seed);
    sl_program_set_random_seed(net->startup, seed);
    float numbers[12];
    const struct sl_tensor array = {
        .dtype = SL_FP32, .shape = {2, {3, 4}}, .data = numbers, .bytes = sizeof numbers};
    const struct {
        const char *name;
        struct sl_shape shape;
        struct sl_initializer init;
    } rows[] = {
        {"constant", {1, {7}}, sl_constant(0.25)},
        {"uniform_small", {1, {5}}, sl_uniform(-1.0, 1.0, 3)},
        {"uniform_mid", {2, {20, 30}}, sl_uniform(-0.5, 2.0, 99)},
        {"uniform_program_seed", {2, {40, 25}}, sl_uniform(-1.0, 1.0, 0)},
        {"normal_small", {1, {5}}, sl_normal(0.0, 1.0, 3)},
        {"normal_odd", {1, {33}}, sl_normal(1.5, 0.3, 12345)},
        {"normal_mid", {2, {20, 50}}, sl_normal(0.0, 2.0, 77)},
        {"normal_program_seed", {2, {16, 16}}, sl_normal(0.0, 1.0, 0)},
        {"truncated_small", {1, {6}}, sl_truncated_normal(0.0, 1.0, 3)},
        {"truncated_mid", {2, {40, 20}}, sl_truncated_normal(0.1, 0.5, 41)},
        {"truncated_program_seed", {1, {30}}, sl_truncated_normal(0.0, 1.0, 0)},
        {"xavier_uniform", {2, {24, 18}}, sl_xavier(true, 0, 0, 5)},
        {"xavier_normal", {2, {24, 18}}, sl_xavier(false, 0, 0, 6)},
        {"xavier_conv", {4, {8, 3, 5, 5}}, sl_xavier(false, 0, 0, 0)},
        {"xavier_fan", {2, {10, 10}}, sl_xavier(true, 4, 9, 0)},
        {"msra_uniform", {2, {24, 18}}, sl_msra(true, 0, 8)},
        {"msra_normal", {2, {24, 18}}, sl_msra(false, 0, 9)},
        {"msra_conv", {4, {8, 3, 3, 3}}, sl_msra(false, 0, 0)},
        {"bilinear", {4, {2, 1, 4, 4}}, sl_bilinear()},
        {"numpy_array", {2, {3, 4}}, sl_array(&array)},
    };
    for (size_t i = 0; i < 12; i++)
        numbers[i] = (float)i / 7.0f;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sl_param_attr attr = sl_param_attr_defaults();
        attr.name = rows[i].name;
        attr.initializer = rows[i].init;
        sl_create_parameter(net, rows[i].shape, SL_FP32, &attr);
    }
    return NULL;
}

static sl_var *initializers_1(sl_net *net)
{
    return initializers(net, 1);
}

static sl_var *initializers_90(sl_net *net)
{
    return initializers(net, 90);
}

static sl_var *initializers_2020(sl_net *net)
{
    return initializers(net, 2020);
}

// ---- trainings

#define OPTIMIZER(name, make)                                                                      \
    static void name(sl_net *net, sl_var *loss, sl_average **out_average)                          \
    {                                                                                              \
        (void)out_average;                                                                         \
        sl_minimize(net, make, loss);                                                              \
    }

static sl_optimizer *nesterov(void)
{
    struct sl_momentum_options o = sl_momentum_defaults();
    o.use_nesterov = true;
    return sl_momentum(0.05, 0.9, &o);
}

static sl_optimizer *adagrad_init(void)
{
    struct sl_adagrad_options o = sl_adagrad_defaults();
    o.initial_accumulator = 0.1;
    return sl_adagrad(0.05, &o);
}

static sl_optimizer *lazy(void)
{
    struct sl_adam_options o = sl_adam_defaults();
    o.beta1 = 0.8;
    o.beta2 = 0.95;
    o.lazy_mode = true;
    return sl_adam(0.01, &o);
}

static sl_optimizer *dpsgd(void)
{
    struct sl_dpsgd_options o = sl_dpsgd_defaults();
    o.clip = 10.0;
    o.batch_size = 32.0;
    return sl_dpsgd(0.01, &o);
}

static sl_optimizer *rmsprop(double rho, double momentum, bool centered)
{
    struct sl_rmsprop_options o = sl_rmsprop_defaults();
    o.rho = rho;
    o.momentum = momentum;
    o.centered = centered;
    return sl_rmsprop(0.005, &o);
}

static sl_optimizer *ftrl(double l1, double l2, double power)
{
    struct sl_ftrl_options o = {l1, l2, power};
    return sl_ftrl(0.1, &o);
}

static sl_optimizer *lazy_only(void)
{
    struct sl_adam_options o = sl_adam_defaults();
    o.lazy_mode = true;
    return sl_adam(0.01, &o);
}

OPTIMIZER(with_lazy_only, lazy_only())
OPTIMIZER(with_slow_momentum, sl_momentum(0.02, 0.9, NULL))
OPTIMIZER(with_sgd, sl_sgd(0.1))
OPTIMIZER(with_momentum, sl_momentum(0.05, 0.9, NULL))
OPTIMIZER(with_nesterov, nesterov())
OPTIMIZER(with_lars, sl_lars_momentum(0.5, 0.9, NULL))
OPTIMIZER(with_adagrad, sl_adagrad(0.05, NULL))
OPTIMIZER(with_adagrad_init, adagrad_init())
OPTIMIZER(with_adam, sl_adam(0.01, NULL))
OPTIMIZER(with_lazy, lazy())
OPTIMIZER(with_adamax, sl_adamax(0.01, NULL))
OPTIMIZER(with_dpsgd, dpsgd())
OPTIMIZER(with_decayed_adagrad, sl_decayed_adagrad(0.02, NULL))
OPTIMIZER(with_adadelta, sl_adadelta(1.0, NULL))
OPTIMIZER(with_rmsprop, rmsprop(0.95, 0.0, false))
OPTIMIZER(with_rmsprop_momentum, rmsprop(0.9, 0.5, false))
OPTIMIZER(with_rmsprop_centered, rmsprop(0.95, 0.0, true))
OPTIMIZER(with_ftrl, ftrl(0.001, 0.001, -0.5))
OPTIMIZER(with_ftrl_power, ftrl(0.01, 0.0, -0.7))
OPTIMIZER(with_lamb, sl_lamb(0.01, NULL))

static void with_model_average(sl_net *net, sl_var *loss, sl_average **out_average)
{
    sl_minimize(net, sl_momentum(0.05, 0.9, NULL), loss);
    *out_average = sl_model_average(net, 0.5, 2, 4);
}

static void with_moving_average(sl_net *net, sl_var *loss, sl_average **out_average)
{
    sl_minimize(net, sl_momentum(0.05, 0.9, NULL), loss);
    *out_average = sl_exponential_moving_average(net, 0.9);
}

static void with_lookahead(sl_net *net, sl_var *loss, sl_average **out_average)
{
    (void)out_average;
    sl_minimize_lookahead(net, sl_sgd(0.1), loss, 0.5, 3);
}

static void with_recompute(sl_net *net, sl_var *loss, sl_average **out_average)
{
    sl_optimizer *optimizer = sl_sgd(0.1);
    (void)out_average;
    sl_optimizer_set_checkpoints(optimizer, &first_hidden, 1);
    sl_minimize(net, optimizer, loss);
}

#define SCHEDULE(name, rate)                                                                       \
    static void name(sl_net *net, sl_var *loss, sl_average **out_average)                          \
    {                                                                                              \
        (void)out_average;                                                                         \
        sl_optimizer *optimizer = sl_sgd(0.0);                                                     \
        sl_optimizer_set_rate(optimizer, rate);                                                    \
        sl_minimize(net, optimizer, loss);                                                         \
    }

static const double boundaries[] = {3, 6}, values[] = {0.1, 0.05, 0.01};

SCHEDULE(lr_exponential, sl_exponential_decay(net, 0.1, 3, 0.5, false))
SCHEDULE(lr_stair, sl_exponential_decay(net, 0.1, 3, 0.5, true))
SCHEDULE(lr_natural_exp, sl_natural_exp_decay(net, 0.1, 3, 0.5, false))
SCHEDULE(lr_inverse_time, sl_inverse_time_decay(net, 0.1, 3, 0.5, false))
SCHEDULE(lr_polynomial, sl_polynomial_decay(net, 0.1, 6, 0.01, 2.0, false))
SCHEDULE(lr_polynomial_cycle, sl_polynomial_decay(net, 0.1, 4, 0.01, 1.0, true))
SCHEDULE(lr_piecewise, sl_piecewise_decay(net, boundaries, values, 2))
SCHEDULE(lr_noam, sl_noam_decay(net, 16, 4, 1.0))
SCHEDULE(lr_cosine, sl_cosine_decay(net, 0.1, 2, 6))
SCHEDULE(lr_warmup, sl_linear_lr_warmup(net, 0.1, 5, 0.01, 0.1))
SCHEDULE(lr_warmup_cosine,
         sl_linear_lr_warmup_of(net, sl_cosine_decay(net, 0.1, 2, 6), 3, 0.01, 0.1))

static sl_optimizer *regularized(sl_optimizer *optimizer, struct sl_regularizer regularizer)
{
    sl_optimizer_set_regularizer(optimizer, regularizer);
    return optimizer;
}

static sl_optimizer *clipped(sl_optimizer *optimizer, struct sl_clip clip)
{
    sl_optimizer_set_clip(optimizer, clip);
    return optimizer;
}

OPTIMIZER(reg_l1, regularized(sl_sgd(0.1), sl_l1_decay(0.01)))
OPTIMIZER(reg_l2, regularized(sl_momentum(0.05, 0.9, NULL), sl_l2_decay(0.05)))
OPTIMIZER(reg_own, regularized(sl_sgd(0.1), sl_l2_decay(0.02)))
OPTIMIZER(reg_l2_sgd, regularized(sl_sgd(0.1), sl_l2_decay(0.01)))
OPTIMIZER(clip_value, clipped(sl_sgd(0.1), sl_clip_by_value(0.01, -0.02)))
OPTIMIZER(clip_norm, clipped(sl_sgd(0.1), sl_clip_by_norm(0.1)))
OPTIMIZER(clip_global, clipped(sl_sgd(0.1), sl_clip_by_global_norm(0.1)))
OPTIMIZER(clip_global_l2,
          clipped(regularized(sl_adam(0.01, NULL), sl_l2_decay(0.02)), sl_clip_by_global_norm(0.1)))

static const struct row rows[] = {
    {"digits_sgd", small, with_sgd},
    {"digits_momentum", small, with_momentum},
    {"digits_momentum_nesterov", small, with_nesterov},
    {"digits_lars", small, with_lars},
    {"digits_adagrad", small, with_adagrad},
    {"digits_adagrad_init", small, with_adagrad_init},
    {"digits_adam", small, with_adam},
    {"digits_adam_lazy", small, with_lazy},
    {"digits_adamax", small, with_adamax},
    {"digits_dpsgd", small, with_dpsgd},
    {"digits_decayed_adagrad", small, with_decayed_adagrad},
    {"digits_adadelta", small, with_adadelta},
    {"digits_rmsprop", small, with_rmsprop},
    {"digits_rmsprop_momentum", small, with_rmsprop_momentum},
    {"digits_rmsprop_centered", small, with_rmsprop_centered},
    {"digits_ftrl", small, with_ftrl},
    {"digits_ftrl_power", small, with_ftrl_power},
    {"digits_lamb", small, with_lamb},
    {"digits_model_average", small, with_model_average},
    {"digits_ema", small, with_moving_average},
    {"digits_lookahead", small, with_lookahead},
    {"digits_recompute", small, with_recompute},
    {"lr_exponential", tiny, lr_exponential},
    {"lr_exponential_stair", tiny, lr_stair},
    {"lr_natural_exp", tiny, lr_natural_exp},
    {"lr_inverse_time", tiny, lr_inverse_time},
    {"lr_polynomial", tiny, lr_polynomial},
    {"lr_polynomial_cycle", tiny, lr_polynomial_cycle},
    {"lr_piecewise", tiny, lr_piecewise},
    {"lr_noam", tiny, lr_noam},
    {"lr_cosine", tiny, lr_cosine},
    {"lr_warmup", tiny, lr_warmup},
    {"lr_warmup_cosine", tiny, lr_warmup_cosine},
    {"reg_l1", tiny, reg_l1},
    {"reg_l2", tiny, reg_l2},
    {"reg_per_param", attributes, reg_own},
    {"clip_value", tiny, clip_value},
    {"clip_norm", tiny, clip_norm},
    {"clip_global_norm", tiny, clip_global},
    {"clip_global_norm_l2", tiny, clip_global_l2},
    {"lenet_digits", lenet_plain, with_slow_momentum},
    {"lenet_digits_bn", lenet_normalized, with_slow_momentum},
    {"dropout_downgrade_in_infer", dropout_downgrade, with_sgd},
    {"dropout_upscale_in_train", dropout_upscale, with_sgd},
    {"word2vec", word2vec, with_sgd},
    {"word2vec_sparse", word2vec_sparse, with_sgd},
    {"word2vec_sparse_adagrad", word2vec_sparse, with_adagrad},
    {"word2vec_sparse_adam", word2vec_sparse, with_adam},
    {"word2vec_sparse_adam_lazy", word2vec_sparse, with_lazy_only},
    {"word2vec_sparse_l2decay", word2vec_sparse, reg_l2_sgd},
    {"word2vec_sparse_momentum", word2vec_sparse, with_momentum},
    {"word2vec_sparse_rmsprop", word2vec_sparse, with_rmsprop},
    {"text_lstm", text_lstm, with_adam},
    {"text_gru", text_gru, with_sgd},
    {"initializers_1", initializers_1, NULL},
    {"initializers_90", initializers_90, NULL},
    {"initializers_2020", initializers_2020, NULL},
};

static bool expect(const char *name, const char *file, struct program *got)
{
    char *path = mem_must_printf("%s/%s", name, file);
    bool there = golden_folder_expect(path, got);
    mem_free(path);
    return there;
}

static void test_golden_program(void **state)
{
    const struct row *row = *state;
    struct program *main = program_new(), *startup = program_new();
    struct sl_error err = {0};
    sl_average *average = NULL;
    sl_program_set_random_seed(main, SEED);
    sl_program_set_random_seed(startup, SEED);
    sl_net *net = sl_net_new(main, startup);
    sl_var *loss = row->network(net);
    struct program *test = sl_program_clone(main, true, NULL);
    if (row->training != NULL)
        row->training(net, loss, &average);
    if (sl_net_error(net, &err) < 0)
        fail_msg("%s", err.text);
    size_t compared = 0;
    if (average != NULL) {
        compared += expect(row->name, "averaged_apply.pb",
                           program_clone(sl_average_apply_program(average)));
        compared += expect(row->name, "averaged_restore.pb",
                           program_clone(sl_average_restore_program(average)));
    }
    sl_average_free(average);
    sl_net_free(net);
    compared += expect(row->name, "main.pb", main);
    compared += expect(row->name, "startup.pb", startup);
    compared += expect(row->name, "test.pb", test);
    golden_folder_done(compared);
}

int main(void)
{
    struct CMUnitTest tests[sizeof rows / sizeof *rows];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[i] = (struct CMUnitTest){.name = rows[i].name,
                                       .test_func = test_golden_program,
                                       .initial_state = (void *)&rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
