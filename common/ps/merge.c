// SPDX-License-Identifier: Apache-2.0
// Sums are in one list, ascending by key. Invariant: a sum that is settled never changes.
#include "common/ps/merge.h"

#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"

struct merge {
    int trainers;
    uint64_t *next_key;   // by trainer: the least key that it may still add to; UINT64_MAX: it left
    struct merge_sum *sums;
    struct merge_sum **untold;   // settled, in that order
    size_t untold_count, untold_cap;
};

static struct merge_sum *find(const struct merge *merge, uint32_t key);
static int insert(struct merge *merge, uint32_t key, size_t count, struct merge_sum **out,
                  struct err *err);
static int settle(struct merge *merge);
static bool is_settled(const struct merge *merge, const struct merge_sum *sum);
static void close_sum(struct merge *merge, struct merge_sum *sum);
static void trim(struct merge *merge);
static void drop(struct merge *merge, struct merge_sum *sum);
static void free_sum(struct merge_sum *sum);

struct merge *merge_new(int trainers)
{
    struct merge *merge = MEM_NEW(struct merge);
    merge->trainers = trainers;
    merge->next_key = mem_must_calloc((size_t)trainers + 1, sizeof *merge->next_key);
    return merge;
}

void merge_free(struct merge *merge)
{
    if (!merge)
        return;
    while (merge->sums)
        drop(merge, merge->sums);
    mem_free(merge->untold);
    mem_free(merge->next_key);
    mem_free(merge);
}

int merge_add(struct merge *merge, int trainer, uint32_t key, const int64_t *numbers, size_t count,
              struct merge_sum **out, struct err *err)
{
    ASSERT(trainer >= 0 && trainer < merge->trainers);
    struct merge_sum *sum = find(merge, key);
    *out = sum;
    if (key < merge->next_key[trainer] && (!sum || !sum->added[trainer]))
        return 0;   // dropped, or passed over: it can no longer count
    if (sum && sum->count != count)
        return err_set(err, SL_EMISMATCH, "sum %u: %zu numbers, others have added %zu", key, count,
                       sum->count);
    if (sum && (sum->settled || sum->added[trainer]))
        return 0;
    int rc = sum ? 0 : insert(merge, key, count, &sum, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        sum->numbers[i] = (int64_t)((uint64_t)sum->numbers[i] + (uint64_t)numbers[i]);
    sum->added[trainer] = true;
    sum->trainers++;
    if (merge->next_key[trainer] <= key)
        merge->next_key[trainer] = (uint64_t)key + 1;
    *out = sum;
    return settle(merge);
}

int merge_leave(struct merge *merge, int trainer)
{
    merge->next_key[trainer] = UINT64_MAX;
    return settle(merge);
}

struct merge_sum *merge_next(struct merge *merge)
{
    if (!merge->untold_count) {
        trim(merge);
        return NULL;
    }
    struct merge_sum *sum = merge->untold[0];
    merge->untold_count--;
    memmove(merge->untold, merge->untold + 1, merge->untold_count * sizeof *merge->untold);
    return sum;
}

struct merge_sum *merge_settled(const struct merge *merge, size_t i)
{
    struct merge_sum *sum = merge->sums;
    while (sum && (!sum->settled || i > 0)) {
        i -= sum->settled;
        sum = sum->next;
    }
    return sum;
}

void merge_hold(struct merge_sum *sum)
{
    sum->holds++;
}

void merge_release(struct merge_sum *sum)
{
    ASSERT(sum->holds > 0);
    if (--sum->holds == 0 && sum->dropped)
        free_sum(sum);
}

static struct merge_sum *find(const struct merge *merge, uint32_t key)
{
    struct merge_sum *sum = merge->sums;
    while (sum && sum->key < key)
        sum = sum->next;
    return sum && sum->key == key ? sum : NULL;
}

static int insert(struct merge *merge, uint32_t key, size_t count, struct merge_sum **out,
                  struct err *err)
{
    struct merge_sum **at = &merge->sums, *sum = mem_calloc(1, sizeof *sum);
    int64_t *numbers = mem_calloc(count + 1, sizeof *numbers);
    bool *added = mem_calloc((size_t)merge->trainers + 1, sizeof *added);
    if (!sum || !numbers || !added) {
        mem_free(sum);
        mem_free(numbers);
        mem_free(added);
        return err_set(err, SL_ENOMEM, "sum %u: no memory for %zu numbers", key, count);
    }
    while (*at && (*at)->key < key)
        at = &(*at)->next;
    *sum = (struct merge_sum){
        .key = key, .count = count, .numbers = numbers, .next = *at, .added = added};
    *at = sum;
    *out = sum;
    return 0;
}

static int settle(struct merge *merge)
{
    size_t before = merge->untold_count, open = 0;
    struct merge_sum *first_open = NULL;
    for (struct merge_sum *sum = merge->sums; sum; sum = sum->next) {
        if (sum->settled)
            continue;
        if (is_settled(merge, sum)) {
            close_sum(merge, sum);
            continue;
        }
        first_open = first_open ? first_open : sum;
        open++;
    }
    if (open > MERGE_OPEN_MAX)
        close_sum(merge, first_open);
    return merge->untold_count > before;
}

static bool is_settled(const struct merge *merge, const struct merge_sum *sum)
{
    for (int t = 0; t < merge->trainers; t++)
        if (merge->next_key[t] <= sum->key)
            return false;
    return true;
}

static void close_sum(struct merge *merge, struct merge_sum *sum)
{
    sum->settled = true;
    MEM_GROW(merge->untold, merge->untold_count, merge->untold_cap);
    merge->untold[merge->untold_count++] = sum;
}

// Only when all are told: what is dropped is not in untold.
static void trim(struct merge *merge)
{
    size_t settled = 0;
    for (struct merge_sum *sum = merge->sums; sum; sum = sum->next)
        settled += sum->settled;
    for (struct merge_sum *sum = merge->sums, *next; sum && settled > MERGE_SETTLED_MAX;
         sum = next) {
        next = sum->next;
        if (!sum->settled)
            continue;
        drop(merge, sum);
        settled--;
    }
}

static void drop(struct merge *merge, struct merge_sum *sum)
{
    struct merge_sum **at = &merge->sums;
    while (*at != sum)
        at = &(*at)->next;
    *at = sum->next;
    sum->dropped = true;
    if (!sum->holds)
        free_sum(sum);
}

static void free_sum(struct merge_sum *sum)
{
    mem_free(sum->numbers);
    mem_free(sum->added);
    mem_free(sum);
}
