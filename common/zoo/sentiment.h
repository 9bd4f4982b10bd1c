// SPDX-License-Identifier: Apache-2.0
// Feeds words (int64 sequences) and int64 label [N,1]; softmax over the classes; metric acc.
#pragma once

#include "common/zoo/zoo.h"

void sentiment_build_conv(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
void sentiment_build_lstm(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
void sentiment_build_gru(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
