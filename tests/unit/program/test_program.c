// SPDX-License-Identifier: Apache-2.0
// Programs and their bytes: hand-made messages with what newer or odd writers put into them, every
// truncation, every single-byte corruption, failed allocations.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/program/program.h"
#include "common/program/program_text.h"
#include "common/program/slice_map.h"

// A tiny writer of protobuf: fields (1 to 15) are appended in the order of the calls.
static void put_key(struct buf *out, unsigned field, unsigned wire)
{
    uint8_t byte = (uint8_t)(field << 3 | wire);
    buf_append(out, &byte, 1);
}

static void put_number(struct buf *out, unsigned field, uint64_t value)
{
    put_key(out, field, 0);
    do {
        uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        buf_append(out, &byte, 1);
        value >>= 7;
    } while (value);
}

static void put_bytes(struct buf *out, unsigned field, const void *data, size_t bytes)
{
    uint8_t length = (uint8_t)(bytes & 0x7f);
    put_key(out, field, 2);
    if (bytes > 0x7f) {
        uint8_t low = length | 0x80;
        buf_append(out, &low, 1);
        length = (uint8_t)(bytes >> 7);
    }
    buf_append(out, &length, 1);
    buf_append(out, data, bytes);
}

static void put_text(struct buf *out, unsigned field, const char *text)
{
    put_bytes(out, field, text, strlen(text));
}

// Appends inner as field and empties it.
static void put_message(struct buf *out, unsigned field, struct buf *inner)
{
    put_bytes(out, field, inner->data, inner->bytes);
    buf_clear(inner);
}

static void put_var(struct buf *block, const char *name, bool odd)
{
    struct buf var = {0}, type = {0}, lod = {0}, tensor = {0};
    put_number(&tensor, 1, 5);
    put_number(&tensor, 2, UINT64_MAX);         // -1
    put_number(&tensor, 2, 784);
    put_message(&lod, 1, &tensor);
    put_number(&lod, 2, 1);
    put_number(&type, 1, odd ? 8 : 7);          // selected rows with a left-over lod_tensor
    if (odd) {
        put_number(&tensor, 1, 5);
        put_number(&tensor, 2, 7);
        put_message(&type, 2, &tensor);
    }
    put_message(&type, 3, &lod);
    put_text(&var, 1, name);
    put_message(&var, 2, &type);
    put_number(&var, 3, odd);
    if (odd)
        put_number(&var, 5, 1);                 // a field of 2.x
    put_message(block, 3, &var);
    buf_deinit(&var);
    buf_deinit(&type);
    buf_deinit(&lod);
    buf_deinit(&tensor);
}

static void put_attr_head(struct buf *attr, const char *name, unsigned type)
{
    put_text(attr, 1, name);
    put_number(attr, 2, type);
}

// Attributes that 1.x never writes so: a value beside the value, no value, an unknown type, a NUL.
static void put_odd_attrs(struct buf *op)
{
    struct buf attr = {0};
    put_attr_head(&attr, "two", 0);
    put_number(&attr, 3, 7);
    put_number(&attr, 10, 1);
    put_message(op, 4, &attr);
    put_attr_head(&attr, "none", 0);
    put_message(op, 4, &attr);
    put_attr_head(&attr, "newer", 15);
    put_number(&attr, 9, 3);
    put_message(op, 4, &attr);
    put_attr_head(&attr, "raw", 2);
    put_bytes(&attr, 5, "a\0\xff", 3);
    put_message(op, 4, &attr);
    buf_deinit(&attr);
}

static void put_op(struct buf *block, bool odd)
{
    struct buf op = {0}, slot = {0}, attr = {0};
    put_text(&slot, 1, "X");
    put_text(&slot, 2, "x");
    put_text(&slot, 2, "y");
    if (odd)
        put_number(&slot, 3, 9);
    put_message(&op, 1, &slot);
    put_text(&slot, 1, "Out");
    put_message(&op, 2, &slot);
    put_text(&op, 3, "sum");
    put_attr_head(&attr, "op_role", 0);
    put_number(&attr, 3, UINT64_MAX);
    put_message(&op, 4, &attr);
    put_attr_head(&attr, "names", 5);
    put_text(&attr, 8, "p");
    put_text(&attr, 8, "");
    put_message(&op, 4, &attr);
    if (odd)
        put_odd_attrs(&op);
    put_number(&op, 5, 0);
    if (odd)
        put_text(&op, 9, "newer");
    put_message(block, 4, &op);
    buf_deinit(&op);
    buf_deinit(&slot);
    buf_deinit(&attr);
}

static void make_file(struct buf *out, bool odd)
{
    struct buf block = {0}, inner = {0};
    buf_init(out, 0);
    put_number(&block, 1, 0);
    put_number(&block, 2, UINT64_MAX);
    put_var(&block, "x", false);
    put_var(&block, "y", odd);
    put_op(&block, odd);
    put_number(&block, 5, UINT64_MAX);
    put_message(out, 1, &block);
    put_number(&block, 1, 1);
    put_number(&block, 2, 0);
    if (odd)
        put_text(&block, 6, "newer");
    put_message(out, 1, &block);
    put_text(out, 3, odd ? "opaque map" : "");
    put_number(&inner, 1, PROGRAM_VERSION);
    put_message(out, 4, &inner);
    if (odd) {
        put_text(out, 5, "versions");
        put_text(out, 6, "newer");
    }
    buf_deinit(&block);
    buf_deinit(&inner);
}

static void is_written_again(const struct program *program, const struct buf *file)
{
    struct buf again;
    struct err err = {0};
    buf_init(&again, 0);
    assert_int_equal(program_serialize(program, &again, &err), 0);
    assert_int_equal(again.bytes, file->bytes);
    assert_memory_equal(again.data, file->data, file->bytes);
    buf_deinit(&again);
}

static void test_program_is_written_byte_for_byte(void **state)
{
    (void)state;
    for (int odd = 0; odd < 2; odd++) {
        struct buf file;
        struct program *program;
        struct err err = {0};
        make_file(&file, odd);
        assert_int_equal(program_parse(file.data, file.bytes, "mem", &program, &err), 0);
        is_written_again(program, &file);
        struct program *clone = program_clone(program);
        program_free(program);
        is_written_again(clone, &file);
        program_free(clone);
        buf_deinit(&file);
    }
}

static void test_program_odd_fields_yield_to_changes(void **state)
{
    (void)state;
    struct buf file, again;
    struct program *program, *reread;
    struct err err = {0};
    make_file(&file, true);
    assert_int_equal(program_parse(file.data, file.bytes, "mem", &program, &err), 0);
    struct block *block = program_block(program, 0);
    struct op_desc *op = block->ops[0];
    assert_int_equal(op_desc_get_int(op, OP_ROLE_ATTR, 0), -1);
    assert_int_equal(op_desc_get_int(op, "two", 0), 7);
    assert_int_equal(op_desc_get_int(op, "none", 5), 0);
    assert_int_equal(op_desc_get_int(op, "newer", 5), 5);
    assert_int_equal(op_desc_attr(op, "raw")->s_bytes, 3);
    struct var_desc *y = block_var(block, "y");
    assert_int_equal(y->kind, VAR_SELECTED_ROWS);
    assert_int_equal(y->dims.d[0], 7);
    op_desc_attr(op, "two")->i = 8;             // by hand, in place
    y->dims.d[0] = 9;
    buf_init(&again, 0);
    assert_int_equal(program_serialize(program, &again, &err), 0);
    assert_int_equal(program_parse(again.data, again.bytes, "again", &reread, &err), 0);
    assert_int_equal(op_desc_get_int(program_block(reread, 0)->ops[0], "two", 0), 8);
    assert_int_equal(block_var(program_block(reread, 0), "y")->dims.d[0], 9);
    assert_true(program_text_diff(program, reread, NULL));
    program_free(program);
    program_free(reread);
    buf_deinit(&again);
    buf_deinit(&file);
}

static void test_program_truncations_are_errors_or_whole_programs(void **state)
{
    (void)state;
    struct buf file;
    size_t good = 0;
    make_file(&file, true);
    for (size_t length = 0; length < file.bytes; length++) {
        struct program *program;
        struct err err = {0};
        uint8_t *cut = mem_alloc(length);
        memcpy(cut, file.data, length);
        int rc = program_parse(cut, length, "mem", &program, &err);
        if (rc) {
            assert_int_equal(rc, SL_EFORMAT);
            assert_true(strstr(err.text, "mem: ") == err.text);
        } else {
            // A cut between two fields of the outermost message cannot be told from a whole
            // program.
            good++;
            is_written_again(program, &(struct buf){.data = cut, .bytes = length});
            program_free(program);
        }
        mem_free(cut);
    }
    assert_in_range(good, 1, 5);
    buf_deinit(&file);
}

static void test_program_survives_every_corrupted_byte(void **state)
{
    (void)state;
    struct buf file;
    make_file(&file, true);
    for (size_t at = 0; at < file.bytes; at++)
        for (int value = 0; value < 256; value++) {
            struct program *program, *reread;
            struct buf again;
            struct err err = {0};
            uint8_t old = file.data[at];
            file.data[at] = (uint8_t)value;
            if (program_parse(file.data, file.bytes, "mem", &program, &err)) {
                assert_true(err.text[0]);
            } else {
                buf_init(&again, 0);
                assert_int_equal(program_serialize(program, &again, &err), 0);
                assert_int_equal(program_parse(again.data, again.bytes, "again", &reread, &err), 0);
                assert_true(program_text_diff(program, reread, NULL));
                program_free(reread);
                program_free(program);
                buf_deinit(&again);
            }
            file.data[at] = old;
        }
    buf_deinit(&file);
}

static void refuses(struct buf *block, const char *text)
{
    struct buf file = {0};
    struct program *program;
    struct err err = {0};
    put_message(&file, 1, block);
    assert_int_equal(program_parse(file.data, file.bytes, "mem", &program, &err), SL_EFORMAT);
    if (!strstr(err.text, text))
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    buf_deinit(&file);
}

static void block_head(struct buf *block, unsigned idx, uint64_t parent)
{
    put_number(block, 1, idx);
    put_number(block, 2, parent);
}

static void test_program_errors_say_where(void **state)
{
    (void)state;
    struct buf block = {0}, inner = {0}, attr = {0};
    struct program *program;
    struct err err = {0};
    assert_int_equal(program_parse("", 0, "mem", &program, &err), SL_EFORMAT);
    assert_non_null(strstr(err.text, "no blocks"));
    assert_int_equal(program_parse("junk", 4, "mem", &program, &err), SL_EFORMAT);
    assert_non_null(
        strstr(err.text, "mem: not a whole ProgramDesc: cut off: byte 2, ProgramDesc: 117 bytes"));
    assert_int_equal(program_parse("\x0a\x06\x22\x04\x1a\x03mu", 8, "mem", &program, &err),
                     SL_EFORMAT);
    assert_non_null(strstr(
        err.text, "cut off: byte 6, ProgramDesc blocks ops type: 3 bytes announced, 2 are left"));
    assert_int_equal(program_parse("\x07", 1, "mem", &program, &err), SL_EFORMAT);
    assert_non_null(strstr(err.text, "damaged: byte 0, ProgramDesc: no field begins here"));
    assert_int_equal(program_parse("\x12\x05", 2, "mem", &program, &err), SL_EFORMAT);
    assert_non_null(
        strstr(err.text, "cut off: byte 2, ProgramDesc: 5 bytes announced, 0 are left"));
    refuses(&block, "block 0: its index");
    block_head(&block, 1, UINT64_MAX);
    refuses(&block, "block 0: its index");
    block_head(&block, 0, 0);
    refuses(&block, "parent 0 does not come before");
    block_head(&block, 0, UINT64_MAX);
    put_text(&inner, 9, "?");
    put_message(&block, 4, &inner);
    refuses(&block, "block 0: op 0: no operator type");
    block_head(&block, 0, UINT64_MAX);
    put_text(&inner, 1, "w");
    put_message(&block, 3, &inner);
    refuses(&block, "variable w: no type");
    block_head(&block, 0, UINT64_MAX);
    put_var(&block, "w", false);
    put_var(&block, "w", false);
    refuses(&block, "w is declared twice");
    block_head(&block, 0, UINT64_MAX);
    put_bytes(&inner, 3, "m\0l", 3);
    put_message(&block, 4, &inner);
    refuses(&block, "NUL");
    block_head(&block, 0, UINT64_MAX);
    put_text(&inner, 3, "mul");
    put_text(&attr, 1, "axis");
    put_message(&inner, 4, &attr);
    put_message(&block, 4, &inner);
    refuses(&block, "block 0: op 0: mul: attribute axis: no type");
    for (uint64_t idx = 0; idx < 2; idx++) {    // itself, and none
        block_head(&block, 0, UINT64_MAX);
        put_text(&inner, 3, "while");
        put_attr_head(&attr, "sub_block", 8);
        put_number(&attr, 12, idx);
        put_message(&inner, 4, &attr);
        put_message(&block, 4, &inner);
        refuses(&block, "block 0: op 0: while: attribute sub_block names block");
    }
    buf_deinit(&block);
    buf_deinit(&inner);
    buf_deinit(&attr);
}

static void test_program_refuses_numbers_that_do_not_fit(void **state)
{
    (void)state;
    struct program *program = program_new();
    struct op_desc *op = block_append_op(program_block(program, 0), op_desc_new("scale"));
    struct buf out;
    struct err err = {0};
    const int64_t large[] = {0, INT64_C(1) << 31};
    buf_init(&out, 0);
    op_desc_set_long(op, "n", large[1]);
    assert_int_equal(program_serialize(program, &out, &err), 0);
    op_desc_set_int(op, "n", large[1]);
    assert_int_equal(program_serialize(program, &out, &err), SL_EINVAL);
    assert_non_null(strstr(err.text, "block 0: op 0, scale: attribute n"));
    op_desc_set_ints(op, "n", large, 2);
    assert_int_equal(program_serialize(program, &out, &err), SL_EINVAL);
    buf_deinit(&out);
    program_free(program);
}

static void test_program_expands_within_a_bound(void **state)
{
    (void)state;
    // Two bytes an element become a message each: the arena's cap has to stop that.
    struct buf block = {0}, file = {0};
    struct program *program;
    struct err err = {0};
    for (size_t i = 0; i < 3u << 20; i++)
        put_bytes(&block, 4, "", 0);
    uint8_t head[8];
    size_t used = 0;
    put_key(&file, 1, 2);
    for (size_t rest = block.bytes; rest; rest >>= 7)
        head[used++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    buf_append(&file, head, used);
    buf_append(&file, block.data, block.bytes);
    assert_int_equal(program_parse(file.data, file.bytes, "mem", &program, &err), SL_EFORMAT);
    buf_deinit(&block);
    buf_deinit(&file);
}

static void test_program_reports_failed_allocations(void **state)
{
    (void)state;
    struct buf file;
    int rc = SL_ENOMEM;
    make_file(&file, true);
    for (long nth = 1; rc && nth < 200; nth++) {
        struct program *program = NULL;
        struct err err = {0};
        mem_fail_nth(nth);
        rc = program_parse(file.data, file.bytes, "mem", &program, &err);
        mem_fail_nth(0);
        program_free(program);
    }
    assert_int_equal(rc, 0);
    buf_deinit(&file);
}

static void test_program_files_and_slices(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_program.XXXXXX";
    struct program *program = program_new(), *read;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    char *path = mem_must_printf("%s/main.pb", dir);
    program->slices = MEM_NEW(struct slice_map);
    slice_map_init(program->slices);
    program->slices->trainers = 2;
    program->server = 1;
    struct program *clone = program_clone(program);
    assert_int_equal(clone->slices->trainers, 2);
    assert_int_equal(clone->server, 1);
    program_free(program);
    assert_int_equal(program_save(clone, path, &err), 0);
    assert_int_equal(program_load(path, &read, &err), 0);
    assert_int_equal(read->version, PROGRAM_VERSION);
    assert_int_equal(read->server, -1);
    assert_null(read->slices);
    program_free(read);
    program_free(clone);
    unlink(path);
    assert_int_equal(program_load(path, &read, &err), SL_ENOENT);
    assert_non_null(strstr(err.text, path));
    rmdir(dir);
    mem_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_is_written_byte_for_byte),
        cmocka_unit_test(test_program_odd_fields_yield_to_changes),
        cmocka_unit_test(test_program_truncations_are_errors_or_whole_programs),
        cmocka_unit_test(test_program_survives_every_corrupted_byte),
        cmocka_unit_test(test_program_errors_say_where),
        cmocka_unit_test(test_program_refuses_numbers_that_do_not_fit),
        cmocka_unit_test(test_program_expands_within_a_bound),
        cmocka_unit_test(test_program_reports_failed_allocations),
        cmocka_unit_test(test_program_files_and_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
