// SPDX-License-Identifier: Apache-2.0
// Slots of a text format, from declarations ("--slots") or from what the program feeds.
//
//   [FEED=]NAME[:uint64|float[:DIMS]]
//
// FEED is the program's variable (default: NAME), DIMS as 13 or 3x4 makes the slot dense: so many
// values in every line, [B, DIMS]. Without them it is a sequence, unless the program's variable has
// no LoD level: then it is dense with that variable's shape, as in Fluid. A type that is left out
// is the variable's (uint64 without one). "C1..26=1..26" declares 26 slots at once.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/reader/reader_format.h"
#include "common/reader/text_scan.h"

struct err;

struct slot {
    char *name;   // in the data
    size_t name_bytes;
    bool is_float;      // values are float32 (or float64, see dtype), else 64-bit ids
    enum dtype dtype;   // of the feed: int64, float32 or float64
    size_t values;      // of a line, when dense; 0: a sequence
};

struct slots {
    struct slot *items;
    size_t count, cap;
    uint64_t modulo;   // ids are reduced by it; 0: their 64 bits are kept
};

// Fills slots and adds one field each to data. SL_EINVAL, SL_EMISMATCH with the declaration.
int slots_make(const struct reader_options *options, const char *path, struct slots *out,
               struct reader_data *data, struct err *err);
void slots_deinit(struct slots *slots);
// Appends one value, which scan reads, to the slot's column. SL_EFORMAT with slot and value.
int slots_value(const struct slots *slots, size_t slot, struct text_scan *scan,
                struct reader_column *column, struct err *err);
