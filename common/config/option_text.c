// SPDX-License-Identifier: Apache-2.0
// The option table as text for people: --help, and the dump of the effective configuration.
// Lines are at most 96 columns unless one word is longer. No state.
#include "common/config/option_text.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/config/option_set.h"

#define WRAP_COLUMN 96
#define HELP_COLUMN 30

static void help_row(const struct option_row *row, unsigned roles, struct buf *out);
static bool range_text(const struct option_row *row, struct buf *words);
static void wrapped(struct buf *out, size_t column, const char *words);

void option_text_dump(const struct option_set *set, struct buf *out)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option_slot *slot = &set->slots[i];
        if (!(option_table[i].roles & set->role) || !slot->value.text)
            continue;
        buf_printf(out, "  %-20s %-24s (%s)\n", option_table[i].name, slot->value.text,
                   option_origin_text(set, option_table[i].name));
    }
}

void option_text_help(const struct option_set *set, const char *usage, struct buf *out)
{
    const char *section = NULL;
    buf_printf(out, "%s%s", usage, usage[0] && usage[strlen(usage) - 1] != '\n' ? "\n" : "");
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option_row *row = &option_table[i];
        if (!(row->roles & set->roles))
            continue;
        const char *heading = row->section ? row->section : "command line";
        if (!section || !str_eq(section, heading))
            buf_printf(out, "\n[%s]\n", heading);
        section = heading;
        help_row(row, set->roles, out);
    }
    buf_printf(out,
               "\nA flag wins over the environment, which wins over the job file (--config), which "
               "wins over the\ndefault.\n");
}

static void help_row(const struct option_row *row, unsigned roles, struct buf *out)
{
    struct buf words;
    buf_init(&words, 0);
    size_t before = out->bytes;
    if (row->type == OPTION_BOOL && row->fallback)
        buf_printf(out, "  --%s, --no-%s", row->name, row->name);
    else if (row->type == OPTION_BOOL)
        buf_printf(out, "  --%s", row->name);
    else
        buf_printf(out, "  --%s %s", row->name, row->value);
    buf_printf(&words, "%s", row->help);
    if (row->choices)
        buf_printf(&words, "; one of %s", row->choices);
    bool range = range_text(row, &words);
    if (row->fallback)
        buf_printf(&words, "%sdefault %s", range ? ", " : " (", row->fallback);
    if (range || row->fallback)
        buf_printf(&words, ")");
    const char *word = option_set_role_word(row->roles & roles);
    if ((row->roles & roles) != roles && word[0])
        buf_printf(&words, " (role %s only)", word);
    if (row->env)
        buf_printf(&words, " [env: %s]", row->env);
    wrapped(out, out->bytes - before, buf_text(&words));
    buf_deinit(&words);
}

// Appends " (<range>", open for more, when the row has a range worth telling.
static bool range_text(const struct option_row *row, struct buf *words)
{
    bool counts = row->type == OPTION_INT || row->type == OPTION_INTS || row->type == OPTION_FLOAT;
    bool bounded = row->max < 1e9;
    if (!counts || !(row->max > row->min) || (!bounded && row->min < 1.0))
        return false;
    if (bounded)
        buf_printf(words, " (%.10g to %.10g", row->min, row->max);
    else
        buf_printf(words, " (at least %.10g", row->min);
    return true;
}

// Continues a line that has column characters with words, broken before WRAP_COLUMN.
static void wrapped(struct buf *out, size_t column, const char *words)
{
    if (column + 2 > HELP_COLUMN) {
        buf_printf(out, "\n");
        column = 0;
    }
    buf_printf(out, "%*s", (int)(HELP_COLUMN - column), "");
    column = HELP_COLUMN;
    while (*words) {
        size_t bytes = strcspn(words, " ");
        if (column > HELP_COLUMN && column + 1 + bytes > WRAP_COLUMN) {
            buf_printf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            buf_printf(out, " ");
            column++;
        }
        buf_append(out, words, bytes);
        column += bytes;
        words += bytes + (words[bytes] == ' ');
    }
    buf_printf(out, "\n");
}
