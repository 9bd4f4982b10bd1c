// SPDX-License-Identifier: Apache-2.0
// From options to programs. A zoo model is built through the public API, exactly as a user's own
// program would be; a saved program is read, and what Fluid keeps in Python only (which variable is
// the loss, what is fed) is found in its operators.
//
// Nothing is run here and nothing of a checkpoint is looked at.
#include "common/api/job.h"

#include <string.h>

#include "common/api/job_optimizer.h"
#include "common/api/sluice.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/ckpt/op_save_load.h"
#include "common/config/option.h"
#include "common/exec/plan.h"
#include "common/passes/transpiler.h"
#include "common/program/op_desc.h"
#include "common/program/program.h"
#include "common/zoo/zoo.h"

static int check_options(const struct option_set *options, struct err *err);
static int build_model(const struct option_set *options, struct job *job, struct err *err);
static void name_network(const struct zoo_network *network, struct job *job);
static int load_programs(const struct option_set *options, struct job *job, struct err *err);
static int set_rate(const struct option_set *options, struct job *job, struct err *err);
static char *find_loss(const struct block *block);
static void find_feeds(const struct block *block, struct str_list *out);
static void find_metrics(const struct block *block, struct job *job);
static int check_ops(const struct option_set *options, const struct job *job, struct err *err);
static int distribute(const struct option_set *options, struct job *job, struct err *err);

int job_build(const struct option_set *options, struct job *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    int rc = check_options(options, err);
    if (rc == 0)
        rc = option_string(options, "model") ? build_model(options, out, err)
                                             : load_programs(options, out, err);
    if (rc == 0)
        rc = check_ops(options, out, err);
    if (rc == 0 && option_role(options) != OPTION_LOCAL)
        rc = distribute(options, out, err);
    return rc;
}

void job_deinit(struct job *job)
{
    transpiler_free(job->transpiler);
    program_free(job->main);
    program_free(job->startup);
    mem_free(job->loss);
    mem_free(job->predict);
    str_list_deinit(&job->feeds);
    str_list_deinit(&job->metric_names);
    str_list_deinit(&job->metric_vars);
    memset(job, 0, sizeof *job);
}

const char *job_endpoint(const struct job *job, size_t index)
{
    return transpiler_endpoints(job->transpiler)->items[index];
}

static int check_options(const struct option_set *options, struct err *err)
{
    const char *model = option_string(options, "model");
    if (!model && !option_string(options, "startup_program"))
        return err_set(err, SL_EUSAGE,
                       "--main_program needs the --startup_program that was saved beside it");
    if (model && !zoo_find(model)) {
        struct str_list names = {0};
        for (size_t i = 0; i < zoo_count(); i++)
            str_list_add(&names, zoo_at(i)->name);
        char *text = str_list_join(&names, ", ");
        err_set(err, SL_EUSAGE, "--model %s: there is no such model; there are: %s", model, text);
        mem_free(text);
        str_list_deinit(&names);
        return SL_EUSAGE;
    }
    if (option_role(options) != OPTION_LOCAL && !option_bool(options, "sync_mode"))
        return err_set(err, SL_EUSAGE,
                       "--sync_mode=false: the daemons run synchronous training only; "
                       "`sluice transpile` writes asynchronous programs");
    return 0;
}

// ---- a model of the zoo

static int64_t set_size(const struct option_set *options, const char *name)
{
    return option_is_set(options, name) ? option_int(options, name) : 0;
}

static int build_model(const struct option_set *options, struct job *job, struct err *err)
{
    const struct zoo_model *model = zoo_find(option_string(options, "model"));
    struct zoo_options settings = {.table_rows = 0};
    struct sl_error error = {0};
    const char *hidden = option_is_set(options, "hidden") ? option_string(options, "hidden") : NULL;
    settings.table_rows = set_size(options, "table_rows");
    settings.embedding_size = set_size(options, "embedding_size");
    settings.sparse_slots = set_size(options, "sparse_slots");
    settings.classes = set_size(options, "classes");
    settings.ngram = set_size(options, "ngram");
    settings.dense_tables = !option_bool(options, "is_sparse");
    if (zoo_parse_hidden(model, hidden, &settings, &error) < 0 ||
        zoo_complete(model, &settings, &error) < 0)
        return err_set(err, SL_EUSAGE, "--model %s", error.text);

    job->model = model;
    job->main = sl_program_new();
    job->startup = sl_program_new();
    uint32_t seed = (uint32_t)option_int(options, "seed");
    sl_program_set_random_seed(job->main, seed);
    sl_program_set_random_seed(job->startup, seed);
    sl_net *net = sl_net_new(job->main, job->startup);
    struct zoo_network network = {0};
    sl_optimizer *optimizer = NULL;
    model->build(net, &settings, &network);
    int rc = job_optimizer_make(options, model->default_optimizer, model->default_learning_rate,
                                net, &optimizer, err);
    if (rc == 0) {
        sl_minimize(net, optimizer, network.loss);
        rc = sl_net_error(net, &error);
        if (rc < 0)
            err_set(err, rc, "--model %s: %s", model->name, error.text);
        else
            name_network(&network, job);
    }
    sl_net_free(net);
    return rc < 0 ? rc : 0;
}

static void name_network(const struct zoo_network *network, struct job *job)
{
    job->hash_dim = network->hash_dim;
    job->ngram = (int)network->ngram;
    job->loss = mem_must_strdup(sl_var_name(network->loss));
    job->predict = network->predict ? mem_must_strdup(sl_var_name(network->predict)) : NULL;
    for (size_t i = 0; i < network->feeds_count; i++)
        str_list_add(&job->feeds, sl_var_name(network->feeds[i]));
    for (size_t i = 0; i < network->metrics_count; i++) {
        str_list_add(&job->metric_names, network->metric_names[i]);
        str_list_add(&job->metric_vars, sl_var_name(network->metrics[i]));
    }
}

// ---- programs from files

static int load_programs(const struct option_set *options, struct job *job, struct err *err)
{
    int rc = program_load(option_string(options, "main_program"), &job->main, err);
    if (rc == 0)
        rc = program_load(option_string(options, "startup_program"), &job->startup, err);
    if (rc < 0)
        return rc;
    const struct block *block = program_block(job->main, 0);
    const char *loss = option_string(options, "loss");
    if (loss && !block_var(block, loss))
        return err_set(err, SL_EINVAL, "--loss %s: %s has no such variable", loss,
                       option_string(options, "main_program"));
    job->loss = loss ? mem_must_strdup(loss) : find_loss(block);
    find_feeds(block, &job->feeds);
    find_metrics(block, job);
    return option_is_set(options, "learning_rate") ? set_rate(options, job, err) : 0;
}

// --learning_rate takes the place of the constant one that the start-up program sets.
static int set_rate(const struct option_set *options, struct job *job, struct err *err)
{
    struct str_list rates = {0}, constant = {0};
    size_t set = 0;
    ckpt_vars_rates(job->main, NULL, &rates, &constant);
    struct block *block = program_block(job->startup, 0);
    for (size_t i = 0; constant.count == 1 && i < block->ops_count; i++) {
        const char *out = op_desc_output1(block->ops[i], "Out");
        if (!out || !str_eq(out, constant.items[0]) ||
            !str_eq(block->ops[i]->type, "fill_constant"))
            continue;
        op_desc_set_float(block->ops[i], "value", (float)option_f64(options, "learning_rate"));
        if (op_desc_get_string(block->ops[i], "str_value", NULL))
            op_desc_set_string(block->ops[i], "str_value", "");
        set++;
    }
    str_list_deinit(&rates);
    str_list_deinit(&constant);
    return set == 1 ? 0
                    : err_set(err, SL_EINVAL,
                              "--learning_rate: %s has no learning rate that is one constant of "
                              "its start-up program",
                              option_string(options, "main_program"));
}

// Fluid marks the operator that makes the loss in its role.
static char *find_loss(const struct block *block)
{
    for (size_t i = block->ops_count; i-- > 0;) {
        const struct op_desc *op = block->ops[i];
        if (op_desc_role(op) != (OP_ROLE_FORWARD | OP_ROLE_LOSS))
            continue;
        for (size_t s = 0; s < op->outputs_count; s++)
            if (op->outputs[s].args.count)
                return mem_must_strdup(op->outputs[s].args.items[0]);
    }
    return NULL;
}

// A variable that is read before anything made it, and does not persist, is fed. In order of
// reading.
static void find_feeds(const struct block *block, struct str_list *out)
{
    struct map made;
    map_init(&made);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        for (size_t s = 0; s < op->inputs_count; s++)
            for (size_t a = 0; a < op->inputs[s].args.count; a++) {
                const char *name = op->inputs[s].args.items[a];
                const struct var_desc *var = block_var(block, name);
                if (!var || !var->has_tensor || (var->has_persistable && var->persistable) ||
                    map_get(&made, name))
                    continue;
                str_list_add(out, name);
                map_set(&made, name, out);
            }
        for (size_t s = 0; s < op->outputs_count; s++)
            for (size_t a = 0; a < op->outputs[s].args.count; a++)
                map_set(&made, op->outputs[s].args.items[a], out);
    }
    map_deinit(&made);
}

// The first accuracy, the first auc over all batches and the first over the last ones.
static void find_metrics(const struct block *block, struct job *job)
{
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        const struct attr *window = op_desc_attr(op, "slide_steps");
        bool auc = str_eq(op->type, "auc"), all = window && window->i == 0;
        const char *name = auc ? (all ? "auc" : "batch_auc") : "acc";
        const char *var = auc                              ? op_desc_output1(op, "AUC")
                          : str_eq(op->type, "accuracy") ? op_desc_output1(op, "Accuracy")
                                                         : NULL;
        if (!var || str_list_has(&job->metric_names, name))
            continue;
        str_list_add(&job->metric_names, name);
        str_list_add(&job->metric_vars, var);
    }
}

// Missing operators are told here, all of them, before anything is run or anybody is asked.
static int check_ops(const struct option_set *options, const struct job *job, struct err *err)
{
    static const struct plan_host files = {.ops = op_save_load_table};
    static const char *const names[] = {"main_program", "startup_program"};
    const struct program *const programs[] = {job->main, job->startup};
    for (size_t i = 0; i < 2; i++) {
        int rc = plan_check(programs[i], &files, 1, NULL, err);
        if (rc < 0)
            return err_prefix(err, "%s",
                              job->model ? job->model->name : option_string(options, names[i]));
    }
    return 0;
}

// ---- distribution

// Programs name servers by endpoint. Where the system chooses a server's port, the programs of a
// server get a stand-in: nobody connects to an address out of a program, and the topology counts
// servers by number.
static char *distinct_endpoints(const struct str_list *endpoints)
{
    struct str_list names = {0};
    for (size_t i = 0; i < endpoints->count; i++) {
        const char *text = endpoints->items[i];
        if (str_ends_with(text, ":0"))
            str_list_addf(&names, "%.*s:%zu", (int)(strlen(text) - 2), text, i + 1);
        else
            str_list_add(&names, text);
    }
    char *joined = str_list_join(&names, ",");
    str_list_deinit(&names);
    return joined;
}

static int distribute(const struct option_set *options, struct job *job, struct err *err)
{
    struct transpiler_config config = transpiler_config_default();
    config.slice_var_up = option_bool(options, "slice_var_up");
    config.min_block_size = option_int(options, "min_block_size");
    config.init_whole = str_eq(option_string(options, "init"), "whole");
    config.clip_merged = option_bool(options, "clip_merged");
    int rc =
        transpiler_split_parse(option_string(options, "split_method"), &config.split_method, err);
    if (rc < 0)
        return rc;
    char *pservers = distinct_endpoints(option_list(options, "pservers"));
    struct transpiler_job plan = {
        .pservers = pservers,
        .trainers = (int)option_int(options, "trainers"),
        .sync_mode = true,
    };
    rc = transpiler_new(&config, &plan, job->main, job->startup, &job->transpiler, err);
    mem_free(pservers);
    return rc;
}
