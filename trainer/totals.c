// SPDX-License-Identifier: Apache-2.0
// What is added up is an array of integers: samples; for the loss and each mean two numbers, the
// sum over samples in units of 1 / UNIT and how often it was not finite; for each auc its counts
// since the span began. Integers, so that the sum does not depend on the order of trainers.
#include "trainer/totals.h"

#include <math.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ops/op_auc.h"
#include "common/program/op_desc.h"
#include "common/program/program.h"
#include "common/ps/comm.h"
#include "common/tensor/variable.h"
#include "trainer/engine.h"
#include "trainer/fetches.h"

#define UNIT 1048576.0
#define UNITS_MAX 4e18
#define RUN_KEY UINT32_MAX

enum totals_kind {
    TOTALS_MEAN,
    TOTALS_AUC,
    TOTALS_NOT,   // looks back over some batches only
};

struct totals_metric {
    enum totals_kind kind;
    const char *states[2];   // positives, negatives: borrowed from the program
    size_t buckets;
    size_t at;   // place in the numbers
};

struct totals_span {
    int64_t samples;
    double sums[1 + EVALUATE_METRICS_MAX];   // loss first
    uint64_t bad[1 + EVALUATE_METRICS_MAX];
    int64_t *begin;   // the counts when it began, placed as in the numbers
};

enum { SPAN_EPOCH, SPAN_RUN };

static void find_auc(const struct block *block, const char *var, struct totals_metric *out);
static int read_states(const struct totals *totals, int64_t *out, struct err *err);
static int collect(struct totals *totals, const struct totals_span *span, struct err *err);
static void put_mean(int64_t *out, double sum, uint64_t bad);
static bool is_merged(const struct totals *totals);
static int add(struct totals *totals, uint32_t key, struct err *err);
static int take_epochs(struct totals *totals, bool wait, struct err *err);
static int take(struct totals *totals, uint32_t key, bool wait, struct err *err);
static void keep(struct totals *totals, uint32_t key, int trainers);
static double mean_of(const int64_t *number, int64_t samples);
static void tell(const struct totals *totals, const struct totals_result *result,
                 struct str_list *lines);

int totals_init(struct totals *totals, const struct engine *engine, struct err *err)
{
    const struct job *job = &engine->job;
    const struct block *block = program_block(engine->train, 0);
    memset(totals, 0, sizeof *totals);
    totals->engine = engine;
    totals->metrics_count = job->metric_names.count;
    if (totals->metrics_count > EVALUATE_METRICS_MAX)
        return err_set(err, SL_ELIMIT, "%zu metrics; at most %d are told", totals->metrics_count,
                       EVALUATE_METRICS_MAX);
    totals->metrics = mem_must_calloc(totals->metrics_count + 1, sizeof *totals->metrics);
    totals->width = 1 + 2;
    for (size_t m = 0; m < totals->metrics_count; m++) {
        struct totals_metric *metric = &totals->metrics[m];
        find_auc(block, job->metric_vars.items[m], metric);
        metric->at = totals->width;
        totals->width += metric->kind == TOTALS_AUC ? 2 * metric->buckets : 2;
    }
    totals->active = totals->metrics_count > 0 || job->loss != NULL;
    if (totals->active && engine->trainers > 1 &&
        totals->width * sizeof(int64_t) > LIMIT_FRAME_BODY_BYTES) {
        log_warn("the counts of its metrics are too large to be added up over trainers (%zu "
                 "numbers); each trainer tells its own only",
                 totals->width);
        totals->active = false;
    }
    totals->span = mem_must_calloc(2, sizeof *totals->span);
    totals->numbers = mem_must_calloc(totals->width, sizeof *totals->numbers);
    for (int s = 0; s < 2; s++)
        totals->span[s].begin = mem_must_calloc(totals->width, sizeof(int64_t));
    totals->first_open = 1;
    return 0;
}

void totals_deinit(struct totals *totals)
{
    for (int s = 0; s < 2 && totals->span; s++)
        mem_free(totals->span[s].begin);
    mem_free(totals->span);
    mem_free(totals->numbers);
    mem_free(totals->metrics);
    mem_free(totals->results);
    memset(totals, 0, sizeof *totals);
}

int totals_begin(struct totals *totals, struct err *err)
{
    int rc = totals->active ? read_states(totals, totals->span[SPAN_RUN].begin, err) : 0;
    if (rc == 0)
        memcpy(totals->span[SPAN_EPOCH].begin, totals->span[SPAN_RUN].begin,
               totals->width * sizeof(int64_t));
    return rc;
}

void totals_step(struct totals *totals, const struct fetches *fetches, int64_t samples)
{
    for (int s = 0; s < 2; s++) {
        struct totals_span *span = &totals->span[s];
        span->samples += samples;
        for (size_t i = 0; i <= totals->metrics_count; i++) {
            double value = i == 0 ? fetches->loss : fetches->values[i - 1];
            if (isfinite(value))
                span->sums[i] += value * (double)samples;
            else
                span->bad[i]++;
        }
    }
}

int totals_epoch(struct totals *totals, int64_t epoch, struct err *err)
{
    struct totals_span *span = &totals->span[SPAN_EPOCH];
    if (!totals->active || epoch < 1 || epoch >= RUN_KEY)
        return 0;
    int rc = collect(totals, span, err);
    if (rc == 0)
        rc = add(totals, (uint32_t)epoch, err);
    int64_t *begin = span->begin;
    *span = (struct totals_span){.begin = begin};
    if (rc == 0)
        rc = read_states(totals, begin, err);
    totals->first_open = totals->last_open < totals->first_open ? epoch : totals->first_open;
    totals->last_open = epoch;
    return rc;
}

int totals_poll(struct totals *totals, struct str_list *lines, struct err *err)
{
    int rc = totals->active ? take_epochs(totals, false, err) : 0;
    while (totals->told < totals->count)
        tell(totals, &totals->results[totals->told++], lines);
    return rc;
}

int totals_end(struct totals *totals, struct err *err)
{
    int rc = totals->active ? collect(totals, &totals->span[SPAN_RUN], err) : 0;
    return rc == 0 && totals->active ? add(totals, RUN_KEY, err) : rc;
}

int totals_wait(struct totals *totals, bool stopped, struct str_list *lines, struct err *err)
{
    if (!totals->active || totals->engine->trainer_id != 0)
        return 0;
    int rc = take_epochs(totals, !stopped, err);
    if (rc == 0 && is_merged(totals))
        rc = take(totals, RUN_KEY, !stopped, err);
    while (totals->told < totals->count)
        tell(totals, &totals->results[totals->told++], lines);
    if (totals->run_known && totals->run.samples > 0)
        tell(totals, &totals->run, lines);
    return rc < 0 ? rc : 0;
}

static void find_auc(const struct block *block, const char *var, struct totals_metric *out)
{
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        const char *area = str_eq(op->type, "auc") ? op_desc_output1(op, "AUC") : NULL;
        if (area == NULL || !str_eq(area, var))
            continue;
        const struct attr *window = op_desc_attr(op, "slide_steps");
        const struct attr *thresholds = op_desc_attr(op, "num_thresholds");
        out->states[0] = op_desc_output1(op, "StatPosOut");
        out->states[1] = op_desc_output1(op, "StatNegOut");
        bool all = window != NULL && window->i == 0 && thresholds != NULL && thresholds->i > 0;
        out->kind = all && out->states[0] && out->states[1] ? TOTALS_AUC : TOTALS_NOT;
        out->buckets = out->kind == TOTALS_AUC ? (size_t)thresholds->i + 1 : 0;
        return;
    }
}

// The counts of all workers, placed as in the numbers.
static int read_states(const struct totals *totals, int64_t *out, struct err *err)
{
    for (size_t m = 0; m < totals->metrics_count; m++) {
        const struct totals_metric *metric = &totals->metrics[m];
        for (size_t s = 0; s < 2 && metric->kind == TOTALS_AUC; s++) {
            int64_t *to = out + metric->at + s * metric->buckets;
            memset(to, 0, metric->buckets * sizeof *to);
            for (int w = 0; w < totals->engine->workers; w++) {
                const struct variable *value = engine_value(totals->engine, metric->states[s], w);
                bool fits = value && value->kind == VARIABLE_TENSOR &&
                            value->tensor.dtype == DTYPE_INT64 &&
                            tensor_count(&value->tensor) >= metric->buckets;
                if (!fits)
                    return err_set(err, SL_EINVAL, "%s: it should hold %zu counts of an auc",
                                   metric->states[s], metric->buckets);
                for (size_t i = 0; i < metric->buckets; i++)
                    to[i] += tensor_i64(&value->tensor)[i];
            }
        }
    }
    return 0;
}

static int collect(struct totals *totals, const struct totals_span *span, struct err *err)
{
    int64_t *numbers = totals->numbers;
    int rc = read_states(totals, numbers, err);
    if (rc < 0)
        return rc;
    numbers[0] = span->samples;
    put_mean(numbers + 1, span->sums[0], span->bad[0]);
    for (size_t m = 0; m < totals->metrics_count; m++) {
        const struct totals_metric *metric = &totals->metrics[m];
        if (metric->kind != TOTALS_AUC)
            put_mean(numbers + metric->at, span->sums[1 + m], span->bad[1 + m]);
        for (size_t i = 0; i < 2 * metric->buckets; i++)
            numbers[metric->at + i] -= span->begin[metric->at + i];
    }
    return 0;
}

static void put_mean(int64_t *out, double sum, uint64_t bad)
{
    double units = sum * UNIT;
    bool fits = fabs(units) < UNITS_MAX;
    out[0] = fits ? llround(units) : 0;
    out[1] = (int64_t)bad + !fits;
}

static bool is_merged(const struct totals *totals)
{
    return totals->engine->comm && totals->engine->trainers > 1;
}

// The numbers leave, or, where there is nobody else, are the sum already.
static int add(struct totals *totals, uint32_t key, struct err *err)
{
    if (is_merged(totals))
        return comm_merge(totals->engine->comm, key, totals->numbers, totals->width, err);
    keep(totals, key, 1);
    return 0;
}

// Those that are there, or all of them.
static int take_epochs(struct totals *totals, bool wait, struct err *err)
{
    int rc = 1;
    while (rc > 0 && is_merged(totals) && totals->engine->trainer_id == 0 &&
           totals->first_open <= totals->last_open) {
        rc = take(totals, (uint32_t)totals->first_open, wait, err);
        if (rc == SL_ENOENT)
            rc = 1;   // other trainers were so far behind that it is forgotten
        totals->first_open += rc > 0;
    }
    return rc < 0 ? rc : 0;
}

// 1: it is there.
static int take(struct totals *totals, uint32_t key, bool wait, struct err *err)
{
    int trainers = 0;
    int rc = comm_merge_result(totals->engine->comm, key, wait, totals->numbers, totals->width,
                               &trainers, err);
    if (rc > 0)
        keep(totals, key, trainers);
    return rc;
}

// Makes a result of the numbers.
static void keep(struct totals *totals, uint32_t key, int trainers)
{
    struct totals_result *out = &totals->run;
    if (key != RUN_KEY) {
        MEM_GROW(totals->results, totals->count, totals->cap);
        out = &totals->results[totals->count++];
    } else {
        totals->run_known = true;
    }
    const int64_t *numbers = totals->numbers;
    *out = (struct totals_result){.epoch = key == RUN_KEY ? 0 : key,
                                  .samples = numbers[0],
                                  .trainers = trainers,
                                  .loss = mean_of(numbers + 1, numbers[0])};
    for (size_t m = 0; m < totals->metrics_count; m++) {
        const struct totals_metric *metric = &totals->metrics[m];
        const int64_t *at = numbers + metric->at;
        out->metrics[m] = metric->kind == TOTALS_AUC
                              ? op_auc_area(at, at + metric->buckets, (int64_t)metric->buckets)
                          : metric->kind == TOTALS_MEAN ? mean_of(at, numbers[0])
                                                        : NAN;
    }
}

static double mean_of(const int64_t *number, int64_t samples)
{
    return number[1] != 0 || samples < 1 ? NAN : (double)number[0] / UNIT / (double)samples;
}

// "epoch 2 in all  loss 0.3127  auc 0.8123  (11904 samples of 2 trainers)"
static void tell(const struct totals *totals, const struct totals_result *result,
                 struct str_list *lines)
{
    const struct str_list *names = &totals->engine->job.metric_names;
    struct buf out;
    buf_init(&out, 0);
    if (result->epoch)
        buf_printf(&out, "epoch %lld in all", (long long)result->epoch);
    else
        buf_printf(&out, "run in all");
    if (!isnan(result->loss))
        buf_printf(&out, "  loss %.4f", result->loss);
    for (size_t m = 0; m < totals->metrics_count; m++)
        if (!isnan(result->metrics[m]))
            buf_printf(&out, "  %s %.4f", names->items[m], result->metrics[m]);
    buf_printf(&out, "  (%lld samples", (long long)result->samples);
    int trainers = totals->engine->trainers;
    if (trainers > 1 && result->trainers == trainers)
        buf_printf(&out, " of %d trainers)", trainers);
    else if (trainers > 1)
        buf_printf(&out, " of %d of %d trainers)", result->trainers, trainers);
    else
        buf_printf(&out, ")");
    str_list_add(lines, buf_text(&out));
    buf_deinit(&out);
}
