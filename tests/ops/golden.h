// SPDX-License-Identifier: Apache-2.0
// Recorded results of Paddle Fluid 1.8.5 for tests: where they are, reading, comparing.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"
#include "common/tensor/variable.h"

struct json_t;

// The goldens' root folder: $SLUICE_GOLDENS, else $SLUICE_SHARED/goldens, else ../shared/goldens
// beside the source tree ($SLUICE_SOURCE_ROOT). When there is none: NULL after saying so, and with
// CI=true the process ends with a failure. mem_free it.
char *golden_root(void);
// A path under a folder: parts joined with '/', NULL-terminated. mem_free it.
char *golden_path(const char *first, ...);
struct json_t *golden_json(const char *path);               // asserts; json_decref it
void golden_load(const char *path, struct variable *out);   // a LoDTensor file; asserts
bool golden_exists(const char *path);
void golden_list(const char *path, struct str_list *out);   // sorted names; asserts

// Are all elements within largest * relative + absolute of the expected ones, largest being the
// largest expected magnitude? Types, shapes and LoD must be equal. Prints the first difference with
// `what`.
bool golden_close(const char *what, const struct variable *got, const struct variable *expected,
                  double relative, double absolute);
