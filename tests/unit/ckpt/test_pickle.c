// SPDX-License-Identifier: Apache-2.0
// Pickles of arrays: what is written is read; what Python wrote is read; nothing else is.
#include "tests/unit/ckpt/ckpt_fixture.h"

#include "common/ckpt/pickle.h"

static struct err err;

static void append(struct buf *out, const char *name, enum dtype dtype, int rank, const int64_t *d,
                   const void *data, size_t bytes)
{
    struct dims dims = dims_make(rank, d);
    uint8_t encoded[512];
    assert_int_equal(
        pickle_append_head(out, name, dtype, &dims, pickle_encoded_bytes(data, bytes), &err), 0);
    buf_append(out, encoded, pickle_encode(data, bytes, encoded));
    pickle_append_tail(out);
}

static void two_arrays(struct buf *out)
{
    const float w[6] = {0, 1, -2, 3.5f, 4, 5};
    const int64_t n = -3;
    buf_init(out, 0);
    pickle_append_begin(out);
    append(out, "fc_0.w_0", DTYPE_FP32, 2, (int64_t[]){2, 3}, w, sizeof w);
    append(out, "dir/n", DTYPE_INT64, 1, (int64_t[]){1}, &n, sizeof n);
    pickle_append_end(out);
}

static int read_index(const void *data, size_t bytes, struct pickle_index *out)
{
    struct tensor_io_source source;
    tensor_io_memory(&source, data, bytes, "m.pdparams");
    err = (struct err){0};
    return pickle_index_read(&source, out, &err);
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    struct buf text;
    struct pickle_index index = {0};
    struct tensor_io_source source;
    two_arrays(&text);
    if (read_index(text.data, text.bytes, &index))
        fail_msg("%s", err.text);
    assert_int_equal(index.count, 2);
    const struct pickle_array *w = pickle_index_find(&index, "fc_0.w_0");
    assert_non_null(w);
    assert_int_equal(w->dtype, DTYPE_FP32);
    assert_int_equal(w->dims.rank, 2);
    assert_int_equal(w->dims.d[1], 3);
    float values[6];
    tensor_io_memory(&source, text.data, text.bytes, "m.pdparams");
    assert_int_equal(pickle_read_array(&source, w, values, &err), 0);
    assert_true(values[2] == -2 && values[3] == 3.5f);
    int64_t n;
    assert_int_equal(pickle_read_array(&source, pickle_index_find(&index, "dir/n"), &n, &err), 0);
    assert_int_equal(n, -3);
    assert_null(pickle_index_find(&index, "fc_0"));
    pickle_index_deinit(&index);
    buf_deinit(&text);
}

// No truncation is taken for whole. A changed byte may be another value or name, never a crash, and
// never more memory than the file says.
static void test_every_truncation_and_changed_byte(void **state)
{
    (void)state;
    struct buf text;
    two_arrays(&text);
    for (size_t n = 0; n < text.bytes; n++) {
        struct pickle_index index = {0};
        assert_true(read_index(text.data, n, &index) < 0);
        assert_non_null(strstr(err.text, "m.pdparams"));
        for (int bit = 0; bit < 8; bit++) {
            text.data[n] ^= (uint8_t)(1 << bit);
            if (read_index(text.data, text.bytes, &index) == 0) {
                struct tensor_io_source source;
                tensor_io_memory(&source, text.data, text.bytes, "m.pdparams");
                for (size_t i = 0; i < index.count; i++) {
                    const struct pickle_array *a = &index.items[i];
                    uint64_t count = 0;
                    assert_true(dims_count(&a->dims, dtype_bytes(a->dtype), &count));
                    void *out = mem_alloc((size_t)count * dtype_bytes(a->dtype));
                    assert_true(count * dtype_bytes(a->dtype) <= text.bytes);
                    pickle_read_array(&source, a, out, &err);
                    mem_free(out);
                }
                pickle_index_deinit(&index);
            }
            text.data[n] ^= (uint8_t)(1 << bit);
        }
    }
    buf_deinit(&text);
}

#define BYTES(text) text, sizeof text - 1

static void test_nothing_is_called(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
        int code;
        const char *says;
    } bad[] = {
        {BYTES("\x80\x02"
               "cos\nsystem\nX\x02\x00\x00\x00ls\x85R."),
         SL_EREFUSED, "os.system"},
        {BYTES("\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R."), SL_EREFUSED,
         "posix.system"},
        {BYTES("\x80\x02"
               "c__builtin__\neval\n."),
         SL_EREFUSED, "__builtin__.eval"},
        {BYTES("\x80\x02"
               "ios\nsystem\n."),
         SL_EREFUSED, "opcode 0x69"},
        {BYTES("\x80\x02}\x81."), SL_EREFUSED, "opcode 0x81"},
        {BYTES("(dp0\n."), SL_EUNSUPPORTED, "protocol 2, 3 or 4"},
        {BYTES("\x80\x05}."), SL_EUNSUPPORTED, "protocol"},
        {BYTES("\x80\x02K\x01."), SL_EFORMAT, "not a dict"},
        {BYTES("\x80\x02."), SL_EFORMAT, "not a dict"},
        {BYTES(""), SL_EFORMAT, "empty"},
        {BYTES("\x80\x02}h\x00."), SL_EFORMAT, "memo"},
        {BYTES("\x80\x02}u."), SL_EFORMAT, "mark"},
        {BYTES("\x80\x02}K\x01K\x02s."), SL_EFORMAT, "key"},
        {BYTES("\x80\x02R."), SL_EFORMAT, "stack"},
        {BYTES("\x80\x02K\x01"
               "K\x01"
               "b."),
         SL_EFORMAT, "BUILD"},
        {BYTES("\x80\x02X\xff\xff\xff\xffx."), SL_EFORMAT, "past the end"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pickle_index index = {0};
        int rc = read_index(bad[i].text, bad[i].bytes, &index);
        if (rc != bad[i].code || !strstr(err.text, bad[i].says))
            fail_msg("case %zu: %d %s", i, rc, err.text);
    }
}

static void test_an_empty_dict_and_values_that_are_no_arrays(void **state)
{
    (void)state;
    struct pickle_index index = {0};
    assert_int_equal(read_index(BYTES("\x80\x02}."), &index), 0);
    assert_int_equal(index.count, 0);
    // Paddle's dynamic graphs put a dict of names beside the arrays.
    static const char names[] = "\x80\x02}(X\x01\x00\x00\x00kq\x01}X\x01\x00\x00\x00"
                                "aX\x01\x00\x00\x00"
                                "bsX\x01\x00\x00\x00mK\x05u.";
    assert_int_equal(read_index(BYTES(names), &index), 0);
    assert_int_equal(index.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_every_truncation_and_changed_byte),
        cmocka_unit_test(test_nothing_is_called),
        cmocka_unit_test(test_an_empty_dict_and_values_that_are_no_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
