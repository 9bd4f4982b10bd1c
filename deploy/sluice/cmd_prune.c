// SPDX-License-Identifier: Apache-2.0
// `sluice program prune`: the part of a program that makes its targets.
#include <stdio.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/passes/prune.h"
#include "common/program/program.h"
#include "deploy/sluice/cmd_args.h"

static int run(int argc, char **argv);
static size_t count_ops(const struct program *program);

const struct cmd cmd_program_prune = {
    .name = "program prune",
    .args = "FILE OUT --feeds VAR,... --targets VAR,...",
    .help = "Writes the inference program that makes targets from feeds, as save_inference_model.",
    .details =
        "Backward, optimizer and all that the targets do not need are left out, is_test is set, "
        "feed and\n"
        "fetch operators are put around. The names of the targets in OUT are printed.\n\n"
        "example:\n"
        "  sluice program prune main.pb __model__ --feeds img --targets fc_1.tmp_2",
    .run = run,
};

static int run(int argc, char **argv)
{
    const char *files[2], *feeds_text = NULL, *targets_text = NULL;
    const struct cmd_option options[] = {
        {"--feeds", .text = &feeds_text}, {"--targets", .text = &targets_text}, {.name = NULL}};
    int code = cmd_args_parse(&cmd_program_prune, argc, argv, options, files, 2, 2);
    if (code != CMD_OK)
        return code;
    if (targets_text == NULL)
        return cmd_usage(&cmd_program_prune, "--targets is needed");
    struct err err = {0};
    struct program *program = NULL, *pruned = NULL;
    struct str_list feeds = {0}, targets = {0}, names = {0};
    if (feeds_text != NULL)
        str_list_split(&feeds, feeds_text, ',');
    str_list_split(&targets, targets_text, ',');
    int rc = program_load(files[0], &program, &err);
    if (rc == 0)
        rc = prune_inference(program, &feeds, &targets, &pruned, &names, &err);
    if (rc == 0)
        rc = program_save(pruned, files[1], &err);
    if (rc == 0)
        printf("%s: %zu of %zu operators\n", files[1], count_ops(pruned), count_ops(program));
    for (size_t i = 0; i < names.count && rc == 0; i++)
        printf("%s is %s\n", targets.items[i], names.items[i]);
    str_list_deinit(&names);
    str_list_deinit(&targets);
    str_list_deinit(&feeds);
    program_free(pruned);
    program_free(program);
    return rc < 0 ? cmd_failed(&err) : cmd_write(NULL, 0);
}

static size_t count_ops(const struct program *program)
{
    size_t count = 0;
    for (size_t i = 0; i < program->blocks_count; i++)
        count += program->blocks[i]->ops_count;
    return count;
}
