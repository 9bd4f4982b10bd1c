// SPDX-License-Identifier: Apache-2.0
// Three steps: check all (ckpt_want), read all into fresh tensors, swap all in. Until the swap the
// scope is untouched, and the swap cannot fail. Where there is a manifest each file is streamed
// once from its first byte to its last: through its SHA-256, with the wanted rows copied out on the
// way, so what was summed is what is used. That reads whole files on every server, once, at start;
// the memory needed is the server's own rows. Without a manifest only the wanted rows are read.
// Runs on the caller's thread.
#include "common/ckpt/ckpt_load.h"

#include <math.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_want.h"
#include "common/exec/scope.h"
#include "common/storage/store.h"

#define CHUNK_BYTES (1u << 20)

static const struct ckpt_load_options no_options;

static int load_folder(const struct ckpt_folder *folder, const struct program *program,
                       struct ckpt_wants *wants, struct scope *scope,
                       const struct ckpt_load_options *options, struct ckpt_report *report,
                       struct err *err);
static int check_network(const struct ckpt_folder *folder, const struct program *program,
                         const struct ckpt_wants *wants, struct err *err);
static int read_all(const struct ckpt_folder *folder, struct ckpt_wants *wants, bool *out_damaged,
                    struct err *err);
static void damage(struct ckpt_wants *wants, const struct ckpt_want *found, const char *text);
static int check_others(const struct ckpt_folder *folder, struct err *err);
static int read_want(struct ckpt_want *want, const struct ckpt_folder *folder, const char *sum,
                     struct err *err);
static int read_pickled(struct ckpt_want *want, const struct tensor_io_source *source,
                        struct err *err);
static int read_summed(struct ckpt_want *want, struct store_file *file, const char *sum,
                       struct err *err);
static int check_sum(struct store_file *file, const char *sum, struct err *err);
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
        rc = read_all(folder, wants, &damaged, err);
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

// Fills every fresh variable. A file whose sum differs becomes CKPT_DIFFERS and sets *out_damaged.
static int read_all(const struct ckpt_folder *folder, struct ckpt_wants *wants, bool *out_damaged,
                    struct err *err)
{
    struct map summed;   // shared files whose sum is known to be right
    int rc = 0;
    map_init(&summed);
    for (size_t i = 0; i < wants->count && !rc; i++) {
        struct ckpt_want *want = &wants->items[i];
        struct err why = {0};
        if (!ckpt_want_is_taken(want))
            continue;
        const char *name = ckpt_want_file(want);
        const struct ckpt_file *listed =
            folder->has_manifest ? ckpt_manifest_find(&folder->manifest, name) : NULL;
        // A file that others share is summed before its first variable is read.
        const char *sum = listed && !map_get(&summed, name) ? listed->sha256 : NULL;
        int read = read_want(want, folder, sum, &why);
        if (want->within)
            map_set(&summed, name, wants);
        if (read == SL_ECORRUPT) {
            *out_damaged = true;
            damage(wants, want, why.text);
        } else if (read) {
            rc = err_set(err, read, "%s. Nothing was loaded.", why.text);
        }
    }
    map_deinit(&summed);
    return rc;
}

// found, and all that share its file, do not fit.
static void damage(struct ckpt_wants *wants, const struct ckpt_want *found, const char *text)
{
    const char *name = ckpt_want_file(found);
    for (size_t i = 0; i < wants->count; i++)
        if (ckpt_want_is_taken(&wants->items[i]) && str_eq(ckpt_want_file(&wants->items[i]), name))
            ckpt_want_set(&wants->items[i], CKPT_DIFFERS, "%s", text);
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
            rc = check_sum(file, listed->sha256, err);
        store_file_close(file);
    }
    return rc;
}

static int read_want(struct ckpt_want *want, const struct ckpt_folder *folder, const char *sum,
                     struct err *err)
{
    struct store_file *file;
    struct tensor_io_source source;
    int rc = store_open(folder->uri, ckpt_want_file(want), &file, err);
    if (rc)
        return rc;
    ckpt_want_source(file, &source);
    if (source.size != want->file_bytes)
        rc = err_set(err, SL_ECORRUPT, "%s: changed while it was being read", source.name);
    bool in_one = sum && !want->within && want->kind == VARIABLE_TENSOR;
    if (!rc && sum && !in_one)
        rc = check_sum(file, sum, err);
    if (!rc && want->pickled)
        rc = read_pickled(want, &source, err);
    else if (!rc && want->kind == VARIABLE_SELECTED_ROWS)
        rc = tensor_io_read(&source, want->base, want->kind, &want->fresh, NULL, err);
    else if (!rc && in_one)
        rc = read_summed(want, file, sum, err);
    else if (!rc)
        rc =
            tensor_io_read_rows(&source, want->base, &want->header, want->sliced ? want->row : 0,
                                want->sliced ? want->rows : -1, variable_tensor(&want->fresh), err);
    if (!rc && want->kind == VARIABLE_TENSOR && !want->sliced && want->header.lod_levels)
        rc = tensor_set_lod(variable_tensor(&want->fresh), want->header.lod_levels,
                            want->header.lod);
    store_file_close(file);
    return rc;
}

static int read_pickled(struct ckpt_want *want, const struct tensor_io_source *source,
                        struct err *err)
{
    struct tensor *t = variable_tensor(&want->fresh);
    int rc = tensor_resize(t, want->array.dtype, &want->array.dims);
    return rc ? err_set(err, rc, "%s: no memory for %llu bytes", want->name,
                        (unsigned long long)want->header.data_bytes)
              : pickle_read_array(source, &want->array, t->data, err);
}

static int read_summed(struct ckpt_want *want, struct store_file *file, const char *sum,
                       struct err *err)
{
    const struct tensor_io_header *header = &want->header;
    struct dims dims = header->dims;
    uint64_t from = header->data_offset, take = header->data_bytes;
    if (want->sliced) {
        uint64_t row_bytes = dims.d[0] > 0 ? take / (uint64_t)dims.d[0] : 0;
        from += (uint64_t)want->row * row_bytes;
        take = (uint64_t)want->rows * row_bytes;
        dims.d[0] = want->rows;
    }
    struct tensor *t = variable_tensor(&want->fresh);
    int rc = tensor_resize(t, header->dtype, &dims);
    uint8_t *chunk = mem_alloc(CHUNK_BYTES);
    if (rc || !chunk) {
        mem_free(chunk);
        return err_set(err, rc ? rc : SL_ENOMEM, "%s: no memory for %llu bytes", want->name,
                       (unsigned long long)take);
    }
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    char found[FSUTIL_SHA256_HEX];
    for (uint64_t at = 0, size = want->file_bytes; at < size && !rc; at += CHUNK_BYTES) {
        size_t n = size - at < CHUNK_BYTES ? (size_t)(size - at) : CHUNK_BYTES;
        rc = store_file_read(file, at, chunk, n, err);
        if (rc)
            break;
        fsutil_sha256_add(sha, chunk, n);
        uint64_t lo = from > at ? from : at;
        uint64_t hi = from + take < at + n ? from + take : at + n;
        if (lo < hi)
            memcpy((uint8_t *)t->data + (lo - from), chunk + (lo - at), (size_t)(hi - lo));
    }
    fsutil_sha256_end(sha, found);
    mem_free(chunk);
    if (!rc && !str_eq(found, sum))
        rc = err_set(err, SL_ECORRUPT,
                     "%s: sha256 differs from the manifest's: damaged, or changed "
                     "after the save",
                     store_file_name(file));
    return rc;
}

static int check_sum(struct store_file *file, const char *sum, struct err *err)
{
    uint8_t *chunk = mem_alloc(CHUNK_BYTES);
    if (!chunk)
        return err_set(err, SL_ENOMEM, "%s: no memory", store_file_name(file));
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    char found[FSUTIL_SHA256_HEX];
    int rc = 0;
    for (uint64_t at = 0, size = store_file_bytes(file); at < size && !rc; at += CHUNK_BYTES) {
        size_t n = size - at < CHUNK_BYTES ? (size_t)(size - at) : CHUNK_BYTES;
        rc = store_file_read(file, at, chunk, n, err);
        if (!rc)
            fsutil_sha256_add(sha, chunk, n);
    }
    fsutil_sha256_end(sha, found);
    mem_free(chunk);
    if (!rc && !str_eq(found, sum))
        rc = err_set(err, SL_ECORRUPT,
                     "%s: sha256 differs from the manifest's: damaged, or changed "
                     "after the save",
                     store_file_name(file));
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
