// SPDX-License-Identifier: Apache-2.0
// The order of sequences is what std::sort of libstdc++ makes of them by falling length: an
// introsort (median of three, runs of up to 16 left to a final insertion sort) is not stable, and
// Fluid shows what came out. Should the recursion go too deep, a plain heap sort finishes: the
// order is right then, but that of equal lengths may be another one than Fluid's.

#include "common/ops/seq_batch.h"

#include <string.h>

#include "common/base/err.h"

#define RUN_MAX 16

struct sequence {
    int64_t start, length, id;
};

static void sort(struct sequence *s, int64_t count);
static void lay_out(const struct sequence *s, struct seq_batch *batch, int64_t *starts,
                    int64_t *row, int64_t *order);

int seq_batch_make(const struct op_ctx *ctx, const char *name, const struct tensor *input,
                   bool reverse, struct tensor *temp, struct seq_batch *out)
{
    if (input->lod_levels != 1)
        return err_set(ctx->err, SL_EINVAL, "%s has %d levels of sequences; it must have one", name,
                       input->lod_levels);
    if (!tensor_lod_is_valid(input))
        return err_set(ctx->err, SL_EINVAL, "the LoD of %s does not describe its rows", name);
    const uint64_t *offsets = input->lod[0].offsets;
    int64_t sequences = (int64_t)input->lod[0].count - 1, steps = 0, rows = input->dims.d[0];
    for (int64_t i = 0; i < sequences; i++) {
        int64_t length = (int64_t)(offsets[i + 1] - offsets[i]);
        steps = length > steps ? length : steps;
    }
    // starts, row, order, then the sequences while they are sorted.
    const struct dims dims = {.rank = 1, .d = {steps + 1 + rows + sequences + 3 * sequences}};
    int rc = op_resize(temp, DTYPE_INT64, &dims, ctx->err);
    if (rc < 0)
        return rc;
    int64_t *starts = tensor_i64(temp), *row = starts + steps + 1, *order = row + rows;
    struct sequence *s = (struct sequence *)(order + sequences);
    for (int64_t i = 0; i < sequences; i++)
        s[i] = (struct sequence){(int64_t)offsets[i], (int64_t)(offsets[i + 1] - offsets[i]), i};
    *out = (struct seq_batch){rows, sequences, steps, starts, row, order, reverse};
    sort(s, sequences);
    lay_out(s, out, starts, row, order);
    return 0;
}

int seq_batch_mark(const struct op_ctx *ctx, const struct seq_batch *batch, struct tensor *t)
{
    // tensor_set_lod copies; it does not write.
    const struct lod_level levels[3] = {
        {.offsets = (uint64_t *)(uintptr_t)batch->starts, .count = (size_t)batch->steps + 1},
        {.offsets = (uint64_t *)(uintptr_t)batch->row, .count = (size_t)batch->rows},
        {.offsets = (uint64_t *)(uintptr_t)batch->order, .count = (size_t)batch->sequences},
    };
    int rc = tensor_set_lod(t, 3, levels);
    return rc < 0 ? err_set(ctx->err, rc, "LoD: %s", err_name(rc)) : 0;
}

void seq_batch_gather(const struct seq_batch *batch, void *to, const void *from, size_t bytes)
{
    for (int64_t i = 0; bytes > 0 && i < batch->rows; i++)
        memcpy((char *)to + (size_t)i * bytes, (const char *)from + (size_t)batch->row[i] * bytes,
               bytes);
}

void seq_batch_scatter(const struct seq_batch *batch, void *to, const void *from, size_t bytes)
{
    for (int64_t i = 0; bytes > 0 && i < batch->rows; i++)
        memcpy((char *)to + (size_t)batch->row[i] * bytes, (const char *)from + (size_t)i * bytes,
               bytes);
}

void seq_batch_take(const struct seq_batch *batch, void *to, const void *from, size_t bytes)
{
    for (int64_t i = 0; bytes > 0 && i < batch->sequences; i++)
        memcpy((char *)to + (size_t)i * bytes, (const char *)from + (size_t)batch->order[i] * bytes,
               bytes);
}

void seq_batch_put(const struct seq_batch *batch, void *to, const void *from, size_t bytes)
{
    for (int64_t i = 0; bytes > 0 && i < batch->sequences; i++)
        memcpy((char *)to + (size_t)batch->order[i] * bytes, (const char *)from + (size_t)i * bytes,
               bytes);
}

void seq_batch_gather_before(const struct seq_batch *batch, void *to, const void *from,
                             size_t bytes)
{
    int64_t first = batch->steps > 0 ? batch->starts[1] : 0, before = batch->reverse ? 1 : -1;
    for (int64_t i = first; bytes > 0 && i < batch->rows; i++)
        memcpy((char *)to + (size_t)(i - first) * bytes,
               (const char *)from + (size_t)(batch->row[i] + before) * bytes, bytes);
}

static void lay_out(const struct sequence *s, struct seq_batch *batch, int64_t *starts,
                    int64_t *row, int64_t *order)
{
    int64_t at = 0;
    starts[0] = 0;
    for (int64_t n = 0; n < batch->steps; n++) {
        for (int64_t i = 0; i < batch->sequences && n < s[i].length; i++)
            row[at++] = s[i].start + (batch->reverse ? s[i].length - 1 - n : n);
        starts[n + 1] = at;
    }
    for (int64_t i = 0; i < batch->sequences; i++)
        order[i] = s[i].id;
}

static bool before(const struct sequence *a, const struct sequence *b)
{
    return a->length > b->length;
}

static void swap(struct sequence *a, struct sequence *b)
{
    struct sequence kept = *a;
    *a = *b;
    *b = kept;
}

// Puts s[i] where it belongs among those in front of it, from low on.
static void insert(struct sequence *s, int64_t low, int64_t i)
{
    struct sequence value = s[i];
    while (i > low && before(&value, &s[i - 1])) {
        s[i] = s[i - 1];
        i--;
    }
    s[i] = value;
}

static void sift_down(struct sequence *s, int64_t count, int64_t i)
{
    for (;;) {
        int64_t last = i;
        for (int64_t child = 2 * i + 1; child <= 2 * i + 2 && child < count; child++)
            if (before(&s[last], &s[child]))
                last = child;
        if (last == i)
            return;
        swap(&s[i], &s[last]);
        i = last;
    }
}

static void heap_sort(struct sequence *s, int64_t count)
{
    for (int64_t i = count / 2 - 1; i >= 0; i--)
        sift_down(s, count, i);
    for (int64_t left = count - 1; left > 0; left--) {
        swap(&s[0], &s[left]);
        sift_down(s, left, 0);
    }
}

// The median of s[1], the middle one and the last one becomes s[0], the pivot.
static void choose_pivot(struct sequence *s, int64_t count)
{
    struct sequence *a = &s[1], *b = &s[count / 2], *c = &s[count - 1], *median;
    if (before(a, b))
        median = before(b, c) ? b : before(a, c) ? c : a;
    else
        median = before(a, c) ? a : before(b, c) ? c : b;
    swap(&s[0], median);
}

// Where the part that does not come before the pivot begins.
static int64_t partition(struct sequence *s, int64_t count)
{
    choose_pivot(s, count);
    int64_t low = 1, high = count;
    for (;; low++) {
        while (before(&s[low], &s[0]))
            low++;
        high--;
        while (before(&s[0], &s[high]))
            high--;
        if (low >= high)
            return low;
        swap(&s[low], &s[high]);
    }
}

static void sort_runs(struct sequence *s, int64_t count, int depth)
{
    while (count > RUN_MAX) {
        if (depth-- == 0) {
            heap_sort(s, count);
            return;
        }
        int64_t cut = partition(s, count);
        sort_runs(s + cut, count - cut, depth);
        count = cut;
    }
}

static void sort(struct sequence *s, int64_t count)
{
    int depth = 0;
    for (int64_t left = count; left > 1; left /= 2)
        depth += 2;
    sort_runs(s, count, depth);
    for (int64_t i = 1; i < count; i++)
        insert(s, 0, i);
}
