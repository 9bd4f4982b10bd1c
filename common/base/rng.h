// SPDX-License-Identifier: Apache-2.0
// Paddle Fluid 1.8's random engines on the CPU, bit for bit: std::minstd_rand (x = 48271 x mod
// 2^31-1) with libstdc++'s distributions in float. Formulas: Wichura AS 241 (central part) for the
// truncated normal, the polar method for the normal.
// Also the engine for our own decisions (shuffles, nonces): xoshiro-free splitmix64.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rng_minstd {
    uint32_t x;
};

void rng_minstd_seed(struct rng_minstd *rng, uint32_t seed);   // seed mod 2^31-1, 0 becomes 1
float rng_minstd_canonical(struct rng_minstd *rng);            // [0, 1)
double rng_minstd_canonical_f64(struct rng_minstd *rng);       // [0, 1), two steps of the engine

void rng_minstd_skip(struct rng_minstd *rng, uint64_t steps);   // as if stepped so often

// Each fills out[0..count) with elements [first, first + count) of what one run of the Fluid op
// with that seed attribute gives. The normal distribution must draw what comes before; the others
// jump.
void rng_fill_uniform(float *out, size_t count, float min, float max, uint32_t seed,
                      uint64_t first);
void rng_fill_normal(float *out, size_t count, float mean, float std, uint32_t seed,
                     uint64_t first);
void rng_fill_truncated_normal(float *out, size_t count, float mean, float std, uint32_t seed,
                               uint64_t first);

// splitmix64: *state is any number; returns the next 64 random bits.
uint64_t rng_next_u64(uint64_t *state);
uint64_t rng_entropy_u64(void);   // from the operating system, for nonces and seed 0
