// SPDX-License-Identifier: Apache-2.0
// The options of all programs. ONE table (option_table.c) makes the command line, the job file, the
// environment look-up, --help and the dump of the effective configuration.
// Precedence: flag, then environment, then job file, then default; the origin is remembered.
// A job file is read by every role: another role's key is fine there, an unknown key is not. On the
// command line an option of another role is an error.
//
//   struct option_set *o = option_new(OPTION_TRAINER | OPTION_LOCAL, "trainer", 0, NULL, NULL);
//   int rc = option_parse(o, argc, argv, &err);      // OPTION_HELP: print option_help(), exit 0
//   if (rc < 0) ...                                  // always SL_EUSAGE: exit 2
//   for each line of option_warnings(o): log_warn
//   option_role(o) == OPTION_LOCAL, option_string(o, "save_dir"), option_int(o, "batch_size")
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"
#include "common/config/environment.h"

struct buf;
struct err;
struct option_set;

// Roles: bits, since one program may play several (trainer: TRAINER or LOCAL, by --role).
#define OPTION_PSERVER 1u
#define OPTION_TRAINER 2u
#define OPTION_LOCAL 4u       // trainer --role local
#define OPTION_TRANSPILE 8u   // sluice transpile
#define OPTION_PULL 16u       // sluice ckpt pull
#define OPTION_VERIFY 32u     // sluice ckpt verify
#define OPTION_PROGRAM 64u    // sluice program ...: --help only

#define OPTION_HELP 1         // option_parse: --help was asked for
#define OPTION_VERSION 2      // option_parse: --version was asked for

enum option_type {
    OPTION_STRING,
    OPTION_CHOICE,      // one of the row's choices
    OPTION_INT,
    OPTION_FLOAT,
    OPTION_BOOL,        // true false 1 0; --x alone is true, --no-x is false
    OPTION_DURATION,    // 600s, 250ms, 5min, 1h; a bare number is seconds
    OPTION_SIZE,        // 64MiB, 10kB, 512B; a bare number is bytes
    OPTION_LIST,        // a,b,c
    OPTION_INTS,        // 200,200
    OPTION_ENDPOINT,    // host:port
    OPTION_ENDPOINTS,   // host:port,host:port
    OPTION_EVERY,       // N or Nstep, Nepoch, Nmin
};

enum option_origin { OPTION_UNSET, OPTION_DEFAULT, OPTION_FILE, OPTION_ENV, OPTION_FLAG };

enum option_every_unit { OPTION_EVERY_STEP, OPTION_EVERY_EPOCH, OPTION_EVERY_MINUTE };

struct option_every {
    enum option_every_unit unit;
    int64_t count;      // 0 = never
};

// roles: what this program may be. program: its name in messages ("sluice transpile"). positionals:
// how many arguments without a name it takes at most. get: as environment_resolve, may be NULL.
struct option_set *option_new(unsigned roles, const char *program, int positionals,
                              environment_get_fn get, void *ctx);
void option_free(struct option_set *set);

// Reads argv[1..], then the job file (--config), then the environment, and checks what follows from
// these alone (ranges, contradictions between options, trainer_id < trainers). 0, OPTION_HELP,
// OPTION_VERSION, or SL_EUSAGE with one sentence.
int option_parse(struct option_set *set, int argc, char *const *argv, struct err *err);

unsigned option_role(const struct option_set *set);        // the one role that is played: one bit
size_t option_positional_count(const struct option_set *set);
const char *option_positional(const struct option_set *set, size_t index);   // NULL beyond the last

// Values by name. Asking for a name that is not in the table, or with another type, is a
// programmer's error. Without value and default: NULL, 0, false, an empty list. Pointers live as
// long as the set.
const char *option_string(const struct option_set *set, const char *name);   // any type, as text
int64_t option_int(const struct option_set *set, const char *name);
double option_f64(const struct option_set *set, const char *name);
bool option_bool(const struct option_set *set, const char *name);
uint64_t option_ms(const struct option_set *set, const char *name);          // OPTION_DURATION
uint64_t option_bytes(const struct option_set *set, const char *name);       // OPTION_SIZE
// LIST INTS ENDPOINTS
const struct str_list *option_list(const struct option_set *set, const char *name);
struct option_every option_every(const struct option_set *set, const char *name);

bool option_is_set(const struct option_set *set, const char *name);          // by flag, env or file
enum option_origin option_origin(const struct option_set *set, const char *name);
// "flag", "env PADDLE_TRAINERS_NUM", "job.conf:12", "default" or "unset".
const char *option_origin_text(const struct option_set *set, const char *name);
const struct str_list *option_warnings(const struct option_set *set);        // after option_parse

// Appends one line an option of the played role that has a value: name, value, origin.
void option_dump(const struct option_set *set, struct buf *out);
// Appends usage (the caller's first lines) and the options of this program from the table.
void option_help(const struct option_set *set, const char *usage, struct buf *out);
