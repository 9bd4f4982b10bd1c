// SPDX-License-Identifier: Apache-2.0
// What models of clicks are fed: dense_input [N,13], slots C1, C2, ... of ids (sequences), label
// [N,1]. The criteo reader gives just that.
#pragma once

#include "common/zoo/zoo.h"

#define SLOT_FEEDS_DENSE 13

struct slot_feeds {
    sl_var *dense, *label;
    sl_var *slots[ZOO_SLOTS_MAX];
    size_t count;
};

struct slot_feeds slot_feeds_make(sl_net *net, const struct zoo_options *options,
                                  struct zoo_network *out);
