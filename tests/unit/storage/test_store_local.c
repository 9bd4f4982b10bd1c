// SPDX-License-Identifier: Apache-2.0
// Folders appear whole or not at all, and what is not ours is never lost.
#include "tests/unit/storage/store_fixture.h"

#define OLD_MARK "ours\na\nb\ngone\n"
#define NEW_MARK "ours\na\nb\nsub/c\n"
#define BUSY_MARK "busy"

static struct store_options options;

static int setup(void **state)
{
    options = (struct store_options){STORE_REPLACE, MARK, mark_is_ours, BUSY_MARK, &failing_io};
    fail_at = calls = 0;
    fail_errno = EIO;
    fail_short = false;
    return fixture_setup(state);
}

static int put(struct store_writer *writer, const char *name, const char *text, struct err *err)
{
    int rc = store_put_open(writer, name, err);
    if (!rc)
        rc = store_put_write(writer, text, strlen(text), err);
    return rc ? rc : store_put_close(writer, err);
}

// Files a, b and sub/c with text "new <name>".
static int save_new(const char *folder, struct err *err)
{
    struct store_writer *writer = NULL;
    int rc = store_begin(at(folder), &options, &writer, err);
    if (!rc)
        rc = put(writer, "a", "new a", err);
    if (!rc)
        rc = put(writer, "b", "new b", err);
    if (!rc)
        rc = put(writer, "sub/c", "new c", err);
    if (!rc)
        rc = store_commit(writer, NEW_MARK, strlen(NEW_MARK), err);
    store_end(writer);
    return rc;
}

static void make_old(void)
{
    mkdir(at("f"), 0750);
    put_file("f/a", "old a");
    put_file("f/b", "old b");
    put_file("f/gone", "old gone");
    put_file("f/" MARK, OLD_MARK);
}

static void assert_old(void)
{
    assert_string_equal(text_of("f/a"), "old a");
    assert_string_equal(text_of("f/b"), "old b");
    assert_string_equal(text_of("f/gone"), "old gone");
    assert_string_equal(text_of("f/" MARK), OLD_MARK);
    assert_false(fsutil_is_dir(at("f/sub")));
}

static void assert_new(void)
{
    assert_string_equal(text_of("f/a"), "new a");
    assert_string_equal(text_of("f/b"), "new b");
    assert_string_equal(text_of("f/sub/c"), "new c");
    assert_string_equal(text_of("f/" MARK), NEW_MARK);
}

// Nothing but f is left in the root.
static void assert_clean(const char *folder, size_t expected)
{
    struct str_list names = {0};
    assert_int_equal(fsutil_list(folder, &names, NULL), 0);
    if (names.count != expected)
        for (size_t i = 0; i < names.count; i++)
            print_message("%s\n", names.items[i]);
    assert_int_equal(names.count, expected);
    str_list_deinit(&names);
}

static void test_a_new_folder_appears_whole(void **state)
{
    (void)state;
    struct err err = {0};
    fail_short = true;
    assert_int_equal(save_new("f", &err), 0);
    assert_new();
    assert_clean(root_path, 1);
    assert_int_equal(save_new("deep/er/f", &err), 0);
    assert_string_equal(text_of("deep/er/f/sub/c"), "new c");
}

static void test_nothing_is_visible_before_commit(void **state)
{
    (void)state;
    struct err err = {0};
    struct store_writer *writer;
    assert_int_equal(store_begin(at("f"), &options, &writer, &err), 0);
    assert_int_equal(put(writer, "a", "new a", &err), 0);
    assert_false(fsutil_is_dir(at("f")));
    store_end(writer);
    assert_clean(root_path, 0);
    store_end(NULL);
}

static void test_our_older_folder_is_replaced(void **state)
{
    (void)state;
    struct err err = {0};
    struct stat st;
    make_old();
    chmod(at("f"), 0750);
    assert_int_equal(save_new("f", &err), 0);
    assert_new();
    assert_false(fsutil_is_file(at("f/gone")));
    assert_int_equal(stat(at("f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0750);
    assert_clean(root_path, 1);
}

static void test_a_folder_that_is_not_ours_stays(void **state)
{
    (void)state;
    struct err err = {0};
    mkdir(at("f"), 0777);
    put_file("f/thesis.tex", "years of work");
    assert_int_equal(save_new("f", &err), SL_EEXIST);
    assert_non_null(strstr(err.text, "not ours"));
    assert_string_equal(text_of("f/thesis.tex"), "years of work");
    put_file("f/" MARK, "something else");
    assert_true(save_new("f", &err) < 0);
    assert_string_equal(text_of("f/thesis.tex"), "years of work");
    put_file("plain", "");
    assert_int_equal(save_new("plain", &err), SL_EEXIST);
    assert_clean(root_path, 2);
    // An empty folder is nobody's.
    mkdir(at("empty"), 0777);
    assert_int_equal(save_new("empty", &err), 0);
    assert_string_equal(text_of("empty/a"), "new a");
}

static void test_foreign_files_in_our_folder_are_carried_over(void **state)
{
    (void)state;
    struct err err = {0};
    make_old();
    put_file("f/notes.txt", "mine");
    assert_int_equal(symlink("nowhere", at("f/link")), 0);
    assert_int_equal(save_new("f", &err), 0);
    assert_new();
    assert_string_equal(text_of("f/notes.txt"), "mine");
    char target[16];
    assert_int_equal(readlink(at("f/link"), target, sizeof target), 7);
    assert_false(fsutil_is_file(at("f/gone")));
    assert_clean(root_path, 1);
}

static void test_into_keeps_every_file_it_does_not_write(void **state)
{
    (void)state;
    struct err err = {0};
    options.mode = STORE_INTO;
    mkdir(at("f"), 0777);
    put_file("f/a", "old a");
    put_file("f/other", "other program's");
    assert_int_equal(save_new("f", &err), 0);
    assert_new();
    assert_string_equal(text_of("f/other"), "other program's");
    // Ours and listed, but not written now: stays as well.
    put_file("f/gone", "listed");
    put_file("f/" MARK, OLD_MARK);
    assert_int_equal(save_new("f", &err), 0);
    assert_string_equal(text_of("f/gone"), "listed");
    assert_clean(root_path, 1);
}

static void test_foreign_sub_folders_are_not_moved(void **state)
{
    (void)state;
    struct err err = {0};
    struct stat before, after;
    options.mode = STORE_INTO;
    mkdir(at("f"), 0777);
    mkdir(at("f/epoch_1"), 0777);
    put_file("f/epoch_1/x", "theirs");
    put_file("f/a", "old a");
    assert_int_equal(stat(at("f"), &before), 0);
    assert_int_equal(save_new("f", &err), 0);
    assert_new();
    assert_string_equal(text_of("f/epoch_1/x"), "theirs");
    assert_int_equal(stat(at("f"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_clean(root_path, 1);
    assert_clean(at("f"), 5);
    // REPLACE one by one removes what the old mark lists.
    options.mode = STORE_REPLACE;
    put_file("f/gone", "old gone");
    put_file("f/" MARK, OLD_MARK);
    assert_int_equal(save_new("f", &err), 0);
    assert_new();
    assert_false(fsutil_is_file(at("f/gone")));
    assert_string_equal(text_of("f/epoch_1/x"), "theirs");
}

static void test_any_failing_call_leaves_old_or_new(void **state)
{
    (void)state;
    static const int numbers[] = {EIO, ENOSPC, EDQUOT};
    for (size_t mode = 0; mode < 2; mode++) {
        long n = 1;
        for (bool failed = true; failed; n++) {
            struct err err = {0};
            make_old();
            options.mode = mode ? STORE_INTO : STORE_REPLACE;
            put_file("f/notes.txt", "mine");
            fail_at = n;
            calls = 0;
            fail_errno = numbers[n % 3];
            int rc = save_new("f", &err);
            failed = calls >= n;
            assert_int_equal(rc < 0, failed);
            // Only the flush of the parent comes after the rename.
            bool is_new = strcmp(text_of("f/a"), "new a") == 0;
            if (is_new)
                assert_new();
            else
                assert_old();
            if (rc) {
                assert_non_null(strstr(err.text, strerror(fail_errno)));
                assert_true(is_new == (n == 13));
            }
            assert_string_equal(text_of("f/notes.txt"), "mine");
            assert_clean(root_path, 1);
            assert_int_equal(fsutil_remove_tree(at("f"), NULL), 0);
        }
        assert_int_equal(n, 15);
    }
}

static void test_one_by_one_failures_are_marked_busy(void **state)
{
    (void)state;
    options.mode = STORE_INTO;
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct err err = {0};
        make_old();
        mkdir(at("f/other"), 0777);
        put_file("f/other/x", "theirs");
        fail_at = n;
        calls = 0;
        int rc = save_new("f", &err);
        failed = calls >= n;
        assert_int_equal(rc < 0, failed);
        bool old = strcmp(text_of("f/a"), "old a") == 0 && strcmp(text_of("f/b"), "old b") == 0;
        bool new = strcmp(text_of("f/a"), "new a") == 0 && strcmp(text_of("f/b"), "new b") == 0 &&
                   strcmp(text_of("f/sub/c"), "new c") == 0;
        const char *mark = text_of("f/" MARK);
        if (strcmp(mark, OLD_MARK) == 0)
            assert_true(old);
        else if (strcmp(mark, NEW_MARK) == 0)
            assert_true(new);
        else
            assert_string_equal(mark, BUSY_MARK);
        assert_string_equal(text_of("f/other/x"), "theirs");
        fsutil_remove_tree(at("f"), NULL);
    }
}

static void test_leftovers_of_a_crash_are_removed(void **state)
{
    (void)state;
    struct err err = {0};
    mkdir(at(".f.sluice-0123"), 0777);
    put_file(".f.sluice-0123/a", "half");
    mkdir(at(".g.sluice-0123"), 0777);
    assert_int_equal(save_new("f", &err), 0);
    assert_false(fsutil_is_dir(at(".f.sluice-0123")));
    assert_true(fsutil_is_dir(at(".g.sluice-0123")));
    // A writer that lives keeps its folder.
    struct store_writer *first;
    assert_int_equal(store_begin(at("h"), &options, &first, &err), 0);
    assert_int_equal(put(first, "a", "first", &err), 0);
    assert_int_equal(save_new("h", &err), 0);
    assert_int_equal(put(first, "b", "first", &err), 0);
    store_end(first);
    assert_string_equal(text_of("h/a"), "new a");
}

static int rename_without_exchange(int from_dir, const char *from, int to_dir, const char *to,
                                   unsigned flags)
{
    if (flags & RENAME_EXCHANGE) {
        errno = EINVAL;
        return -1;
    }
    return test_rename(from_dir, from, to_dir, to, flags);
}

static void test_file_systems_that_cannot_exchange(void **state)
{
    (void)state;
    static const struct store_io io = {test_write, test_fsync, rename_without_exchange};
    options.io = &io;
    bool failed = true;
    for (long n = 1; failed; n++) {
        struct err err = {0};
        make_old();
        put_file("f/notes.txt", "mine");
        fail_at = n;
        calls = 0;
        int rc = save_new("f", &err);
        failed = calls >= n;
        assert_int_equal(rc < 0, failed);
        if (strcmp(text_of("f/a"), "new a") == 0)
            assert_new();
        else
            assert_old();
        assert_string_equal(text_of("f/notes.txt"), "mine");
        assert_clean(root_path, 1);
        fsutil_remove_tree(at("f"), NULL);
    }
}

static void test_a_parent_that_is_not_ours_to_write(void **state)
{
    (void)state;
    struct err err = {0};
    if (geteuid() != 0) {
        print_message("skipped: needs root\n");
        skip();
    }
    make_old();
    assert_int_equal(chmod(root_path, 0755), 0);
    assert_int_equal(chown(at("f"), 65534, 65534), 0);
    assert_int_equal(seteuid(65534), 0);
    int rc = save_new("f", &err);
    assert_int_equal(seteuid(0), 0);
    if (rc)
        fail_msg("%s", err.text);
    assert_new();
    assert_clean(at("f"), 4);
}

static void test_names_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "/etc/x", "../x",  "a/../../x", "a//b", "a/",
                                      ".",    "..",     MARK,    MARK ".tmp", ".sluice-x"};
    struct err err = {0};
    struct store_writer *writer;
    assert_int_equal(store_begin(at("f"), &options, &writer, &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(store_put_open(writer, bad[i], &err) < 0);
    assert_int_equal(put(writer, "a", "x", &err), 0);
    assert_int_equal(store_put_open(writer, "a", &err), SL_EEXIST);
    assert_true(store_put_open(writer, "a/b", &err) < 0);
    assert_int_equal(store_put_open(writer, "c", &err), 0);
    assert_int_equal(store_put_open(writer, "d", &err), SL_EUSAGE);
    assert_int_equal(store_commit(writer, "ours\n", 5, &err), SL_EUSAGE);
    store_end(writer);
    assert_clean(root_path, 0);
}

static void test_the_target_may_be_a_link(void **state)
{
    (void)state;
    struct err err = {0};
    make_old();
    assert_int_equal(symlink("f", at("models")), 0);
    assert_int_equal(save_new("models", &err), 0);
    assert_new();
    struct stat st;
    assert_int_equal(lstat(at("models"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    // A trailing slash and a relative path are fine as well.
    char cwd[256];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(root_path), 0);
    struct store_writer *writer;
    assert_int_equal(store_begin("rel/", &options, &writer, &err), 0);
    assert_int_equal(put(writer, "a", "x", &err), 0);
    assert_int_equal(store_commit(writer, "ours\n", 5, &err), 0);
    store_end(writer);
    assert_int_equal(chdir(cwd), 0);
    assert_string_equal(text_of("rel/a"), "x");
}

static void test_only_our_folders_are_removed(void **state)
{
    (void)state;
    struct err err = {0};
    make_old();
    put_file("f/notes.txt", "mine");
    assert_int_equal(store_remove(at("f"), &options, &err), SL_EREFUSED);
    assert_non_null(strstr(err.text, "notes.txt"));
    assert_old();
    unlink(at("f/notes.txt"));
    assert_int_equal(store_remove(at("f"), &options, &err), 0);
    assert_clean(root_path, 0);
    mkdir(at("f"), 0777);
    assert_int_equal(store_remove(at("f"), &options, &err), SL_EREFUSED);
    assert_true(store_remove(at("none"), &options, &err) < 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_new_folder_appears_whole),
        TEST(test_nothing_is_visible_before_commit),
        TEST(test_our_older_folder_is_replaced),
        TEST(test_a_folder_that_is_not_ours_stays),
        TEST(test_foreign_files_in_our_folder_are_carried_over),
        TEST(test_into_keeps_every_file_it_does_not_write),
        TEST(test_foreign_sub_folders_are_not_moved),
        TEST(test_any_failing_call_leaves_old_or_new),
        TEST(test_one_by_one_failures_are_marked_busy),
        TEST(test_leftovers_of_a_crash_are_removed),
        TEST(test_file_systems_that_cannot_exchange),
        TEST(test_a_parent_that_is_not_ours_to_write),
        TEST(test_names_are_checked),
        TEST(test_the_target_may_be_a_link),
        TEST(test_only_our_folders_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
