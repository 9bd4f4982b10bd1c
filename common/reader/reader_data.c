// SPDX-License-Identifier: Apache-2.0
// What an opened format tells about itself: made by the format, released by its owner.
#include <string.h>

#include "common/base/mem.h"
#include "common/reader/reader_format.h"

void reader_data_add(struct reader_data *data, const char *name, enum dtype dtype,
                     const struct dims *dims, bool sequence)
{
    MEM_GROW(data->fields, data->fields_count, data->fields_cap);
    data->fields[data->fields_count++] = (struct reader_field){
        .name = mem_must_strdup(name), .dtype = dtype, .dims = *dims, .sequence = sequence};
}

void reader_data_deinit(struct reader_data *data)
{
    if (data->self)
        data->format->close(data->self);
    for (size_t i = 0; i < data->fields_count; i++)
        mem_free(data->fields[i].name);
    mem_free(data->fields);
    str_list_deinit(&data->notes);
    memset(data, 0, sizeof *data);
}
