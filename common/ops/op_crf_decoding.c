// SPDX-License-Identifier: Apache-2.0
// crf_decoding: the best sequence of tags under a linear chain (Viterbi); shapes as in op_crf.c.
//
//   score_0[i] = w_0[i] + x_0[i]
//   score_k[i] = max over j of (score_(k-1)[j] + w_(2+j)[i]) + x_k[i]    the first best j counts
//   the last tag maximises score[i] + w_1[i]
//
//   ViterbiPath [rows, 1] with Emission's LoD, or [N, S] with Length: a tag a row, padding 0. With
//   Label it tells where the path is right instead: 1 where both agree, else 0.

#include <float.h>
#include <string.h>

#include "common/base/err.h"
#include "common/ops/crf_seq.h"
#include "common/ops/op_clones.h"
#include "common/ops/rnn.h"
#include "common/ops/shape_check.h"

extern const struct op_def op_crf_decoding;

static const struct op_attr_def decoding_attrs[] = {{.name = NULL}};
enum { DECODING_EMISSION, DECODING_TRANSITION, DECODING_LABEL, DECODING_LENGTH };
static const struct op_slot_def decoding_inputs[] = {{"Emission", 0},
                                                     {"Transition", 0},
                                                     {"Label", OP_SLOT_OPTIONAL},
                                                     {"Length", OP_SLOT_OPTIONAL},
                                                     {NULL, 0}};
static const struct op_slot_def decoding_outputs[] = {{"ViterbiPath", 0}, {NULL, 0}};
enum { TEMP_SCORES, TEMP_TRACK, DECODING_TEMPS };

static int decoding_infer(struct op_shape *shape)
{
    const struct op_var_dims *x = op_shape_in(shape, DECODING_EMISSION, 0);
    int rc = crf_seq_check(shape, DECODING_EMISSION, DECODING_TRANSITION, DECODING_LENGTH);
    if (rc == 0)
        rc = crf_seq_check_tags(shape, DECODING_EMISSION, DECODING_LABEL);
    if (rc < 0)
        return rc;
    bool padded = op_shape_in(shape, DECODING_LENGTH, 0) != NULL;
    const struct dims path = {.rank = 2, .d = {x->dims.d[0], padded ? x->dims.d[1] : 1}};
    op_shape_set(shape, 0, 0, &path, DTYPE_INT64, padded ? NULL : x);
    return 0;
}

#define DEFINE_VITERBI(T, S, LOWEST)                                                               \
    /* best[i] = max over j of before[j] + w[j][i], and from which j. */                           \
    OP_CLONES static void best_step_##S(int64_t n, const T *restrict before, const T *restrict w,  \
                                        T *restrict best, int32_t *restrict from)                  \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            best[i] = LOWEST;                                                                      \
            from[i] = 0;                                                                           \
        }                                                                                          \
        for (int64_t j = 0; j < n; j++) {                                                          \
            for (int64_t i = 0; i < n; i++) {                                                      \
                T score = before[j] + w[j * n + i];                                                \
                from[i] = score > best[i] ? (int32_t)j : from[i];                                  \
                best[i] = score > best[i] ? score : best[i];                                       \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    /* scores: two rows; track: a row a step. */                                                   \
    static void decode_##S(int64_t length, int64_t n, const T *x, const T *w, T *scores,           \
                           int32_t *track, int64_t *path)                                          \
    {                                                                                              \
        T *now = scores, *next = scores + n;                                                       \
        for (int64_t i = 0; i < n; i++)                                                            \
            now[i] = w[i] + x[i];                                                                  \
        for (int64_t k = 1; k < length; k++) {                                                     \
            best_step_##S(n, now, w + 2 * n, next, track + k * n);                                 \
            for (int64_t i = 0; i < n; i++)                                                        \
                next[i] += x[k * n + i];                                                           \
            T *kept = now;                                                                         \
            now = next;                                                                            \
            next = kept;                                                                           \
        }                                                                                          \
        T best = LOWEST;                                                                           \
        int64_t tag = 0;                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                          \
            if (now[i] + w[n + i] > best) {                                                        \
                best = now[i] + w[n + i];                                                          \
                tag = i;                                                                           \
            }                                                                                      \
        }                                                                                          \
        path[length - 1] = tag;                                                                    \
        for (int64_t k = length - 1; k > 0; k--)                                                   \
            path[k - 1] = tag = track[k * n + tag];                                                \
    }

DEFINE_VITERBI(float, f32, -FLT_MAX)
DEFINE_VITERBI(double, f64, -DBL_MAX)

static void compare_with_labels(int64_t *path, const int64_t *label, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        path[i] = path[i] == label[i];
}

// How many rows the longest sequence has.
static int64_t longest(const struct crf_seq *seq)
{
    int64_t rows = 0;
    for (int64_t i = 0; i < seq->count; i++)
        rows = crf_seq_length(seq, i) > rows ? crf_seq_length(seq, i) : rows;
    return rows;
}

static int decoding_forward(struct op_ctx *ctx)
{
    static const int others[] = {DECODING_TRANSITION, -1};
    const struct tensor *x = op_in(ctx, DECODING_EMISSION), *w = op_in(ctx, DECODING_TRANSITION);
    const struct tensor *label = op_in(ctx, DECODING_LABEL);
    struct tensor *out = op_out(ctx, 0);
    const int64_t n = w->dims.d[1];
    struct crf_seq seq;
    void *scores = NULL, *track = NULL;
    int rc = shape_check_floats(ctx, others);
    if (rc == 0 && label != NULL && label->dtype != DTYPE_INT64)
        rc = err_set(ctx->err, SL_EUNSUPPORTED, "Label is %s; it must be int64",
                     dtype_name((int)label->dtype));
    if (rc == 0)
        rc = crf_seq_init(ctx, "Emission", x, x, op_in(ctx, DECODING_LENGTH), &seq);
    if (rc == 0 && n > INT32_MAX)
        rc = err_set(ctx->err, SL_ELIMIT, "there are too many tags");
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_SCORES, x->dtype, 2, n, &scores);
    if (rc == 0)
        rc = rnn_temp(ctx, TEMP_TRACK, DTYPE_INT32, longest(&seq), n, &track);
    if (rc < 0)
        return rc;
    int64_t *path = tensor_i64(out);
    if (tensor_bytes(out) > 0)
        memset(path, 0, tensor_bytes(out));
    for (int64_t i = 0; i < seq.count; i++) {
        int64_t at = crf_seq_start(&seq, i), length = crf_seq_length(&seq, i);
        const void *rows = rnn_at(x->data, at * n, x->dtype);
        if (length > 0 && x->dtype == DTYPE_FP32)
            decode_f32(length, n, rows, w->data, scores, track, path + at);
        else if (length > 0)
            decode_f64(length, n, rows, w->data, scores, track, path + at);
        if (label != NULL)
            compare_with_labels(path + at, tensor_i64(label) + at, length);
    }
    return 0;
}

const struct op_def op_crf_decoding = {
    .type = "crf_decoding",
    .inputs = decoding_inputs,
    .outputs = decoding_outputs,
    .attrs = decoding_attrs,
    .infer_shape = decoding_infer,
    .kernel = decoding_forward,
    .temps = DECODING_TEMPS,
};
