// SPDX-License-Identifier: Apache-2.0
// --save_inference: at the end of a run the model for prediction, as save_inference_model writes
// it.
#pragma once

#include "common/base/str.h"

struct engine;
struct err;

struct export
{
    const char *dir;   // NULL: nothing is to be written by this process
    struct program *program;
    struct str_list names;   // of its persistables
};

// Makes the program of --targets (default: what the zoo's model predicts) from those feeds that it
// needs. SL_EUSAGE without targets; SL_ENOENT for one that is no variable. To be asked before
// training.
int export_open(const struct engine *engine, struct export *out, struct err *err);
void export_close(struct export *export);
// Writes __model__ and the parameters of this step boundary, from the servers too; line is for
// people (empty: nothing was to do).
int export_write(const struct export *export, struct engine *engine, char *line, size_t bytes,
                 struct err *err);
