// SPDX-License-Identifier: Apache-2.0
// How nce draws classes that are not the label, and how likely each class is to be drawn. With a
// seed the sequence is Fluid's: std::mt19937_64 (uniform, log_uniform) or std::mt19937 (custom)
// under libstdc++'s distributions as they were before GCC 11.
//
//   uniform       P(c) = 1 / classes
//   log_uniform   P(c) = ln((c + 2) / (c + 1)) / ln(classes)
//   custom        P(c) = probs[c]; drawn by the alias method: a class, and a share of 1 that is
//                 above alias_probs[class] gives alias[class] instead (-1: the class after all)
#pragma once

#include <stdint.h>

enum nce_sampler_kind { NCE_SAMPLER_UNIFORM, NCE_SAMPLER_LOG_UNIFORM, NCE_SAMPLER_CUSTOM };

struct nce_sampler {
    enum nce_sampler_kind kind;
    int64_t classes;
    // custom only, `classes` elements each.
    const float *probs, *alias_probs;
    const int32_t *alias;   // in [-1, classes): the caller has checked
};

// Fills `rows` rows of `stride` numbers with `count` draws each, from out on, all in one sequence.
// Seed 0 draws a seed from the system.
void nce_sampler_draw(const struct nce_sampler *sampler, uint32_t seed, int64_t rows,
                      int64_t stride, int64_t count, int64_t *out);
float nce_sampler_probability(const struct nce_sampler *sampler, int64_t class_id);
