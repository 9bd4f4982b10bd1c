// SPDX-License-Identifier: Apache-2.0
// The bytes in front of a tensor's data, parsed and made. Private to the tensor layer.
#pragma once

#include "common/tensor/tensor_io.h"

// Parses and checks; on failure *out holds nothing.
int tensor_header_read(const struct tensor_io_source *source, uint64_t offset,
                       enum variable_kind kind, struct tensor_io_header *out, struct err *err);
// u32 version | i32 length | TensorDesc
int tensor_header_append(enum dtype dtype, const struct dims *dims, struct buf *out);
