// SPDX-License-Identifier: Apache-2.0
// Matsumoto and Nishimura's MT19937 seeded by Knuth's multiplier, and numpy's Fisher-Yates shuffle
// from the end, whose random index comes from masked rejection.

#include "common/passes/np_shuffle.h"

#include "common/base/mem.h"

#define N 624
#define M 397

struct mt {
    uint32_t x[N];
    int at;
};

static void seed_mt(struct mt *mt, uint32_t seed);
static uint32_t next(struct mt *mt);
static uint32_t below_or_equal(struct mt *mt, uint32_t max);

void np_shuffle_order(uint32_t seed, size_t *order, size_t count)
{
    struct mt *mt = MEM_NEW(struct mt);
    seed_mt(mt, seed);
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count; i-- > 1;) {
        size_t j = below_or_equal(mt, (uint32_t)i);
        size_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    mem_free(mt);
}

static void seed_mt(struct mt *mt, uint32_t seed)
{
    mt->x[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        mt->x[i] = 1812433253u * (mt->x[i - 1] ^ (mt->x[i - 1] >> 30)) + i;
    mt->at = N;
}

static void refill(struct mt *mt)
{
    for (int i = 0; i < N; i++) {
        uint32_t y = (mt->x[i] & 0x80000000u) | (mt->x[(i + 1) % N] & 0x7fffffffu);
        mt->x[i] = mt->x[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    mt->at = 0;
}

static uint32_t next(struct mt *mt)
{
    if (mt->at == N)
        refill(mt);
    uint32_t y = mt->x[mt->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static uint32_t below_or_equal(struct mt *mt, uint32_t max)
{
    uint32_t mask = max;
    for (int shift = 1; shift < 32; shift <<= 1)
        mask |= mask >> shift;
    uint32_t value = next(mt) & mask;
    while (value > max)
        value = next(mt) & mask;
    return value;
}
