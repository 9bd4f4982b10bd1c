// SPDX-License-Identifier: Apache-2.0
// Where the recorded Paddle results are: SLUICE_GOLDENS, else $SLUICE_SHARED/goldens, else
// ../shared/goldens beside the source. For tests of programs; include it after cmocka.
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/program/program.h"
#include "common/program/program_text.h"

// "<root>/<rest>", when it exists as a folder or file; else NULL. mem_free it.
static inline char *golden_folder_path(const char *rest)
{
    const char *goldens = getenv("SLUICE_GOLDENS"), *shared = getenv("SLUICE_SHARED");
    char *roots[] = {
        mem_must_printf("%s/%s", goldens ? goldens : "", rest),
        mem_must_printf("%s/goldens/%s", shared ? shared : "", rest),
        mem_must_printf("%s/../shared/goldens/%s", SOURCE_ROOT, rest),
    };
    char *found = NULL;
    for (size_t i = 0; i < 3; i++) {
        bool usable = (i == 0   ? goldens != NULL
                       : i == 1 ? shared != NULL
                                : true) &&
                      access(roots[i], R_OK) == 0;
        if (found == NULL && usable)
            found = roots[i];
        else
            mem_free(roots[i]);
    }
    return found;
}

// NULL when the file is not there. Fails the test when it cannot be read.
static inline struct program *golden_folder_load(const char *rest)
{
    char *path = golden_folder_path(rest);
    struct program *program = NULL;
    struct err err = {0};
    if (path != NULL && program_load(path, &program, &err) < 0)
        fail_msg("%s", err.text);
    mem_free(path);
    return program;
}

// Compares with a recorded program and fails the test with the first differences. Frees got.
// False when there is no such recorded program.
static inline bool golden_folder_expect(const char *rest, struct program *got)
{
    struct program *want = golden_folder_load(rest);
    bool there = want != NULL;
    struct buf diff;
    buf_init(&diff, 0);
    if (there && !program_text_diff(want, got, &diff))
        fail_msg("%s differs (- recorded, + ours):\n%s", rest, buf_text(&diff));
    buf_deinit(&diff);
    program_free(want);
    program_free(got);
    return there;
}

// Ends a test that compared nothing: a failure under CI=true, else skipped aloud.
static inline void golden_folder_done(size_t compared)
{
    const char *ci = getenv("CI");
    if (compared > 0) {
        print_message("%zu programs are equal\n", compared);
        return;
    }
    if (ci != NULL && strcmp(ci, "true") == 0)
        fail_msg("no recorded programs: set SLUICE_GOLDENS");
    print_message("skipped: no recorded programs; set SLUICE_GOLDENS\n");
    skip();
}
