// SPDX-License-Identifier: Apache-2.0
// Feeds dense_input [N,13], the slots C1, C2, ... (int64 sequences) and int64 label [N,1]; metrics
// auc and batch_auc.
#pragma once

#include "common/zoo/zoo.h"

void ctr_dnn_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
