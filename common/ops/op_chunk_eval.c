// SPDX-License-Identifier: Apache-2.0
// chunk_eval: chunks found in tag sequences, Inference against Label. A label l is chunk type
// l / tags and tag l % tags of its scheme; type num_chunk_types is "no chunk".
//
//   plain  one tag: a chunk is a run of one type
//   IOB    B = 0, I = 1            IOE  I = 0, E = 1            IOBES  B, I, E, S = 0, 1, 2, 3
//
//   Precision = correct / inferred, Recall = correct / labelled, F1 = 2 P R / (P + R); 0 without
//   any A chunk is correct when both sequences have one with the same ends and type. Types in
//   excluded_chunk_types count nowhere.
//
// int64 (or int32): [rows, 1] with one LoD level, or [N, longest] with SeqLength [N].
// Both sequences are walked at once, chunk by chunk, so no list of chunks is kept.

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/ops/row_index.h"
#include "common/ops/sequence.h"

extern const struct op_def op_chunk_eval;

enum { CHUNK_TYPES, CHUNK_SCHEME, CHUNK_EXCLUDED };
static const struct op_attr_def chunk_attrs[] = {
    {.name = "num_chunk_types", .type = ATTR_INT, .required = true},
    OP_ATTR_STRING("chunk_scheme", "IOB"),
    OP_ATTR_LIST("excluded_chunk_types", ATTR_INTS),
    {.name = NULL},
};
enum { CHUNK_INFERENCE, CHUNK_LABEL, CHUNK_LENGTH };
enum { CHUNK_PRECISION, CHUNK_RECALL, CHUNK_F1, CHUNK_INFERRED, CHUNK_LABELLED, CHUNK_CORRECT };
static const struct op_slot_def chunk_inputs[] = {
    {"Inference", 0}, {"Label", 0}, {"SeqLength", OP_SLOT_OPTIONAL}, {NULL, 0}};
static const struct op_slot_def chunk_outputs[] = {
    {"Precision", 0},      {"Recall", 0},           {"F1-Score", 0}, {"NumInferChunks", 0},
    {"NumLabelChunks", 0}, {"NumCorrectChunks", 0}, {NULL, 0}};

struct scheme {
    const char *name;
    int64_t tags;
    int64_t begin, inside, end, single;   // -1: the scheme has no such tag
};
static const struct scheme schemes[] = {
    {"IOB", 2, 0, 1, -1, -1},
    {"IOE", 2, -1, 0, 1, -1},
    {"IOBES", 4, 0, 1, 2, 3},
    {"plain", 1, -1, -1, -1, -1},
};

static const struct scheme *find_scheme(const struct attr *attr)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (str_eq(attr->s, schemes[i].name))
            return &schemes[i];
    return NULL;
}

static int chunk_infer(struct op_shape *shape)
{
    const struct op_var_dims *inference = op_shape_in(shape, CHUNK_INFERENCE, 0),
                             *label = op_shape_in(shape, CHUNK_LABEL, 0);
    int64_t types = shape->attr[CHUNK_TYPES]->i;
    if (find_scheme(shape->attr[CHUNK_SCHEME]) == NULL || types < 1)
        return err_set(shape->err, SL_EINVAL,
                       "chunk_scheme is %s with %lld types; IOB, IOE, IOBES and plain are known, "
                       "with 1 type or more",
                       shape->attr[CHUNK_SCHEME]->s, (long long)types);
    bool fits = inference->dims.rank == label->dims.rank && inference->dims.rank >= 1;
    for (int i = 0; fits && i < label->dims.rank; i++)
        fits = op_dims_fit(inference->dims.d[i], label->dims.d[i]);
    if (!fits)
        return err_set(shape->err, SL_EMISMATCH, "Inference and Label must have one shape");
    const struct dims one = {.rank = 1, .d = {1}};
    for (int s = 0; s <= CHUNK_CORRECT; s++)
        sequence_set_shape(shape, s, &one,
                           shape->building      ? -1
                           : s < CHUNK_INFERRED ? (int)DTYPE_FP32
                                                : (int)DTYPE_INT64,
                           0);
    return 0;
}

// The chunks of one sequence of one tensor, one after the other.
struct walk {
    const struct op_ctx *ctx;
    const struct scheme *scheme;
    const struct tensor *t;
    int64_t none;        // the type that is no chunk
    uint64_t at, end;    // rows that were not looked at yet
    int64_t tag, type;   // of the row before them
    bool open;           // a chunk began at `start` and goes on
    uint64_t start;
    bool has;   // the last chunk found:
    uint64_t chunk_first, chunk_last;
    int64_t chunk_type;
};

static void walk_start(struct walk *w, uint64_t from, uint64_t to)
{
    w->at = from;
    w->end = to;
    w->tag = -1;
    w->type = w->none;
    w->open = w->has = false;
}

// Does the chunk of the row before end there, when this tag and type come next?
static bool ends(const struct walk *w, int64_t tag, int64_t type)
{
    const struct scheme *s = w->scheme;
    if (w->type == w->none)
        return false;
    if (type != w->type)
        return true;
    if (w->tag == s->begin || w->tag == s->inside)
        return tag == s->begin || tag == s->single;
    return w->tag == s->end || w->tag == s->single;
}

// Does a chunk begin with this tag and type?
static bool begins(const struct walk *w, int64_t tag, int64_t type)
{
    const struct scheme *s = w->scheme;
    if (type == w->none)
        return false;
    if (w->type == w->none || type != w->type || tag == s->begin)
        return true;
    if (tag == s->inside || tag == s->end)
        return w->tag == s->end || w->tag == s->single;
    return tag == s->single;
}

static void found(struct walk *w, uint64_t last)
{
    w->chunk_first = w->start;
    w->chunk_last = last;
    w->chunk_type = w->type;
    w->has = true;
    w->open = false;
}

// The next chunk, or has = false at the end. SL_EINVAL for a number that is no label.
static int walk_next(struct walk *w)
{
    w->has = false;
    for (; w->at < w->end && !w->has; w->at++) {
        int64_t label = row_index_at(w->t, w->at);
        int64_t tag = label % w->scheme->tags, type = label / w->scheme->tags;
        if (label < 0 || label > w->none * w->scheme->tags)
            return err_set(w->ctx->err, SL_EINVAL, "label %llu is %lld, not within 0..%lld",
                           (unsigned long long)w->at, (long long)label,
                           (long long)(w->none * w->scheme->tags));
        bool new_one = begins(w, tag, type);
        if (w->open && ends(w, tag, type))
            found(w, w->at - 1);
        if (new_one) {
            w->start = w->at;
            w->open = true;
        }
        w->tag = tag;
        w->type = type;
    }
    if (!w->has && w->open)
        found(w, w->end - 1);
    return 0;
}

static bool counts(const struct walk *w, const struct attr *excluded)
{
    for (size_t i = 0; i < excluded->count; i++)
        if (excluded->ints[i] == w->chunk_type)
            return false;
    return true;
}

struct totals {
    int64_t inferred, labelled, correct;
};

// Both walks are at the start of one sequence.
static int compare(struct walk *inference, struct walk *label, const struct attr *excluded,
                   struct totals *sum)
{
    int rc = walk_next(inference);
    if (rc == 0)
        rc = walk_next(label);
    while (rc == 0 && (inference->has || label->has)) {
        bool both = inference->has && label->has;
        bool step_inference =
                 inference->has && (!both || inference->chunk_last <= label->chunk_last),
             step_label = label->has && (!both || label->chunk_last <= inference->chunk_last);
        if (both && inference->chunk_first == label->chunk_first &&
            inference->chunk_last == label->chunk_last &&
            inference->chunk_type == label->chunk_type)
            sum->correct += counts(label, excluded);
        if (step_inference) {
            sum->inferred += counts(inference, excluded);
            rc = walk_next(inference);
        }
        if (step_label && rc == 0) {
            sum->labelled += counts(label, excluded);
            rc = walk_next(label);
        }
    }
    return rc;
}

static int check_inputs(const struct op_ctx *ctx, const struct tensor *inference,
                        const struct tensor *label, const struct tensor *length)
{
    const struct tensor *all[] = {inference, label, length};
    for (size_t i = 0; i < 3; i++)
        if (all[i] != NULL && all[i]->dtype != DTYPE_INT64 && all[i]->dtype != DTYPE_INT32)
            return op_bad_dtype(ctx, (int)all[i]->dtype);
    if (length == NULL)
        return 0;
    if (label->dims.rank < 2 || tensor_count(length) != (uint64_t)label->dims.d[0])
        return err_set(ctx->err, SL_EMISMATCH,
                       "with SeqLength, one number a row of Label [N, longest] is needed");
    for (uint64_t k = 0; k < tensor_count(length); k++)
        if (row_index_at(length, k) < 0 || row_index_at(length, k) > label->dims.d[1])
            return err_set(ctx->err, SL_EINVAL, "SeqLength %llu is %lld; there are %lld columns",
                           (unsigned long long)k, (long long)row_index_at(length, k),
                           (long long)label->dims.d[1]);
    return 0;
}

// All sequences, by LoD or by SeqLength.
static int evaluate(const struct op_ctx *ctx, struct totals *sum)
{
    const struct tensor *inference = op_in(ctx, CHUNK_INFERENCE), *label = op_in(ctx, CHUNK_LABEL),
                        *length = op_in(ctx, CHUNK_LENGTH);
    const struct scheme *scheme = find_scheme(ctx->attr[CHUNK_SCHEME]);
    struct walk a = {.ctx = ctx, .scheme = scheme, .t = inference},
                b = {.ctx = ctx, .scheme = scheme, .t = label};
    struct sequences s = {.count = 0}, other = {.count = 0};
    a.none = b.none = ctx->attr[CHUNK_TYPES]->i;
    int rc = check_inputs(ctx, inference, label, length);
    if (rc == 0 && length == NULL)
        rc = sequence_read_only(ctx, "Label", label, &s);
    if (rc == 0 && length == NULL)
        rc = sequence_read_only(ctx, "Inference", inference, &other);
    bool same = s.count == other.count && tensor_count(label) == tensor_count(inference);
    for (size_t k = 0; same && k <= s.count && s.offsets != NULL; k++)
        same = s.offsets[k] == other.offsets[k];
    if (rc == 0 && (!same || (length == NULL && tensor_count(label) != (uint64_t)label->dims.d[0])))
        rc = err_set(ctx->err, SL_EMISMATCH,
                     "Inference and Label must be [rows, 1] and have one LoD");
    size_t count = length ? (size_t)tensor_count(length) : s.count;
    for (size_t k = 0; rc == 0 && k < count; k++) {
        uint64_t from = length ? k * (uint64_t)label->dims.d[1] : s.offsets[k],
                 to = length ? from + (uint64_t)row_index_at(length, k) : s.offsets[k + 1];
        walk_start(&a, from, to);
        walk_start(&b, from, to);
        rc = compare(&a, &b, ctx->attr[CHUNK_EXCLUDED], sum);
    }
    return rc;
}

static int chunk_kernel(struct op_ctx *ctx)
{
    struct totals sum = {0};
    int rc = evaluate(ctx, &sum);
    if (rc < 0)
        return rc;
    float precision = sum.inferred > 0 ? (float)sum.correct / (float)sum.inferred : 0,
          recall = sum.labelled > 0 ? (float)sum.correct / (float)sum.labelled : 0;
    tensor_f32(op_out(ctx, CHUNK_PRECISION))[0] = precision;
    tensor_f32(op_out(ctx, CHUNK_RECALL))[0] = recall;
    tensor_f32(op_out(ctx, CHUNK_F1))[0] =
        sum.correct > 0 ? 2 * precision * recall / (precision + recall) : 0;
    tensor_i64(op_out(ctx, CHUNK_INFERRED))[0] = sum.inferred;
    tensor_i64(op_out(ctx, CHUNK_LABELLED))[0] = sum.labelled;
    tensor_i64(op_out(ctx, CHUNK_CORRECT))[0] = sum.correct;
    return 0;
}

const struct op_def op_chunk_eval = {
    .type = "chunk_eval",
    .inputs = chunk_inputs,
    .outputs = chunk_outputs,
    .attrs = chunk_attrs,
    .infer_shape = chunk_infer,
    .kernel = chunk_kernel,
};
