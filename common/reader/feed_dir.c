// SPDX-License-Identifier: Apache-2.0
// Step folders. Names are step_ and at least three digits; numbers run without a gap from the first
// to the last. All steps have the same variables. A file is read when its step comes, so the
// data may be larger than memory; a broken file ends the run with one error that names it.
#include "common/reader/feed_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/reader/reader_format.h"
#include "common/tensor/tensor_io.h"

#define STEP_PREFIX "step_"
#define STEP_TEXT_MAX 32

struct feed_dir {
    char *path;
    struct str_list names;      // of the variables, sorted
    bool *rows;                 // which of them are SelectedRows
    int64_t checked;            // the step whose files were last compared with names
};

static bool parse_step(const char *name, int64_t *out);
static void step_name(int64_t step, char *text);
static int find_steps(const char *path, int64_t first_step, struct reader_data *out,
                      struct err *err);
static int compare_steps(const void *a, const void *b);
static int list_files(const char *path, int64_t step, struct str_list *out, uint64_t *out_bytes,
                      struct err *err);
static int sum_bytes(const struct feed_dir *dir, struct reader_data *out, struct err *err);
static int describe(const struct feed_dir *dir, struct reader_data *out, struct err *err);
static enum variable_kind kind_of(const struct feed_dir *dir, size_t field);
static int check_names(struct feed_dir *dir, int64_t step, struct err *err);

static bool feed_dir_matches(const char *path)
{
    struct str_list names = {0};
    bool found = false;
    int64_t step;
    if (fsutil_is_dir(path) && fsutil_list(path, &names, NULL) == 0)
        for (size_t i = 0; i < names.count && !found; i++)
            found = parse_step(names.items[i], &step);
    str_list_deinit(&names);
    return found;
}

static void feed_dir_close(void *self)
{
    struct feed_dir *dir = self;
    mem_free(dir->path);
    str_list_deinit(&dir->names);
    mem_free(dir->rows);
    mem_free(dir);
}

static int feed_dir_open(const char *path, const struct reader_options *options,
                         struct reader_data *out, struct err *err)
{
    int64_t first = options->first_step;
    int rc = find_steps(path, first, out, err);
    if (rc)
        return rc;
    struct feed_dir *dir = MEM_NEW(struct feed_dir);
    dir->path = mem_must_strdup(path);
    dir->checked = out->first;
    rc = list_files(path, out->first, &dir->names, NULL, err);
    if (!rc && (dir->names.count == 0 || dir->names.count > READER_FEEDS_MAX))
        rc =
            err_set(err, SL_EFORMAT, "%s: step %" PRId64 " has %zu variables, 1 to %d are expected",
                    path, out->first, dir->names.count, READER_FEEDS_MAX);
    if (!rc) {
        dir->rows = mem_must_calloc(dir->names.count + 1, sizeof *dir->rows);
        for (size_t i = 0; i < dir->names.count && options->rows_vars; i++)
            dir->rows[i] = str_list_has(options->rows_vars, dir->names.items[i]);
        rc = describe(dir, out, err);
    }
    if (!rc)
        rc = sum_bytes(dir, out, err);
    if (rc) {
        feed_dir_close(dir);
        return rc;
    }
    out->self = dir;
    return 0;
}

static int feed_dir_step(void *self, int64_t step, size_t field, struct variable *out,
                         struct err *err)
{
    struct feed_dir *dir = self;
    char name[STEP_TEXT_MAX];
    if (dir->checked != step) {
        int rc = check_names(dir, step, err);
        if (rc)
            return rc;
    }
    step_name(step, name);
    char *path = mem_must_printf("%s/%s/%s", dir->path, name, dir->names.items[field]);
    int rc = tensor_io_load(path, kind_of(dir, field), out, err);
    mem_free(path);
    return rc;
}

const struct reader_format feed_dir_format = {
    .scheme = "feed_dir",
    .what = "a folder of step_000, step_001, ... with Fluid tensor files",
    .whole_steps = true,
    .matches = feed_dir_matches,
    .open = feed_dir_open,
    .step = feed_dir_step,
    .close = feed_dir_close,
};

int feed_dir_write(const char *dir, int64_t step, const char *name, const struct variable *value,
                   struct err *err)
{
    char text[STEP_TEXT_MAX];
    int rc = fsutil_check_relative(name, err);
    if (rc)
        return err_prefix(err, "%s", dir);
    step_name(step, text);
    char *path = mem_must_printf("%s/%s/%s", dir, text, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    rc = fsutil_mkdirs(path, err);
    *slash = '/';
    if (!rc)
        rc = tensor_io_save(value, path, err);
    mem_free(path);
    return rc;
}

static bool parse_step(const char *name, int64_t *out)
{
    uint64_t number;
    const char *digits = name + strlen(STEP_PREFIX);
    if (!str_starts_with(name, STEP_PREFIX) || strlen(digits) < 3 || strlen(digits) > 18 ||
        !str_parse_u64(digits, &number))
        return false;
    *out = (int64_t)number;
    return true;
}

static void step_name(int64_t step, char *text)
{
    snprintf(text, STEP_TEXT_MAX, STEP_PREFIX "%03" PRId64, step);
}

// The run of step numbers from first_step on.
static int find_steps(const char *path, int64_t first_step, struct reader_data *out,
                      struct err *err)
{
    struct str_list names = {0};
    int rc = fsutil_list(path, &names, err);
    int64_t *steps = mem_must_calloc(names.count + 1, sizeof *steps);
    size_t count = 0;
    for (size_t i = 0; i < names.count; i++)
        if (parse_step(names.items[i], &steps[count]) && steps[count] >= first_step)
            count++;
    str_list_deinit(&names);
    if (count)
        qsort(steps, count, sizeof *steps, compare_steps);
    if (!rc && !count)
        rc = err_set(err, SL_ENOENT,
                     "%s: has no step folders (step_000, ...) from step %" PRId64 " on", path,
                     first_step);
    for (size_t i = 1; i < count && !rc; i++)
        if (steps[i] != steps[i - 1] + 1)
            rc = err_set(err, SL_EFORMAT, "%s: between step %" PRId64 " and step %" PRId64
                         " a folder is missing (or comes twice)", path, steps[i - 1], steps[i]);
    if (!rc && first_step > 0 && steps[0] != first_step)
        rc = err_set(err, SL_ENOENT, "%s: has no folder for --first_step %" PRId64
                     "; the first behind it is %" PRId64, path, first_step, steps[0]);
    if (!rc) {
        out->first = steps[0];
        out->samples = (int64_t)count;
    }
    mem_free(steps);
    return rc;
}

static int compare_steps(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int list_files(const char *path, int64_t step, struct str_list *out, uint64_t *out_bytes,
                      struct err *err)
{
    char text[STEP_TEXT_MAX];
    step_name(step, text);
    char *folder = fsutil_join(path, text);
    int rc = fsutil_list(folder, out, err);
    for (size_t i = 0; i < out->count && !rc && out_bytes; i++) {
        char *file = fsutil_join(folder, out->items[i]);
        struct stat st;
        if (stat(file, &st) == 0)
            *out_bytes += (uint64_t)st.st_size;
        mem_free(file);
    }
    mem_free(folder);
    return rc;
}

static int sum_bytes(const struct feed_dir *dir, struct reader_data *out, struct err *err)
{
    int rc = 0;
    for (int64_t i = 0; i < out->samples && !rc; i++) {
        struct str_list names = {0};
        rc = list_files(dir->path, out->first + i, &names, &out->bytes, err);
        str_list_deinit(&names);
    }
    return rc;
}

static int describe(const struct feed_dir *dir, struct reader_data *out, struct err *err)
{
    char text[STEP_TEXT_MAX];
    int rc = 0;
    step_name(out->first, text);
    for (size_t i = 0; i < dir->names.count && !rc; i++) {
        struct tensor_io_header header = {0};
        struct tensor_io_source source;
        char *path = mem_must_printf("%s/%s/%s", dir->path, text, dir->names.items[i]);
        rc = tensor_io_open(&source, path, err);
        if (!rc) {
            rc = tensor_io_read_header(&source, 0, kind_of(dir, i), &header, err);
            tensor_io_close(&source);
        }
        if (!rc) {
            reader_data_add(out, dir->names.items[i], header.dtype, &header.dims, false);
            tensor_io_header_deinit(&header);
        }
        mem_free(path);
    }
    return rc;
}

// The bytes of a file do not tell its kind: the program's variable does.
static enum variable_kind kind_of(const struct feed_dir *dir, size_t field)
{
    return dir->rows[field] ? VARIABLE_SELECTED_ROWS : VARIABLE_TENSOR;
}

static int check_names(struct feed_dir *dir, int64_t step, struct err *err)
{
    struct str_list names = {0};
    int rc = list_files(dir->path, step, &names, NULL, err);
    bool same = names.count == dir->names.count;
    for (size_t i = 0; same && i < names.count; i++)
        same = str_eq(names.items[i], dir->names.items[i]);
    if (!rc && !same)
        rc =
            err_set(err, SL_EFORMAT, "%s: step %" PRId64 " has other variables than the first step",
                    dir->path, step);
    if (!rc)
        dir->checked = step;
    str_list_deinit(&names);
    return rc;
}
