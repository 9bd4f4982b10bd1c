// SPDX-License-Identifier: Apache-2.0
// edit_distance: the least number of insertions, deletions and substitutions (Levenshtein) that
// turn each sequence of Hyps into the one of Refs.
//
//   Out [N, 1] float32, SequenceNum [1] int64 = N; normalized: divided by the length of the one of
//   Refs
//
// Hyps and Refs are int64 (or int32): [rows, 1] with one LoD level, or [N, longest] with HypsLength
// and RefsLength. Two rows of the table of distances are kept, so a pair needs the memory of one
// sequence.

#include "common/base/err.h"
#include "common/ops/row_index.h"
#include "common/ops/sequence.h"

extern const struct op_def op_edit_distance;

enum { EDIT_NORMALIZED };
static const struct op_attr_def edit_attrs[] = {
    OP_ATTR_BOOL("normalized", 0),
    {.name = NULL},
};
enum { EDIT_HYPS, EDIT_REFS, EDIT_HYPS_LENGTH, EDIT_REFS_LENGTH };
enum { EDIT_NUM, EDIT_OUT };
static const struct op_slot_def edit_inputs[] = {{"Hyps", 0},
                                                 {"Refs", 0},
                                                 {"HypsLength", OP_SLOT_OPTIONAL},
                                                 {"RefsLength", OP_SLOT_OPTIONAL},
                                                 {NULL, 0}};
static const struct op_slot_def edit_outputs[] = {{"SequenceNum", 0}, {"Out", 0}, {NULL, 0}};

// One of the two batches.
struct batch {
    const char *name;
    const struct tensor *t;
    const struct tensor *lengths;   // of a padded batch; NULL: s says
    struct sequences s;
    size_t count;
};

static int edit_infer(struct op_shape *shape)
{
    const struct op_var_dims *hyps = op_shape_in(shape, EDIT_HYPS, 0),
                             *refs = op_shape_in(shape, EDIT_REFS, 0);
    bool padded = op_shape_in(shape, EDIT_HYPS_LENGTH, 0) != NULL;
    if (padded != (op_shape_in(shape, EDIT_REFS_LENGTH, 0) != NULL))
        return err_set(shape->err, SL_EINVAL, "HypsLength and RefsLength come together");
    if (hyps->dims.rank != 2 || refs->dims.rank != 2 ||
        (!padded && (!op_dims_fit(hyps->dims.d[1], 1) || !op_dims_fit(refs->dims.d[1], 1))))
        return err_set(shape->err, SL_EMISMATCH,
                       "Hyps and Refs must be [rows, 1] with LoD, or [N, longest] with lengths");
    const struct dims one = {.rank = 1, .d = {1}};
    sequence_set_shape(shape, EDIT_NUM, &one, shape->building ? -1 : (int)DTYPE_INT64, 0);
    sequence_set_shape(shape, EDIT_OUT, &refs->dims, shape->building ? -1 : (int)DTYPE_FP32, 0);
    return 0;
}

static int read_batch(const struct op_ctx *ctx, int s, int lengths, struct batch *b)
{
    *b = (struct batch){
        .name = ctx->def->inputs[s].name, .t = op_in(ctx, s), .lengths = op_in(ctx, lengths)};
    if (b->t->dtype != DTYPE_INT64 && b->t->dtype != DTYPE_INT32)
        return op_bad_dtype(ctx, (int)b->t->dtype);
    if (b->lengths == NULL) {
        int rc = sequence_read_only(ctx, b->name, b->t, &b->s);
        b->count = rc < 0 ? 0 : b->s.count;
        return rc;
    }
    b->count = (size_t)b->t->dims.d[0];
    if (b->lengths->dtype != DTYPE_INT64 && b->lengths->dtype != DTYPE_INT32)
        return op_bad_dtype(ctx, (int)b->lengths->dtype);
    if (tensor_count(b->lengths) != b->count)
        return err_set(ctx->err, SL_EMISMATCH, "%sLength has %llu numbers for %zu sequences",
                       b->name, (unsigned long long)tensor_count(b->lengths), b->count);
    for (size_t k = 0; k < b->count; k++) {
        int64_t length = row_index_at(b->lengths, k);
        if (length < 0 || length > b->t->dims.d[1])
            return err_set(ctx->err, SL_EINVAL, "%sLength %zu is %lld; there are %lld columns",
                           b->name, k, (long long)length, (long long)b->t->dims.d[1]);
    }
    return 0;
}

static int64_t length_of(const struct batch *b, size_t k)
{
    return b->lengths ? row_index_at(b->lengths, k) : sequence_length(&b->s, k);
}

static uint64_t start_of(const struct batch *b, size_t k)
{
    return b->lengths ? k * (uint64_t)b->t->dims.d[1] : b->s.offsets[k];
}

// rows: room for 2 (n + 1) numbers.
static int64_t distance(const struct batch *hyps, const struct batch *refs, size_t k, int64_t *rows)
{
    int64_t m = length_of(hyps, k), n = length_of(refs, k);
    uint64_t h = start_of(hyps, k), r = start_of(refs, k);
    int64_t *above = rows, *row = rows + n + 1;
    for (int64_t j = 0; j <= n; j++)
        above[j] = j;
    for (int64_t i = 1; i <= m; i++) {
        int64_t token = row_index_at(hyps->t, h + (uint64_t)i - 1);
        row[0] = i;
        for (int64_t j = 1; j <= n; j++) {
            int64_t same = token == row_index_at(refs->t, r + (uint64_t)j - 1) ? 0 : 1;
            int64_t best = above[j - 1] + same;
            best = above[j] + 1 < best ? above[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
        int64_t *swap = above;
        above = row;
        row = swap;
    }
    return above[n];
}

static int edit_kernel(struct op_ctx *ctx)
{
    struct tensor *out = op_out(ctx, EDIT_OUT), *number = op_out(ctx, EDIT_NUM);
    bool normalized = attr_bool(ctx->attr[EDIT_NORMALIZED]);
    struct batch hyps, refs;
    int64_t longest = 0;
    int rc = read_batch(ctx, EDIT_HYPS, EDIT_HYPS_LENGTH, &hyps);
    if (rc == 0)
        rc = read_batch(ctx, EDIT_REFS, EDIT_REFS_LENGTH, &refs);
    if (rc == 0 && hyps.count != refs.count)
        rc = err_set(ctx->err, SL_EMISMATCH, "Hyps has %zu sequences, Refs %zu", hyps.count,
                     refs.count);
    for (size_t k = 0; rc == 0 && k < refs.count; k++) {
        int64_t length = length_of(&refs, k);
        longest = length > longest ? length : longest;
        if (normalized && length == 0)
            rc = err_set(ctx->err, SL_EINVAL,
                         "sequence %zu of Refs is empty: there is nothing to normalize by", k);
    }
    const struct dims one = {.rank = 1, .d = {1}},
                      column = {.rank = 2, .d = {(int64_t)hyps.count, 1}},
                      rows = {.rank = 1, .d = {2 * (longest + 1)}};
    if (rc == 0)
        rc = sequence_size(ctx, out, DTYPE_FP32, &column);
    if (rc == 0)
        rc = sequence_size(ctx, number, DTYPE_INT64, &one);
    if (rc == 0)
        rc = op_resize(&ctx->temps[0], DTYPE_INT64, &rows, ctx->err);
    if (rc < 0)
        return rc;
    tensor_i64(number)[0] = (int64_t)hyps.count;
    for (size_t k = 0; k < hyps.count; k++) {
        float edits = (float)distance(&hyps, &refs, k, tensor_i64(&ctx->temps[0]));
        tensor_f32(out)[k] = normalized ? edits / (float)length_of(&refs, k) : edits;
    }
    return 0;
}

const struct op_def op_edit_distance = {
    .type = "edit_distance",
    .inputs = edit_inputs,
    .outputs = edit_outputs,
    .attrs = edit_attrs,
    .infer_shape = edit_infer,
    .kernel = edit_kernel,
    .temps = 1,
    .kernel_resizes = true,
};
