// SPDX-License-Identifier: Apache-2.0
// Three steps: check all (ckpt_want), read all into fresh tensors, swap all in. Until the swap the
// scope is untouched, and the swap cannot fail. Runs on the caller's thread, with a few more while
// files are read.
#include "common/ckpt/ckpt_load.h"

#include <math.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_read.h"
#include "common/ckpt/ckpt_want.h"
#include "common/exec/scope.h"
#include "common/storage/store.h"

static const struct ckpt_load_options no_options;

static int load_folder(const struct ckpt_folder *folder, const struct program *program,
                       struct ckpt_wants *wants, struct scope *scope,
                       const struct ckpt_load_options *options, struct ckpt_report *report,
                       struct err *err);
static int check_network(const struct ckpt_folder *folder, const struct program *program,
                         const struct ckpt_wants *wants, struct err *err);
static int check_others(const struct ckpt_folder *folder, struct err *err);
static void decide_rate(struct ckpt_want *want, const struct scope *scope, enum ckpt_rate_from from,
                        struct buf *line);
static bool rate_value(const struct variable *var, double *out);
static void swap_in(struct ckpt_want *want, struct scope *scope);

int ckpt_load(const char *dir, const struct program *program, struct scope *scope,
              const struct ckpt_load_options *options, struct ckpt_report *report, struct err *err)
{
    struct ckpt_wants wants;
    struct ckpt_folder folder;
    if (!options)
        options = &no_options;
    int rc = ckpt_want_collect(program, options, &wants, err);
    if (!rc)
        rc = ckpt_want_open_folder(dir, options->allow_interrupted, &folder, err);
    if (!rc) {
        rc = load_folder(&folder, program, &wants, scope, options, report, err);
        ckpt_want_close_folder(&folder);
    }
    ckpt_want_deinit(&wants);
    return rc ? err_prefix(err, "load %s", dir) : 0;
}

int ckpt_load_rate_rule(const char *choice, bool resume, bool job_gave_rate,
                        enum ckpt_rate_from *out, struct err *err)
{
    if (!choice || !*choice)
        *out = !resume && job_gave_rate ? CKPT_RATE_FROM_JOB : CKPT_RATE_FROM_CHECKPOINT;
    else if (str_eq(choice, "job"))
        *out = CKPT_RATE_FROM_JOB;
    else if (str_eq(choice, "checkpoint"))
        *out = CKPT_RATE_FROM_CHECKPOINT;
    else
        return err_set(err, SL_EINVAL, "--learning_rate_from=%s: must be job or checkpoint",
                       choice);
    return 0;
}

static int load_folder(const struct ckpt_folder *folder, const struct program *program,
                       struct ckpt_wants *wants, struct scope *scope,
                       const struct ckpt_load_options *options, struct ckpt_report *report,
                       struct err *err)
{
    bool damaged = false;
    struct buf line;
    buf_init(&line, 0);
    int rc = ckpt_want_check(wants, folder, options, err);
    int verdict = 0;
    if (!rc && options->check_network)
        verdict = check_network(folder, program, wants, err);
    if (!rc && !verdict && !options->partial)
        verdict = ckpt_want_verdict(wants, "Nothing was loaded.", err);
    if (!rc && !verdict)
        rc = ckpt_read_all(folder, wants, &damaged, err);
    if (!rc && !verdict && !options->partial && folder->has_manifest)
        verdict = check_others(folder, err);
    if (!rc && !verdict && damaged && !options->partial) {
        verdict = ckpt_want_verdict(wants, "Nothing was loaded.", err);
        if (err)
            err->code = SL_ECORRUPT;
        verdict = verdict ? SL_ECORRUPT : 0;
    }
    for (size_t i = 0; i < wants->count && !rc && !verdict; i++)
        if (ckpt_want_is_taken(&wants->items[i]) && wants->items[i].constant_rate)
            decide_rate(&wants->items[i], scope, options->rate_from, &line);
    if (!rc) {
        ckpt_want_report(wants, folder, report);
        if (line.bytes)
            report->rate_line = mem_must_strdup(buf_text(&line));
    }
    for (size_t i = 0; i < wants->count && !rc && !verdict; i++)
        if (ckpt_want_is_taken(&wants->items[i]))
            swap_in(&wants->items[i], scope);
    buf_deinit(&line);
    return rc ? rc : verdict;
}

// Another network, and what else does not fit, in one error.
static int check_network(const struct ckpt_folder *folder, const struct program *program,
                         const struct ckpt_wants *wants, struct err *err)
{
    struct err network = {0}, files = {0};
    if (!folder->has_manifest || !folder->manifest.has_facts ||
        ckpt_facts_check_network(&folder->manifest.facts, program, &network) == 0)
        return 0;
    ckpt_want_verdict(wants, NULL, &files);
    return err_set(err, SL_EMISMATCH, "%s%s%s. Nothing was loaded. (allow_other_forward loads it)",
                   network.text, files.code ? "; " : "", files.code ? files.text : "");
}

// What is in the folder beside variables must be as it was saved, too.
static int check_others(const struct ckpt_folder *folder, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < folder->manifest.files_count && !rc; i++) {
        const struct ckpt_file *listed = &folder->manifest.files[i];
        struct store_file *file;
        if (!listed->other)
            continue;
        rc = store_open(folder->uri, listed->name, &file, err);
        if (rc)
            return err_set(err, SL_ECORRUPT, "%s: the manifest lists it, the file is gone",
                           listed->name);
        if (store_file_bytes(file) != listed->bytes)
            rc = err_set(err, SL_ECORRUPT,
                         "%s: damaged: %llu bytes, the manifest says %llu. Nothing was loaded.",
                         listed->name, (unsigned long long)store_file_bytes(file),
                         (unsigned long long)listed->bytes);
        else
            rc = ckpt_read_sum(file, listed->sha256, err);
        store_file_close(file);
    }
    return rc;
}

// The scope holds the job's learning rate (the startup program has run), the file the checkpoint's.
static void decide_rate(struct ckpt_want *want, const struct scope *scope, enum ckpt_rate_from from,
                        struct buf *line)
{
    double job, saved;
    const struct variable *now = scope_find(scope, want->name);
    if (!now || !rate_value(now, &job) || !rate_value(&want->fresh, &saved) || job == saved)
        return;
    buf_printf(line, "%slearning rate %s: %.9g in the job, %.9g in the checkpoint; the %s is used",
               line->bytes ? "; " : "", want->name, job, saved,
               from == CKPT_RATE_FROM_JOB ? "job's" : "checkpoint's");
    if (from == CKPT_RATE_FROM_JOB)
        ckpt_want_set(want, CKPT_KEPT,
                      "the job's learning rate %.9g is kept, the checkpoint has %.9g", job, saved);
}

static bool rate_value(const struct variable *var, double *out)
{
    const struct tensor *t = &var->tensor;
    if (var->kind != VARIABLE_TENSOR || !t->data || tensor_count(t) != 1)
        return false;
    if (t->dtype == DTYPE_FP32)
        *out = (double)*tensor_f32(t);
    else if (t->dtype == DTYPE_FP64)
        *out = *tensor_f64(t);
    else
        return false;
    return true;
}

static void swap_in(struct ckpt_want *want, struct scope *scope)
{
    struct variable *var = scope_var(scope, want->name);
    if (want->kind == VARIABLE_TENSOR) {
        tensor_move(variable_tensor(var), &want->fresh.tensor);
        return;
    }
    struct selected_rows *to = variable_rows(var), *from = &want->fresh.rows;
    struct selected_rows old = *to;
    *to = *from;
    *from = old;
}
