// SPDX-License-Identifier: Apache-2.0
// Feeds int64 feat_idx [N,fields,1], feat_value [N,fields] and int64 label [N,1]; metrics auc and
// batch_auc.
#pragma once

#include "common/zoo/zoo.h"

void deepfm_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
