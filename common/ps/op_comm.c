// SPDX-License-Identifier: Apache-2.0
// A trainer program's ops with I/O: send, recv, send_barrier, fetch_barrier; host = struct comm *.
// Names are the programs' own: a slice of the slice_map, a gradient with ".trainer_<i>" behind it.
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"
#include "common/ps/comm.h"

static int send_kernel(struct op_ctx *ctx)
{
    const struct op_slot *x = op_desc_input(ctx->desc, "X");
    for (size_t i = 0; x && i < ctx->in[0].count; i++) {
        const struct variable *var = ctx->in[0].vars[i];
        if (!var || var->kind == VARIABLE_SELECTED_ROWS)
            return err_set(ctx->err, SL_EUNSUPPORTED,
                           "%s: sparse gradients do not work with servers so far",
                           x->args.items[i]);
        if (var->kind != VARIABLE_TENSOR)
            return err_set(ctx->err, SL_EUSAGE, "%s has no value", x->args.items[i]);
        int rc = comm_push(ctx->host, x->args.items[i], &var->tensor, ctx->err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int recv_kernel(struct op_ctx *ctx)
{
    const struct op_slot *out = op_desc_output(ctx->desc, "Out");
    for (size_t i = 0; out && i < ctx->out[0].count; i++) {
        int rc = comm_pull(ctx->host, out->args.items[i], variable_tensor(ctx->out[0].vars[i]),
                           ctx->err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int send_barrier_kernel(struct op_ctx *ctx)
{
    return comm_send_barrier(ctx->host, ctx->err);
}

static int fetch_barrier_kernel(struct op_ctx *ctx)
{
    return comm_fetch_barrier(ctx->host, ctx->err);
}

// Control variables order the ops in Fluid; here the order of the block does, so they are optional.
static const struct op_slot_def x_inputs[] = {{"X", OP_SLOT_LIST | OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def out_outputs[] = {{"Out", OP_SLOT_LIST | OP_SLOT_OPTIONAL},
                                                 {NULL, 0}};
static const struct op_attr_def no_attrs[] = {{.name = NULL}};

#define COMM_OP(name)                                                                              \
    static const struct op_def op_comm_##name = {                                                  \
        .type = #name,                                                                             \
        .inputs = x_inputs,                                                                        \
        .outputs = out_outputs,                                                                    \
        .attrs = no_attrs,                                                                         \
        .kernel = name##_kernel,                                                                   \
        .kernel_resizes = true,                                                                    \
    };

COMM_OP(send)
COMM_OP(recv)
COMM_OP(send_barrier)
COMM_OP(fetch_barrier)

const struct op_def *const op_comm_table[] = {&op_comm_send, &op_comm_recv, &op_comm_send_barrier,
                                              &op_comm_fetch_barrier, NULL};
