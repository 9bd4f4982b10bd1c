// SPDX-License-Identifier: Apache-2.0
// Feeds int64 sequences of the same lengths: word, five context words (ctx_n2, ctx_n1, ctx_0,
// ctx_p1, ctx_p2), verb, mark and target; metrics f1, precision and recall of chunks.
#pragma once

#include "common/zoo/zoo.h"

void label_semantic_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
