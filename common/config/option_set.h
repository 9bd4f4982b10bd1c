// SPDX-License-Identifier: Apache-2.0
// The inside of struct option_set, for the option_*.c files only, and what they say about it.
#pragma once

#include "common/config/option_value.h"

struct option_given {
    char *text;    // NULL = this origin says nothing
    char *place;   // "flag", "env NAME", "job.conf:12"
};

struct option_slot {
    struct option_given given[OPTION_FLAG + 1];   // by origin: FILE, ENV and FLAG are used
    struct option_value value;
    enum option_origin origin;
};

struct option_set {
    unsigned roles;
    unsigned role;
    char *program;
    int positionals_max;
    environment_get_fn get;
    void *get_ctx;
    struct option_slot *slots;   // one a row of option_table
    struct str_list positionals;
    struct str_list warnings;
};

#define OPTION_SET_SHOWN_MAX 512

// "--trainers=2 (flag)", "PADDLE_TRAINERS_NUM=4 (environment)", "trainers=2 (job.conf:3)".
void option_set_show(const struct option_set *set, size_t index, enum option_origin origin,
                     char shown[OPTION_SET_SHOWN_MAX]);
// Adds the line of warning that two origins of one option disagree.
void option_set_disagree(struct option_set *set, size_t index, enum option_origin winner,
                         enum option_origin loser);
// The bit of "pserver", "trainer" or "local"; 0 for any other word.
unsigned option_set_role_bit(const char *word);
// The other way; "" for roles that have no such word.
const char *option_set_role_word(unsigned role);
// "pserver, trainer --role local": all roles of a mask, as the programs are called.
void option_set_role_names(unsigned roles, char *text, size_t bytes);
