// SPDX-License-Identifier: Apache-2.0
// `sluice ckpt slice`: a checkpoint as folders of slices, one a server; `sluice ckpt convert
// --join` makes it whole again.
#include <stdio.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_report.h"
#include "common/ckpt/ckpt_slice.h"
#include "common/ckpt/ckpt_view.h"
#include "common/passes/transpiler.h"
#include "deploy/sluice/cmd_args.h"
#include "deploy/sluice/cmd_view.h"

#define SERVERS_MAX 4096

static int slice(int argc, char **argv);

const struct cmd cmd_ckpt_slice = {
    .name = "ckpt slice",
    .args = "DIR --servers N --out DIR2 [--min_block_size ELEMENTS]",
    .help = "Cuts a checkpoint into a folder of rows for each of N servers.",
    .details =
        "Large tensors are cut along their rows as Fluid's transpiler cuts parameters "
        "(NAME.block0, "
        "...),\n"
        "the others are dealt out whole, in turn. DIR2 gets server_0 ... and a list of what is "
        "where;\n"
        "`sluice ckpt convert DIR2 --join --out DIR3` gives the same files again, byte for byte, "
        "and\n"
        "checks that (a manifest comes with them in any case). Servers of ours need no such\n"
        "folders: they load full files.\n\n"
        "example:\n"
        "  sluice ckpt slice models/epoch_3 --servers 2 --out sliced",
    .run = slice,
};

static int slice(int argc, char **argv)
{
    const char *dir, *out = NULL, *servers_text = NULL, *block_text = NULL;
    const struct cmd_option options[] = {{"--servers", .text = &servers_text},
                                         {"--out", .text = &out},
                                         {"--min_block_size", .text = &block_text},
                                         {.name = NULL}};
    int64_t servers = 0, block = TRANSPILER_MIN_BLOCK_SIZE;
    int code = cmd_args_parse(&cmd_ckpt_slice, argc, argv, options, &dir, 1, 1);
    if (code != CMD_OK)
        return code;
    if (out == NULL || servers_text == NULL)
        return cmd_usage(&cmd_ckpt_slice, "--servers and --out are needed");
    if (!str_parse_i64(servers_text, &servers) || servers < 1 || servers > SERVERS_MAX)
        return cmd_usage(&cmd_ckpt_slice, "--servers %s: 1 to %d are expected", servers_text,
                         SERVERS_MAX);
    if (block_text != NULL && (!str_parse_i64(block_text, &block) || block < 1))
        return cmd_usage(&cmd_ckpt_slice, "--min_block_size %s: at least 1 is expected",
                         block_text);
    struct ckpt_view view;
    code = cmd_view_open(dir, &(struct cmd_view_from){0}, &view);
    if (code != CMD_OK)
        return code;
    struct err err = {0};
    struct ckpt_slice_done done;
    char size[32];
    int rc = view.count > 0 ? 0 : err_set(&err, SL_ENOENT, "%s: no variable's file in it", dir);
    if (rc < 0 || ckpt_slice(&view, (int)servers, block, out, &done, &err) < 0)
        code = cmd_failed(&err);
    else
        printf("sliced %s into %s: %zu variables, %zu pieces on %d servers, %s, %zu other files\n",
               dir, out, done.variables, done.pieces, (int)servers,
               ckpt_report_size(done.bytes, size), done.others);
    ckpt_view_close(&view);
    return code == CMD_OK ? cmd_write(NULL, 0) : code;
}
