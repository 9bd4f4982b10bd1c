// SPDX-License-Identifier: Apache-2.0
// A variable and its protobuf message. Private to the program layer.
#pragma once

#include "common/program/var_desc.h"
#include "framework.pb-c.h"

struct err;
struct pb_arena;

// *out: var_desc_free it.
int var_pb_decode(const Framework__VarDesc *msg, struct var_desc **out, struct err *err);
// The message borrows var's texts.
int var_pb_encode(const struct var_desc *var, struct pb_arena *arena, Framework__VarDesc **out,
                  struct err *err);
