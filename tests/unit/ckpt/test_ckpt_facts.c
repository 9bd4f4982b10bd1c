// SPDX-License-Identifier: Apache-2.0
// Facts of a job: as text and back, and which networks are taken for the saved one.
#include "tests/unit/storage/temp_folder.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_facts.h"
#include "common/program/forward_hash.h"
#include "common/program/program.h"

static struct err err;

static struct program *recorded(const char *name)
{
    struct program *program = NULL;
    const char *path = golden(name);
    if (!path)
        return NULL;
    if (program_load(path, &program, &err))
        fail_msg("%s", err.text);
    return program;
}

static void test_round_trip_and_wrong_fields(void **state)
{
    (void)state;
    struct ckpt_facts facts, back;
    struct buf text;
    ckpt_facts_init(&facts);
    ckpt_facts_init(&back);
    buf_init(&text, 0);
    facts.servers = 3;
    facts.trainers = 2;
    facts.has_counter = true;
    facts.counter = -1;
    facts.forward = mem_must_calloc(2, sizeof *facts.forward);
    facts.forward[0] = UINT64_MAX;
    facts.forward_count = 2;
    assert_int_equal(ckpt_facts_format(&facts, &text), 0);
    assert_int_equal(ckpt_facts_parse(buf_text(&text), text.bytes, "m", &back, &err), 0);
    assert_int_equal(back.servers, 3);
    assert_int_equal(back.counter, -1);
    assert_true(back.has_counter && back.forward[0] == UINT64_MAX && back.forward[1] == 0);
    for (size_t n = 0; n < text.bytes; n++)
        assert_true(ckpt_facts_parse(buf_text(&text), n, "m", &back, &err) < 0);
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"servers\":-1,\"trainers\":1}",
        "{\"servers\":1,\"trainers\":999999}",
        "{\"servers\":1,\"trainers\":1,\"counter\":\"x\"}",
        "{\"servers\":1,\"trainers\":1,\"forward\":7}",
        "{\"servers\":1,\"trainers\":1,\"forward\":[\"12\"]}",
        "{\"servers\":1,\"trainers\":1,\"forward\":[\"g000000000000000\"]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ckpt_facts_parse(bad[i], strlen(bad[i]), "m", &back, &err), SL_EFORMAT);
    assert_non_null(strstr(err.text, "m: facts"));
    ckpt_facts_deinit(&facts);
    ckpt_facts_deinit(&back);
    buf_deinit(&text);
}

// The forward part of the program with optimizer, of the test program, of a trainer's program and
// of the pruned one is the same, or a part of it; whatever was different in names, too.
static void test_one_network_in_all_its_programs(void **state)
{
    (void)state;
    static const struct {
        const char *saved, *loaded;
    } same[] = {
        {"mlp_digits/main.pb", "mlp_digits/test.pb"},
        {"mlp_digits/main.pb", "mlp_digits/dist/trainer_1.pb"},
        {"ctr_dnn_adam/dist/trainer_0.pb", "ctr_dnn_adam/test.pb"},
        {"ctr_dnn_adam/main.pb", "ctr_dnn_adam/dist/trainer_0.pb"},
        {"dropout_upscale_in_train/main.pb", "dropout_upscale_in_train/test.pb"},
        {"lenet_digits_bn/main.pb", "lenet_digits_bn/test.pb"},
        {"digits_sgd/main.pb", "digits_lamb/main.pb"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct program *a = recorded(same[i].saved), *b = recorded(same[i].loaded);
        struct ckpt_facts facts;
        if (!a || !b) {
            program_free(a);
            program_free(b);
            continue;
        }
        ckpt_facts_init(&facts);
        ckpt_facts_network(&facts, a);
        assert_true(facts.forward_count > 0);
        if (ckpt_facts_check_network(&facts, b, &err))
            fail_msg("%s: %s", same[i].loaded, err.text);
        ckpt_facts_deinit(&facts);
        program_free(a);
        program_free(b);
    }
}

static void test_another_network_is_named_by_its_operators(void **state)
{
    (void)state;
    struct program *a = recorded("mlp_digits/main.pb"), *b = recorded("mlp_digits/main.pb");
    struct ckpt_facts facts;
    if (!a)
        skip();
    ckpt_facts_init(&facts);
    ckpt_facts_network(&facts, a);
    struct block *block = program_block(b, 0);
    for (size_t i = 0; i < block->ops_count; i++)
        if (str_eq(block->ops[i]->type, "softmax"))
            op_desc_set_int(block->ops[i], "axis", 0);
    assert_int_equal(ckpt_facts_check_network(&facts, b, &err), SL_EMISMATCH);
    assert_non_null(strstr(err.text, "softmax -> fc_2.tmp_2"));
    assert_null(strstr(err.text, "relu"));
    uint64_t *x, *y;
    size_t n = forward_hash_ops(a, &x, NULL), m = forward_hash_ops(b, &y, NULL);
    assert_int_equal(n, m);
    assert_true(forward_hash_fold(x, n) != forward_hash_fold(y, m));
    mem_free(x);
    mem_free(y);
    ckpt_facts_deinit(&facts);
    program_free(a);
    program_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_and_wrong_fields),
        cmocka_unit_test(test_one_network_in_all_its_programs),
        cmocka_unit_test(test_another_network_is_named_by_its_operators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
