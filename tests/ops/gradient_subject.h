// SPDX-License-Identifier: Apache-2.0
// What the finite-difference test tries: an op with inputs, outputs and attributes drawn at random.
// Rows of ops are tables, one file a family; test_gradients.c runs them all.
#pragma once

#include <stdint.h>

#include "common/base/rng.h"
#include "common/ops/op.h"
#include "common/program/op_desc.h"

#define FEEDS_MAX 16

// What an input holds; those from LABEL on have no gradient, nor has an input of slot Label.
// SHARE is one class's share of 1; LABEL32 is an int32 label, CONDITION a bool.
enum kind {
    REAL,
    AWAY_FROM_0,
    WIDE,
    PROBABILITY,
    LABEL,
    LABEL32,
    CONDITION,
    TARGET,
    BINARY,
    SIGN,
    SHARE
};

struct input {
    const char *slot, *name;
    enum kind kind;
    struct dims dims;
    const struct sequences *lod;   // NULL: none
};

// Rows in sequences: so many, from offset to offset.
#define SEQUENCES_MAX 5
struct sequences {
    size_t count;
    uint64_t offsets[SEQUENCES_MAX + 1];
};

// One op with its inputs and outputs; built anew for every round.
struct subject {
    const char *type;
    struct input inputs[FEEDS_MAX];
    size_t inputs_count;
    struct {
        const char *slot, *name;
    } outputs[FEEDS_MAX];
    size_t outputs_count;
    size_t loss_outputs;   // the first so many outputs have gradients
    struct op_desc *op;
    int64_t classes;
    struct sequences sequences;   // for inputs with LoD
};

// make adds inputs, outputs and attributes to s->op. A table ends with a row without type.
struct gradient_row {
    const char *type;
    void (*make)(struct subject *s);
};
extern const struct gradient_row gradient_images_rows[];
extern const struct gradient_row gradient_losses_rows[];
extern const struct gradient_row gradient_moves_rows[];
extern const struct gradient_row gradient_sequences_rows[];
extern const struct gradient_row gradient_recurrent_rows[];

extern uint64_t gradient_subject_seed;

static inline int64_t draw(int64_t low, int64_t high)
{
    return low + (int64_t)(rng_next_u64(&gradient_subject_seed) % (uint64_t)(high - low + 1));
}

static inline double draw_real(void)
{
    return (double)(rng_next_u64(&gradient_subject_seed) >> 11) / 9007199254740992.0 * 2 - 1;
}

static inline struct dims draw_dims(int rank)
{
    struct dims dims = {.rank = rank};
    for (int i = 0; i < rank; i++)
        dims.d[i] = draw(1, 5);
    return dims;
}

static inline void add_input(struct subject *s, const char *slot, const char *name, enum kind kind,
                             struct dims dims)
{
    s->inputs[s->inputs_count++] = (struct input){slot, name, kind, dims, NULL};
    op_desc_add_input(s->op, slot, name);
}

static inline void add_output(struct subject *s, const char *slot, const char *name, bool in_loss)
{
    s->outputs[s->outputs_count].slot = slot;
    s->outputs[s->outputs_count++].name = name;
    s->loss_outputs += in_loss;
    op_desc_add_output(s->op, slot, name);
}

// s->sequences become some sequences of at least `shortest` rows; returns how many rows in all.
static inline int64_t draw_sequences(struct subject *s, int64_t shortest)
{
    s->sequences = (struct sequences){.count = (size_t)draw(1, SEQUENCES_MAX)};
    for (size_t i = 0; i < s->sequences.count; i++)
        s->sequences.offsets[i + 1] = s->sequences.offsets[i] + (uint64_t)draw(shortest, 4);
    return (int64_t)s->sequences.offsets[s->sequences.count];
}

// [rows, width] with those sequences.
static inline void add_sequences(struct subject *s, const char *slot, const char *name,
                                 enum kind kind, int64_t width)
{
    int64_t rows = (int64_t)s->sequences.offsets[s->sequences.count];
    add_input(s, slot, name, kind, (struct dims){.rank = 2, .d = {rows, width}});
    s->inputs[s->inputs_count - 1].lod = &s->sequences;
}
