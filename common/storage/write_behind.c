// SPDX-License-Identifier: Apache-2.0
// A few buffers go round between the caller and one worker thread. Files longer than a buffer are
// written past the page cache where the file system can (O_DIRECT): a checkpoint is not read again
// soon, and its pages would push others out. Of the rest the kernel is told to begin with the
// disk's work as soon as bytes are there. Files are flushed late, so that one commit of the file
// system's journal serves many of them. An fd belongs to the worker from the first put on.

#include "common/storage/write_behind.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/workers.h"
#include "common/storage/folder.h"
#include "common/storage/store.h"

#define BUFFERS 3
#define BUFFER_BYTES (1u << 20)
#define UNFLUSHED_MAX 64         // files open at a time
#define START_BYTES (8u << 20)   // written before the disk is told to begin
#define BLOCK_BYTES 4096u        // what O_DIRECT wants addresses and lengths to be multiples of

struct target {
    int fd;
    char *name;
    uint64_t written, started;
    bool direct;
};

struct piece {
    struct write_behind *behind;
    struct target *target;
    size_t bytes;
    bool last;       // of the file
    uint8_t *data;   // BUFFER_BYTES within room, at a multiple of BLOCK_BYTES
    uint8_t room[BUFFER_BYTES + BLOCK_BYTES];
};

struct write_behind {
    const struct store_io *io;
    struct workers *workers;
    struct target *target;   // the caller's open file
    struct piece *filling;
    pthread_mutex_t lock;   // guards free and failure
    pthread_cond_t freed;
    struct piece *free[BUFFERS];
    int free_count, made;
    struct err failure;
    struct target *unflushed[UNFLUSHED_MAX];   // the worker's, in order
    int unflushed_count;
};

static struct piece *take_piece(struct write_behind *b, struct err *err);
static void submit(struct write_behind *b, bool last);
static void write_piece(void *arg);
static int write_all(struct write_behind *b, struct target *t, const uint8_t *data, size_t bytes,
                     struct err *err);
static bool set_direct(int fd, bool direct);
static void keep_failure(struct write_behind *b, const struct err *failure);
static int failure_of(struct write_behind *b, struct err *err);
static void flush_first(struct write_behind *b);
static void flush_all(void *arg);

struct write_behind *write_behind_new(const struct store_io *io)
{
    struct write_behind *b = MEM_NEW(struct write_behind);
    b->io = io;
    b->workers = workers_new(1);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->freed, NULL);
    return b;
}

void write_behind_free(struct write_behind *b)
{
    if (b == NULL)
        return;
    const struct err gone = {.code = SL_ECLOSED, .text = "given up"};
    keep_failure(b, &gone);   // what waits is not written any more
    if (b->target != NULL)
        write_behind_close(b, NULL);
    write_behind_drain(b, NULL);
    workers_free(b->workers);
    for (int i = 0; i < b->free_count; i++)
        mem_free(b->free[i]);
    pthread_cond_destroy(&b->freed);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

void write_behind_open(struct write_behind *b, int fd, const char *name)
{
    b->target = MEM_NEW(struct target);
    b->target->fd = fd;
    b->target->name = mem_must_strdup(name);
}

int write_behind_put(struct write_behind *b, const void *data, size_t bytes, struct err *err)
{
    const uint8_t *from = data;
    while (bytes > 0) {
        if (b->filling == NULL)
            b->filling = take_piece(b, err);
        if (b->filling == NULL)
            return SL_ENOMEM;
        size_t n = BUFFER_BYTES - b->filling->bytes;
        n = n < bytes ? n : bytes;
        memcpy(b->filling->data + b->filling->bytes, from, n);
        b->filling->bytes += n;
        from += n, bytes -= n;
        if (b->filling->bytes == BUFFER_BYTES)
            submit(b, false);
    }
    return failure_of(b, err);
}

int write_behind_close(struct write_behind *b, struct err *err)
{
    if (b->filling == NULL)
        b->filling = take_piece(b, err);
    if (b->filling == NULL) {
        close(b->target->fd);
        mem_free(b->target->name);
        mem_free(b->target);
        b->target = NULL;
        return SL_ENOMEM;
    }
    submit(b, true);
    b->target = NULL;
    return failure_of(b, err);
}

int write_behind_drain(struct write_behind *b, struct err *err)
{
    workers_submit(b->workers, flush_all, NULL, b);
    workers_wait(b->workers);
    return failure_of(b, err);
}

// A buffer that is not on its way; waits for one. NULL: no memory for the first ones.
static struct piece *take_piece(struct write_behind *b, struct err *err)
{
    struct piece *piece = NULL;
    pthread_mutex_lock(&b->lock);
    if (b->free_count == 0 && b->made < BUFFERS) {
        piece = mem_alloc(sizeof *piece);
        if (piece != NULL)
            piece->data = piece->room + BLOCK_BYTES - (uintptr_t)piece->room % BLOCK_BYTES;
        b->made += piece != NULL;
    }
    while (piece == NULL && b->made > 0 && b->free_count == 0)
        pthread_cond_wait(&b->freed, &b->lock);
    if (piece == NULL && b->free_count > 0)
        piece = b->free[--b->free_count];
    pthread_mutex_unlock(&b->lock);
    if (piece == NULL)
        err_set(err, SL_ENOMEM, "no memory for a buffer of %u bytes", BUFFER_BYTES);
    else
        piece->bytes = 0;
    return piece;
}

static void submit(struct write_behind *b, bool last)
{
    struct piece *piece = b->filling;
    piece->behind = b;
    piece->target = b->target;
    piece->last = last;
    b->filling = NULL;
    workers_submit(b->workers, write_piece, NULL, piece);
}

// On the worker, like all below but failure_of.
static void write_piece(void *arg)
{
    struct piece *piece = arg;
    struct write_behind *b = piece->behind;
    struct target *t = piece->target;
    struct err failure = {0};
    if (t->written == 0 && !piece->last)
        t->direct = set_direct(t->fd, true);
    if (failure_of(b, NULL) == 0 && write_all(b, t, piece->data, piece->bytes, &failure) < 0)
        keep_failure(b, &failure);
    t->written += piece->bytes;
    if (!t->direct && (t->written - t->started >= START_BYTES || piece->last)) {
        // Only a hint to the kernel; the flush judges.
        sync_file_range(t->fd, (off_t)t->started, (off_t)(t->written - t->started),
                        SYNC_FILE_RANGE_WRITE);
        t->started = t->written;
    }
    if (piece->last) {
        if (b->unflushed_count == UNFLUSHED_MAX)
            flush_first(b);
        b->unflushed[b->unflushed_count++] = t;
    }
    pthread_mutex_lock(&b->lock);
    b->free[b->free_count++] = piece;
    pthread_cond_signal(&b->freed);
    pthread_mutex_unlock(&b->lock);
}

// Whole blocks past the page cache as long as that works, the rest through it.
static int write_all(struct write_behind *b, struct target *t, const uint8_t *data, size_t bytes,
                     struct err *err)
{
    while (bytes > 0) {
        if (t->direct && bytes < BLOCK_BYTES)
            t->direct = !set_direct(t->fd, false);
        size_t n = t->direct ? bytes - bytes % BLOCK_BYTES : bytes;
        ssize_t done = b->io->write(t->fd, data, n);
        if (done < 0 && errno == EINVAL && t->direct && set_direct(t->fd, false))
            t->direct = false;
        else if (done == 0 || (done < 0 && errno != EINTR))
            return folder_fail(err, "write", t->name);
        else if (done > 0)
            data += done, bytes -= (size_t)done;
    }
    return 0;
}

static bool set_direct(int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

static void keep_failure(struct write_behind *b, const struct err *failure)
{
    pthread_mutex_lock(&b->lock);
    if (b->failure.code == 0)
        b->failure = *failure;
    pthread_mutex_unlock(&b->lock);
}

static int failure_of(struct write_behind *b, struct err *err)
{
    pthread_mutex_lock(&b->lock);
    int code = b->failure.code;
    if (code != 0)
        err_set(err, code, "%s", b->failure.text);
    pthread_mutex_unlock(&b->lock);
    return code;
}

static void flush_first(struct write_behind *b)
{
    struct target *t = b->unflushed[0];
    struct err failure = {0};
    if (failure_of(b, NULL) == 0 && b->io->fsync(t->fd) != 0) {
        folder_fail(&failure, "flush to disk", t->name);
        keep_failure(b, &failure);
    }
    if (close(t->fd) != 0 && failure_of(b, NULL) == 0) {
        folder_fail(&failure, "close", t->name);
        keep_failure(b, &failure);
    }
    mem_free(t->name);
    mem_free(t);
    b->unflushed_count--;
    memmove(b->unflushed, b->unflushed + 1, (size_t)b->unflushed_count * sizeof *b->unflushed);
}

static void flush_all(void *arg)
{
    struct write_behind *b = arg;
    while (b->unflushed_count > 0)
        flush_first(b);
}
