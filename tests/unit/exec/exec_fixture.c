// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/exec/exec_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"

void exec_fixture_var(struct block *block, const char *name, bool persistable, int rank,
                      const int64_t *d)
{
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dims = dims_make(rank, d);
    var->has_persistable = var->persistable = persistable;
    block_add_var(block, var);
}

static void add_slots(struct op_desc *op, bool input, const char *text)
{
    struct str_list slots = {0};
    str_list_split(&slots, text, ' ');
    for (size_t s = 0; s < slots.count; s++) {
        char *name = slots.items[s], *args = strchr(name, '=');
        if (args == NULL)
            continue;
        *args++ = '\0';
        struct str_list list = {0};
        str_list_split(&list, args, ',');
        for (size_t i = 0; i < list.count; i++)
            (input ? op_desc_add_input : op_desc_add_output)(op, name, list.items[i]);
        str_list_deinit(&list);
    }
    str_list_deinit(&slots);
}

struct op_desc *exec_fixture_op(struct block *block, const char *type, const char *inputs,
                                const char *outputs)
{
    struct op_desc *op = op_desc_new(type);
    add_slots(op, true, inputs);
    add_slots(op, false, outputs);
    return block_append_op(block, op);
}

void exec_fixture_fill(struct block *block, const char *out, float value, size_t rank,
                       const int64_t *d)
{
    char *slot = mem_must_printf("Out=%s", out);
    struct op_desc *op = exec_fixture_op(block, "fill_constant", "", slot);
    op_desc_set_longs(op, "shape", d, rank);
    op_desc_set_float(op, "value", value);
    mem_free(slot);
}

void exec_fixture_value(struct variable *out, int rank, const int64_t *d)
{
    struct dims dims = dims_make(rank, d);
    variable_init(out);
    assert_int_equal(tensor_resize(variable_tensor(out), DTYPE_FP32, &dims), 0);
    for (uint64_t i = 0; i < tensor_count(&out->tensor); i++)
        tensor_f32(&out->tensor)[i] = (float)i;
}
