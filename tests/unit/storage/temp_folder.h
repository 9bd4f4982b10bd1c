// SPDX-License-Identifier: Apache-2.0
// A temporary folder for a test with little files in it, and the place of the recorded goldens.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fsutil.h"
#include "common/base/str.h"

static char root_path[64];

static inline int fixture_setup(void **state)
{
    (void)state;
    snprintf(root_path, sizeof root_path, "/tmp/sluice-test-XXXXXX");
    return mkdtemp(root_path) ? 0 : -1;
}

static inline int fixture_teardown(void **state)
{
    (void)state;
    return fsutil_remove_tree(root_path, NULL);
}

// The path of name in the folder; four are valid at a time.
static inline const char *at(const char *name)
{
    static char text[4][640];
    static int next;
    next = (next + 1) % 4;
    snprintf(text[next], sizeof text[next], "%s/%s", root_path, name);
    return text[next];
}

static inline void put_bytes(const char *name, const void *data, size_t bytes)
{
    FILE *file = fopen(at(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static inline void put_file(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

// The file's text; "" when it is not there.
static inline const char *text_of(const char *name)
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

// A path below the goldens: SLUICE_GOLDENS, else goldens in SLUICE_SHARED or in ../shared beside
// the source. Skips the test aloud when there are none (fails it where CI=true).
static inline const char *golden(const char *name)
{
    static char text[4][1024];
    static int next;
    const char *goldens = getenv("SLUICE_GOLDENS"), *shared = getenv("SLUICE_SHARED");
    const char *ci = getenv("CI");
    next = (next + 1) % 4;
    if (goldens)
        snprintf(text[next], sizeof text[next], "%s/%s", goldens, name);
    else
        snprintf(text[next], sizeof text[next], "%s/goldens/%s",
                 shared ? shared : SOURCE_ROOT "/../shared", name);
    if (access(text[next], R_OK) == 0)
        return text[next];
    if (ci && str_eq(ci, "true"))
        fail_msg("no golden %s: set SLUICE_GOLDENS", name);
    print_message("skipped: no golden %s; set SLUICE_GOLDENS\n", name);
    skip();
    return NULL;
}
