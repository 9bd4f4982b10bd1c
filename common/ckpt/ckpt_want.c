// SPDX-License-Identifier: Apache-2.0
// On a server the slice map says what is wanted: parameters and states that live there, under the
// slice's name, cut out of the file with the variable's full name. Gradients and temporaries, which
// a server's programs also mark persistable, are no parameters and no states, so they are not
// wanted; what only trainers use is, because trainers get it back from here. Elsewhere every saved
// variable of block 0 is wanted whole.
//
// With a manifest everything is strict: a file must be listed and have the listed size. A plain
// Fluid folder may have surplus bytes behind the data and may lack learning rates.
#include "common/ckpt/ckpt_want.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/program/program.h"
#include "common/program/slice_map.h"
#include "common/storage/store.h"

#define VERDICT_BYTES_MAX 760
#define DIGEST_FILE_BYTES 4096u

static void collect_slices(const struct program *program, const struct slice_map *map, int server,
                           const struct ckpt_load_options *options, struct ckpt_wants *out);
static int collect_vars(const struct program *program, const struct ckpt_load_options *options,
                        struct ckpt_wants *out, struct err *err);
static void mark_rates(const struct program *program, const struct slice_map *map,
                       struct ckpt_wants *out);
static void mark_except(const struct str_list *globs, struct ckpt_wants *out);
static struct ckpt_want *add(struct ckpt_wants *out, const char *name, const char *file);
static int compare_wants(const void *a, const void *b);
static bool has_server_op(const struct program *program);
static void check_separate(struct ckpt_want *want, const struct ckpt_folder *folder);
static void check_combined(struct ckpt_wants *wants, const struct ckpt_folder *folder,
                           const char *filename);
static void check_header(struct ckpt_want *want, struct store_file *file, bool may_have_more);
static bool dims_fit(const struct dims *want, const struct dims *have);
static void digest_plain(const struct ckpt_wants *wants, const struct ckpt_folder *folder,
                         const char *filename, char out_hex[FSUTIL_SHA256_HEX]);

int ckpt_want_collect(const struct program *program, const struct ckpt_load_options *options,
                      struct ckpt_wants *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    map_init(&out->known);
    const struct slice_map *map = options->slices ? options->slices : program->slices;
    int server = options->slices ? options->server : program->server, rc = 0;
    out->on_server = map && server >= 0;
    if (out->on_server && server >= map->servers)
        return err_set(err, SL_EINVAL, "server %d: the slice map has %d servers", server,
                       map->servers);
    if (out->on_server)
        collect_slices(program, map, server, options, out);
    else if (has_server_op(program))
        return err_set(
            err, SL_EINVAL,
            "this is a server's program, and no slice map says which rows it holds: load "
            "needs the slice_map.json that the transpiler writes beside it");
    else
        rc = collect_vars(program, options, out, err);
    if (rc)
        return rc;
    mark_rates(program, map, out);
    if (options->except)
        mark_except(options->except, out);
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, compare_wants);
    return 0;
}

void ckpt_want_deinit(struct ckpt_wants *wants)
{
    for (size_t i = 0; i < wants->count; i++) {
        struct ckpt_want *want = &wants->items[i];
        mem_free(want->name);
        mem_free(want->file);
        mem_free(want->note);
        tensor_io_header_deinit(&want->header);
        variable_deinit(&want->fresh);
    }
    mem_free(wants->items);
    map_deinit(&wants->known);
    memset(wants, 0, sizeof *wants);
}

int ckpt_want_open_folder(const char *uri, bool allow_interrupted, struct ckpt_folder *out,
                          struct err *err)
{
    memset(out, 0, sizeof *out);
    out->uri = uri;
    map_init(&out->by_name);
    ckpt_manifest_init(&out->manifest);
    struct str_list all = {0};
    int rc = store_list(uri, &all, err);
    for (size_t i = 0; i < all.count; i++) {
        if (str_eq(all.items[i], CKPT_MANIFEST_NAME)) {
            out->has_manifest = true;
            continue;
        }
        str_list_add(&out->files, all.items[i]);
    }
    str_list_deinit(&all);
    for (size_t i = 0; i < out->files.count; i++)
        map_set(&out->by_name, out->files.items[i], out);
    if (!rc && out->has_manifest)
        rc = ckpt_manifest_read(uri, &out->manifest, err);
    if (!rc && out->manifest.busy && !allow_interrupted)
        rc = err_set(err, SL_EREFUSED,
                     "%s: a save into this folder was interrupted: its files are of two times. Use "
                     "another checkpoint", uri);
    if (rc)
        ckpt_want_close_folder(out);
    return rc;
}

void ckpt_want_close_folder(struct ckpt_folder *folder)
{
    str_list_deinit(&folder->files);
    map_deinit(&folder->by_name);
    ckpt_manifest_deinit(&folder->manifest);
}

int ckpt_want_check(struct ckpt_wants *wants, const struct ckpt_folder *folder,
                    const char *filename, struct err *err)
{
    if (filename && wants->on_server)
        return err_set(
            err, SL_EUNSUPPORTED,
            "%s: a combined file (%s) cannot be loaded on a server; save one file a variable",
            folder->uri, filename);
    if (filename) {
        check_combined(wants, folder, filename);
        return 0;
    }
    for (size_t i = 0; i < wants->count; i++)
        if (wants->items[i].fate != CKPT_EXCEPTED)
            check_separate(&wants->items[i], folder);
    return 0;
}

void ckpt_want_report(const struct ckpt_wants *wants, const struct ckpt_folder *folder,
                      const char *filename, struct ckpt_report *report)
{
    ckpt_report_deinit(report);
    report->path = mem_must_strdup(folder->uri);
    report->has_manifest = folder->has_manifest;
    report->has_progress = folder->manifest.has_progress;
    if (report->has_progress)
        ckpt_progress_copy(&report->progress, &folder->manifest.progress);
    for (size_t i = 0; i < wants->count; i++) {
        const struct ckpt_want *want = &wants->items[i];
        struct ckpt_item *item = ckpt_report_add(report, want->fate, want->name,
                                                 want->fate == CKPT_MISSING ? NULL
                                                 : filename ? filename : want->file);
        item->note = want->note ? mem_must_strdup(want->note) : NULL;
        item->surplus = want->surplus;
        if (!ckpt_want_is_taken(want))
            continue;
        uint64_t row_bytes = want->header.dims.rank && want->header.dims.d[0] > 0
                                 ? want->header.data_bytes / (uint64_t)want->header.dims.d[0] : 0;
        item->row = want->sliced ? want->row : 0;
        item->rows = want->sliced ? want->rows : 0;
        item->offset = want->base + want->header.data_offset + (uint64_t)item->row * row_bytes;
        item->bytes = want->sliced ? (uint64_t)want->rows * row_bytes : want->header.data_bytes;
        report->bytes += item->bytes;
    }
    for (size_t i = 0; i < folder->files.count; i++) {
        const char *name = folder->files.items[i];
        bool listed = wants->on_server && folder->has_manifest &&
                      ckpt_manifest_find(&folder->manifest, name);
        if (!listed && !map_get(&wants->known, name) && !(filename && str_eq(name, filename)))
            ckpt_report_add(report, CKPT_EXTRA, name, name);
    }
    if (folder->has_manifest)
        memcpy(report->digest, folder->manifest.digest, sizeof report->digest);
    else
        digest_plain(wants, folder, filename, report->digest);
}

int ckpt_want_verdict(const struct ckpt_wants *wants, const char *ending, struct err *err)
{
    struct buf text;
    size_t bad = 0, shown = 0, good = 0;
    buf_init(&text, 0);
    for (size_t i = 0; i < wants->count; i++) {
        const struct ckpt_want *want = &wants->items[i];
        good += ckpt_want_is_taken(want);
        if (want->fate != CKPT_MISSING && want->fate != CKPT_DIFFERS)
            continue;
        bad++;
        if (text.bytes > VERDICT_BYTES_MAX)
            continue;
        shown++;
        buf_printf(&text, "%s%s: %s", text.bytes ? "; " : "", want->name,
                   want->note ? want->note : "missing");
    }
    if (bad > shown)
        buf_printf(&text, "; and %zu more", bad - shown);
    int rc = 0;
    if (bad && good && ending)
        rc = err_set(err, SL_EMISMATCH, "%s. %s (--partial loads the other %zu)", buf_text(&text),
                     ending, good);
    else if (bad)
        rc = err_set(err, SL_EMISMATCH, "%s%s%s", buf_text(&text), ending ? ". " : "",
                     ending ? ending : "");
    buf_deinit(&text);
    return rc;
}

static int read_source(void *self, uint64_t offset, void *out, size_t bytes, struct err *err)
{
    return store_file_read(self, offset, out, bytes, err);
}

void ckpt_want_source(struct store_file *file, struct tensor_io_source *out)
{
    *out = (struct tensor_io_source){
        .read = read_source,
        .self = file,
        .size = store_file_bytes(file),
        .name = store_file_name(file),
    };
}

void ckpt_want_set(struct ckpt_want *want, enum ckpt_fate fate, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mem_free(want->note);
    want->note = mem_must_strdup(text);
    want->fate = fate;
}

static void collect_slices(const struct program *program, const struct slice_map *map, int server,
                           const struct ckpt_load_options *options, struct ckpt_wants *out)
{
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < map->vars_count; i++) {
        const struct slice_var *var = map->vars[i];
        if (var->role == SLICE_GRAD)
            continue;
        map_set(&out->known, var->name, out);
        bool is_param = var->role == SLICE_PARAM || (var->role == SLICE_TRAINER && var->param);
        if (options->what == CKPT_PARAMS && !is_param)
            continue;
        if (options->what == CKPT_PARAMS && options->params &&
            !str_list_has(options->params, var->name))
            continue;
        for (size_t k = 0; k < var->slices_count; k++) {
            const struct slice *slice = &var->slices[k];
            if (slice->server != server)
                continue;
            struct ckpt_want *want = add(out, slice->name, var->name);
            const struct var_desc *desc = block_var(block, slice->name);
            if (desc && desc->kind == VAR_SELECTED_ROWS)
                want->kind = VARIABLE_SELECTED_ROWS;
            want->dtype = (int)var->dtype;
            want->dims = var->dims;
            want->rate = var->role == SLICE_TRAINER && ckpt_vars_is_rate_name(var->name);
            want->sliced = !var->replicated && var->slices_count > 1;
            want->row = want->sliced ? slice->row : 0;
            want->rows = want->sliced ? slice->rows : -1;
        }
    }
}

static int collect_vars(const struct program *program, const struct ckpt_load_options *options,
                        struct ckpt_wants *out, struct err *err)
{
    const struct block *block = program_block(program, 0);
    struct str_list saved = {0};
    ckpt_vars_saved(program, &saved);
    for (size_t i = 0; i < saved.count; i++)
        map_set(&out->known, saved.items[i], out);
    const struct str_list *names = options->what == CKPT_PARAMS ? options->params : &saved;
    int rc = 0;
    if (!names || !names->count)
        rc = err_set(
            err, SL_EINVAL, "%s",
            options->what == CKPT_PARAMS
                ? "no Parameters are known in this program: give the main program, or name them "
                  "with --params_list"
                : "the program has no persistable variables: there is nothing to load");
    for (size_t i = 0; !rc && i < names->count; i++) {
        const struct var_desc *var = block_var(block, names->items[i]);
        if (!var || !var_desc_is_saved(var)) {
            rc = err_set(err, SL_ENOENT, "%s: the program has no persistable variable of that name",
                         names->items[i]);
            break;
        }
        struct ckpt_want *want = add(out, var->name, var->name);
        want->kind = var->kind == VAR_SELECTED_ROWS ? VARIABLE_SELECTED_ROWS : VARIABLE_TENSOR;
        want->dtype = var->dtype;
        want->dims = var->dims;
        want->rows = -1;
    }
    str_list_deinit(&saved);
    return rc;
}

static void mark_rates(const struct program *program, const struct slice_map *map,
                       struct ckpt_wants *out)
{
    struct str_list rates = {0}, constant = {0};
    ckpt_vars_rates(program, map, &rates, &constant);
    for (size_t i = 0; i < out->count; i++) {
        out->items[i].rate = out->items[i].rate || str_list_has(&rates, out->items[i].name);
        out->items[i].constant_rate = str_list_has(&constant, out->items[i].name);
    }
    str_list_deinit(&rates);
    str_list_deinit(&constant);
}

static void mark_except(const struct str_list *globs, struct ckpt_wants *out)
{
    for (size_t i = 0; i < out->count; i++)
        for (size_t k = 0; k < globs->count; k++)
            if (fnmatch(globs->items[k], out->items[i].file, 0) == 0 ||
                fnmatch(globs->items[k], out->items[i].name, 0) == 0)
                ckpt_want_set(&out->items[i], CKPT_EXCEPTED, "left out by `%s`", globs->items[k]);
}

static struct ckpt_want *add(struct ckpt_wants *out, const char *name, const char *file)
{
    MEM_GROW(out->items, out->count, out->cap);
    struct ckpt_want *want = &out->items[out->count++];
    memset(want, 0, sizeof *want);
    variable_init(&want->fresh);
    want->name = mem_must_strdup(name);
    want->file = mem_must_strdup(file);
    want->kind = VARIABLE_TENSOR;
    return want;
}

static int compare_wants(const void *a, const void *b)
{
    const struct ckpt_want *x = a, *y = b;
    int order = strcmp(x->file, y->file);
    return order ? order : strcmp(x->name, y->name);
}

static bool has_server_op(const struct program *program)
{
    const struct block *block = program_block(program, 0);
    for (size_t i = 0; i < block->ops_count; i++)
        if (str_eq(block->ops[i]->type, "listen_and_serv"))
            return true;
    return false;
}

static void check_separate(struct ckpt_want *want, const struct ckpt_folder *folder)
{
    const struct ckpt_file *listed =
        folder->has_manifest ? ckpt_manifest_find(&folder->manifest, want->file) : NULL;
    bool present = map_get(&folder->by_name, want->file) != NULL;
    struct store_file *file;
    struct err err = {0};
    if (!present && listed) {
        ckpt_want_set(want, CKPT_MISSING, "the manifest lists it, the file is gone");
    } else if (!present && want->rate && !folder->has_manifest) {
        ckpt_want_set(want, CKPT_KEPT, "not in the folder; its value before the load is kept");
    } else if (!present) {
        ckpt_want_set(want, CKPT_MISSING, "missing");
    } else if (folder->has_manifest && !listed) {
        ckpt_want_set(want, CKPT_DIFFERS, "there is a file, but the manifest does not list it");
    } else if (store_open(folder->uri, want->file, &file, &err)) {
        ckpt_want_set(want, CKPT_DIFFERS, "%s", err.text);
    } else {
        if (listed && listed->bytes != store_file_bytes(file))
            ckpt_want_set(want, CKPT_DIFFERS,
                          "damaged: %" PRIu64 " bytes, the manifest says %" PRIu64,
                          store_file_bytes(file), listed->bytes);
        else
            check_header(want, file, true);
        store_file_close(file);
    }
}

// Variables follow one another in order of name, without names.
static void check_combined(struct ckpt_wants *wants, const struct ckpt_folder *folder,
                           const char *filename)
{
    struct store_file *file = NULL;
    struct err err = {0};
    const struct ckpt_file *listed =
        folder->has_manifest ? ckpt_manifest_find(&folder->manifest, filename) : NULL;
    if (!map_get(&folder->by_name, filename))
        err_set(&err, SL_ENOENT, "missing: the folder has no %s", filename);
    else if (folder->has_manifest && !listed)
        err_set(&err, SL_EMISMATCH, "the manifest does not list %s", filename);
    else if (store_open(folder->uri, filename, &file, &err) == 0 && listed &&
             listed->bytes != store_file_bytes(file))
        err_set(&err, SL_ECORRUPT, "%s is damaged: %" PRIu64 " bytes, the manifest says %" PRIu64,
                filename, store_file_bytes(file), listed->bytes);
    uint64_t base = 0;
    for (size_t i = 0; i < wants->count; i++) {
        struct ckpt_want *want = &wants->items[i];
        bool excepted = want->fate == CKPT_EXCEPTED;
        if (err.code) {
            ckpt_want_set(want, CKPT_DIFFERS, "%s", err.text);
            continue;
        }
        want->base = base;
        check_header(want, file, i + 1 == wants->count);
        if (!ckpt_want_is_taken(want)) {
            err_set(&err, SL_EMISMATCH, "stands behind %s, which does not fit", want->name);
            continue;
        }
        base += want->header.data_offset + want->header.data_bytes;
        if (excepted)
            ckpt_want_set(want, CKPT_EXCEPTED, "left out");
    }
    store_file_close(file);
}

static void check_header(struct ckpt_want *want, struct store_file *file, bool may_have_more)
{
    struct tensor_io_source source;
    struct err err = {0};
    char have[DIMS_TEXT_MAX], need[DIMS_TEXT_MAX];
    ckpt_want_source(file, &source);
    want->file_bytes = source.size;
    if (tensor_io_read_header(&source, want->base, want->kind, &want->header, &err)) {
        ckpt_want_set(want, CKPT_DIFFERS, "%s", err.text);
        return;
    }
    const struct tensor_io_header *header = &want->header;
    if ((int)header->dtype != want->dtype) {
        ckpt_want_set(want, CKPT_DIFFERS, "file has type %s, the program wants %s",
                      dtype_name((int)header->dtype), dtype_name(want->dtype));
        return;
    }
    if (!dims_fit(&want->dims, &header->dims)) {
        ckpt_want_set(want, CKPT_DIFFERS, "file has shape %s, the program wants %s",
                      dims_format(&header->dims, have), dims_format(&want->dims, need));
        return;
    }
    if (want->sliced && want->kind != VARIABLE_TENSOR) {
        ckpt_want_set(want, CKPT_DIFFERS, "selected rows cannot be cut in slices");
        return;
    }
    uint64_t end = want->base + header->data_offset + header->data_bytes;
    want->surplus = may_have_more && source.size > end ? source.size - end : 0;
    want->fate = want->sliced ? CKPT_SLICED : CKPT_LOADED;
}

static bool dims_fit(const struct dims *want, const struct dims *have)
{
    if (want->rank != have->rank)
        return false;
    for (int i = 0; i < want->rank; i++)
        if (want->d[i] >= 0 && want->d[i] != have->d[i])
            return false;
    return true;
}

// Equal on every server that was given the same folder: over all variable files of the job, their
// names, sizes and first bytes (the header and, in any but tiny files, values).
static void digest_plain(const struct ckpt_wants *wants, const struct ckpt_folder *folder,
                         const char *filename, char out_hex[FSUTIL_SHA256_HEX])
{
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    uint8_t first[DIGEST_FILE_BYTES];
    for (size_t i = 0; i < folder->files.count; i++) {
        const char *name = folder->files.items[i];
        struct store_file *file;
        if (!map_get(&wants->known, name) && !(filename && str_eq(name, filename)))
            continue;
        if (store_open(folder->uri, name, &file, NULL) != 0)
            continue;
        uint64_t bytes = store_file_bytes(file);
        size_t n = bytes < sizeof first ? (size_t)bytes : sizeof first;
        fsutil_sha256_add(sha, name, strlen(name) + 1);
        fsutil_sha256_add(sha, &bytes, sizeof bytes);
        if (store_file_read(file, 0, first, n, NULL) == 0)
            fsutil_sha256_add(sha, first, n);
        store_file_close(file);
    }
    fsutil_sha256_end(sha, out_hex);
}
