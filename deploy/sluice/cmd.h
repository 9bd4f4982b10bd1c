// SPDX-License-Identifier: Apache-2.0
// One subcommand of `sluice`. A file cmd_x.c defines its commands as const struct cmd; main.c lists
// them in its table and answers --help for all of them.
#pragma once

// Exit codes of every command.
enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2 };

struct cmd {
    const char *name;           // "program show": one or two words
    const char *args;           // "FILE", for the usage line
    const char *help;           // one line for the list
    const char *details;        // more, for --help: ends with an example that works as it stands
    int (*run)(int argc, char **argv);      // the arguments behind the name; returns the exit code
};

struct err;

extern const struct cmd cmd_program_show, cmd_program_check, cmd_program_copy, cmd_program_diff;
extern const struct cmd cmd_transpile;
extern const struct cmd cmd_doctor, cmd_infer;
extern const struct cmd cmd_program_dot, cmd_program_prune;
extern const struct cmd cmd_ckpt_ls, cmd_ckpt_show, cmd_ckpt_diff, cmd_ckpt_verify;
extern const struct cmd cmd_ckpt_convert, cmd_ckpt_slice, cmd_ckpt_zero_auc;
extern const struct cmd cmd_pull;           // "ckpt pull"

// The whole --help text of a command, to stdout.
void cmd_print_help(const struct cmd *cmd);
// Says what is wrong and the usage line, to stderr; returns CMD_USAGE.
int cmd_usage(const struct cmd *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// For commands without options: exactly count arguments? CMD_OK, or says so and CMD_USAGE.
int cmd_expect(const struct cmd *cmd, int argc, char **argv, int count);
// Prints "sluice: <text>" to stderr; returns CMD_FAILED.
int cmd_failed(const struct err *err);
// Writes to stdout; says so and returns CMD_FAILED when that fails (a full disk behind a
// redirection).
int cmd_write(const void *data, unsigned long bytes);
