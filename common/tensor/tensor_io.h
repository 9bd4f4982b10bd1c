// SPDX-License-Identifier: Apache-2.0
// Fluid's file format for one variable, both ways.
//
// LoDTensor:    u32 version 0 | u64 LoD levels, each: u64 bytes, u64 offsets[] | u32 tensor version
// 0
//               | i32 length of TensorDesc | TensorDesc {data_type, dims} | data, little endian
// SelectedRows: u32 version 0 | u64 row count | i64 rows[] | i64 height | tensor (from its version
// on)
//
// Decoding is bounded: the header is parsed and checked against the file's size before anything is
// allocated; errors name file, offset and field. Slices are read by offset, so a server touches
// only its own rows. LoD is taken as it comes, because Fluid's gru and lstm keep permutations in
// it: who uses it as sequences asks tensor_lod_is_valid.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/variable.h"

struct buf;
struct err;

// Everything in front of the data. Plain offsets are from the start of the variable's bytes.
struct tensor_io_header {
    enum variable_kind kind;
    enum dtype dtype;
    struct dims dims;
    int lod_levels;
    struct lod_level *lod;          // owned by the header: tensor_io_header_deinit
    int64_t height;                 // selected rows only
    int64_t *rows;
    size_t rows_count;
    uint64_t data_offset;
    uint64_t data_bytes;
};

// A source of bytes at an offset. read fills exactly bytes or fails (SL_EIO, SL_EFORMAT).
struct tensor_io_source {
    int (*read)(void *self, uint64_t offset, void *out, size_t bytes, struct err *err);
    void *self;
    uint64_t size;                  // of the whole source
    const char *name;               // for errors: the path
};

// A regular file as a source. Returns the descriptor inside *out through tensor_io_close.
int tensor_io_open(struct tensor_io_source *out, const char *path, struct err *err);
// The same for a descriptor that the source takes over (closed by tensor_io_close).
int tensor_io_open_fd(struct tensor_io_source *out, int fd, const char *name, struct err *err);
void tensor_io_close(struct tensor_io_source *source);
// Bytes in memory as a source; nothing to close.
void tensor_io_memory(struct tensor_io_source *out, const void *data, size_t bytes,
                      const char *name);

// Parses and checks the header at offset. kind says what to expect: a LoDTensor and a SelectedRows
// file cannot be told apart by their bytes. After the data there may be more (*surplus of the file
// is source->size - offset - data_offset - data_bytes): the caller judges that.
int tensor_io_read_header(const struct tensor_io_source *source, uint64_t offset,
                          enum variable_kind kind, struct tensor_io_header *out, struct err *err);
void tensor_io_header_deinit(struct tensor_io_header *header);
// Reads rows [row, row + rows) (along dim 0; rows -1 = all) of the data into out, resized to fit.
int tensor_io_read_rows(const struct tensor_io_source *source, uint64_t offset,
                        const struct tensor_io_header *header, int64_t row, int64_t rows,
                        struct tensor *out, struct err *err);
// Header and all data of a variable; *out_bytes (may be NULL) is how long it was.
int tensor_io_read(const struct tensor_io_source *source, uint64_t offset, enum variable_kind kind,
                   struct variable *out, uint64_t *out_bytes, struct err *err);

// Appends the header bytes for a tensor of this type, shape and LoD; the data follows as it is.
int tensor_io_encode_header(const struct tensor *shape_of, struct buf *out);
// The header of a SelectedRows variable (rows included).
int tensor_io_encode_rows_header(const struct selected_rows *rows, struct buf *out);
// Convenience for small files: the whole variable to / from a path. save fsyncs nothing.
int tensor_io_save(const struct variable *var, const char *path, struct err *err);
int tensor_io_load(const char *path, enum variable_kind kind, struct variable *out,
                   struct err *err);
