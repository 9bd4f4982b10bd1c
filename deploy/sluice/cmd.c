// SPDX-License-Identifier: Apache-2.0
// What all subcommands share: help, usage errors, output.
#include "deploy/sluice/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"

void cmd_print_help(const struct cmd *cmd)
{
    printf("usage: sluice %s %s\n\n%s\n", cmd->name, cmd->args, cmd->help);
    if (cmd->details)
        printf("\n%s\n", cmd->details);
}

int cmd_usage(const struct cmd *cmd, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "sluice %s: ", cmd->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nusage: sluice %s %s\n", cmd->name, cmd->args);
    return CMD_USAGE;
}

int cmd_expect(const struct cmd *cmd, int argc, char **argv, int count)
{
    for (int i = 0; i < argc; i++)
        if (argv[i][0] == '-' && argv[i][1])
            return cmd_usage(cmd, "unknown option %s (a file of that name: ./%s)", argv[i],
                             argv[i]);
    if (argc < count)
        return cmd_usage(cmd, "%d argument%s expected, %d given", count, count == 1 ? "" : "s",
                         argc);
    if (argc > count)
        return cmd_usage(cmd, "one argument too many: %s", argv[count]);
    return CMD_OK;
}

int cmd_failed(const struct err *err)
{
    fprintf(stderr, "sluice: %s\n", err->text);
    return CMD_FAILED;
}

int cmd_write(const void *data, unsigned long bytes)
{
    if ((!bytes || fwrite(data, 1, bytes, stdout) == bytes) && !fflush(stdout))
        return CMD_OK;
    fprintf(stderr, "sluice: cannot write the output: %s\n", strerror(errno));
    return CMD_FAILED;
}
