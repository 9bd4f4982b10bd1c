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
static void check_pickled(struct ckpt_wants *wants, const struct ckpt_folder *folder,
                          const char *name);
static struct store_file *open_shared(const struct ckpt_folder *folder, const char *name,
                                      struct err *err);
static void check_array(struct ckpt_want *want, const struct pickle_array *array);
static bool fits(struct ckpt_want *want, int dtype, const struct dims *dims);
static void check_header(struct ckpt_want *want, struct store_file *file, bool may_have_more);
static bool dims_fit(const struct dims *want, const struct dims *have);
static bool is_within(const struct ckpt_wants *wants, const char *name);
static void digest_plain(const struct ckpt_wants *wants, const struct ckpt_folder *folder,
                         char out_hex[FSUTIL_SHA256_HEX]);

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
    if (options->what != CKPT_NAMES)   // what is named must be there
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
    for (size_t i = 0; i < sizeof wants->within / sizeof *wants->within; i++)
        mem_free(wants->within[i]);
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
        if (!str_eq(all.items[i], CKPT_SUMS_NAME))
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
                     "another checkpoint",
                     uri);
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
                    const struct ckpt_load_options *options, struct err *err)
{
    if (options->pickle && wants->on_server)
        return err_set(err, SL_EUNSUPPORTED,
                       "%s: %s.pdparams cannot be loaded on a server; save one file a variable",
                       folder->uri, options->pickle);
    if (options->filename) {
        wants->within[0] = mem_must_strdup(options->filename);
        check_combined(wants, folder, wants->within[0]);
        return 0;
    }
    if (options->pickle) {
        wants->within[0] = mem_must_printf("%s.pdparams", options->pickle);
        wants->within[1] = mem_must_printf("%s.pdopt", options->pickle);
        wants->within[2] = mem_must_printf("%s.pdmodel", options->pickle);
        for (size_t i = 0; i < wants->count; i++) {
            bool param = options->params && str_list_has(options->params, wants->items[i].name);
            wants->items[i].within = wants->within[param ? 0 : 1];
        }
        check_pickled(wants, folder, wants->within[0]);
        check_pickled(wants, folder, wants->within[1]);
        return 0;
    }
    for (size_t i = 0; i < wants->count; i++)
        if (wants->items[i].fate != CKPT_EXCEPTED)
            check_separate(&wants->items[i], folder);
    return 0;
}

static void report_want(const struct ckpt_want *want, const struct ckpt_folder *folder,
                        struct ckpt_report *report)
{
    const char *file = ckpt_want_file(want);
    const struct ckpt_file *listed = ckpt_manifest_find(&folder->manifest, file);
    struct ckpt_item *item =
        ckpt_report_add(report, want->fate, want->name, want->fate == CKPT_MISSING ? NULL : file);
    item->note = want->note ? mem_must_strdup(want->note) : NULL;
    item->surplus = want->surplus;
    if (listed) {
        memcpy(item->sha256, listed->sha256, sizeof item->sha256);
        item->step = listed->step >= 0               ? listed->step
                     : folder->manifest.has_progress ? folder->manifest.progress.step
                                                     : -1;
    }
    if (!ckpt_want_is_taken(want))
        return;
    const struct dims *dims = &want->header.dims;
    uint64_t row_bytes =
        dims->rank && dims->d[0] > 0 ? want->header.data_bytes / (uint64_t)dims->d[0] : 0;
    item->row = want->sliced ? want->row : 0;
    item->rows = want->sliced ? want->rows : 0;
    item->offset = want->base + want->header.data_offset + (uint64_t)item->row * row_bytes;
    item->bytes = want->sliced ? (uint64_t)want->rows * row_bytes : want->header.data_bytes;
    report->bytes += item->bytes;
}

void ckpt_want_report(const struct ckpt_wants *wants, const struct ckpt_folder *folder,
                      struct ckpt_report *report)
{
    ckpt_report_deinit(report);
    report->path = mem_must_strdup(folder->uri);
    report->has_manifest = folder->has_manifest;
    report->has_progress = folder->manifest.has_progress;
    if (report->has_progress)
        ckpt_progress_copy(&report->progress, &folder->manifest.progress);
    if (folder->manifest.has_facts)
        ckpt_facts_copy(&report->facts, &folder->manifest.facts);
    for (size_t i = 0; i < wants->count; i++)
        if (!wants->items[i].elsewhere)
            report_want(&wants->items[i], folder, report);
    for (size_t i = 0; i < folder->files.count; i++) {
        const char *name = folder->files.items[i];
        const struct ckpt_file *listed = ckpt_manifest_find(&folder->manifest, name);
        if ((listed && (wants->on_server || listed->other)) || map_get(&wants->known, name) ||
            is_within(wants, name))
            continue;
        ckpt_report_add(report, CKPT_EXTRA, name, name);
    }
    if (folder->has_manifest)
        memcpy(report->digest, folder->manifest.digest, sizeof report->digest);
    else
        digest_plain(wants, folder, report->digest);
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
        if (options->what != CKPT_PERSISTABLES && options->params &&
            !str_list_has(options->params, var->name))
            continue;
        size_t before = out->count;
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
        if (options->filename && out->count == before) {
            struct ckpt_want *want = add(out, var->name, var->name);
            want->dtype = (int)var->dtype;
            want->dims = var->dims;
            want->rows = -1;
            want->elsewhere = true;
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
    const struct str_list *names = options->what == CKPT_PERSISTABLES ? &saved : options->params;
    int rc = 0;
    if (!names || !names->count)
        rc = err_set(
            err, SL_EINVAL, "%s",
            options->what == CKPT_NAMES ? "no variable is named: there is nothing to load"
            : options->what == CKPT_PARAMS
                ? "no Parameters are known in this program: give the main program, or name them "
                  "with --params_list"
                : "the program has no persistable variables: there is nothing to load");
    for (size_t i = 0; !rc && i < names->count; i++) {
        const struct var_desc *var = block_var(block, names->items[i]);
        if (!var || (options->what == CKPT_NAMES ? !var->has_tensor : !var_desc_is_saved(var))) {
            rc = err_set(err, SL_ENOENT, "%s: the program has no %s of that name", names->items[i],
                         options->what == CKPT_NAMES ? "tensor" : "persistable variable");
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
    struct err err = {0};
    struct store_file *file = open_shared(folder, filename, &err);
    uint64_t base = 0;
    for (size_t i = 0; i < wants->count; i++) {
        struct ckpt_want *want = &wants->items[i];
        bool excepted = want->fate == CKPT_EXCEPTED;
        bool last = i + 1 == wants->count || !str_eq(wants->items[i + 1].file, want->file);
        want->within = filename;
        if (err.code) {
            ckpt_want_set(want, CKPT_DIFFERS, "%s", err.text);
            continue;
        }
        want->base = base;
        check_header(want, file, i + 1 == wants->count);
        if (!ckpt_want_is_taken(want)) {
            char *why = want->note;
            want->note = NULL;
            ckpt_want_set(want, CKPT_DIFFERS, "in %s: %s", filename, why ? why : "does not fit");
            mem_free(why);
            err_set(&err, SL_EMISMATCH, "stands behind %s, which does not fit", want->name);
            continue;
        }
        if (last)
            base += want->header.data_offset + want->header.data_bytes;
        if (excepted || want->elsewhere)
            ckpt_want_set(want, CKPT_EXCEPTED, "left out");
    }
    store_file_close(file);
}

// A file that holds several variables. NULL, with the reason, when there is none or it is damaged.
static struct store_file *open_shared(const struct ckpt_folder *folder, const char *name,
                                      struct err *err)
{
    struct store_file *file = NULL;
    const struct ckpt_file *listed =
        folder->has_manifest ? ckpt_manifest_find(&folder->manifest, name) : NULL;
    if (!map_get(&folder->by_name, name)) {
        err_set(err, SL_ENOENT, "missing: the folder has no %s", name);
    } else if (folder->has_manifest && !listed) {
        err_set(err, SL_EMISMATCH, "the manifest does not list %s", name);
    } else if (store_open(folder->uri, name, &file, err) == 0 && listed &&
               listed->bytes != store_file_bytes(file)) {
        err_set(err, SL_ECORRUPT, "%s is damaged: %" PRIu64 " bytes, the manifest says %" PRIu64,
                name, store_file_bytes(file), listed->bytes);
        store_file_close(file);
        file = NULL;
    }
    return file;
}

static void check_pickled(struct ckpt_wants *wants, const struct ckpt_folder *folder,
                          const char *name)
{
    struct err err = {0};
    struct pickle_index index = {0};
    struct tensor_io_source source;
    size_t wanted = 0;
    for (size_t i = 0; i < wants->count; i++)
        wanted += wants->items[i].within == name && wants->items[i].fate != CKPT_EXCEPTED;
    if (!wanted)
        return;
    struct store_file *file = open_shared(folder, name, &err);
    if (file) {
        ckpt_want_source(file, &source);
        pickle_index_read(&source, &index, &err);
    }
    for (size_t i = 0; i < wants->count; i++) {
        struct ckpt_want *want = &wants->items[i];
        if (want->within != name || want->fate == CKPT_EXCEPTED)
            continue;
        const struct pickle_array *array = pickle_index_find(&index, want->name);
        if (err.code == SL_ENOENT)
            ckpt_want_set(want, CKPT_MISSING, "%s", err.text);
        else if (err.code)
            ckpt_want_set(want, CKPT_DIFFERS, "%s", err.text);
        else if (!array)
            ckpt_want_set(want, CKPT_MISSING, "missing in %s", name);
        else
            check_array(want, array);
        want->file_bytes = file ? store_file_bytes(file) : 0;
    }
    pickle_index_deinit(&index);
    store_file_close(file);
}

static void check_array(struct ckpt_want *want, const struct pickle_array *array)
{
    if (want->kind != VARIABLE_TENSOR) {
        ckpt_want_set(want, CKPT_DIFFERS, "selected rows are not in pickles");
        return;
    }
    if (!fits(want, (int)array->dtype, &array->dims))
        return;
    uint64_t count = 0;
    dims_count(&array->dims, dtype_bytes(array->dtype), &count);
    want->pickled = true;
    want->array = *array;
    want->array.name = want->name;
    want->header = (struct tensor_io_header){.kind = VARIABLE_TENSOR,
                                             .dtype = array->dtype,
                                             .dims = array->dims,
                                             .data_offset = array->offset,
                                             .data_bytes = count * dtype_bytes(array->dtype)};
    want->fate = CKPT_LOADED;
}

static void check_header(struct ckpt_want *want, struct store_file *file, bool may_have_more)
{
    struct tensor_io_source source;
    struct err err = {0};
    ckpt_want_source(file, &source);
    want->file_bytes = source.size;
    if (tensor_io_read_header(&source, want->base, want->kind, &want->header, &err)) {
        ckpt_want_set(want, CKPT_DIFFERS, "%s", err.text);
        return;
    }
    const struct tensor_io_header *header = &want->header;
    if (!fits(want, (int)header->dtype, &header->dims))
        return;
    if (want->sliced && want->kind != VARIABLE_TENSOR) {
        ckpt_want_set(want, CKPT_DIFFERS, "selected rows cannot be cut in slices");
        return;
    }
    uint64_t end = want->base + header->data_offset + header->data_bytes;
    want->surplus = may_have_more && source.size > end ? source.size - end : 0;
    want->fate = want->sliced ? CKPT_SLICED : CKPT_LOADED;
}

// Type and shape; says what differs.
static bool fits(struct ckpt_want *want, int dtype, const struct dims *dims)
{
    char have[DIMS_TEXT_MAX], need[DIMS_TEXT_MAX];
    bool same = dtype == want->dtype, alike = dims_fit(&want->dims, dims);
    if (!same && !alike)
        ckpt_want_set(want, CKPT_DIFFERS, "file has %s %s, the program wants %s %s",
                      dtype_name(dtype), dims_format(dims, have), dtype_name(want->dtype),
                      dims_format(&want->dims, need));
    else if (!same)
        ckpt_want_set(want, CKPT_DIFFERS, "file has type %s, the program wants %s",
                      dtype_name(dtype), dtype_name(want->dtype));
    else if (!alike)
        ckpt_want_set(want, CKPT_DIFFERS, "file has shape %s, the program wants %s",
                      dims_format(dims, have), dims_format(&want->dims, need));
    return same && alike;
}

static bool is_within(const struct ckpt_wants *wants, const char *name)
{
    for (size_t i = 0; i < sizeof wants->within / sizeof *wants->within; i++)
        if (wants->within[i] && str_eq(name, wants->within[i]))
            return true;
    return false;
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
                         char out_hex[FSUTIL_SHA256_HEX])
{
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    uint8_t first[DIGEST_FILE_BYTES];
    for (size_t i = 0; i < folder->files.count; i++) {
        const char *name = folder->files.items[i];
        struct store_file *file;
        if (!map_get(&wants->known, name) && !is_within(wants, name))
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
