// SPDX-License-Identifier: Apache-2.0
// See job_optimizer.h. An option that is not set leaves the constructor's default.
#include "common/api/job_optimizer.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/config/option.h"

static int check_flags(const struct option_set *options, const char *kind, struct err *err);
static sl_optimizer *make_kind(const struct option_set *options, const char *kind, double rate);
static int make_rate(const struct option_set *options, double rate, sl_net *net, sl_var **out,
                     struct err *err);
static void set_gradients(const struct option_set *options, sl_optimizer *optimizer);

int job_optimizer_make(const struct option_set *options, const char *kind, double learning_rate,
                       sl_net *net, sl_optimizer **out, struct err *err)
{
    sl_var *schedule = NULL;
    if (option_is_set(options, "optimizer"))
        kind = option_string(options, "optimizer");
    if (option_is_set(options, "learning_rate"))
        learning_rate = option_f64(options, "learning_rate");
    int rc = make_rate(options, learning_rate, net, &schedule, err);
    if (rc < 0)
        return rc;
    rc = check_flags(options, kind, err);
    if (rc < 0)
        return rc;
    sl_optimizer *optimizer = make_kind(options, kind, learning_rate);
    if (optimizer == NULL)
        return err_set(err, SL_EUSAGE, "--optimizer %s: there is no such optimizer", kind);
    if (schedule != NULL)
        sl_optimizer_set_rate(optimizer, schedule);
    set_gradients(options, optimizer);
    *out = optimizer;
    return 0;
}

// *value is the option's number, when it is set.
static void take(const struct option_set *options, const char *name, double *value)
{
    if (option_is_set(options, name))
        *value = option_f64(options, name);
}

static sl_optimizer *make_momentum(const struct option_set *options, double rate)
{
    struct sl_momentum_options o = sl_momentum_defaults();
    o.use_nesterov = option_bool(options, "use_nesterov");
    return sl_momentum(rate, option_f64(options, "momentum"), &o);
}

static sl_optimizer *make_lars_momentum(const struct option_set *options, double rate)
{
    struct sl_lars_options o = sl_lars_defaults();
    take(options, "lars_coeff", &o.lars_coeff);
    take(options, "weight_decay", &o.weight_decay);
    return sl_lars_momentum(rate, option_f64(options, "momentum"), &o);
}

static sl_optimizer *make_adam(const struct option_set *options, double rate)
{
    struct sl_adam_options o = sl_adam_defaults();
    take(options, "beta1", &o.beta1);
    take(options, "beta2", &o.beta2);
    take(options, "epsilon", &o.epsilon);
    return sl_adam(rate, &o);
}

static sl_optimizer *make_adamax(const struct option_set *options, double rate)
{
    struct sl_adamax_options o = sl_adamax_defaults();
    take(options, "beta1", &o.beta1);
    take(options, "beta2", &o.beta2);
    take(options, "epsilon", &o.epsilon);
    return sl_adamax(rate, &o);
}

static sl_optimizer *make_lamb(const struct option_set *options, double rate)
{
    struct sl_lamb_options o = sl_lamb_defaults();
    take(options, "beta1", &o.beta1);
    take(options, "beta2", &o.beta2);
    take(options, "epsilon", &o.epsilon);
    take(options, "weight_decay", &o.weight_decay);
    return sl_lamb(rate, &o);
}

static sl_optimizer *make_adagrad(const struct option_set *options, double rate)
{
    struct sl_adagrad_options o = sl_adagrad_defaults();
    take(options, "epsilon", &o.epsilon);
    take(options, "initial_accumulator", &o.initial_accumulator);
    return sl_adagrad(rate, &o);
}

static sl_optimizer *make_decayed_adagrad(const struct option_set *options, double rate)
{
    struct sl_decayed_adagrad_options o = sl_decayed_adagrad_defaults();
    take(options, "epsilon", &o.epsilon);
    take(options, "rho", &o.decay);
    return sl_decayed_adagrad(rate, &o);
}

static sl_optimizer *make_adadelta(const struct option_set *options, double rate)
{
    struct sl_adadelta_options o = sl_adadelta_defaults();
    take(options, "epsilon", &o.epsilon);
    take(options, "rho", &o.rho);
    return sl_adadelta(rate, &o);
}

static sl_optimizer *make_rmsprop(const struct option_set *options, double rate)
{
    struct sl_rmsprop_options o = sl_rmsprop_defaults();
    take(options, "epsilon", &o.epsilon);
    take(options, "rho", &o.rho);
    take(options, "momentum", &o.momentum);
    o.centered = option_bool(options, "centered");
    return sl_rmsprop(rate, &o);
}

static sl_optimizer *make_ftrl(const struct option_set *options, double rate)
{
    struct sl_ftrl_options o = sl_ftrl_defaults();
    take(options, "l1", &o.l1);
    take(options, "l2", &o.l2);
    take(options, "lr_power", &o.lr_power);
    return sl_ftrl(rate, &o);
}

static sl_optimizer *make_dpsgd(const struct option_set *options, double rate)
{
    struct sl_dpsgd_options o = sl_dpsgd_defaults();
    take(options, "dpsgd_clip", &o.clip);
    take(options, "dpsgd_batch_size", &o.batch_size);
    take(options, "dpsgd_sigma", &o.sigma);
    return sl_dpsgd(rate, &o);
}

static sl_optimizer *make_sgd(const struct option_set *options, double rate)
{
    (void)options;
    return sl_sgd(rate);
}

// takes: the options of its own.
static const struct {
    const char *name, *takes;
    sl_optimizer *(*make)(const struct option_set *options, double rate);
} kinds[] = {
    {"sgd", "", make_sgd},
    {"momentum", "momentum use_nesterov", make_momentum},
    {"lars_momentum", "momentum lars_coeff weight_decay", make_lars_momentum},
    {"adam", "beta1 beta2 epsilon", make_adam},
    {"adamax", "beta1 beta2 epsilon", make_adamax},
    {"lamb", "beta1 beta2 epsilon weight_decay", make_lamb},
    {"adagrad", "epsilon initial_accumulator", make_adagrad},
    {"decayed_adagrad", "epsilon rho", make_decayed_adagrad},
    {"adadelta", "epsilon rho", make_adadelta},
    {"rmsprop", "epsilon rho momentum centered", make_rmsprop},
    {"ftrl", "l1 l2 lr_power", make_ftrl},
    {"dpsgd", "dpsgd_clip dpsgd_batch_size dpsgd_sigma", make_dpsgd},
};
#define KINDS (sizeof kinds / sizeof *kinds)

// A flag of another optimizer is a mistake; in a job file it may be meant for another run.
static int check_flags(const struct option_set *options, const char *kind, struct err *err)
{
    struct str_list own = {0}, others = {0};
    const char *wrong = NULL;
    for (size_t i = 0; i < KINDS; i++)
        str_list_split(str_eq(kinds[i].name, kind) ? &own : &others, kinds[i].takes, ' ');
    for (size_t i = 0; i < others.count && wrong == NULL; i++)
        if (others.items[i][0] != '\0' && !str_list_has(&own, others.items[i]) &&
            option_origin(options, others.items[i]) == OPTION_FLAG)
            wrong = others.items[i];
    int rc = 0;
    if (wrong != NULL) {
        char *text = str_list_join(&own, ", --");
        rc = err_set(err, SL_EUSAGE, "--%s has no effect with the optimizer %s, which takes %s%s",
                     wrong, kind, text[0] != '\0' ? "--" : "none of these options", text);
        mem_free(text);
    }
    str_list_deinit(&own);
    str_list_deinit(&others);
    return rc;
}

static sl_optimizer *make_kind(const struct option_set *options, const char *kind, double rate)
{
    for (size_t i = 0; i < KINDS; i++)
        if (str_eq(kinds[i].name, kind))
            return kinds[i].make(options, rate);
    return NULL;
}

// ---- the rate

// lr_boundaries and lr_values as numbers; mem_free both.
static int parse_pieces(const struct option_set *options, double **out_boundaries,
                        double **out_values, size_t *out_count, struct err *err)
{
    const struct str_list *at = option_list(options, "lr_boundaries");
    const struct str_list *values = option_list(options, "lr_values");
    size_t count = at ? at->count : 0;
    if (count == 0 || values == NULL || values->count != count + 1)
        return err_set(err, SL_EUSAGE,
                       "--lr_schedule piecewise: --lr_values has one number more than "
                       "--lr_boundaries");
    *out_boundaries = mem_must_calloc(count + 1, sizeof **out_boundaries);
    *out_values = mem_must_calloc(count + 1, sizeof **out_values);
    *out_count = count;
    for (size_t i = 0; i <= count; i++)
        if ((i < count && !str_parse_f64(at->items[i], &(*out_boundaries)[i])) ||
            !str_parse_f64(values->items[i], &(*out_values)[i]))
            return err_set(err, SL_EUSAGE,
                           "--lr_boundaries and --lr_values: `%s` or `%s` is no number",
                           i < count ? at->items[i] : "", values->items[i]);
    return 0;
}

static int make_piecewise(const struct option_set *options, sl_net *net, sl_var **out,
                          struct err *err)
{
    double *boundaries = NULL, *values = NULL;
    size_t count = 0;
    int rc = parse_pieces(options, &boundaries, &values, &count, err);
    if (rc == 0)
        *out = sl_piecewise_decay(net, boundaries, values, count);
    mem_free(boundaries);
    mem_free(values);
    return rc;
}

static int make_rate(const struct option_set *options, double rate, sl_net *net, sl_var **out,
                     struct err *err)
{
    const char *kind = option_string(options, "lr_schedule");
    double steps = (double)option_int(options, "decay_steps");
    double decay = option_f64(options, "decay_rate");
    double end = option_f64(options, "end_learning_rate"), power = option_f64(options, "power");
    double warmup = (double)option_int(options, "warmup_steps");
    bool stairs = option_bool(options, "staircase");
    int rc = 0;
    sl_var *var = NULL;
    if (str_eq(kind, "exponential"))
        var = sl_exponential_decay(net, rate, steps, decay, stairs);
    else if (str_eq(kind, "natural_exp"))
        var = sl_natural_exp_decay(net, rate, steps, decay, stairs);
    else if (str_eq(kind, "inverse_time"))
        var = sl_inverse_time_decay(net, rate, steps, decay, stairs);
    else if (str_eq(kind, "polynomial"))
        var = sl_polynomial_decay(net, rate, steps, end, power, option_bool(options, "cycle"));
    else if (str_eq(kind, "cosine"))
        var = sl_cosine_decay(net, rate, steps, (double)option_int(options, "decay_epochs"));
    else if (str_eq(kind, "piecewise"))
        rc = make_piecewise(options, net, &var, err);
    if (rc == 0 && warmup > 0)
        var = var ? sl_linear_lr_warmup_of(net, var, warmup, 0.0, rate)
                  : sl_linear_lr_warmup(net, rate, warmup, 0.0, rate);
    *out = var;
    return rc;
}

// ---- gradients

static void set_gradients(const struct option_set *options, sl_optimizer *optimizer)
{
    double bound = option_f64(options, "clip_norm");
    const char *kind = option_string(options, "clip");
    if (option_f64(options, "l2_decay") > 0)
        sl_optimizer_set_regularizer(optimizer, sl_l2_decay(option_f64(options, "l2_decay")));
    else if (option_f64(options, "l1_decay") > 0)
        sl_optimizer_set_regularizer(optimizer, sl_l1_decay(option_f64(options, "l1_decay")));
    if (str_eq(kind, "value"))
        sl_optimizer_set_clip(optimizer, sl_clip_by_value(bound, -bound));
    else if (str_eq(kind, "norm"))
        sl_optimizer_set_clip(optimizer, sl_clip_by_norm(bound));
    else if (str_eq(kind, "global_norm"))
        sl_optimizer_set_clip(optimizer, sl_clip_by_global_norm(bound));
}
