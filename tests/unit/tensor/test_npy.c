// SPDX-License-Identifier: Apache-2.0
// Headers as numpy writes them, and what others may hand us.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/tensor/npy.h"

// A file with this dict, of format major.0.
static void make(struct buf *out, unsigned major, const char *dict)
{
    size_t length = strlen(dict);
    const uint8_t head[] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)major, 0, (uint8_t)length, (uint8_t)(length >> 8),
        0,    0};
    buf_init(out, 0);
    buf_append(out, head, major == 1 ? 10 : 12);
    buf_append(out, dict, length);
}

static int read_dict(unsigned major, const char *dict, struct npy_header *out, struct err *err)
{
    struct buf file;
    make(&file, major, dict);
    int rc = npy_read(file.data, file.bytes, "x.npy", out, err);
    if (rc == 0)
        assert_int_equal(out->data_offset, file.bytes);
    buf_deinit(&file);
    return rc;
}

static void test_what_numpy_writes_is_read(void **state)
{
    (void)state;
    struct npy_header h;
    struct err err = {0};
    const char *dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }          \n";
    for (unsigned major = 1; major <= 3; major++) {
        assert_int_equal(read_dict(major, dict, &h, &err), 0);
        assert_int_equal(h.dtype, DTYPE_FP32);
        assert_true(dims_equal(&h.dims, &(struct dims){.rank = 2, .d = {3, 4}}));
    }
    assert_int_equal(
        read_dict(1, "{\"shape\": (5L,), 'descr':'|b1','fortran_order' : False}", &h, &err), 0);
    assert_int_equal(h.dtype, DTYPE_BOOL);
    assert_true(dims_equal(&h.dims, &(struct dims){.rank = 1, .d = {5}}));
    assert_int_equal(
        read_dict(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (), }\n", &h, &err), 0);
    assert_int_equal(h.dims.rank, 0);
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    const enum dtype types[] = {DTYPE_BOOL, DTYPE_INT16, DTYPE_INT32, DTYPE_INT64, DTYPE_FP16,
                                DTYPE_FP32, DTYPE_FP64,  DTYPE_UINT8, DTYPE_INT8};
    const struct dims shapes[] = {{.rank = 0},
                                  {.rank = 1, .d = {7}},
                                  {.rank = 3, .d = {2, 0, 9}},
                                  {.rank = 1, .d = {INT64_C(1) << 33}}};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            struct buf file;
            struct npy_header h;
            struct err err = {0};
            buf_init(&file, 0);
            assert_int_equal(npy_append(types[t], &shapes[i], &file), 0);
            assert_int_equal(file.bytes % 64, 0);
            assert_int_equal(npy_read(file.data, file.bytes, "x", &h, &err), 0);
            assert_int_equal(h.dtype, types[t]);
            assert_true(dims_equal(&h.dims, &shapes[i]));
            for (size_t cut = 0; cut < file.bytes; cut++)
                assert_true(npy_read(file.data, cut, "x", &h, &err) < 0);
            buf_deinit(&file);
        }
}

static void refused(const char *dict, int code, const char *text)
{
    struct npy_header h;
    struct err err = {0};
    assert_int_equal(read_dict(1, dict, &h, &err), code);
    if (strstr(err.text, text) == NULL)
        fail_msg("%s\nlacks: %s", err.text, text);
}

static void test_others_are_refused_by_name(void **state)
{
    (void)state;
    refused("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }", SL_EUNSUPPORTED,
            "ascontiguousarray");
    refused("{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }", SL_EUNSUPPORTED,
            "big endian");
    refused("{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }", SL_EUNSUPPORTED, "<c8");
    refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", SL_EUNSUPPORTED,
            "no plain numbers");
    refused("{'descr': '<f4', 'fortran_order': False}", SL_EFORMAT, "lacks 'shape'");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}", SL_EFORMAT, "tuple");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2)}",
            SL_ELIMIT, "larger");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", SL_ELIMIT,
            "overflows");
    refused("{'descr': '<f4', 'fortran_order': None, 'shape': (1,)}", SL_EFORMAT, "neither");
    refused("{'descr': '<f4', 'evil': __import__('os'), }", SL_EFORMAT, "unknown key");
    refused("[]", SL_EFORMAT, "no dict");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_numpy_writes_is_read),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_others_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
