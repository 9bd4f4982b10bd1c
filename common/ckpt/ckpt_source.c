// SPDX-License-Identifier: Apache-2.0
// A checkpoint's source over the variables of a scope. Borrows the scope; the variables must not
// change until the save has returned.
#include "common/ckpt/ckpt_source.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/exec/scope.h"

struct scope_source {
    struct ckpt_source base;        // first: ckpt_source_free gets its address
    struct ckpt_var *vars;
    const struct tensor **tensors;
    struct str_list names;
};

static const struct tensor *describe(const struct variable *var, struct ckpt_var *out);
static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err);

int ckpt_source_scope(const struct scope *scope, const struct str_list *names,
                      struct ckpt_source **out, struct err *err)
{
    struct scope_source *source = MEM_NEW(struct scope_source);
    struct buf empty;
    buf_init(&empty, 600);
    source->vars = mem_must_calloc(names->count + 1, sizeof *source->vars);
    source->tensors = mem_must_calloc(names->count + 1, sizeof *source->tensors);
    for (size_t i = 0; i < names->count; i++) {
        const struct variable *var = scope_find(scope, names->items[i]);
        str_list_add(&source->names, names->items[i]);
        source->vars[i].name = source->names.items[i];
        source->tensors[i] = var ? describe(var, &source->vars[i]) : NULL;
        if (!source->tensors[i])
            buf_printf(&empty, "%s%s", empty.bytes ? ", " : "", names->items[i]);
    }
    int rc = 0;
    if (empty.bytes)
        rc = err_set(err, SL_ENOENT,
                     "these variables hold nothing yet: %s. Run the startup program "
                     "first",
                     buf_text(&empty));
    buf_deinit(&empty);
    source->base = (struct ckpt_source){source->vars, names->count, read_rows, source};
    if (rc)
        ckpt_source_free(&source->base);
    else
        *out = &source->base;
    return rc;
}

void ckpt_source_free(struct ckpt_source *base)
{
    struct scope_source *source = (struct scope_source *)base;
    if (!source)
        return;
    str_list_deinit(&source->names);
    mem_free(source->vars);
    mem_free(source->tensors);
    mem_free(source);
}

// The dense tensor inside, or NULL when there is nothing to save.
static const struct tensor *describe(const struct variable *var, struct ckpt_var *out)
{
    const struct tensor *t = NULL;
    if (var->kind == VARIABLE_TENSOR) {
        t = &var->tensor;
    } else if (var->kind == VARIABLE_SELECTED_ROWS) {
        t = &var->rows.value;
        out->height = var->rows.height;
        out->row_ids = var->rows.rows;
    }
    if (!t || (!t->data && tensor_count(t) > 0))
        return NULL;
    out->kind = var->kind;
    out->dtype = t->dtype;
    out->dims = t->dims;
    out->lod = var->kind == VARIABLE_TENSOR ? t->lod : NULL;
    out->lod_levels = var->kind == VARIABLE_TENSOR ? t->lod_levels : 0;
    return t;
}

static int read_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    (void)err;
    const struct scope_source *source = self;
    const struct tensor *t = source->tensors[i];
    size_t row_bytes = (size_t)dims_product(&t->dims, 1, t->dims.rank) * dtype_bytes(t->dtype);
    memcpy(out, (const char *)t->data + (size_t)row * row_bytes, (size_t)rows * row_bytes);
    return 0;
}
