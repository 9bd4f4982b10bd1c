// SPDX-License-Identifier: Apache-2.0
// One child at a time, from start to end inside one call: its stdout and stderr are read by poll,
// so neither can fill up and block the other. Only the end of stderr is kept. The child gets the
// default signal dispositions and an empty mask, since this process may block or ignore some.
#include "common/reader/pipe_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/mem.h"

#define BLOCK_BYTES (64u << 10)
#define TAIL_BYTES 400u
#define WORDS_MAX 1024u

extern char **environ;

struct child {
    pid_t pid;
    int out, err;                // our ends; -1 when they have ended
    char tail[TAIL_BYTES + 1];   // of stderr
    size_t tail_bytes;
};

static int start(char *const *argv, int in, struct child *child, struct err *err);
static int spawn(char *const *argv, int in, int out, int errors, pid_t *pid);
static int collect(struct child *child, int out, uint64_t bytes_max, uint64_t *out_bytes,
                   struct err *err);
static ssize_t take(int *fd, char *block);
static void keep_tail(struct child *child, const char *block, size_t bytes);
static int judge(const struct child *child, int status, struct err *err);

int pipe_command_split(const char *text, struct str_list *out, struct err *err)
{
    size_t bytes = strlen(text), at = 0;
    char *word = mem_must_calloc(1, bytes + 1);
    bool inside = false;
    char quote = 0;
    int rc = 0;
    for (const char *p = text;; p++) {
        char c = *p;
        bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        if (!c || (blank && !quote)) {
            if (inside)
                str_list_addn(out, word, at);
            at = 0;
            inside = false;
            if (!c)
                break;
            continue;
        }
        inside = true;
        if (!quote && (c == '\'' || c == '"'))
            quote = c;
        else if (quote && c == quote)
            quote = 0;
        else if (c == '\\' && quote != '\'' && (!quote || p[1] == '"' || p[1] == '\\')) {
            if (!p[1])
                rc = err_set(err, SL_EINVAL, "a backslash at the end: %s", text);
            else
                word[at++] = *++p;
        } else
            word[at++] = c;
    }
    mem_free(word);
    if (rc == 0 && quote)
        rc = err_set(err, SL_EINVAL, "a quote %c is not closed: %s", quote, text);
    if (rc == 0 && (out->count == 0 || !out->items[0][0] || out->count > WORDS_MAX))
        rc = err_set(err, SL_EINVAL, "no program is named, or over %u words: %s", WORDS_MAX, text);
    return rc;
}

int pipe_command_run(const char *text, int in, int out, uint64_t bytes_max, const char *name,
                     uint64_t *out_bytes, struct err *err)
{
    struct str_list words = {0};
    struct child child = {.out = -1, .err = -1};
    int status = 0;
    int rc = pipe_command_split(text, &words, err);
    if (rc == 0) {
        char **argv = mem_must_calloc(words.count + 1, sizeof *argv);
        for (size_t i = 0; i < words.count; i++)
            argv[i] = words.items[i];
        rc = start(argv, in, &child, err);
        mem_free(argv);
    }
    if (rc == 0) {
        rc = collect(&child, out, bytes_max, out_bytes, err);
        if (rc < 0)
            (void)kill(child.pid, SIGKILL);
        while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
            continue;
        if (rc == 0)
            rc = judge(&child, status, err);
    }
    if (child.out >= 0)
        close(child.out);
    if (child.err >= 0)
        close(child.err);
    if (rc < 0)
        err_prefix(err, "%s: --pipe_command %s", name, words.count ? words.items[0] : "");
    str_list_deinit(&words);
    return rc;
}

static int start(char *const *argv, int in, struct child *child, struct err *err)
{
    int out[2] = {-1, -1}, errors[2] = {-1, -1};
    (void)lseek(in, 0, SEEK_SET);
    int code = pipe2(out, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0 ? errno : 0;
    if (code == 0)
        code = spawn(argv, in, out[1], errors[1], &child->pid);
    for (int i = 0; i < 2; i++) {
        int fd = i ? errors[1] : out[1];
        if (fd >= 0)
            close(fd);
    }
    child->out = out[0];
    child->err = errors[0];
    return code ? err_set(err, code == ENOENT ? SL_ENOENT : SL_EIO, "cannot be started: %s",
                          strerror(code))
                : 0;
}

// 0 or an errno.
static int spawn(char *const *argv, int in, int out, int errors, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int code = posix_spawn_file_actions_init(&files);
    if (code)
        return code;
    code = posix_spawnattr_init(&how);
    if (code) {
        posix_spawn_file_actions_destroy(&files);
        return code;
    }
    code = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    if (!code)
        code = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    if (!code)
        code = posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
    if (!code)
        code = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!code)
        code = posix_spawnattr_setsigmask(&how, &none);
    if (!code)
        code = posix_spawnattr_setsigdefault(&how, &all);
    if (!code)
        code = posix_spawnp(pid, argv[0], &files, &how, argv, environ);
    posix_spawnattr_destroy(&how);
    posix_spawn_file_actions_destroy(&files);
    return code;
}

static int collect(struct child *child, int out, uint64_t bytes_max, uint64_t *out_bytes,
                   struct err *err)
{
    char *block = mem_must_calloc(1, BLOCK_BYTES);
    uint64_t bytes = 0;
    int rc = 0;
    while (rc == 0 && (child->out >= 0 || child->err >= 0)) {
        struct pollfd fds[] = {{.fd = child->out, .events = POLLIN},
                               {.fd = child->err, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            rc = err_set(err, SL_EIO, "poll: %s", strerror(errno));
            break;
        }
        if (fds[0].revents) {
            ssize_t got = take(&child->out, block);
            bytes += got > 0 ? (uint64_t)got : 0;
            if (bytes > bytes_max)
                rc = err_set(err, SL_ELIMIT,
                             "wrote more than %llu bytes (--unpacked_max allows more)",
                             (unsigned long long)bytes_max);
            else if (got > 0)
                rc = fsutil_write_all(out, block, (size_t)got, "temporary file", err);
        }
        if (fds[1].revents) {
            ssize_t got = take(&child->err, block);
            if (got > 0)
                keep_tail(child, block, (size_t)got);
        }
    }
    mem_free(block);
    *out_bytes = bytes;
    return rc;
}

// Reads what is there; closes at the end.
static ssize_t take(int *fd, char *block)
{
    ssize_t got = read(*fd, block, BLOCK_BYTES);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
        close(*fd);
        *fd = -1;
    }
    return got;
}

static void keep_tail(struct child *child, const char *block, size_t bytes)
{
    if (bytes > TAIL_BYTES) {
        block += bytes - TAIL_BYTES;
        bytes = TAIL_BYTES;
    }
    size_t keep = child->tail_bytes + bytes > TAIL_BYTES ? TAIL_BYTES - bytes : child->tail_bytes;
    memmove(child->tail, child->tail + child->tail_bytes - keep, keep);
    memcpy(child->tail + keep, block, bytes);
    child->tail_bytes = keep + bytes;
    child->tail[child->tail_bytes] = 0;
}

static int judge(const struct child *child, int status, struct err *err)
{
    char said[TAIL_BYTES + 1];
    size_t bytes = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    for (size_t i = 0; i < child->tail_bytes; i++) {
        char c = child->tail[i];
        said[bytes++] = c == '\n' || c == '\t' || (unsigned char)c < 0x20 ? ' ' : c;
    }
    while (bytes && said[bytes - 1] == ' ')
        bytes--;
    said[bytes] = 0;
    bool signalled = WIFSIGNALED(status);
    return err_set(err, SL_EIO, "%s %d%s%s",
                   signalled ? "was ended by signal" : "ended with status",
                   signalled ? WTERMSIG(status) : WEXITSTATUS(status),
                   bytes ? "; it said: " : ", and said nothing", said);
}
