// SPDX-License-Identifier: Apache-2.0
// The header of numpy's .npy files (format 1.0 to 3.0), both ways: one dense array, C order, little
// endian. The text inside is a Python dict of three known keys; nothing else is understood.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/tensor/dims.h"
#include "common/tensor/dtype.h"

struct buf;
struct err;

#define NPY_HEADER_MAX (64u << 10)   // no header of an array that we take is longer

struct npy_header {
    enum dtype dtype;
    struct dims dims;
    uint64_t data_offset;   // of the first element in the file
};

// data: the first bytes of a file, at least the header (NPY_HEADER_MAX always suffice, or the whole
// file). name stands in errors. SL_EFORMAT; SL_EUNSUPPORTED names the type or order we do not take;
// SL_ELIMIT.
int npy_read(const void *data, size_t bytes, const char *name, struct npy_header *out,
             struct err *err);
// Appends a header of format 1.0, padded as numpy does so that data is aligned to 64 bytes.
// SL_EUNSUPPORTED: a type that numpy lacks does not exist here; SL_ENOMEM.
int npy_append(enum dtype dtype, const struct dims *dims, struct buf *out);
