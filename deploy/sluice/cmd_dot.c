// SPDX-License-Identifier: Apache-2.0
// `sluice program dot`: a picture of a program for Graphviz. Operators are boxes, variables
// ellipses (parameters and other persistables filled), blocks clusters.
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/program/op_desc.h"
#include "common/program/program.h"
#include "deploy/sluice/cmd_args.h"

#define ROLE_BACKWARD 1
#define ROLE_OPTIMIZE 2

static int run(int argc, char **argv);
static void put_block(const struct program *program, const struct block *block, bool forward,
                      struct buf *out);
static int role_of(const struct op_desc *op);
static void put_op(const struct block *block, size_t index, struct map *seen, struct buf *out);
static void put_edges(const struct block *block, const struct op_desc *op, size_t index,
                      bool inputs, struct map *seen, struct buf *out);
static void put_variable(const struct block *block, const char *name, struct map *seen,
                         struct buf *out);
static void put_quoted(const char *text, struct buf *out);

const struct cmd cmd_program_dot = {
    .name = "program dot",
    .args = "FILE [--forward]",
    .help = "Prints a program as a Graphviz graph: operators, variables, blocks.",
    .details = "Boxes are operators (blue: backward, yellow: optimizer), ellipses variables (grey: "
               "persistable,\n"
               "with type and shape). --forward leaves out backward and optimizer.\n\n"
               "example:\n"
               "  sluice program dot main.pb --forward | dot -Tsvg >main.svg",
    .run = run,
};

static int run(int argc, char **argv)
{
    bool forward = false;
    const char *path;
    const struct cmd_option options[] = {{"--forward", .flag = &forward}, {.name = NULL}};
    int code = cmd_args_parse(&cmd_program_dot, argc, argv, options, &path, 1, 1);
    if (code != CMD_OK)
        return code;
    struct err err = {0};
    struct program *program;
    if (program_load(path, &program, &err) < 0)
        return cmd_failed(&err);
    struct buf text;
    buf_init(&text, 0);
    buf_printf(&text, "digraph program {\n  rankdir=TB;\n  node [fontname=\"sans\", "
                      "fontsize=10];\n");
    for (size_t i = 0; i < program->blocks_count; i++)
        put_block(program, program->blocks[i], forward, &text);
    buf_printf(&text, "}\n");
    code = cmd_write(text.data, text.bytes);
    buf_deinit(&text);
    program_free(program);
    return code;
}

static void put_block(const struct program *program, const struct block *block, bool forward,
                      struct buf *out)
{
    struct map seen;
    map_init(&seen);
    bool cluster = program->blocks_count > 1;
    if (cluster)
        buf_printf(out, "  subgraph cluster_%d {\n  label=\"block %d\";\n", (int)block->idx,
                   (int)block->idx);
    for (size_t i = 0; i < block->ops_count; i++)
        if (!forward || (role_of(block->ops[i]) & 0xff) == 0)
            put_op(block, i, &seen, out);
    if (cluster)
        buf_printf(out, "  }\n");
    map_deinit(&seen);
}

static int role_of(const struct op_desc *op)
{
    const struct attr *role = op_desc_attr(op, "op_role");
    return role != NULL && role->type == ATTR_INT ? (int)role->i : 0;
}

static void put_op(const struct block *block, size_t index, struct map *seen, struct buf *out)
{
    const struct op_desc *op = block->ops[index];
    int role = role_of(op);
    const char *color = role & ROLE_BACKWARD   ? "lightblue"
                        : role & ROLE_OPTIMIZE ? "lightyellow"
                                               : "white";
    buf_printf(out, "  op_%d_%zu [shape=box, style=filled, fillcolor=%s, label=", (int)block->idx,
               index, color);
    put_quoted(op->type, out);
    buf_printf(out, "];\n");
    put_edges(block, op, index, true, seen, out);
    put_edges(block, op, index, false, seen, out);
}

static void put_edges(const struct block *block, const struct op_desc *op, size_t index,
                      bool inputs, struct map *seen, struct buf *out)
{
    const struct op_slot *slots = inputs ? op->inputs : op->outputs;
    size_t count = inputs ? op->inputs_count : op->outputs_count;
    for (size_t s = 0; s < count; s++)
        for (size_t a = 0; a < slots[s].args.count; a++) {
            const char *name = slots[s].args.items[a];
            put_variable(block, name, seen, out);
            char node[64];
            snprintf(node, sizeof node, "op_%d_%zu", (int)block->idx, index);
            buf_printf(out, "  ");
            if (!inputs)
                buf_printf(out, "%s -> ", node);
            put_quoted(name, out);
            if (inputs)
                buf_printf(out, " -> %s", node);
            buf_printf(out, " [label=");
            put_quoted(slots[s].name, out);
            buf_printf(out, ", fontsize=8];\n");
        }
}

static void put_variable(const struct block *block, const char *name, struct map *seen,
                         struct buf *out)
{
    if (map_get(seen, name) != NULL)
        return;
    map_set(seen, name, seen);
    const struct var_desc *var = block_var(block, name);
    buf_printf(out, "  ");
    put_quoted(name, out);
    if (var == NULL) {
        buf_printf(out, " [style=dashed];\n");   // of a block around this one
        return;
    }
    char dims[DIMS_TEXT_MAX], label[512];
    snprintf(label, sizeof label, "%s\n%s %s", name, dtype_name(var->dtype),
             dims_format(&var->dims, dims));
    buf_printf(out, " [%slabel=", var->persistable ? "style=filled, fillcolor=lightgrey, " : "");
    put_quoted(var->has_tensor ? label : name, out);
    buf_printf(out, "];\n");
}

static void put_quoted(const char *text, struct buf *out)
{
    buf_printf(out, "\"");
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\n')
            buf_printf(out, "\\n");
        else
            buf_printf(out, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    }
    buf_printf(out, "\"");
}
