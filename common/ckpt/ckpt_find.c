// SPDX-License-Identifier: Apache-2.0
// "Newest" is decided by the step in the manifest, never by names or file times. A checkpoint whose
// manifest is damaged, or that lacks a file or has one of another size, is passed over and
// reported. Sums are not taken here (the load does), but a verification takes them all.
#include "common/ckpt/ckpt_find.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_want.h"
#include "common/storage/store.h"

#define CHUNK_BYTES (1u << 20)

struct newest {
    char *path;
    int64_t step, epoch;
    size_t broken, plain;
};

static const struct ckpt_load_options no_options;

static int look_below(const char *dir, struct newest *newest, struct str_list *out_skipped,
                      struct err *err);
static bool has_manifest(const char *dir);
static bool is_variable_file(const char *dir, const char *name);
static int check_complete(const char *dir, struct ckpt_manifest *out, struct err *err);
static void verify_files(const struct ckpt_folder *folder, struct ckpt_report *report);
static int sum_file(const char *dir, const struct ckpt_file *listed, struct err *err);
static void fold_program(const struct ckpt_wants *wants, struct ckpt_report *report);
static int verdict(const struct ckpt_report *report, struct err *err);

int ckpt_find_newest(const char *dir, char **out_path, struct str_list *out_skipped,
                     struct err *err)
{
    struct ckpt_manifest manifest;
    int rc = 0;
    if (!store_is_folder(dir))
        return err_set(err, SL_ENOENT, "%s: no such folder", dir);
    if (has_manifest(dir)) {
        ckpt_manifest_init(&manifest);
        rc = check_complete(dir, &manifest, err);
        ckpt_manifest_deinit(&manifest);
        if (!rc)
            *out_path = mem_must_strdup(dir);
        return rc == SL_ENOENT ? err_set(err, SL_ECORRUPT, "%s: its manifest cannot be read", dir)
                               : rc;
    }
    struct newest newest = {0};
    struct str_list files = {0};
    rc = look_below(dir, &newest, out_skipped, err);
    if (!rc && newest.path) {
        *out_path = newest.path;
        return 0;
    }
    if (!rc && newest.broken)
        return err_set(
            err, SL_ECORRUPT,
            "%s: %zu checkpoints are there and none is complete; `sluice ckpt verify` on each "
            "says why",
            dir, newest.broken);
    if (!rc)
        rc = store_list(dir, &files, err);
    bool variables = false;
    for (size_t i = 0; i < files.count && !variables; i++)
        variables = !strchr(files.items[i], '/') && is_variable_file(dir, files.items[i]);
    str_list_deinit(&files);
    if (rc)
        return rc;
    if (variables) {
        *out_path = mem_must_strdup(dir);
        return 0;
    }
    if (newest.plain)
        return err_set(
            err, SL_EINVAL,
            "%s: has no checkpoint of ours; %zu folders without a manifest are in it: name the "
            "one that is meant",
            dir, newest.plain);
    return err_set(err, SL_ENOENT, "%s: the folder has no checkpoint", dir);
}

int ckpt_find_verify(const char *dir, const struct program *program, struct ckpt_report *report,
                     struct err *err)
{
    struct ckpt_folder folder;
    struct ckpt_wants wants = {0};
    map_init(&wants.known);
    int rc = ckpt_want_open_folder(dir, false, &folder, err);
    if (rc)
        return err_prefix(err, "verify %s", dir);
    if (!folder.has_manifest && !program)
        rc = err_set(err, SL_EUSAGE,
                     "the folder has no manifest: only --program can say what must be in "
                     "it");
    if (!rc && program)
        rc = ckpt_want_collect(program, &no_options, &wants, err);
    if (!rc && program)
        rc = ckpt_want_check(&wants, &folder, &no_options, err);
    if (!rc) {
        // Files of the manifest that the program does not speak of are checked too, and no extras.
        for (size_t i = 0; i < folder.manifest.files_count; i++)
            map_set(&wants.known, folder.manifest.files[i].name, &wants);
        struct ckpt_wants none = {.known = wants.known};
        ckpt_want_report(&none, &folder, report);
        verify_files(&folder, report);
        fold_program(&wants, report);
        rc = verdict(report, err);
    }
    ckpt_want_close_folder(&folder);
    ckpt_want_deinit(&wants);
    return rc ? err_prefix(err, "verify %s", dir) : 0;
}

int ckpt_find_check_file(const char *dir, const char *name, struct err *err)
{
    struct ckpt_manifest manifest;
    ckpt_manifest_init(&manifest);
    int rc = has_manifest(dir) ? ckpt_manifest_read(dir, &manifest, err) : 0;
    const struct ckpt_file *listed = rc ? NULL : ckpt_manifest_find(&manifest, name);
    if (listed && (rc = sum_file(dir, listed, err)) != 0)
        err_prefix(err, "%s/%s", dir, name);
    ckpt_manifest_deinit(&manifest);
    return rc;
}

int ckpt_find_rehearse(const char *dir, const struct program *program, struct ckpt_report *report,
                       struct err *err)
{
    struct ckpt_folder folder;
    struct ckpt_wants wants = {0};
    int rc = ckpt_want_open_folder(dir, false, &folder, err);
    if (rc)
        return err_prefix(err, "rehearse %s", dir);
    rc = ckpt_want_collect(program, &no_options, &wants, err);
    if (!rc)
        rc = ckpt_want_check(&wants, &folder, &no_options, err);
    if (!rc) {
        ckpt_want_report(&wants, &folder, report);
        rc = ckpt_want_verdict(&wants, NULL, err);
    }
    ckpt_want_close_folder(&folder);
    ckpt_want_deinit(&wants);
    return rc ? err_prefix(err, "rehearse %s", dir) : 0;
}

static int look_below(const char *dir, struct newest *newest, struct str_list *out_skipped,
                      struct err *err)
{
    struct str_list folders = {0};
    int rc = store_list_folders(dir, &folders, err);
    for (size_t i = 0; i < folders.count && !rc; i++) {
        struct ckpt_manifest manifest;
        struct err why = {0};
        char *path = fsutil_join(dir, folders.items[i]);
        ckpt_manifest_init(&manifest);
        if (!has_manifest(path)) {
            newest->plain++;
        } else if (check_complete(path, &manifest, &why)) {
            newest->broken++;
            if (out_skipped)
                str_list_add(out_skipped, why.text);
        } else {
            int64_t step = manifest.has_progress ? manifest.progress.step : -1;
            int64_t epoch = manifest.has_progress ? manifest.progress.epoch : -1;
            if (!newest->path || step > newest->step ||
                (step == newest->step && epoch > newest->epoch)) {
                mem_free(newest->path);
                *newest = (struct newest){path, step, epoch, newest->broken, newest->plain};
                path = NULL;
            }
        }
        ckpt_manifest_deinit(&manifest);
        mem_free(path);
    }
    str_list_deinit(&folders);
    return rc;
}

static bool has_manifest(const char *dir)
{
    struct store_file *file;
    int rc = store_open(dir, CKPT_MANIFEST_NAME, &file, NULL);
    if (!rc)
        store_file_close(file);
    return rc != SL_ENOENT;
}

// Every variable's file begins with version 0 in four bytes; no text and no program does.
static bool is_variable_file(const char *dir, const char *name)
{
    struct store_file *file;
    uint32_t version = 1;
    if (store_open(dir, name, &file, NULL))
        return false;
    if (store_file_read(file, 0, &version, sizeof version, NULL))
        version = 1;
    store_file_close(file);
    return version == 0;
}

static int check_complete(const char *dir, struct ckpt_manifest *out, struct err *err)
{
    int rc = ckpt_manifest_read(dir, out, err);
    if (!rc && out->busy)
        rc = err_set(err, SL_EREFUSED, "%s: a save into this folder was interrupted", dir);
    for (size_t i = 0; i < out->files_count && !rc; i++) {
        struct store_file *file;
        rc = store_open(dir, out->files[i].name, &file, err);
        if (rc) {
            rc = err_set(err, SL_ECORRUPT, "%s: %s is missing", dir, out->files[i].name);
            continue;
        }
        if (store_file_bytes(file) != out->files[i].bytes)
            rc = err_set(err, SL_ECORRUPT,
                         "%s: %s has %" PRIu64 " bytes, the manifest says %" PRIu64, dir,
                         out->files[i].name, store_file_bytes(file), out->files[i].bytes);
        store_file_close(file);
    }
    return rc;
}

static void verify_files(const struct ckpt_folder *folder, struct ckpt_report *report)
{
    for (size_t i = 0; i < folder->manifest.files_count; i++) {
        const struct ckpt_file *listed = &folder->manifest.files[i];
        struct err why = {0};
        int rc = sum_file(folder->uri, listed, &why);
        if (!rc && listed->other)
            continue;
        struct ckpt_item *item = ckpt_report_add(report, rc == 0 ? CKPT_LOADED : rc == SL_ENOENT
                                                 ? CKPT_MISSING : CKPT_DIFFERS, listed->name,
                                                 listed->name);
        memcpy(item->sha256, listed->sha256, sizeof item->sha256);
        item->bytes = rc ? 0 : listed->bytes;
        item->note = rc ? mem_must_strdup(why.text) : NULL;
        report->bytes += item->bytes;
    }
}

static int sum_file(const char *dir, const struct ckpt_file *listed, struct err *err)
{
    struct store_file *file;
    int rc = store_open(dir, listed->name, &file, err);
    if (rc)
        return rc == SL_ENOENT ? err_set(err, rc, "missing") : rc;
    uint64_t size = store_file_bytes(file);
    uint8_t *chunk = mem_alloc(CHUNK_BYTES);
    struct fsutil_sha256 *sha = fsutil_sha256_new();
    char found[FSUTIL_SHA256_HEX];
    if (!chunk)
        rc = err_set(err, SL_ENOMEM, "no memory");
    else if (size != listed->bytes)
        rc = err_set(err, SL_ECORRUPT, "%" PRIu64 " bytes, the manifest says %" PRIu64, size,
                     listed->bytes);
    for (uint64_t at = 0; at < size && !rc; at += CHUNK_BYTES) {
        size_t n = size - at < CHUNK_BYTES ? (size_t)(size - at) : CHUNK_BYTES;
        rc = store_file_read(file, at, chunk, n, err);
        if (!rc)
            fsutil_sha256_add(sha, chunk, n);
    }
    fsutil_sha256_end(sha, found);
    if (!rc && !str_eq(found, listed->sha256))
        rc = err_set(err, SL_ECORRUPT, "sha256 differs from the manifest's");
    mem_free(chunk);
    store_file_close(file);
    return rc;
}

// What the program says about a file joins the file's row.
static void fold_program(const struct ckpt_wants *wants, struct ckpt_report *report)
{
    for (size_t i = 0; i < wants->count; i++) {
        const struct ckpt_want *want = &wants->items[i];
        struct ckpt_item *item = NULL;
        for (size_t k = 0; k < report->items_count && !item; k++)
            if (report->items[k].fate != CKPT_EXTRA && str_eq(report->items[k].file, want->file))
                item = &report->items[k];
        if (item && (item->fate != CKPT_LOADED || want->fate != CKPT_DIFFERS))
            continue;
        if (!item)
            item = ckpt_report_add(report, want->fate, want->name, want->file);
        item->fate = want->fate;
        item->surplus = want->surplus;
        mem_free(item->note);
        item->note = want->note ? mem_must_strdup(want->note) : NULL;
        if (!report->has_manifest && (want->fate == CKPT_LOADED || want->fate == CKPT_SLICED)) {
            item->bytes = want->header.data_bytes;
            report->bytes += item->bytes;
        }
    }
}

static int verdict(const struct ckpt_report *report, struct err *err)
{
    size_t missing = ckpt_report_count(report, CKPT_MISSING);
    size_t differs = ckpt_report_count(report, CKPT_DIFFERS);
    for (size_t i = 0; i < report->items_count; i++) {
        const struct ckpt_item *item = &report->items[i];
        if (item->fate != CKPT_MISSING && item->fate != CKPT_DIFFERS)
            continue;
        if (missing + differs > 1)
            return err_set(err, SL_ECORRUPT, "not whole: %s: %s; and %zu more", item->name,
                           item->note ? item->note : "missing", missing + differs - 1);
        return err_set(err, SL_ECORRUPT, "not whole: %s: %s", item->name,
                       item->note ? item->note : "missing");
    }
    return 0;
}
