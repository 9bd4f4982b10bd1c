// SPDX-License-Identifier: Apache-2.0
// Items keep the order of the URI, and within a glob or folder byte order: every trainer makes the
// same list, so the numbers agree.
#include "common/reader/reader_items.h"

#include <glob.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"

#define TRAINER_PLACE "{trainer_id}"
#define SAMPLES_MAX (INT64_MAX / 2)
#define ITEMS_MAX 4096u

// In the order in which files are looked at; multislot and tokens are only taken by name.
static const struct reader_format *const formats[] = {
    &feed_dir_format, &idx_format,     &cifar_format,     &npy_files_format, &criteo_format,
    &feasign_format,  &housing_format, &multislot_format, &tokens_format};
#define FORMATS (sizeof formats / sizeof *formats)

static int add_part(struct reader_items *items, const char *part,
                    const struct reader_options *options, struct err *err);
static int add_item(struct reader_items *items, const char *uri, size_t bytes, struct err *err);
static int add_files(struct reader_items *items, const char *scheme, const struct str_list *files,
                     const char *part, struct err *err);
static int list_glob(const char *path, struct str_list *out, struct err *err);
static int list_folder(const char *path, struct str_list *out, struct err *err);
static bool is_glob(const char *path);
static int open_item(struct reader_items *items, struct reader_item *item,
                     const struct reader_options *options, struct err *err);
static char *expand(const char *uri, int trainer_id);
static int named_format(const char *uri, const struct reader_options *options,
                        const struct reader_format **out, const char **out_path, struct err *err);
static int find_format(const char *uri, const struct reader_options *options,
                       const struct reader_format **out, const char **out_path, struct err *err);
static int unknown(const char *uri, struct err *err);
static int check_layout(const struct reader_items *items, const struct reader_item *item,
                        struct err *err);

int reader_items_open(const char *uri, const struct reader_options *options,
                      struct reader_items *out, struct err *err)
{
    int rc = 0, trainers = options->trainers > 0 ? options->trainers : 1;
    memset(out, 0, sizeof *out);
    for (const char *at = uri; rc == 0;) {
        size_t bytes = strcspn(at, ",");
        char *part = mem_must_strndup(at, bytes);
        rc = bytes ? add_part(out, part, options, err)
                   : err_set(err, SL_EINVAL, "data %s: an empty path in the list", uri);
        mem_free(part);
        if (!at[bytes])
            break;
        at += bytes + 1;
    }
    size_t mine = SIZE_MAX;
    for (size_t i = 0; i < out->count && rc == 0; i++) {
        out->items[i].first = out->first + out->samples;
        if (options->shard == READER_FILE && (int64_t)(i % (size_t)trainers) != options->trainer_id)
            continue;
        rc = open_item(out, &out->items[i], options, err);
        mine = mine == SIZE_MAX ? i : mine;
    }
    if (rc == 0 && mine == SIZE_MAX)
        rc = err_set(err, SL_EINVAL,
                     "data %s: %zu files for %d trainers: none is left for trainer %d", uri,
                     out->count, trainers, options->trainer_id);
    return rc;
}

void reader_items_deinit(struct reader_items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        reader_data_deinit(&items->items[i].data);
        mem_free(items->items[i].uri);
    }
    str_list_deinit(&items->notes);
    mem_free(items->items);
    memset(items, 0, sizeof *items);
}

const struct reader_item *reader_items_of(const struct reader_items *items, int64_t sample)
{
    size_t low = 0, high = items->count;   // the last one whose first is not behind the sample
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (items->items[middle].first <= sample)
            low = middle;
        else
            high = middle;
    }
    return &items->items[low];
}

// One part of the URI: an item, or the files of a glob or folder.
static int add_part(struct reader_items *items, const char *part,
                    const struct reader_options *options, struct err *err)
{
    const struct reader_format *format;
    const char *path;
    struct str_list files = {0};
    char *uri = expand(part, options->trainer_id);
    int rc = named_format(uri, options, &format, &path, err);
    bool listed = true;
    if (rc == 0 && is_glob(path)) {
        rc = list_glob(path, &files, err);
    } else if (rc == 0 && fsutil_is_dir(path)) {
        bool matched = format && !format->single_files;
        for (size_t i = 0; i < FORMATS && !format && !matched; i++)
            matched = formats[i]->matches(path);
        listed = !matched;
        if (listed)
            rc = list_folder(path, &files, err);
    } else {
        listed = false;
    }
    char *scheme = mem_must_strndup(uri, (size_t)(path ? path - uri : 0));
    if (rc == 0)
        rc = listed ? add_files(items, scheme, &files, part, err)
                    : add_item(items, part, strlen(part), err);
    mem_free(scheme);
    mem_free(uri);
    str_list_deinit(&files);
    return rc;
}

static int add_item(struct reader_items *items, const char *uri, size_t bytes, struct err *err)
{
    if (items->count >= ITEMS_MAX)
        return err_set(err, SL_ELIMIT, "data: more than %u files", ITEMS_MAX);
    MEM_GROW(items->items, items->count, items->cap);
    struct reader_item *item = &items->items[items->count++];
    memset(item, 0, sizeof *item);
    item->uri = mem_must_strndup(uri, bytes);
    return 0;
}

static int add_files(struct reader_items *items, const char *scheme, const struct str_list *files,
                     const char *part, struct err *err)
{
    int rc = files->count ? 0
                          : err_set(err, SL_ENOENT,
                                    "data %s: no file is there (names that begin with . or _ do "
                                    "not count in a folder)",
                                    part);
    for (size_t i = 0; i < files->count && rc == 0; i++) {
        char *uri = mem_must_printf("%s%s", scheme, files->items[i]);
        rc = add_item(items, uri, strlen(uri), err);
        mem_free(uri);
    }
    return rc;
}

static int list_glob(const char *path, struct str_list *out, struct err *err)
{
    glob_t found = {0};
    int code = glob(path, GLOB_NOSORT, NULL, &found);
    for (size_t i = 0; code == 0 && i < found.gl_pathc; i++)
        str_list_add(out, found.gl_pathv[i]);
    globfree(&found);
    str_list_sort(out);
    return code == 0 || code == GLOB_NOMATCH
               ? 0
               : err_set(err, SL_EIO, "data %s: the folder cannot be read", path);
}

static int list_folder(const char *path, struct str_list *out, struct err *err)
{
    struct str_list names = {0};
    int rc = fsutil_list(path, &names, err);
    for (size_t i = 0; i < names.count && rc == 0; i++) {
        char *file = fsutil_join(path, names.items[i]);
        if (names.items[i][0] != '.' && names.items[i][0] != '_' && fsutil_is_file(file))
            str_list_add(out, file);
        mem_free(file);
    }
    str_list_deinit(&names);
    return rc;
}

static bool is_glob(const char *path)
{
    return strpbrk(path, "*?[") && !fsutil_is_file(path) && !fsutil_is_dir(path);
}

static int open_item(struct reader_items *items, struct reader_item *item,
                     const struct reader_options *options, struct err *err)
{
    const struct reader_format *format = NULL;
    const char *path = NULL;
    char *uri = expand(item->uri, options->trainer_id);
    int rc = find_format(uri, options, &format, &path, err);
    if (rc == 0) {
        item->data.format = format;
        rc = format->open(path, options, &item->data, err);
        item->open = rc == 0;
        if (rc < 0)
            err_prefix(err, "data");
    }
    mem_free(uri);
    if (rc < 0)
        return rc;
    if (!items->layout) {
        items->layout = item;
        item->first = items->first = item->data.first;
    } else {
        rc = check_layout(items, item, err);
    }
    if (rc == 0 && item->data.samples > SAMPLES_MAX - items->samples)
        rc = err_set(err, SL_ELIMIT, "data %s: too many samples", item->uri);
    if (rc < 0)
        return rc;
    items->samples += item->data.samples;
    items->bad_lines += item->data.bad_lines;
    for (size_t i = 0; i < item->data.notes.count; i++)
        str_list_add(&items->notes, item->data.notes.items[i]);
    if (item->data.bad_lines)
        str_list_addf(&items->notes, "%s: %llu bad line%s left out, %lld good samples", item->uri,
                      (unsigned long long)item->data.bad_lines,
                      item->data.bad_lines == 1 ? " is" : "s are", (long long)item->data.samples);
    return 0;
}

static char *expand(const char *uri, int trainer_id)
{
    const char *place;
    char *out = mem_must_strdup("");
    while ((place = strstr(uri, TRAINER_PLACE)) != NULL) {
        char *longer = mem_must_printf("%s%.*s%d", out, (int)(place - uri), uri, trainer_id);
        mem_free(out);
        out = longer;
        uri = place + strlen(TRAINER_PLACE);
    }
    char *whole = mem_must_printf("%s%s", out, uri);
    mem_free(out);
    return whole;
}

// The format that the scheme, or an option, names; NULL when the file must tell.
static int named_format(const char *uri, const struct reader_options *options,
                        const struct reader_format **out, const char **out_path, struct err *err)
{
    const char *colon = strstr(uri, "://"), *named = options->format;
    size_t bytes = colon ? (size_t)(colon - uri) : named ? strlen(named) : 0;
    *out = NULL;
    *out_path = colon ? colon + 3 : uri;
    for (size_t i = 0; i < FORMATS && bytes; i++)
        if (strlen(formats[i]->scheme) == bytes &&
            memcmp(colon ? uri : named, formats[i]->scheme, bytes) == 0)
            *out = formats[i];
    if (bytes && !*out)
        return unknown(uri, err);
    if (!*out && options->text.ngram)
        *out = &tokens_format;
    else if (!*out && options->text.pipe_command)
        *out = &multislot_format;
    return 0;
}

static int find_format(const char *uri, const struct reader_options *options,
                       const struct reader_format **out, const char **out_path, struct err *err)
{
    int rc = named_format(uri, options, out, out_path, err);
    bool slots = options->text.slots && options->text.slots->count;
    for (size_t i = 0; i < FORMATS && rc == 0 && !*out; i++)
        if ((!slots || formats[i]->append) && formats[i]->matches(*out_path))
            *out = formats[i];
    if (rc == 0 && !*out && slots)
        *out = &multislot_format;
    return rc < 0 || *out ? rc : unknown(uri, err);
}

static int unknown(const char *uri, struct err *err)
{
    struct str_list names = {0};
    bool scheme = strstr(uri, "://") != NULL;
    for (size_t i = 0; i < FORMATS; i++)
        str_list_add(&names, scheme ? formats[i]->scheme : formats[i]->what);
    char *text = str_list_join(&names, scheme ? "://, " : "; ");
    if (scheme)
        err_set(err, SL_EUNSUPPORTED, "data %s: unknown scheme; known are %s:// and plain paths",
                uri, text);
    else
        err_set(err, SL_ENOENT,
                "data %s: no such file or folder, or none of a known format: %s. A scheme in front "
                "(idx://PATH) or --format chooses one",
                uri, text);
    mem_free(text);
    str_list_deinit(&names);
    return scheme ? SL_EUNSUPPORTED : SL_ENOENT;
}

// All items of a list have the same feeds.
static int check_layout(const struct reader_items *items, const struct reader_item *item,
                        struct err *err)
{
    const struct reader_data *a = &items->layout->data, *b = &item->data;
    bool same =
        a->format == b->format && a->fields_count == b->fields_count && !a->format->whole_steps;
    for (size_t i = 0; same && i < a->fields_count; i++)
        same = str_eq(a->fields[i].name, b->fields[i].name) &&
               a->fields[i].dtype == b->fields[i].dtype &&
               a->fields[i].sequence == b->fields[i].sequence &&
               dims_equal(&a->fields[i].dims, &b->fields[i].dims);
    return same ? 0
                : err_set(err, SL_EMISMATCH,
                          "data %s: other feeds or shapes than %s, or a list of step folders",
                          item->uri, items->layout->uri);
}
