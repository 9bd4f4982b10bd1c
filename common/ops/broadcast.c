// SPDX-License-Identifier: Apache-2.0
// Shapes are padded to one rank with sides of 1, then neighbours that repeat alike are merged.

#include "common/ops/broadcast.h"

#include "common/base/assert.h"

struct padded {
    int rank;
    int64_t x[LIMIT_RANK], y[LIMIT_RANK];
};

// Lays the smaller shape along the bigger one; false when it sticks out.
static bool pad(const struct dims *x, const struct dims *y, int64_t axis, struct padded *out)
{
    bool y_smaller = x->rank >= y->rank;
    const struct dims *big = y_smaller ? x : y, *small = y_smaller ? y : x;
    int64_t *to_big = y_smaller ? out->x : out->y, *to_small = y_smaller ? out->y : out->x;
    int small_rank = small->rank;
    if (axis == -1 || big->rank == small->rank)
        axis = big->rank - small->rank;
    while (small_rank > 0 && axis + small_rank > big->rank && small->d[small_rank - 1] == 1)
        small_rank--;
    if (axis < 0 || axis + small_rank > big->rank)
        return false;
    out->rank = big->rank;
    for (int i = 0; i < big->rank; i++) {
        to_big[i] = big->d[i];
        to_small[i] = i >= axis && i < axis + small_rank ? small->d[i - axis] : 1;
    }
    return true;
}

bool broadcast_dims(const struct dims *x, const struct dims *y, int64_t axis, struct dims *out)
{
    struct padded p;
    if (dims_equal(x, y)) {
        *out = *x;
        return true;
    }
    if (!pad(x, y, axis, &p))
        return false;
    out->rank = p.rank;
    for (int i = 0; i < p.rank; i++) {
        int64_t a = p.x[i], b = p.y[i];
        if (a != b && a != 1 && b != 1 && a >= 0 && b >= 0)
            return false;
        out->d[i] = a == 1 || (a < 0 && b != 1) ? b : a;
    }
    return true;
}

void broadcast_plan(const struct dims *x, const struct dims *y, int64_t axis, struct broadcast *out)
{
    struct padded p;
    bool ok = pad(x, y, axis, &p);
    ASSERT(ok);
    *out = (struct broadcast){.rank = 0};
    bool last_x = false, last_y = false;
    for (int i = 0; i < p.rank; i++) {
        int64_t d = p.x[i] == 1 ? p.y[i] : p.x[i];
        bool move_x = p.x[i] != 1, move_y = p.y[i] != 1;
        out->empty |= d == 0;
        out->x_repeats |= !move_x && d != 1;
        out->y_repeats |= !move_y && d != 1;
        if (d == 1)
            continue;
        if (out->rank > 0 && move_x == last_x && move_y == last_y) {
            out->d[out->rank - 1] *= d;
            continue;
        }
        out->x[out->rank] = move_x;
        out->y[out->rank] = move_y;
        out->d[out->rank++] = d;
        last_x = move_x;
        last_y = move_y;
    }
    if (out->rank == 0) {
        out->rank = 1;
        out->d[0] = out->x[0] = out->y[0] = 1;
    }
    // From "moves or not" to strides.
    int64_t x_size = 1, y_size = 1;
    for (int i = out->rank - 1; i >= 0; i--) {
        int64_t d = out->d[i];
        bool move_x = out->x[i] != 0, move_y = out->y[i] != 0;
        out->x[i] = move_x ? x_size : 0;
        out->y[i] = move_y ? y_size : 0;
        x_size *= move_x ? d : 1;
        y_size *= move_y ? d : 1;
    }
}

bool broadcast_next(const struct broadcast *b, struct broadcast_at *at)
{
    at->out += b->d[b->rank - 1];
    for (int i = b->rank - 2; i >= 0; i--) {
        at->x += b->x[i];
        at->y += b->y[i];
        if (++at->index[i] < b->d[i])
            return true;
        at->x -= b->x[i] * b->d[i];
        at->y -= b->y[i] * b->d[i];
        at->index[i] = 0;
    }
    return false;
}

void broadcast_walk(const struct broadcast *b, int elem_bytes, void *out, const void *x,
                    const void *y, broadcast_row *row)
{
    int last = b->rank - 1;
    struct broadcast_at at = {0};
    if (b->empty)
        return;
    do {
        row((char *)out + at.out * elem_bytes, (const char *)x + at.x * elem_bytes,
            (const char *)y + at.y * elem_bytes, b->d[last], b->x[last], b->y[last]);
    } while (broadcast_next(b, &at));
}
