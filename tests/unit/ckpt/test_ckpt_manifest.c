// SPDX-License-Identifier: Apache-2.0
// The manifest's text.
#include "tests/unit/ckpt/ckpt_fixture.h"

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void make(struct ckpt_manifest *out)
{
    ckpt_manifest_init(out);
    ckpt_manifest_add(out, "w \"quoted\" \xc3\xa4", 123, SUM);
    ckpt_manifest_add(out, "a", 0, SUM);
    ckpt_manifest_add(out, "dir/w2", UINT32_MAX * 8ull, SUM);
    model_progress(12, &out->progress);
    out->has_progress = true;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct ckpt_manifest a, b;
    struct buf text, again;
    struct err err = {0};
    make(&a);
    ckpt_manifest_init(&b);
    buf_init(&text, 0);
    buf_init(&again, 0);
    assert_int_equal(ckpt_manifest_format(&a, &text), 0);
    assert_int_equal(ckpt_manifest_parse(text.data, text.bytes, "m", &b, &err), 0);
    assert_int_equal(b.files_count, 3);
    assert_string_equal(b.files[0].name, "a");
    assert_int_equal(ckpt_manifest_find(&b, "dir/w2")->bytes, UINT32_MAX * 8ull);
    assert_null(ckpt_manifest_find(&b, "none"));
    assert_true(b.has_progress && !b.busy);
    assert_int_equal(b.progress.step, 12);
    assert_string_equal(a.digest, b.digest);
    assert_int_equal(ckpt_manifest_format(&b, &again), 0);
    assert_string_equal(buf_text(&text), buf_text(&again));
    ckpt_manifest_deinit(&a);
    ckpt_manifest_deinit(&b);
    buf_deinit(&text);
    buf_deinit(&again);
}

static void test_every_truncation_and_changed_byte_is_refused(void **state)
{
    (void)state;
    struct ckpt_manifest a, b;
    struct buf text;
    make(&a);
    ckpt_manifest_init(&b);
    buf_init(&text, 0);
    assert_int_equal(ckpt_manifest_format(&a, &text), 0);
    for (size_t n = 0; n < text.bytes; n++) {
        struct err err = {0};
        assert_true(ckpt_manifest_parse(text.data, n, "m.json", &b, &err) < 0);
        assert_non_null(strstr(err.text, "m.json"));
        for (int bit = 0; bit < 8; bit++) {
            text.data[n] ^= (uint8_t)(1 << bit);
            assert_true(ckpt_manifest_parse(text.data, text.bytes, "m.json", &b, &err) < 0);
            text.data[n] ^= (uint8_t)(1 << bit);
        }
    }
    ckpt_manifest_deinit(&a);
    buf_deinit(&text);
}

// Puts the right sum in front of a body.
static int parse_body(const char *body, struct err *err)
{
    struct ckpt_manifest out;
    char sum[FSUTIL_SHA256_HEX], text[2048];
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    fsutil_sha256_add(sha, body, strlen(body));
    fsutil_sha256_end(sha, sum);
    snprintf(text, sizeof text, "{\n  \"sha256\": \"%s\",\n%s", sum, body);
    ckpt_manifest_init(&out);
    int rc = ckpt_manifest_parse(text, strlen(text), "m.json", &out, err);
    ckpt_manifest_deinit(&out);
    return rc;
}

static void test_wrong_bodies_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "}", "\"files\": []}", "\"format\": 1}", "\"format\": 2, \"files\": []}",
        "\"format\": 1, \"files\": {}}",
        "\"format\": 1, \"files\": [{\"name\": \"../x\", \"bytes\": 1, \"sha256\": \"" SUM "\"}]}",
        "\"format\": 1, \"files\": [{\"name\": \"x\", \"bytes\": -1, \"sha256\": \"" SUM "\"}]}",
        "\"format\": 1, \"files\": [{\"name\": \"x\", \"bytes\": 1, \"sha256\": \"" SUM "0\"}]}",
        "\"format\": 1, \"files\": [{\"name\": \"x\", \"bytes\": 1}]}",
        "\"format\": 1, \"files\": [{\"name\": \"x\", \"bytes\": 1, \"sha256\": \"" SUM "\"}, "
        "{\"name\": \"x\", \"bytes\": 1, \"sha256\": \"" SUM "\"}]}",
        "\"format\": 1, \"progress\": 5, \"files\": []}",
        "\"format\": 1, \"files\": []} x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        assert_true(parse_body(bad[i], &err) < 0);
        assert_non_null(strstr(err.text, "m.json"));
    }
    struct err err = {0};
    assert_int_equal(parse_body("\"format\": 1, \"newer\": [1], \"files\": []}", &err), 0);
    assert_int_equal(parse_body("\"format\": 2, \"files\": []}", &err), SL_EUNSUPPORTED);
}

static void test_names_that_json_cannot_hold_are_refused(void **state)
{
    (void)state;
    struct ckpt_manifest a;
    struct buf text;
    buf_init(&text, 0);
    ckpt_manifest_init(&a);
    ckpt_manifest_add(&a, "\xff", 1, SUM);
    assert_true(ckpt_manifest_format(&a, &text) < 0);
    ckpt_manifest_deinit(&a);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_truncation_and_changed_byte_is_refused),
        cmocka_unit_test(test_wrong_bodies_are_refused),
        cmocka_unit_test(test_names_that_json_cannot_hold_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
