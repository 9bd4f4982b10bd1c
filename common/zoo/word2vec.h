// SPDX-License-Identifier: Apache-2.0
// Feeds of int64 [N,1]: ngram - 1 words (firstw, secondw, thirdw, fourthw, word5w, ...) and nextw.
#pragma once

#include "common/zoo/zoo.h"

void word2vec_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
