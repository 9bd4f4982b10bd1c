// SPDX-License-Identifier: Apache-2.0
// Maps of slices: coverage, order, the text form, the hash.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/program/slice_map.h"

static const struct dims tall = {.rank = 2, .d = {10, 3}};
static const struct dims single = {.rank = 1, .d = {1}};

static struct slice_var *begin(struct slice_map *map, const struct dims *dims)
{
    slice_map_init(map);
    map->servers = 2;
    map->trainers = 2;
    return slice_map_add(map, "w", SLICE_PARAM, NULL, DTYPE_FP32, dims);
}

static void sample(struct slice_map *map)
{
    struct slice_var *w = begin(map, &tall);
    w->sparse = true;
    slice_var_add(w, 1, 5, 5, "w.block1");
    slice_var_add(w, 0, 0, 5, "w.block0");
    struct slice_var *grad = slice_map_add(map, "w@GRAD", SLICE_GRAD, "w", DTYPE_FP32, &tall);
    slice_var_add(grad, 0, 0, 5, "w@GRAD.block0");
    slice_var_add(grad, 1, 5, 5, "w@GRAD.block1");
    struct slice_var *rate = slice_map_add(map, "a rate %", SLICE_STATE, NULL, DTYPE_FP32, &single);
    rate->replicated = true;
    slice_var_add(rate, 0, 0, 1, "a rate %");
    slice_var_add(rate, 1, 0, 1, "a rate %");
    struct slice_var *empty = slice_map_add(map, "-", SLICE_STATE, "-", DTYPE_INT64,
                                            &(const struct dims){.rank = 0});
    slice_var_add(empty, 1, 0, 1, "-");
    struct slice_var *kept = slice_map_add(map, "kept", SLICE_TRAINER, "kept", DTYPE_FP32, &single);
    slice_var_add(kept, 1, 0, 1, "kept");
    map->phases = SLICE_PHASE_CLIP | SLICE_PHASE_NORMS;
}

static void test_slice_map_sorts_and_finds(void **state)
{
    (void)state;
    struct slice_map map;
    struct err err = {0};
    const struct slice_var *var;
    sample(&map);
    assert_int_equal(slice_map_finish(&map, &err), 0);
    assert_string_equal(map.vars[1]->name, "a rate %");
    var = slice_map_find(&map, "w");
    assert_int_equal(var->slices[0].row, 0);
    assert_string_equal(var->slices[1].name, "w.block1");
    assert_null(slice_map_find(&map, "v"));
    const struct slice *slice = slice_map_on_server(&map, 1, "w@GRAD.block1", &var);
    assert_int_equal(slice->row, 5);
    assert_string_equal(var->param, "w");
    assert_null(slice_map_on_server(&map, 0, "w@GRAD.block1", NULL));
    slice_map_deinit(&map);
    slice_map_deinit(NULL);
}

static void test_slice_map_text_round_trip(void **state)
{
    (void)state;
    struct slice_map map, copy, again;
    struct buf text, second;
    struct err err = {0};
    sample(&map);
    assert_int_equal(slice_map_finish(&map, &err), 0);
    buf_init(&text, 0);
    buf_init(&second, 0);
    slice_map_format(&map, &text);
    assert_int_equal(slice_map_parse(&again, buf_text(&text), text.bytes, "mem", &err), 0);
    slice_map_format(&again, &second);
    assert_string_equal(buf_text(&text), buf_text(&second));
    assert_true(slice_map_hash(&map) == slice_map_hash(&again));
    slice_map_copy(&copy, &map);
    assert_true(slice_map_hash(&map) == slice_map_hash(&copy));
    copy.vars[3]->slices[0].server = 1;
    assert_true(slice_map_hash(&map) != slice_map_hash(&copy));
    assert_string_equal(again.vars[0]->param, "-");
    assert_true(again.vars[3]->sparse && copy.vars[3]->sparse && !again.vars[4]->sparse);
    again.vars[3]->sparse = false;
    assert_true(slice_map_hash(&map) != slice_map_hash(&again));
    slice_map_deinit(&map);
    slice_map_deinit(&copy);
    slice_map_deinit(&again);
    buf_deinit(&text);
    buf_deinit(&second);
}

static void test_slice_map_text_survives_every_corruption(void **state)
{
    (void)state;
    struct slice_map map, again;
    struct buf text;
    struct err err = {0};
    sample(&map);
    assert_int_equal(slice_map_finish(&map, &err), 0);
    buf_init(&text, 0);
    slice_map_format(&map, &text);
    for (size_t length = 0; length < text.bytes; length++)
        if (!slice_map_parse(&again, (const char *)text.data, length, "mem", &err))
            slice_map_deinit(&again);
    for (size_t at = 0; at < text.bytes; at++)
        for (int value = 0; value < 256; value++) {
            uint8_t old = text.data[at];
            text.data[at] = (uint8_t)value;
            if (!slice_map_parse(&again, (const char *)text.data, text.bytes, "mem", &err))
                slice_map_deinit(&again);
            text.data[at] = old;
        }
    assert_int_equal(slice_map_parse(&again, "", 0, "mem", &err), SL_EFORMAT);
    slice_map_deinit(&map);
    buf_deinit(&text);
}

struct slice_row {
    int server;
    int64_t row, rows;
};

static void refuses(const struct dims *dims, bool replicated, int count,
                    const struct slice_row *rows, const char *text)
{
    struct slice_map map;
    struct err err = {0};
    struct slice_var *var = begin(&map, dims);
    var->replicated = replicated;
    for (int i = 0; i < count; i++)
        slice_var_add(var, rows[i].server, rows[i].row, rows[i].rows, i ? "w.block1" : "w.block0");
    assert_int_equal(slice_map_finish(&map, &err), SL_EINVAL);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    slice_map_deinit(&map);
}

static void test_slice_map_refuses_gaps_and_overlaps(void **state)
{
    (void)state;
    refuses(&tall, false, 0, NULL, "w is on no server");
    refuses(&tall, false, 2, (const struct slice_row[]){{0, 0, 4}, {1, 5, 5}},
            "rows from 4 on were expected");
    refuses(&tall, false, 2, (const struct slice_row[]){{0, 0, 6}, {1, 5, 5}},
            "rows from 6 on were expected");
    refuses(&tall, false, 2, (const struct slice_row[]){{0, 0, 5}, {1, 5, 4}}, "rows 9..10");
    refuses(&tall, false, 2, (const struct slice_row[]){{0, 0, 5}, {1, 5, 6}}, "5+6");
    refuses(&tall, false, 1, (const struct slice_row[]){{0, 0, INT64_MAX}}, "10 rows");
    refuses(&tall, false, 1, (const struct slice_row[]){{0, -1, 11}}, "rows -1");
    refuses(&tall, false, 1, (const struct slice_row[]){{0, 0, -1}}, "rows 0+-1");
    refuses(&tall, false, 1, (const struct slice_row[]){{2, 0, 10}}, "on server 2 of 2");
    refuses(&tall, false, 1, (const struct slice_row[]){{-1, 0, 10}}, "on server -1 of 2");
    refuses(&tall, true, 2, (const struct slice_row[]){{0, 0, 10}, {1, 0, 9}}, "0+9");
    refuses(&(const struct dims){.rank = 1, .d = {-1}}, false, 1,
            (const struct slice_row[]){{0, 0, 1}}, "no valid shape");
}

static void test_slice_map_refuses_what_cannot_be_sparse(void **state)
{
    (void)state;
    static const enum slice_role roles[] = {SLICE_PARAM, SLICE_GRAD, SLICE_STATE, SLICE_TRAINER};
    for (int i = 0; i < 12; i++) {
        struct slice_map map;
        struct err err = {0};
        bool whole = i % 3 == 1, flat = i % 3 == 2;
        struct slice_var *var = begin(&map, flat ? &(const struct dims){.rank = 0} : &tall);
        var->role = roles[i / 3];
        var->sparse = true;
        var->replicated = whole;
        slice_var_add(var, 0, 0, flat ? 1 : 10, "w");
        bool good = i / 3 < 2 && i % 3 == 0;
        assert_int_equal(slice_map_finish(&map, &err), good ? 0 : SL_EINVAL);
        if (!good)
            assert_non_null(strstr(err.text, "w is sparse"));
        slice_map_deinit(&map);
    }
}

static void test_slice_map_refuses_double_names(void **state)
{
    (void)state;
    struct slice_map map;
    struct err err = {0};
    slice_var_add(begin(&map, &single), 0, 0, 1, "same");
    slice_var_add(slice_map_add(&map, "v", SLICE_STATE, NULL, DTYPE_FP32, &single), 0, 0, 1,
                  "same");
    assert_int_equal(slice_map_finish(&map, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "server 0 holds two slices called same"));
    slice_map_deinit(&map);
    slice_var_add(begin(&map, &single), 0, 0, 1, "w");
    slice_var_add(slice_map_add(&map, "w", SLICE_STATE, NULL, DTYPE_FP32, &single), 1, 0, 1, "w");
    assert_int_equal(slice_map_finish(&map, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "w is listed twice"));
    slice_map_deinit(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slice_map_sorts_and_finds),
        cmocka_unit_test(test_slice_map_text_round_trip),
        cmocka_unit_test(test_slice_map_text_survives_every_corruption),
        cmocka_unit_test(test_slice_map_refuses_gaps_and_overlaps),
        cmocka_unit_test(test_slice_map_refuses_what_cannot_be_sparse),
        cmocka_unit_test(test_slice_map_refuses_double_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
