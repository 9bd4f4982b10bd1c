// SPDX-License-Identifier: Apache-2.0
// Questions that need no run: which ops of a program are missing, which variables a block touches.

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/str.h"
#include "common/exec/plan_op.h"
#include "common/program/program.h"

// Leaves room for what callers put in front of the text.
#define MISSING_TEXT_MAX (ERR_TEXT_MAX - 200)

static size_t list_type(const struct program *program, const char *type, const char *after_first,
                        struct buf *text);

int plan_check(const struct program *program, const struct plan_host *hosts, size_t hosts_count,
               struct str_list *out_lines, struct err *err)
{
    struct buf text;
    struct map seen;
    size_t missing = 0, named = 0;
    buf_init(&text, 0);
    map_init(&seen);
    for (size_t b = 0; b < program->blocks_count; b++) {
        const struct block *block = program->blocks[b];
        for (size_t i = 0; i < block->ops_count; i++) {
            const struct plan_host *host;
            const char *type = block->ops[i]->type;
            if (plan_build_find(type, hosts, hosts_count, &host) != NULL)
                continue;
            missing++;
            if (out_lines != NULL)
                str_list_addf(out_lines, "block %d op %zu `%s`", block->idx, i, type);
            if (map_get(&seen, type) != NULL || text.bytes > MISSING_TEXT_MAX)
                continue;
            map_set(&seen, type, program->blocks[b]);
            named += list_type(program, type, missing == 1 ? ": not supported" : "", &text);
        }
    }
    if (missing > named)
        buf_printf(&text, "; and %zu more (`sluice program check` lists all)", missing - named);
    int rc = missing > 0 ? err_set(err, SL_EUNSUPPORTED, "%s", buf_text(&text)) : 0;
    map_deinit(&seen);
    buf_deinit(&text);
    return rc;
}

void plan_check_uses(const struct block *block, struct str_list *out_reads,
                     struct str_list *out_writes)
{
    struct map read, written;
    map_init(&read);
    map_init(&written);
    for (size_t i = 0; i < block->ops_count; i++) {
        const struct op_desc *op = block->ops[i];
        for (size_t s = 0; s < op->inputs_count; s++) {
            for (size_t k = 0; k < op->inputs[s].args.count; k++) {
                const char *name = op->inputs[s].args.items[k];
                if (map_get(&written, name) != NULL || map_get(&read, name) != NULL ||
                    str_eq(name, "@EMPTY@"))
                    continue;
                map_set(&read, name, op->inputs);
                if (out_reads != NULL)
                    str_list_add(out_reads, name);
            }
        }
        for (size_t s = 0; s < op->outputs_count; s++) {
            for (size_t k = 0; k < op->outputs[s].args.count; k++) {
                const char *name = op->outputs[s].args.items[k];
                if (map_get(&written, name) != NULL || str_eq(name, "@EMPTY@"))
                    continue;
                map_set(&written, name, op->outputs);
                if (out_writes != NULL)
                    str_list_add(out_writes, name);
            }
        }
    }
    map_deinit(&read);
    map_deinit(&written);
}

// "block 0 op 17 `type`: not supported; also op 23, 31" for one type, or "; block 0 op 4 `other`,
// 9" for a later one. Returns how many places it named.
static size_t list_type(const struct program *program, const char *type, const char *after_first,
                        struct buf *text)
{
    size_t named = 0;
    int last_block = -1;
    for (size_t b = 0; b < program->blocks_count; b++) {
        const struct block *block = program->blocks[b];
        for (size_t i = 0; i < block->ops_count; i++) {
            if (!str_eq(block->ops[i]->type, type))
                continue;
            if (text->bytes > MISSING_TEXT_MAX)
                return named;
            if (named == 0)
                buf_printf(text, "%sblock %d op %zu `%s`%s", text->bytes > 0 ? "; " : "",
                           block->idx, i, type, after_first);
            else if (block->idx != last_block)
                buf_printf(text, ", block %d op %zu", block->idx, i);
            else
                buf_printf(text, named == 1 ? "; also op %zu" : ", %zu", i);
            last_block = block->idx;
            named++;
        }
    }
    return named;
}
