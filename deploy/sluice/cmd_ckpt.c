// SPDX-License-Identifier: Apache-2.0
// `sluice ckpt verify`: is a checkpoint whole, and does it fit a program?
#include <limits.h>
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
#include "common/passes/transpiler.h"
#include "common/program/program.h"
#include "common/storage/store.h"
#include "deploy/sluice/cmd_args.h"

// --pservers: the job that would load.
struct servers {
    const char *list, *startup, *trainers;
};

static int verify(int argc, char **argv);
static int rehearse(const char *dir, const char *program_path, const struct servers *servers);
static int rehearse_server(const char *dir, const struct transpiler *t, const char *endpoint);
static void find_below(const char *dir, struct str_list *out);
static bool has_manifest(const char *dir);
static int verify_dir(const char *dir, const char *program_path);
static void list_faults(const struct ckpt_report *report, struct buf *out);

const struct cmd cmd_ckpt_verify = {
    .name = "ckpt verify",
    .args =
        "DIR [--program FILE [--pservers HOST:PORT,... [--startup_program FILE] [--trainers N]]]",
    .help = "Checks a checkpoint: every file against the manifest's size and sha256.",
    .details =
        "With --program each saved variable of that program must have a file of its type and "
        "shape; a\n"
        "plain Fluid folder, which has no manifest, can only be checked that way. Extra files are\n"
        "listed and never fail. A parent of checkpoints (--save_dir) has all of them checked.\n"
        "Exit code 0: whole; 1: not, and each file that differs is named.\n"
        "With --pservers it also tells what each of these servers would take, row by row, without\n"
        "starting any (a dry load).\n\n"
        "examples:\n"
        "  sluice ckpt verify models/epoch_3 --program main.pb\n"
        "  sluice ckpt verify models/epoch_3 --program main.pb --pservers "
        "10.0.0.1:6174,10.0.0.2:6174",
    .run = verify,
};

static int verify(int argc, char **argv)
{
    const char *dir, *program = NULL;
    struct servers servers = {.trainers = "1"};
    const struct cmd_option options[] = {{"--program", .text = &program},
                                         {"--pservers", .text = &servers.list},
                                         {"--startup_program", .text = &servers.startup},
                                         {"--trainers", .text = &servers.trainers},
                                         {.name = NULL}};
    int code = cmd_args_parse(&cmd_ckpt_verify, argc, argv, options, &dir, 1, 1);
    if (code != CMD_OK)
        return code;
    if (servers.list && !program)
        return cmd_usage(&cmd_ckpt_verify, "--pservers needs the --program that they train");
    struct str_list below = {0};
    find_below(dir, &below);
    if (!below.count)
        str_list_add(&below, dir);
    for (size_t i = 0; i < below.count; i++) {
        if (verify_dir(below.items[i], program) != CMD_OK ||
            (servers.list && rehearse(below.items[i], program, &servers) != CMD_OK))
            code = CMD_FAILED;
    }
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

// What each server of a job would take from dir.
static int rehearse(const char *dir, const char *program_path, const struct servers *servers)
{
    struct err err = {0};
    struct program *program = NULL, *startup = NULL;
    struct transpiler *t = NULL;
    int64_t trainers = 0;
    if (!str_parse_i64(servers->trainers, &trainers) || trainers < 1 || trainers > INT_MAX)
        return cmd_usage(&cmd_ckpt_verify, "--trainers %s: at least 1 is expected",
                         servers->trainers);
    int rc = program_load(program_path, &program, &err);
    if (!rc)
        rc = servers->startup ? program_load(servers->startup, &startup, &err) : 0;
    if (!startup)
        startup = program_new();
    if (!rc) {
        const struct transpiler_config config = transpiler_config_default();
        const struct transpiler_job job = {servers->list, (int)trainers, true};
        rc = transpiler_new(&config, &job, program, startup, &t, &err);
    }
    int code = rc ? cmd_failed(&err) : CMD_OK;
    for (size_t i = 0; !rc && i < transpiler_endpoints(t)->count; i++)
        if (rehearse_server(dir, t, transpiler_endpoints(t)->items[i]) != CMD_OK)
            code = CMD_FAILED;
    transpiler_free(t);
    program_free(startup);
    program_free(program);
    return code;
}

static int rehearse_server(const char *dir, const struct transpiler *t, const char *endpoint)
{
    struct err err = {0};
    struct program *program = NULL;
    struct ckpt_report report;
    struct buf text;
    ckpt_report_init(&report);
    buf_init(&text, 0);
    int rc = transpiler_server_program(t, endpoint, &program, &err);
    if (!rc)
        rc = ckpt_find_rehearse(dir, program, &report, &err);
    buf_printf(&text, "pserver %s would:\n", endpoint);
    if (report.path) {
        ckpt_report_table(&report, &text);
        ckpt_report_summary(&report, "load", &text);
        buf_printf(&text, "\n");
    }
    int code = cmd_write(text.data, text.bytes);
    if (rc)
        code = cmd_failed(&err);
    buf_deinit(&text);
    ckpt_report_deinit(&report);
    program_free(program);
    return code;
}
