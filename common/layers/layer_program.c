// SPDX-License-Identifier: Apache-2.0
// Programs and variables as sluice.h shows them.

#include <string.h>

#include "common/api/sluice.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/passes/clone.h"
#include "common/program/program.h"
#include "common/program/program_text.h"

static void copy_error(struct sl_error *to, const struct err *from);

sl_program *sl_program_new(void)
{
    return program_new();
}

void sl_program_free(sl_program *program)
{
    if (program != NULL && program != sl_default_main_program() &&
        program != sl_default_startup_program())
        program_free(program);
}

sl_program *sl_program_clone(const sl_program *program, bool for_test, struct sl_error *err)
{
    (void)err;
    program = program ? program : sl_default_main_program();
    return for_test ? clone_for_test(program) : program_clone(program);
}

sl_program *sl_program_load(const char *path, struct sl_error *err)
{
    struct err inner = {0};
    struct program *program = NULL;
    if (program_load(path, &program, &inner) < 0)
        copy_error(err, &inner);
    return program;
}

int sl_program_save(const sl_program *program, const char *path, struct sl_error *err)
{
    struct err inner = {0};
    int rc = program_save(program ? program : sl_default_main_program(), path, &inner);
    if (rc < 0)
        copy_error(err, &inner);
    return rc;
}

void sl_program_set_random_seed(sl_program *program, uint32_t seed)
{
    (program ? program : sl_default_main_program())->random_seed = seed;
}

char *sl_program_text(const sl_program *program)
{
    struct buf text;
    buf_init(&text, 0);
    program_text_format(program ? program : sl_default_main_program(), &text);
    return buf_take_text(&text);
}

bool sl_program_equal(const sl_program *a, const sl_program *b)
{
    return program_text_diff(a, b, NULL);
}

sl_var *sl_program_var(const sl_program *program, const char *name)
{
    return block_var(program_block(program ? program : sl_default_main_program(), 0), name);
}

size_t sl_program_vars(const sl_program *program)
{
    return program_block(program ? program : sl_default_main_program(), 0)->vars_count;
}

sl_var *sl_program_var_at(const sl_program *program, size_t i)
{
    const struct block *block = program_block(program ? program : sl_default_main_program(), 0);
    return i < block->vars_count ? block->vars[i] : NULL;
}

bool sl_var_is_persistable(const sl_var *var)
{
    return var->has_persistable && var->persistable;
}

void sl_var_set_persistable(sl_var *var, bool persistable)
{
    var->has_persistable = true;
    var->persistable = persistable;
}

bool sl_var_is_parameter(const sl_var *var)
{
    return var->is_parameter;
}

const char *sl_var_name(const sl_var *var)
{
    return var ? var->name : NULL;
}

struct sl_shape sl_var_shape(const sl_var *var)
{
    struct sl_shape shape = {.rank = var->dims.rank};
    for (int i = 0; i < shape.rank && i < SL_RANK_MAX; i++)
        shape.d[i] = var->dims.d[i];
    return shape;
}

enum sl_dtype sl_var_dtype(const sl_var *var)
{
    return (enum sl_dtype)var->dtype;
}

void sl_var_set_stop_gradient(sl_var *var, bool stop)
{
    var->stop_gradient = stop;
}

static void copy_error(struct sl_error *to, const struct err *from)
{
    if (to == NULL)
        return;
    to->code = from->code;
    memcpy(to->text, from->text, sizeof to->text);
}
