// SPDX-License-Identifier: Apache-2.0
// A variable of 4.8 GB: rows on both sides of 2 GiB and of 4 GiB reach the servers that own them,
// and nobody reads or holds more than that. Its plain file has holes, so it costs nothing; a save
// of all its bytes is made when SLUICE_TEST_HUGE is set.
#include "tests/unit/ckpt/ckpt_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROWS 1200000
#define WIDTH 1000
#define ROW_BYTES (WIDTH * sizeof(float))
#define DATA_OFFSET 29   // version, no LoD, version, length and text of the description

// Slices in row order; the odd ones are gaps, whose servers are never started. Bytes 2^31 and 2^32
// of the data lie in rows 536870 and 1073741.
static const int64_t starts[] = {0, 100, 536800, 536900, 1073700, 1073800, 1199900, ROWS};
#define SERVERS (sizeof starts / sizeof *starts - 1)

static void table_map(struct slice_map *map)
{
    const struct dims full = {.rank = 2, .d = {ROWS, WIDTH}};
    struct err err = {0};
    slice_map_init(map);
    map->servers = (int)SERVERS;
    map->trainers = 1;
    struct slice_var *var = slice_map_add(map, "table", SLICE_PARAM, NULL, DTYPE_FP32, &full);
    for (size_t k = 0; k < SERVERS; k++) {
        char name[32];
        snprintf(name, sizeof name, "table.block%zu", k);
        slice_var_add(var, (int)k, starts[k], starts[k + 1] - starts[k], name);
    }
    assert_int_equal(slice_map_finish(map, &err), 0);
}

static float element(int64_t row, int64_t column)
{
    return (float)(row * 7 + column);   // exact: below 2^24
}

// A source that makes its rows up.
static int make_rows(void *self, size_t i, int64_t row, int64_t rows, void *out, struct err *err)
{
    (void)self, (void)i, (void)err;
    float *to = out;
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t c = 0; c < WIDTH; c++)
            *to++ = element(r, c);
    return 0;
}

// /proc/self/io's count of bytes that were asked for.
static uint64_t bytes_read(void)
{
    char text[512] = {0};
    int fd = open("/proc/self/io", O_RDONLY);
    assert_true(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    char *at_count = strstr(text, "rchar: ");
    assert_non_null(at_count);
    return strtoull(at_count + 7, NULL, 10);
}

static int load(const struct slice_map *map, int server, uint64_t *out_read)
{
    struct program *program = server_program(map, server);
    struct scope *scope = scope_new();
    struct ckpt_report report;
    struct err err = {0};
    const struct ckpt_load_options options = {.slices = map, .server = server};
    ckpt_report_init(&report);
    const uint64_t before = bytes_read();
    int rc = ckpt_load(at("t"), program, scope, &options, &report, &err);
    *out_read = bytes_read() - before;
    if (rc == 0) {
        char name[32];
        snprintf(name, sizeof name, "table.block%d", server);
        const struct tensor *part = value_of(scope, name);
        const int64_t rows = starts[server + 1] - starts[server];
        assert_int_equal(part->dims.d[0], rows);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < WIDTH; c++)
                assert_true(tensor_f32(part)[r * WIDTH + c] == element(starts[server] + r, c));
    }
    ckpt_report_deinit(&report);
    scope_free(scope);
    program_free(program);
    return rc;
}

static long resident_peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static void test_rows_beyond_4_gib_of_a_plain_file(void **state)
{
    (void)state;
    static const uint8_t header[DATA_OFFSET] = {[16] = 9, 0,    0,    0,    0x08, 0x05, 0x10,
                                                0x80,     0x9f, 0x49, 0x10, 0xe8, 0x07};
    static float row[WIDTH];
    struct slice_map map;
    table_map(&map);
    assert_int_equal(mkdir(at("t"), 0755), 0);
    int fd = open(at("t/table"), O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0 && pwrite(fd, header, sizeof header, 0) == sizeof header);
    assert_int_equal(ftruncate(fd, DATA_OFFSET + (off_t)(ROWS * ROW_BYTES)), 0);
    for (size_t k = 0; k < SERVERS; k += 2)
        for (int64_t r = starts[k]; r < starts[k + 1]; r++) {
            make_rows(NULL, 0, r, 1, row, NULL);
            assert_int_equal(pwrite(fd, row, ROW_BYTES, DATA_OFFSET + (off_t)r * (off_t)ROW_BYTES),
                             ROW_BYTES);
        }
    close(fd);
    for (size_t k = 0; k < SERVERS; k += 2) {
        uint64_t read;
        assert_int_equal(load(&map, (int)k, &read), 0);
        assert_in_range(read, 1, 100 * ROW_BYTES + (1 << 20));
    }
    assert_in_range(resident_peak_mib(), 1, 128);
    // One byte less than the header says.
    assert_int_equal(truncate(at("t/table"), DATA_OFFSET + (off_t)(ROWS * ROW_BYTES) - 1), 0);
    for (size_t k = 0; k < SERVERS; k += 2) {
        uint64_t read;
        assert_true(load(&map, (int)k, &read) < 0);
    }
    slice_map_deinit(&map);
}

static void test_a_save_beyond_4_gib_streams(void **state)
{
    (void)state;
    if (getenv("SLUICE_TEST_HUGE") == NULL) {
        print_message("SLUICE_TEST_HUGE is not set: no file of 4.8 GB is written\n");
        skip();
    }
    struct ckpt_var var = {.name = "table",
                           .kind = VARIABLE_TENSOR,
                           .dtype = DTYPE_FP32,
                           .dims = {.rank = 2, .d = {ROWS, WIDTH}}};
    struct ckpt_source source = {&var, 1, make_rows, NULL};
    struct slice_map map;
    struct err err = {0};
    uint64_t read;
    table_map(&map);
    if (ckpt_save(&source, at("t"), NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    for (size_t k = 0; k < SERVERS; k += 2) {
        assert_int_equal(load(&map, (int)k, &read), 0);
        // Whole blocks of the manifest's sums.
        assert_in_range(read, 1, 16 << 20);
    }
    assert_in_range(resident_peak_mib(), 1, 192);
    // A bit in row 1073750, which lies behind 4 GiB: its server sees it, another does not.
    uint8_t byte;
    const off_t place = DATA_OFFSET + (off_t)1073750 * (off_t)ROW_BYTES + 5;
    int fd = open(at("t/table"), O_RDWR);
    assert_true(fd >= 0 && pread(fd, &byte, 1, place) == 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, place), 1);
    close(fd);
    assert_int_equal(load(&map, 4, &read), SL_ECORRUPT);
    assert_int_equal(load(&map, 6, &read), 0);
    slice_map_deinit(&map);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rows_beyond_4_gib_of_a_plain_file),
        TEST(test_a_save_beyond_4_gib_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
