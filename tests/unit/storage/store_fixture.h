// SPDX-License-Identifier: Apache-2.0
// A temporary folder for a test, a mark that lists names line by line, and file calls of which the
// N-th fails.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/storage/store.h"

#define MARK "MARK"

static char root_path[64];

static int fixture_setup(void **state)
{
    (void)state;
    snprintf(root_path, sizeof root_path, "/tmp/store-test-XXXXXX");
    return mkdtemp(root_path) ? 0 : -1;
}

static int fixture_teardown(void **state)
{
    (void)state;
    return fsutil_remove_tree(root_path, NULL);
}

static const char *at(const char *name)
{
    static char text[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(text[next], sizeof text[next], "%s/%s", root_path, name);
    return text[next];
}

static void put_file(const char *name, const char *text)
{
    FILE *file = fopen(at(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

// The file's text; "" when it is not there.
static const char *text_of(const char *name)
{
    static char text[4][4096];
    static int next;
    next = (next + 1) % 4;
    text[next][0] = 0;
    FILE *file = fopen(at(name), "r");
    if (file) {
        size_t n = fread(text[next], 1, sizeof text[next] - 1, file);
        text[next][n] = 0;
        fclose(file);
    }
    return text[next];
}

// A mark is "ours" and then a name a line.
static inline int mark_is_ours(const void *data, size_t bytes, struct str_list *out_names,
                               struct err *err)
{
    const char *text = data, *end = text + bytes;
    if (bytes < 5 || memcmp(text, "ours\n", 5) != 0)
        return err_set(err, SL_EFORMAT, "not a mark");
    for (text += 5; text < end;) {
        const char *line = memchr(text, '\n', (size_t)(end - text));
        assert_non_null(line);
        str_list_addn(out_names, text, (size_t)(line - text));
        text = line + 1;
    }
    return 0;
}

// ---- calls that fail
static long fail_at, calls;
static int fail_errno;
static bool fail_short;

static inline bool fails(void)
{
    calls++;
    if (calls != fail_at)
        return false;
    errno = fail_errno;
    return true;
}

static inline ssize_t test_write(int fd, const void *data, size_t bytes)
{
    if (fails())
        return -1;
    return write(fd, data, fail_short && bytes > 1 ? bytes / 2 : bytes);
}

static inline int test_fsync(int fd)
{
    return fails() ? -1 : fsync(fd);
}

static inline int test_rename(int from_dir, const char *from, int to_dir, const char *to,
                              unsigned flags)
{
    return fails() ? -1 : renameat2(from_dir, from, to_dir, to, flags);
}

static const struct store_io failing_io = {test_write, test_fsync, test_rename};
