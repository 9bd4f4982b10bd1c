// SPDX-License-Identifier: Apache-2.0
// Feeds img [N,784] and int64 label [N,1]; softmax over 10 classes; metric acc.
#pragma once

#include "common/zoo/zoo.h"

void lenet_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
void lenet_build_bn(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
