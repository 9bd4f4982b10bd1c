// SPDX-License-Identifier: Apache-2.0
// Fluid's byte format: known bytes, round trips, every truncation, every single-byte corruption.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/tensor/tensor_io.h"

// A [2,3] float32 LoDTensor with one LoD level {0,1,2}, as Fluid writes it, without the data.
static const uint8_t lod_header[] = {
    0, 0, 0, 0,                                     // version
    1, 0, 0, 0, 0, 0, 0, 0,                         // levels
    24, 0, 0, 0, 0, 0, 0, 0,                        // bytes of the level
    0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0,                                     // tensor version
    6, 0, 0, 0,                                     // bytes of the TensorDesc
    0x08, 5, 0x10, 2, 0x10, 3,                      // data_type, dims
};
// Selected rows {4, 1} of a [7,3] table, without the data.
static const uint8_t rows_header[] = {
    0, 0, 0, 0,
    2, 0, 0, 0, 0, 0, 0, 0,
    4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    7, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0,
    6, 0, 0, 0,
    0x08, 5, 0x10, 2, 0x10, 3,
};
static const float values[6] = {0.5f, -1, 2, 3, 1e-30f, 5};

static void file_of(const uint8_t *header, size_t bytes, struct buf *out)
{
    buf_init(out, 0);
    buf_append(out, header, bytes);
    buf_append(out, values, sizeof values);
}

static int read_bytes(const void *data, size_t bytes, enum variable_kind kind, struct variable *out,
                      uint64_t *used, struct err *err)
{
    struct tensor_io_source source;
    tensor_io_memory(&source, data, bytes, "mem");
    return tensor_io_read(&source, 0, kind, out, used, err);
}

static void encode(const struct variable *var, struct buf *out)
{
    const struct tensor *data = var->kind == VARIABLE_TENSOR ? &var->tensor : &var->rows.value;
    buf_init(out, 0);
    assert_int_equal(var->kind == VARIABLE_TENSOR ? tensor_io_encode_header(&var->tensor, out)
                                                  : tensor_io_encode_rows_header(&var->rows, out),
                     0);
    if (tensor_bytes(data))
        buf_append(out, data->data, tensor_bytes(data));
}

static void reads_and_writes(const uint8_t *header, size_t bytes, enum variable_kind kind)
{
    struct buf file, again;
    struct variable var;
    struct err err = {0};
    uint64_t used = 0;
    variable_init(&var);
    file_of(header, bytes, &file);
    assert_int_equal(read_bytes(file.data, file.bytes, kind, &var, &used, &err), 0);
    assert_int_equal(used, file.bytes);
    encode(&var, &again);
    assert_int_equal(again.bytes, file.bytes);
    assert_memory_equal(again.data, file.data, file.bytes);
    variable_deinit(&var);
    buf_deinit(&file);
    buf_deinit(&again);
}

static void test_tensor_io_reads_and_writes_fluids_bytes(void **state)
{
    (void)state;
    reads_and_writes(lod_header, sizeof lod_header, VARIABLE_TENSOR);
    reads_and_writes(rows_header, sizeof rows_header, VARIABLE_SELECTED_ROWS);
}

static void cut_everywhere(const uint8_t *header, size_t bytes, enum variable_kind kind)
{
    struct buf file;
    file_of(header, bytes, &file);
    for (size_t length = 0; length < file.bytes; length++) {
        struct variable var;
        struct err err = {0};
        variable_init(&var);
        // A copy of the exact length, so that a sanitizer sees any read behind the end.
        uint8_t *cut = mem_alloc(length);
        memcpy(cut, file.data, length);
        assert_int_equal(read_bytes(cut, length, kind, &var, NULL, &err), SL_EFORMAT);
        assert_non_null(strstr(err.text, "mem: "));
        assert_non_null(strstr(err.text, "cut off"));
        assert_int_equal(var.kind, VARIABLE_EMPTY);
        mem_free(cut);
    }
    buf_deinit(&file);
}

static void test_tensor_io_rejects_every_truncation(void **state)
{
    (void)state;
    cut_everywhere(lod_header, sizeof lod_header, VARIABLE_TENSOR);
    cut_everywhere(rows_header, sizeof rows_header, VARIABLE_SELECTED_ROWS);
}

// Whatever was accepted fits the file and is written back to the same meaning.
static void check_consistent(const struct variable *var, uint64_t used, size_t bytes)
{
    struct variable again;
    struct buf file;
    assert_true(used <= bytes);
    variable_init(&again);
    encode(var, &file);
    assert_int_equal(read_bytes(file.data, file.bytes, var->kind, &again, NULL, NULL), 0);
    const struct tensor *a = var->kind == VARIABLE_TENSOR ? &var->tensor : &var->rows.value;
    const struct tensor *b = again.kind == VARIABLE_TENSOR ? &again.tensor : &again.rows.value;
    assert_true(dims_equal(&a->dims, &b->dims));
    assert_int_equal(a->dtype, b->dtype);
    if (tensor_bytes(a))
        assert_memory_equal(a->data, b->data, tensor_bytes(a));
    buf_deinit(&file);
    variable_deinit(&again);
}

static void corrupt_everywhere(const uint8_t *header, size_t bytes, enum variable_kind kind)
{
    struct buf file;
    file_of(header, bytes, &file);
    for (size_t at = 0; at < bytes; at++)
        for (int value = 0; value < 256; value++) {
            struct variable var;
            struct err err = {0};
            uint64_t used = 0;
            uint8_t old = file.data[at];
            variable_init(&var);
            file.data[at] = (uint8_t)value;
            int rc = read_bytes(file.data, file.bytes, kind, &var, &used, &err);
            if (rc)
                assert_true(rc < 0 && err.text[0]);
            else
                check_consistent(&var, used, file.bytes);
            file.data[at] = old;
            variable_deinit(&var);
        }
    buf_deinit(&file);
}

static void test_tensor_io_survives_every_corrupted_byte(void **state)
{
    (void)state;
    corrupt_everywhere(lod_header, sizeof lod_header, VARIABLE_TENSOR);
    corrupt_everywhere(rows_header, sizeof rows_header, VARIABLE_SELECTED_ROWS);
}

static void reading_fails(size_t at, uint8_t value, enum variable_kind kind, const char *text)
{
    struct buf file;
    struct variable var;
    struct err err = {0};
    variable_init(&var);
    if (kind == VARIABLE_TENSOR)
        file_of(lod_header, sizeof lod_header, &file);
    else
        file_of(rows_header, sizeof rows_header, &file);
    file.data[at] = value;
    assert_int_equal(read_bytes(file.data, file.bytes, kind, &var, NULL, &err), SL_EFORMAT);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    buf_deinit(&file);
}

static void test_tensor_io_errors_name_the_field(void **state)
{
    (void)state;
    reading_fails(0, 1, VARIABLE_TENSOR, "byte 0: version is 1");
    reading_fails(4, 17, VARIABLE_TENSOR, "byte 4: LoD level count 17");
    reading_fails(12, 25, VARIABLE_TENSOR, "whole number of 8-byte offsets");
    reading_fails(14, 1, VARIABLE_TENSOR, "LoD offsets needs");
    reading_fails(44, 1, VARIABLE_TENSOR, "byte 44: tensor version is 1");
    reading_fails(48, 0, VARIABLE_TENSOR, "length of the TensorDesc");
    reading_fails(51, 0x80, VARIABLE_TENSOR, "length of the TensorDesc");
    reading_fails(53, 7, VARIABLE_TENSOR, "data_type is no element type");
    reading_fails(52, 0x18, VARIABLE_TENSOR, "no data_type");
    reading_fails(52, 0x0f, VARIABLE_TENSOR, "malformed");
    reading_fails(55, 100, VARIABLE_TENSOR, "dims [100,3] of float32 need 1200 bytes");
    reading_fails(11, 1, VARIABLE_SELECTED_ROWS, "row indices needs");
    reading_fails(12, 7, VARIABLE_SELECTED_ROWS, "row index is not below the height");
    reading_fails(35, 0x80, VARIABLE_SELECTED_ROWS, "height is negative");
    reading_fails(47, 1, VARIABLE_SELECTED_ROWS, "do not begin with the 2 row indices");
}

static void test_tensor_io_accepts_packed_dims_and_unknown_fields(void **state)
{
    (void)state;
    static const uint8_t desc[] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0,
        0x12, 2, 2, 3,                  // dims, packed
        0x1a, 1, 'x',                   // field 3, bytes
        0x25, 1, 2, 3, 4,               // field 4, fixed32
        0x28, 0xff, 1,                  // field 5, varint
        0x08, 5,
    };
    struct buf file;
    struct variable var;
    struct err err = {0};
    variable_init(&var);
    file_of(desc, sizeof desc, &file);
    assert_int_equal(read_bytes(file.data, file.bytes, VARIABLE_TENSOR, &var, NULL, &err), 0);
    assert_int_equal(var.tensor.dims.rank, 2);
    assert_int_equal(var.tensor.dims.d[1], 3);
    assert_memory_equal(var.tensor.data, values, sizeof values);
    variable_deinit(&var);
    buf_deinit(&file);
}

static void test_tensor_io_keeps_empty_and_scalar_tensors(void **state)
{
    (void)state;
    const struct dims shapes[] = {
        {0}, {.rank = 1}, {.rank = 2, .d = {0, 7}}, {.rank = 1, .d = {1}}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct variable var, again;
        struct buf file;
        variable_init(&var);
        variable_init(&again);
        assert_int_equal(tensor_resize(variable_tensor(&var), DTYPE_INT64, &shapes[i]), 0);
        if (tensor_bytes(&var.tensor))
            tensor_i64(&var.tensor)[0] = -5;
        encode(&var, &file);
        assert_int_equal(read_bytes(file.data, file.bytes, VARIABLE_TENSOR, &again, NULL, NULL), 0);
        assert_true(dims_equal(&again.tensor.dims, &shapes[i]));
        assert_int_equal(again.tensor.dtype, DTYPE_INT64);
        variable_deinit(&var);
        variable_deinit(&again);
        buf_deinit(&file);
    }
}

static void test_tensor_io_reads_single_rows_behind_an_offset(void **state)
{
    (void)state;
    struct buf file;
    struct tensor_io_source source;
    struct tensor_io_header header;
    struct tensor out;
    struct err err = {0};
    buf_init(&file, 0);
    buf_append(&file, "junk", 4);
    buf_append(&file, lod_header, sizeof lod_header);
    buf_append(&file, values, sizeof values);
    buf_append(&file, "surplus", 7);
    tensor_io_memory(&source, file.data, file.bytes, "mem");
    tensor_init(&out);
    assert_int_equal(tensor_io_read_header(&source, 4, VARIABLE_TENSOR, &header, &err), 0);
    assert_int_equal(header.data_offset, sizeof lod_header);
    assert_int_equal(header.data_bytes, sizeof values);
    assert_int_equal(source.size - 4 - header.data_offset - header.data_bytes, 7);
    assert_int_equal(tensor_io_read_rows(&source, 4, &header, 1, 1, &out, &err), 0);
    assert_int_equal(out.dims.d[0], 1);
    assert_memory_equal(out.data, values + 3, 3 * sizeof(float));
    assert_int_equal(tensor_io_read_rows(&source, 4, &header, 2, 0, &out, &err), 0);
    assert_int_equal(tensor_count(&out), 0);
    const int64_t wrong[][2] = {{0, 3}, {2, 1}, {-1, 1}, {1, -1}, {1, INT64_MAX}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(
            tensor_io_read_rows(&source, 4, &header, wrong[i][0], wrong[i][1], &out, &err),
            SL_EMISMATCH);
    tensor_io_header_deinit(&header);
    assert_int_equal(tensor_io_read_header(&source, file.bytes + 1, VARIABLE_TENSOR, &header, &err),
                     SL_EFORMAT);
    assert_int_equal(tensor_io_read_header(&source, 0, VARIABLE_EMPTY, &header, &err), SL_EINVAL);
    tensor_deinit(&out);
    buf_deinit(&file);
}

static void test_tensor_io_reports_every_failed_allocation(void **state)
{
    (void)state;
    struct buf file;
    file_of(lod_header, sizeof lod_header, &file);
    int rc = SL_ENOMEM;
    for (long nth = 1; rc; nth++) {
        struct variable var;
        struct err err = {0};
        variable_init(&var);
        mem_fail_nth(nth);
        rc = read_bytes(file.data, file.bytes, VARIABLE_TENSOR, &var, NULL, &err);
        mem_fail_nth(0);
        assert_true(rc == 0 || rc == SL_ENOMEM);
        variable_deinit(&var);
        assert_true(nth < 20);
    }
    buf_deinit(&file);
}

static void test_tensor_io_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_tensor_io.XXXXXX", path[64];
    struct variable var, again;
    struct buf file;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/fc_0.w_0", dir);
    variable_init(&var);
    variable_init(&again);
    assert_int_equal(tensor_io_save(&var, path, &err), SL_EINVAL);
    file_of(rows_header, sizeof rows_header, &file);
    assert_int_equal(read_bytes(file.data, file.bytes, VARIABLE_SELECTED_ROWS, &var, NULL, &err),
                     0);
    assert_int_equal(tensor_io_save(&var, path, &err), 0);
    assert_int_equal(tensor_io_load(path, VARIABLE_SELECTED_ROWS, &again, &err), 0);
    assert_int_equal(again.rows.rows[1], 1);
    assert_memory_equal(again.rows.value.data, values, sizeof values);
    assert_int_equal(tensor_io_load(path, VARIABLE_TENSOR, &again, &err), SL_EFORMAT);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(tensor_io_load(dir, VARIABLE_TENSOR, &again, &err), SL_EFORMAT);
    assert_non_null(strstr(err.text, "not a regular file"));
    unlink(path);
    assert_int_equal(tensor_io_load(path, VARIABLE_TENSOR, &again, &err), SL_ENOENT);
    rmdir(dir);
    variable_deinit(&var);
    variable_deinit(&again);
    buf_deinit(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensor_io_reads_and_writes_fluids_bytes),
        cmocka_unit_test(test_tensor_io_rejects_every_truncation),
        cmocka_unit_test(test_tensor_io_survives_every_corrupted_byte),
        cmocka_unit_test(test_tensor_io_errors_name_the_field),
        cmocka_unit_test(test_tensor_io_accepts_packed_dims_and_unknown_fields),
        cmocka_unit_test(test_tensor_io_keeps_empty_and_scalar_tensors),
        cmocka_unit_test(test_tensor_io_reads_single_rows_behind_an_offset),
        cmocka_unit_test(test_tensor_io_reports_every_failed_allocation),
        cmocka_unit_test(test_tensor_io_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
