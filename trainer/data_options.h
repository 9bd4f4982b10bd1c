// SPDX-License-Identifier: Apache-2.0
// The options of the data, as a reader takes them.
#pragma once

#include "common/base/str.h"
#include "common/reader/reader.h"

struct engine;
struct err;
struct program;

struct data_options {
    struct reader_options reader;   // the rest of it is the caller's to fill
    struct reader_want *wants;
    struct str_list rows_vars;   // the program's SelectedRows
};

// What program feeds and how text is read. Release with data_options_deinit in any case.
int data_options_init(const struct engine *engine, const struct program *program,
                      struct data_options *out, struct err *err);
void data_options_deinit(struct data_options *options);
