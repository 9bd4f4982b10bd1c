// SPDX-License-Identifier: Apache-2.0
// The border between the library's own types and the public ones: they have the same numbers and
// the same layout, which is asserted here.

#include <assert.h>

#include "common/api/sluice.h"
#include "common/base/err.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/tensor/dtype.h"

static_assert(SL_ERROR_TEXT_MAX == ERR_TEXT_MAX, "text size");
static_assert(sizeof(struct sl_error) == sizeof(struct err), "layout");
static_assert(SL_RANK_MAX == LIMIT_RANK, "rank");

static_assert((int)SL_ERR_INVALID == (int)SL_EINVAL, "code");
static_assert((int)SL_ERR_NO_MEMORY == (int)SL_ENOMEM, "code");
static_assert((int)SL_ERR_IO == (int)SL_EIO, "code");
static_assert((int)SL_ERR_NOT_FOUND == (int)SL_ENOENT, "code");
static_assert((int)SL_ERR_EXISTS == (int)SL_EEXIST, "code");
static_assert((int)SL_ERR_FORMAT == (int)SL_EFORMAT, "code");
static_assert((int)SL_ERR_LIMIT == (int)SL_ELIMIT, "code");
static_assert((int)SL_ERR_MISMATCH == (int)SL_EMISMATCH, "code");
static_assert((int)SL_ERR_UNSUPPORTED == (int)SL_EUNSUPPORTED, "code");
static_assert((int)SL_ERR_REFUSED == (int)SL_EREFUSED, "code");
static_assert((int)SL_ERR_TIMEOUT == (int)SL_ETIMEOUT, "code");
static_assert((int)SL_ERR_CLOSED == (int)SL_ECLOSED, "code");
static_assert((int)SL_ERR_BUSY == (int)SL_EBUSY, "code");
static_assert((int)SL_ERR_CORRUPT == (int)SL_ECORRUPT, "code");
static_assert((int)SL_ERR_STOPPED == (int)SL_ESTOPPED, "code");
static_assert((int)SL_ERR_USAGE == (int)SL_EUSAGE, "code");
static_assert((int)SL_ERR_DIVERGED == (int)SL_EDIVERGED, "code");
static_assert((int)SL_ERR_AGAIN == (int)SL_EAGAIN, "code");

static_assert((int)SL_BOOL == (int)DTYPE_BOOL && (int)SL_INT16 == (int)DTYPE_INT16, "dtype");
static_assert((int)SL_INT32 == (int)DTYPE_INT32 && (int)SL_INT64 == (int)DTYPE_INT64, "dtype");
static_assert((int)SL_FP16 == (int)DTYPE_FP16 && (int)SL_FP32 == (int)DTYPE_FP32, "dtype");
static_assert((int)SL_FP64 == (int)DTYPE_FP64 && (int)SL_UINT8 == (int)DTYPE_UINT8, "dtype");
static_assert((int)SL_INT8 == (int)DTYPE_INT8, "dtype");

const char *sl_version(void)
{
    return SLUICE_VERSION;
}

void sl_free(void *memory)
{
    mem_free(memory);
}
