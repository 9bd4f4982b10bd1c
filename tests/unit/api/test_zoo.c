// SPDX-License-Identifier: Apache-2.0
// Models of the zoo, built in C, against the programs that Paddle 1.8.5 built.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/zoo/zoo.h"
#include "tests/unit/passes/golden_folder.h"

struct golden {
    const char *folder, *model, *hidden, *optimizer;
    double rate;
    struct zoo_options sizes;
};

#define CLICKS(rows, width, slots, thresholds, window)                                             \
    {                                                                                              \
        .table_rows = (rows), .embedding_size = (width), .sparse_slots = (slots),                  \
        .auc_thresholds = (thresholds), .auc_window = (window)                                     \
    }
#define FIELDS(ids)                                                                                \
    {                                                                                              \
        .table_rows = 400, .embedding_size = 6, .sparse_slots = 8, .auc_thresholds = 200,          \
        .auc_window = 0, .deep_ids = (ids)                                                         \
    }
#define WORDS(dense)                                                                               \
    {                                                                                              \
        .table_rows = 200, .embedding_size = 16, .ngram = 5, .dense_tables = (dense)               \
    }
#define TEXT(dense)                                                                                \
    {                                                                                              \
        .table_rows = 300, .embedding_size = 16, .classes = 2, .dense_tables = (dense)             \
    }

static const struct golden goldens[] = {
    {"fit_a_line", "fit_a_line", NULL, "sgd", 0.01, {.table_rows = 0}},
    {"digits_sgd", "recognize_digits", "24", "sgd", 0.1, {.table_rows = 0}},
    {"digits_momentum", "recognize_digits", "24", "momentum", 0.05, {.table_rows = 0}},
    {"digits_momentum_nesterov", "recognize_digits", "24", "nesterov", 0.05, {.table_rows = 0}},
    {"digits_adam", "recognize_digits", "24", "adam", 0.01, {.table_rows = 0}},
    {"digits_adam_lazy", "recognize_digits", "24", "adam_lazy", 0.01, {.table_rows = 0}},
    {"mlp_digits", "recognize_digits", "64,64", "sgd", 0.05, {.table_rows = 0}},
    {"word2vec", "word2vec", "32", "sgd", 0.1, WORDS(true)},
    {"word2vec_sparse", "word2vec", "32", "sgd", 0.1, WORDS(false)},
    {"word2vec_sparse_adagrad", "word2vec", "32", "adagrad", 0.05, WORDS(false)},
    {"ctr_dnn_sgd", "ctr_dnn", "64,64,64", "sgd", 0.001, CLICKS(1001, 10, 26, 256, 3)},
    {"ctr_dnn_adam", "ctr_dnn", "32,32", "adam", 0.005, CLICKS(2001, 10, 5, 256, 3)},
    {"wide_deep", "wide_deep", "32,16", "adagrad", 0.05, CLICKS(500, 8, 6, 200, 1)},
    {"deepfm", "deepfm", "32,16", "adam", 0.01, FIELDS(true)},
    {"deepfm_flat", "deepfm", "32,16", "adam", 0.01, FIELDS(false)},
    {"text_conv", "sentiment_conv", "12", "adagrad", 0.05, TEXT(true)},
    {"text_lstm", "sentiment_lstm", "12", "adam", 0.01, TEXT(false)},
    {"text_gru", "sentiment_gru", "12", "sgd", 0.1, TEXT(true)},
};

static sl_optimizer *make_optimizer(const struct golden *g)
{
    struct sl_momentum_options momentum = sl_momentum_defaults();
    struct sl_adam_options adam = sl_adam_defaults();
    momentum.use_nesterov = strcmp(g->optimizer, "nesterov") == 0;
    if (strcmp(g->optimizer, "adam_lazy") == 0) {
        adam.beta1 = 0.8;
        adam.beta2 = 0.95;
        adam.lazy_mode = true;
    }
    if (strcmp(g->optimizer, "adagrad") == 0)
        return sl_adagrad(g->rate, NULL);
    if (strcmp(g->optimizer, "sgd") == 0)
        return sl_sgd(g->rate);
    if (strncmp(g->optimizer, "adam", 4) == 0)
        return sl_adam(g->rate, &adam);
    return sl_momentum(g->rate, 0.9, &momentum);
}

static size_t expect(const struct golden *g, const char *file, struct program *got)
{
    char *rest = mem_must_printf("%s/%s", g->folder, file);
    bool compared = golden_folder_expect(rest, got);
    mem_free(rest);
    return compared;
}

static void test_zoo_equals_fluid(void **state)
{
    (void)state;
    size_t compared = 0;
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        const struct golden *g = &goldens[i];
        const struct zoo_model *model = zoo_find(g->model);
        struct program *main = program_new(), *startup = program_new();
        main->random_seed = startup->random_seed = 1234;
        sl_net *net = sl_net_new(main, startup);
        struct zoo_options options = g->sizes;
        struct zoo_network built = {0};
        struct sl_error err = {0};
        if (zoo_parse_hidden(model, g->hidden, &options, &err) < 0 ||
            zoo_complete(model, &options, &err) < 0)
            fail_msg("%s", err.text);
        model->build(net, &options, &built);
        struct program *test = sl_program_clone(main, true, NULL);
        sl_minimize(net, make_optimizer(g), built.loss);
        if (sl_net_error(net, &err))
            fail_msg("%s", err.text);
        sl_net_free(net);
        compared += expect(g, "main.pb", main);
        compared += expect(g, "startup.pb", startup);
        compared += expect(g, "test.pb", test);
    }
    golden_folder_done(compared);
}

static void test_zoo_names_are_unique_and_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < zoo_count(); i++)
        assert_ptr_equal(zoo_find(zoo_at(i)->name), zoo_at(i));
    assert_null(zoo_find("nothing"));
    assert_null(zoo_find(NULL));
    assert_null(zoo_at(zoo_count()));
}

static void test_zoo_parses_hidden(void **state)
{
    (void)state;
    const struct zoo_model *digits = zoo_find("recognize_digits");
    struct zoo_options options = {.table_rows = 0};
    struct sl_error err = {0};
    assert_int_equal(zoo_parse_hidden(digits, NULL, &options, &err), 0);
    assert_int_equal(options.hidden_count, 2);
    assert_int_equal(options.hidden[1], 200);
    assert_int_equal(zoo_parse_hidden(digits, "5", &options, &err), 0);
    assert_int_equal(options.hidden_count, 1);
    static const char *const bad[] = {"", ",", "1,", "a", "1,,2", "0", "-3", "1 2", "99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(zoo_parse_hidden(digits, bad[i], &options, &err), SL_ERR_INVALID);
    assert_int_equal(options.hidden_count, 1);
    assert_int_equal(zoo_parse_hidden(zoo_find("fit_a_line"), "3", &options, &err), SL_ERR_INVALID);
    assert_int_equal(zoo_parse_hidden(zoo_find("fit_a_line"), NULL, &options, &err), 0);
}

static void test_zoo_checks_sizes(void **state)
{
    (void)state;
    struct sl_error err = {0};
    const struct zoo_model *clicks = zoo_find("ctr_dnn");
    struct zoo_options options = {.table_rows = 77};
    assert_int_equal(zoo_complete(clicks, &options, &err), 0);
    assert_int_equal(options.table_rows, 77);
    assert_int_equal(options.embedding_size, 10);
    assert_int_equal(options.sparse_slots, 26);
    assert_int_equal(options.ngram, 0);
    struct zoo_options bad[] = {{.sparse_slots = ZOO_SLOTS_MAX + 1},
                                {.table_rows = 1},
                                {.ngram = 5},
                                {.embedding_size = -1},
                                {.classes = 2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(zoo_complete(clicks, &bad[i], &err), SL_ERR_INVALID);
    assert_string_equal(err.text, "ctr_dnn: the model has no --classes");
}

// The most slots that a model may be asked for.
static void test_zoo_builds_many_slots(void **state)
{
    (void)state;
    static const char *const names[] = {"ctr_dnn", "wide_deep"};
    for (size_t i = 0; i < 2; i++) {
        const struct zoo_model *model = zoo_find(names[i]);
        struct program *main = program_new(), *startup = program_new();
        struct zoo_options options = {.sparse_slots = ZOO_SLOTS_MAX, .table_rows = 5};
        static struct zoo_network built;
        struct sl_error err = {0};
        sl_net *net = sl_net_new(main, startup);
        memset(&built, 0, sizeof built);
        assert_int_equal(zoo_parse_hidden(model, "4", &options, &err), 0);
        assert_int_equal(zoo_complete(model, &options, &err), 0);
        model->build(net, &options, &built);
        if (sl_net_error(net, &err) < 0)
            fail_msg("%s: %s", model->name, err.text);
        assert_int_equal(built.feeds_count, ZOO_SLOTS_MAX + 2);
        sl_net_free(net);
        program_free(main);
        program_free(startup);
    }
}

// Every model builds, trains and differentiates as a description, with its own optimizer's kind.
static void test_zoo_models_build(void **state)
{
    (void)state;
    for (size_t i = 0; i < zoo_count(); i++) {
        const struct zoo_model *model = zoo_at(i);
        struct program *main = program_new(), *startup = program_new();
        struct zoo_options options = {.table_rows = 0};
        struct zoo_network built = {0};
        struct sl_error err = {0};
        sl_net *net = sl_net_new(main, startup);
        assert_int_equal(zoo_parse_hidden(model, NULL, &options, &err), 0);
        assert_int_equal(zoo_complete(model, &options, &err), 0);
        model->build(net, &options, &built);
        int updated = sl_minimize(net, sl_sgd(0.1), built.loss);
        if (sl_net_error(net, &err) < 0)
            fail_msg("%s: %s", model->name, err.text);
        assert_true(updated >= 2 && built.feeds_count >= 2);
        sl_net_free(net);
        program_free(main);
        program_free(startup);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zoo_equals_fluid),
        cmocka_unit_test(test_zoo_models_build),
        cmocka_unit_test(test_zoo_checks_sizes),
        cmocka_unit_test(test_zoo_builds_many_slots),
        cmocka_unit_test(test_zoo_names_are_unique_and_found),
        cmocka_unit_test(test_zoo_parses_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
