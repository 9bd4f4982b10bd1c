// SPDX-License-Identifier: Apache-2.0
// The program is only needed while the headers are read.
#include "deploy/sluice/cmd_view.h"

#include <string.h>

#include "common/base/err.h"
#include "common/program/program.h"

int cmd_view_open(const char *dir, const struct cmd_view_from *from, struct ckpt_view *out)
{
    struct err err = {0};
    struct program *program = NULL;
    int rc = from->program != NULL ? program_load(from->program, &program, &err) : 0;
    if (rc == 0) {
        const struct ckpt_view_options options = {.filename = from->filename, .program = program};
        rc = ckpt_view_open(dir, &options, out, &err);
    }
    program_free(program);
    return rc < 0 ? cmd_failed(&err) : CMD_OK;
}

int cmd_view_print_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2));
    int code = cmd_write(text, text != NULL ? strlen(text) : 0);
    if (code == CMD_OK)
        code = cmd_write("\n", 1);
    free(text);
    return code;
}
