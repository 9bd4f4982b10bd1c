// SPDX-License-Identifier: Apache-2.0
// Files: bounded reads, durable writes, nothing outside the folder, digests.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/limits.h"
#include "common/base/mem.h"

static char root[128];

static int setup(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.80s/fsutil test XXXXXX", base ? base : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return fsutil_remove_tree(root, NULL);
}

static char *at(const char *name)
{
    return fsutil_join(root, name);
}

static void test_fsutil_read_is_bounded(void **state)
{
    (void)state;
    struct err err = {0};
    struct buf buf;
    buf_init(&buf, 0);
    char *path = at("small");
    assert_int_equal(fsutil_write_atomic(path, "hello", 5, &err), 0);
    assert_int_equal(fsutil_read(path, 5, &buf, &err), 0);
    assert_string_equal(buf_text(&buf), "hello");
    assert_int_equal(fsutil_read(path, 4, &buf, &err), SL_ELIMIT);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(fsutil_read(root, 100, &buf, &err), SL_EINVAL);
    mem_fail_nth(1);
    buf_deinit(&buf);
    assert_int_equal(fsutil_read(path, 5, &buf, &err), SL_ENOMEM);
    mem_free(path);
    path = at("absent");
    assert_int_equal(fsutil_read(path, 5, &buf, &err), SL_ENOENT);
    assert_non_null(strstr(err.text, "absent"));
    mem_free(path);
    buf_deinit(&buf);
}

static void test_fsutil_write_atomic_replaces_and_leaves_nothing_beside(void **state)
{
    (void)state;
    struct err err = {0};
    struct buf buf;
    struct str_list names = {0};
    buf_init(&buf, 0);
    char *dir = at("atomic"), *path = at("atomic/LATEST");
    assert_int_equal(fsutil_mkdirs(dir, &err), 0);
    assert_int_equal(fsutil_write_atomic(path, "one", 3, &err), 0);
    assert_int_equal(fsutil_write_atomic(path, "", 0, &err), 0);
    assert_int_equal(fsutil_write_atomic(path, "three", 5, &err), 0);
    assert_int_equal(fsutil_read(path, 100, &buf, &err), 0);
    assert_string_equal(buf_text(&buf), "three");
    assert_int_equal(fsutil_list(dir, &names, &err), 0);
    assert_int_equal(names.count, 1);
    char *bad = at("no/such/folder/x");
    assert_int_equal(fsutil_write_atomic(bad, "x", 1, &err), SL_ENOENT);
    mem_free(bad);
    mem_free(dir);
    mem_free(path);
    buf_deinit(&buf);
    str_list_deinit(&names);
}

static void test_fsutil_write_atomic_never_replaces_what_is_no_file(void **state)
{
    (void)state;
    struct err err = {0};
    struct stat kind;
    char *link_path = at("to_full"), *pipe_path = at("pipe"), text[3] = "";
    assert_int_equal(symlink("/dev/full", link_path), 0);
    assert_int_equal(fsutil_write_atomic(link_path, "x", 1, &err), SL_EIO);
    assert_int_equal(lstat(link_path, &kind), 0);
    assert_true(S_ISLNK(kind.st_mode));
    unlink(link_path);
    assert_int_equal(symlink("linked", link_path), 0);
    assert_int_equal(fsutil_write_atomic(link_path, "long", 4, &err), 0);
    assert_int_equal(fsutil_write_atomic(link_path, "ab", 2, &err), 0);
    assert_int_equal(stat(link_path, &kind), 0);
    assert_int_equal(kind.st_size, 2);
    assert_int_equal(lstat(link_path, &kind), 0);
    assert_true(S_ISLNK(kind.st_mode));
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    int fd = open(pipe_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fsutil_write_atomic(pipe_path, "ab", 2, &err), 0);
    assert_int_equal(read(fd, text, 2), 2);
    assert_string_equal(text, "ab");
    assert_int_equal(lstat(pipe_path, &kind), 0);
    assert_true(S_ISFIFO(kind.st_mode));
    close(fd);
    mem_free(link_path);
    mem_free(pipe_path);
}

static void test_fsutil_mkdirs_list_and_remove_tree(void **state)
{
    (void)state;
    struct err err = {0};
    struct str_list names = {0};
    char *deep = at("tree/b/c//d"), *tree = at("tree"), *kept = at("kept"),
         *link_path = at("tree/link");
    assert_int_equal(fsutil_mkdirs(deep, &err), 0);
    assert_int_equal(fsutil_mkdirs(deep, &err), 0);
    assert_true(fsutil_is_dir(deep));
    char *inside = at("kept/inside");
    assert_int_equal(fsutil_mkdirs(kept, &err), 0);
    assert_int_equal(fsutil_write_atomic(inside, "x", 1, &err), 0);
    assert_true(fsutil_is_file(inside) && !fsutil_is_file(kept) && !fsutil_is_dir(inside));
    assert_int_equal(fsutil_mkdirs(inside, &err), SL_EEXIST);
    assert_int_equal(symlink(kept, link_path), 0);
    char *a = at("tree/a");
    assert_int_equal(fsutil_write_atomic(a, "x", 1, &err), 0);
    assert_int_equal(fsutil_list(tree, &names, &err), 0);
    char *joined = str_list_join(&names, " ");
    assert_string_equal(joined, "a b link");
    assert_int_equal(fsutil_remove_tree(tree, &err), 0);
    assert_false(fsutil_is_dir(tree));
    assert_true(fsutil_is_file(inside));
    assert_int_equal(fsutil_remove_tree(tree, &err), 0);
    assert_int_equal(fsutil_list(tree, &names, &err), SL_ENOENT);
    char *all[] = {deep, tree, kept, link_path, inside, a, joined};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
    str_list_deinit(&names);
}

static void test_fsutil_check_relative(void **state)
{
    (void)state;
    char long_part[300], long_name[LIMIT_PATH_BYTES + 10];
    memset(long_part, 'a', 256);
    long_part[256] = 0;
    for (size_t i = 0; i + 1 < sizeof long_name; i++)
        long_name[i] = i % 2 ? '/' : 'a';
    long_name[sizeof long_name - 1] = 0;
    const char *const good[] = {"fc_0.w_0", "dir/w2", "a..b",       "..a",
                                ".hidden",  "x@GRAD", long_part + 1};
    const char *const bad[] = {"",    "/etc/passwd", "..",   "../x",    "a/../b",  "a/..", ".",
                               "a/.", "a//b",        "a/",   "./a",     long_part, long_name};
    struct err err = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(fsutil_check_relative(good[i], &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(fsutil_check_relative(bad[i], &err), SL_EINVAL);
}

static void check_beneath(bool without_openat2)
{
    struct err err = {0};
    fsutil_without_openat2(without_openat2);
    char *dir = at("beneath"), *outside = at("outside"), *secret = at("outside/secret");
    assert_int_equal(fsutil_mkdirs(dir, &err), 0);
    assert_int_equal(fsutil_mkdirs(outside, &err), 0);
    assert_int_equal(fsutil_write_atomic(secret, "s", 1, &err), 0);
    char *dir_link = at("beneath/dirlink"), *file_link = at("beneath/filelink");
    char *inner_link = at("beneath/innerlink"), *inner = at("beneath/inner");
    (void)!symlink(outside, dir_link);
    (void)!symlink(secret, file_link);
    (void)!symlink("inner", inner_link);

    int create = O_WRONLY | O_CREAT | O_TRUNC;
    int fd = fsutil_open_beneath(dir, "sub/deeper/w2", create, 0644, &err);
    assert_true(fd >= 0);
    assert_int_equal(fsutil_write_all(fd, "data", 4, "w2", &err), 0);
    close(fd);
    fd = fsutil_open_beneath(dir, "sub/deeper/w2", O_RDONLY, 0, &err);
    assert_true(fd >= 0);
    char got[4];
    assert_int_equal(fsutil_pread_all(fd, got, 4, 0, "w2", &err), 0);
    assert_memory_equal(got, "data", 4);
    assert_int_equal(fsutil_pread_all(fd, got, 4, 1, "w2", &err), SL_EFORMAT);
    close(fd);

    const struct {
        const char *name;
        int code;
    } rows[] = {
        {"../outside/secret", SL_EINVAL},    {"/etc/passwd", SL_EINVAL},
        {"dirlink/secret", SL_EREFUSED},     {"filelink", SL_EREFUSED},
        {"sub/../../outside/x", SL_EINVAL},  {"dirlink/new/file", SL_EREFUSED},
        {"innerlink", SL_EREFUSED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(fsutil_open_beneath(dir, rows[i].name, create, 0644, &err), rows[i].code);
        int reading = fsutil_open_beneath(dir, rows[i].name, O_RDONLY, 0, &err);
        assert_true(reading == rows[i].code);
    }
    assert_false(fsutil_is_file(inner));
    assert_int_equal(fsutil_open_beneath(dir, "absent", O_RDONLY, 0, &err), SL_ENOENT);
    assert_int_equal(fsutil_open_beneath(dir, "absent/x", O_RDONLY, 0, &err), SL_ENOENT);
    assert_int_equal(fsutil_open_beneath(outside, "secret/x", create, 0644, &err), SL_EREFUSED);
    char *digest_of = at("outside/secret");
    uint64_t bytes = 0;
    char hex[FSUTIL_SHA256_HEX];
    assert_int_equal(fsutil_sha256_file(digest_of, hex, &bytes, &err), 0);
    assert_int_equal(bytes, 1);   // nobody wrote through a link
    char *all[] = {dir, outside, secret, dir_link, file_link, inner_link, inner, digest_of};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
    fsutil_without_openat2(false);
}

static void test_fsutil_open_beneath_by_openat2(void **state)
{
    (void)state;
    check_beneath(false);
}

static void test_fsutil_open_beneath_by_walking(void **state)
{
    (void)state;
    check_beneath(true);
}

static void test_fsutil_sha256(void **state)
{
    (void)state;
    const char *want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct err err = {0};
    char hex[FSUTIL_SHA256_HEX];
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    fsutil_sha256_add(sha, "a", 1);
    fsutil_sha256_add(sha, "", 0);
    fsutil_sha256_add(sha, "bc", 2);
    fsutil_sha256_end(sha, hex);
    assert_string_equal(hex, want);
    char *path = at("abc");
    uint64_t bytes;
    assert_int_equal(fsutil_write_atomic(path, "abc", 3, &err), 0);
    memset(hex, 0, sizeof hex);
    assert_int_equal(fsutil_sha256_file(path, hex, &bytes, &err), 0);
    assert_string_equal(hex, want);
    assert_int_equal(bytes, 3);
    mem_free(path);
    assert_int_equal(fsutil_sha256_file(root, hex, NULL, &err), SL_EIO);
}

static void test_fsutil_join(void **state)
{
    (void)state;
    const char *const rows[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *path = fsutil_join(rows[i][0], rows[i][1]);
        assert_string_equal(path, rows[i][2]);
        mem_free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fsutil_read_is_bounded),
        cmocka_unit_test(test_fsutil_write_atomic_replaces_and_leaves_nothing_beside),
        cmocka_unit_test(test_fsutil_write_atomic_never_replaces_what_is_no_file),
        cmocka_unit_test(test_fsutil_mkdirs_list_and_remove_tree),
        cmocka_unit_test(test_fsutil_check_relative),
        cmocka_unit_test(test_fsutil_open_beneath_by_openat2),
        cmocka_unit_test(test_fsutil_open_beneath_by_walking),
        cmocka_unit_test(test_fsutil_sha256),
        cmocka_unit_test(test_fsutil_join),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
