// SPDX-License-Identifier: Apache-2.0
// Pins and reads of the servers' state. Owner: the loop thread.
//
// Servers commit a step one after another, so "now" may be two versions: every server pins what it
// has, the highest version is then asked of the others (they reach it soon, and pin it in passing),
// and when one has gone past it, all is asked again. A read asks each part with a request of its
// own; its chunks come in order, and what does not continue is asked for again.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/net/conn.h"
#include "common/ps/comm_inside.h"

// Requests: lower half: a step's pulls; then reads and pins; the last quarter: lookups.
#define READ_REQUESTS 0x80000000u
#define READ_LAST 0xbfffffffu
#define READ_PIN_ROUNDS 50

static void send_pin(struct comm_link *link, uint64_t version);
static void send_unpin(struct comm_link *link);
static void compare_pins(struct comm *comm);
static void ask_part(struct comm *comm, struct comm_part *part);
static struct comm_part *find_part(const struct comm *comm, const struct comm_link *link,
                                   const struct frame *header);
static struct comm_link *link_of(const struct comm *comm, int server);

bool comm_read_owns(uint32_t request)
{
    return request >= READ_REQUESTS && request <= READ_LAST;
}

void comm_read_pin(struct comm *comm)
{
    comm->pin_round = 0;
    for (int s = 0; s < comm->servers; s++)
        send_pin(&comm->links[s], 0);
}

void comm_read_unpin(struct comm *comm)
{
    for (int s = 0; s < comm->servers; s++)
        send_unpin(&comm->links[s]);
}

void comm_read_start(struct comm *comm)
{
    comm->parts_open = comm->parts_count;
    for (size_t p = 0; p < comm->parts_count; p++)
        ask_part(comm, &comm->parts[p]);
}

void comm_read_welcomed(struct comm_link *link)
{
    if (link->pin_asked)
        send_pin(link, link->pin_version);
}

void comm_read_lost(struct comm_link *link)
{
    link->pinned = false;
}

void comm_read_nudge(struct comm_link *link)
{
    struct comm *comm = link->comm;
    if (link->pin_asked && !link->pinned) {
        send_pin(link, link->pin_version);
        return;
    }
    for (size_t p = 0; comm->waiting == COMM_READ && p < comm->parts_count; p++)
        if (comm->parts[p].server == link->server && !comm->parts[p].done)
            ask_part(comm, &comm->parts[p]);
}

void comm_read_pinned(struct comm_link *link, uint64_t version)
{
    struct comm *comm = link->comm;
    if (!link->pin_asked)
        return;
    link->pinned = true;
    link->pin_version = version;
    if (comm->waits && comm->waiting == COMM_PIN) {
        compare_pins(comm);
        return;
    }
    // Back after a loss in the middle of a read.
    for (size_t p = 0; comm->waits && comm->waiting == COMM_READ && p < comm->parts_count; p++)
        if (comm->parts[p].server == link->server && !comm->parts[p].done)
            ask_part(comm, &comm->parts[p]);
}

void comm_read_refused(struct comm_link *link, uint32_t request, int code, const char *text)
{
    struct comm *comm = link->comm;
    if (comm->waits && comm->waiting == COMM_PIN && ++comm->pin_round < READ_PIN_ROUNDS) {
        comm_read_unpin(comm);
        for (int s = 0; s < comm->servers; s++)
            send_pin(&comm->links[s], 0);
        return;
    }
    comm_lookup_refused(link, request, code, text);
    if (!comm->waits || (comm->waiting != COMM_PIN && comm->waiting != COMM_READ))
        return;
    struct err why = {0};
    bool of_part = false;   // else a pin could not be had again: not the same as "no such value"
    for (size_t p = 0; p < comm->parts_count; p++)
        of_part = of_part || comm->parts[p].request == request;
    err_set(&why, code < 0 && of_part ? code : SL_EREFUSED, "reading from %s: %s", link->endpoint,
            text);
    comm->parts_count = 0;
    comm_answer(comm, why.code, &why);
}

void *comm_read_place(struct comm_link *link, const struct frame *header)
{
    struct comm_part *part = find_part(link->comm, link, header);
    if (!part || header->step != link->pin_version || header->offset != part->offset + part->got ||
        header->body_bytes > part->bytes - part->got)
        return NULL;
    return part->dst + part->got;
}

void comm_read_data(struct comm_link *link, const struct frame *header, const void *dst, bool sound)
{
    struct comm *comm = link->comm;
    struct comm_part *part = find_part(comm, link, header);
    if (!part)
        return;
    if (dst && sound)
        part->got += header->body_bytes;
    if (part->got == part->bytes) {
        part->done = true;
        if (!--comm->parts_open) {
            comm->parts_count = 0;
            comm_answer(comm, 0, NULL);
        }
    } else if (!sound || (header->flags & FRAME_LAST)) {
        ask_part(comm, part);
    }
}

static uint32_t fresh_request(struct comm *comm)
{
    comm->next_request = ((comm->next_request + 1) & (READ_LAST - READ_REQUESTS)) | READ_REQUESTS;
    return comm->next_request;
}

static void send_pin(struct comm_link *link, uint64_t version)
{
    link->pin_asked = true;
    link->pinned = false;
    link->pin_version = version;
    struct frame header = {.type = FRAME_PIN,
                           .request = fresh_request(link->comm),
                           .step = version,
                           .incarnation = link->incarnation};
    if (link->conn && link->welcomed)
        (void)conn_send_plain(link->conn, &header, NULL);
}

static void send_unpin(struct comm_link *link)
{
    struct frame header = {
        .type = FRAME_UNPIN, .step = link->pin_version, .incarnation = link->incarnation};
    if (link->conn && link->welcomed && link->pin_asked)
        (void)conn_send_plain(link->conn, &header, NULL);
    link->pin_asked = link->pinned = false;
}

static void compare_pins(struct comm *comm)
{
    uint64_t highest = 0;
    for (int s = 0; s < comm->servers; s++) {
        if (!comm->links[s].pinned)
            return;
        highest = comm->links[s].pin_version > highest ? comm->links[s].pin_version : highest;
    }
    bool all = true;
    for (int s = 0; s < comm->servers; s++) {
        struct comm_link *link = &comm->links[s];
        if (link->pin_version == highest)
            continue;
        all = false;
        send_unpin(link);
        send_pin(link, highest);
    }
    if (!all)
        return;
    comm->pin_version = highest;
    comm_answer(comm, 0, NULL);
}

static void ask_part(struct comm *comm, struct comm_part *part)
{
    struct comm_link *link = link_of(comm, part->server);
    struct message_range range = {part->variable, part->slice, part->offset + part->got,
                                  part->bytes - part->got};
    struct message message = {.type = FRAME_PULL, .ranges = {.items = &range, .count = 1}};
    part->request = fresh_request(comm);
    struct frame header = {.type = FRAME_PULL,
                           .request = part->request,
                           .step = link->pin_version,
                           .incarnation = link->incarnation};
    if (link->conn && link->welcomed && link->pinned)
        (void)conn_send_message(link->conn, &header, &message, NULL);
}

static struct comm_part *find_part(const struct comm *comm, const struct comm_link *link,
                                   const struct frame *header)
{
    for (size_t p = 0; p < comm->parts_count; p++) {
        struct comm_part *part = &comm->parts[p];
        if (part->request == header->request && part->server == link->server && !part->done)
            return part;
    }
    return NULL;
}

static struct comm_link *link_of(const struct comm *comm, int server)
{
    for (int s = 0; s < comm->servers; s++)
        if (comm->links[s].server == server)
            return &comm->links[s];
    return NULL;
}
