// SPDX-License-Identifier: Apache-2.0
// Rows wanted of any number of variables on any number of servers, as things to ask and answers.
//
// What is wanted is cut at the borders of slices (row numbers ascend, so each slice gets one run)
// and into frames; a part is one frame's. Parts are asked of a server as long as it lets them wait,
// their answers come in order on one connection, and whatever does not go on there, or was lost, is
// asked for again. Pure: no clock, no socket. lookup_clear and lookup_add belong to whoever wants
// rows, the rest to the owner of the connections, between lookup_begin and the end.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice_var;

#define LOOKUP_REQUESTS 0xc0000000u   // request numbers from here on

struct lookup_part {
    int server;
    uint32_t variable, slice;
    const int64_t *ids;   // of the slice
    uint32_t count;
    uint64_t row_bytes, bytes, got;
    uint8_t *dst;
    uint32_t request;   // 0: to be asked
    bool done;
};

struct lookup {
    struct lookup_part *parts;
    size_t count, cap;
    size_t open;       // parts that are not done, once begun
    size_t part_ids;   // row numbers in a part at most; 0 = a frame's
    uint32_t last_request;
};

void lookup_deinit(struct lookup *lookup);
void lookup_clear(struct lookup *lookup);
// Rows ids (ascending, within var, which is cut by rows; memory that becomes the lookup's until its
// end: they turn into rows of slices) of the slice map's variable; their values go to out.
void lookup_add(struct lookup *lookup, uint32_t variable, const struct slice_var *var, int64_t *ids,
                size_t count, void *out);

void lookup_begin(struct lookup *lookup);
// Nothing more is wanted; answers that still come find no place.
void lookup_end(struct lookup *lookup);
bool lookup_is_done(const struct lookup *lookup);   // every part is here, or it has ended
// The next part to ask of a server, which counts as asked with part->request; NULL: none now.
struct lookup_part *lookup_take(struct lookup *lookup, int server);
void lookup_untake(struct lookup_part *part);   // it could not be sent
// What was asked of the server and has not come is to be asked again.
void lookup_again(struct lookup *lookup, int server);
// The part of an answer; NULL when it is none that is awaited.
struct lookup_part *lookup_find(const struct lookup *lookup, int server, uint32_t request);
// Where an answer's bytes go, NULL to drain them.
void *lookup_place(const struct lookup *lookup, int server, uint32_t request, uint64_t offset,
                   uint32_t bytes);
// They are there (dst as lookup_place gave it). last: the server has sent all of the part.
void lookup_data(struct lookup *lookup, int server, uint32_t request, uint32_t bytes,
                 const void *dst, bool sound, bool last);
