// SPDX-License-Identifier: Apache-2.0
// Gradients that travel as rows: each is merged (sorted, every row once, sums in order of
// occurrence) straight into the message that leaves, indices first and then values. A message
// belongs to its slice, is written by the caller's thread when nothing of the step before is on its
// way, and grows only when a batch touches more rows than any before.
#include <inttypes.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/ops/rows_merge.h"
#include "common/ps/comm_inside.h"
#include "common/tensor/selected_rows.h"

static int check_rows(const struct comm_slice *slice, const char *name,
                      const struct selected_rows *rows, struct err *err);
static int make_room(struct comm_slice *slice, const char *name, uint64_t bytes, struct err *err);

int comm_push_rows(struct comm *comm, const char *name, const struct selected_rows *rows,
                   struct err *err)
{
    struct comm_slice *slice;
    int rc = comm_find_grad(comm, name, &slice, err);
    if (rc >= 0)
        rc = check_rows(slice, name, rows, err);
    if (rc < 0)
        return rc;
    const struct rows_merge_in in = {
        .rows = rows->rows, .count = rows->rows_count, .values = rows->value.data};
    int64_t height = slice->dims.d[0], width = dims_product(&slice->dims, 1, slice->dims.rank);
    struct rows_merge merge;
    rc = rows_merge_find(&slice->work, &in, 1, height, &merge, err);
    if (rc < 0)
        return err_prefix(err, "send %s", name);
    uint64_t heads = merge.count * sizeof(int64_t);
    rc = make_room(slice, name, heads + merge.count * (uint64_t)width * dtype_bytes(slice->dtype),
                   err);
    if (rc < 0)
        return rc;
    void *values = slice->message + heads;
    if (heads)
        memcpy(slice->message, merge.rows, (size_t)heads);
    if (slice->dtype == DTYPE_FP64)
        rows_merge_sum_f64(&merge, &in, 1, width, values);
    else
        rows_merge_sum_f32(&merge, &in, 1, width, values);
    comm_pushed(comm, slice);
    comm_put(comm, &(struct comm_command){.verb = COMM_PUSH,
                                          .variable = slice->variable,
                                          .slice = slice->slice,
                                          .data = slice->message,
                                          .rows = (uint32_t)merge.count});
    return 0;
}

static int check_rows(const struct comm_slice *slice, const char *name,
                      const struct selected_rows *rows, struct err *err)
{
    if (!slice->sparse)
        return err_set(err, SL_EINVAL, "send %s: it is selected rows, the slice map says whole",
                       name);
    if (slice->dtype != DTYPE_FP32 && slice->dtype != DTYPE_FP64)
        return err_set(err, SL_EUNSUPPORTED, "send %s: rows of %s cannot be added", name,
                       dtype_name((int)slice->dtype));
    if (!rows->rows_count && rows->height == slice->dims.d[0])
        return 0;
    struct dims want = slice->dims;
    char have_text[DIMS_TEXT_MAX], want_text[DIMS_TEXT_MAX];
    want.d[0] = (int64_t)rows->rows_count;
    if (rows->height == slice->dims.d[0] && rows->value.dtype == slice->dtype &&
        dims_equal(&rows->value.dims, &want))
        return 0;
    return err_set(err, SL_EINVAL,
                   "send %s: it has %zu rows of %" PRId64 ", %s %s; the slice map says %s %s", name,
                   rows->rows_count, rows->height, dtype_name((int)rows->value.dtype),
                   dims_format(&rows->value.dims, have_text), dtype_name((int)slice->dtype),
                   dims_format(&slice->dims, want_text));
}

static int make_room(struct comm_slice *slice, const char *name, uint64_t bytes, struct err *err)
{
    if (bytes > LIMIT_ROWS_BYTES)
        return err_set(err, SL_ELIMIT,
                       "send %s: the rows of this batch have %" PRIu64
                       " bytes, at most %llu can be pushed",
                       name, bytes, LIMIT_ROWS_BYTES);
    if (slice->message && bytes <= slice->message_cap)
        return 0;
    uint64_t cap = bytes + bytes / 2;
    mem_free(slice->message);
    slice->message = mem_alloc_aligned((size_t)cap);
    slice->message_cap = slice->message ? cap : 0;
    if (!slice->message)
        return err_set(err, SL_ENOMEM, "send %s: no memory for %" PRIu64 " bytes of rows", name,
                       bytes);
    return 0;
}
