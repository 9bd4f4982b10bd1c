// SPDX-License-Identifier: Apache-2.0
// Parsing by a table that the command gives; no command reads argv itself.
#include "deploy/sluice/cmd_args.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/str.h"

static const struct cmd_option *find(const struct cmd_option *options, const char *arg,
                                     const char **out_value);
static int columns_of(const struct cmd_table *table);
static void put_cell(struct buf *out, const char *text, int width, bool right, bool last);

int cmd_args_parse(const struct cmd *cmd, int argc, char **argv, const struct cmd_option *options,
                   const char **words, int min, int max)
{
    int count = 0;
    for (int i = 0; i < max; i++)
        words[i] = NULL;
    for (int i = 0; i < argc; i++) {
        const char *value = NULL;
        const struct cmd_option *option = find(options, argv[i], &value);
        if (option == NULL && argv[i][0] == '-' && argv[i][1] != '\0')
            return cmd_usage(cmd, "unknown option %s (a file of that name: ./%s)", argv[i],
                             argv[i]);
        if (option == NULL && count == max)
            return cmd_usage(cmd, "one argument too many: %s", argv[i]);
        if (option == NULL) {
            words[count++] = argv[i];
        } else if (option->flag != NULL) {
            if (value != NULL)
                return cmd_usage(cmd, "%s takes no value", option->name);
            *option->flag = true;
        } else {
            if (value == NULL && i + 1 == argc)
                return cmd_usage(cmd, "%s needs a value", option->name);
            *option->text = value != NULL ? value : argv[++i];
        }
    }
    if (count < min)
        return cmd_usage(cmd, "%d argument%s expected, %d given", min, min == 1 ? "" : "s", count);
    return CMD_OK;
}

void cmd_args_row(struct cmd_table *table, const char *const *cells)
{
    MEM_GROW(table->rows, table->count, table->cap);
    char **row = mem_must_calloc(CMD_COLUMNS_MAX, sizeof *row);
    for (int i = 0; i < columns_of(table); i++)
        row[i] = mem_must_strdup(cells[i] != NULL ? cells[i] : "");
    table->rows[table->count++] = row;
}

void cmd_args_table(struct cmd_table *table, struct buf *out)
{
    int columns = columns_of(table), widths[CMD_COLUMNS_MAX];
    for (int i = 0; i < columns; i++) {
        widths[i] = (int)strlen(table->titles[i] + (table->titles[i][0] == '>'));
        for (size_t r = 0; r < table->count; r++)
            if ((int)strlen(table->rows[r][i]) > widths[i])
                widths[i] = (int)strlen(table->rows[r][i]);
    }
    for (size_t r = 0; r <= table->count; r++)
        for (int i = 0; i < columns; i++) {
            bool right = table->titles[i][0] == '>';
            put_cell(out, r == 0 ? table->titles[i] + right : table->rows[r - 1][i], widths[i],
                     right, i + 1 == columns);
        }
    for (size_t r = 0; r < table->count; r++) {
        for (int i = 0; i < columns; i++)
            mem_free(table->rows[r][i]);
        mem_free(table->rows[r]);
    }
    mem_free(table->rows);
    table->rows = NULL;
    table->count = table->cap = 0;
}

// The option that arg is, with the value behind '=' (or NULL).
static const struct cmd_option *find(const struct cmd_option *options, const char *arg,
                                     const char **out_value)
{
    for (const struct cmd_option *option = options; option != NULL && option->name; option++) {
        size_t length = strlen(option->name);
        if (strncmp(arg, option->name, length) != 0)
            continue;
        if (arg[length] == '=')
            *out_value = arg + length + 1;
        if (arg[length] == '=' || arg[length] == '\0')
            return option;
    }
    return NULL;
}

static int columns_of(const struct cmd_table *table)
{
    int columns = 0;
    while (table->titles[columns] != NULL)
        columns++;
    return columns;
}

static void put_cell(struct buf *out, const char *text, int width, bool right, bool last)
{
    if (right)
        buf_printf(out, "%*s", width, text);
    else
        buf_printf(out, "%-*s", last ? 0 : width, text);
    buf_printf(out, last ? "\n" : "  ");
}
