// SPDX-License-Identifier: Apache-2.0
// Each occurrence of a row becomes one number, row * 2^p + position with 2^p positions or more.
// They are sorted by their row bits alone, by counting digits from the lowest up; that keeps
// positions in order, so the values of a row are met in order of occurrence.
//
// The first value is added to 0 as Fluid does, so a sum is never -0.

#include "common/ops/rows_merge.h"

#include <string.h>

#include "common/base/err.h"
#include "common/ops/op_clones.h"

#define DIGIT_BITS 11
#define FEW 48     // so many numbers are sorted by insertion
#define AHEAD 12   // values are prefetched so many occurrences ahead

// The parts of the work tensor for `total` rows.
struct parts {
    uint64_t *keys, *spare;
    uint32_t *starts, *order;
};

static int check_rows(const struct rows_merge_in *in, size_t inputs, int64_t height, size_t total,
                      bool *out_sorted, struct err *err);
static uint64_t work_words(uint64_t total);
static int reserve(struct tensor *work, uint64_t words, struct err *err);
static int cut_work(struct tensor *work, size_t total, struct parts *out, struct err *err);
static uint64_t *sort(uint64_t *keys, uint64_t *spare, size_t count, int shift, int bits);
static void group(struct rows_merge *m, const struct parts *parts, const uint64_t *sorted,
                  uint64_t *rows, int shift);
static int bits_of(uint64_t largest);
static int check_like(const struct selected_rows *like, const struct selected_rows *in, size_t i,
                      struct err *err);

static int find(struct tensor *work, const struct rows_merge_in *in, size_t inputs, int64_t height,
                bool order, struct rows_merge *out, struct err *err)
{
    size_t total = 0;
    bool sorted = false;
    struct parts parts;
    for (size_t i = 0; i < inputs; i++) {
        if (in[i].count > ROWS_MERGE_TOTAL_MAX - total)
            return err_set(err, SL_ELIMIT, "selected rows: more than %u rows at once",
                           ROWS_MERGE_TOTAL_MAX);
        total += in[i].count;
    }
    *out = (struct rows_merge){.total = total};
    int rc = check_rows(in, inputs, height, total, &sorted, err);
    if (rc < 0)
        return rc;
    out->sorted = sorted && !order;
    if (out->sorted) {
        out->count = total;
        for (size_t i = 0; i < inputs; i++)
            if (in[i].count > 0)
                out->rows = in[i].rows;
        return 0;
    }
    int shift = bits_of(total > 0 ? total - 1 : 0);
    int bits = bits_of(height > 0 ? (uint64_t)height - 1 : 0);
    if (shift + bits > 64)
        return err_set(err, SL_ELIMIT, "selected rows: %zu of %lld rows cannot be merged", total,
                       (long long)height);
    if ((rc = cut_work(work, total, &parts, err)) < 0)
        return rc;
    size_t at = 0;
    for (size_t i = 0; i < inputs; i++)
        for (size_t k = 0; k < in[i].count; k++, at++)
            parts.keys[at] = (uint64_t)in[i].rows[k] << shift | at;
    uint64_t *ordered = sorted ? parts.keys : sort(parts.keys, parts.spare, total, shift, bits);
    group(out, &parts, ordered, ordered == parts.keys ? parts.spare : parts.keys, shift);
    return 0;
}

int rows_merge_find(struct tensor *work, const struct rows_merge_in *in, size_t inputs,
                    int64_t height, struct rows_merge *out, struct err *err)
{
    return find(work, in, inputs, height, false, out, err);
}

int rows_merge_find_order(struct tensor *work, const struct rows_merge_in *in, size_t inputs,
                          int64_t height, struct rows_merge *out, struct err *err)
{
    return find(work, in, inputs, height, true, out, err);
}

// Adds `count` values of one row, whose places `order` gives. From several inputs they are found by
// walking on, as positions ascend.
#define DEFINE_SUM(T, S)                                                                           \
    OP_CLONES static void copy_##S(T *out, const T *values, uint64_t n)                            \
    {                                                                                              \
        for (uint64_t i = 0; i < n; i++)                                                           \
            out[i] = values[i] + 0;                                                                \
    }                                                                                              \
    OP_CLONES static void sum_one_##S(const struct rows_merge *m, const T *values, size_t width,   \
                                      T *out)                                                      \
    {                                                                                              \
        for (size_t k = 0; k < m->count; k++, out += width) {                                      \
            const T *first = values + m->order[m->starts[k]] * width;                              \
            for (size_t e = 0; e < width; e++)                                                     \
                out[e] = first[e] + 0;                                                             \
            for (uint32_t i = m->starts[k] + 1; i < m->starts[k + 1]; i++) {                       \
                const T *each = values + m->order[i] * width;                                      \
                for (size_t e = 0; e < width; e++)                                                 \
                    out[e] += each[e];                                                             \
            }                                                                                      \
            if (m->starts[k] + AHEAD < m->total)                                                   \
                __builtin_prefetch(values + m->order[m->starts[k] + AHEAD] * width);               \
        }                                                                                          \
    }                                                                                              \
    OP_CLONES static void sum_many_##S(const struct rows_merge *m, const struct rows_merge_in *in, \
                                       size_t width, T *out)                                       \
    {                                                                                              \
        for (size_t k = 0; k < m->count; k++, out += width) {                                      \
            size_t input = 0, before = 0;                                                          \
            for (uint32_t i = m->starts[k]; i < m->starts[k + 1]; i++) {                           \
                for (; m->order[i] - before >= in[input].count; input++)                           \
                    before += in[input].count;                                                     \
                const T *each = (const T *)in[input].values + (m->order[i] - before) * width;      \
                for (size_t e = 0; e < width; e++)                                                 \
                    out[e] = (i == m->starts[k] ? 0 : out[e]) + each[e];                           \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    void rows_merge_sum_##S(const struct rows_merge *m, const struct rows_merge_in *in,            \
                            size_t inputs, int64_t width, T *out)                                  \
    {                                                                                              \
        size_t filled = 0, last = 0;                                                               \
        for (size_t i = 0; i < inputs; i++) {                                                      \
            filled += in[i].count > 0;                                                             \
            last = in[i].count > 0 ? i : last;                                                     \
        }                                                                                          \
        if (m->count == 0 || width <= 0)                                                           \
            return;                                                                                \
        if (m->sorted)                                                                             \
            copy_##S(out, in[last].values, m->count *(uint64_t)width);                             \
        else if (filled == 1)                                                                      \
            sum_one_##S(m, in[last].values, (size_t)width, out);                                   \
        else                                                                                       \
            sum_many_##S(m, in, (size_t)width, out);                                               \
    }

DEFINE_SUM(float, f32)
DEFINE_SUM(double, f64)

int rows_merge_check(const struct selected_rows *grad, const struct tensor *param, struct err *err)
{
    const struct tensor *value = &grad->value;
    char text[DIMS_TEXT_MAX], other[DIMS_TEXT_MAX];
    if (param->dims.rank < 1 || grad->height != param->dims.d[0])
        return err_set(err, SL_EMISMATCH, "selected rows of height %lld for a tensor %s",
                       (long long)grad->height, dims_format(&param->dims, text));
    if (grad->rows_count == 0)
        return 0;
    bool fits = value->dtype == param->dtype && value->dims.rank == param->dims.rank &&
                value->dims.d[0] == (int64_t)grad->rows_count &&
                (value->data != NULL || tensor_count(value) == 0);
    for (int d = 1; fits && d < param->dims.rank; d++)
        fits = value->dims.d[d] == param->dims.d[d];
    return fits ? 0
                : err_set(err, SL_EMISMATCH, "%zu selected rows %s %s for a tensor %s %s",
                          grad->rows_count, dtype_name((int)value->dtype),
                          dims_format(&value->dims, text), dtype_name((int)param->dtype),
                          dims_format(&param->dims, other));
}

// The common part of merging variables: checks them and finds their rows. *out_list is in work.
static int open_merge(struct tensor *work, const struct selected_rows *const *in, size_t inputs,
                      const struct selected_rows **out_like, struct rows_merge_in **out_list,
                      struct rows_merge *m, struct err *err)
{
    const struct selected_rows *like = in[0];
    uint64_t total = 0;
    for (size_t i = inputs; i > 0; i--) {
        like = in[i - 1]->rows_count > 0 ? in[i - 1] : like;
        total += in[i - 1]->rows_count;
    }
    for (size_t i = 0; i < inputs; i++) {
        int rc = check_like(like, in[i], i, err);
        if (rc < 0)
            return rc;
    }
    if (like->value.dtype != DTYPE_FP32 && like->value.dtype != DTYPE_FP64)
        return err_set(err, SL_EUNSUPPORTED, "selected rows of %s cannot be merged",
                       dtype_name((int)like->value.dtype));
    // The list of inputs lies behind what rows_merge_find needs.
    int rc = reserve(work, work_words(total) + inputs * sizeof(struct rows_merge_in) / 8, err);
    if (rc < 0)
        return rc;
    struct rows_merge_in *list = (struct rows_merge_in *)(tensor_i64(work) + work_words(total));
    for (size_t i = 0; i < inputs; i++)
        list[i] = (struct rows_merge_in){in[i]->rows, in[i]->rows_count, in[i]->value.data};
    *out_like = like;
    *out_list = list;
    return rows_merge_find(work, list, inputs, like->height, m, err);
}

static void sum_into(const struct rows_merge *m, const struct rows_merge_in *list, size_t inputs,
                     struct tensor *value)
{
    int64_t width = m->count > 0 ? dims_product(&value->dims, 1, value->dims.rank) : 0;
    if (value->dtype == DTYPE_FP32)
        rows_merge_sum_f32(m, list, inputs, width, tensor_f32(value));
    else
        rows_merge_sum_f64(m, list, inputs, width, tensor_f64(value));
}

int rows_merge_into(struct selected_rows *dst, struct tensor *work,
                    const struct selected_rows *const *in, size_t inputs, struct err *err)
{
    const struct selected_rows *like;
    struct rows_merge_in *list;
    struct rows_merge m;
    int rc = open_merge(work, in, inputs, &like, &list, &m, err);
    if (rc < 0)
        return rc;
    const struct tensor *value = &like->value;
    rc = selected_rows_shape(dst, like->height, m.count, value->dtype, &value->dims);
    if (rc < 0)
        return err_set(err, rc, "merged selected rows: %s", err_name(rc));
    if (m.count > 0)
        memcpy(dst->rows, m.rows, m.count * sizeof *m.rows);
    sum_into(&m, list, inputs, &dst->value);
    return 0;
}

int rows_merge_in_place(struct selected_rows *dst, struct tensor *work,
                        const struct selected_rows *const *in, size_t inputs, struct err *err)
{
    const struct selected_rows *like;
    struct rows_merge_in *list;
    struct rows_merge m;
    int rc = open_merge(&work[0], in, inputs, &like, &list, &m, err);
    if (rc < 0)
        return rc;
    int64_t height = like->height;
    struct dims dims = like->value.dims;
    dims.d[0] = (int64_t)m.count;
    rc = tensor_resize(&work[1], like->value.dtype, &dims);
    if (rc == 0) {
        sum_into(&m, list, inputs, &work[1]);
        rc = selected_rows_shape(dst, height, m.count, work[1].dtype, &dims);
    }
    if (rc < 0)
        return err_set(err, rc, "merged selected rows: %s", err_name(rc));
    if (m.count > 0)
        memmove(dst->rows, m.rows, m.count * sizeof *m.rows);
    if (tensor_bytes(&work[1]) > 0)
        memcpy(dst->value.data, work[1].data, tensor_bytes(&work[1]));
    return 0;
}

// Every row is there; one input alone that ascends is sorted.
static int check_rows(const struct rows_merge_in *in, size_t inputs, int64_t height, size_t total,
                      bool *out_sorted, struct err *err)
{
    *out_sorted = true;
    for (size_t i = 0; i < inputs; i++) {
        int64_t last = -1;
        bool ascends = true;
        for (size_t k = 0; k < in[i].count; k++) {
            int64_t row = in[i].rows[k];
            if (row < 0 || row >= height)
                return err_set(err, SL_EINVAL, "selected rows: row %zu is %lld, not in [0,%lld)", k,
                               (long long)row, (long long)height);
            ascends &= row > last;
            last = row;
        }
        *out_sorted &= ascends && (in[i].count == 0 || in[i].count == total);
    }
    return 0;
}

static uint64_t work_words(uint64_t total)
{
    return 2 * total + (total + 2) / 2 + (total + 1) / 2;
}

static int reserve(struct tensor *work, uint64_t words, struct err *err)
{
    struct dims dims = {.rank = 1, .d = {(int64_t)words}};
    if (words * sizeof(int64_t) > work->capacity_bytes) {
        struct dims room = {.rank = 1, .d = {(int64_t)words * 2}};
        (void)tensor_resize(work, DTYPE_INT64, &room);   // with room to spare, if there is
    }
    int rc = tensor_resize(work, DTYPE_INT64, &dims);
    return rc < 0 ? err_set(err, rc, "merging selected rows: %s", err_name(rc)) : 0;
}

static int cut_work(struct tensor *work, size_t total, struct parts *out, struct err *err)
{
    int rc = reserve(work, work_words(total), err);
    if (rc < 0)
        return rc;
    out->keys = work->data;
    out->spare = out->keys + total;
    out->starts = (uint32_t *)(out->spare + total);
    out->order = (uint32_t *)(out->spare + total + (total + 2) / 2);
    return 0;
}

static void sort_few(uint64_t *keys, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        size_t k = i;
        for (; k > 0 && keys[k - 1] > key; k--)
            keys[k] = keys[k - 1];
        keys[k] = key;
    }
}

// Sorts by the bits from `shift` on, `bits` of them; returns which of the two arrays holds them.
static uint64_t *sort(uint64_t *keys, uint64_t *spare, size_t count, int shift, int bits)
{
    if (count <= FEW) {
        sort_few(keys, count);
        return keys;
    }
    int passes = (bits + DIGIT_BITS - 1) / DIGIT_BITS;
    int digit = passes > 0 ? (bits + passes - 1) / passes : 0;
    uint64_t mask = ((uint64_t)1 << digit) - 1;
    for (int pass = 0; pass < passes; pass++, shift += digit) {
        uint32_t places[1 << DIGIT_BITS] = {0}, before = 0;
        for (size_t i = 0; i < count; i++)
            places[keys[i] >> shift & mask]++;
        for (uint64_t d = 0; d <= mask; d++) {
            uint32_t here = places[d];
            places[d] = before;
            before += here;
        }
        for (size_t i = 0; i < count; i++)
            spare[places[keys[i] >> shift & mask]++] = keys[i];
        uint64_t *swap = keys;
        keys = spare;
        spare = swap;
    }
    return keys;
}

// From sorted numbers to rows, starts and order.
static void group(struct rows_merge *m, const struct parts *parts, const uint64_t *sorted,
                  uint64_t *rows, int shift)
{
    uint64_t mask = ((uint64_t)1 << shift) - 1;
    size_t count = 0;
    for (size_t i = 0; i < m->total; i++) {
        uint64_t row = sorted[i] >> shift;
        parts->order[i] = (uint32_t)(sorted[i] & mask);
        if (i > 0 && row == rows[count - 1])
            continue;
        rows[count] = row;
        parts->starts[count++] = (uint32_t)i;
    }
    parts->starts[count] = (uint32_t)m->total;
    m->rows = (const int64_t *)rows;
    m->count = count;
    m->starts = parts->starts;
    m->order = parts->order;
}

// How many bits the numbers 0..largest need.
static int bits_of(uint64_t largest)
{
    return largest > 0 ? 64 - __builtin_clzll(largest) : 0;
}

// Does an input fit the others (of which `like` has rows, if one has)? Without rows its value may
// have any shape.
static int check_like(const struct selected_rows *like, const struct selected_rows *in, size_t i,
                      struct err *err)
{
    const struct tensor *x = &like->value, *y = &in->value;
    char text[DIMS_TEXT_MAX], other[DIMS_TEXT_MAX];
    if (in->rows_count > 0 && (y->dims.rank < 1 || y->dims.d[0] != (int64_t)in->rows_count ||
                               (y->data == NULL && tensor_count(y) > 0)))
        return err_set(err, SL_EMISMATCH, "selected rows %zu: %zu rows with a value %s", i,
                       in->rows_count, dims_format(&y->dims, text));
    if (in->height != like->height)
        return err_set(err, SL_EMISMATCH, "selected rows %zu have height %lld, others %lld", i,
                       (long long)in->height, (long long)like->height);
    if (in->rows_count == 0)
        return 0;
    bool fits = x->dtype == y->dtype && x->dims.rank == y->dims.rank;
    for (int d = 1; fits && d < x->dims.rank; d++)
        fits = x->dims.d[d] == y->dims.d[d];
    return fits ? 0
                : err_set(err, SL_EMISMATCH, "selected rows %zu are %s %s, others %s %s", i,
                          dtype_name((int)y->dtype), dims_format(&y->dims, text),
                          dtype_name((int)x->dtype), dims_format(&x->dims, other));
}
