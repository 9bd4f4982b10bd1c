// SPDX-License-Identifier: Apache-2.0
// Saving streams rows from the source through one buffer: bytes go to the file and into its SHA-256
// together, so the manifest describes what was handed to the disk. Nothing is visible before the
// commit; a value that is not finite, a source that fails or a full disk leaves what was there.
// Runs on the caller's thread, the sums on one of their own, the disk on a third (write_behind).
#include "common/ckpt/ckpt_save.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/block_sums.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/base/workers.h"
#include "common/ckpt/ckpt_manifest.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/ckpt/pickle.h"
#include "common/ops/finite.h"
#include "common/storage/store.h"
#include "common/tensor/tensor_io.h"

#define CHUNK_BYTES (2u << 20)
#define LATEST_NAME "LATEST"

// Bytes on their way into the sum of the open file.
struct sum_job {
    struct fsutil_sha256 *sha;
    const uint8_t *data;
    size_t bytes;
};

// A file whose last bytes may still be on their way into its sum.
struct closed_file {
    struct fsutil_sha256 *sha;
    size_t index;   // in manifest.files
};

struct saver {
    const struct ckpt_source *source;
    const struct ckpt_save_options *options;
    struct store_writer *writer;
    struct fsutil_sha256 *sha;   // of the open file
    struct block_sums *blocks;   // likewise
    uint64_t file_bytes;
    // Rows are read into one chunk while the summing thread takes the sum of the other.
    uint8_t *chunks[2];
    size_t chunk_cap;
    int chunk;   // the one to be filled next
    struct workers *summing;
    struct sum_job job;   // sha NULL: none on its way
    struct closed_file *closed;
    size_t closed_count, closed_cap;
    struct ckpt_manifest manifest;
    uint64_t bytes;
    bool has_counter;
    int64_t counter;
    struct ckpt_facts kept;   // of an older save whose variables stay in the folder
};

static const struct ckpt_save_options no_options;

static size_t *sorted_order(const struct ckpt_source *source);
static int write_all_vars(struct saver *saver, const size_t *order, struct err *err);
static int write_pickles(struct saver *saver, const size_t *order, struct err *err);
static int write_pickled(struct saver *saver, size_t i, struct err *err);
static int write_blob(struct saver *saver, const struct ckpt_blob *blob, struct err *err);
static int write_sums(struct saver *saver, struct err *err);
static int open_file(struct saver *saver, const char *name, struct err *err);
static int close_file(struct saver *saver, const char *name, struct err *err);
static int add_bytes(struct saver *saver, const void *data, size_t bytes, struct err *err);
static int write_var(struct saver *saver, size_t i, struct err *err);
static int write_header(struct saver *saver, const struct ckpt_var *var, struct err *err);
static int add_chunk(struct saver *saver, size_t bytes, struct err *err);
static void take_sum(void *arg);
static void end_sums(struct saver *saver);
static int reserve_chunks(struct saver *saver, size_t bytes, const char *name, struct err *err);
static int check_finite(const struct ckpt_var *var, const void *data, size_t bytes, int64_t row,
                        struct err *err);
static int keep_foreign_entries(struct saver *saver, const char *dir, struct err *err);
static int finish(struct saver *saver, const char *dir, struct ckpt_saved *out, struct err *err);
static char *busy_text(void);
static void store_options_for(const struct ckpt_save_options *options, const char *busy,
                              struct store_options *out);
static void write_latest(const char *save_dir, const char *name, const struct store_io *io,
                         struct buf *note);
static void remove_old(const char *save_dir, const char *name, int keep, const struct store_io *io,
                       struct buf *note);

int ckpt_save(const struct ckpt_source *source, const char *dir,
              const struct ckpt_save_options *options, struct ckpt_saved *out, struct err *err)
{
    if (!options)
        options = &no_options;
    struct saver saver = {.source = source, .options = options, .summing = workers_new(1)};
    struct store_options store;
    char *busy = busy_text();
    ckpt_manifest_init(&saver.manifest);
    store_options_for(options, busy, &store);
    int rc = store_begin(dir, &store, &saver.writer, err);
    if (!rc) {
        size_t *order = sorted_order(source);
        rc = options->pickle ? write_pickles(&saver, order, err)
                             : write_all_vars(&saver, order, err);
        mem_free(order);
    }
    for (size_t i = 0; i < options->blobs_count && !rc; i++)
        rc = write_blob(&saver, &options->blobs[i], err);
    end_sums(&saver);
    if (!rc && options->into)
        rc = keep_foreign_entries(&saver, dir, err);
    if (!rc)
        rc = finish(&saver, dir, out, err);
    if (rc && saver.writer)
        err_prefix(err, "save %s", dir);
    store_end(saver.writer);
    end_sums(&saver);
    if (saver.sha) {
        char unused[FSUTIL_SHA256_HEX];
        fsutil_sha256_end(saver.sha, unused);
        mem_free(block_sums_end(saver.blocks));
    }
    ckpt_manifest_deinit(&saver.manifest);
    ckpt_facts_deinit(&saver.kept);
    workers_free(saver.summing);
    mem_free(saver.closed);
    mem_free(saver.chunks[0]);
    mem_free(saver.chunks[1]);
    mem_free(busy);
    return rc;
}

int ckpt_save_series(const struct ckpt_source *source, const char *save_dir, const char *name,
                     int keep, const struct ckpt_save_options *options, struct ckpt_saved *out,
                     struct err *err)
{
    if (!options)
        options = &no_options;
    char *dir = fsutil_join(save_dir, name);
    struct ckpt_save_options whole = *options;
    whole.into = false;
    int rc = ckpt_save(source, dir, &whole, out, err);
    mem_free(dir);
    if (rc)
        return rc;
    struct buf note;
    buf_init(&note, 0);
    write_latest(save_dir, name, options->io, &note);
    if (keep > 0)
        remove_old(save_dir, name, keep, options->io, &note);
    if (note.bytes)
        out->note = mem_must_strdup(buf_text(&note));
    buf_deinit(&note);
    return 0;
}

int ckpt_save_check(const char *save_dir, struct err *err)
{
    // A folder is begun and given up: everything but the rename has been tried.
    char *dir = fsutil_join(save_dir, "epoch_0.check");
    struct store_options store;
    struct store_writer *writer = NULL;
    store_options_for(&no_options, NULL, &store);
    int rc = store_begin(dir, &store, &writer, err);
    if (!rc)
        rc = store_put_open(writer, "check", err);
    if (!rc)
        rc = store_put_write(writer, "", 1, err);
    if (!rc)
        rc = store_put_close(writer, err);
    store_end(writer);
    mem_free(dir);
    return rc ? err_prefix(err, "%s cannot be saved to", save_dir) : 0;
}

void ckpt_save_deinit(struct ckpt_saved *saved)
{
    mem_free(saved->path);
    mem_free(saved->note);
    memset(saved, 0, sizeof *saved);
}

struct named_index {
    const char *name;
    size_t index;
};

static int compare_named(const void *a, const void *b)
{
    return strcmp(((const struct named_index *)a)->name, ((const struct named_index *)b)->name);
}

// Indices of the source's variables in byte order of their names.
static size_t *sorted_order(const struct ckpt_source *source)
{
    struct named_index *named = mem_must_calloc(source->count + 1, sizeof *named);
    size_t *order = mem_must_calloc(source->count + 1, sizeof *order);
    for (size_t i = 0; i < source->count; i++)
        named[i] = (struct named_index){source->vars[i].name, i};
    qsort(named, source->count, sizeof *named, compare_named);
    for (size_t i = 0; i < source->count; i++)
        order[i] = named[i].index;
    mem_free(named);
    return order;
}

static int write_all_vars(struct saver *saver, const size_t *order, struct err *err)
{
    const char *combined = saver->options->filename;
    int rc = combined ? open_file(saver, combined, err) : 0;
    for (size_t i = 0; i < saver->source->count && !rc; i++) {
        const char *name = saver->source->vars[order[i]].name;
        if (!combined)
            rc = open_file(saver, name, err);
        if (!rc)
            rc = write_var(saver, order[i], err);
        if (!rc && !combined)
            rc = close_file(saver, name, err);
    }
    return !rc && combined ? close_file(saver, combined, err) : rc;
}

// Two dicts, both there also when one is empty, as Fluid writes them.
static int write_pickles(struct saver *saver, const size_t *order, struct err *err)
{
    static const char *const endings[] = {".pdparams", ".pdopt"};
    struct buf text;
    int rc = 0;
    buf_init(&text, 0);
    for (size_t f = 0; f < 2 && !rc; f++) {
        char *name = mem_must_printf("%s%s", saver->options->pickle, endings[f]);
        buf_clear(&text);
        pickle_append_begin(&text);
        rc = open_file(saver, name, err);
        if (!rc)
            rc = add_bytes(saver, text.data, text.bytes, err);
        for (size_t i = 0; i < saver->source->count && !rc; i++) {
            const struct ckpt_var *var = &saver->source->vars[order[i]];
            if (str_list_has(saver->options->pickle_params, var->name) == (f == 0))
                rc = write_pickled(saver, order[i], err);
        }
        buf_clear(&text);
        pickle_append_end(&text);
        if (!rc)
            rc = add_bytes(saver, text.data, text.bytes, err);
        if (!rc)
            rc = close_file(saver, name, err);
        mem_free(name);
    }
    buf_deinit(&text);
    return rc;
}

// The format wants an array's encoded length in front, so the whole array is held.
static int write_pickled(struct saver *saver, size_t i, struct err *err)
{
    const struct ckpt_var *var = &saver->source->vars[i];
    uint64_t count;
    if (var->kind != VARIABLE_TENSOR || var->lod_levels)
        return err_set(err, SL_EUNSUPPORTED,
                       "%s: a pickle holds dense arrays only; use save_persistables", var->name);
    if (!dims_count(&var->dims, dtype_bytes(var->dtype), &count))
        return err_set(err, SL_ELIMIT, "%s: its shape is negative or too large", var->name);
    size_t bytes = (size_t)count * dtype_bytes(var->dtype);
    uint8_t *data = mem_alloc(bytes), *encoded = mem_alloc(2 * (size_t)CHUNK_BYTES);
    struct buf text;
    buf_init(&text, 0);
    int rc = data && encoded
                 ? 0
                 : err_set(err, SL_ENOMEM, "%s: no memory for %zu bytes", var->name, bytes);
    if (!rc && bytes)
        rc = saver->source->read_rows(saver->source->self, i, 0,
                                      var->dims.rank ? var->dims.d[0] : 1, data, err);
    if (!rc && !saver->options->allow_non_finite)
        rc = check_finite(var, data, bytes, 0, err);
    if (!rc)
        rc = pickle_append_head(&text, var->name, var->dtype, &var->dims,
                                pickle_encoded_bytes(data, bytes), err);
    if (!rc)
        rc = add_bytes(saver, text.data, text.bytes, err);
    for (size_t at = 0; at < bytes && !rc; at += CHUNK_BYTES) {
        size_t n = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        rc = add_bytes(saver, encoded, pickle_encode(data + at, n, encoded), err);
    }
    buf_clear(&text);
    pickle_append_tail(&text);
    if (!rc)
        rc = add_bytes(saver, text.data, text.bytes, err);
    buf_deinit(&text);
    mem_free(data);
    mem_free(encoded);
    return rc;
}

static int write_blob(struct saver *saver, const struct ckpt_blob *blob, struct err *err)
{
    int rc = open_file(saver, blob->name, err);
    if (!rc && blob->bytes)
        rc = add_bytes(saver, blob->data, blob->bytes, err);
    if (!rc)
        rc = close_file(saver, blob->name, err);
    if (!rc)
        saver->manifest.files[saver->manifest.files_count - 1].other = true;
    return rc;
}

static int write_sums(struct saver *saver, struct err *err)
{
    struct buf text;
    buf_init(&text, 0);
    ckpt_manifest_sort(&saver->manifest);
    int rc = ckpt_manifest_sums(&saver->manifest, &text);
    const struct ckpt_blob sums = {CKPT_SUMS_NAME, text.data, text.bytes};
    rc = rc ? err_set(err, rc, "%s: %s", CKPT_SUMS_NAME, err_name(rc))
            : write_blob(saver, &sums, err);
    end_sums(saver);
    buf_deinit(&text);
    return rc;
}

static int open_file(struct saver *saver, const char *name, struct err *err)
{
    saver->file_bytes = 0;
    saver->sha = fsutil_sha256_new();
    saver->blocks = block_sums_new();
    return store_put_open(saver->writer, name, err);
}

static int close_file(struct saver *saver, const char *name, struct err *err)
{
    MEM_GROW(saver->closed, saver->closed_count, saver->closed_cap);
    saver->closed[saver->closed_count++] =
        (struct closed_file){saver->sha, saver->manifest.files_count};
    saver->sha = NULL;
    char *blocks = block_sums_end(saver->blocks);
    struct ckpt_file *file = ckpt_manifest_add(&saver->manifest, name, saver->file_bytes, "");
    if (saver->file_bytes > BLOCK_SUMS_BYTES)
        file->blocks = blocks;
    else
        mem_free(blocks);
    saver->bytes += saver->file_bytes;
    return store_put_close(saver->writer, err);
}

// Fills in the sums of the files that were closed.
static void end_sums(struct saver *saver)
{
    workers_wait(saver->summing);
    for (size_t i = 0; i < saver->closed_count; i++)
        fsutil_sha256_end(saver->closed[i].sha,
                          saver->manifest.files[saver->closed[i].index].sha256);
    saver->closed_count = 0;
}

static int add_bytes(struct saver *saver, const void *data, size_t bytes, struct err *err)
{
    if (saver->job.sha == saver->sha)
        workers_wait(saver->summing);   // the file's bytes before these
    fsutil_sha256_add(saver->sha, data, bytes);
    block_sums_add(saver->blocks, data, bytes);
    saver->file_bytes += bytes;
    return store_put_write(saver->writer, data, bytes, err);
}

// The filled chunk, which belongs to the summing thread until the chunk after it comes.
static int add_chunk(struct saver *saver, size_t bytes, struct err *err)
{
    const uint8_t *data = saver->chunks[saver->chunk];
    saver->chunk = 1 - saver->chunk;
    saver->file_bytes += bytes;
    block_sums_add(saver->blocks, data, bytes);
    int rc = store_put_write(saver->writer, data, bytes, err);
    workers_wait(saver->summing);
    saver->job = (struct sum_job){saver->sha, data, bytes};
    workers_submit(saver->summing, take_sum, NULL, &saver->job);
    return rc;
}

static void take_sum(void *arg)
{
    const struct sum_job *job = arg;
    fsutil_sha256_add(job->sha, job->data, job->bytes);
}

static int write_var(struct saver *saver, size_t i, struct err *err)
{
    const struct ckpt_var *var = &saver->source->vars[i];
    uint64_t count;
    if (!dims_count(&var->dims, dtype_bytes(var->dtype), &count))
        return err_set(err, SL_ELIMIT, "%s: its shape is negative or too large", var->name);
    int rc = write_header(saver, var, err);
    int64_t rows = var->dims.rank ? var->dims.d[0] : 1;
    if (rc || count == 0)
        return rc;
    size_t row_bytes = (size_t)(count / (uint64_t)rows) * dtype_bytes(var->dtype);
    int64_t step = row_bytes < CHUNK_BYTES ? (int64_t)(CHUNK_BYTES / row_bytes) : 1;
    rc = reserve_chunks(saver, (size_t)step * row_bytes, var->name, err);
    for (int64_t row = 0; row < rows && !rc; row += step) {
        int64_t n = rows - row < step ? rows - row : step;
        size_t bytes = (size_t)n * row_bytes;
        uint8_t *chunk = saver->chunks[saver->chunk];
        rc = saver->source->read_rows(saver->source->self, i, row, n, chunk, err);
        if (!rc && !saver->options->allow_non_finite)
            rc = check_finite(var, chunk, bytes, row, err);
        if (!rc && var->dtype == DTYPE_INT64 && count == 1 &&
            str_eq(var->name, CKPT_VARS_COUNTER)) {
            memcpy(&saver->counter, chunk, sizeof saver->counter);
            saver->has_counter = true;
        }
        if (!rc)
            rc = add_chunk(saver, bytes, err);
    }
    return rc;
}

// Two chunks of that many bytes, and nobody at work on them.
static int reserve_chunks(struct saver *saver, size_t bytes, const char *name, struct err *err)
{
    if (bytes <= saver->chunk_cap)
        return 0;
    workers_wait(saver->summing);
    saver->chunk_cap = 0;
    for (int i = 0; i < 2; i++) {
        mem_free(saver->chunks[i]);
        saver->chunks[i] = mem_alloc(bytes);
    }
    if (!saver->chunks[0] || !saver->chunks[1])
        return err_set(err, SL_ENOMEM, "%s: no memory for rows of %zu bytes", name, bytes);
    saver->chunk_cap = bytes;
    return 0;
}

static int write_header(struct saver *saver, const struct ckpt_var *var, struct err *err)
{
    struct buf header;
    struct selected_rows rows = {
        .value = {.dtype = var->dtype,
                  .dims = var->dims,
                  .lod = (struct lod_level *)(uintptr_t)var->lod,
                  .lod_levels = var->lod_levels},
        .height = var->height,
        .rows = (int64_t *)(uintptr_t)var->row_ids,
        .rows_count = var->kind == VARIABLE_SELECTED_ROWS ? (size_t)var->dims.d[0] : 0,
    };
    buf_init(&header, 0);
    int rc = var->kind == VARIABLE_SELECTED_ROWS ? tensor_io_encode_rows_header(&rows, &header)
                                                 : tensor_io_encode_header(&rows.value, &header);
    if (rc)
        rc = err_set(err, rc, "%s: its header cannot be written: %s", var->name, err_name(rc));
    else
        rc = add_bytes(saver, header.data, header.bytes, err);
    buf_deinit(&header);
    return rc;
}

static int check_finite(const struct ckpt_var *var, const void *data, size_t bytes, int64_t row,
                        struct err *err)
{
    size_t bad = finite_count_others(var->dtype, data, bytes);
    return !bad ? 0
                : err_set(err, SL_EREFUSED,
                          "%s: %zu values that are not finite (NaN or infinity) in the rows from "
                          "%lld on; nothing was saved",
                          var->name, bad, (long long)row);
}

// Saving INTO a folder of ours: files of another program that stay also stay under the manifest.
static int keep_foreign_entries(struct saver *saver, const char *dir, struct err *err)
{
    struct ckpt_manifest old;
    struct map written;
    ckpt_manifest_init(&old);
    map_init(&written);
    for (size_t i = 0; i < saver->manifest.files_count; i++)
        map_set(&written, saver->manifest.files[i].name, saver);
    int rc = store_is_folder(dir) ? ckpt_manifest_read(dir, &old, NULL) : SL_ENOENT;
    for (size_t i = 0; !rc && i < old.files_count; i++) {
        const struct ckpt_file *file = &old.files[i];
        struct store_file *there;
        if (map_get(&written, file->name) || str_eq(file->name, CKPT_SUMS_NAME) ||
            store_open(dir, file->name, &there, NULL) != 0)
            continue;
        if (store_file_bytes(there) == file->bytes) {
            struct ckpt_file *kept =
                ckpt_manifest_add(&saver->manifest, file->name, file->bytes, file->sha256);
            kept->blocks = file->blocks ? mem_must_strdup(file->blocks) : NULL;
            kept->other = file->other;
            kept->step = file->step >= 0 ? file->step : old.has_progress ? old.progress.step : -1;
            if (!file->other && old.has_facts)
                ckpt_facts_copy(&saver->kept, &old.facts);
        }
        store_file_close(there);
    }
    map_deinit(&written);
    ckpt_manifest_deinit(&old);
    return rc == SL_ENOMEM ? err_set(err, rc, "no memory for the older manifest") : 0;
}

static int finish(struct saver *saver, const char *dir, struct ckpt_saved *out, struct err *err)
{
    struct buf text;
    buf_init(&text, 0);
    if (saver->options->progress) {
        ckpt_progress_copy(&saver->manifest.progress, saver->options->progress);
        saver->manifest.has_progress = true;
    }
    if (saver->options->facts) {
        ckpt_facts_copy(&saver->manifest.facts, saver->options->facts);
        ckpt_facts_add_network(&saver->manifest.facts, &saver->kept);
        saver->manifest.facts.has_counter = saver->has_counter;
        saver->manifest.facts.counter = saver->counter;
        saver->manifest.has_facts = true;
    }
    int rc = write_sums(saver, err);
    if (!rc && (rc = ckpt_manifest_format(&saver->manifest, &text)) != 0)
        rc = err_set(err, rc, "the manifest cannot be written: %s (are all names and URIs UTF-8?)",
                     err_name(rc));
    if (!rc)
        rc = store_commit(saver->writer, text.data, text.bytes, err);
    buf_deinit(&text);
    if (rc || !out)
        return rc;
    memset(out, 0, sizeof *out);
    out->path = mem_must_strdup(dir);
    out->variables = saver->source->count;
    out->bytes = saver->bytes;
    memcpy(out->digest, saver->manifest.digest, sizeof out->digest);
    return 0;
}

static char *busy_text(void)
{
    struct ckpt_manifest manifest;
    struct buf text;
    ckpt_manifest_init(&manifest);
    buf_init(&text, 0);
    manifest.busy = true;
    ckpt_manifest_format(&manifest, &text);
    char *out = mem_must_strdup(buf_text(&text));
    buf_deinit(&text);
    ckpt_manifest_deinit(&manifest);
    return out;
}

static void store_options_for(const struct ckpt_save_options *options, const char *busy,
                              struct store_options *out)
{
    *out = (struct store_options){
        .mode = options->into ? STORE_INTO : STORE_REPLACE,
        .mark = CKPT_MANIFEST_NAME,
        .is_ours = ckpt_manifest_is_ours,
        .busy_mark = busy,
        .io = options->io,
    };
}

static void write_latest(const char *save_dir, const char *name, const struct store_io *io,
                         struct buf *note)
{
    struct err err = {0};
    char *text = mem_must_printf("%s\n", name);
    if (store_write_file(save_dir, LATEST_NAME, text, strlen(text), io, &err))
        buf_printf(note, "%s%s", note->bytes ? "; " : "", err.text);
    mem_free(text);
}

struct old_folder {
    char *name;
    int64_t step, epoch;
};

// Newest first.
static int compare_old(const void *a, const void *b)
{
    const struct old_folder *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? 1 : -1;
    return x->epoch == y->epoch ? 0 : x->epoch < y->epoch ? 1 : -1;
}

static bool is_series_name(const char *name)
{
    uint64_t number;
    return (str_starts_with(name, "epoch_") && str_parse_u64(name + strlen("epoch_"), &number)) ||
           (str_starts_with(name, "step_") && str_parse_u64(name + strlen("step_"), &number));
}

static void remove_old(const char *save_dir, const char *name, int keep, const struct store_io *io,
                       struct buf *note)
{
    struct str_list folders = {0};
    struct old_folder *old = NULL;
    size_t count = 0, cap = 0;
    store_list_folders(save_dir, &folders, NULL);
    for (size_t i = 0; i < folders.count; i++) {
        struct ckpt_manifest manifest;
        char *path = fsutil_join(save_dir, folders.items[i]);
        ckpt_manifest_init(&manifest);
        if (is_series_name(folders.items[i]) && !str_eq(folders.items[i], name) &&
            ckpt_manifest_read(path, &manifest, NULL) == 0 && manifest.has_progress) {
            MEM_GROW(old, count, cap);
            old[count++] =
                (struct old_folder){path, manifest.progress.step, manifest.progress.epoch};
            path = NULL;
        }
        ckpt_manifest_deinit(&manifest);
        mem_free(path);
    }
    if (count)
        qsort(old, count, sizeof *old, compare_old);
    // The folder that was just saved counts as one of those to keep, whatever its step.
    struct ckpt_save_options options = {.io = io};
    struct store_options store;
    store_options_for(&options, NULL, &store);
    for (size_t i = 0; i < count; i++) {
        struct err err = {0};
        if (i + 1 >= (size_t)keep && store_remove(old[i].name, &store, &err))
            buf_printf(note, "%s%s", note->bytes ? "; " : "", err.text);
        mem_free(old[i].name);
    }
    mem_free(old);
    str_list_deinit(&folders);
}
