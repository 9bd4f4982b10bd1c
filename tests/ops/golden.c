// SPDX-License-Identifier: Apache-2.0
// Helpers of the tests that compare with recorded results. Failures to read are test failures.

#include "tests/ops/golden.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/tensor/tensor_io.h"

static void fail(const char *what, const char *text)
{
    fprintf(stderr, "golden: %s: %s\n", what, text);
    abort();
}

char *golden_root(void)
{
    const char *root = getenv("SLUICE_GOLDENS"), *shared = getenv("SLUICE_SHARED"),
               *source = getenv("SLUICE_SOURCE_ROOT");
    char *path = NULL;
    if (root != NULL && root[0] != '\0')
        path = mem_must_strdup(root);
    else if (shared != NULL && shared[0] != '\0')
        path = fsutil_join(shared, "goldens");
    else if (source != NULL && source[0] != '\0')
        path = fsutil_join(source, "../shared/goldens");
    if (path != NULL && fsutil_is_dir(path))
        return path;
    const char *ci = getenv("CI");
    fprintf(stderr, "SKIPPED: no recorded results at %s; set SLUICE_GOLDENS\n",
            path ? path : "any known place");
    mem_free(path);
    if (ci != NULL && strcmp(ci, "true") == 0)
        exit(1);
    return NULL;
}

char *golden_path(const char *first, ...)
{
    char *path = mem_must_strdup(first);
    va_list parts;
    va_start(parts, first);
    for (const char *part = va_arg(parts, const char *); part != NULL;
         part = va_arg(parts, const char *)) {
        char *longer = fsutil_join(path, part);
        mem_free(path);
        path = longer;
    }
    va_end(parts);
    return path;
}

struct json_t *golden_json(const char *path)
{
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (json == NULL)
        fail(path, error.text);
    return json;
}

void golden_load(const char *path, struct variable *out)
{
    struct err err = {0};
    variable_init(out);
    if (tensor_io_load(path, VARIABLE_TENSOR, out, &err) < 0)
        fail(path, err.text);
}

bool golden_exists(const char *path)
{
    return fsutil_is_file(path) || fsutil_is_dir(path);
}

void golden_list(const char *path, struct str_list *out)
{
    struct err err = {0};
    if (fsutil_list(path, out, &err) < 0)
        fail(path, err.text);
}

static double number_at(const struct tensor *t, uint64_t i)
{
    switch (t->dtype) {
    case DTYPE_FP32:
        return (double)tensor_f32(t)[i];
    case DTYPE_FP64:
        return tensor_f64(t)[i];
    case DTYPE_INT64:
        return (double)tensor_i64(t)[i];
    case DTYPE_INT32:
        return tensor_i32(t)[i];
    default:
        return ((const uint8_t *)t->data)[i];
    }
}

static bool lod_equal(const struct tensor *a, const struct tensor *b)
{
    if (a->lod_levels != b->lod_levels)
        return false;
    for (int l = 0; l < a->lod_levels; l++)
        if (a->lod[l].count != b->lod[l].count ||
            memcmp(a->lod[l].offsets, b->lod[l].offsets,
                   a->lod[l].count * sizeof *a->lod[l].offsets) != 0)
            return false;
    return true;
}

// Rows as they are in both: sorted or not.
static bool rows_equal(const char *what, const struct variable *got,
                       const struct variable *expected)
{
    const struct selected_rows *a = &got->rows, *b = &expected->rows;
    if (a->height == b->height && a->rows_count == b->rows_count &&
        (a->rows_count == 0 || memcmp(a->rows, b->rows, a->rows_count * sizeof *a->rows) == 0))
        return true;
    printf("%s: %zu rows of %lld, expected %zu of %lld (or other rows)\n", what, a->rows_count,
           (long long)a->height, b->rows_count, (long long)b->height);
    return false;
}

bool golden_close(const char *what, const struct variable *got, const struct variable *expected,
                  double relative, double absolute)
{
    char got_text[DIMS_TEXT_MAX], expected_text[DIMS_TEXT_MAX];
    bool rows = expected->kind == VARIABLE_SELECTED_ROWS;
    if (rows && (got->kind != VARIABLE_SELECTED_ROWS || !rows_equal(what, got, expected)))
        return false;
    const struct tensor *a = rows ? &got->rows.value : &got->tensor,
                        *b = rows ? &expected->rows.value : &expected->tensor;
    if (got->kind != expected->kind || a->dtype != b->dtype || !dims_equal(&a->dims, &b->dims) ||
        !lod_equal(a, b)) {
        printf("%s: %s %s, expected %s %s (or another LoD)\n", what, dtype_name((int)a->dtype),
               dims_format(&a->dims, got_text), dtype_name((int)b->dtype),
               dims_format(&b->dims, expected_text));
        return false;
    }
    double largest = 0;
    for (uint64_t i = 0; i < tensor_count(b); i++)
        largest = fmax(largest, fabs(number_at(b, i)));
    double bound = largest * relative + absolute;
    for (uint64_t i = 0; i < tensor_count(b); i++) {
        double x = number_at(a, i), y = number_at(b, i);
        if (x != y && !(fabs(x - y) <= bound) && !(isnan(x) && isnan(y))) {
            printf("%s: element %llu is %.9g, expected %.9g (largest %.9g)\n", what,
                   (unsigned long long)i, x, y, largest);
            return false;
        }
    }
    return true;
}
