// SPDX-License-Identifier: Apache-2.0
// listen_and_serv as a host op: the executor that runs a server program ends up in serve_run.
#include "common/ops/op.h"
#include "common/ps/serve.h"

static int listen_and_serv(struct op_ctx *ctx)
{
    return serve_run(ctx->host, ctx->err);
}

static const struct op_slot_def serve_inputs[] = {{"X", OP_SLOT_LIST | OP_SLOT_OPTIONAL},
                                                  {NULL, 0}};
static const struct op_slot_def no_outputs[] = {{NULL, 0}};
static const struct op_attr_def no_attrs[] = {{.name = NULL}};

static const struct op_def op_serve_listen_and_serv = {
    .type = "listen_and_serv",
    .inputs = serve_inputs,
    .outputs = no_outputs,
    .attrs = no_attrs,
    .kernel = listen_and_serv,
    .kernel_resizes = true,
};

const struct op_def *const op_serve_table[] = {&op_serve_listen_and_serv, NULL};
