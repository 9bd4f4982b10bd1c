// SPDX-License-Identifier: Apache-2.0
// Small slice maps for the tests of ps. One: 2 servers, w [10,4] cut in two, b [3] on server 0, a
// moment of each, beta pow and learning rate on both. One with a table: t [10,2], of which server 0
// has 6 rows, and b [3] on server 0.
#pragma once

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/ps/shard.h"

#define FIXTURE_CELL 16

struct fixture {
    struct slice_map map;
    struct shard shards[2];
};

static inline struct slice_var *fixture_var(struct slice_map *map, const char *name,
                                            enum slice_role role, const char *param, int64_t rows,
                                            int64_t columns)
{
    struct dims dims = {.rank = columns ? 2 : 1, .d = {rows, columns}};
    return slice_map_add(map, name, role, param, DTYPE_FP32, &dims);
}

static inline void fixture_shards(struct fixture *f)
{
    struct err err = {0};
    if (slice_map_finish(&f->map, &err) < 0)
        fail_msg("%s", err.text);
    for (int s = 0; s < 2; s++) {
        if (shard_init(&f->shards[s], &f->map, s, &err) < 0)
            fail_msg("%s", err.text);
        f->shards[s].cell_bytes = FIXTURE_CELL;
    }
}

static inline void fixture_init(struct fixture *f, int trainers)
{
    slice_map_init(&f->map);
    f->map.servers = 2;
    f->map.trainers = trainers;
    struct slice_var *v = fixture_var(&f->map, "w", SLICE_PARAM, NULL, 10, 4);
    slice_var_add(v, 0, 0, 5, "w.block0");
    slice_var_add(v, 1, 5, 5, "w.block1");
    v = fixture_var(&f->map, "w@GRAD", SLICE_GRAD, "w", 10, 4);
    slice_var_add(v, 0, 0, 5, "w@GRAD.block0");
    slice_var_add(v, 1, 5, 5, "w@GRAD.block1");
    v = fixture_var(&f->map, "w_moment_0", SLICE_STATE, "w", 10, 4);
    slice_var_add(v, 0, 0, 5, "w_moment_0");
    slice_var_add(v, 1, 5, 5, "w_moment_0");
    v = fixture_var(&f->map, "b", SLICE_PARAM, NULL, 3, 0);
    slice_var_add(v, 0, 0, 3, "b");
    v = fixture_var(&f->map, "b@GRAD", SLICE_GRAD, "b", 3, 0);
    slice_var_add(v, 0, 0, 3, "b@GRAD");
    v = fixture_var(&f->map, "learning_rate_0", SLICE_STATE, NULL, 1, 0);
    v->replicated = true;
    slice_var_add(v, 0, 0, 1, "learning_rate_0");
    slice_var_add(v, 1, 0, 1, "learning_rate_0");
    fixture_shards(f);
}

// A row of t@GRAD as it travels: 8 bytes of index, 8 of values.
static inline void fixture_table_init(struct fixture *f, int trainers)
{
    slice_map_init(&f->map);
    f->map.servers = 2;
    f->map.trainers = trainers;
    struct slice_var *v = fixture_var(&f->map, "t", SLICE_PARAM, NULL, 10, 2);
    v->sparse = true;
    slice_var_add(v, 0, 0, 6, "t.block0");
    slice_var_add(v, 1, 6, 4, "t.block1");
    v = fixture_var(&f->map, "t@GRAD", SLICE_GRAD, "t", 10, 2);
    v->sparse = true;
    slice_var_add(v, 0, 0, 6, "t@GRAD.block0");
    slice_var_add(v, 1, 6, 4, "t@GRAD.block1");
    v = fixture_var(&f->map, "b", SLICE_PARAM, NULL, 3, 0);
    slice_var_add(v, 0, 0, 3, "b");
    v = fixture_var(&f->map, "b@GRAD", SLICE_GRAD, "b", 3, 0);
    slice_var_add(v, 0, 0, 3, "b@GRAD");
    fixture_shards(f);
}

static inline void fixture_deinit(struct fixture *f)
{
    shard_deinit(&f->shards[0]);
    shard_deinit(&f->shards[1]);
    slice_map_deinit(&f->map);
}
