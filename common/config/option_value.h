// SPDX-License-Identifier: Apache-2.0
// One option's value: from text by the row's type, and compared.
#pragma once

#include "common/config/option_table.h"

struct err;

struct option_value {
    char *text;                  // as given; NULL = no value. Booleans become true or false.
    int64_t integer;             // INT
    double number;               // FLOAT
    bool flag;                   // BOOL
    uint64_t amount;             // DURATION in ms, SIZE in bytes
    struct option_every every;   // EVERY
    struct str_list list;        // LIST, INTS, ENDPOINTS
};

// Reads text as row says. SL_EINVAL with the reason only (no option name); *out only on success.
int option_value_parse(const struct option_row *row, const char *text, struct option_value *out,
                       struct err *err);
void option_value_deinit(struct option_value *value);
bool option_value_equal(const struct option_row *row, const struct option_value *a,
                        const struct option_value *b);
