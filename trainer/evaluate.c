// SPDX-License-Identifier: Apache-2.0
// The test program is the training program cloned for test, without what talks to the servers; it
// runs in an executor of its own over the trainer's scope, which holds the parameters that the last
// step received. Rows of tables that only servers hold are looked up there. What a metric counts
// (auc's histograms) has variables of its own here, so that an evaluation starts from nothing and
// training does not see it.
#include "trainer/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/exec/scope.h"
#include "common/passes/clone.h"
#include "common/program/op_desc.h"
#include "common/program/program.h"
#include "common/ps/comm.h"
#include "common/reader/reader.h"
#include "trainer/data_options.h"
#include "trainer/engine.h"
#include "trainer/work.h"

static struct program *test_program(const struct engine *engine);
static void own_states(struct evaluate *e);
static void own_slot(struct evaluate *e, struct op_slot *slot);
static void find_summed(struct evaluate *e);
static int open_data(struct evaluate *e, struct err *err);
static int clear_states(struct evaluate *e, struct err *err);
static int run_all(struct evaluate *e, struct evaluate_result *out, struct err *err);
static void add(const struct evaluate *e, int64_t samples, struct evaluate_result *out);

int evaluate_open(struct engine *engine, struct evaluate *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    out->engine = engine;
    out->every = option_every(engine->options, "eval_every");
    out->last_ms = clock_now_ms();
    bool data = option_is_set(engine->options, "test_data");
    if (out->every.count > 0 && !data)
        return err_set(err, SL_EUSAGE, "--eval_every needs --test_data");
    if (!data || !engine_saves(engine))
        return 0;
    out->program = test_program(engine);
    own_states(out);
    int rc = open_data(out, err);
    if (rc == 0)
        rc = fetches_init(&engine->job, out->program, NULL, &out->fetches, err);
    if (rc == 0)
        find_summed(out);
    return rc < 0 ? err_prefix(err, "--test_data") : 0;
}

void evaluate_close(struct evaluate *e)
{
    executor_free(e->exe);
    reader_free(e->reader);
    fetches_deinit(&e->fetches);
    mem_free(e->feeds);
    program_free(e->program);
    str_list_deinit(&e->states);
    mem_free(e->results);
    memset(e, 0, sizeof *e);
}

bool evaluate_due(const struct evaluate *e, const struct work *work)
{
    return e->program != NULL && work_is_due(work, e->every, e->last_ms);
}

int evaluate_run(struct evaluate *e, const struct work *work, struct err *err)
{
    const struct evaluate_result *last = evaluate_last(e);
    if (e->program == NULL || (last != NULL && last->step == work->progress.step))
        return 0;
    struct evaluate_result result = {.step = work->progress.step, .epoch = work->progress.epoch};
    uint64_t before = clock_now_ns();
    int rc = clear_states(e, err);
    if (rc == 0)
        rc = run_all(e, &result, err);
    if (rc < 0)
        return err_prefix(err, "--test_data");
    result.seconds = (double)(clock_now_ns() - before) * 1e-9;
    result.bad_lines = reader_bad_lines(e->reader);   // found when the data was opened
    e->last_ms = clock_now_ms();
    MEM_GROW(e->results, e->count, e->cap);
    e->results[e->count++] = result;
    return 0;
}

const struct evaluate_result *evaluate_last(const struct evaluate *e)
{
    return e->count > 0 ? &e->results[e->count - 1] : NULL;
}

void evaluate_line(const struct evaluate *e, char *text, size_t bytes)
{
    const struct evaluate_result *last = evaluate_last(e);
    const struct str_list *names = &e->engine->job.metric_names;
    size_t at = 0;
    int n = snprintf(text, bytes, "test  step %lld", (long long)last->step);
    at += n > 0 ? (size_t)n : 0;
    if (e->fetches.has_loss && at < bytes)
        at += (size_t)snprintf(text + at, bytes - at, "  loss %.4f", last->loss);
    for (size_t i = 0; i < names->count && i < EVALUATE_METRICS_MAX && at < bytes; i++)
        at +=
            (size_t)snprintf(text + at, bytes - at, "  %s %.4f", names->items[i], last->metrics[i]);
    if (at < bytes)
        snprintf(text + at, bytes - at, "  (%lld samples, %.1f s)", (long long)last->samples,
                 last->seconds);
}

static struct program *test_program(const struct engine *engine)
{
    struct program *program = clone_for_test(engine->train);
    struct block *block = program_block(program, 0);
    for (size_t i = block->ops_count; i-- > 0;) {
        const struct attr *role = op_desc_attr(block->ops[i], OP_ROLE_ATTR);
        if (role != NULL && role->type == ATTR_INT && (role->i & (OP_ROLE_RPC | OP_ROLE_DIST)))
            block_remove_op(block, i);
    }
    return program;
}

static void own_states(struct evaluate *e)
{
    static const char *const inputs[] = {"StatPos", "StatNeg"};
    static const char *const outputs[] = {"StatPosOut", "StatNegOut"};
    struct block *block = program_block(e->program, 0);
    for (size_t i = 0; i < block->ops_count; i++) {
        struct op_desc *op = block->ops[i];
        if (str_eq(op->type, "distributed_lookup_table"))
            e->asks_servers = true;
        for (size_t s = 0; s < 2 && str_eq(op->type, "auc"); s++) {
            own_slot(e, op_desc_input(op, inputs[s]));
            own_slot(e, op_desc_output(op, outputs[s]));
        }
    }
}

// Its variables become X@TEST.
static void own_slot(struct evaluate *e, struct op_slot *slot)
{
    struct block *block = program_block(e->program, 0);
    for (size_t i = 0; slot != NULL && i < slot->args.count; i++) {
        char *own = mem_must_printf("%s@TEST", slot->args.items[i]);
        const struct var_desc *var = block_var(block, slot->args.items[i]);
        if (var != NULL && block_var(block, own) == NULL) {
            struct var_desc *copy = var_desc_clone(var);
            mem_free(copy->name);
            copy->name = mem_must_strdup(own);
            block_add_var(block, copy);
            str_list_add(&e->states, own);
        }
        mem_free(slot->args.items[i]);
        slot->args.items[i] = own;
    }
}

// An auc over all batches (slide_steps 0) is a sum by itself; other metrics are of their batch.
static void find_summed(struct evaluate *e)
{
    const struct block *block = program_block(e->program, 0);
    const struct str_list *vars = &e->engine->job.metric_vars;
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        const struct attr *window = op_desc_attr(op, "slide_steps");
        const struct op_slot *out = op_desc_output(op, "AUC");
        if (!str_eq(op->type, "auc") || out == NULL || (window != NULL && window->i != 0))
            continue;
        for (size_t m = 0; m < vars->count && m < EVALUATE_METRICS_MAX; m++)
            e->summed[m] |= str_list_has(&out->args, vars->items[m]);
    }
}

static int open_data(struct evaluate *e, struct err *err)
{
    struct data_options data;
    int rc = data_options_init(e->engine, e->program, &data, err);
    data.reader.trainers = 1;
    data.reader.ordered = true;
    data.reader.keep_last = true;
    data.reader.test = true;
    if (rc == 0)
        rc = reader_open(option_string(e->engine->options, "test_data"), &data.reader, &e->reader,
                         err);
    data_options_deinit(&data);
    if (rc == 0)
        e->feeds = mem_must_calloc(reader_feeds(e->reader) + 1, sizeof *e->feeds);
    return rc;
}

static int clear_states(struct evaluate *e, struct err *err)
{
    const struct block *block = program_block(e->program, 0);
    for (size_t i = 0; i < e->states.count; i++) {
        const struct var_desc *var = block_var(block, e->states.items[i]);
        struct tensor *t = variable_tensor(scope_var(e->engine->scope, e->states.items[i]));
        int rc = tensor_resize(t, (enum dtype)var->dtype, &var->dims);
        if (rc < 0)
            return err_set(err, rc, "%s: no memory for its shape", e->states.items[i]);
        memset(t->data, 0, tensor_bytes(t));
    }
    return 0;
}

static int run_all(struct evaluate *e, struct evaluate_result *out, struct err *err)
{
    if (e->exe == NULL) {
        const struct plan_host host = {.ops = op_comm_table, .self = e->engine->comm};
        e->exe = executor_new(e->engine->scope, &host, e->engine->comm != NULL ? 1 : 0);
    }
    size_t count = reader_feeds(e->reader);
    int more;
    while ((more = reader_next(e->reader, err)) > 0) {
        for (size_t i = 0; i < count; i++)
            e->feeds[i] = (struct executor_feed){reader_feed_name(e->reader, i),
                                                 reader_feed_value(e->reader, i)};
        int rc = executor_run(e->exe, e->program, e->feeds, count, e->fetches.items,
                              e->fetches.count, err);
        if (rc < 0)
            return rc;
        fetches_take(&e->fetches, 1);
        add(e, reader_batch_samples(e->reader), out);
    }
    if (more == 0 && out->samples == 0)
        return err_set(err, SL_EINVAL, "there are no samples");
    return more;
}

// A running mean over samples.
static void add(const struct evaluate *e, int64_t samples, struct evaluate_result *out)
{
    out->samples += samples;
    double share = (double)samples / (double)out->samples;
    out->loss += (e->fetches.loss - out->loss) * share;
    for (size_t i = 0; i < e->fetches.metrics && i < EVALUATE_METRICS_MAX; i++) {
        if (e->summed[i])
            out->metrics[i] = e->fetches.values[i];
        else
            out->metrics[i] += (e->fetches.values[i] - out->metrics[i]) * share;
    }
}
