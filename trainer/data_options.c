// SPDX-License-Identifier: Apache-2.0
// Training and evaluation read the same formats in the same way; they differ in order, division and
// part, which their owners set.
#include "trainer/data_options.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/config/option.h"
#include "common/program/program.h"
#include "trainer/engine.h"

static void add_want(const struct var_desc *var, struct data_options *out);

int data_options_init(const struct engine *engine, const struct program *program,
                      struct data_options *out, struct err *err)
{
    const struct option_set *options = engine->options;
    const struct block *block = program_block(program, 0);
    const struct str_list *feeds = &engine->job.feeds;
    memset(out, 0, sizeof *out);
    out->wants = mem_must_calloc(feeds->count + 1, sizeof *out->wants);
    for (size_t i = 0; i < feeds->count; i++) {
        const struct var_desc *var = block_var(block, feeds->items[i]);
        if (var)
            add_want(var, out);
    }
    for (size_t i = 0; i < block->vars_count; i++)
        if (block->vars[i]->kind == VAR_SELECTED_ROWS)
            str_list_add(&out->rows_vars, block->vars[i]->name);
    struct reader_options *how = &out->reader;
    how->wants = out->wants;
    how->rows_vars = &out->rows_vars;
    how->batch_size = option_int(options, "batch_size");
    how->format = option_string(options, "format");
    how->prefetch = (int)option_int(options, "prefetch");
    how->text = (struct reader_text){
        .slots = option_list(options, "slots"),
        .feasign_first = str_eq(option_string(options, "pair_order"), "feasign:slot"),
        .pipe_command = option_string(options, "pipe_command"),
        .skip_bad_lines = str_eq(option_string(options, "bad_lines"), "skip"),
        .hash_dim = option_is_set(options, "hash_dim") ? option_int(options, "hash_dim")
                                                       : engine->job.hash_dim,
        .ngram = option_is_set(options, "ngram") ? (int)option_int(options, "ngram")
                                                 : engine->job.ngram,
        .unpacked_max = option_bytes(options, "unpacked_max"),
    };
    return reader_parse_label(option_string(options, "label"), &how->text.label, err);
}

void data_options_deinit(struct data_options *options)
{
    mem_free(options->wants);
    str_list_deinit(&options->rows_vars);
    memset(options, 0, sizeof *options);
}

static void add_want(const struct var_desc *var, struct data_options *out)
{
    out->wants[out->reader.wants_count++] = (struct reader_want){
        .name = var->name,
        .dims = var->dims,
        .typed = dtype_is_valid(var->dtype),
        .dtype = (enum dtype)var->dtype,
        .lod_levels = var->lod_level,
    };
}
