// SPDX-License-Identifier: Apache-2.0
// Arrays on disc: .npy files and CIFAR's records.
#include "tests/unit/reader/reader_fixture.h"

#include <zlib.h>

// A .npy file of version 1 with this dictionary and data.
static size_t npy_bytes(const char *dict, const void *data, size_t bytes, char *out)
{
    size_t n = strlen(dict);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(n & 255);
    out[9] = (char)(n >> 8);
    memcpy(out + 10, dict, n);
    memcpy(out + 10 + n, data, bytes);
    return 10 + n + bytes;
}

static void put_npy(const char *name, const char *dict, const void *data, size_t bytes)
{
    char file[1000];
    put_bytes(name, file, npy_bytes(dict, data, bytes, file));
}

static const float xs[7] = {1, 2, 3, 4, 5, 6};   // the last is never part of a good file
#define X_BYTES (6 * sizeof *xs)
static const int64_t ys[] = {7, 8, 9};
#define X_DICT "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n"
#define Y_DICT "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }\n"

static void expect_arrays(struct reader *reader)
{
    static const float back[] = {3, 4, 5, 6};
    assert_int_equal(reader_samples(reader), 3);
    next_batch(reader);
    assert_memory_equal(feed(reader, "x")->data, xs, 2 * sizeof *xs);
    next_batch(reader);
    assert_memory_equal(feed(reader, "x")->data, back, 2 * sizeof *xs);
    next_batch(reader);
    assert_int_equal(feed(reader, "x")->dims.rank, 2);
    assert_int_equal(feed(reader, "y")->dims.rank, 1);
    assert_int_equal(tensor_i64(feed(reader, "y"))[0], 9);
    reader_free(reader);
}

static void test_npy_folders_and_pairs(void **state)
{
    (void)state;
    struct reader_options options = text_options(1);
    char uri[1600], file[1000];
    assert_int_equal(mkdir(at("set"), 0700), 0);
    put_npy("set/x.npy", X_DICT, xs, X_BYTES);
    size_t bytes = npy_bytes(Y_DICT, ys, sizeof ys, file);
    gzFile packed = gzopen(at("set/y.npy.gz"), "wb");
    assert_int_equal(gzwrite(packed, file, (unsigned)bytes), (int)bytes);
    gzclose(packed);
    expect_arrays(open_data(at("set"), &options));
    snprintf(uri, sizeof uri, "npy://y=%s;x=%s", at("set/y.npy.gz"), at("set/x.npy"));
    expect_arrays(open_data(uri, &options));
    snprintf(uri, sizeof uri, "%s", at("set/x.npy"));
    struct reader *reader = open_data(uri, &options);
    assert_int_equal(reader_feeds(reader), 1);
    reader_free(reader);
    // Shape [-1,1] of the program for an array of one axis.
    const struct reader_want wants[] = {{.name = "y", .dims = {.rank = 2, .d = {-1, 1}}}};
    options.wants = wants;
    options.wants_count = 1;
    reader = open_data(at("set"), &options);
    next_batch(reader);
    assert_int_equal(reader_feeds(reader), 1);
    assert_int_equal(feed(reader, "y")->dims.rank, 2);
    reader_free(reader);
}

static void test_broken_npy(void **state)
{
    (void)state;
    struct reader_options options = text_options(1);
    char file[1000];
    static const struct {
        const char *dict, *says;
        size_t bytes;
    } rows[] = {
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }\n", "ortran", 24},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }\n", "big endian", 24},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (3, 1), }\n", "<c8", 24},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", "what its header", 20},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", "what its header", 28},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", "without an axis", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0), }\n", "no elements", 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 16), }\n", "",
         24},
        {"{'descr': '<f4', 'fortran_order': False, }\n", "shape", 24},
        {"", "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_npy("x.npy", rows[i].dict, xs, rows[i].bytes);
        refuses(at("x.npy"), &options, rows[i].says);
        refuses(at("x.npy"), &options, "x.npy");
    }
    size_t bytes = npy_bytes(X_DICT, xs, X_BYTES, file);
    for (size_t cut = 0; cut < bytes; cut++) {
        put_bytes("x.npy", file, cut);
        refuses(at("x.npy"), &options, "x.npy");
    }
    char uri[1600];
    put_npy("x.npy", X_DICT, xs, X_BYTES);
    put_npy("y.npy", "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }\n", ys, 16);
    snprintf(uri, sizeof uri, "npy://x=%s;y=%s", at("x.npy"), at("y.npy"));
    refuses(uri, &options, "y.npy: has 2 rows");
    refuses("npy://x=;y", &options, "must be NAME=FILE");
    refuses("npy:///", &options, "has no files *.npy");
}

static void put_records(const char *name, size_t labels, int count, int first)
{
    FILE *file = fopen(at(name), "w");
    assert_non_null(file);
    for (int i = first; i < first + count; i++) {
        for (size_t k = 0; k < labels; k++)
            fputc(k + 1 == labels ? i : 100 + i, file);
        for (int k = 0; k < 3072; k++)
            fputc((i + k) & 255, file);
    }
    fclose(file);
}

static void test_cifar_records(void **state)
{
    (void)state;
    struct reader_options options = text_options(2);
    assert_int_equal(mkdir(at("ten"), 0700), 0);
    put_records("ten/data_batch_1.bin", 1, 3, 0);
    put_records("ten/data_batch_2.bin", 1, 2, 3);
    put_records("ten/test_batch.bin", 1, 2, 50);
    struct reader *reader = open_data(at("ten"), &options);
    assert_int_equal(reader_samples(reader), 5);
    next_batch(reader);
    next_batch(reader);
    assert_int_equal(tensor_i64(feed(reader, "label"))[0], 2);
    assert_int_equal(tensor_i64(feed(reader, "label"))[1], 3);
    assert_int_equal(feed(reader, "img")->dims.rank, 4);
    assert_int_equal(feed(reader, "img")->dims.d[1], 3);
    assert_true(tensor_f32(feed(reader, "img"))[3072 + 10] == 13.0f / 255.0f);
    reader_free(reader);
    options.test = true;
    reader = open_data(at("ten"), &options);
    assert_int_equal(reader_samples(reader), 2);
    reader_free(reader);
    options.test = false;
    put_records("train.bin", 2, 4, 7);
    reader = open_data(at("train.bin"), &options);
    next_batch(reader);
    assert_int_equal(tensor_i64(feed(reader, "label"))[1], 8);   // the fine one
    reader_free(reader);
    put_bytes("train.bin", "abc", 3);
    refuses(at("train.bin"), &options, "3 bytes are no whole number of records");
    put_bytes("train.bin", "", 0);
    refuses(at("train.bin"), &options, "0 bytes are no whole number of records");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_npy_folders_and_pairs),
        TEST(test_broken_npy),
        TEST(test_cifar_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
