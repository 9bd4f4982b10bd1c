// SPDX-License-Identifier: Apache-2.0
// The manifest's text:
//
//     {
//       "sha256": "<of every byte after this line>",
//       "format": 1,
//       "progress": {...},
//       "facts": {...},
//       "files": [
//         {"name": "fc_0.w_0", "bytes": 75292, "sha256": "..."},
//         {"name": "__model__", "bytes": 4711, "sha256": "...", "other": true},
//         ...
//       ]
//     }
//
// It is JSON for everybody, but the first two lines must be exactly so: then a changed byte
// anywhere is noticed before JSON is parsed. Equal contents give equal bytes: no time, no host
// name. Pure but for ckpt_manifest_read; any thread.
#include "common/ckpt/ckpt_manifest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/block_sums.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/storage/store.h"

#define HEAD "{\n  \"sha256\": \""
#define TAIL "\",\n"
#define HEX_DIGITS (FSUTIL_SHA256_HEX - 1)
#define HEAD_BYTES (sizeof HEAD - 1 + HEX_DIGITS + sizeof TAIL - 1)
#define FILES_MAX (1u << 20)

static void hash(const void *data, size_t bytes, char out_hex[FSUTIL_SHA256_HEX]);
static int compare_files(const void *a, const void *b);
static int append_file(struct buf *out, const struct ckpt_file *file);
static int append_string(struct buf *out, const char *text);
static int read_part(const json_t *root, const char *key, char **out_text, const char *name,
                     struct err *err);
static int check_head(const uint8_t *data, size_t bytes, const char *name, struct err *err);
static int read_fields(const json_t *root, const char *name, struct ckpt_manifest *out,
                       struct err *err);
static int read_files(const json_t *list, const char *name, struct ckpt_manifest *out,
                      struct err *err);
static bool is_hex(const char *text);

void ckpt_manifest_init(struct ckpt_manifest *manifest)
{
    memset(manifest, 0, sizeof *manifest);
    ckpt_progress_init(&manifest->progress);
    ckpt_facts_init(&manifest->facts);
}

void ckpt_manifest_deinit(struct ckpt_manifest *manifest)
{
    ckpt_progress_deinit(&manifest->progress);
    ckpt_facts_deinit(&manifest->facts);
    for (size_t i = 0; i < manifest->files_count; i++) {
        mem_free(manifest->files[i].name);
        mem_free(manifest->files[i].blocks);
    }
    mem_free(manifest->files);
    ckpt_manifest_init(manifest);
}

struct ckpt_file *ckpt_manifest_add(struct ckpt_manifest *manifest, const char *name,
                                    uint64_t bytes, const char *sha256)
{
    MEM_GROW(manifest->files, manifest->files_count, manifest->files_cap);
    struct ckpt_file *file = &manifest->files[manifest->files_count++];
    file->name = mem_must_strdup(name);
    file->bytes = bytes;
    file->blocks = NULL;
    file->other = false;
    file->step = -1;
    snprintf(file->sha256, sizeof file->sha256, "%s", sha256);
    return file;
}

const struct ckpt_file *ckpt_manifest_find(const struct ckpt_manifest *manifest, const char *name)
{
    struct ckpt_file key = {.name = (char *)(uintptr_t)name};
    return manifest->files_count ? bsearch(&key, manifest->files, manifest->files_count,
                                           sizeof *manifest->files, compare_files)
                                 : NULL;
}

void ckpt_manifest_sort(struct ckpt_manifest *manifest)
{
    if (manifest->files_count)
        qsort(manifest->files, manifest->files_count, sizeof *manifest->files, compare_files);
}

int ckpt_manifest_format(struct ckpt_manifest *manifest, struct buf *out)
{
    ckpt_manifest_sort(manifest);
    struct buf body;
    buf_init(&body, LIMIT_JSON_BYTES);
    int rc = buf_printf(&body, "  \"format\": %d,\n%s", CKPT_MANIFEST_FORMAT,
                        manifest->busy ? "  \"busy\": true,\n" : "");
    if (rc >= 0 && manifest->has_progress) {
        rc = buf_printf(&body, "  \"progress\": ");
        if (rc >= 0)
            rc = ckpt_progress_format(&manifest->progress, &body);
        if (rc >= 0)
            rc = buf_printf(&body, ",\n");
    }
    if (rc >= 0 && manifest->has_facts) {
        rc = buf_printf(&body, "  \"facts\": ");
        if (rc >= 0)
            rc = ckpt_facts_format(&manifest->facts, &body);
        if (rc >= 0)
            rc = buf_printf(&body, ",\n");
    }
    if (rc >= 0)
        rc = buf_printf(&body, "  \"files\": [");
    for (size_t i = 0; i < manifest->files_count && rc >= 0; i++) {
        rc = buf_printf(&body, "%s\n    ", i ? "," : "");
        if (rc >= 0)
            rc = append_file(&body, &manifest->files[i]);
    }
    if (rc >= 0)
        rc = buf_printf(&body, "\n  ]\n}\n");
    if (rc >= 0) {
        char sum[FSUTIL_SHA256_HEX];
        hash(body.data, body.bytes, sum);
        buf_clear(out);
        rc = buf_printf(out, "%s%s%s", HEAD, sum, TAIL);
        if (rc >= 0)
            rc = buf_append(out, body.data, body.bytes);
        if (rc >= 0)
            hash(out->data, out->bytes, manifest->digest);
    }
    buf_deinit(&body);
    return rc < 0 ? rc : 0;
}

int ckpt_manifest_sums(const struct ckpt_manifest *manifest, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; i < manifest->files_count && rc >= 0; i++) {
        const struct ckpt_file *file = &manifest->files[i];
        if (str_eq(file->name, CKPT_SUMS_NAME))
            continue;
        // The tool's own way with a line feed or a backslash in a name.
        bool escaped = strpbrk(file->name, "\n\\") != NULL;
        rc = buf_printf(out, "%s%s  ", escaped ? "\\" : "", file->sha256);
        for (const char *c = file->name; *c && rc >= 0; c++)
            rc = *c == '\n'   ? buf_printf(out, "\\n")
                 : *c == '\\' ? buf_printf(out, "\\\\")
                              : buf_append(out, c, 1);
        if (rc >= 0)
            rc = buf_printf(out, "\n");
    }
    return rc < 0 ? rc : 0;
}

int ckpt_manifest_parse(const void *data, size_t bytes, const char *name, struct ckpt_manifest *out,
                        struct err *err)
{
    int rc = check_head(data, bytes, name, err);
    if (rc)
        return rc;
    json_error_t at;
    json_t *root = json_loadb(data, bytes, JSON_REJECT_DUPLICATES, &at);
    if (!root)
        return err_set(err, SL_EFORMAT, "%s: offset %d: %s", name, at.position, at.text);
    struct ckpt_manifest fresh;
    ckpt_manifest_init(&fresh);
    rc = read_fields(root, name, &fresh, err);
    json_decref(root);
    if (rc) {
        ckpt_manifest_deinit(&fresh);
        return rc;
    }
    hash(data, bytes, fresh.digest);
    ckpt_manifest_deinit(out);
    *out = fresh;
    return 0;
}

int ckpt_manifest_read(const char *uri, struct ckpt_manifest *out, struct err *err)
{
    struct store_file *file;
    int rc = store_open(uri, CKPT_MANIFEST_NAME, &file, err);
    if (rc)
        return rc;
    uint64_t bytes = store_file_bytes(file);
    uint8_t *data = bytes <= LIMIT_JSON_BYTES ? mem_alloc((size_t)bytes) : NULL;
    if (!data)
        rc = err_set(err, SL_ELIMIT, "%s: %" PRIu64 " bytes, more than a manifest may have",
                     store_file_name(file), bytes);
    else
        rc = store_file_read(file, 0, data, (size_t)bytes, err);
    if (!rc)
        rc = ckpt_manifest_parse(data, (size_t)bytes, store_file_name(file), out, err);
    mem_free(data);
    store_file_close(file);
    return rc;
}

int ckpt_manifest_is_ours(const void *data, size_t bytes, struct str_list *out_names,
                          struct err *err)
{
    struct ckpt_manifest manifest;
    ckpt_manifest_init(&manifest);
    int rc = ckpt_manifest_parse(data, bytes, CKPT_MANIFEST_NAME, &manifest, err);
    for (size_t i = 0; i < manifest.files_count; i++)
        str_list_add(out_names, manifest.files[i].name);
    ckpt_manifest_deinit(&manifest);
    return rc;
}

static void hash(const void *data, size_t bytes, char out_hex[FSUTIL_SHA256_HEX])
{
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    fsutil_sha256_add(sha, data, bytes);
    fsutil_sha256_end(sha, out_hex);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct ckpt_file *)a)->name, ((const struct ckpt_file *)b)->name);
}

static int append_file(struct buf *out, const struct ckpt_file *file)
{
    int rc = buf_printf(out, "{\"name\": ");
    if (rc >= 0)
        rc = append_string(out, file->name);
    if (rc >= 0)
        rc = buf_printf(out, ", \"bytes\": %" PRIu64 ", \"sha256\": \"%s\"", file->bytes,
                        file->sha256);
    if (rc >= 0 && file->blocks)
        rc = buf_printf(out, ", \"blocks\": \"%s\"", file->blocks);
    if (rc >= 0 && file->other)
        rc = buf_printf(out, ", \"other\": true");
    if (rc >= 0 && file->step >= 0)
        rc = buf_printf(out, ", \"step\": %" PRId64, file->step);
    return rc < 0 ? rc : buf_printf(out, "}");
}

static int append_string(struct buf *out, const char *text)
{
    json_t *value = json_string(text);
    char *dumped = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    int rc = dumped ? buf_append(out, dumped, strlen(dumped)) : SL_EINVAL;
    free(dumped);
    json_decref(value);
    return rc;
}

static int check_head(const uint8_t *data, size_t bytes, const char *name, struct err *err)
{
    char sum[FSUTIL_SHA256_HEX];
    if (bytes < HEAD_BYTES || memcmp(data, HEAD, sizeof HEAD - 1) != 0 ||
        memcmp(data + HEAD_BYTES - (sizeof TAIL - 1), TAIL, sizeof TAIL - 1) != 0)
        return err_set(err, SL_EFORMAT,
                       "%s: is not a manifest of ours, or its beginning is damaged", name);
    hash(data + HEAD_BYTES, bytes - HEAD_BYTES, sum);
    if (memcmp(data + sizeof HEAD - 1, sum, HEX_DIGITS) != 0)
        return err_set(err, SL_ECORRUPT, "%s: its sha256 differs: damaged, cut short or edited",
                       name);
    return 0;
}

static int read_fields(const json_t *root, const char *name, struct ckpt_manifest *out,
                       struct err *err)
{
    const json_t *format = json_object_get(root, "format");
    if (!json_is_integer(format))
        return err_set(err, SL_EFORMAT, "%s: `format` is missing", name);
    if (json_integer_value(format) != CKPT_MANIFEST_FORMAT)
        return err_set(err, SL_EUNSUPPORTED, "%s: format %lld is not known here (only %d)", name,
                       (long long)json_integer_value(format), CKPT_MANIFEST_FORMAT);
    out->busy = json_is_true(json_object_get(root, "busy"));
    char *text = NULL;
    int rc = read_part(root, "progress", &text, name, err);
    if (!rc && text)
        rc = ckpt_progress_parse(text, strlen(text), name, &out->progress, err);
    out->has_progress = !rc && text;
    free(text);
    text = NULL;
    if (!rc)
        rc = read_part(root, "facts", &text, name, err);
    if (!rc && text)
        rc = ckpt_facts_parse(text, strlen(text), name, &out->facts, err);
    out->has_facts = !rc && text;
    free(text);
    return rc ? rc : read_files(json_object_get(root, "files"), name, out, err);
}

// The text of one part, to be freed with free(); NULL when there is none.
static int read_part(const json_t *root, const char *key, char **out_text, const char *name,
                     struct err *err)
{
    const json_t *part = json_object_get(root, key);
    *out_text = part ? json_dumps(part, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    return part && !*out_text ? err_set(err, SL_ENOMEM, "%s: no memory for its %s", name, key) : 0;
}

static int read_files(const json_t *list, const char *name, struct ckpt_manifest *out,
                      struct err *err)
{
    if (!json_is_array(list) || json_array_size(list) > FILES_MAX)
        return err_set(err, SL_EFORMAT, "%s: `files` is not a list of at most %u", name, FILES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i), *size = json_object_get(item, "bytes");
        const char *file = json_string_value(json_object_get(item, "name"));
        const char *sha256 = json_string_value(json_object_get(item, "sha256"));
        if (!file || !json_is_integer(size) || json_integer_value(size) < 0 || !sha256 ||
            !is_hex(sha256))
            return err_set(err, SL_EFORMAT, "%s: files[%zu]: name, bytes or sha256 is wrong", name,
                           i);
        if (fsutil_check_relative(file, err))
            return err_prefix(err, "%s: files[%zu]", name, i);
        if (i && strcmp(out->files[i - 1].name, file) >= 0)
            return err_set(err, SL_EFORMAT, "%s: files[%zu]: `%s` is out of order", name, i, file);
        const json_t *step = json_object_get(item, "step");
        if (step && (!json_is_integer(step) || json_integer_value(step) < 0))
            return err_set(err, SL_EFORMAT, "%s: files[%zu]: step is wrong", name, i);
        const json_t *blocks = json_object_get(item, "blocks");
        if (blocks && (!json_is_string(blocks) ||
                       !block_sums_fits(json_string_value(blocks),
                                        (uint64_t)json_integer_value(size))))
            return err_set(err, SL_EFORMAT, "%s: files[%zu]: blocks is wrong", name, i);
        struct ckpt_file *entry =
            ckpt_manifest_add(out, file, (uint64_t)json_integer_value(size), sha256);
        entry->blocks = blocks ? mem_must_strdup(json_string_value(blocks)) : NULL;
        entry->other = json_is_true(json_object_get(item, "other"));
        entry->step = step ? json_integer_value(step) : -1;
    }
    return 0;
}

static bool is_hex(const char *text)
{
    return strlen(text) == HEX_DIGITS && strspn(text, "0123456789abcdef") == HEX_DIGITS;
}
