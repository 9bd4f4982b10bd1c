// SPDX-License-Identifier: Apache-2.0
// `sluice ckpt verify`: is a checkpoint whole, and does it fit a program?
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_find.h"
#include "common/ckpt/ckpt_manifest.h"
#include "common/ckpt/ckpt_report.h"
#include "common/program/program.h"
#include "common/storage/store.h"
#include "deploy/sluice/cmd.h"

static int verify(int argc, char **argv);
static void find_below(const char *dir, struct str_list *out);
static bool has_manifest(const char *dir);
static int verify_dir(const char *dir, const char *program_path);
static void list_faults(const struct ckpt_report *report, struct buf *out);

const struct cmd cmd_ckpt_verify = {
    .name = "ckpt verify",
    .args = "DIR [--program FILE]",
    .help = "Checks a checkpoint: every file against the manifest's size and sha256.",
    .details =
        "With --program each saved variable of that program must have a file of its type and "
        "shape; a\n"
        "plain Fluid folder, which has no manifest, can only be checked that way. Extra files are\n"
        "listed and never fail. A parent of checkpoints (--save_dir) has all of them checked.\n"
        "Exit code 0: whole; 1: not, and each file that differs is named.\n\n"
        "example:\n"
        "  sluice ckpt verify models/epoch_3 --program main.pb",
    .run = verify,
};

static int verify(int argc, char **argv)
{
    static const char option[] = "--program";
    const char *dir = NULL, *program = NULL;
    for (int i = 0; i < argc; i++) {
        if (str_eq(argv[i], option) && i + 1 < argc)
            program = argv[++i];
        else if (str_eq(argv[i], option))
            return cmd_usage(&cmd_ckpt_verify, "%s needs a file", option);
        else if (str_starts_with(argv[i], "--program="))
            program = argv[i] + strlen("--program=");
        else if (argv[i][0] == '-' && argv[i][1])
            return cmd_usage(&cmd_ckpt_verify, "unknown option %s", argv[i]);
        else if (dir)
            return cmd_usage(&cmd_ckpt_verify, "one argument too many: %s", argv[i]);
        else
            dir = argv[i];
    }
    if (!dir)
        return cmd_usage(&cmd_ckpt_verify, "which folder?");
    struct str_list below = {0};
    find_below(dir, &below);
    int code = below.count ? CMD_OK : verify_dir(dir, program);
    for (size_t i = 0; i < below.count; i++)
        if (verify_dir(below.items[i], program) != CMD_OK)
            code = CMD_FAILED;
    str_list_deinit(&below);
    return code;
}

// The checkpoints in a parent folder (--save_dir); none when dir is a checkpoint itself.
static void find_below(const char *dir, struct str_list *out)
{
    struct str_list folders = {0};
    if (!has_manifest(dir))
        store_list_folders(dir, &folders, NULL);
    for (size_t i = 0; i < folders.count; i++) {
        char *path = fsutil_join(dir, folders.items[i]);
        if (has_manifest(path))
            str_list_add(out, path);
        mem_free(path);
    }
    str_list_deinit(&folders);
}

static bool has_manifest(const char *dir)
{
    struct store_file *file;
    int rc = store_open(dir, CKPT_MANIFEST_NAME, &file, NULL);
    if (!rc)
        store_file_close(file);
    return rc != SL_ENOENT;
}

static int verify_dir(const char *dir, const char *program_path)
{
    struct err err = {0};
    struct program *program = NULL;
    struct ckpt_report report;
    struct buf text;
    ckpt_report_init(&report);
    buf_init(&text, 0);
    int rc = program_path ? program_load(program_path, &program, &err) : 0;
    if (!rc)
        rc = ckpt_find_verify(dir, program, &report, &err);
    if (report.path) {
        list_faults(&report, &text);
        ckpt_report_summary(&report, "verify", &text);
        buf_printf(&text, rc ? "\n" : "\nwhole, digest %s\n", report.digest);
    }
    int code = text.bytes ? cmd_write(text.data, text.bytes) : CMD_OK;
    if (rc)
        code = cmd_failed(&err);
    buf_deinit(&text);
    ckpt_report_deinit(&report);
    program_free(program);
    return code;
}

static void list_faults(const struct ckpt_report *report, struct buf *out)
{
    for (size_t i = 0; i < report->items_count; i++) {
        const struct ckpt_item *item = &report->items[i];
        if (item->fate == CKPT_MISSING || item->fate == CKPT_DIFFERS)
            buf_printf(out, "%s: %s\n", item->name, item->note ? item->note : "missing");
    }
}
