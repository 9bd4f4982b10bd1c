// SPDX-License-Identifier: Apache-2.0
// Sparse gradients in a server's blocks: slots that are selected rows, and which rows of which
// table a block writes. A slot's variable borrows the round's memory anew in every step; the rows
// of a merged gradient, as the update has read them, are what the state copies in the next step.
// Owner: the loop thread; never while blocks run on workers.
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/program/program.h"
#include "common/ps/apply_inside.h"
#include "common/ps/round.h"
#include "common/ps/shard.h"
#include "common/ps/state.h"

int apply_rows_slot(const struct apply *apply, const struct shard_slice *slice, int trainer,
                    struct variable **out, struct err *err)
{
    const struct var_desc *desc =
        block_find_var(program_block(apply->program, 0), slice->place->name);
    if (desc && (desc->kind == VAR_SELECTED_ROWS) != slice->sparse)
        return err_set(err, SL_EINVAL, "%s: the server's program has it %s, the slice map %s",
                       slice->place->name, slice->sparse ? "whole" : "as selected rows",
                       slice->sparse ? "as rows" : "whole");
    struct variable *var = MEM_NEW(struct variable);
    variable_init(var);
    if (slice->sparse)
        variable_rows(var)->height = slice->dims.d[0];
    else
        tensor_borrow(variable_tensor(var), slice->dtype, &slice->dims,
                      round_slot(apply->round, trainer, slice->grad), (size_t)slice->bytes);
    *out = var;
    return 0;
}

void apply_rows_free(struct variable *slot, bool sparse)
{
    if (slot && sparse)
        variable_rows(slot)->rows = NULL;   // the round's
    if (slot)
        variable_deinit(slot);
    mem_free(slot);
}

void apply_rows_bind(struct apply *apply)
{
    int trainers = round_trainers(apply->round);
    for (size_t g = 0; g < apply->shard->grads_count; g++) {
        const struct shard_slice *slice = apply->shard->grads[g];
        for (int t = 0; slice->sparse && t < trainers; t++) {
            struct selected_rows *sr =
                variable_rows(apply->slots[g * (size_t)trainers + (size_t)t]);
            struct dims dims = slice->dims;
            const int64_t *rows;
            const void *values;
            size_t count = round_rows(apply->round, t, (int)g, &rows, &values);
            dims.d[0] = (int64_t)count;
            sr->rows = (int64_t *)(uintptr_t)rows;
            sr->rows_count = sr->rows_cap = count;
            sr->height = slice->dims.d[0];
            tensor_borrow(&sr->value, slice->dtype, &dims, (void *)(uintptr_t)values,
                          count * (size_t)slice->row_bytes);
        }
    }
}

void apply_rows_find(struct apply *apply, struct apply_block *block)
{
    for (size_t i = 0; i < block->desc->ops_count; i++) {
        const struct op_desc *op = block->desc->ops[i];
        if (!apply_state_by_rows(block->desc, op))
            continue;
        const char *grad = op_desc_input1(op, "Grad");
        bool written = false;
        for (size_t k = 0; k < i && !written; k++)
            written = op_desc_writes(block->desc->ops[k], grad);
        for (size_t s = 0; s < op->outputs_count; s++) {
            for (size_t a = 0; a < op->outputs[s].args.count; a++) {
                struct state_entry *entry = state_find(apply->state, op->outputs[s].args.items[a]);
                if (!entry || entry->write != STATE_ROWS)
                    continue;
                MEM_GROW(block->touches, block->touches_count, block->touches_cap);
                block->touches[block->touches_count++] = (struct apply_touch){
                    .entry = entry, .grad = apply_bind(apply, grad, false, written)};
            }
        }
    }
}

void apply_rows_touch(struct apply *apply, const struct apply_block *block)
{
    for (size_t i = 0; i < block->touches_count; i++) {
        const struct apply_touch *touch = &block->touches[i];
        bool known = touch->grad->kind == VARIABLE_SELECTED_ROWS;
        static const int64_t none;
        const struct selected_rows *sr = known ? &touch->grad->rows : NULL;
        state_touch(apply->state, touch->entry,
                    !sr              ? NULL
                    : sr->rows_count ? sr->rows
                                     : &none,
                    sr ? sr->rows_count : 0);
    }
}
