// SPDX-License-Identifier: Apache-2.0
// What the reference document leaves out of its code: a network, data, and printing a loss. Batch n
// of trainer i is a formula of (n, i), so a run that goes on sees what an uninterrupted one would.
#pragma once

#include <math.h>
#include <sluice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLE_WIDTH = 256, EXAMPLE_ROWS = 16 };

static inline int example_fail(const struct sl_error *err)
{
    fprintf(stderr, "error %d: %s\n", err->code, err->text);
    return 1;
}

static inline int example_int(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

// fluid.layers calls on the default programs; returns the loss, or NULL after printing the error.
static inline sl_var *example_network(sl_net *net)
{
    struct sl_fc_options relu = sl_fc_defaults();
    relu.act = "relu";
    sl_var *x = sl_data(net, "x", SL_FP32, SL_SHAPE(EXAMPLE_WIDTH));
    sl_var *y = sl_data(net, "y", SL_FP32, SL_SHAPE(1));
    sl_var *predict = sl_fc(net, sl_fc(net, x, 64, &relu), 1, NULL);
    return sl_mean(net, sl_square_error_cost(net, predict, y));
}

// The training program on the default programs. Returns the loss's name, which lives as long as the
// default main program (or the transpiler that took it over).
static inline const char *example_build(struct sl_error *err)
{
    sl_program_set_random_seed(sl_default_main_program(), 90);
    sl_program_set_random_seed(sl_default_startup_program(), 90);
    sl_net *net = sl_net_new(NULL, NULL);
    sl_var *loss = example_network(net);
    sl_minimize(net, sl_adam(1e-2, NULL), loss);
    int rc = sl_net_error(net, err);
    sl_net_free(net);
    return rc < 0 ? NULL : sl_var_name(loss);
}

static inline void example_samples(float x[EXAMPLE_ROWS][EXAMPLE_WIDTH], float y[EXAMPLE_ROWS][1],
                                   int batch, int trainer)
{
    for (int r = 0; r < EXAMPLE_ROWS; r++) {
        y[r][0] = 0;
        for (int c = 0; c < EXAMPLE_WIDTH; c++) {
            x[r][c] = (float)((batch * 131 + trainer * 57 + r * 29 + c * c * 7) % 101) / 101.0f;
            y[r][0] += x[r][c] * (c % 3 == 0 ? 0.05f : -0.02f);
        }
    }
}

static inline int example_batch(sl_feed *feed, int batch, int trainer, struct sl_error *err)
{
    static float x[EXAMPLE_ROWS][EXAMPLE_WIDTH], y[EXAMPLE_ROWS][1];
    example_samples(x, y, batch, trainer);
    const struct sl_tensor xs = {
        .dtype = SL_FP32, .shape = SL_SHAPE(EXAMPLE_ROWS, EXAMPLE_WIDTH), .data = x};
    const struct sl_tensor ys = {.dtype = SL_FP32, .shape = SL_SHAPE(EXAMPLE_ROWS, 1), .data = y};
    int rc = sl_feed_set(feed, "x", &xs, err);
    return rc < 0 ? rc : sl_feed_set(feed, "y", &ys, err);
}

// Runs program (NULL: the default main program) over batches [first, first + count), printing
// "loss N VALUE" lines.
static inline int example_run(sl_executor *exe, sl_program *program, const char *loss, int first,
                              int count, int trainer, struct sl_error *err)
{
    sl_feed *feed = sl_feed_new();
    sl_fetch *fetch = sl_fetch_new();
    int rc = 0;
    sl_fetch_add(fetch, loss);
    for (int n = first; rc == 0 && n < first + count; n++) {
        rc = example_batch(feed, n, trainer, err);
        if (rc == 0)
            rc = sl_run(exe, program, feed, fetch, err);
        if (rc == 0)
            printf("loss %d %.9g\n", n, sl_fetch_number(fetch, 0));
    }
    sl_fetch_free(fetch);
    sl_feed_free(feed);
    return rc;
}
