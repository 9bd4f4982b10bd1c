// SPDX-License-Identifier: Apache-2.0
// Writes the programs of a small network that has everything a resume may lose: batch_norm's
// statistics, dropout, a learning-rate schedule with its counter, and any optimizer's state.
//
//   resume_net OPTIMIZER MAIN STARTUP
#include <sluice.h>
#include <stdio.h>
#include <string.h>

static sl_optimizer *make(const char *name)
{
    struct sl_momentum_options nesterov = sl_momentum_defaults();
    struct sl_adam_options lazy = sl_adam_defaults();
    struct sl_adagrad_options start = sl_adagrad_defaults();
    struct sl_rmsprop_options centered = sl_rmsprop_defaults();
    struct sl_ftrl_options ftrl = sl_ftrl_defaults();
    struct sl_dpsgd_options quiet = sl_dpsgd_defaults();
    nesterov.use_nesterov = true;
    lazy.lazy_mode = true;
    start.initial_accumulator = 0.1;
    centered.centered = true;
    centered.momentum = 0.5;
    ftrl.l1 = 1e-4;
    quiet.clip = 10;
    quiet.batch_size = 32;
    quiet.sigma = 0;   // its noise has no seed
    const struct {
        const char *name;
        sl_optimizer *made;
    } all[] = {
        {"sgd", sl_sgd(0.05)},
        {"momentum", sl_momentum(0.02, 0.9, NULL)},
        {"nesterov", sl_momentum(0.02, 0.9, &nesterov)},
        {"adam", sl_adam(0.002, NULL)},
        {"adam_lazy", sl_adam(0.002, &lazy)},
        {"lars", sl_lars_momentum(0.5, 0.9, NULL)},
        {"adagrad", sl_adagrad(0.02, &start)},
        {"adamax", sl_adamax(0.002, NULL)},
        {"decayed_adagrad", sl_decayed_adagrad(0.02, NULL)},
        {"adadelta", sl_adadelta(1, NULL)},
        {"rmsprop", sl_rmsprop(0.002, NULL)},
        {"rmsprop_centered", sl_rmsprop(0.002, &centered)},
        {"ftrl", sl_ftrl(0.05, &ftrl)},
        {"lamb", sl_lamb(0.002, NULL)},
        {"dpsgd", sl_dpsgd(0.02, &quiet)},
    };
    sl_optimizer *found = NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, name) == 0)
            found = all[i].made;
        else
            sl_optimizer_free(all[i].made);
    }
    return found;
}

static int build(const char *name, sl_net *net)
{
    struct sl_fc_options softmax = sl_fc_defaults();
    struct sl_dropout_options dropout = sl_dropout_defaults();
    struct sl_batch_norm_options norm = sl_batch_norm_defaults();
    softmax.act = "softmax";
    dropout.seed = 11;
    norm.act = "relu";
    bool average = strcmp(name, "ema") == 0, lookahead = strcmp(name, "lookahead") == 0;
    sl_optimizer *optimizer = make(average ? "momentum" : lookahead ? "sgd" : name);
    if (optimizer == NULL)
        return SL_ERR_USAGE;
    sl_var *img = sl_data(net, "img", SL_FP32, SL_SHAPE(784));
    sl_var *label = sl_data(net, "label", SL_INT64, SL_SHAPE(1));
    // 784 x 32 elements are three pieces on three servers.
    sl_var *hidden = sl_batch_norm(net, sl_fc(net, img, 32, NULL), &norm);
    sl_var *out = sl_fc(net, sl_dropout(net, hidden, 0.2, &dropout), 10, &softmax);
    sl_var *loss = sl_mean(net, sl_cross_entropy(net, out, label));
    if (strcmp(name, "adadelta") != 0 && strcmp(name, "lars") != 0)   // these keep theirs
        sl_optimizer_set_rate(optimizer, sl_exponential_decay(net, 0.01, 2, 0.8, true));
    if (lookahead)
        return sl_minimize_lookahead(net, optimizer, loss, 0.5, 2);
    int rc = sl_minimize(net, optimizer, loss);
    if (rc >= 0 && average)
        sl_average_free(sl_exponential_moving_average(net, 0.9));
    return rc;
}

int main(int argc, char **argv)
{
    struct sl_error err = {0};
    if (argc != 4)
        return 2;
    sl_program *main_program = sl_program_new(), *startup = sl_program_new();
    sl_program_set_random_seed(startup, 5);
    sl_net *net = sl_net_new(main_program, startup);
    int rc = build(argv[1], net);
    if (rc >= 0)
        rc = sl_net_error(net, &err);
    if (rc >= 0)
        rc = sl_program_save(main_program, argv[2], &err);
    if (rc >= 0)
        rc = sl_program_save(startup, argv[3], &err);
    if (rc < 0)
        fprintf(stderr, "%s: error %d: %s\n", argv[1], rc, err.text);
    sl_net_free(net);
    sl_program_free(main_program);
    sl_program_free(startup);
    return rc < 0 ? 1 : 0;
}
