// SPDX-License-Identifier: Apache-2.0
// save_vars and load_vars, combined files, fluid.save, and the report item by item.
#include "tests/unit/storage/temp_folder.h"

#include "common/base/buf.h"
#include "tests/unit/api/api_net.h"

static struct sl_error err;
static struct api_net net;
static sl_executor *exe;

static int begin(void **state)
{
    if (fixture_setup(state) != 0)
        return -1;
    net = api_net_new();
    exe = sl_executor_new(SL_CPU);
    api_net_start(&net, exe);
    api_net_run(&net, exe, net.main);
    return 0;
}

static int end(void **state)
{
    sl_executor_free(exe);
    api_net_free(&net);
    return fixture_teardown(state);
}

static void good(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, err.text);
}

static bool has(const char *name)
{
    return access(at(name), F_OK) == 0;
}

static float first_value(sl_executor *e, const char *name)
{
    struct sl_tensor t;
    good(sl_scope_get(e, name, &t, &err));
    return *(const float *)t.data;
}

static bool is_velocity(void *self, const sl_var *var)
{
    (*(int *)self)++;
    return strstr(sl_var_name(var), "_velocity_") != NULL;
}

static void test_api_vars_by_predicate_and_by_name(void **state)
{
    (void)state;
    int asked = 0;
    const struct sl_vars some = {.predicate = is_velocity, .self = &asked};
    good(sl_io_save_vars(exe, at("m"), net.main, &some, NULL, &err));
    assert_int_equal(asked, sl_program_vars(net.main));
    assert_true(has("m/fc_0.w_0_velocity_0") && has("m/fc_0.b_0_velocity_0"));
    assert_false(has("m/fc_0.w_0") || has("m/learning_rate_0"));

    const char *names[] = {"learning_rate_0", "fc_0.b_0", "fc_0.b_0"};
    const struct sl_vars named = {.names = names, .count = 3};
    good(sl_io_save_vars(exe, at("m"), net.main, &named, NULL, &err));
    assert_true(has("m/learning_rate_0") && has("m/fc_0.b_0") && !has("m/fc_0.w_0"));

    sl_executor *other = sl_executor_new(SL_CPU);
    struct sl_load_report report;
    api_net_start(&net, other);
    float weight = first_value(other, "fc_0.w_0");
    good(sl_io_load_vars(other, at("m"), net.main, &named, NULL, &report, &err));
    assert_int_equal(report.loaded, 2);
    assert_true(first_value(other, "fc_0.b_0") == first_value(exe, "fc_0.b_0"));
    assert_true(first_value(other, "fc_0.w_0") == weight);
    good(sl_io_load_vars(other, at("m"), net.main, &some, NULL, &report, &err));
    assert_true(first_value(other, "fc_0.w_0_velocity_0") ==
                first_value(exe, "fc_0.w_0_velocity_0"));
    sl_executor_free(other);
}

static void test_api_vars_that_cannot_be(void **state)
{
    (void)state;
    const char *unknown[] = {"nothing"}, *temporary[] = {"fc_0.tmp_0"}, *weight[] = {"fc_0.w_0"};
    const struct sl_vars none = {0}, a = {.names = unknown, .count = 1},
                         b = {.names = temporary, .count = 1}, c = {.names = weight, .count = 1};
    assert_int_equal(sl_io_save_vars(exe, at("m"), net.main, &none, NULL, &err), SL_ERR_INVALID);
    assert_int_equal(sl_io_save_vars(exe, at("m"), net.main, NULL, NULL, &err), SL_ERR_INVALID);
    assert_int_equal(sl_io_save_vars(exe, at("m"), net.main, &a, NULL, &err), SL_ERR_NOT_FOUND);
    api_net_says(&err, "nothing");
    assert_int_equal(sl_io_save_vars(exe, at("m"), net.main, &b, NULL, &err), SL_ERR_NOT_FOUND);
    api_net_says(&err, "fc_0.tmp_0");
    assert_false(has("m"));
    good(sl_io_save_params(exe, at("m"), net.main, &err));
    assert_int_equal(unlink(at("m/fc_0.w_0")), 0);
    assert_int_equal(sl_io_load_vars(exe, at("m"), net.main, &c, NULL, NULL, &err),
                     SL_ERR_MISMATCH);
    api_net_says(&err, "fc_0.w_0");
}

static void test_api_vars_in_one_file(void **state)
{
    (void)state;
    const struct sl_save_options to = {.filename = "all"};
    struct sl_load_options from = sl_load_defaults();
    struct sl_load_report report;
    from.filename = "all";
    good(sl_io_save_persistables_with(exe, at("m"), net.main, &to, &err));
    good(sl_io_save_params_with(exe, at("p"), net.main, &to, &err));
    assert_true(has("m/all") && has("p/all") && !has("m/fc_0.w_0"));
    sl_executor *other = sl_executor_new(SL_CPU);
    api_net_start(&net, other);
    good(sl_io_load_params_with(other, at("p"), net.test, &from, &report, &err));
    assert_int_equal(report.loaded, 2);
    good(sl_io_load_persistables_with(other, at("m"), net.main, &from, &report, &err));
    assert_int_equal(report.loaded, 5);
    struct sl_load_item item;
    uint64_t end = 0;
    for (size_t i = 0; i < sl_load_items(other); i++) {
        assert_int_equal(sl_load_item(other, i, &item), 0);
        assert_string_equal(item.file, "all");
        assert_true(item.offset > end);   // one behind the other
        end = item.offset + item.bytes - 1;
    }
    // The parameters' file is no file of all variables.
    assert_true(sl_io_load_persistables_with(other, at("p"), net.main, &from, &report, &err) < 0);
    api_net_says(&err, "all");
    sl_executor_free(other);
}

static void test_api_vars_report_items(void **state)
{
    (void)state;
    good(sl_io_save_persistables(exe, at("m"), net.main, &err));
    put_file("m/notes.txt", "mine");
    const char *except[] = {"learning_*", "*velocity*"};
    struct sl_load_options options = sl_load_defaults();
    options.except = except;
    options.except_count = 2;
    struct sl_load_report report;
    struct sl_load_item item;
    assert_int_equal(sl_load_items(exe), 0);
    good(sl_io_load_persistables_with(exe, at("m"), net.main, &options, &report, &err));
    assert_int_equal(sl_load_items(exe), 6);
    int fates[SL_EXTRA + 1] = {0};
    for (size_t i = 0; sl_load_item(exe, i, &item) == 0; i++) {
        fates[item.fate]++;
        if (item.fate != SL_LOADED)
            continue;
        char sum[FSUTIL_SHA256_HEX], path[128];
        snprintf(path, sizeof path, "m/%s", item.file);
        good(fsutil_sha256_file(at(path), sum, NULL, NULL));
        assert_string_equal(item.sha256, sum);
        assert_true(item.bytes > 0 && item.offset > 0 && item.step == -1);
    }
    assert_true(fates[SL_LOADED] == 2 && fates[SL_EXCEPTED] == 3 && fates[SL_EXTRA] == 1);
    char *json = sl_load_json(exe);
    assert_non_null(strstr(json, "\"fate\":\"left out\""));
    assert_non_null(strstr(json, "\"extra\":1"));
    sl_free(json);
    // A refused load is told item by item, too, and partial takes what fits.
    assert_int_equal(unlink(at("m/fc_0.w_0")), 0);
    assert_int_equal(sl_io_load_persistables(exe, at("m"), net.main, &report, &err),
                     SL_ERR_MISMATCH);
    bool missing = false;
    for (size_t i = 0; sl_load_item(exe, i, &item) == 0; i++)
        missing = missing || (item.fate == SL_MISSING && strcmp(item.name, "fc_0.w_0") == 0);
    assert_true(missing);
    options = sl_load_defaults();
    options.partial = true;
    good(sl_io_load_persistables_with(exe, at("m"), net.main, &options, &report, &err));
    assert_true(report.loaded == 4 && report.missing == 1);
}

static void test_api_vars_fluid_save_and_load(void **state)
{
    (void)state;
    struct sl_load_report report;
    good(sl_io_save(exe, net.main, at("d/model"), &err));
    assert_true(has("d/model.pdparams") && has("d/model.pdopt") && has("d/model.pdmodel"));
    sl_executor *other = sl_executor_new(SL_CPU);
    api_net_start(&net, other);
    good(sl_io_load(other, net.main, at("d/model.pdopt"), NULL, &report, &err));
    assert_int_equal(report.loaded, 5);
    assert_int_equal(report.extra, 0);
    static const char *const all[] = {"fc_0.w_0", "fc_0.b_0", "fc_0.w_0_velocity_0",
                                      "fc_0.b_0_velocity_0", "learning_rate_0"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_true(first_value(other, all[i]) == first_value(exe, all[i]));
    sl_program *model = sl_program_load(at("d/model.pdmodel"), &err);
    assert_true(model != NULL && sl_program_equal(model, net.main));
    sl_program_free(model);
    // A test program needs no optimizer state.
    assert_int_equal(unlink(at("d/model.pdopt")), 0);
    assert_int_equal(sl_io_load(other, net.main, at("d/model"), NULL, &report, &err),
                     SL_ERR_MISMATCH);
    api_net_says(&err, "model.pdopt");
    // Folders and combined files of save_persistables are read, too.
    good(sl_io_save_persistables(exe, at("m"), net.main, &err));
    good(sl_io_load(other, net.main, at("m"), NULL, &report, &err));
    assert_int_equal(report.loaded, 5);
    const struct sl_save_options to = {.filename = "all"};
    good(sl_io_save_persistables_with(exe, at("c"), net.main, &to, &err));
    good(sl_io_load(other, net.main, at("c/all"), NULL, &report, &err));
    assert_int_equal(report.loaded, 5);
    assert_int_equal(sl_io_load(other, net.main, at("none/model"), NULL, &report, &err),
                     SL_ERR_NOT_FOUND);
    assert_int_equal(sl_io_load(other, net.main, "", NULL, &report, &err), SL_ERR_INVALID);
    assert_int_equal(sl_io_save(exe, net.main, "d/", &err), SL_ERR_INVALID);
    sl_executor_free(other);
}

// Nothing is half-loaded from a damaged pickle, with a manifest or without.
static void test_api_vars_damaged_pickles(void **state)
{
    (void)state;
    good(sl_io_save(exe, net.main, at("d/model"), &err));
    struct buf data;
    buf_init(&data, 0);
    assert_int_equal(fsutil_read(at("d/model.pdopt"), 1 << 20, &data, NULL), 0);
    float before = first_value(exe, "fc_0.b_0");
    for (int plain = 0; plain < 2; plain++) {
        for (size_t n = 0; n < data.bytes; n += 7) {
            put_bytes("d/model.pdopt", data.data, n);
            assert_true(sl_io_load(exe, net.main, at("d/model"), NULL, NULL, &err) < 0);
            api_net_says(&err, "model.pdopt");
            data.data[n] ^= 1;
            put_bytes("d/model.pdopt", data.data, data.bytes);
            data.data[n] ^= 1;
            int rc = sl_io_load(exe, net.main, at("d/model"), NULL, NULL, &err);
            assert_true(rc < 0 || plain);
        }
        put_bytes("d/model.pdopt", data.data, data.bytes);
        unlink(at("d/sluice.manifest.json"));
    }
    good(sl_io_load(exe, net.main, at("d/model"), NULL, NULL, &err));
    assert_true(first_value(exe, "fc_0.b_0") == before);
    buf_deinit(&data);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_api_vars_by_predicate_and_by_name),
        CASE(test_api_vars_that_cannot_be),
        CASE(test_api_vars_in_one_file),
        CASE(test_api_vars_report_items),
        CASE(test_api_vars_fluid_save_and_load),
        CASE(test_api_vars_damaged_pickles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
