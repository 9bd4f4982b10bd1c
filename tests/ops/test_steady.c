// SPDX-License-Identifier: Apache-2.0
// Ten thousand training steps of a small network (convolution, batch_norm, dropout, Adam) need no
// more memory than the first few: with fixed shapes nothing is allocated at all, and changing
// batch sizes, among sizes met before, do not make the process grow. Nor do sparse gradients, whose
// number of rows is another one at every step.

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/api/sluice.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/exec/executor.h"
#include "common/exec/scope.h"
#include "common/tensor/variable.h"

#define STEPS 10000
#define SIZE 12            // images are SIZE x SIZE
#define CHANGE_EVERY 500   // steps between two changes of the batch size
#define GROWTH_BYTES_MAX (1 << 20)

// The first one is the largest: memory is at its highest from the start.
static const int64_t batches[] = {8, 5, 1, 7, 8, 3};

struct training {
    struct program *main, *startup;
    struct scope *scope;
    struct executor *exe;
    struct variable img, label;
    char *loss;
};

static void build(struct training *t)
{
    struct sl_error error = {0};
    struct sl_fc_options softmax = sl_fc_defaults();
    softmax.act = "softmax";
    t->main = sl_program_new();
    t->startup = sl_program_new();
    sl_program_set_random_seed(t->main, 5);
    sl_program_set_random_seed(t->startup, 5);
    sl_net *net = sl_net_new(t->main, t->startup);
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(1, SIZE, SIZE));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    sl_var *x = sl_simple_img_conv_pool(net, img, 4, 3, 2, 2, "relu");
    x = sl_batch_norm(net, x, NULL);
    x = sl_dropout(net, x, 0.3, NULL);
    sl_var *predict = sl_fc(net, x, 10, &softmax);
    sl_var *loss = sl_mean(net, sl_cross_entropy(net, predict, label));
    sl_minimize(net, sl_adam(0.001, NULL), loss);
    if (sl_net_error(net, &error) < 0)
        fail_msg("%s", error.text);
    t->loss = mem_must_strdup(sl_var_name(loss));
    sl_net_free(net);
}

static void feed(struct training *t, int64_t batch)
{
    struct dims img = {.rank = 4, .d = {batch, 1, SIZE, SIZE}};
    struct dims label = {.rank = 2, .d = {batch, 1}};
    assert_int_equal(tensor_resize(variable_tensor(&t->img), DTYPE_FP32, &img), 0);
    assert_int_equal(tensor_resize(variable_tensor(&t->label), DTYPE_INT64, &label), 0);
    for (int64_t n = 0; n < batch; n++) {
        tensor_i64(&t->label.tensor)[n] = (n * 3) % 10;
        for (int64_t i = 0; i < SIZE * SIZE; i++)
            tensor_f32(&t->img.tensor)[n * SIZE * SIZE + i] = (float)sin((double)(n * 7 + i));
    }
}

static float step(struct training *t)
{
    struct err err = {0};
    const struct executor_feed feeds[] = {{"img", &t->img}, {"label", &t->label}};
    struct executor_fetch fetch = {.name = t->loss};
    if (executor_run(t->exe, t->main, feeds, 2, &fetch, 1, &err) < 0)
        fail_msg("%s", err.text);
    return *tensor_f32(&fetch.value->tensor);
}

static long resident_bytes(void)
{
    long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &all, &resident), 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static void begin(struct training *t)
{
    struct err err = {0};
    *t = (struct training){0};
    variable_init(&t->img);
    variable_init(&t->label);
    build(t);
    t->scope = scope_new();
    t->exe = executor_new(t->scope, NULL, 0);
    if (executor_run(t->exe, t->startup, NULL, 0, NULL, 0, &err) < 0)
        fail_msg("%s", err.text);
}

static void end(struct training *t)
{
    executor_free(t->exe);
    scope_free(t->scope);
    sl_program_free(t->main);
    sl_program_free(t->startup);
    variable_deinit(&t->img);
    variable_deinit(&t->label);
    mem_free(t->loss);
}

static void test_ten_thousand_steps_need_no_more_memory_than_the_first(void **state)
{
    (void)state;
    struct training t;
    size_t sizes = sizeof batches / sizeof *batches, met = 0;
    unsigned long extra = 0;
    long resident = 0;
    float loss = 0;
    begin(&t);
    for (int i = 0; i < STEPS; i++) {
        bool changes = i % CHANGE_EVERY == 0;
        if (changes)
            feed(&t, batches[met++ % sizes]);
        unsigned long before = mem_allocation_count();
        loss = step(&t);
        bool first_round = met <= sizes;
        if (!changes || !first_round)
            extra += mem_allocation_count() - before;
        if (met == sizes && changes)
            resident = resident_bytes();
    }
    long growth = resident_bytes() - resident;
    printf("loss %g; %lu allocations, %ld bytes of growth\n", (double)loss, extra, growth);
    assert_true(isfinite(loss));
    assert_int_equal(extra, 0);
    assert_true(growth <= GROWTH_BYTES_MAX);
    end(&t);
}

// ---- sparse gradients

#define IDS 64
#define WORDS 500
#define SPARSE_STEPS 400

static sl_optimizer *make_sparse(int which)
{
    struct sl_adam_options lazy = sl_adam_defaults();
    struct sl_rmsprop_options centered = sl_rmsprop_defaults();
    lazy.lazy_mode = true;
    centered.centered = true;
    switch (which) {
    case 0:
        return sl_sgd(0.1);
    case 1:
        return sl_momentum(0.1, 0.9, NULL);
    case 2:
        return sl_adagrad(0.1, NULL);
    case 3:
        return sl_adam(0.01, NULL);
    case 4:
        return sl_adam(0.01, &lazy);
    case 5:
        return sl_rmsprop(0.01, &centered);
    default:
        return sl_lamb(0.01, NULL);
    }
}

// Two lookups of a shared table (their gradients are summed) and one of its own.
static void build_sparse(struct training *t, int which)
{
    struct sl_error error = {0};
    struct sl_embedding_options table = sl_embedding_defaults();
    struct sl_param_attr shared = sl_param_attr_defaults();
    t->main = sl_program_new();
    t->startup = sl_program_new();
    sl_net *net = sl_net_new(t->main, t->startup);
    table.is_sparse = true;
    shared.name = "shared";
    sl_var *a = sl_data(net, "img", SL_INT64, SL_SHAPE(1));
    sl_var *b = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    sl_var *c = sl_embedding(net, a, WORDS, 8, &table);
    table.param_attr = &shared;
    sl_var *parts[] = {sl_embedding(net, a, WORDS, 8, &table),
                       sl_embedding(net, b, WORDS, 8, &table), c};
    sl_var *loss = sl_mean(net, sl_fc(net, sl_concat(net, parts, 3, 1), 3, NULL));
    sl_minimize(net, make_sparse(which), loss);
    if (sl_net_error(net, &error) < 0)
        fail_msg("%s", error.text);
    t->loss = mem_must_strdup(sl_var_name(loss));
    sl_net_free(net);
}

// The first step names the most rows; later ones few or many, each several times.
static void feed_words(struct variable *var, int i, int from)
{
    struct dims dims = {.rank = 2, .d = {IDS, 1}};
    assert_int_equal(tensor_resize(variable_tensor(var), DTYPE_INT64, &dims), 0);
    for (int k = 0; k < IDS; k++)
        tensor_i64(&var->tensor)[k] =
            (from + (i == 0 ? IDS - 1 - k : (k * 7 + i * 11) % (1 + i % IDS))) % WORDS;
}

static void test_sparse_steps_allocate_nothing(void **state)
{
    (void)state;
    for (int which = 0; which < 7; which++) {
        struct training t = {0};
        struct err err = {0};
        unsigned long before = 0;
        variable_init(&t.img);
        variable_init(&t.label);
        build_sparse(&t, which);
        t.scope = scope_new();
        t.exe = executor_new(t.scope, NULL, 0);
        if (executor_run(t.exe, t.startup, NULL, 0, NULL, 0, &err) < 0)
            fail_msg("%s", err.text);
        for (int i = 0; i < SPARSE_STEPS; i++) {
            feed_words(&t.img, i, 0);
            feed_words(&t.label, i, IDS);
            if (i == 3)
                before = mem_allocation_count();
            assert_true(isfinite(step(&t)));
        }
        assert_int_equal(mem_allocation_count(), before);
        end(&t);
    }
}

// ---- sequences

#define SEQUENCES 6
#define SEQUENCE_STEPS 200

// Most operators of sequences on the words that "img" holds, and on themselves.
static void build_sequences(struct training *t)
{
    static const char *const pools[] = {"average", "sum", "sqrt", "max", "last", "first"};
    struct sl_error error = {0};
    sl_var *pooled[9], *length = NULL;
    size_t n = 0;
    t->main = sl_program_new();
    t->startup = sl_program_new();
    sl_net *net = sl_net_new(t->main, t->startup);
    sl_var *words = sl_data_lod(net, "img", SL_INT64, SL_SHAPE(-1, 1), 1);
    sl_var *row = sl_embedding(net, sl_data(net, "label", SL_INT64, SL_SHAPE(1)), WORDS, 4, NULL);
    sl_var *x = sl_embedding(net, words, WORDS, 4, NULL);
    sl_var *weights = sl_sequence_softmax(net, sl_fc(net, x, 1, NULL));
    sl_var *padded = sl_sequence_pad(net, sl_elementwise_mul(net, x, weights, 0),
                                     sl_fill_constant(net, SL_SHAPE(1), SL_FP32, 0.0), -1, &length);
    sl_var *back = sl_sequence_reverse(net, sl_sequence_unpad(net, padded, length));
    sl_var *joined =
        sl_sequence_concat(net, (sl_var *const[]){back, sl_sequence_expand_as(net, row, x), x}, 3);
    sl_var *ahead = sl_row_conv(net, sl_sequence_reshape(net, joined, 2), 2, NULL, "tanh");
    for (size_t i = 0; i < 6; i++)
        pooled[n++] = sl_sequence_pool(net, joined, pools[i]);
    pooled[n++] = sl_sequence_conv_pool(net, x, 5, 3, "tanh", "max", NULL, NULL);
    pooled[n++] = sl_sequence_pool(net, sl_sequence_expand(net, ahead, x, 0), "sum");
    sl_var *said = sl_sequence_enumerate(net, words, 3, 0);
    sl_edit_distance(net, words, words, NULL, NULL);
    sl_chunk_eval(net, words, words, "plain", WORDS, NULL);
    pooled[n++] = sl_sequence_pool(net, sl_cast(net, said, SL_FP32), "average");
    sl_var *all = sl_concat(net, pooled, n - 2, 1);
    sl_var *loss = sl_mean(net, sl_fc(net, all, 1, NULL));
    loss = sl_elementwise_add(net, loss, sl_mean(net, pooled[n - 2]), -1);
    sl_minimize(net, sl_sgd(0.01), loss);
    if (sl_net_error(net, &error) < 0)
        fail_msg("%s", error.text);
    t->loss = mem_must_strdup(sl_var_name(loss));
    sl_net_free(net);
}

// Sequences of other lengths every step, the longest ones in the first.
static void feed_sequences(struct training *t, int step)
{
    uint64_t offsets[SEQUENCES + 1] = {0};
    for (int k = 0; k < SEQUENCES; k++)
        offsets[k + 1] = offsets[k] + (step == 0 ? 9 : 1 + (uint64_t)((step * 5 + k * 3) % 9));
    const struct lod_level level = {.offsets = offsets, .count = SEQUENCES + 1};
    const struct dims dims = {.rank = 2, .d = {(int64_t)offsets[SEQUENCES], 1}};
    const struct dims labels = {.rank = 2, .d = {SEQUENCES, 1}};
    assert_int_equal(tensor_resize(variable_tensor(&t->img), DTYPE_INT64, &dims), 0);
    assert_int_equal(tensor_set_lod(&t->img.tensor, 1, &level), 0);
    assert_int_equal(tensor_resize(variable_tensor(&t->label), DTYPE_INT64, &labels), 0);
    for (int64_t i = 0; i < dims.d[0]; i++)
        tensor_i64(&t->img.tensor)[i] = (i * 7 + step) % WORDS;
    for (int64_t i = 0; i < SEQUENCES; i++)
        tensor_i64(&t->label.tensor)[i] = i;
}

static void test_sequences_allocate_nothing(void **state)
{
    (void)state;
    struct training t = {0};
    struct err err = {0};
    unsigned long before = 0;
    variable_init(&t.img);
    variable_init(&t.label);
    build_sequences(&t);
    t.scope = scope_new();
    t.exe = executor_new(t.scope, NULL, 0);
    if (executor_run(t.exe, t.startup, NULL, 0, NULL, 0, &err) < 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < SEQUENCE_STEPS; i++) {
        feed_sequences(&t, i);
        if (i == 2)
            before = mem_allocation_count();
        assert_true(isfinite(step(&t)));
    }
    assert_int_equal(mem_allocation_count(), before);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_thousand_steps_need_no_more_memory_than_the_first),
        cmocka_unit_test(test_sparse_steps_allocate_nothing),
        cmocka_unit_test(test_sequences_allocate_nothing),
    };
    return cmocka_run_group_tests_name("steady", tests, NULL, NULL);
}
