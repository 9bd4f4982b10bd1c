// SPDX-License-Identifier: Apache-2.0
// See round.h. Each (trainer, gradient, cell) is missing, arriving or complete; per (gradient,
// cell) a counter says how many active trainers brought it, so that "ready from all" is O(1). A
// sparse gradient has as many cells as its trainer's rows need (one at least: no rows are an empty
// chunk, which must come); a member's `expected` counts what is known of that so far.
// Invariant: a slot's bytes are written only while its cell is arriving, and an arriving cell
// belongs to exactly one connection (round_leave takes it back before another one may have it).
#include "common/ps/round.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/ps/rows_arena.h"
#include "common/ps/shard.h"

enum cell_state { CELL_MISSING, CELL_ARRIVING, CELL_COMPLETE };

struct round_grad {
    const struct shard_slice *slice;
    uint32_t cells;   // sparse: at most
    size_t first;     // of its cells among all cells of the shard
};

struct round_rows {   // of a sparse gradient
    bool announced;   // a header has said how many
    uint32_t count;
    uint32_t complete_cells;
    uint8_t *at;   // in the arena: indices, then values
};

struct round_member {
    uint64_t incarnation;
    bool barrier, fetched, completed, decided;
    uint64_t fetched_version;
    uint64_t complete_cells, arriving_cells, expected_cells;
    uint8_t *cells;     // enum cell_state, cells_total
    uint64_t *hashes;   // of the chunk that began at that cell, 0 = none
    uint32_t *chunks;   // its bytes
    uint8_t **slots;    // a gradient each
    struct round_rows *rows;
    struct rows_arena arena;
};

struct round {
    const struct shard *shard;
    int trainers;
    bool second_phase;
    int stages, stage;
    uint64_t step;
    enum round_phase phase;
    struct round_grad *grads;
    size_t grads_count, cells_total;
    size_t least_cells;   // when every sparse gradient has one
    uint16_t *brought;    // a cell each: active trainers that have it complete
    struct round_member *members;
    int completed;
    enum round_decision decision;
    uint8_t *content;
    size_t content_bytes;
    bool content_set;
};

static int alloc_member(struct round *round, struct round_member *member, struct err *err);
static int check_speaker(const struct round *round, int trainer, uint64_t incarnation,
                         uint64_t step, const char *what, struct err *err);
static void chunk_cells(const struct round *round, const struct shard_slice *slice, uint64_t offset,
                        uint64_t bytes, size_t *out_first, size_t *out_count);
static uint32_t rows_cells(const struct round *round, const struct shard_slice *slice,
                           uint64_t rows);
static int check_chunk(const struct round *round, const struct shard_slice *slice,
                       const struct round_push *push, struct err *err);
static int announce(struct round *round, struct round_member *member, const struct round_push *push,
                    const struct shard_slice *slice, struct err *err);
static void forget_rows(const struct round *round, struct round_member *member);
static uint32_t known_cells(const struct round *round, const struct round_member *member, size_t g);
static uint64_t cell_bytes(const struct round *round, const struct round_member *member, size_t g,
                           uint32_t cell);
static int check_repeat(const struct round_member *member, const struct round_push *push,
                        size_t cell, const struct shard_slice *slice, struct err *err);
static bool all_full(const struct round *round);
static void end_stage(struct round *round);
static bool all_decided(const struct round *round);
static bool member_full(const struct round_member *member);

struct round *round_new(const struct round_options *options, struct err *err)
{
    struct round *round = MEM_NEW(struct round);
    round->shard = options->shard;
    round->trainers = options->trainers;
    round->second_phase = options->second_phase;
    round->stages = options->stages ? options->stages : 1;
    round->step = options->step;
    round->grads_count = options->shard->grads_count;
    round->grads =
        mem_must_calloc(round->grads_count ? round->grads_count : 1, sizeof *round->grads);
    for (size_t g = 0; g < round->grads_count; g++) {
        round->grads[g].slice = options->shard->grads[g];
        bool sparse = options->shard->grads[g]->sparse;
        round->grads[g].cells = sparse ? rows_cells(round, options->shard->grads[g],
                                                    (uint64_t)options->shard->grads[g]->dims.d[0])
                                       : shard_cells(options->shard, options->shard->grads[g]);
        round->grads[g].first = round->cells_total;
        round->cells_total += round->grads[g].cells;
        round->least_cells += sparse ? 1 : round->grads[g].cells;
    }
    round->brought = mem_must_calloc(round->cells_total ? round->cells_total : 1, sizeof(uint16_t));
    round->members = mem_must_calloc((size_t)round->trainers, sizeof *round->members);
    for (int t = 0; t < round->trainers; t++) {
        if (alloc_member(round, &round->members[t], err) < 0) {
            round_free(round);
            return NULL;
        }
    }
    return round;
}

void round_free(struct round *round)
{
    if (!round)
        return;
    for (int t = 0; t < round->trainers; t++) {
        struct round_member *member = &round->members[t];
        for (size_t g = 0; member->slots && g < round->grads_count; g++)
            mem_free(member->slots[g]);
        mem_free(member->slots);
        mem_free(member->rows);
        rows_arena_deinit(&member->arena);
        mem_free(member->cells);
        mem_free(member->hashes);
        mem_free(member->chunks);
    }
    mem_free(round->members);
    mem_free(round->brought);
    mem_free(round->grads);
    mem_free(round->content);
    mem_free(round);
}

uint64_t round_step(const struct round *round)
{
    return round->step;
}

enum round_phase round_phase(const struct round *round)
{
    return round->phase;
}

int round_trainers(const struct round *round)
{
    return round->trainers;
}

void round_enter(struct round *round, int trainer, uint64_t incarnation)
{
    struct round_member *member = &round->members[trainer];
    ASSERT(incarnation >= member->incarnation);
    round_leave(round, trainer);
    if (incarnation > member->incarnation && !member->completed)
        member->barrier = member->decided = false;
    member->incarnation = incarnation;
}

void round_leave(struct round *round, int trainer)
{
    struct round_member *member = &round->members[trainer];
    for (size_t c = 0; member->arriving_cells && c < round->cells_total; c++) {
        if (member->cells[c] == CELL_ARRIVING) {
            member->cells[c] = CELL_MISSING;
            member->arriving_cells--;
        }
    }
}

int round_place(struct round *round, const struct round_push *push, void **out_dst, struct err *err)
{
    *out_dst = NULL;
    struct round_member *member = &round->members[push->trainer];
    const struct shard_slice *slice = shard_find(round->shard, push->variable, push->slice);
    if (!slice || slice->grad < 0)
        return err_set(err, SL_EINVAL, "push of variable %u slice %u: no gradient of this server",
                       push->variable, push->slice);
    int rc = check_chunk(round, slice, push, err);
    if (rc < 0)
        return rc;
    if (push->incarnation < member->incarnation)
        return ROUND_FENCED;
    if (push->incarnation > member->incarnation || push->step > round->step)
        return check_speaker(round, push->trainer, push->incarnation, push->step,
                             slice->place->name, err);
    if (push->step < round->step || member->completed)
        return ROUND_STALE;
    rc = push->sparse ? announce(round, member, push, slice, err) : 0;
    if (rc < 0)
        return rc;
    size_t first, count, missing = 0;
    chunk_cells(round, slice, push->offset, push->bytes, &first, &count);
    for (size_t c = first; c < first + count; c++)
        missing += member->cells[c] == CELL_MISSING;
    if (missing < count) {
        rc = check_repeat(member, push, first, slice, err);
        return rc < 0 ? rc : missing ? ROUND_MIXED : ROUND_COMPLETE;
    }
    memset(member->cells + first, CELL_ARRIVING, count);
    memset(member->hashes + first, 0, count * sizeof *member->hashes);
    member->arriving_cells += count;
    member->hashes[first] = push->hash;
    member->chunks[first] = (uint32_t)push->bytes;
    *out_dst =
        (push->sparse ? member->rows[slice->grad].at : member->slots[slice->grad]) + push->offset;
    return ROUND_SLOT;
}

int round_received(struct round *round, const struct round_push *push, bool sound, struct err *err)
{
    struct round_member *member = &round->members[push->trainer];
    const struct shard_slice *slice = shard_find(round->shard, push->variable, push->slice);
    if (!slice || slice->grad < 0 || push->step != round->step ||
        push->incarnation != member->incarnation)
        return 0;
    struct round_rows *rows = &member->rows[slice->grad];
    if (push->sparse && (!rows->announced || rows->count != push->rows))
        return 0;
    size_t first, count;
    chunk_cells(round, slice, push->offset, push->bytes, &first, &count);
    for (size_t c = first; c < first + count; c++)
        if (member->cells[c] != CELL_ARRIVING)
            return 0;
    memset(member->cells + first, sound ? CELL_COMPLETE : CELL_MISSING, count);
    member->arriving_cells -= count;
    if (!sound)
        return 0;
    member->complete_cells += count;
    if (!push->sparse) {
        for (size_t c = first; c < first + count; c++)
            round->brought[c]++;
        return 1;
    }
    rows->complete_cells += (uint32_t)count;
    if (rows->complete_cells < rows_cells(round, slice, rows->count))
        return 1;
    int rc = shard_check_order(slice->place->name, (const int64_t *)(const void *)rows->at,
                               rows->count, slice->dims.d[0], err);
    return rc < 0 ? rc : 1;
}

void round_abandoned(struct round *round, const struct round_push *push)
{
    (void)round_received(round, push, false, NULL);
}

int round_send_barrier(struct round *round, int trainer, uint64_t incarnation, uint64_t step,
                       struct err *err)
{
    struct round_member *member = &round->members[trainer];
    int rc = check_speaker(round, trainer, incarnation, step, "send barrier", err);
    if (rc < 0)
        return rc;
    if (step < round->step)
        return 1;
    member->barrier = true;
    return 0;
}

int round_fetch_barrier(struct round *round, int trainer, uint64_t incarnation, uint64_t version,
                        bool *out_all, struct err *err)
{
    int rc = check_speaker(round, trainer, incarnation, version, "fetch barrier", err);
    if (rc < 0)
        return rc;
    struct round_member *member = &round->members[trainer];
    member->fetched = true;
    if (version > member->fetched_version)
        member->fetched_version = version;
    *out_all = true;
    for (int t = 0; t < round->trainers; t++) {
        const struct round_member *other = &round->members[t];
        *out_all =
            *out_all && (other->completed || (other->fetched && other->fetched_version >= version));
    }
    return 0;
}

int round_complete(struct round *round, int trainer, uint64_t incarnation, struct err *err)
{
    struct round_member *member = &round->members[trainer];
    int rc = check_speaker(round, trainer, incarnation, round->step, "complete", err);
    if (rc < 0)
        return rc;
    if (member->completed)
        return 0;
    if (member->complete_cells || member->arriving_cells || member->barrier)
        return err_set(err, SL_EREFUSED, "trainer %d completed in the middle of step %" PRIu64,
                       trainer, round->step);
    member->completed = true;
    round->completed++;
    for (size_t g = 0; g < round->grads_count; g++)
        if (member->slots[g])
            memset(member->slots[g], 0, (size_t)round->grads[g].slice->bytes);
    return 0;
}

bool round_has_completed(const struct round *round, int trainer)
{
    return round->members[trainer].completed;
}

enum round_phase round_advance(struct round *round)
{
    if (round->phase == ROUND_COLLECT && round->completed == round->trainers)
        round->phase = ROUND_OVER;
    else if (round->phase == ROUND_COLLECT && all_full(round))
        round->phase = round->second_phase ? ROUND_DECIDE : ROUND_APPLY;
    else if (round->phase == ROUND_DECIDE && all_decided(round))
        end_stage(round);
    return round->phase;
}

int round_commit_step(struct round *round, int trainer, uint64_t incarnation, uint64_t step,
                      enum round_decision decision, const void *content, size_t bytes,
                      struct err *err)
{
    int rc = check_speaker(round, trainer, incarnation, step, "commit step", err);
    if (rc < 0)
        return rc;
    if (step < round->step)
        return 1;
    if (round->phase == ROUND_COLLECT)
        return err_set(err, SL_EREFUSED, "trainer %d decides step %" PRIu64 " before it is full",
                       trainer, step);
    if (!round->content_set) {
        mem_free(round->content);
        round->content = mem_alloc(bytes ? bytes : 1);
        if (!round->content)
            return err_set(err, SL_ENOMEM, "no memory for the decision of step %" PRIu64, step);
        if (bytes)
            memcpy(round->content, content, bytes);
        round->content_bytes = bytes;
        round->decision = decision;
        round->content_set = true;
    } else if (decision != round->decision || bytes != round->content_bytes ||
               (bytes && memcmp(content, round->content, bytes))) {
        return err_set(err, SL_EDIVERGED,
                       "trainer %d decides step %" PRIu64 " otherwise than the others", trainer,
                       step);
    }
    round->members[trainer].decided = true;
    return 0;
}

int round_stage(const struct round *round)
{
    return round->stage;
}

enum round_decision round_decision(const struct round *round)
{
    return round->second_phase ? round->decision : ROUND_DO_APPLY;
}

const void *round_decision_content(const struct round *round, size_t *out_bytes)
{
    *out_bytes = round->content_bytes;
    return round->content;
}

void round_applied(struct round *round)
{
    ASSERT(round->phase == ROUND_APPLY);
    round->step++;
    round->phase = ROUND_COLLECT;
    round->stage = 0;
    round->content_set = false;
    memset(round->brought, 0, round->cells_total * sizeof *round->brought);
    for (int t = 0; t < round->trainers; t++) {
        struct round_member *member = &round->members[t];
        member->barrier = member->decided = false;
        member->complete_cells = member->arriving_cells = 0;
        memset(member->cells, CELL_MISSING, round->cells_total);
        memset(member->hashes, 0, round->cells_total * sizeof *member->hashes);
        forget_rows(round, member);
    }
}

void *round_slot(const struct round *round, int trainer, int grad)
{
    return round->members[trainer].slots[grad];
}

size_t round_rows(const struct round *round, int trainer, int grad, const int64_t **out_rows,
                  const void **out_values)
{
    const struct round_member *member = &round->members[trainer];
    const struct round_rows *rows = &member->rows[grad];
    bool here = rows->announced && !member->completed;
    *out_rows = here ? (const int64_t *)(const void *)rows->at : NULL;
    *out_values = here ? rows->at + rows->count * sizeof(int64_t) : NULL;
    return here ? rows->count : 0;
}

bool round_cell_ready(const struct round *round, int grad, uint32_t cell)
{
    return round->brought[round->grads[grad].first + cell] + round->completed == round->trainers;
}

size_t round_missing(const struct round *round, int trainer, struct round_range *out, size_t max,
                     uint64_t *cursor)
{
    const struct round_member *member = &round->members[trainer];
    size_t count = 0, at = (size_t)*cursor;
    *cursor = 0;
    for (size_t g = 0; !member->completed && g < round->grads_count; g++) {
        const struct round_grad *grad = &round->grads[g];
        uint32_t cells = known_cells(round, member, g);
        for (uint32_t c = 0; c < cells; c++) {
            size_t cell = grad->first + c;
            if (cell < at || member->cells[cell] != CELL_MISSING)
                continue;
            uint64_t offset = (uint64_t)c * round->shard->cell_bytes;
            uint64_t bytes = cell_bytes(round, member, g, c);
            struct round_range *last = count ? &out[count - 1] : NULL;
            if (last && last->slice == grad->slice && last->offset + last->bytes == offset) {
                last->bytes += bytes;
            } else if (count == max) {
                *cursor = cell;
                return count;
            } else {
                out[count++] = (struct round_range){grad->slice, offset, bytes};
            }
        }
    }
    return count;
}

bool round_has_barrier(const struct round *round, int trainer)
{
    return round->members[trainer].barrier;
}

bool round_is_waiting_for(const struct round *round, int trainer)
{
    const struct round_member *member = &round->members[trainer];
    if (round->phase == ROUND_DECIDE)
        return !member->completed && !member->decided;
    return round->phase == ROUND_COLLECT && !member_full(member);
}

bool round_has_pushed(const struct round *round, int trainer)
{
    const struct round_member *member = &round->members[trainer];
    return member->complete_cells || member->arriving_cells ||
           (member->barrier && !member->completed);
}

bool round_is_idle(const struct round *round)
{
    for (int t = 0; t < round->trainers; t++)
        if (round_has_pushed(round, t))
            return false;
    return true;
}

static int alloc_member(struct round *round, struct round_member *member, struct err *err)
{
    size_t cells = round->cells_total ? round->cells_total : 1;
    member->cells = mem_calloc(cells, sizeof *member->cells);
    member->hashes = mem_calloc(cells, sizeof *member->hashes);
    member->chunks = mem_calloc(cells, sizeof *member->chunks);
    member->slots = mem_calloc(round->grads_count ? round->grads_count : 1, sizeof *member->slots);
    member->rows = mem_calloc(round->grads_count ? round->grads_count : 1, sizeof *member->rows);
    member->expected_cells = round->least_cells;
    rows_arena_init(&member->arena, LIMIT_ROWS_ARENA_BYTES);
    if (!member->cells || !member->hashes || !member->chunks || !member->slots || !member->rows)
        return err_set(err, SL_ENOMEM, "no memory for a trainer's gradient slots");
    for (size_t g = 0; g < round->grads_count; g++) {
        size_t bytes = (size_t)round->grads[g].slice->bytes;
        if (round->grads[g].slice->sparse)
            continue;
        member->slots[g] = mem_alloc_aligned(bytes);
        if (!member->slots[g])
            return err_set(err, SL_ENOMEM,
                           "no memory for the gradient slot %s (%zu bytes a trainer)",
                           round->grads[g].slice->place->name, bytes);
        memset(member->slots[g], 0, bytes);
    }
    return 0;
}

static int check_speaker(const struct round *round, int trainer, uint64_t incarnation,
                         uint64_t step, const char *what, struct err *err)
{
    const struct round_member *member = &round->members[trainer];
    if (incarnation != member->incarnation)
        return err_set(err, SL_EREFUSED,
                       "%s from trainer %d with incarnation %" PRIu64 "; it is %" PRIu64 " here",
                       what, trainer, incarnation, member->incarnation);
    if (step > round->step)
        return err_set(err, SL_EREFUSED,
                       "%s of step %" PRIu64
                       " from trainer %d, but this server is at step %" PRIu64,
                       what, step, trainer, round->step);
    return 0;
}

static void chunk_cells(const struct round *round, const struct shard_slice *slice, uint64_t offset,
                        uint64_t bytes, size_t *out_first, size_t *out_count)
{
    uint32_t cell = round->shard->cell_bytes;
    *out_first = round->grads[slice->grad].first + (size_t)(offset / cell);
    *out_count = bytes ? (size_t)((bytes + cell - 1) / cell) : 1;
}

static uint32_t rows_cells(const struct round *round, const struct shard_slice *slice,
                           uint64_t rows)
{
    uint64_t bytes = rows * (sizeof(int64_t) + slice->row_bytes);
    bytes = bytes < slice->rows_bytes ? bytes : slice->rows_bytes;
    uint64_t cells = (bytes + round->shard->cell_bytes - 1) / round->shard->cell_bytes;
    return cells ? (uint32_t)cells : 1;
}

static int check_chunk(const struct round *round, const struct shard_slice *slice,
                       const struct round_push *push, struct err *err)
{
    if (push->sparse != slice->sparse)
        return err_set(err, SL_EINVAL, "%s: it is pushed %s, but the slice map says %s",
                       slice->place->name, push->sparse ? "as rows" : "whole",
                       slice->sparse ? "rows" : "whole");
    return slice->sparse
               ? shard_check_rows(round->shard, slice, push->rows, push->offset, push->bytes, err)
               : shard_check_chunk(round->shard, slice, push->offset, push->bytes, err);
}

// The first header of a sparse gradient gives it its place. Another number of rows is another
// gradient, which may still come as long as nothing of the first one has.
static int announce(struct round *round, struct round_member *member, const struct round_push *push,
                    const struct shard_slice *slice, struct err *err)
{
    struct round_rows *rows = &member->rows[slice->grad];
    const uint8_t *cells = member->cells + round->grads[slice->grad].first;
    if (rows->announced && rows->count == push->rows)
        return 0;
    uint32_t known = known_cells(round, member, (size_t)slice->grad);
    for (uint32_t c = 0; rows->announced && c < known; c++)
        if (cells[c] != CELL_MISSING)
            return err_set(err, SL_EDIVERGED,
                           "trainer %d sent %u rows of %s in step %" PRIu64
                           " and now says that there are %u",
                           push->trainer, rows->count, slice->place->name, push->step, push->rows);
    void *at =
        rows_arena_take(&member->arena, push->rows * (sizeof(int64_t) + slice->row_bytes), err);
    if (!at)
        return err ? err->code : SL_ENOMEM;
    *rows = (struct round_rows){.announced = true, .count = push->rows, .at = at};
    member->expected_cells += known_cells(round, member, (size_t)slice->grad);
    member->expected_cells -= known;
    return 0;
}

// Cells of a gradient, as far as it is known; an unannounced sparse one has one.
static uint32_t known_cells(const struct round *round, const struct round_member *member, size_t g)
{
    const struct round_grad *grad = &round->grads[g];
    if (!grad->slice->sparse)
        return grad->cells;
    return member->rows[g].announced ? rows_cells(round, grad->slice, member->rows[g].count) : 1;
}

// Bytes of a cell to ask for, never 0.
static uint64_t cell_bytes(const struct round *round, const struct round_member *member, size_t g,
                           uint32_t cell)
{
    const struct shard_slice *slice = round->grads[g].slice;
    const struct round_rows *rows = &member->rows[g];
    uint64_t total = slice->bytes, offset = (uint64_t)cell * round->shard->cell_bytes;
    if (slice->sparse && !rows->announced)
        return slice->rows_bytes ? slice->rows_bytes : 1;
    if (slice->sparse)
        total = rows->count ? rows->count * (sizeof(int64_t) + slice->row_bytes) : 1;
    return total - offset < round->shard->cell_bytes ? total - offset : round->shard->cell_bytes;
}

static void forget_rows(const struct round *round, struct round_member *member)
{
    memset(member->rows, 0, round->grads_count * sizeof *member->rows);
    member->expected_cells = round->least_cells;
    rows_arena_next(&member->arena);
}

// A repeat that was cut like the first one must be the same bytes.
static int check_repeat(const struct round_member *member, const struct round_push *push,
                        size_t cell, const struct shard_slice *slice, struct err *err)
{
    bool whole = member->cells[cell] == CELL_COMPLETE && member->chunks[cell] == push->bytes;
    if (!whole || !member->hashes[cell] || member->hashes[cell] == push->hash)
        return 0;
    return err_set(err, SL_EDIVERGED,
                   "trainer %d sent %s bytes %" PRIu64 "..+%" PRIu64 " of step %" PRIu64
                   " again with other contents",
                   push->trainer, slice->place->name, push->offset, push->bytes, push->step);
}

static bool member_full(const struct round_member *member)
{
    return member->completed ||
           (member->barrier && member->complete_cells == member->expected_cells);
}

static bool all_full(const struct round *round)
{
    for (int t = 0; t < round->trainers; t++)
        if (!member_full(&round->members[t]))
            return false;
    return true;
}

static void end_stage(struct round *round)
{
    if (round->decision != ROUND_DO_APPLY || round->stage + 1 == round->stages) {
        round->phase = ROUND_APPLY;
        return;
    }
    round->stage++;
    round->content_set = false;
    for (int t = 0; t < round->trainers; t++)
        round->members[t].decided = false;
}

static bool all_decided(const struct round *round)
{
    for (int t = 0; t < round->trainers; t++)
        if (!round->members[t].completed && !round->members[t].decided)
            return false;
    return true;
}
