// SPDX-License-Identifier: Apache-2.0
// A mark that lists names line by line, and file calls of which the N-th fails.
#pragma once

#include "tests/unit/storage/temp_folder.h"

#include <errno.h>
#include <fcntl.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/storage/store.h"

#define MARK "MARK"

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
