// SPDX-License-Identifier: Apache-2.0
// The store's interface: dispatch by scheme, reading, listing, single files.
#include "tests/unit/storage/store_fixture.h"

static const struct store_options options = {
    .mode = STORE_REPLACE, .mark = MARK, .is_ours = mark_is_ours, .io = &failing_io};

static void test_scheme_chooses_the_store(void **state)
{
    (void)state;
    struct store_writer *writer;
    struct err err = {0};
    assert_int_equal(store_begin("hdfs://host/x", &options, &writer, &err), SL_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "hdfs://host/x"));
    assert_int_equal(store_begin("", &options, &writer, &err), SL_EINVAL);
    assert_int_equal(store_begin("file://", &options, &writer, &err), SL_EINVAL);
    assert_false(store_is_folder("s3://bucket"));

    char uri[128];
    snprintf(uri, sizeof uri, "file://%s/folder", root_path);
    assert_int_equal(store_begin(uri, &options, &writer, &err), 0);
    assert_int_equal(store_put_open(writer, "a", &err), 0);
    assert_int_equal(store_put_write(writer, "xyz", 3, &err), 0);
    assert_int_equal(store_put_close(writer, &err), 0);
    assert_int_equal(store_commit(writer, "ours\na\n", 7, &err), 0);
    store_end(writer);
    assert_string_equal(text_of("folder/a"), "xyz");
    assert_true(store_is_folder(uri));
}

static void test_reading_stays_inside_the_folder(void **state)
{
    (void)state;
    struct store_file *file;
    struct err err = {0};
    char data[8];
    put_file("secret", "secret");
    mkdir(at("d"), 0777);
    put_file("d/a", "hello");
    assert_int_equal(symlink("../secret", at("d/link")), 0);
    assert_int_equal(mkfifo(at("d/pipe"), 0666), 0);
    const char *d = at("d");
    assert_int_equal(store_open(d, "a", &file, &err), 0);
    assert_int_equal(store_file_bytes(file), 5);
    assert_int_equal(store_file_read(file, 1, data, 4, &err), 0);
    assert_memory_equal(data, "ello", 4);
    assert_int_equal(store_file_read(file, 3, data, 3, &err), SL_EFORMAT);
    assert_int_equal(store_file_read(file, UINT64_MAX, data, 3, &err), SL_EFORMAT);
    store_file_close(file);
    assert_true(store_open(d, "../secret", &file, &err) < 0);
    assert_true(store_open(d, "link", &file, &err) < 0);
    assert_true(store_open(d, "pipe", &file, &err) < 0);
    assert_int_equal(store_open(d, "none", &file, &err), SL_ENOENT);
    assert_non_null(strstr(err.text, "none"));
    store_file_close(NULL);
}

static void test_listing_is_sorted_and_recursive(void **state)
{
    (void)state;
    struct str_list names = {0}, folders = {0};
    struct err err = {0};
    mkdir(at("d"), 0777);
    mkdir(at("d/sub"), 0777);
    mkdir(at("d/.hidden"), 0777);
    mkdir(at("d/.sluice-left"), 0777);
    put_file("d/b", "");
    put_file("d/a", "");
    put_file("d/sub/c", "");
    put_file("d/.sluice-left/x", "");
    assert_int_equal(store_list(at("d"), &names, &err), 0);
    assert_int_equal(names.count, 3);
    assert_string_equal(names.items[0], "a");
    assert_string_equal(names.items[2], "sub/c");
    assert_int_equal(store_list_folders(at("d"), &folders, &err), 0);
    assert_int_equal(folders.count, 1);
    assert_string_equal(folders.items[0], "sub");
    assert_int_equal(store_list(at("nothing"), &names, &err), SL_ENOENT);
    str_list_deinit(&names);
    str_list_deinit(&folders);
}

static void test_a_single_file_is_replaced_whole_or_not(void **state)
{
    (void)state;
    struct err err = {0};
    const char *long_text = "a much longer text than before\n";
    fail_errno = EIO;
    for (fail_at = 1; fail_at < 6; fail_at++) {
        put_file("LATEST", "old\n");
        calls = 0;
        int rc =
            store_write_file(root_path, "LATEST", long_text, strlen(long_text), &failing_io, &err);
        // Calls: write, fsync, rename, fsync of the folder.
        assert_int_equal(rc < 0, fail_at <= 4);
        assert_string_equal(text_of("LATEST"), fail_at <= 3 ? "old\n" : long_text);
        if (rc)
            assert_non_null(strstr(err.text, root_path));
        assert_false(fsutil_is_file(at(".LATEST.tmp")));
    }
    fail_at = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scheme_chooses_the_store, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_reading_stays_inside_the_folder, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_listing_is_sorted_and_recursive, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_single_file_is_replaced_whole_or_not, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
