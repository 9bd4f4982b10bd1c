// SPDX-License-Identifier: Apache-2.0
// Layers that are one operator, written as data: inputs, attributes, outputs. Outputs become
// variables "<layer>_<n>.tmp_0", ... in the order they are listed, which is Fluid's order of making
// them, not that of the slots.
#pragma once

#include "common/api/sluice.h"
#include "common/program/attr.h"

#define LAYER_OP_INPUTS_MAX 8
#define LAYER_OP_ATTRS_MAX 16
#define LAYER_OP_OUTPUTS_MAX 8

struct layer_op_input {
    const char *slot;
    const sl_var *var;           // the argument; or:
    const sl_var *const *list;   // several of them
    size_t count;
    bool optional;   // NULL leaves the slot out
};

struct layer_op_attr {
    const char *name;
    enum attr_type type;
    double number;         // INT, LONG, BOOLEAN, FLOAT
    const char *text;      // STRING
    const int64_t *list;   // INTS, LONGS
    size_t count;
};

#define LAYER_OP_INT(n, v)                                                                         \
    {                                                                                              \
        .name = (n), .type = ATTR_INT, .number = (double)(v)                                       \
    }
#define LAYER_OP_LONG(n, v)                                                                        \
    {                                                                                              \
        .name = (n), .type = ATTR_LONG, .number = (double)(v)                                      \
    }
#define LAYER_OP_BOOL(n, v)                                                                        \
    {                                                                                              \
        .name = (n), .type = ATTR_BOOLEAN, .number = (v)                                           \
    }
#define LAYER_OP_FLOAT(n, v)                                                                       \
    {                                                                                              \
        .name = (n), .type = ATTR_FLOAT, .number = (v)                                             \
    }
#define LAYER_OP_TEXT(n, v)                                                                        \
    {                                                                                              \
        .name = (n), .type = ATTR_STRING, .text = (v)                                              \
    }
#define LAYER_OP_INTS(n, v, c)                                                                     \
    {                                                                                              \
        .name = (n), .type = ATTR_INTS, .list = (v), .count = (c)                                  \
    }
#define LAYER_OP_LONGS(n, v, c)                                                                    \
    {                                                                                              \
        .name = (n), .type = ATTR_LONGS, .list = (v), .count = (c)                                 \
    }

struct layer_op_output {
    const char *slot;
    int dtype;   // 0: the first input's (bool is LAYER_OP_BOOL_DTYPE)
    bool stop_gradient;
    sl_var *var;    // an existing variable; NULL: a new one
    size_t count;   // of a list of new ones; 0 means one
};
#define LAYER_OP_BOOL_DTYPE (-1)

struct layer_op {
    const char *layer;   // for names and errors
    const char *name;    // "<layer>_<n>" when the caller made it (for parameters); NULL: made here
    const char *type;    // of the operator; NULL: layer
    bool generated;      // outputs are called _generated_var_<n>, as some layers have it
    struct layer_op_input in[LAYER_OP_INPUTS_MAX];
    struct layer_op_attr attrs[LAYER_OP_ATTRS_MAX];
    struct layer_op_output out[LAYER_OP_OUTPUTS_MAX];
};

// Appends the operator. results (may be NULL) takes the outputs, flat, in their order. Returns the
// first one, or NULL after an error.
sl_var *layer_op_append(sl_net *net, const struct layer_op *op, sl_var **results);
// The error of an argument that the operator itself would not catch; NULL for the caller to return.
sl_var *layer_op_refuse(sl_net *net, const char *layer, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// act (may be NULL) over x, as "<name>.tmp_<n>"; x NULL: an error before. with_cudnn: the layer has
// the option use_cudnn, which Fluid hands on.
sl_var *layer_op_activate(sl_net *net, const char *layer, const char *name, sl_var *x,
                          const char *act, const bool *use_cudnn);
// x plus a bias of x's dimensions [first, last), aligned at first.
sl_var *layer_op_bias(sl_net *net, const char *layer, const char *name, sl_var *x, int first,
                      int last, const struct sl_param_attr *attr);
