// SPDX-License-Identifier: Apache-2.0
// `sluice program show | check | copy | diff`: looking at ProgramDesc files.
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ckpt/op_save_load.h"
#include "common/exec/plan.h"
#include "common/program/program.h"
#include "common/program/program_check.h"
#include "common/program/program_text.h"
#include "common/ps/comm.h"
#include "common/ps/serve.h"
#include "deploy/sluice/cmd.h"

static int show(int argc, char **argv);
static int check(int argc, char **argv);
static int copy(int argc, char **argv);
static int diff(int argc, char **argv);
static size_t count_ops(const struct program *program);

const struct cmd cmd_program_show = {
    .name = "program show",
    .args = "FILE",
    .help = "Prints a program (main.pb, __model__, ...) as canonical text.",
    .details = "Operators stay in order; variables, slots and attributes are sorted; op_callstack, "
               "op_namescope\n"
               "and the random digits of control variables are left out: equal programs print "
               "equal text.\n\n"
               "example:\n"
               "  sluice program show main.pb | less",
    .run = show,
};

const struct cmd cmd_program_check = {
    .name = "program check",
    .args = "FILE",
    .help = "Lists what keeps a program from running here; exit code 1 if there is anything.",
    .details = "Every operator that Sluice does not have is named with its block and index, and so "
               "are inputs\n"
               "that no block declares and impossible shapes.\n\n"
               "example:\n"
               "  sluice program check main.pb && echo runs",
    .run = check,
};

const struct cmd cmd_program_copy = {
    .name = "program copy",
    .args = "FILE OUT",
    .help = "Reads a program and writes it again: the bytes are the same.",
    .details = "OUT is replaced at once or not at all.\n\n"
               "example:\n"
               "  sluice program copy main.pb again.pb && cmp main.pb again.pb",
    .run = copy,
};

const struct cmd cmd_program_diff = {
    .name = "program diff",
    .args = "A B",
    .help = "Compares the canonical text of two programs: exit code 0 equal, 1 different.",
    .details = "Prints the first differences: lines of A only with -, lines of B only with +.\n"
               "Exit code 2 when a file cannot be read.\n\n"
               "example:\n"
               "  sluice program diff main.pb other/main.pb",
    .run = diff,
};

static int show(int argc, char **argv)
{
    struct err err = {0};
    struct program *program;
    struct buf text;
    int rc = cmd_expect(&cmd_program_show, argc, argv, 1);
    if (rc)
        return rc;
    if (program_load(argv[0], &program, &err))
        return cmd_failed(&err);
    buf_init(&text, 0);
    program_text_format(program, &text);
    rc = cmd_write(text.data, text.bytes);
    buf_deinit(&text);
    program_free(program);
    return rc;
}

static int check(int argc, char **argv)
{
    const struct plan_host hosts[] = {
        {.ops = op_comm_table}, {.ops = op_serve_table}, {.ops = op_save_load_table}};
    struct err err = {0};
    struct program *program;
    struct str_list missing = {0}, problems = {0};
    int rc = cmd_expect(&cmd_program_check, argc, argv, 1);
    if (rc)
        return rc;
    if (program_load(argv[0], &program, &err))
        return cmd_failed(&err);
    plan_check(program, hosts, sizeof hosts / sizeof hosts[0], &missing, &err);
    program_check(program, &problems);
    for (size_t i = 0; i < missing.count; i++)
        printf("%s: %s: not supported\n", argv[0], missing.items[i]);
    for (size_t i = 0; i < problems.count; i++)
        printf("%s: %s\n", argv[0], problems.items[i]);
    if (missing.count || problems.count)
        printf("%s: %zu of %zu ops missing, %zu other problems\n", argv[0], missing.count,
               count_ops(program), problems.count);
    else
        printf("%s: %zu blocks, %zu ops, all supported\n", argv[0], program->blocks_count,
               count_ops(program));
    rc = missing.count || problems.count ? CMD_FAILED : cmd_write(NULL, 0);
    str_list_deinit(&missing);
    str_list_deinit(&problems);
    program_free(program);
    return rc;
}

static int copy(int argc, char **argv)
{
    struct err err = {0};
    struct program *program;
    int rc = cmd_expect(&cmd_program_copy, argc, argv, 2);
    if (rc)
        return rc;
    if (program_load(argv[0], &program, &err))
        return cmd_failed(&err);
    rc = program_save(program, argv[1], &err) ? cmd_failed(&err) : CMD_OK;
    program_free(program);
    return rc;
}

static int diff(int argc, char **argv)
{
    struct err err = {0};
    struct program *a = NULL, *b = NULL;
    struct buf text;
    int rc = cmd_expect(&cmd_program_diff, argc, argv, 2);
    if (rc)
        return rc;
    buf_init(&text, 0);
    if (program_load(argv[0], &a, &err) || program_load(argv[1], &b, &err)) {
        cmd_failed(&err);
        rc = CMD_USAGE;   // as diff(1): 1 is an answer, 2 is trouble
    } else if (!program_text_diff(a, b, &text)) {
        cmd_write(text.data, text.bytes);
        rc = CMD_FAILED;
    } else {
        printf("equal: %zu blocks, %zu ops\n", a->blocks_count, count_ops(a));
    }
    buf_deinit(&text);
    program_free(a);
    program_free(b);
    return rc;
}

static size_t count_ops(const struct program *program)
{
    size_t count = 0;
    for (size_t i = 0; i < program->blocks_count; i++)
        count += program->blocks[i]->ops_count;
    return count;
}
