// SPDX-License-Identifier: Apache-2.0
// Images resized, and the bilinear product of two vectors.

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/layers/layer_op.h"
#include "common/layers/layers.h"
#include "common/program/unique_name.h"
#include "common/program/var_desc.h"

struct sl_resize_options sl_resize_defaults(void)
{
    return (struct sl_resize_options){
        .align_corners = true, .align_mode = 1, .data_format = "NCHW"};
}

static sl_var *resize(sl_net *net, const char *layer, const char *method, sl_var *x,
                      const struct sl_resize_options *options)
{
    const struct sl_resize_options defaults = sl_resize_defaults();
    const struct sl_resize_options *o = options ? options : &defaults;
    bool sized = o->height > 0 && o->width > 0;
    bool told = sized || o->out_size || o->size[0] || o->actual_size;
    if (o->align_mode != 0 && o->align_mode != 1)
        return layer_op_refuse(net, layer, "align_mode must be 0 or 1, not %d", o->align_mode);
    if (!told && !(o->scale > 0.0))
        return layer_op_refuse(net, layer, "give height and width, a size, or a scale above 0");
    if ((o->size[0] == NULL) != (o->size[1] == NULL))
        return layer_op_refuse(net, layer, "size must be two variables");
    if (!str_eq(o->data_format, "NCHW") && !str_eq(o->data_format, "NHWC"))
        return layer_op_refuse(net, layer, "data_format `%s` is not NCHW or NHWC",
                               o->data_format ? o->data_format : "");
    bool number = sized && !o->out_size && !o->size[0];
    struct layer_op op = {
        .layer = layer,
        .in = {{"X", x},
               {.slot = "OutSize",
                .var = o->actual_size ? o->actual_size : o->out_size,
                .optional = true},
               {.slot = "Scale", .var = told ? NULL : o->scale_var, .optional = true}},
        .attrs = {LAYER_OP_INT("out_d", -1), LAYER_OP_INT("out_h", number ? o->height : -1),
                  LAYER_OP_INT("out_w", number ? o->width : -1),
                  LAYER_OP_TEXT("interp_method", method),
                  LAYER_OP_BOOL("align_corners", o->align_corners),
                  LAYER_OP_INT("align_mode", o->align_mode),
                  LAYER_OP_TEXT("data_layout", o->data_format)},
        .out = {{"Out"}}};
    if (o->size[0] != NULL)
        op.in[3] = (struct layer_op_input){
            .slot = "SizeTensor", .list = (const sl_var *const *)o->size, .count = 2};
    if (!told && o->scale_var == NULL)
        op.attrs[7] = (struct layer_op_attr)LAYER_OP_FLOAT("scale", o->scale);
    return layer_op_append(net, &op, NULL);
}

sl_var *sl_resize_bilinear(sl_net *net, sl_var *x, const struct sl_resize_options *options)
{
    return resize(net, "bilinear_interp", "bilinear", x, options);
}

sl_var *sl_resize_nearest(sl_net *net, sl_var *x, const struct sl_resize_options *options)
{
    return resize(net, "nearest_interp", "nearest", x, options);
}

sl_var *sl_image_resize(sl_net *net, sl_var *x, const char *resample,
                        const struct sl_resize_options *options)
{
    if (str_eq(resample, "BILINEAR"))
        return sl_resize_bilinear(net, x, options);
    if (str_eq(resample, "NEAREST"))
        return sl_resize_nearest(net, x, options);
    return layer_op_refuse(net, "image_resize", "resample `%s` is not BILINEAR or NEAREST",
                           resample ? resample : "");
}

sl_var *sl_bilinear_tensor_product(sl_net *net, sl_var *x, sl_var *y, int64_t size, const char *act,
                                   const struct sl_param_attr *param_attr,
                                   const struct sl_param_attr *bias_attr)
{
    const char *layer = "bilinear_tensor_product";
    if (!layers_ok(net, layer, (const sl_var *const[]){x, y}, 2))
        return NULL;
    if (x->dims.rank != 2 || y->dims.rank != 2 || size < 1)
        return layer_op_refuse(net, layer, "x and y must be matrices and size above 0");
    char *name = unique_name_next(&net->names, layer);
    const struct sl_shape shape = {.rank = 3, .d = {size, x->dims.d[1], y->dims.d[1]}};
    const struct sl_shape bias_shape = {.rank = 2, .d = {1, size}};
    struct var_desc *w = layers_parameter(net, layer, name, "w", param_attr, &shape, x->dtype,
                                          sl_xavier(true, 0, 0, 0));
    struct var_desc *b =
        layers_parameter(net, layer, name, "b", bias_attr, &bias_shape, x->dtype, sl_constant(0.0));
    sl_var *out = NULL;
    if (w != NULL && b != NULL)
        out = layer_op_append(
            net,
            &(struct layer_op){.layer = layer,
                               .name = name,
                               .in = {{"X", x}, {"Y", y}, {"Weight", w}, {"Bias", b}},
                               .out = {{"Out"}}},
            NULL);
    out = layer_op_activate(net, layer, name, out, act, NULL);
    mem_free(name);
    return out;
}
