// SPDX-License-Identifier: Apache-2.0
// Where values enter: fed variables and parameters.

#include "common/base/mem.h"
#include "common/layers/layers.h"
#include "common/program/program.h"

sl_var *sl_data(sl_net *net, const char *name, enum sl_dtype dtype, struct sl_shape shape)
{
    struct sl_shape batch = {.rank = 1, .d = {-1}};
    for (int i = 0; i < shape.rank && i < SL_RANK_MAX; i++)
        if (shape.d[i] < 0)
            return sl_data_lod(net, name, dtype, shape, 0);
    for (int i = 0; i < shape.rank && batch.rank < SL_RANK_MAX; i++)
        batch.d[batch.rank++] = shape.d[i];
    return sl_data_lod(net, name, dtype, batch, 0);
}

sl_var *sl_data_lod(sl_net *net, const char *name, enum sl_dtype dtype, struct sl_shape shape,
                    int lod_level)
{
    if (!layers_ok(net, "data", NULL, 0))
        return NULL;
    struct block *block = program_block(net->main, 0);
    if (name == NULL || name[0] == '\0' || block_var(block, name) != NULL) {
        layers_fail(net, "data", SL_EINVAL, "`%s` is %s", name ? name : "",
                    name && name[0] ? "already there" : "no name");
        return NULL;
    }
    if (shape.rank < 1 || shape.rank > SL_RANK_MAX || !dtype_is_valid((int)dtype) ||
        lod_level < 0) {
        layers_fail(net, "data", SL_EINVAL, "%s: rank %d, element type %d, LoD level %d", name,
                    shape.rank, (int)dtype, lod_level);
        return NULL;
    }
    struct var_desc *var = var_desc_new(name);
    var->has_tensor = true;
    var->dtype = (int)dtype;
    var->dims.rank = shape.rank;
    for (int i = 0; i < shape.rank; i++)
        var->dims.d[i] = shape.d[i];
    var->has_lod_level = true;
    var->lod_level = lod_level;
    var->has_persistable = true;
    var->is_data = true;
    var->stop_gradient = true;
    return block_add_var(block, var);
}

sl_var *sl_create_parameter(sl_net *net, struct sl_shape shape, enum sl_dtype dtype,
                            const struct sl_param_attr *attr)
{
    if (!layers_ok(net, "create_parameter", NULL, 0))
        return NULL;
    char *name = unique_name_next(&net->names, "create_parameter");
    struct var_desc *var = layers_parameter(net, "create_parameter", name, "w", attr, &shape,
                                            (int)dtype, sl_xavier(true, 0, 0, 0));
    mem_free(name);
    return var;
}
