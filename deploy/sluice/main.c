// SPDX-License-Identifier: Apache-2.0
// sluice, the operator's command: one table of subcommands. Exit codes: 0 done, 1 failed (or: the
// answer is no), 2 wrong usage.
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "deploy/sluice/cmd.h"

static const struct cmd *const commands[] = {
    &cmd_program_show, &cmd_program_check, &cmd_program_copy,
    &cmd_program_diff, &cmd_program_dot,   &cmd_program_prune,
    &cmd_transpile,    &cmd_infer,         &cmd_ckpt_ls,
    &cmd_ckpt_show,    &cmd_ckpt_diff,     &cmd_ckpt_verify,
    &cmd_ckpt_convert, &cmd_ckpt_slice,    &cmd_ckpt_zero_auc,
    &cmd_pull,         &cmd_doctor,        NULL,
};

static void list_commands(FILE *out, const char *group);
static bool is_in_group(const struct cmd *cmd, const char *group);
static const struct cmd *find_command(int argc, char **argv, int *out_words);
static int unknown_command(int argc, char **argv);
static bool is_help(const char *arg);

int main(int argc, char **argv)
{
    argc--, argv++;
    if (!argc) {
        list_commands(stderr, NULL);
        return CMD_USAGE;
    }
    if (is_help(argv[0])) {
        list_commands(stdout, NULL);
        return CMD_OK;
    }
    if (!strcmp(argv[0], "--version")) {
        printf("sluice %s\n", SLUICE_VERSION);
        return CMD_OK;
    }
    int words;
    const struct cmd *cmd = find_command(argc, argv, &words);
    if (!cmd)
        return unknown_command(argc, argv);
    for (int i = words; i < argc; i++)
        if (is_help(argv[i])) {
            cmd_print_help(cmd);
            return CMD_OK;
        }
    return cmd->run(argc - words, argv + words);
}

// Lists the commands whose first word is group; all of them without one.
static void list_commands(FILE *out, const char *group)
{
    fprintf(out, "usage: sluice COMMAND ARGUMENTS\n\n");
    for (const struct cmd *const *cmd = commands; *cmd; cmd++)
        if (!group || is_in_group(*cmd, group))
            fprintf(out, "  %-14s  %s\n", (*cmd)->name, (*cmd)->help);
    fprintf(out,
            "\n`sluice COMMAND --help` says more. Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
}

static bool is_in_group(const struct cmd *cmd, const char *group)
{
    size_t length = strlen(group);
    return !strncmp(cmd->name, group, length) && cmd->name[length] == ' ';
}

static const struct cmd *find_command(int argc, char **argv, int *out_words)
{
    for (const struct cmd *const *cmd = commands; *cmd; cmd++) {
        const char *blank = strchr((*cmd)->name, ' ');
        size_t first = blank ? (size_t)(blank - (*cmd)->name) : strlen((*cmd)->name);
        if (strlen(argv[0]) != first || strncmp((*cmd)->name, argv[0], first))
            continue;
        if (blank && (argc < 2 || strcmp(blank + 1, argv[1])))
            continue;
        *out_words = blank ? 2 : 1;
        return *cmd;
    }
    return NULL;
}

// `sluice program`, `sluice program --help`, `sluice prgram`: the list that helps on.
static int unknown_command(int argc, char **argv)
{
    const char *group = NULL;
    for (const struct cmd *const *cmd = commands; *cmd; cmd++)
        if (is_in_group(*cmd, argv[0]))
            group = argv[0];
    if (group && argc > 1 && is_help(argv[1])) {
        list_commands(stdout, group);
        return CMD_OK;
    }
    fprintf(stderr, "sluice: there is no command `%s%s%s`\n", argv[0], group && argc > 1 ? " " : "",
            group && argc > 1 ? argv[1] : "");
    list_commands(stderr, group);
    return CMD_USAGE;
}

static bool is_help(const char *arg)
{
    return !strcmp(arg, "--help") || !strcmp(arg, "-h");
}
