// SPDX-License-Identifier: Apache-2.0
// Lamb and LarsMomentum scale a step by two norms of the WHOLE parameter, of which a server may
// hold a piece only. Such an op has two slots more than Fluid's, optional and last in its tables:
//
//   output PartNorms   [2] float64: squared norms over this op's own tensors: of Param, and of what
//                      it is compared with (lamb: the update r; lars_momentum: Grad)
//   input  WholeNorms  [2] float64: the sums of all pieces' PartNorms, used instead of the own ones
//
// Servers run the op once for its PartNorms (what it writes to ParamOut is then overwritten), and
// once more with WholeNorms. Without the slots, on one machine, the op is Fluid's.
#pragma once

#include "common/ops/op.h"

#define WHOLE_NORMS_INPUT "WholeNorms"
#define WHOLE_NORMS_OUTPUT "PartNorms"
#define WHOLE_NORMS_IN_SLOT                                                                        \
    {                                                                                              \
        WHOLE_NORMS_INPUT, OP_SLOT_OPTIONAL                                                        \
    }
#define WHOLE_NORMS_OUT_SLOT                                                                       \
    {                                                                                              \
        WHOLE_NORMS_OUTPUT, OP_SLOT_OPTIONAL                                                       \
    }

// squares[2]: the op's own sums in, those to be used out. in, out: indices of the slots.
int whole_norms_settle(const struct op_ctx *ctx, int in, int out, double squares[2]);
// For infer_shape: the shape of PartNorms, when the op has it. SL_EMISMATCH for a WholeNorms of
// another shape.
int whole_norms_infer(const struct op_shape *shape, int in, int out);
