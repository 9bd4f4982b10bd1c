// SPDX-License-Identifier: Apache-2.0
// Progress as JSON text.
#include "tests/unit/ckpt/ckpt_fixture.h"

static void make(struct ckpt_progress *out)
{
    ckpt_progress_init(out);
    out->step = 936;
    out->epoch = 2;
    out->reader_epoch = 2;
    out->reader_sample = 1280;
    out->seed = UINT64_MAX;
    out->has_learning_rate = true;
    out->learning_rate = 0.1;
    ckpt_progress_add_data(out, "/data/\"fashion\" mnist", 30000000);
    ckpt_progress_add_data(out, "b{trainer_id}", 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct ckpt_progress a, b;
    struct buf text, again;
    struct err err = {0};
    make(&a);
    ckpt_progress_init(&b);
    buf_init(&text, 0);
    buf_init(&again, 0);
    assert_int_equal(ckpt_progress_format(&a, &text), 0);
    assert_null(memchr(text.data, '\n', text.bytes));
    assert_int_equal(ckpt_progress_parse(buf_text(&text), text.bytes, "x", &b, &err), 0);
    assert_int_equal(b.step, 936);
    assert_int_equal(b.reader_sample, 1280);
    assert_true(b.seed == UINT64_MAX);
    assert_true(b.has_learning_rate && b.learning_rate == 0.1);
    assert_int_equal(b.data_count, 2);
    assert_string_equal(b.data[0].uri, a.data[0].uri);
    assert_int_equal(ckpt_progress_format(&b, &again), 0);
    assert_string_equal(buf_text(&text), buf_text(&again));
    ckpt_progress_deinit(&a);
    ckpt_progress_deinit(&b);
    buf_deinit(&text);
    buf_deinit(&again);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    struct ckpt_progress a, b;
    struct buf text;
    make(&a);
    ckpt_progress_init(&b);
    buf_init(&text, 0);
    assert_int_equal(ckpt_progress_format(&a, &text), 0);
    for (size_t n = 0; n < text.bytes; n++)
        assert_true(ckpt_progress_parse(buf_text(&text), n, "x", &b, NULL) < 0);
    ckpt_progress_deinit(&a);
    buf_deinit(&text);
}

static void test_wrong_fields_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"step\":-1,\"epoch\":0,\"reader_epoch\":0,\"reader_sample\":0,\"seed\":\"1\",\"data\":[]"
        "}",
        "{\"step\":1.5,\"epoch\":0,\"reader_epoch\":0,\"reader_sample\":0,\"seed\":\"1\",\"data\":["
        "]}",
        "{\"step\":1,\"epoch\":0,\"reader_epoch\":0,\"reader_sample\":0,\"seed\":1,\"data\":[]}",
        "{\"step\":1,\"epoch\":0,\"reader_epoch\":0,\"reader_sample\":0,\"seed\":\"-1\",\"data\":[]"
        "}",
        "{\"step\":1,\"epoch\":0,\"reader_epoch\":0,\"reader_sample\":0,\"seed\":\"1\",\"data\":{}"
        "}",
        "{\"step\":1,\"epoch\":0,\"reader_epoch\":0,\"reader_sample\":0,\"seed\":\"1\",\"data\":[{}"
        "]}",
        "{\"step\":1,\"step\":2,\"epoch\":0,\"reader_epoch\":0,\"reader_sample\":0,\"seed\":\"1\","
        "\"data\":[]}",
    };
    struct ckpt_progress out;
    ckpt_progress_init(&out);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        assert_true(ckpt_progress_parse(bad[i], strlen(bad[i]), "models/m.json", &out, &err) < 0);
        assert_non_null(strstr(err.text, "models/m.json"));
    }
}

static void test_other_data_names_the_way_out(void **state)
{
    (void)state;
    struct ckpt_progress a, b;
    struct err err = {0};
    make(&a);
    ckpt_progress_init(&b);
    ckpt_progress_copy(&b, &a);
    assert_int_equal(ckpt_progress_check_data(&a, &b, &err), 0);
    b.data[0].bytes++;
    assert_int_equal(ckpt_progress_check_data(&a, &b, &err), SL_EMISMATCH);
    assert_non_null(strstr(err.text, "30000001"));
    assert_non_null(strstr(err.text, "--load_dir"));
    ckpt_progress_copy(&b, &a);
    b.seed = 3;
    assert_int_equal(ckpt_progress_check_data(&a, &b, &err), SL_EMISMATCH);
    ckpt_progress_copy(&b, &a);
    ckpt_progress_add_data(&b, "c", 1);
    assert_int_equal(ckpt_progress_check_data(&a, &b, &err), SL_EMISMATCH);
    ckpt_progress_deinit(&a);
    ckpt_progress_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_wrong_fields_are_refused),
        cmocka_unit_test(test_other_data_names_the_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
