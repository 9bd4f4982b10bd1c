// SPDX-License-Identifier: Apache-2.0
// MNIST's idx files, plain and gzipped, whole and broken.
#include "tests/unit/reader/reader_fixture.h"

#include <zlib.h>

#define COUNT 5
#define IMAGE 6         // 2 x 3
#define FASHION "/usr/share/datasets/fashion-mnist"

static uint8_t images[16 + COUNT * IMAGE] = {0, 0, 8, 3, 0, 0, 0, COUNT, 0, 0, 0, 2, 0, 0, 0, 3};
static uint8_t labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, 0, COUNT};

static void put_gz(const char *name, const void *data, unsigned bytes)
{
    gzFile file = gzopen(at(name), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, data, bytes), bytes);
    assert_int_equal(gzclose(file), Z_OK);
}

static int setup(void **state)
{
    for (int i = 0; i < COUNT * IMAGE; i++)
        images[16 + i] = (uint8_t)(i * 8);
    for (int i = 0; i < COUNT; i++)
        labels[8 + i] = (uint8_t)(9 - i);
    return fixture_setup(state);
}

static void put_plain(void)
{
    put_bytes("train-images-idx3-ubyte", images, sizeof images);
    put_bytes("train-labels-idx1-ubyte", labels, sizeof labels);
}

static int open_idx(const char *path, bool test, struct reader **out, struct err *err)
{
    struct reader_options options = {
        .batch_size = 2, .ordered = true, .test = test, .keep_last = true};
    return reader_open(path, &options, out, err);
}

static void check_values(struct reader *reader)
{
    struct err err = {0};
    int at_sample = 0;
    while (reader_next(reader, &err) == 1) {
        const struct tensor *img = feed(reader, "img"), *label = feed(reader, "label");
        assert_int_equal(img->dims.d[1], IMAGE);
        assert_int_equal(label->dims.d[1], 1);
        for (int64_t i = 0; i < img->dims.d[0]; i++, at_sample++) {
            assert_int_equal(tensor_i64(label)[i], 9 - at_sample);
            for (int k = 0; k < IMAGE; k++) {
                float x = (float)((at_sample * IMAGE + k) * 8);
                assert_true(tensor_f32(img)[i * IMAGE + k] == x / 255.0f * 2.0f - 1.0f);
            }
        }
    }
    assert_int_equal(at_sample, COUNT);
}

static void test_pairs_are_read_plain_and_gzipped(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader;
    put_plain();
    assert_int_equal(open_idx(root_path, false, &reader, &err), 0);
    assert_int_equal(reader_item_bytes(reader, 0), sizeof images + sizeof labels);
    check_values(reader);
    reader_free(reader);
    assert_int_equal(open_idx(root_path, true, &reader, &err), SL_ENOENT);
    assert_non_null(strstr(err.text, "t10k-images"));
    put_gz("t10k-images-idx3-ubyte.gz", images, sizeof images);
    put_gz("t10k-labels-idx1-ubyte.gz", labels, sizeof labels);
    assert_int_equal(open_idx(root_path, true, &reader, &err), 0);
    check_values(reader);
    reader_free(reader);
    assert_int_equal(open_idx(at("t10k-images-idx3-ubyte.gz"), false, &reader, &err), 0);
    check_values(reader);
    reader_free(reader);
    unlink(at("t10k-labels-idx1-ubyte.gz"));
    assert_int_equal(open_idx(at("t10k-images-idx3-ubyte.gz"), false, &reader, &err), SL_ENOENT);
}

static void test_every_truncation_is_an_error(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader;
    for (size_t n = 0; n < sizeof images; n++) {
        put_plain();
        put_bytes("train-images-idx3-ubyte", images, n);
        assert_true(open_idx(root_path, false, &reader, &err) < 0);
        assert_non_null(strstr(err.text, "train-images-idx3-ubyte: offset"));
    }
    for (size_t n = 0; n < sizeof labels; n++) {
        put_plain();
        put_bytes("train-labels-idx1-ubyte", labels, n);
        assert_true(open_idx(root_path, false, &reader, &err) < 0);
        assert_non_null(strstr(err.text, "train-labels-idx1-ubyte: offset"));
    }
}

static void test_every_truncation_and_changed_byte_of_a_gzip_file_is_an_error(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader;
    put_gz("train-images-idx3-ubyte.gz", images, sizeof images);
    put_gz("train-labels-idx1-ubyte.gz", labels, sizeof labels);
    uint8_t packed[512];
    int harmless = 0;
    FILE *file = fopen(at("train-images-idx3-ubyte.gz"), "r");
    assert_non_null(file);
    size_t bytes = fread(packed, 1, sizeof packed, file);
    fclose(file);
    for (size_t n = 0; n < bytes; n++) {
        put_bytes("train-images-idx3-ubyte.gz", packed, n);
        assert_true(open_idx(root_path, false, &reader, &err) < 0);
        assert_non_null(strstr(err.text, "train-images-idx3-ubyte.gz"));
    }
    // Behind the 10 bytes of gzip's own header, where times and flags mean nothing. A bit may be
    // the padding of the last block; then the data is still right.
    for (size_t i = 10; i < bytes; i++) {
        packed[i] ^= 0x40;
        put_bytes("train-images-idx3-ubyte.gz", packed, bytes);
        packed[i] ^= 0x40;
        if (open_idx(root_path, false, &reader, &err) == 0) {
            check_values(reader);
            reader_free(reader);
            harmless++;
            continue;
        }
        assert_non_null(strstr(err.text, "train-images-idx3-ubyte.gz"));
    }
    assert_true(harmless <= 1);
}

static void test_wrong_headers_are_errors(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *reader;
    static const struct {
        size_t offset;
        uint8_t value;
    } changes[] = {{3, 1}, {2, 0},    {4, 0xff}, {7, 4},  {7, 6},
                   {7, 0}, {8, 0xff}, {11, 0},   {15, 0}, {12, 9}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        uint8_t kept = images[changes[i].offset];
        images[changes[i].offset] = changes[i].value;
        put_plain();
        images[changes[i].offset] = kept;
        assert_true(open_idx(root_path, false, &reader, &err) < 0);
    }
    put_plain();
    labels[7]++;
    put_bytes("train-labels-idx1-ubyte", labels, sizeof labels);
    labels[7]--;
    assert_int_equal(open_idx(root_path, false, &reader, &err), SL_EFORMAT);
    assert_non_null(strstr(err.text, "6 labels for 5 images"));
}

static void test_recorded_digits_are_what_fashion_mnist_gives(void **state)
{
    (void)state;
    struct err err = {0};
    struct reader *recorded, *reader;
    struct reader_options steps = {0}, options = {.batch_size = 32, .ordered = true};
    if (!fsutil_is_dir(FASHION)) {
        print_message("skipped: no " FASHION "\n");
        skip();
    }
    assert_int_equal(reader_open(golden("feeds/digits"), &steps, &recorded, &err), 0);
    assert_int_equal(reader_open(FASHION, &options, &reader, &err), 0);
    assert_int_equal(reader_samples(reader), 60000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reader_next(recorded, &err), 1);
        assert_int_equal(reader_next(reader, &err), 1);
        const struct tensor *a = feed(recorded, "img"), *b = feed(reader, "img");
        assert_true(dims_equal(&a->dims, &b->dims));
        assert_memory_equal(a->data, b->data, tensor_bytes(a));
        assert_memory_equal(feed(recorded, "label")->data, feed(reader, "label")->data, 32 * 8);
    }
    reader_free(recorded);
    reader_free(reader);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pairs_are_read_plain_and_gzipped),
        TEST(test_every_truncation_is_an_error),
        TEST(test_every_truncation_and_changed_byte_of_a_gzip_file_is_an_error),
        TEST(test_wrong_headers_are_errors),
        TEST(test_recorded_digits_are_what_fashion_mnist_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
