// SPDX-License-Identifier: Apache-2.0
// Clipping on the servers (clip_merged): the operators between the backward pass and the updates
// that only change gradients move to where the merged gradient is.
//
// Each is one of three kinds. One that reads a gradient and gives a gradient runs on every piece.
// One that reads a gradient and gives a sum (reduce_sum, squared_l2_norm) makes a part of that sum
// on every piece; servers add the parts up before anything reads it. One that reads only such sums
// runs once on every server, in a block of its own. Anything else cannot be cut and is refused.

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/passes/transpiler_plan.h"

static const char *source(const struct transpiler *t, const char *grad);
static int judge(struct transpiler *t, struct map *grads, size_t index, struct err *err);
static bool adds_up(const struct op_desc *op);

const char *transpiler_clip_source(const struct transpiler *t, const char *grad)
{
    return t->clips ? source(t, grad) : grad;
}

void transpiler_clip_take(struct transpiler *t)
{
    size_t count = program_block(t->main, 0)->ops_count;
    t->clips = mem_must_calloc(count + 1, sizeof *t->clips);
    for (size_t i = 0; i < count; i++)
        if (t->on_trainer[i]) {
            t->on_trainer[i] = false;
            t->clips[i] = TRANSPILER_CLIP_PIECE;
        }
}

int transpiler_clip_judge(struct transpiler *t, struct err *err)
{
    const struct block *block = program_block(t->main, 0);
    struct map grads;   // gradients and what the clip made of them -> their pair
    int rc = 0;
    map_init(&grads);
    for (size_t i = 0; i < t->count; i++)
        map_set(&grads, t->pairs[i].grad, &t->pairs[i]);
    for (size_t i = 0; rc == 0 && t->clips && i < block->ops_count; i++)
        if (t->clips[i] != TRANSPILER_CLIP_NONE)
            rc = judge(t, &grads, i, err);
    map_deinit(&grads);
    return rc;
}

// The gradient of the backward pass that a clipped one was made of: clips have it in X.
static const char *source(const struct transpiler *t, const char *grad)
{
    const struct block *block = program_block(t->main, 0);
    for (size_t i = block->ops_count; i-- > 0;)
        if (t->clips[i] != TRANSPILER_CLIP_NONE && op_desc_writes(block->ops[i], grad) &&
            op_desc_input1(block->ops[i], "X") != NULL)
            return source(t, op_desc_input1(block->ops[i], "X"));
    return grad;
}

static int judge(struct transpiler *t, struct map *grads, size_t index, struct err *err)
{
    const struct block *block = program_block(t->main, 0);
    const struct op_desc *op = block->ops[index];
    struct transpiler_pair *pair = NULL;
    bool several = false;
    for (size_t s = 0; s < op->inputs_count; s++)
        for (size_t k = 0; k < op->inputs[s].args.count; k++) {
            struct transpiler_pair *found = map_get(grads, op->inputs[s].args.items[k]);
            several = several || (found != NULL && pair != NULL && found != pair);
            pair = found ? found : pair;
        }
    const char *out = op->outputs_count == 1 && op->outputs[0].args.count == 1
                          ? op->outputs[0].args.items[0]
                          : NULL;
    const struct var_desc *var = out ? block_var(block, out) : NULL;
    if (pair == NULL) {
        t->clips[index] = TRANSPILER_CLIP_SUMS;
        return 0;
    }
    t->clips[index] = adds_up(op) ? TRANSPILER_CLIP_ADD : TRANSPILER_CLIP_PIECE;
    bool good = var != NULL && !several && str_eq(transpiler_plan_role_var(op, 0), pair->param);
    if (good && t->clips[index] == TRANSPILER_CLIP_ADD)
        good = dims_product(&var->dims, 0, var->dims.rank) == 1;
    else if (good)
        good = dims_equal(&var->dims, &pair->dims);
    if (!good)
        return err_set(err, SL_EUNSUPPORTED,
                       "transpiler: block 0 op %zu `%s`: clip_merged cannot run it on pieces of a "
                       "gradient",
                       index, op->type);
    if (t->clips[index] == TRANSPILER_CLIP_PIECE)
        map_set(grads, out, pair);
    if (t->clips[index] == TRANSPILER_CLIP_ADD ||
        (str_eq(op->type, "clip_by_norm") && pair->count > 1))
        t->slices.phases |= SLICE_PHASE_CLIP;
    return 0;
}

static bool adds_up(const struct op_desc *op)
{
    return str_eq(op->type, "reduce_sum") || str_eq(op->type, "squared_l2_norm");
}
