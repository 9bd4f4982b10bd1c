// SPDX-License-Identifier: Apache-2.0
// Linear regression over the 13 features of UCI housing: one fc of width 1, squared error.

#include "common/zoo/fit_a_line.h"

void fit_a_line_build(sl_net *net, const struct zoo_options *options, struct zoo_network *out)
{
    (void)options;
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(13));
    sl_var *y = sl_data(net, "y", SL_FP32, SL_SHAPE(1));
    out->feeds[out->feeds_count++] = x;
    out->feeds[out->feeds_count++] = y;
    out->predict = sl_fc(net, x, 1, NULL);
    out->loss = sl_mean(net, sl_square_error_cost(net, out->predict, y));
}
