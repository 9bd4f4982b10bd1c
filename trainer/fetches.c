// SPDX-License-Identifier: Apache-2.0
// One array for the executor, in a fixed order, so that a step allocates nothing.
#include "trainer/fetches.h"

#include <math.h>
#include <string.h>

#include "common/api/job.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/program/program.h"

int fetches_init(const struct job *job, const struct program *program,
                 const struct str_list *extras, struct fetches *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    out->has_loss = job->loss != NULL;
    out->loss = NAN;
    out->metrics = job->metric_vars.count;
    out->extras = extras ? extras->count : 0;
    out->count = (size_t)out->has_loss + out->metrics + out->extras;
    out->items = mem_must_calloc(out->count + 1, sizeof *out->items);
    out->values = mem_must_calloc(out->metrics + 1, sizeof *out->values);
    struct executor_fetch *next = out->items;
    if (out->has_loss)
        (next++)->name = job->loss;
    for (size_t i = 0; i < out->metrics; i++)
        (next++)->name = job->metric_vars.items[i];
    for (size_t i = 0; i < out->extras; i++)
        (next++)->name = extras->items[i];
    for (size_t i = 0; i < out->count; i++)
        if (!block_var(program_block(program, 0), out->items[i].name))
            return err_set(err, SL_EINVAL, "fetch %s: the program has no such variable",
                           out->items[i].name);
    return 0;
}

void fetches_deinit(struct fetches *fetches)
{
    mem_free(fetches->items);
    mem_free(fetches->values);
    memset(fetches, 0, sizeof *fetches);
}

// The first element of each worker's value.
static double mean(const struct variable *value, int workers)
{
    uint64_t count = value->kind == VARIABLE_TENSOR ? tensor_count(&value->tensor) : 0;
    double sum = 0;
    if (workers == 1 || count % (uint64_t)workers != 0)
        return fetches_number(value, 0);
    for (int w = 0; w < workers; w++)
        sum += fetches_number(value, (size_t)w * (count / (uint64_t)workers));
    return sum / workers;
}

void fetches_take(struct fetches *fetches, int workers)
{
    if (fetches->has_loss)
        fetches->loss = mean(fetches->items[0].value, workers);
    for (size_t i = 0; i < fetches->metrics; i++)
        fetches->values[i] = mean(fetches->items[fetches->has_loss + i].value, workers);
}

const struct executor_fetch *fetches_extra(const struct fetches *fetches, size_t i)
{
    return &fetches->items[fetches->has_loss + fetches->metrics + i];
}

double fetches_number(const struct variable *value, size_t i)
{
    if (!value || value->kind != VARIABLE_TENSOR || i >= tensor_count(&value->tensor))
        return NAN;
    const struct tensor *t = &value->tensor;
    switch (t->dtype) {
    case DTYPE_FP32:
        return (double)tensor_f32(t)[i];
    case DTYPE_FP64:
        return tensor_f64(t)[i];
    case DTYPE_INT64:
        return (double)tensor_i64(t)[i];
    case DTYPE_INT32:
        return (double)tensor_i32(t)[i];
    default:
        return NAN;
    }
}
