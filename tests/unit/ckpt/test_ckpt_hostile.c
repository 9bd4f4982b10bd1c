// SPDX-License-Identifier: Apache-2.0
// Folders that somebody damaged, made up or set a trap in: an error that names file and field,
// nothing loaded, never a crash.
#include "tests/unit/ckpt/saved_fixture.h"

#include <fcntl.h>

static int load(void)
{
    err = (struct err){0};
    return ckpt_load(at("m"), program, scope, NULL, &report, &err);
}

static void says(const char *text)
{
    if (!strstr(err.text, text))
        fail_msg("`%s` does not say `%s`", err.text, text);
}

static bool untouched(void)
{
    struct scope *before = model_scope(5000);
    bool same = same_values(before, scope);
    scope_free(before);
    return same;
}

static void make_plain(void)
{
    assert_int_equal(unlink(at("m/" CKPT_MANIFEST_NAME)), 0);
}

static const struct ckpt_item *item_of(const char *name)
{
    for (size_t i = 0; i < report.items_count; i++)
        if (str_eq(report.items[i].name, name))
            return &report.items[i];
    fail_msg("no item %s", name);
    return NULL;
}

static void test_the_sums_are_guarded_too(void **state)
{
    (void)state;
    const char *name = "m/" CKPT_SUMS_NAME;
    struct buf data;
    buf_init(&data, 0);
    assert_int_equal(fsutil_read(at(name), 1 << 20, &data, &err), 0);
    for (size_t n = 0; n < data.bytes; n++) {
        data.data[n] ^= (uint8_t)(1 << n % 8);
        put_bytes(name, data.data, data.bytes);
        data.data[n] ^= (uint8_t)(1 << n % 8);
        assert_int_equal(load(), SL_ECORRUPT);
        says(CKPT_SUMS_NAME);
        put_bytes(name, data.data, n);
        assert_int_equal(load(), SL_ECORRUPT);
        says(CKPT_SUMS_NAME);
    }
    assert_int_equal(unlink(at(name)), 0);
    assert_int_equal(load(), SL_ECORRUPT);
    says(CKPT_SUMS_NAME);
    assert_true(untouched());
    put_bytes(name, data.data, data.bytes);
    assert_int_equal(load(), 0);
    buf_deinit(&data);
}

// In a plain folder every cut and every change of a length, a version, a type or a shape is found;
// a changed value cannot be, and the report says so of the file.
static void test_plain_folders_have_no_checksum_and_say_so(void **state)
{
    (void)state;
    make_plain();
    struct buf data;
    buf_init(&data, 0);
    assert_int_equal(fsutil_read(at("m/w"), 1 << 20, &data, &err), 0);
    size_t header = data.bytes - 7 * 3 * 4;
    for (size_t n = 0; n < data.bytes; n++) {
        put_bytes("m/w", data.data, n);
        assert_true(load() < 0);
        says("m/w");
    }
    size_t accepted = 0;
    for (size_t n = 0; n < data.bytes; n++) {
        for (int bit = 0; bit < 8; bit++) {
            data.data[n] ^= (uint8_t)(1 << bit);
            put_bytes("m/w", data.data, data.bytes);
            data.data[n] ^= (uint8_t)(1 << bit);
            int rc = load();
            if (n < header && rc == 0)
                fail_msg("bit %d of byte %zu of the header is not noticed", bit, n);
            if (n < header)
                says("w");
            accepted += rc == 0;
        }
    }
    assert_int_equal(accepted, 8 * (data.bytes - header));
    assert_string_equal(item_of("w")->sha256, "");
    assert_int_equal(item_of("w")->step, -1);
    struct buf text;
    buf_init(&text, 0);
    ckpt_report_table(&report, &text);
    assert_non_null(strstr(buf_text(&text), "no checksum"));
    buf_deinit(&text);
    buf_deinit(&data);
}

struct forged {
    const char *what;
    uint32_t version;
    uint64_t lod;
    uint32_t tensor_version;
    int32_t desc_bytes;
    uint8_t desc[24];
    size_t data_bytes;
    const char *says;
};

// A file of w, which is float32 [7,3], with one thing wrong.
static void test_forged_headers_are_named_by_their_field(void **state)
{
    (void)state;
    static const struct forged all[] = {
        {"version", 7, 0, 0, 6, {8, 5, 16, 7, 16, 3}, 84, "version"},
        {"tensor version", 0, 0, 9, 6, {8, 5, 16, 7, 16, 3}, 84, "version"},
        {"LoD count", 0, 1ull << 60, 0, 6, {8, 5, 16, 7, 16, 3}, 84, "LoD"},
        {"negative length", 0, 0, 0, -1, {8, 5, 16, 7, 16, 3}, 84, "TensorDesc"},
        {"long length", 0, 0, 0, 1 << 30, {8, 5, 16, 7, 16, 3}, 84, "TensorDesc"},
        {"unknown type", 0, 0, 0, 6, {8, 99, 16, 7, 16, 3}, 84, "type"},
        {"no type", 0, 0, 0, 4, {16, 7, 16, 3}, 84, "type"},
        {"zero dim", 0, 0, 0, 6, {8, 5, 16, 0, 16, 3}, 0, "shape [0,3]"},
        {"negative dim",
         0,
         0,
         0,
         15,
         {8, 5, 16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 16, 3},
         84,
         "dim"},
        {"dims that overflow",
         0,
         0,
         0,
         22,
         {8,    5,  16,   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0x7f, 16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
         84,
         "dims"},
        {"large dims", 0, 0, 0, 10, {8, 5, 16, 0x80, 0x80, 0x80, 0x80, 0x10, 16, 3}, 84, "dims"},
        {"data that ends", 0, 0, 0, 6, {8, 5, 16, 7, 16, 3}, 83, "83"},
    };
    make_plain();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const struct forged *f = &all[i];
        static const uint8_t zeros[128];
        struct buf file;
        buf_init(&file, 0);
        buf_append_u32le(&file, f->version);
        buf_append_u64le(&file, f->lod);
        buf_append_u32le(&file, f->tensor_version);
        buf_append_u32le(&file, (uint32_t)f->desc_bytes);
        buf_append(&file, f->desc,
                   f->desc_bytes > 0 && f->desc_bytes < 25 ? (size_t)f->desc_bytes : 6);
        buf_append(&file, zeros, f->data_bytes);
        put_bytes("m/w", file.data, file.bytes);
        buf_deinit(&file);
        if (load() == 0)
            fail_msg("%s: not noticed", f->what);
        says("w: ");
        if (!strstr(err.text, f->says))
            fail_msg("%s: `%s` does not say `%s`", f->what, err.text, f->says);
        assert_true(untouched());
    }
}

static void test_zero_dimensions_come_back(void **state)
{
    (void)state;
    struct dims empty = {.rank = 2, .d = {0, 3}};
    struct program *small = program_new();
    struct scope *from = scope_new(), *to = scope_new();
    struct str_list names = {0};
    struct ckpt_source *source;
    add_var(small, "empty", DTYPE_FP32, &empty, true);
    assert_int_equal(tensor_resize(variable_tensor(scope_var(from, "empty")), DTYPE_FP32, &empty),
                     0);
    str_list_add(&names, "empty");
    assert_int_equal(ckpt_source_scope(from, &names, &source, &err), 0);
    assert_int_equal(ckpt_save(source, at("e"), NULL, NULL, &err), 0);
    assert_int_equal(ckpt_load(at("e"), small, to, NULL, &report, &err), 0);
    assert_int_equal(value_of(to, "empty")->dims.d[1], 3);
    ckpt_source_free(source);
    str_list_deinit(&names);
    program_free(small);
    scope_free(from);
    scope_free(to);
}

static int save_named(const char *name)
{
    struct ckpt_source *source = model_source(saved);
    struct ckpt_var var = source->vars[0];
    var.name = name;
    struct ckpt_source one = {&var, 1, source->read_rows, source->self};
    struct ckpt_save_options into = {.into = true};
    err = (struct err){0};
    int rc = ckpt_save(&one, at("m"), &into, NULL, &err);
    ckpt_source_free(source);
    return rc;
}

static void test_names_that_a_folder_cannot_have(void **state)
{
    (void)state;
    static char longest[256 + 1], longer[257 + 1];
    memset(longest, 'n', 255);
    memset(longer, 'n', 256);
    static const char *const bad[] = {
        "..",
        ".",
        "/w",
        "a/../w",
        "a//w",
        "a/",
        "",
        CKPT_MANIFEST_NAME,
        CKPT_MANIFEST_NAME ".old",
        CKPT_SUMS_NAME,
        longer,
    };
    static const char *const good[] = {
        "dir/sub/w", "a b", "\xe9\x87\x8d\xe3\x81\xbf", longest, "sluice.manifest", "..w",
        "w\\x",      "w\nx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (save_named(bad[i]) == 0)
            fail_msg("case %zu `%s` was saved", i, bad[i]);
        assert_true(err.text[0] != '\0');
        if (load() < 0)
            fail_msg("case %zu: the folder is not what it was: %s", i, err.text);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (save_named(good[i]) < 0)
            fail_msg("case %zu: %s", i, err.text);
        if (load() < 0)
            fail_msg("case %zu: %s", i, err.text);
    }
    // What is not text cannot be in a manifest.
    assert_true(save_named("w\xff") < 0);
    says("UTF-8");
    assert_int_equal(load(), 0);
}

static void test_links_and_things_that_are_no_files(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        assert_int_equal(rename(at("m/w"), at("real")), 0);
        assert_int_equal(symlink(at("real"), at("m/w")), 0);
        assert_true(load() < 0);
        says("w");
        assert_int_equal(unlink(at("m/w")), 0);
        assert_int_equal(mkfifo(at("m/w"), 0600), 0);
        assert_true(load() < 0);
        says("w");
        assert_int_equal(unlink(at("m/w")), 0);
        assert_int_equal(mkdir(at("m/w"), 0700), 0);
        assert_true(load() < 0);
        says("w");
        assert_int_equal(rmdir(at("m/w")), 0);
        assert_int_equal(rename(at("real"), at("m/w")), 0);
        assert_true(untouched());
        if (plain == 0)
            make_plain();
    }
    assert_int_equal(load(), 0);
}

// Root may read everything, so as root this is somebody else's load.
static void test_a_folder_that_may_not_be_read(void **state)
{
    (void)state;
    bool root = geteuid() == 0;
    assert_int_equal(chmod(root_path, 0755), 0);
    assert_int_equal(chmod(at("m"), 0755), 0);
    assert_int_equal(chmod(at("m/w"), 0), 0);
    if (root && seteuid(65534) != 0)
        skip();
    int file = load();
    char said[ERR_TEXT_MAX];
    snprintf(said, sizeof said, "%s", err.text);
    assert_int_equal(root ? seteuid(0) : 0, 0);
    assert_true(file < 0);
    assert_non_null(strstr(said, "m/w"));
    assert_int_equal(chmod(at("m"), 0), 0);
    if (root && seteuid(65534) != 0)
        skip();
    int folder = load();
    assert_int_equal(root ? seteuid(0) : 0, 0);
    assert_true(folder < 0);
    assert_int_equal(chmod(at("m"), 0700), 0);
    assert_true(untouched());
}

// Every write, flush and rename of a save fails once for want of room.
static void test_a_full_disk_leaves_what_was_there(void **state)
{
    (void)state;
    struct scope *other = model_scope(9000);
    fail_errno = ENOSPC;
    bool failed = true;
    for (long n = 1; failed; n++) {
        fail_at = n;
        calls = 0;
        err = (struct err){0};
        int rc = save_model(other, at("m"), 20, true, &failing_io, &err);
        failed = calls >= n;
        fail_at = 0;
        assert_int_equal(rc < 0, failed);
        if (failed) {
            says(strerror(ENOSPC));
            assert_int_equal(load(), 0);
            // Whole, and of one time.
            assert_true(same_values(scope, saved) || same_values(scope, other));
        }
    }
    scope_free(other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_the_sums_are_guarded_too),
        CASE(test_plain_folders_have_no_checksum_and_say_so),
        CASE(test_forged_headers_are_named_by_their_field),
        CASE(test_zero_dimensions_come_back),
        CASE(test_names_that_a_folder_cannot_have),
        CASE(test_links_and_things_that_are_no_files),
        CASE(test_a_folder_that_may_not_be_read),
        CASE(test_a_full_disk_leaves_what_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
