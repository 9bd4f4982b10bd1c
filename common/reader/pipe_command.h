// SPDX-License-Identifier: Apache-2.0
// A command that turns one file into another: stdin is the file, stdout the result. No shell: the
// text is cut into words, and the first is looked up in PATH.
//
// Words are separated by blanks. '...' keeps everything up to the next ', "..." everything but \"
// and \\; outside of quotes a backslash keeps the next character. Nothing else is special: no
// variables, globs, pipes or redirections (sh -c '...' has them).
#pragma once

#include <stdint.h>

#include "common/base/str.h"

struct err;

// SL_EINVAL: no word, an open quote, a backslash at the end.
int pipe_command_split(const char *text, struct str_list *out, struct err *err);
// Runs it with in as stdin and writes its output to out until it ends. SL_ELIMIT when the output is
// longer than bytes_max (the command is killed). A command that cannot be started, is ended by a
// signal or by a status other than 0 is an error that says so with the end of its stderr. name
// stands in errors: the path of the file.
int pipe_command_run(const char *text, int in, int out, uint64_t bytes_max, const char *name,
                     uint64_t *out_bytes, struct err *err);
