// SPDX-License-Identifier: Apache-2.0
// Inference models against Paddle's: the same files for the same values, the same results.
#include "tests/unit/storage/temp_folder.h"

#include <math.h>

#include "common/api/sluice.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/program/program.h"
#include "common/tensor/tensor_io.h"
#include "tests/unit/api/api_net.h"

static struct sl_error err;

struct model {
    char feeds[8][64], targets[2][64];
    const char *feed_names[8], *target_names[2];
    size_t feeds_count, targets_count;
    char feed_dir[512];
};

static size_t names_of(const char *json, const char *key, char out[][64], size_t max)
{
    size_t count = 0;
    const char *at = strstr(json, key), *end = at ? strchr(at, ']') : NULL;
    at = at ? strchr(at, '[') : NULL;
    while (at && count < max && (at = strchr(at, '"')) != NULL && at < end) {
        const char *close = strchr(at + 1, '"');
        snprintf(out[count++], 64, "%.*s", (int)(close - at - 1), at + 1);
        at = close + 1;
    }
    return count;
}

static void describe(const char *name, struct model *out)
{
    char rest[256], dir[200];
    struct buf text;
    buf_init(&text, 0);
    memset(out, 0, sizeof *out);
    snprintf(rest, sizeof rest, "%s/inference/targets.json", name);
    assert_int_equal(fsutil_read(golden(rest), 1 << 20, &text, NULL), 0);
    out->feeds_count = names_of(buf_text(&text), "\"feeds\"", out->feeds, 8);
    out->targets_count = names_of(buf_text(&text), "\"expected_files\"", out->targets, 2);
    for (size_t i = 0; i < out->feeds_count; i++)
        out->feed_names[i] = out->feeds[i];
    for (size_t i = 0; i < out->targets_count; i++)
        out->target_names[i] = out->targets[i];
    snprintf(rest, sizeof rest, "%s/case.json", name);
    assert_int_equal(fsutil_read(golden(rest), 1 << 24, &text, NULL), 0);
    const char *at = strstr(buf_text(&text), "\n \"feed_dir\"");
    assert_non_null(at);
    at = strchr(strchr(at, ':'), '"') + 1;
    snprintf(dir, sizeof dir, "%.*s", (int)(strchr(at, '"') - at), at);
    snprintf(out->feed_dir, sizeof out->feed_dir, "%s/%s/step_000", name, dir);
    buf_deinit(&text);
}

static void read_tensor(const char *path, struct variable *out)
{
    variable_init(out);
    if (tensor_io_load(path, VARIABLE_TENSOR, out, NULL) < 0)
        fail_msg("%s cannot be read", path);
}

static sl_feed *feed_of(const struct model *m)
{
    sl_feed *feed = sl_feed_new();
    for (size_t i = 0; i < m->feeds_count; i++) {
        char rest[640];
        struct variable var;
        snprintf(rest, sizeof rest, "%s/%s", m->feed_dir, m->feeds[i]);
        read_tensor(golden(rest), &var);
        struct sl_tensor t = {.dtype = (enum sl_dtype)var.tensor.dtype, .data = var.tensor.data};
        t.shape.rank = var.tensor.dims.rank;
        memcpy(t.shape.d, var.tensor.dims.d, sizeof t.shape.d);
        t.lod_levels = var.tensor.lod_levels;
        for (int k = 0; k < t.lod_levels; k++) {
            t.lod[k] = var.tensor.lod[k].offsets;
            t.lod_count[k] = var.tensor.lod[k].count;
        }
        assert_int_equal(sl_feed_set(feed, m->feeds[i], &t, &err), 0);
        variable_deinit(&var);
    }
    return feed;
}

// Runs the model in dir and compares with what Paddle got.
static void predict(const char *name, const struct model *m, const char *dir, const char *params)
{
    sl_executor *exe = sl_executor_new(SL_CPU);
    const struct sl_inference_options how = {.params_filename = params};
    struct sl_load_report report;
    sl_program *program = sl_io_load_inference_model(exe, dir, &how, &report, &err);
    if (program == NULL)
        fail_msg("%s: %s", dir, err.text);
    assert_int_equal(sl_program_feeds(program), m->feeds_count);
    for (size_t i = 0; i < m->feeds_count; i++)
        assert_string_equal(sl_program_feed(program, i), m->feeds[i]);
    assert_null(sl_program_feed(program, m->feeds_count));
    assert_int_equal(sl_program_fetches(program), m->targets_count);
    sl_fetch *fetch = sl_fetch_new();
    for (size_t i = 0; i < m->targets_count; i++)
        sl_fetch_add(fetch, sl_program_fetch(program, i));
    sl_feed *feed = feed_of(m);
    if (sl_run(exe, program, feed, fetch, &err) < 0)
        fail_msg("%s: %s", dir, err.text);
    for (size_t i = 0; i < m->targets_count; i++) {
        char rest[512];
        struct variable want;
        const struct sl_tensor *got = sl_fetch_get(fetch, i);
        snprintf(rest, sizeof rest, "%s/inference/expected/%s", name, m->targets[i]);
        read_tensor(golden(rest), &want);
        assert_int_equal(got->bytes, tensor_bytes(&want.tensor));
        const float *a = got->data, *b = want.tensor.data;
        for (size_t k = 0; k < got->bytes / sizeof *a; k++)
            if (fabs((double)a[k] - (double)b[k]) > 1e-5)
                fail_msg("%s: %zu: %.9g, Paddle has %.9g", name, k, (double)a[k], (double)b[k]);
        variable_deinit(&want);
    }
    sl_feed_free(feed);
    sl_fetch_free(fetch);
    sl_program_free(program);
    sl_executor_free(exe);
}

static void same_file(const char *a, const char *b)
{
    char x[FSUTIL_SHA256_HEX], y[FSUTIL_SHA256_HEX];
    if (fsutil_sha256_file(a, x, NULL, NULL) < 0 || fsutil_sha256_file(b, y, NULL, NULL) < 0 ||
        strcmp(x, y) != 0)
        fail_msg("%s and %s differ", a, b);
}

// From the program and the values that Paddle saved, the folder that Paddle saved.
static void save_again(const char *name, const struct model *m, const char *dir, const char *folder,
                       const char *params)
{
    char rest[256];
    sl_executor *exe = sl_executor_new(SL_CPU);
    snprintf(rest, sizeof rest, "%s/main.pb", name);
    sl_program *program = sl_program_load(golden(rest), &err);
    assert_non_null(program);
    snprintf(rest, sizeof rest, "%s/final", name);
    if (sl_io_load_persistables(exe, golden(rest), program, NULL, &err) < 0)
        fail_msg("%s", err.text);
    const struct sl_inference_options how = {.params_filename = params};
    char *before = sl_program_text(program), *targets[2] = {NULL, NULL};
    if (sl_io_save_inference_model(exe, dir, m->feed_names, m->feeds_count, m->target_names,
                                   m->targets_count, program, &how, targets, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    char *after = sl_program_text(program);
    assert_string_equal(before, after);
    assert_string_equal(targets[0], "save_infer_model/scale_0.tmp_0");
    sl_free(before);
    sl_free(after);
    sl_free(targets[0]);
    sl_free(targets[1]);
    struct str_list files = {0};
    snprintf(rest, sizeof rest, "%s/%s", name, folder);
    assert_int_equal(fsutil_list(golden(rest), &files, NULL), 0);
    size_t same = 0;
    for (size_t i = 0; i < files.count; i++) {
        if (strcmp(files.items[i], "__model__") == 0 || strcmp(files.items[i], "expected") == 0 ||
            strcmp(files.items[i], "targets.json") == 0)
            continue;
        char mine[512];
        snprintf(mine, sizeof mine, "%s/%s", dir, files.items[i]);
        snprintf(rest, sizeof rest, "%s/%s/%s", name, folder, files.items[i]);
        same_file(mine, golden(rest));
        same++;
    }
    assert_true(same > 0);
    str_list_deinit(&files);
    files = (struct str_list){0};
    assert_int_equal(fsutil_list(dir, &files, NULL), 0);
    assert_int_equal(files.count, same + 3);   // the model, the manifest, the sums
    str_list_deinit(&files);
    sl_program_free(program);
    sl_executor_free(exe);
}

static void test_api_infer_models_are_paddles(void **state)
{
    (void)state;
    static const char *const cases[] = {"mlp_digits",
                                        "lenet_digits",
                                        "lenet_digits_bn",
                                        "dropout_upscale_in_train",
                                        "dropout_downgrade_in_infer",
                                        "digits_adam",
                                        "text_lstm",
                                        "text_gru",
                                        "ctr_dnn_adam"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model m;
        char rest[128];
        describe(cases[i], &m);
        snprintf(rest, sizeof rest, "%s/inference", cases[i]);
        predict(cases[i], &m, golden(rest), NULL);
        save_again(cases[i], &m, at(cases[i]), "inference", NULL);
        predict(cases[i], &m, at(cases[i]), NULL);
    }
}

// A model that somebody saved with Fluid 1.7, and the answer that Paddle printed.
static void test_api_infer_a_model_of_other_people(void **state)
{
    (void)state;
    static float x[13] = {0.0137f,  -0.1136f, 0.2553f, -0.0692f, 0.0582f, -0.0727f, -0.1583f,
                          -0.0584f, 0.6283f,  0.4919f, 0.1856f,  0.0795f, -0.0332f};
    const char *shared = getenv("SLUICE_SHARED");
    char dir[512];
    snprintf(dir, sizeof dir, "%s/data/uci_housing_model",
             shared ? shared : SOURCE_ROOT "/../shared");
    if (access(dir, R_OK) != 0) {
        print_message("skipped: no %s; set SLUICE_SHARED\n", dir);
        skip();
    }
    sl_executor *exe = sl_executor_new(SL_CPU);
    sl_program *program = sl_io_load_inference_model(exe, dir, NULL, NULL, &err);
    if (program == NULL)
        fail_msg("%s", err.text);
    sl_feed *feed = sl_feed_new();
    sl_fetch *fetch = sl_fetch_new();
    const struct sl_tensor t = {.dtype = SL_FP32, .shape = SL_SHAPE(1, 13), .data = x};
    assert_int_equal(sl_feed_set(feed, sl_program_feed(program, 0), &t, &err), 0);
    sl_fetch_add(fetch, sl_program_fetch(program, 0));
    if (sl_run(exe, program, feed, fetch, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(sl_fetch_number(fetch, 0) == 18.901151657104492);
    sl_fetch_free(fetch);
    sl_feed_free(feed);
    sl_program_free(program);
    sl_executor_free(exe);
}

static void test_api_infer_combined_files(void **state)
{
    (void)state;
    struct model m;
    describe("lenet_digits_bn", &m);
    predict("lenet_digits_bn", &m, golden("lenet_digits_bn/inference_combined"), "__params__");
    save_again("lenet_digits_bn", &m, at("combined"), "inference_combined", "__params__");
    predict("lenet_digits_bn", &m, at("combined"), "__params__");
}

static void test_api_infer_every_changed_byte_is_noticed(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    sl_executor *exe = sl_executor_new(SL_CPU);
    api_net_start(&n, exe);
    const char *feeds[] = {"x"}, *targets[] = {"fc_0.tmp_1"};
    const struct sl_inference_options how = {.model_filename = "model",
                                             .params_filename = "params"};
    if (sl_io_save_inference_model(exe, at("m"), feeds, 1, targets, 1, n.main, &how, NULL, &err) <
        0)
        fail_msg("%s", err.text);
    struct str_list files = {0};
    assert_int_equal(fsutil_list(at("m"), &files, NULL), 0);
    assert_int_equal(files.count, 4);
    for (size_t f = 0; f < files.count; f++) {
        struct buf data;
        char name[128];
        snprintf(name, sizeof name, "m/%s", files.items[f]);
        buf_init(&data, 0);
        assert_int_equal(fsutil_read(at(name), 1 << 20, &data, NULL), 0);
        for (size_t b = 0; b < data.bytes; b++) {
            sl_executor *other = sl_executor_new(SL_CPU);
            data.data[b] ^= (uint8_t)(1 << b % 8);
            put_bytes(name, data.data, data.bytes);
            data.data[b] ^= (uint8_t)(1 << b % 8);
            if (sl_io_load_inference_model(other, at("m"), &how, NULL, &err) != NULL)
                fail_msg("%s: byte %zu: not noticed", files.items[f], b);
            api_net_says(&err, files.items[f]);
            assert_false(sl_scope_has(other, "fc_0.w_0"));
            put_bytes(name, data.data, b);
            if (sl_io_load_inference_model(other, at("m"), &how, NULL, &err) != NULL)
                fail_msg("%s: cut to %zu: not noticed", files.items[f], b);
            api_net_says(&err, files.items[f]);
            sl_executor_free(other);
        }
        put_bytes(name, data.data, data.bytes);
        buf_deinit(&data);
    }
    sl_program *program = sl_io_load_inference_model(exe, at("m"), &how, NULL, &err);
    assert_non_null(program);
    sl_program_free(program);
    str_list_deinit(&files);
    sl_executor_free(exe);
    api_net_free(&n);
}

static void test_api_infer_names_what_is_wrong(void **state)
{
    (void)state;
    struct api_net n = api_net_new();
    sl_executor *exe = sl_executor_new(SL_CPU);
    api_net_start(&n, exe);
    const char *x[] = {"x"}, *xy[] = {"x", "y"}, *out[] = {"fc_0.tmp_1"}, *loss[] = {n.loss};
    assert_int_equal(
        sl_io_save_inference_model(exe, at("m"), x, 1, loss, 1, n.main, NULL, NULL, &err),
        SL_ERR_INVALID);
    api_net_says(&err, "y must be fed");
    assert_int_equal(
        sl_io_save_inference_model(exe, at("m"), xy, 2, out, 1, n.main, NULL, NULL, &err),
        SL_ERR_INVALID);
    api_net_says(&err, "`y` is not needed");
    assert_int_equal(
        sl_io_save_inference_model(exe, at("m"), xy, 2, loss, 1, n.main, NULL, NULL, &err), 0);
    assert_null(sl_io_load_inference_model(exe, at("nothing"), NULL, NULL, &err));
    api_net_says(&err, "nothing");
    assert_null(sl_io_load_inference_model(exe, NULL, NULL, NULL, &err));
    // Only the program.
    const struct sl_inference_options only = {.program_only = true};
    assert_int_equal(
        sl_io_save_inference_model(exe, at("p"), x, 1, out, 1, n.main, &only, NULL, &err), 0);
    assert_true(access(at("p/__model__"), F_OK) == 0 && access(at("p/fc_0.w_0"), F_OK) != 0);
    sl_executor_free(exe);
    api_net_free(&n);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_api_infer_models_are_paddles),
        CASE(test_api_infer_a_model_of_other_people),
        CASE(test_api_infer_combined_files),
        CASE(test_api_infer_every_changed_byte_is_noticed),
        CASE(test_api_infer_names_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
