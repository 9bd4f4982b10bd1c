// SPDX-License-Identifier: Apache-2.0
// Renders and compares the coverage table. A gradient op has no line of its own: it stands in the
// line of the op whose gradient it is, even when it is another op of the table (relu_grad of relu).

#include "tests/ops/coverage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ops/op.h"

#define README_BYTES_MAX (1 << 20)
#define BEGIN "<!-- coverage: begin -->\n"
#define END "<!-- coverage: end -->\n"

static int by_type(const void *a, const void *b);
static bool is_gradient(const char *type);
static void render_row(const struct coverage_row *row, struct buf *out);
static int differ(const char *path, const char *have, size_t bytes, const char *table,
                  struct err *err);

void coverage_deinit(struct coverage *coverage)
{
    for (size_t i = 0; i < coverage->count; i++)
        mem_free(coverage->rows[i].type);
    mem_free(coverage->rows);
    *coverage = (struct coverage){0};
}

struct coverage_row *coverage_row_of(struct coverage *coverage, const char *type)
{
    for (size_t i = 0; i < coverage->count; i++)
        if (str_eq(coverage->rows[i].type, type))
            return &coverage->rows[i];
    MEM_GROW(coverage->rows, coverage->count, coverage->cap);
    coverage->rows[coverage->count] = (struct coverage_row){.type = mem_must_strdup(type)};
    return &coverage->rows[coverage->count++];
}

void coverage_render(struct coverage *coverage, struct buf *out)
{
    size_t ops = 0, gradients = 0;
    int cases = 0, passed = 0;
    for (size_t i = 0; i < op_table_count(); i++) {
        if (is_gradient(op_table_at(i)->type)) {
            gradients++;
            continue;
        }
        ops++;
        coverage_row_of(coverage, op_table_at(i)->type);
    }
    qsort(coverage->rows, coverage->count, sizeof *coverage->rows, by_type);
    for (size_t i = 0; i < coverage->count; i++) {
        cases += coverage->rows[i].cases;
        passed += coverage->rows[i].passed;
    }
    buf_printf(out, "%zu ops and %zu gradient ops; %d of %d recorded cases pass.\n\n", ops,
               gradients, passed, cases);
    buf_printf(out, "| op | forward | gradient | cases passed |\n|---|---|---|---|\n");
    for (size_t i = 0; i < coverage->count; i++)
        render_row(&coverage->rows[i], out);
}

int coverage_check(const char *path, const char *table, bool rewrite, struct err *err)
{
    struct buf text;
    buf_init(&text, 0);
    int rc = fsutil_read(path, README_BYTES_MAX, &text, err);
    const char *all = rc < 0 ? "" : buf_text(&text), *begin = strstr(all, BEGIN),
               *end = begin == NULL ? NULL : strstr(begin, END);
    if (rc >= 0 && end == NULL)
        rc = err_set(err, SL_EFORMAT, "%s: no pair of the lines %.*s and %.*s", path,
                     (int)strlen(BEGIN) - 1, BEGIN, (int)strlen(END) - 1, END);
    if (rc >= 0) {
        begin += strlen(BEGIN);
        rc = differ(path, begin, (size_t)(end - begin), table, err);
    }
    if (rc < 0 && end != NULL && rewrite) {
        struct buf fresh;
        buf_init(&fresh, 0);
        buf_append(&fresh, all, (size_t)(begin - all));
        buf_printf(&fresh, "%s%s", table, end);
        rc = fsutil_write_atomic(path, fresh.data, fresh.bytes, err);
        buf_deinit(&fresh);
    }
    buf_deinit(&text);
    return rc;
}

static int by_type(const void *a, const void *b)
{
    const struct coverage_row *x = a, *y = b;
    return strcmp(x->type, y->type);
}

static bool is_gradient(const char *type)
{
    return strstr(type, "_grad") != NULL;
}

static void render_row(const struct coverage_row *row, struct buf *out)
{
    const struct op_def *def = op_table_find(row->type);
    buf_printf(out, "| %s | ", row->type);
    if (def == NULL)
        buf_printf(out, "missing");
    else if (row->cases == 0)
        buf_printf(out, "yes");
    else if (row->forward_passed < row->cases)
        buf_printf(out, "%d of %d", row->forward_passed, row->cases);
    else
        buf_printf(out, row->exact ? "exact" : "close");
    if (def == NULL)
        buf_printf(out, " | missing");
    else if (def->grad.type == NULL && def->grad.make == NULL)
        buf_printf(out, " | none");
    else if (def->grad.type != NULL && op_table_find(def->grad.type) == NULL)
        buf_printf(out, " | missing");
    else if (row->gradient_cases == 0)
        buf_printf(out, " | yes");
    else
        buf_printf(out, " | %d of %d", row->gradient_passed, row->gradient_cases);
    buf_printf(out, " | ");
    if (row->cases > 0)
        buf_printf(out, "%d of %d", row->passed, row->cases);
    else
        buf_printf(out, "-");
    buf_printf(out, " |\n");
}

static int differ(const char *path, const char *have, size_t bytes, const char *table,
                  struct err *err)
{
    if (bytes == strlen(table) && memcmp(have, table, bytes) == 0)
        return 0;
    size_t at = 0, line = 0;
    for (size_t i = 0; i < bytes && table[i] == have[i]; i++)
        if (have[i] == '\n')
            at = i + 1, line++;
    return err_set(err, SL_EINVAL,
                   "%s: line %zu of the coverage table is not what was measured: "
                   "it says \"%.*s\", measured \"%.*s\"",
                   path, line + 1, at < bytes ? (int)strcspn(have + at, "\n") : 0, have + at,
                   (int)strcspn(table + at, "\n"), table + at);
}
