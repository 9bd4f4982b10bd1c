// SPDX-License-Identifier: Apache-2.0
// Headers are read once, when the folder is opened; one file stays open between reads.
#include "common/ckpt/ckpt_view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ckpt/ckpt_vars.h"
#include "common/program/program.h"
#include "common/storage/store.h"

#define MODEL_NAME "__model__"

static int look_at_files(struct ckpt_view *view, const struct program *program, struct err *err);
static int look_at_combined(struct ckpt_view *view, const struct program *program, struct err *err);
static int look_into_combined(struct ckpt_view *view, struct store_file *file,
                              const struct str_list *names, const struct program *program,
                              struct err *err);
static int read_header(const struct tensor_io_source *source, uint64_t base,
                       enum variable_kind kind, struct tensor_io_header *out, struct err *err);
static struct ckpt_view_var *add(struct ckpt_view *view, const char *name, const char *file);
static enum variable_kind kind_in(const struct program *program, const char *name);
static int by_name(const void *a, const void *b);

int ckpt_view_open(const char *uri, const struct ckpt_view_options *options, struct ckpt_view *out,
                   struct err *err)
{
    *out = (struct ckpt_view){.uri = mem_must_strdup(uri)};
    struct program *model = NULL;
    const struct program *program = options ? options->program : NULL;
    int rc = ckpt_want_open_folder(out->uri, true, &out->folder, err);
    if (rc == 0 && program == NULL && str_list_has(&out->folder.files, MODEL_NAME)) {
        char *path = fsutil_join(uri, MODEL_NAME);
        rc = program_load(path, &model, err);
        program = model;
        mem_free(path);
    }
    if (rc == 0 && options != NULL && options->filename != NULL) {
        out->filename = mem_must_strdup(options->filename);
        rc = look_at_combined(out, program, err);
    } else if (rc == 0) {
        rc = look_at_files(out, program, err);
    }
    program_free(model);
    if (rc < 0) {
        ckpt_view_close(out);
        return rc;
    }
    if (out->count > 0)
        qsort(out->vars, out->count, sizeof *out->vars, by_name);
    return 0;
}

void ckpt_view_close(struct ckpt_view *view)
{
    if (view->open != NULL)
        store_file_close(view->open);
    for (size_t i = 0; i < view->count; i++) {
        mem_free(view->vars[i].name);
        mem_free(view->vars[i].file);
        tensor_io_header_deinit(&view->vars[i].header);
    }
    mem_free(view->vars);
    str_list_deinit(&view->others);
    ckpt_want_close_folder(&view->folder);
    mem_free(view->filename);
    mem_free(view->uri);
    *view = (struct ckpt_view){0};
}

const struct ckpt_view_var *ckpt_view_find(const struct ckpt_view *view, const char *name)
{
    const struct ckpt_view_var key = {.name = (char *)name};
    return view->count == 0 ? NULL : bsearch(&key, view->vars, view->count, sizeof key, by_name);
}

int64_t ckpt_view_rows(const struct ckpt_view_var *var)
{
    return var->header.dims.rank == 0 ? 1 : var->header.dims.d[0];
}

uint64_t ckpt_view_row_bytes(const struct ckpt_view_var *var)
{
    const struct dims *dims = &var->header.dims;
    return (uint64_t)dims_product(dims, dims->rank > 0 ? 1 : 0, dims->rank) *
           dtype_bytes(var->header.dtype);
}

int ckpt_view_read(struct ckpt_view *view, size_t i, int64_t row, int64_t rows, void *out,
                   struct err *err)
{
    const struct ckpt_view_var *var = &view->vars[i];
    if (view->open == NULL || !str_eq(view->vars[view->open_index].file, var->file)) {
        if (view->open != NULL)
            store_file_close(view->open);
        view->open = NULL;
        int rc = store_open(view->uri, var->file, &view->open, err);
        if (rc < 0)
            return rc;
    }
    view->open_index = i;
    uint64_t row_bytes = ckpt_view_row_bytes(var);
    uint64_t at = var->base + var->header.data_offset + (uint64_t)row * row_bytes;
    return store_file_read(view->open, at, out, (size_t)((uint64_t)rows * row_bytes), err);
}

struct ckpt_var ckpt_view_describe(const struct ckpt_view *view, size_t i)
{
    const struct tensor_io_header *header = &view->vars[i].header;
    return (struct ckpt_var){.name = view->vars[i].name,
                             .kind = header->kind,
                             .dtype = header->dtype,
                             .dims = header->dims,
                             .lod = header->lod,
                             .lod_levels = header->lod_levels,
                             .height = header->height,
                             .row_ids = header->rows};
}

static int look_at_files(struct ckpt_view *view, const struct program *program, struct err *err)
{
    for (size_t i = 0; i < view->folder.files.count; i++) {
        const char *name = view->folder.files.items[i];
        struct store_file *file;
        struct tensor_io_source source;
        struct tensor_io_header header = {0};
        struct err why = {0};
        int rc = store_open(view->uri, name, &file, err);
        if (rc < 0)
            return rc;
        ckpt_want_source(file, &source);
        rc = read_header(&source, 0, kind_in(program, name), &header, &why);
        uint64_t size = store_file_bytes(file);
        // A variable's file begins with version 0 in four bytes; no text and no program does.
        uint32_t version = 1;
        if (size < sizeof version || store_file_read(file, 0, &version, sizeof version, NULL) < 0)
            version = 1;
        store_file_close(file);
        const struct ckpt_file *listed = ckpt_manifest_find(&view->folder.manifest, name);
        if (rc < 0 && (listed == NULL ? version != 0 : listed->other)) {
            str_list_add(&view->others, name);
            continue;
        }
        if (rc < 0)
            return err_set(err, rc, "%s", why.text);
        struct ckpt_view_var *var = add(view, name, name);
        var->header = header;
        var->surplus = size - header.data_offset - header.data_bytes;
        var->sha256 = listed != NULL ? listed->sha256 : NULL;
    }
    return 0;
}

static int look_at_combined(struct ckpt_view *view, const struct program *program, struct err *err)
{
    if (program == NULL)
        return err_set(err, SL_EUSAGE,
                       "%s/%s: a combined file has no names inside: give the --program that it "
                       "was saved from",
                       view->uri, view->filename);
    for (size_t i = 0; i < view->folder.files.count; i++)
        if (!str_eq(view->folder.files.items[i], view->filename))
            str_list_add(&view->others, view->folder.files.items[i]);
    struct str_list names = {0};
    struct store_file *file;
    int rc = store_open(view->uri, view->filename, &file, err);
    if (rc < 0)
        return rc;
    ckpt_vars_saved(program, &names);
    rc = look_into_combined(view, file, &names, program, err);
    store_file_close(file);
    str_list_deinit(&names);
    return rc;
}

static int look_into_combined(struct ckpt_view *view, struct store_file *file,
                              const struct str_list *names, const struct program *program,
                              struct err *err)
{
    struct tensor_io_source source;
    uint64_t at = 0;
    const struct ckpt_file *listed = ckpt_manifest_find(&view->folder.manifest, view->filename);
    ckpt_want_source(file, &source);
    for (size_t i = 0; i < names->count; i++) {
        struct tensor_io_header header = {0};
        int rc = read_header(&source, at, kind_in(program, names->items[i]), &header, err);
        if (rc < 0)
            return err_prefix(err, "%s (variable %zu of %zu in the combined file)", names->items[i],
                              i + 1, names->count);
        struct ckpt_view_var *var = add(view, names->items[i], view->filename);
        var->header = header;
        var->base = at;
        var->sha256 = listed != NULL ? listed->sha256 : NULL;
        at += header.data_offset + header.data_bytes;
    }
    if (at != store_file_bytes(file))
        return err_set(err, SL_EFORMAT,
                       "%s: %" PRIu64 " bytes follow the %zu variables of the program: another "
                       "program's file",
                       store_file_name(file), store_file_bytes(file) - at, names->count);
    return 0;
}

// kind VARIABLE_EMPTY: not known.
static int read_header(const struct tensor_io_source *source, uint64_t base,
                       enum variable_kind kind, struct tensor_io_header *out, struct err *err)
{
    if (kind != VARIABLE_EMPTY)
        return tensor_io_read_header(source, base, kind, out, err);
    int rc = tensor_io_read_header(source, base, VARIABLE_TENSOR, out, err);
    if (rc < 0 && tensor_io_read_header(source, base, VARIABLE_SELECTED_ROWS, out, NULL) == 0)
        rc = 0;
    return rc;
}

static struct ckpt_view_var *add(struct ckpt_view *view, const char *name, const char *file)
{
    MEM_GROW(view->vars, view->count, view->cap);
    struct ckpt_view_var *var = &view->vars[view->count++];
    *var = (struct ckpt_view_var){.name = mem_must_strdup(name), .file = mem_must_strdup(file)};
    return var;
}

static enum variable_kind kind_in(const struct program *program, const char *name)
{
    const struct var_desc *var =
        program != NULL ? block_var(program_block(program, 0), name) : NULL;
    if (var == NULL)
        return VARIABLE_EMPTY;
    return var->kind == VAR_SELECTED_ROWS ? VARIABLE_SELECTED_ROWS : VARIABLE_TENSOR;
}

static int by_name(const void *a, const void *b)
{
    const struct ckpt_view_var *x = a, *y = b;
    return strcmp(x->name, y->name);
}
