// SPDX-License-Identifier: Apache-2.0
// Options of small commands ("--out DIR", "--json") and tables for people.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "deploy/sluice/cmd.h"

struct buf;

struct cmd_option {
    const char *name;    // "--out"; NULL ends the table
    const char **text;   // takes a value ("--out X" or "--out=X"); or:
    bool *flag;
};

// Sorts arguments into options and at most max words; words beyond those given are NULL. Says what
// is wrong and returns CMD_USAGE, else CMD_OK.
int cmd_args_parse(const struct cmd *cmd, int argc, char **argv, const struct cmd_option *options,
                   const char **words, int min, int max);

#define CMD_COLUMNS_MAX 8

// Rows of text, columns aligned; numbers (columns whose title begins with '>') to the right.
struct cmd_table {
    const char *const *titles;   // NULL-terminated
    char ***rows;                // rows of CMD_COLUMNS_MAX owned texts
    size_t count, cap;
};

// One text a column, of which each may be NULL for an empty one.
void cmd_args_row(struct cmd_table *table, const char *const *cells);
// Prints into out and frees the rows.
void cmd_args_table(struct cmd_table *table, struct buf *out);
