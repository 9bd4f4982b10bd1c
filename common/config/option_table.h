// SPDX-License-Identifier: Apache-2.0
// The rows behind option.h. A new option is one row here and one line in deploy/conf/job.conf.
#pragma once

#include "common/config/option.h"

struct option_row {
    const char *name;
    enum option_type type;
    unsigned roles;
    const char *fallback;   // default as text; NULL = none
    const char *choices;    // OPTION_CHOICE: "a|b"
    // INT, FLOAT, INTS items, DURATION in ms, SIZE in bytes; both 0 = no range
    double min, max;
    const char *section;    // of the job file; NULL = command line only
    const char *env;        // variable names for --help; NULL = none
    const char *value;      // how --help shows the value: FILE, N
    const char *help;       // one sentence
};

extern const struct option_row option_table[];
extern const size_t option_table_count;

int option_table_find(const char *name, size_t bytes);   // index, or -1
// The name in the table, among rows for roles, that is nearest to a mistyped one; NULL when none
// is.
const char *option_table_nearest(const char *name, unsigned roles);
