// SPDX-License-Identifier: Apache-2.0
// One answer for what Fluid's launch scripts of all eras say in environment variables: role, server
// endpoints, number of trainers, trainer id, own endpoint. Values are text here; option.c judges
// them. The environment is read through a callback, so that tests bring their own.
#pragma once

#include <stddef.h>

#include "common/base/str.h"

// Like getenv: NULL when unset. An empty value counts as unset.
typedef const char *(*environment_get_fn)(void *ctx, const char *name);

struct environment_answer {
    char *value;    // NULL when no variable answers
    char *source;   // the names that won: "PADDLE_TRAINERS_NUM", "POD_IP + PADDLE_PORT"
};

struct environment {
    struct environment_answer role;               // "pserver", "trainer" or what else was there
    struct environment_answer pservers;           // "host:port,host:port"
    struct environment_answer trainers;
    struct environment_answer trainer_id;
    struct environment_answer current_endpoint;
    struct environment_answer cpu_num;            // worker threads of a trainer
    struct str_list warnings;                     // one line a contradiction, with the winner
};

// Fills *env (whatever it held before is not released). get NULL = the process's environment.
void environment_resolve(struct environment *env, environment_get_fn get, void *ctx);
void environment_deinit(struct environment *env);
