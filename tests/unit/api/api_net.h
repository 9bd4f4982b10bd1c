// SPDX-License-Identifier: Apache-2.0
// A small trained network for tests of the public API; include it after cmocka.
#pragma once

#include <string.h>

#include "common/api/sluice.h"

struct api_net {
    sl_program *main, *startup, *test;
    const char *loss;
    sl_feed *feed;
    sl_fetch *fetch;
};

static inline struct api_net api_net_new(void)
{
    struct api_net n = {.main = sl_program_new(), .startup = sl_program_new()};
    struct sl_error err = {0};
    sl_program_set_random_seed(n.main, 7);
    sl_program_set_random_seed(n.startup, 7);
    sl_net *net = sl_net_new(n.main, n.startup);
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(4));
    sl_var *y = sl_data(net, "y", SL_FP32, SL_SHAPE(1));
    sl_var *loss = sl_mean(net, sl_square_error_cost(net, sl_fc(net, x, 1, NULL), y));
    n.test = sl_program_clone(n.main, true, &err);
    sl_minimize(net, sl_momentum(0.1, 0.9, NULL), loss);
    if (sl_net_error(net, &err) < 0)
        fail_msg("%s", err.text);
    sl_net_free(net);
    n.loss = sl_var_name(loss);
    float xs[2][4] = {{1, 2, 3, 4}, {0, 1, 0, 1}}, ys[2][1] = {{1}, {-1}};
    n.feed = sl_feed_new();
    n.fetch = sl_fetch_new();
    const struct sl_tensor tx = {.dtype = SL_FP32, .shape = SL_SHAPE(2, 4), .data = xs};
    const struct sl_tensor ty = {.dtype = SL_FP32, .shape = SL_SHAPE(2, 1), .data = ys};
    assert_int_equal(sl_feed_set(n.feed, "x", &tx, &err), 0);
    assert_int_equal(sl_feed_set(n.feed, "y", &ty, &err), 0);
    sl_fetch_add(n.fetch, n.loss);
    return n;
}

static inline void api_net_free(struct api_net *n)
{
    sl_fetch_free(n->fetch);
    sl_feed_free(n->feed);
    sl_program_free(n->main);
    sl_program_free(n->startup);
    sl_program_free(n->test);
}

static inline void api_net_run(struct api_net *n, sl_executor *exe, sl_program *program)
{
    struct sl_error err = {0};
    if (sl_run(exe, program, n->feed, n->fetch, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void api_net_start(struct api_net *n, sl_executor *exe)
{
    struct sl_error err = {0};
    if (sl_run(exe, n->startup, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
}

static inline void api_net_says(const struct sl_error *err, const char *text)
{
    if (strstr(err->text, text) == NULL)
        fail_msg("`%s` does not say `%s`", err->text, text);
}
