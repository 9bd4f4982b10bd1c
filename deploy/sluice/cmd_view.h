// SPDX-License-Identifier: Apache-2.0
// How the ckpt commands get at a folder's variables.
#pragma once

#include <jansson.h>

#include "common/ckpt/ckpt_view.h"
#include "deploy/sluice/cmd.h"

struct cmd_view_from {
    const char *filename;   // --filename: one combined file of that name
    const char *program;    // --program
};

#define CMD_VIEW_DETAILS                                                                           \
    "A combined file (--filename) has no names inside: they come from --program, or from the\n"    \
    "folder's __model__ when it has one."

// CMD_OK, or says why not.
int cmd_view_open(const char *dir, const struct cmd_view_from *from, struct ckpt_view *out);
int cmd_view_print_json(const json_t *value);
