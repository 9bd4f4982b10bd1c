// SPDX-License-Identifier: Apache-2.0
// One valid message of every type that has a body, and of every type without one.
#pragma once

#include <stddef.h>

#include "common/wire/message.h"

#define SAMPLES_MAX 64

struct sample {
    struct frame header;
    struct message message;
};

extern const struct sample samples_table[];
extern const size_t samples_count;
