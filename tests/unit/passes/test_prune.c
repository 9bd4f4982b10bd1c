// SPDX-License-Identifier: Apache-2.0
// The program of an inference model equals the one that Fluid writes, for every recorded case.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "common/passes/prune.h"
#include "tests/unit/passes/golden_folder.h"

static struct err err;

static struct program *load(const char *rest)
{
    struct program *program = NULL;
    char *path = golden_folder_path(rest);
    if (path == NULL)
        return NULL;
    if (program_load(path, &program, &err) < 0)
        fail_msg("%s", err.text);
    mem_free(path);
    return program;
}

// Paddle counts the last number over all that one Python process built.
static void forget_numbers(struct buf *text)
{
    static const char key[] = "save_infer_model/scale_";
    char *copy = mem_must_strdup(buf_text(text));
    buf_clear(text);
    for (const char *at = copy, *found; *at; at = found) {
        found = strstr(at, key);
        found = found ? found + sizeof key - 1 : at + strlen(at);
        buf_append(text, at, (size_t)(found - at));
        if (!*found)
            break;
        while (*found != '.') {
            buf_append(text, found, 1);
            found++;
        }
        buf_printf(text, ".tmp_N");
        found += sizeof ".tmp_" - 1;
        while (*found >= '0' && *found <= '9')
            found++;
    }
    mem_free(copy);
}

static void text_without_numbers(const struct program *program, struct buf *out)
{
    buf_init(out, 0);
    program_text_format(program, out);
    forget_numbers(out);
}

static const char *const cases[] = {
    "mlp_digits",
    "lenet_digits",
    "lenet_digits_bn",
    "dropout_upscale_in_train",
    "dropout_downgrade_in_infer",
    "digits_adam",
    "fit_a_line",
    "text_lstm",
    "text_gru",
    "text_conv",
    "word2vec",
    "word2vec_sparse",
    "ctr_dnn_adam",
    "wide_deep",
    "deepfm",
};
#define CASES (sizeof cases / sizeof *cases)

// Feeds and targets as targets.json tells them: lines of quoted names under each key.
static void read_names(const char *json, const char *key, struct str_list *out)
{
    const char *at = strstr(json, key), *end = at ? strchr(at, ']') : NULL;
    at = at ? strchr(at, '[') : NULL;
    while (at && (at = strchr(at, '"')) != NULL && at < end) {
        const char *close = strchr(at + 1, '"');
        str_list_addn(out, at + 1, (size_t)(close - at - 1));
        at = close + 1;
    }
}

static void check(const char *name, const char *source, size_t *compared)
{
    char rest[128];
    struct str_list feeds = {0}, targets = {0}, names = {0}, seen = {0};
    snprintf(rest, sizeof rest, "%s/%s", name, source);
    struct program *program = load(rest);
    snprintf(rest, sizeof rest, "%s/inference/__model__", name);
    struct program *want = program ? load(rest) : NULL, *got = NULL;
    snprintf(rest, sizeof rest, "%s/inference/targets.json", name);
    char *path = want ? golden_folder_path(rest) : NULL;
    if (path == NULL) {
        program_free(program);
        program_free(want);
        return;
    }
    FILE *file = fopen(path, "r");
    char chunk[4096];
    size_t n = fread(chunk, 1, sizeof chunk - 1, file);
    chunk[n] = '\0';
    fclose(file);
    mem_free(path);
    read_names(chunk, "\"feeds\"", &feeds);
    read_names(chunk, "\"expected_files\"", &targets);
    struct buf before, after, a, b;
    buf_init(&before, 0);
    buf_init(&after, 0);
    program_text_format(program, &before);
    if (prune_inference(program, &feeds, &targets, &got, &names, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    program_text_format(program, &after);
    assert_string_equal(buf_text(&before), buf_text(&after));
    text_without_numbers(got, &a);
    text_without_numbers(want, &b);
    if (strcmp(buf_text(&a), buf_text(&b)) != 0) {
        struct buf diff;
        buf_init(&diff, 0);
        program_text_diff(got, want, &diff);
        fail_msg("%s (%s): %s", name, source, buf_text(&diff));
    }
    prune_feeds(got, &seen);
    assert_int_equal(seen.count, feeds.count);
    for (size_t i = 0; i < seen.count; i++)
        assert_string_equal(seen.items[i], feeds.items[i]);
    assert_int_equal(names.count, targets.count);
    str_list_deinit(&seen);
    seen = (struct str_list){0};
    prune_fetches(got, &seen);
    assert_int_equal(seen.count, names.count);
    assert_string_equal(seen.items[0], names.items[0]);
    assert_string_equal(names.items[0], "save_infer_model/scale_0.tmp_0");
    (*compared)++;
    buf_deinit(&a);
    buf_deinit(&b);
    buf_deinit(&before);
    buf_deinit(&after);
    str_list_deinit(&feeds);
    str_list_deinit(&targets);
    str_list_deinit(&names);
    str_list_deinit(&seen);
    program_free(program);
    program_free(want);
    program_free(got);
}

static void test_prune_equals_fluid(void **state)
{
    (void)state;
    size_t compared = 0;
    for (size_t i = 0; i < CASES; i++)
        check(cases[i], "main.pb", &compared);
    // What a trainer runs gives the same model, lookups on servers included.
    check("mlp_digits", "dist/trainer_1.pb", &compared);
    check("ctr_dnn_adam", "dist/trainer_0.pb", &compared);
    if (compared == 0)
        skip();
    print_message("%zu models compared\n", compared);
}

static void test_prune_names_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *feeds, *targets, *says;
        int code;
    } bad[] = {
        {"", "fc_2.tmp_2", "img must be fed", SL_EINVAL},
        {"img", "nothing", "`nothing` is not a variable", SL_ENOENT},
        {"image", "fc_2.tmp_2", "`image` is not a variable", SL_ENOENT},
        {"img,label", "fc_2.tmp_2", "`label` is not needed", SL_EINVAL},
        {"img", "label", "no operator of block 0 makes target `label`", SL_EINVAL},
        {"img", "", "no target", SL_EINVAL},
    };
    struct program *program = load("mlp_digits/main.pb");
    if (program == NULL)
        skip();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct str_list feeds = {0}, targets = {0}, names = {0};
        struct program *out = NULL;
        if (*bad[i].feeds)
            str_list_split(&feeds, bad[i].feeds, ',');
        if (*bad[i].targets)
            str_list_split(&targets, bad[i].targets, ',');
        assert_int_equal(prune_inference(program, &feeds, &targets, &out, &names, &err),
                         bad[i].code);
        if (strstr(err.text, bad[i].says) == NULL)
            fail_msg("case %zu: %s", i, err.text);
        assert_null(out);
        str_list_deinit(&feeds);
        str_list_deinit(&targets);
    }
    program_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prune_equals_fluid),
        cmocka_unit_test(test_prune_names_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
