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
        cmocka_unit_test(test_shard_refuses_unknown_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
