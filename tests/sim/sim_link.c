// SPDX-License-Identifier: Apache-2.0
// Chance, the queue of frames in flight, and links that lose, repeat, reorder, corrupt and break.
// See sim.c.
#include "tests/sim/sim_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint64_t sim_link_dice(struct sim *sim, uint64_t sides)
{
    return rng_next_u64(&sim->rng) % sides;
}

void sim_link_failed(struct sim *sim, const char *fmt, ...)
{
    va_list args;
    if (sim->failed)
        return;
    sim->failed = true;
    fprintf(stderr, "seed %llu, %llu ms: ", (unsigned long long)sim->seed,
            (unsigned long long)sim->now_ms);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

static bool earlier(const struct sim_frame *a, const struct sim_frame *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void heap_put(struct sim *sim, const struct sim_frame *frame)
{
    if (sim->heap_count == SIM_QUEUE) {
        sim_link_failed(sim, "more than %d frames on their way", SIM_QUEUE);
        return;
    }
    size_t at = sim->heap_count++;
    sim->heap[at] = *frame;
    while (at && earlier(&sim->heap[at], &sim->heap[(at - 1) / 2])) {
        struct sim_frame swap = sim->heap[at];
        sim->heap[at] = sim->heap[(at - 1) / 2];
        sim->heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

struct sim_frame sim_link_heap_take(struct sim *sim)
{
    struct sim_frame top = sim->heap[0];
    sim->heap[0] = sim->heap[--sim->heap_count];
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child >= sim->heap_count)
            break;
        if (child + 1 < sim->heap_count && earlier(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!earlier(&sim->heap[child], &sim->heap[at]))
            break;
        struct sim_frame swap = sim->heap[at];
        sim->heap[at] = sim->heap[child];
        sim->heap[child] = swap;
        at = child;
    }
    return top;
}

void sim_link_drop_frame(struct sim *sim, struct sim_frame *frame)
{
    if (frame->source)
        state_release(&sim->servers[frame->server].state, frame->hold);
    mem_free(frame->body);
    mem_free(frame->ranges);
}

// ---- links

void sim_link_break_conn(struct sim *sim, int trainer, int server)
{
    struct sim_trainer *t = &sim->trainers[trainer];
    if (!t->conn[server])
        return;
    sim->broken++;
    t->conn[server] = 0;   // the server notices when the new connection says hello
    t->welcomed[server] = false;
    t->reconnect_ms[server] = sim->now_ms + 1 + sim_link_dice(sim, 30);
    peer_link_lost(&t->links[server], false, "broken", sim->now_ms);
    if (t->step)
        step_disconnected(t->step, server);
    lookup_again(&t->lookup, server);
}

void sim_link_transmit(struct sim *sim, struct sim_frame *frame)
{
    sim->frames++;
    frame->order = sim->order++;
    frame->at_ms = sim->now_ms + 1;
    bool hello = frame->type == FRAME_HELLO || frame->type == FRAME_WELCOME;
    if (sim_link_dice(sim, 1000) < sim->lossy && !hello) {
        switch (sim_link_dice(sim, 5)) {
        case 0:
            sim->lost++;
            sim_link_drop_frame(sim, frame);
            return;
        case 1: {
            sim->repeated++;
            struct sim_frame twin = *frame;
            if (twin.body) {
                twin.body = mem_alloc((size_t)frame->bytes);
                memcpy(twin.body, frame->body, (size_t)frame->bytes);
            }
            if (twin.ranges) {
                twin.ranges = mem_alloc(frame->ranges_count * sizeof *twin.ranges);
                memcpy(twin.ranges, frame->ranges, frame->ranges_count * sizeof *twin.ranges);
            }
            twin.source = NULL;
            twin.order = sim->order++;
            twin.at_ms += sim_link_dice(sim, 40);
            heap_put(sim, &twin);
            break;
        }
        case 2:
            frame->at_ms += sim_link_dice(sim, 40);   // overtaken by later ones
            break;
        case 3:
            if (frame->body && frame->bytes) {
                sim->corrupted++;
                frame->sound = false;
                frame->body[sim_link_dice(sim, frame->bytes)] ^= 0x40;
            }
            break;
        default:
            // What is on its way stays on its way: it arrives from a connection that is no more.
            heap_put(sim, frame);
            sim_link_break_conn(sim, frame->trainer, frame->server);
            return;
        }
    }
    heap_put(sim, frame);
}
