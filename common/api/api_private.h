// SPDX-License-Identifier: Apache-2.0
// What the files of the public API share: the handles' insides, and errors across the border.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/api/sluice.h"
#include "common/base/map.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_report.h"
#include "common/exec/executor.h"
#include "common/exec/parallel_executor.h"
#include "common/tensor/variable.h"

struct comm;
struct err;
struct op_desc;
struct program;
struct scope;

struct api_feed {
    struct str_list names;
    struct variable **values;   // owned, as many as names
    size_t cap;
};

struct api_fetch {
    struct executor_fetch *items;   // names owned
    struct sl_tensor *tensors;      // views of the last run's values
    size_t count, cap;
    bool ran;
};

struct api_executor {
    struct sl_executor_options options;
    struct scope *scope;
    struct executor *exe;
    struct parallel_executor *parallel[PARALLEL_EXECUTOR_WORKERS_MAX + 1];   // by workers; or NULL
    struct comm *comm;           // opened by the first program that talks to servers
    bool completed;              // the servers know that this trainer is done
    bool failed;                 // a run over comm failed: close gives up instead of completing
    struct map loaded;           // names that a load filled
    struct ckpt_report report;   // where the variables came from: digest and progress only
    struct ckpt_report *last_load;   // the last load, refused or not; NULL: there was none
};

// Copies an error out (to may be NULL) and returns its code.
int api_executor_error(struct sl_error *to, const struct err *from);
// Is this operator in block 0? The first one, or NULL.
const struct op_desc *api_executor_find_op(const struct program *program, const char *type);
// Opens exe->comm for a transpiled trainer program, once.
int api_executor_connect(struct api_executor *exe, const struct program *program, struct err *err);
// Fills view from a variable; false when it holds no dense tensor.
bool api_feed_view(const struct variable *var, struct sl_tensor *view);
