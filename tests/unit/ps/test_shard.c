// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ps/ps_fixture.h"

static void test_shard_finds_by_index_and_name(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_init(&f, 2);
    const struct shard *shard = &f.shards[1];
    assert_int_equal(shard->grads_count, 1);
    assert_int_equal(shard->slices_count, 4);
    const struct shard_slice *w = shard_by_name(shard, "w.block1");
    assert_non_null(w);
    assert_int_equal(w->bytes, 80);
    assert_int_equal(w->row_bytes, 16);
    assert_int_equal(w->dims.d[0], 5);
    assert_ptr_equal(shard_find(shard, w->variable, w->slice), w);
    assert_null(shard_find(shard, w->variable, 0));   // on the other server
    assert_null(shard_find(shard, w->variable, 2));
    assert_null(shard_find(shard, UINT32_MAX, 0));
    assert_null(shard_by_name(shard, "b"));
    assert_int_equal(shard_by_name(shard, "learning_rate_0")->bytes, 4);
    fixture_deinit(&f);
}

static void test_shard_reads_trainer_suffix(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_init(&f, 2);
    int trainer;
    const struct shard_slice *g =
        shard_grad_by_name(&f.shards[0], "w@GRAD.block0.trainer_1", &trainer);
    assert_non_null(g);
    assert_int_equal(trainer, 1);
    assert_ptr_equal(shard_grad_by_name(&f.shards[0], "w@GRAD.block0", &trainer), g);
    assert_int_equal(trainer, -1);
    assert_null(shard_grad_by_name(&f.shards[0], "w.block0", &trainer));
    assert_null(shard_grad_by_name(&f.shards[0], "w@GRAD.block0.trainer_x", &trainer));
    assert_null(shard_grad_by_name(&f.shards[0], "nothing.trainer_0", &trainer));
    assert_int_equal(shard_stem("a.trainer_1.trainer_12", &trainer), 11);
    assert_int_equal(trainer, 12);
    fixture_deinit(&f);
}

static void test_shard_judges_chunks(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_init(&f, 2);
    int trainer;
    const struct shard_slice *g =
        shard_grad_by_name(&f.shards[0], "b@GRAD", &trainer);   // 12 bytes
    const struct shard_slice *w =
        shard_grad_by_name(&f.shards[0], "w@GRAD.block0", &trainer);   // 80
    const struct {
        const struct shard_slice *slice;
        uint64_t offset, bytes;
        int rc;
    } rows[] = {
        {g, 0, 12, 0},
        {g, 0, 8, SL_EINVAL},
        {g, 12, 1, SL_EINVAL},
        {w, 0, 16, 0},
        {w, 16, 64, 0},
        {w, 8, 16, SL_EINVAL},
        {w, 64, 32, SL_EINVAL},
        {w, 0, 0, SL_EINVAL},
        {w, UINT64_MAX - 7, 16, SL_EINVAL},
        {w, 16, UINT64_MAX, SL_EINVAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err err = {0};
        assert_int_equal(
            shard_check_chunk(&f.shards[0], rows[i].slice, rows[i].offset, rows[i].bytes, &err),
            rows[i].rc);
    }
    assert_int_equal(shard_cells(&f.shards[0], w), 5);
    assert_int_equal(shard_cells(&f.shards[0], g), 1);
    fixture_deinit(&f);
}

static void test_shard_judges_chunks_of_rows(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_table_init(&f, 2);
    int trainer;
    const struct shard_slice *g = shard_grad_by_name(&f.shards[0], "t@GRAD.block0", &trainer);
    assert_true(g->sparse && g->rows_bytes == 6 * 16);
    const struct {
        uint32_t rows;
        uint64_t offset, bytes;
        int rc;
    } table[] = {
        {0, 0, 0, 0},
        {0, 0, 1, SL_EINVAL},
        {0, 16, 0, SL_EINVAL},
        {6, 0, 96, 0},
        {6, 32, 16, 0},
        {6, 80, 16, 0},
        {6, 80, 32, SL_EINVAL},
        {6, 8, 16, SL_EINVAL},
        {6, 0, 24, SL_EINVAL},
        {6, 0, 0, SL_EINVAL},
        {7, 0, 16, SL_EINVAL},
        {UINT32_MAX, 0, 16, SL_EINVAL},
        {1, UINT64_MAX - 15, 16, SL_EINVAL},
        {1, 16, 16, SL_EINVAL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct err err = {0};
        assert_int_equal(
            shard_check_rows(&f.shards[0], g, table[i].rows, table[i].offset, table[i].bytes, &err),
            table[i].rc);
    }
    assert_false(shard_grad_by_name(&f.shards[0], "b@GRAD", &trainer)->sparse);
    assert_false(shard_by_name(&f.shards[0], "t.block0")->sparse);
    assert_int_equal(shard_row_bytes(f.map.vars[0]), 4);   // b [3]
    fixture_deinit(&f);
}

static void test_shard_refuses_rows_above_the_limit(void **unused)
{
    (void)unused;
    struct slice_map map;
    struct shard shard;
    struct err err = {0};
    slice_map_init(&map);
    map.servers = map.trainers = 1;
    struct slice_var *v = fixture_var(&map, "g", SLICE_GRAD, "t", 1 << 20, 1 << 9);
    v->sparse = true;
    slice_var_add(v, 0, 0, 1 << 20, "g");
    assert_int_equal(slice_map_finish(&map, &err), 0);
    assert_int_equal(shard_init(&shard, &map, 0, &err), 0);
    const struct shard_slice *g = shard.grads[0];
    uint32_t most = (uint32_t)(LIMIT_ROWS_BYTES / (8 + (4 << 9)));
    assert_true(g->rows_bytes == LIMIT_ROWS_BYTES);
    assert_int_equal(shard_check_rows(&shard, g, most, 0, shard.cell_bytes, &err), 0);
    assert_int_equal(shard_check_rows(&shard, g, most + 1, 0, shard.cell_bytes, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "at most 1073741824 may come"));
    shard_deinit(&shard);
    slice_map_deinit(&map);
}

static void test_shard_refuses_unknown_server(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_init(&f, 2);
    struct shard shard;
    struct err err = {0};
    assert_int_equal(shard_init(&shard, &f.map, 2, &err), SL_EINVAL);
    shard_deinit(&shard);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shard_finds_by_index_and_name),
        cmocka_unit_test(test_shard_reads_trainer_suffix),
        cmocka_unit_test(test_shard_judges_chunks),
        cmocka_unit_test(test_shard_judges_chunks_of_rows),
        cmocka_unit_test(test_shard_refuses_rows_above_the_limit),
        cmocka_unit_test(test_shard_refuses_unknown_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
