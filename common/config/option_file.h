// SPDX-License-Identifier: Apache-2.0
// The job file's lines: keys with values and line numbers. Which keys exist is the caller's
// business.
#pragma once

#include <stddef.h>

struct err;

struct option_file_entry {
    char *name;
    char *value;
    int line;
};

struct option_file {
    struct option_file_entry *entries;
    size_t count;
    size_t cap;
};

// Reads an INI file. Errors (SL_EUSAGE) name file and line: text behind `]`, an indented line, a
// line that is no `key = value`, one over 64 KiB, a key without value, a key that is there twice.
int option_file_read(struct option_file *file, const char *path, struct err *err);
void option_file_deinit(struct option_file *file);
