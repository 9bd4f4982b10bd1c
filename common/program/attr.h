// SPDX-License-Identifier: Apache-2.0
// An operator attribute. The numbers are those of Fluid's AttrType.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum attr_type {
    ATTR_INT = 0,
    ATTR_FLOAT = 1,
    ATTR_STRING = 2,
    ATTR_INTS = 3,
    ATTR_FLOATS = 4,
    ATTR_STRINGS = 5,
    ATTR_BOOLEAN = 6,
    ATTR_BOOLEANS = 7,
    ATTR_BLOCK = 8,
    ATTR_LONG = 9,
    ATTR_BLOCKS = 10,
    ATTR_LONGS = 11,
};

struct attr {
    char *name;
    enum attr_type type;
    int64_t i;                  // INT, LONG, BLOCK (index), BOOLEAN (0/1)
    float f;                    // FLOAT
    char *s;                    // STRING; raw bytes may hold NUL: s_bytes counts
    size_t s_bytes;
    size_t count;               // elements of the list types
    union {
        int64_t *ints;          // INTS, LONGS, BLOCKS, BOOLEANS
        float *floats;          // FLOATS
        char **strings;         // STRINGS
    };
    // The message as read, when it says more than name, type and one value (or is of a type that is
    // not listed here): written again as long as the fields above still say the same.
    uint8_t *raw;
    size_t raw_bytes;
};

void attr_deinit(struct attr *attr);                         // frees all but the struct
void attr_copy(struct attr *dst, const struct attr *src);
bool attr_equal(const struct attr *a, const struct attr *b); // INT and BOOLEAN unified
bool attr_is_list(enum attr_type type);
// The blocks that a BLOCK or BLOCKS attribute names: how many (0 for other types), and the nth.
size_t attr_blocks_count(const struct attr *attr);
int64_t attr_block(const struct attr *attr, size_t n);
// Typed reading with both eras of writers (INT for BOOLEAN and the other way round).
bool attr_bool(const struct attr *attr);
