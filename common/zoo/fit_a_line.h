// SPDX-License-Identifier: Apache-2.0
// Feeds x [N,13] and y [N,1]; loss mean((fc(x) - y)^2).
#pragma once

#include "common/zoo/zoo.h"

void fit_a_line_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out);
