// SPDX-License-Identifier: Apache-2.0
// Real programs of Paddle: every .pb and __model__ file below the folders of recorded results is
// written again byte for byte, equals its clone, and is well formed.
// Folders: SLUICE_GOLDENS, and data beside it; else SLUICE_SHARED; else ../shared beside the
// source.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/program/program.h"
#include "common/program/program_check.h"
#include "common/program/program_text.h"

static struct str_list files;

static int visit(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st;
    const char *name = path + place->base;
    if (kind == FTW_F && (str_ends_with(name, ".pb") || str_starts_with(name, "__model__")))
        str_list_add(&files, path);
    return 0;
}

static void collect(char *take_folder)
{
    if (fsutil_is_dir(take_folder))
        nftw(take_folder, visit, 16, 0);
    mem_free(take_folder);
}

static void find_files(void)
{
    const char *goldens = getenv("SLUICE_GOLDENS"), *shared = getenv("SLUICE_SHARED");
    if (goldens)
        collect(mem_must_strdup(goldens));
    if (!shared)
        shared = SOURCE_ROOT "/../shared";
    if (!goldens)
        collect(fsutil_join(shared, "goldens"));
    collect(fsutil_join(shared, "data"));
}

static void check_file(const char *path)
{
    struct buf file, again;
    struct program *program = NULL, *clone;
    struct str_list problems = {0};
    struct err err = {0};
    buf_init(&file, 0);
    buf_init(&again, 0);
    if (fsutil_read(path, LIMIT_PROGRAM_BYTES, &file, &err) ||
        program_parse(file.data, file.bytes, path, &program, &err))
        fail_msg("%s", err.text);
    clone = program_clone(program);
    if (program_serialize(clone, &again, &err))
        fail_msg("%s: %s", path, err.text);
    if (again.bytes != file.bytes || memcmp(again.data, file.data, file.bytes))
        fail_msg("%s: written with other bytes", path);
    if (!program_text_diff(program, clone, NULL))
        fail_msg("%s: differs from its clone", path);
    if (program_check(program, &problems))
        fail_msg("%s: %s", path, problems.items[0]);
    str_list_deinit(&problems);
    program_free(program);
    program_free(clone);
    buf_deinit(&file);
    buf_deinit(&again);
}

static void test_program_files_of_paddle_are_written_byte_for_byte(void **state)
{
    (void)state;
    find_files();
    if (!files.count) {
        if (getenv("CI"))
            fail_msg("no recorded programs: set SLUICE_GOLDENS");
        print_message("skipped: no recorded programs; set SLUICE_GOLDENS\n");
        skip();
    }
    for (size_t i = 0; i < files.count; i++)
        check_file(files.items[i]);
    print_message("%zu programs\n", files.count);
    str_list_deinit(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_files_of_paddle_are_written_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
