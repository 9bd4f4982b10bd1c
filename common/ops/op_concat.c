// SPDX-License-Identifier: Apache-2.0
// Joining and cutting along one axis. Around the axis a tensor is [outer, axis, inner], so a piece
// is `outer` runs of (its axis side x inner) elements, whatever the element type.
//
//   concat        Out = X0 | X1 | ...           dXi = its piece of dOut (concat_grad)
//   split         Out_i = piece i of X          dX = concat of dOut
//   split_byref   rows of X as views: no copy; Out_i lives as long as X does
//
// Pieces are given by `sections` (one of them may be -1: the rest) or by `num` equal ones. A concat
// piece that already lies at its place in Out is not copied: the plan lets received slices be views
// of the whole (see plan_alias.c).

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

extern const struct op_def op_concat, op_concat_grad, op_concat_split, op_concat_split_byref;

enum { CONCAT_AXIS };
static const struct op_attr_def concat_attrs[] = {
    OP_ATTR_INT("axis", 0),
    OP_ATTR_BOOL("use_mkldnn", 0),
    OP_ATTR_BOOL("use_quantizer", 0),
    {.name = NULL},
};
enum { CONCAT_X, CONCAT_AXIS_TENSOR, CONCAT_GRAD_DOUT };
static const struct op_slot_def concat_inputs[] = {
    {"X", OP_SLOT_LIST}, {"AxisTensor", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def concat_outputs[] = {{"Out", 0}, {NULL, 0}};
static const struct op_slot_def concat_grad_inputs[] = {
    {"X", OP_SLOT_LIST}, {"AxisTensor", OP_SLOT_OPTIONAL}, {"Out@GRAD", 0}, {NULL, 0}};
static const struct op_slot_def concat_grad_outputs[] = {
    {"X@GRAD", OP_SLOT_LIST | OP_SLOT_OPTIONAL}, {NULL, 0}};

enum { SPLIT_SECTIONS, SPLIT_NUM, SPLIT_AXIS };
static const struct op_attr_def split_attrs[] = {
    OP_ATTR_LIST("sections", ATTR_INTS),
    OP_ATTR_INT("num", 0),
    OP_ATTR_INT("axis", 0),
    {.name = NULL},
};
static const struct op_attr_def split_byref_attrs[] = {
    OP_ATTR_LIST("sections", ATTR_INTS),
    OP_ATTR_INT("num", 0),
    {.name = NULL},
};
enum { SPLIT_X, SPLIT_AXIS_TENSOR, SPLIT_SECTIONS_LIST };
static const struct op_slot_def split_inputs[] = {
    {"X", 0},
    {"AxisTensor", OP_SLOT_OPTIONAL},
    {"SectionsTensorList", OP_SLOT_OPTIONAL | OP_SLOT_LIST},
    {NULL, 0}};
static const struct op_slot_def split_byref_inputs[] = {{"X", 0}, {NULL, 0}};
static const struct op_slot_def split_outputs[] = {{"Out", OP_SLOT_LIST}, {NULL, 0}};

#define JOIN_LEVELS_MAX 8

// Bytes of one run: the axis side times everything behind it.
static size_t run_bytes(const struct tensor *t, int axis)
{
    return (size_t)dims_product(&t->dims, axis, t->dims.rank) * dtype_bytes(t->dtype);
}

// Copies piece into whole (or back) at run offset `at` bytes.
static void copy_piece(const struct tensor *whole, size_t at, const struct tensor *piece, int axis,
                       bool into_whole)
{
    size_t whole_bytes = run_bytes(whole, axis), bytes = run_bytes(piece, axis);
    int64_t outer = dims_product(&whole->dims, 0, axis);
    for (int64_t o = 0; bytes > 0 && o < outer; o++) {
        char *in_whole = (char *)whole->data + (size_t)o * whole_bytes + at;
        char *in_piece = (char *)piece->data + (size_t)o * bytes;
        if (in_whole == in_piece)
            continue;
        if (into_whole)
            memcpy(in_whole, in_piece, bytes);
        else
            memcpy(in_piece, in_whole, bytes);
    }
}

static int first_number(const struct op_ctx *ctx, const struct tensor *t, const char *slot,
                        int64_t *out)
{
    if (tensor_count(t) < 1 || (t->dtype != DTYPE_INT32 && t->dtype != DTYPE_INT64))
        return err_set(ctx->err, SL_EINVAL, "%s must hold one int32 or int64", slot);
    *out = t->dtype == DTYPE_INT32 ? *tensor_i32(t) : *tensor_i64(t);
    return 0;
}

// The axis as an index into rank, from the tensor when there is one.
static int kernel_axis(const struct op_ctx *ctx, int attr, int slot, int rank, int *out)
{
    int64_t axis = ctx->attr[attr]->i;
    const struct tensor *by = op_in(ctx, slot);
    int rc = by != NULL ? first_number(ctx, by, "AxisTensor", &axis) : 0;
    if (rc < 0)
        return rc;
    *out = op_axis(axis, rank);
    if (*out < 0)
        return err_set(ctx->err, SL_EINVAL, "axis %lld is not within the rank %d", (long long)axis,
                       rank);
    return 0;
}

// Adds piece i's shape to the joined one.
static int join_dims(struct dims *joined, const struct dims *piece, int axis, size_t i,
                     struct err *err)
{
    char text[DIMS_TEXT_MAX], joined_text[DIMS_TEXT_MAX];
    bool fits = piece->rank == joined->rank;
    for (int d = 0; fits && d < piece->rank; d++)
        fits = d == axis || op_dims_fit(piece->d[d], joined->d[d]);
    if (!fits)
        return err_set(err, SL_EMISMATCH,
                       "argument %zu of X %s does not go behind %s along axis %d", i,
                       dims_format(piece, text), dims_format(joined, joined_text), axis);
    for (int d = 0; d < piece->rank; d++)
        if (d != axis && joined->d[d] < 0)
            joined->d[d] = piece->d[d];
    joined->d[axis] =
        piece->d[axis] < 0 || joined->d[axis] < 0 ? -1 : joined->d[axis] + piece->d[axis];
    return 0;
}

static int concat_infer(struct op_shape *shape)
{
    const struct op_var_dims *first = op_shape_in(shape, CONCAT_X, 0);
    struct dims joined = first->dims;
    int axis = op_axis(shape->attr[CONCAT_AXIS]->i, joined.rank);
    if (op_shape_in(shape, CONCAT_AXIS_TENSOR, 0) != NULL) {
        for (int d = 0; d < joined.rank; d++)
            joined.d[d] = -1;
    } else if (axis < 0) {
        return err_set(shape->err, SL_EINVAL, "axis %lld is not within X's rank %d",
                       (long long)shape->attr[CONCAT_AXIS]->i, joined.rank);
    } else {
        for (size_t i = 1; i < shape->in[CONCAT_X].count; i++) {
            const struct op_var_dims *x = op_shape_in(shape, CONCAT_X, i);
            if (x == NULL)
                return err_set(shape->err, SL_EINVAL, "argument %zu of X is missing", i);
            int rc = join_dims(&joined, &x->dims, axis, i, shape->err);
            if (rc < 0)
                return rc;
        }
    }
    // Joined rows get their LoD from the kernel.
    bool rows = axis == 0 && !shape->building;
    op_shape_set(shape, 0, 0, &joined, first->dtype, rows ? NULL : first);
    return 0;
}

// The sequences of all arguments one behind the other, when all have as many levels.
static int join_lod(struct op_ctx *ctx, struct tensor *out)
{
    const struct op_args *x = &ctx->in[CONCAT_X];
    int levels = op_in(ctx, CONCAT_X)->lod_levels, rc = 0;
    struct dims room = {.rank = 1, .d = {0}};
    for (size_t i = 0; i < x->count; i++) {
        const struct tensor *t = op_in_at(ctx, CONCAT_X, i);
        if (t->lod_levels != levels)
            levels = 0;
        for (int l = 0; l < levels; l++)
            if (room.d[0] < (int64_t)t->lod[l].count + 1)
                room.d[0] = (int64_t)t->lod[l].count + 1;
    }
    tensor_clear_lod(out);
    room.d[0] *= (int64_t)x->count;
    if (levels > JOIN_LEVELS_MAX)
        return err_set(ctx->err, SL_ELIMIT, "more than %d LoD levels", JOIN_LEVELS_MAX);
    struct lod_level joined[JOIN_LEVELS_MAX];
    room.d[0] *= levels;
    if (levels > 0)
        rc = op_resize(&ctx->temps[0], DTYPE_INT64, &room, ctx->err);
    uint64_t *at = levels > 0 && rc == 0 ? ctx->temps[0].data : NULL;
    for (int l = 0; rc == 0 && l < levels; l++) {
        joined[l] = (struct lod_level){.offsets = at};
        for (size_t i = 0; i < x->count; i++) {
            const struct lod_level *level = &op_in_at(ctx, CONCAT_X, i)->lod[l];
            uint64_t base = i > 0 ? joined[l].offsets[joined[l].count - 1] : 0;
            for (size_t k = i > 0; k < level->count; k++)
                joined[l].offsets[joined[l].count++] = base + level->offsets[k];
        }
        at += joined[l].count;
    }
    if (rc == 0 && levels > 0)
        rc = tensor_set_lod(out, levels, joined);
    return rc;
}

static int concat_forward(struct op_ctx *ctx)
{
    const struct tensor *first = op_in(ctx, CONCAT_X);
    struct tensor *out = op_out(ctx, 0);
    struct dims joined = first->dims;
    int axis, rc = kernel_axis(ctx, CONCAT_AXIS, CONCAT_AXIS_TENSOR, joined.rank, &axis);
    for (size_t i = 1; rc == 0 && i < ctx->in[CONCAT_X].count; i++) {
        const struct tensor *x = op_in_at(ctx, CONCAT_X, i);
        rc = join_dims(&joined, &x->dims, axis, i, ctx->err);
        if (rc == 0 && x->dtype != first->dtype)
            rc = err_set(ctx->err, SL_EMISMATCH, "argument %zu of X is %s, the first one %s", i,
                         dtype_name((int)x->dtype), dtype_name((int)first->dtype));
    }
    if (rc == 0)
        rc = op_resize(out, first->dtype, &joined, ctx->err);
    if (rc == 0 && axis == 0 && (first->lod_levels > 0 || out->lod_levels > 0))
        rc = join_lod(ctx, out);
    if (rc < 0)
        return rc;
    size_t at = 0;
    for (size_t i = 0; i < ctx->in[CONCAT_X].count; i++) {
        const struct tensor *x = op_in_at(ctx, CONCAT_X, i);
        copy_piece(out, at, x, axis, true);
        at += run_bytes(x, axis);
    }
    return 0;
}

static int concat_backward(struct op_ctx *ctx)
{
    const struct tensor *dout = op_in(ctx, CONCAT_GRAD_DOUT);
    int axis, rc = kernel_axis(ctx, CONCAT_AXIS, CONCAT_AXIS_TENSOR, dout->dims.rank, &axis);
    if (rc < 0)
        return rc;
    size_t at = 0, run = run_bytes(dout, axis);
    for (size_t i = 0; i < ctx->in[CONCAT_X].count; i++) {
        const struct tensor *x = op_in_at(ctx, CONCAT_X, i);
        struct tensor *dx = op_out_at(ctx, 0, i);
        bool fits = x->dims.rank == dout->dims.rank && x->dtype == dout->dtype;
        for (int d = 0; fits && d < x->dims.rank; d++)
            fits = d == axis || x->dims.d[d] == dout->dims.d[d];
        if (!fits || run_bytes(x, axis) > run - at)
            return err_set(ctx->err, SL_EMISMATCH,
                           "Out@GRAD has not the shape and type of the joined X");
        if (dx != NULL)
            copy_piece(dout, at, dx, axis, false);
        at += run_bytes(x, axis);
    }
    return 0;
}

// The sides of `count` pieces of a side; -1 where they are not known yet.
static int piece_sides(const struct attr *sections, int64_t num, int64_t side, size_t count,
                       int64_t *out, struct err *err)
{
    int64_t sum = 0;
    size_t rest = count;
    if (sections->count == 0) {
        if (num <= 0 || (uint64_t)num != count || (side >= 0 && side % num != 0))
            return err_set(err, SL_EINVAL,
                           "%lld cannot be cut into num %lld equal pieces for %zu outputs",
                           (long long)side, (long long)num, count);
        for (size_t i = 0; i < count; i++)
            out[i] = side < 0 ? -1 : side / num;
        return 0;
    }
    if (sections->count != count)
        return err_set(err, SL_EINVAL, "%zu sections for %zu outputs", sections->count, count);
    for (size_t i = 0; i < count; i++) {
        out[i] = sections->ints[i];
        if (out[i] == -1 && rest == count)
            rest = i;
        else if (out[i] < 0 || out[i] > (int64_t)LIMIT_TENSOR_BYTES)
            return err_set(err, SL_EINVAL, "section %zu is %lld", i, (long long)out[i]);
        else
            sum += out[i];
    }
    if (side >= 0 && (rest < count ? sum > side : sum != side))
        return err_set(err, SL_EMISMATCH, "the sections make %lld, X has %lld", (long long)sum,
                       (long long)side);
    if (rest < count && side >= 0)
        out[rest] = side - sum;
    return 0;
}

// Outputs of a split are few; more than this many are refused rather than put on the heap.
#define SPLIT_PIECES_MAX 4096

static int split_infer_along(struct op_shape *shape, int axis, int64_t num)
{
    const struct op_var_dims *x = op_shape_in(shape, SPLIT_X, 0);
    size_t count = shape->out[0].count;
    int64_t sides[SPLIT_PIECES_MAX];
    if (count > SPLIT_PIECES_MAX)
        return err_set(shape->err, SL_ELIMIT, "more than %d outputs", SPLIT_PIECES_MAX);
    int rc =
        piece_sides(shape->attr[SPLIT_SECTIONS], num, x->dims.d[axis], count, sides, shape->err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct dims piece = x->dims;
        piece.d[axis] = sides[i];
        op_shape_set(shape, 0, i, &piece, x->dtype, axis != 0 ? x : NULL);
    }
    return rc;
}

static int split_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, SPLIT_X, 0);
    int axis = op_axis(shape->attr[SPLIT_AXIS]->i, x->dims.rank);
    if (op_shape_in(shape, SPLIT_AXIS_TENSOR, 0) != NULL ||
        shape->in[SPLIT_SECTIONS_LIST].count > 0) {
        struct dims unknown = x->dims;
        for (int d = 0; d < unknown.rank; d++)
            unknown.d[d] = -1;
        for (size_t i = 0; i < shape->out[0].count; i++)
            op_shape_set(shape, 0, i, &unknown, x->dtype, NULL);
        return 0;
    }
    if (axis < 0)
        return err_set(shape->err, SL_EINVAL, "axis %lld is not within X's rank %d",
                       (long long)shape->attr[SPLIT_AXIS]->i, x->dims.rank);
    return split_infer_along(shape, axis, shape->attr[SPLIT_NUM]->i);
}

static int split_byref_infer(struct op_shape *shape)
{
    if (op_shape_in(shape, SPLIT_X, 0)->dims.rank < 1)
        return err_set(shape->err, SL_EINVAL, "X has no rows");
    return split_infer_along(shape, 0, shape->attr[SPLIT_NUM]->i);
}

static int split_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, SPLIT_X);
    size_t count = ctx->out[0].count, listed = ctx->in[SPLIT_SECTIONS_LIST].count;
    int64_t sides[SPLIT_PIECES_MAX], given[SPLIT_PIECES_MAX];
    int axis, rc = kernel_axis(ctx, SPLIT_AXIS, SPLIT_AXIS_TENSOR, x->dims.rank, &axis);
    if (rc == 0 && (count > SPLIT_PIECES_MAX || listed > SPLIT_PIECES_MAX))
        rc = err_set(ctx->err, SL_ELIMIT, "more than %d outputs", SPLIT_PIECES_MAX);
    for (size_t i = 0; rc == 0 && i < listed; i++) {
        const struct tensor *t = op_in_at(ctx, SPLIT_SECTIONS_LIST, i);
        rc = t != NULL
                 ? first_number(ctx, t, "SectionsTensorList", &given[i])
                 : err_set(ctx->err, SL_EINVAL, "argument %zu of SectionsTensorList is missing", i);
    }
    struct attr from_list = {.type = ATTR_LONGS, .count = listed, .ints = given};
    const struct attr *sections = listed > 0 ? &from_list : ctx->attr[SPLIT_SECTIONS];
    if (rc == 0)
        rc =
            piece_sides(sections, ctx->attr[SPLIT_NUM]->i, x->dims.d[axis], count, sides, ctx->err);
    size_t at = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct tensor *piece = op_out_at(ctx, 0, i);
        struct dims dims = x->dims;
        dims.d[axis] = sides[i];
        if (piece != NULL && (rc = op_resize(piece, x->dtype, &dims, ctx->err)) == 0)
            copy_piece(x, at, piece, axis, false);
        at += (size_t)(sides[i] * dims_product(&dims, axis + 1, dims.rank)) * dtype_bytes(x->dtype);
    }
    return rc;
}

static int split_byref_forward(struct op_ctx *ctx)
{
    const struct tensor *x = op_in(ctx, SPLIT_X);
    size_t count = ctx->out[0].count;
    int64_t sides[SPLIT_PIECES_MAX], row = 0;
    if (count > SPLIT_PIECES_MAX)
        return err_set(ctx->err, SL_ELIMIT, "more than %d outputs", SPLIT_PIECES_MAX);
    int rc = piece_sides(ctx->attr[SPLIT_SECTIONS], ctx->attr[SPLIT_NUM]->i, x->dims.d[0], count,
                         sides, ctx->err);
    for (size_t i = 0; rc == 0 && i < count; row += sides[i++]) {
        struct tensor *piece = op_out_at(ctx, 0, i);
        if (piece != NULL && (rc = tensor_share_rows(piece, x, row, sides[i])) < 0)
            err_set(ctx->err, rc, "rows %lld to %lld of X: %s", (long long)row,
                    (long long)(row + sides[i]), err_name(rc));
    }
    return rc < 0 ? rc : 0;
}

// concat of the outputs' gradients with all attributes of the split.
static int split_make_grad(const struct op_desc *forward, struct op_desc **out, int out_max)
{
    const struct op_slot *pieces = op_desc_output(forward, "Out");
    const char *x = op_desc_input1(forward, "X"), *axis = op_desc_input1(forward, "AxisTensor");
    if (pieces == NULL || x == NULL || out_max < 1)
        return 0;
    struct op_desc *op = op_desc_new("concat");
    struct str_list names = {0};
    for (size_t i = 0; i < pieces->args.count; i++)
        str_list_addf(&names, "%s" GRAD_SUFFIX, pieces->args.items[i]);
    str_list_addf(&names, "%s" GRAD_SUFFIX, x);
    op_desc_add_input(op, "AxisTensor", axis);
    for (size_t i = 0; i < pieces->args.count; i++)
        op_desc_add_input(op, "X", names.items[i]);
    op_desc_add_output(op, "Out", names.items[pieces->args.count]);
    for (size_t i = 0; i < forward->attrs_count; i++)
        op_desc_set_attr(op, &forward->attrs[i]);
    str_list_deinit(&names);
    out[0] = op;
    return 1;
}

const struct op_def op_concat = {
    .type = "concat",
    .inputs = concat_inputs,
    .outputs = concat_outputs,
    .attrs = concat_attrs,
    .grad = {.type = "concat_grad", .inputs = "X AxisTensor Out@GRAD", .outputs = "X@GRAD"},
    .infer_shape = concat_infer,
    .kernel = concat_forward,
    .temps = 1,
    .kernel_resizes = true,
};

const struct op_def op_concat_grad = {
    .type = "concat_grad",
    .inputs = concat_grad_inputs,
    .outputs = concat_grad_outputs,
    .attrs = concat_attrs,
    .kernel = concat_backward,
};

const struct op_def op_concat_split = {
    .type = "split",
    .inputs = split_inputs,
    .outputs = split_outputs,
    .attrs = split_attrs,
    .grad = {.make = split_make_grad},
    .infer_shape = split_infer,
    .kernel = split_forward,
    .kernel_resizes = true,
};

const struct op_def op_concat_split_byref = {
    .type = "split_byref",
    .inputs = split_byref_inputs,
    .outputs = split_outputs,
    .attrs = split_byref_attrs,
    .infer_shape = split_byref_infer,
    .kernel = split_byref_forward,
    .kernel_resizes = true,
};
