// SPDX-License-Identifier: Apache-2.0
// What a kind of store provides. One row of store.c's table points at one of these.
#pragma once

#include "common/storage/store.h"

struct store_kind {
    int (*begin)(const char *path, const struct store_options *options, void **out,
                 struct err *err);
    int (*put_open)(void *self, const char *name, struct err *err);
    int (*put_write)(void *self, const void *data, size_t bytes, struct err *err);
    int (*put_close)(void *self, struct err *err);
    int (*commit)(void *self, const void *mark, size_t mark_bytes, struct err *err);
    void (*end)(void *self);
    int (*write_file)(const char *path, const char *name, const void *data, size_t bytes,
                      const struct store_io *io, struct err *err);
    int (*remove)(const char *path, const struct store_options *options, struct err *err);
    int (*list)(const char *path, bool folders, struct str_list *out_names, struct err *err);
    bool (*is_folder)(const char *path);
    int (*open)(const char *path, const char *name, void **out, uint64_t *out_bytes,
                struct err *err);
    int (*read)(void *self, const char *shown, uint64_t offset, void *out, size_t bytes,
                struct err *err);
    void (*close)(void *self);
};

extern const struct store_kind store_local_kind;
