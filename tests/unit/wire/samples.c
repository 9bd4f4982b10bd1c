// SPDX-License-Identifier: Apache-2.0
// Sample messages for the wire tests; values are chosen to differ from every default.
#include "tests/unit/wire/samples.h"

static struct message_range ranges[] = {{1, 2, 3, 4}, {7, 0, 1ull << 40, 1ull << 41}, {0, 0, 0, 1}};
static struct message_partial partials[] = {{MESSAGE_NONFINITE, 3, 1, 1.0},
                                            {MESSAGE_SQUARED_NORM, 4, 0, 2.5e300},
                                            {MESSAGE_PARAM_SQUARED_NORM, 0, 9, -0.0}};
static uint32_t waiting[] = {1, 4095};
static struct message_inventory_slice slices[] = {{0, 0, 400, "fc_0.w_0.block0"},
                                                  {1, 400, 384, "fc_0.w_0.block1"}};
static struct message_inventory_slice whole[] = {{1, 0, 1, "learning_rate_0"}};
static struct message_inventory_var vars[] = {{.index = 2,
                                               .name = "fc_0.w_0",
                                               .role = 0,
                                               .param = "",
                                               .dtype = DTYPE_FP32,
                                               .dims = {2, {784, 200}},
                                               .sparse = true,
                                               .slices_total = 3,
                                               .slices_first = 1,
                                               .slices = slices,
                                               .slices_count = 2},
                                              {.index = 3,
                                               .name = "learning_rate_0",
                                               .role = 1,
                                               .param = "x",
                                               .dtype = DTYPE_FP64,
                                               .dims = {1, {1}},
                                               .replicated = true,
                                               .slices_total = 1,
                                               .slices = whole,
                                               .slices_count = 1}};

#define HEAD(t) {.type = (t), .step = 77, .incarnation = 5, .request = 9}

const struct sample samples_table[] = {
    {HEAD(FRAME_HELLO),
     {FRAME_HELLO, .hello = {1, MESSAGE_TRAINER, "job", 0x1122334455667788, 3, 4, 2, 1,
                             0xfedcba9876543210, "host a pid 1"}}},
    {HEAD(FRAME_HELLO), {FRAME_HELLO, .hello = {1, MESSAGE_READER, "", 0, 0, 0, 0, 0, 0, ""}}},
    {HEAD(FRAME_WELCOME),
     {FRAME_WELCOME, .welcome = {1, 2, 3, MESSAGE_LOADED, "abcdef", 42, 7, 1000, 10000, 5000}}},
    {HEAD(FRAME_REFUSED),
     {FRAME_REFUSED, .refused = {-10, 500, "trainer 1 is already here since 20:14:03"}}},
    {{.type = FRAME_PROGRESS, .offset = 10},
     {FRAME_PROGRESS,
      .progress = {.total_bytes = 100, .text = "{\"epoch\": 3}\n", .text_bytes = 13}}},
    {HEAD(FRAME_MISSING), {FRAME_MISSING, .ranges = {ranges, 3}}},
    {HEAD(FRAME_MISSING), {FRAME_MISSING, .ranges = {NULL, 0}}},
    {HEAD(FRAME_PULL), {FRAME_PULL, .ranges = {ranges, 1}}},
    {HEAD(FRAME_PARTIALS), {FRAME_PARTIALS, .partials = {partials, 3}}},
    {HEAD(FRAME_PARTIALS), {FRAME_PARTIALS, .partials = {NULL, 0}}},
    {HEAD(FRAME_COMMIT_STEP), {FRAME_COMMIT_STEP, .commit_step = {MESSAGE_SKIP, partials, 2}}},
    {HEAD(FRAME_COMMITTED), {FRAME_COMMITTED, .committed = {1ull << 60, MESSAGE_APPLY}}},
    {HEAD(FRAME_HEARTBEAT),
     {FRAME_HEARTBEAT, .heartbeat = {123456789, 987654321, 1500, waiting, 2, "waiting"}}},
    {HEAD(FRAME_INVENTORY), {FRAME_INVENTORY, .inventory = {1, 3, 2, 8, vars, 2}}},
    {HEAD(FRAME_GOODBYE), {FRAME_GOODBYE, .end = {0, ""}}},
    {HEAD(FRAME_FATAL), {FRAME_FATAL, .end = {-12, "trainer 1 died"}}},
    {HEAD(FRAME_SEND_BARRIER), {.type = FRAME_SEND_BARRIER}},
    {HEAD(FRAME_FETCH_BARRIER), {.type = FRAME_FETCH_BARRIER}},
    {HEAD(FRAME_FETCHED), {.type = FRAME_FETCHED}},
    {HEAD(FRAME_COMPLETE), {.type = FRAME_COMPLETE}},
    {HEAD(FRAME_COMPLETED), {.type = FRAME_COMPLETED}},
    {HEAD(FRAME_INVENTORY_REQUEST), {.type = FRAME_INVENTORY_REQUEST}},
    {HEAD(FRAME_PIN), {.type = FRAME_PIN}},
    {HEAD(FRAME_PINNED), {.type = FRAME_PINNED}},
    {HEAD(FRAME_UNPIN), {.type = FRAME_UNPIN}},
};
const size_t samples_count = sizeof samples_table / sizeof *samples_table;
