// SPDX-License-Identifier: Apache-2.0
// An attribute and its protobuf message. Private to the program layer.
#pragma once

#include "common/program/attr.h"
#include "framework.pb-c.h"

struct err;
struct pb_arena;

// *out is zeroed by the caller; on failure it may be half filled: attr_deinit it.
int attr_pb_decode(const Framework__OpDesc__Attr *msg, struct attr *out, struct err *err);
// The message borrows attr's texts. SL_EINVAL for a number that does not fit its field.
int attr_pb_encode(const struct attr *attr, struct pb_arena *arena, Framework__OpDesc__Attr **out,
                   struct err *err);
