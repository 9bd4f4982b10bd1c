// SPDX-License-Identifier: Apache-2.0
// The table of common/ops/README.md: which ops there are, and how far recorded cases cover them.
// It is made of the op table and of what the cases gave just now, so it can not be out of date
// without a test noticing.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct err;

// What the recorded cases of one op type gave.
struct coverage_row {
    char *type;
    int cases, passed;
    int forward_passed;                    // cases whose outputs were all as recorded
    int gradient_cases, gradient_passed;   // cases that record gradients
    bool exact;                            // outputs had to be equal to the last bit
};

struct coverage {
    struct coverage_row *rows;
    size_t count, cap;
};

void coverage_deinit(struct coverage *coverage);
// The row of a type; made when there is none. Valid until the next call.
struct coverage_row *coverage_row_of(struct coverage *coverage, const char *type);
// The table: a line for each op of the op table and each recorded type that is not in it, sorted.
void coverage_render(struct coverage *coverage, struct buf *out);
// Does the file hold exactly this table between its two marker lines? With rewrite it will. Errors
// name the first line that differs.
int coverage_check(const char *path, const char *table, bool rewrite, struct err *err);
