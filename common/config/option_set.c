// SPDX-License-Identifier: Apache-2.0
// What messages say about an option set: which origin gave which text, and what roles are called.
// No state of its own.
#include "common/config/option_set.h"

#include <stdio.h>
#include <string.h>


static const struct {
    unsigned role;
    const char *word;
    const char *name;
} role_names[] = {
    {OPTION_PSERVER, "pserver", "pserver"},
    {OPTION_TRAINER, "trainer", "trainer --role trainer"},
    {OPTION_LOCAL, "local", "trainer --role local"},
    {OPTION_TRANSPILE, "", "sluice transpile"},
    {OPTION_PULL, "", "sluice ckpt pull"},
    {OPTION_VERIFY, "", "sluice ckpt verify"},
    {OPTION_PROGRAM, "", "sluice program"},
};
#define ROLE_COUNT (sizeof role_names / sizeof role_names[0])

void option_set_show(const struct option_set *set, size_t index, enum option_origin origin,
                     char shown[OPTION_SET_SHOWN_MAX])
{
    const struct option_given *given = &set->slots[index].given[origin];
    const char *name = option_table[index].name;
    if (origin == OPTION_FLAG)
        snprintf(shown, OPTION_SET_SHOWN_MAX, "--%s=%.300s (flag)", name, given->text);
    else if (origin == OPTION_ENV)
        snprintf(shown, OPTION_SET_SHOWN_MAX, "%.100s=%.300s (environment)",
                 given->place + strlen("env "), given->text);
    else
        snprintf(shown, OPTION_SET_SHOWN_MAX, "%s=%.200s (%.200s)", name, given->text,
                 given->place);
}

void option_set_disagree(struct option_set *set, size_t index, enum option_origin winner,
                         enum option_origin loser)
{
    char first[OPTION_SET_SHOWN_MAX], second[OPTION_SET_SHOWN_MAX];
    option_set_show(set, index, winner, first);
    option_set_show(set, index, loser, second);
    str_list_addf(&set->warnings, "%s and %s disagree; the %s wins", first, second,
                  winner == OPTION_FLAG ? "flag" : "environment");
}

unsigned option_set_role_bit(const char *word)
{
    for (size_t i = 0; i < ROLE_COUNT && role_names[i].word[0]; i++)
        if (str_eq(role_names[i].word, word))
            return role_names[i].role;
    return 0;
}

const char *option_set_role_word(unsigned role)
{
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (role_names[i].role == role)
            return role_names[i].word;
    return "";
}

void option_set_role_names(unsigned roles, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < ROLE_COUNT && used < bytes; i++)
        if (role_names[i].role & roles)
            used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? ", " : "",
                                     role_names[i].name);
}
