// SPDX-License-Identifier: Apache-2.0
// `sluice doctor`: what a process started here and now would see. It only looks: it binds a port
// for a moment to learn whether that is possible, and connects to servers without a word.
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fsutil.h"
#include "common/base/limits.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/ckpt/ckpt_report.h"
#include "common/config/endpoint.h"
#include "common/config/environment.h"
#include "common/ops/blas.h"
#include "deploy/sluice/cmd_args.h"
#include "deploy/sluice/cmd_view.h"

#define CONNECT_MS 1000
#define FILES_WANTED 1024
#define DISK_WANTED (UINT64_C(1) << 30)
#define SHM_WANTED (UINT64_C(64) << 20)
#define SOCKET_BYTES_WANTED (4 << 20)

enum verdict { FINE, NOTE, WRONG };
static const char *const verdict_names[] = {"ok", "note", "WRONG"};

struct doctor {
    struct cmd_table table;
    json_t *array;
    bool wrong;
};

static int run(int argc, char **argv);
static void say(struct doctor *d, enum verdict verdict, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void look_at_environment(struct doctor *d, struct environment *env);
static void look_at_answer(struct doctor *d, const char *what,
                           const struct environment_answer *answer, const char *missing);
static int64_t look_at_number(struct doctor *d, const char *what,
                              const struct environment_answer *answer, int64_t least, int64_t most,
                              int64_t missing);
static void look_at_numbers(struct doctor *d, const struct environment *env);
static void look_at_endpoints(struct doctor *d, const char *list, const char *own);
static void look_at_endpoint(struct doctor *d, const struct endpoint *endpoint, bool own);
static int try_connect(const struct addrinfo *address);
static int try_bind(const struct addrinfo *address);
static void look_at_machine(struct doctor *d);
static void look_at_space(struct doctor *d, const char *what, const char *path, uint64_t wanted);
static void look_at_socket_buffers(struct doctor *d, const char *name);

const struct cmd cmd_doctor = {
    .name = "doctor",
    .args = "[--pservers HOST:PORT,...] [--current_endpoint HOST:PORT] [--save_dir DIR] [--json]",
    .help =
        "Looks at what a job started here would meet: environment, names, ports, space, limits.",
    .details =
        "Tells which environment variable (of all of Fluid's launch scripts) decides each question "
        "and\n"
        "which ones contradict it; whether the servers' names resolve and somebody listens there; "
        "whether\n"
        "--current_endpoint can be listened on; space on disk and in /dev/shm; limits. Flags win "
        "over the\n"
        "environment, as everywhere. Exit code 1 when something is WRONG.\n\n"
        "example:\n"
        "  sluice doctor --pservers 127.0.0.1:6174,127.0.0.1:6175 --save_dir models",
    .run = run,
};

static int run(int argc, char **argv)
{
    static const char *const titles[] = {"", "what", "found", NULL};
    bool json = false;
    const char *pservers = NULL, *own = NULL, *save_dir = ".";
    const struct cmd_option options[] = {{"--pservers", .text = &pservers},
                                         {"--current_endpoint", .text = &own},
                                         {"--save_dir", .text = &save_dir},
                                         {"--json", .flag = &json},
                                         {.name = NULL}};
    int code = cmd_args_parse(&cmd_doctor, argc, argv, options, NULL, 0, 0);
    if (code != CMD_OK)
        return code;
    struct doctor d = {.table = {.titles = titles}, .array = json_array()};
    struct environment env;
    environment_resolve(&env, NULL, NULL);
    look_at_environment(&d, &env);
    look_at_numbers(&d, &env);
    if (own == NULL)
        own = env.current_endpoint.value;
    look_at_endpoints(&d, pservers != NULL ? pservers : env.pservers.value, own);
    look_at_space(&d, "save_dir", save_dir, DISK_WANTED);
    look_at_space(&d, "shared memory", "/dev/shm", SHM_WANTED);
    look_at_machine(&d);
    environment_deinit(&env);
    struct buf text;
    buf_init(&text, 0);
    cmd_args_table(&d.table, &text);
    code = json ? cmd_view_print_json(d.array) : cmd_write(text.data, text.bytes);
    buf_deinit(&text);
    json_decref(d.array);
    return code == CMD_OK && d.wrong ? CMD_FAILED : code;
}

static void say(struct doctor *d, enum verdict verdict, const char *what, const char *fmt, ...)
{
    struct buf text;
    va_list args;
    buf_init(&text, 0);
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    const char *const cells[] = {verdict_names[verdict], what, buf_text(&text)};
    cmd_args_row(&d->table, cells);
    json_array_append_new(d->array, json_pack("{s:s, s:s, s:s}", "verdict", verdict_names[verdict],
                                              "what", what, "found", buf_text(&text)));
    d->wrong |= verdict == WRONG;
    buf_deinit(&text);
}

static void look_at_environment(struct doctor *d, struct environment *env)
{
    look_at_answer(d, "role", &env->role, "no variable says it: --role, or the program's name");
    look_at_answer(d, "pservers", &env->pservers, "no variable says it: --pservers is needed");
    look_at_answer(d, "trainers", &env->trainers, "no variable says it: --trainers, else 1");
    look_at_answer(d, "trainer_id", &env->trainer_id, "no variable says it: --trainer_id, else 0");
    look_at_answer(d, "current_endpoint", &env->current_endpoint,
                   "no variable says it: a server needs --current_endpoint");
    look_at_answer(d, "cpu_num", &env->cpu_num, "no variable says it: --cpu_num, else 1");
    for (size_t i = 0; i < env->warnings.count; i++)
        say(d, NOTE, "contradiction", "%s", env->warnings.items[i]);
    static const char *const unused[] = {"FLAGS_rpc_deadline", "FLAGS_rpc_retry_times"};
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
        if (getenv(unused[i]) != NULL)
            say(d, NOTE, unused[i], "%s: not used here; --deadline and --connect_timeout say it",
                getenv(unused[i]));
}

static void look_at_answer(struct doctor *d, const char *what,
                           const struct environment_answer *answer, const char *missing)
{
    if (answer->value != NULL)
        say(d, FINE, what, "%s  (%s)", answer->value, answer->source);
    else
        say(d, FINE, what, "%s", missing);
}

// A whole number from least to most, or WRONG. Returns it, or missing when nobody says it.
static int64_t look_at_number(struct doctor *d, const char *what,
                              const struct environment_answer *answer, int64_t least, int64_t most,
                              int64_t missing)
{
    int64_t n = missing;
    if (answer->value != NULL && (!str_parse_i64(answer->value, &n) || n < least || n > most)) {
        say(d, WRONG, what, "%s=%s: a number from %" PRId64 " to %" PRId64 " is expected",
            answer->source, answer->value, least, most);
        n = missing;
    }
    return n;
}

static void look_at_numbers(struct doctor *d, const struct environment *env)
{
    int64_t trainers = look_at_number(d, "trainers", &env->trainers, 1, LIMIT_TRAINERS, 1);
    look_at_number(d, "trainer_id", &env->trainer_id, 0, trainers - 1, 0);
    look_at_number(d, "cpu_num", &env->cpu_num, 1, 64, 1);
}

static void look_at_endpoints(struct doctor *d, const char *list, const char *own)
{
    struct endpoint_list servers = {0};
    struct endpoint here;
    struct err err = {0};
    bool has_own = false;
    if (own != NULL && endpoint_parse(own, &here, &err) < 0)
        say(d, WRONG, "current_endpoint", "%s", err.text);
    else
        has_own = own != NULL;
    if (list != NULL && endpoint_list_parse(list, &servers, &err) < 0)
        say(d, WRONG, "pservers", "%s", err.text);
    for (size_t i = 0; i < servers.count; i++)
        look_at_endpoint(d, &servers.items[i], has_own && endpoint_equal(&servers.items[i], &here));
    if (has_own && endpoint_list_find(&servers, &here) < 0) {
        if (servers.count > 0)
            say(d, WRONG, "current_endpoint", "%s is not one of the servers %s", own, list);
        look_at_endpoint(d, &here, true);
    }
    endpoint_list_deinit(&servers);
}

static void look_at_endpoint(struct doctor *d, const struct endpoint *endpoint, bool own)
{
    char text[ENDPOINT_TEXT_MAX], port[8];
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    endpoint_format(endpoint, text);
    snprintf(port, sizeof port, "%u", (unsigned)endpoint->port);
    int rc = getaddrinfo(endpoint->host, port, &hints, &found);
    if (rc != 0) {
        say(d, WRONG, text, "the name cannot be resolved: %s", gai_strerror(rc));
        return;
    }
    char host[NI_MAXHOST] = "?";
    getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    int connected = try_connect(found), bound = own ? try_bind(found) : 0;
    if (connected == 0)
        say(d, own ? NOTE : FINE, text, "%s: somebody listens%s", host,
            own ? " already: a server started here would find the port taken" : "");
    else if (own && bound != 0)
        say(d, WRONG, text, "%s: cannot listen: %s", host, strerror(bound));
    else if (own)
        say(d, FINE, text, "%s: free to listen on", host);
    else
        say(d, NOTE, text, "%s: nobody listens: %s", host, strerror(connected));
    freeaddrinfo(found);
}

// 0 or an errno.
static int try_connect(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int code = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        socklen_t length = sizeof code;
        if (poll(&wait, 1, CONNECT_MS) != 1)
            code = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) != 0)
            code = errno;
    }
    close(fd);
    return code;
}

// 0 or an errno.
static int try_bind(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    int code = bind(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    close(fd);
    return code;
}

static void look_at_space(struct doctor *d, const char *what, const char *path, uint64_t wanted)
{
    struct statvfs fs;
    char size[32], *parent = mem_must_strdup(path);
    const char *at = parent;
    // A folder that is not there yet will be made in the nearest one that is.
    while (statvfs(at, &fs) != 0 && errno == ENOENT && at == parent) {
        char *slash = strrchr(parent, '/');
        if (slash == NULL || slash == parent)
            at = slash == NULL ? "." : "/";
        else
            *slash = '\0';
    }
    if (statvfs(at, &fs) != 0) {
        say(d, WRONG, what, "%s: %s", path, strerror(errno));
    } else {
        uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        bool writable = access(at, W_OK) == 0;
        say(d,
            !writable             ? WRONG
            : free_bytes < wanted ? NOTE
                                  : FINE,
            what, "%s: %s free%s", path, ckpt_report_size(free_bytes, size),
            writable ? "" : ", and not writable");
    }
    mem_free(parent);
}

static void look_at_machine(struct doctor *d)
{
    struct rlimit files;
    char size[32];
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        say(d, files.rlim_cur < FILES_WANTED ? NOTE : FINE, "open files", "at most %" PRIu64 "%s",
            (uint64_t)files.rlim_cur,
            files.rlim_cur < FILES_WANTED ? ": a server needs one a trainer; raise `ulimit -n`"
                                          : "");
    long cores = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_AVPHYS_PAGES),
         page = sysconf(_SC_PAGESIZE);
    say(d, FINE, "machine", "%ld cores, %s of memory free, OpenBLAS kernels %s", cores,
        ckpt_report_size((uint64_t)(pages > 0 ? pages : 0) * (uint64_t)page, size), blas_core());
    look_at_socket_buffers(d, "net.core.rmem_max");
    look_at_socket_buffers(d, "net.core.wmem_max");
}

static void look_at_socket_buffers(struct doctor *d, const char *name)
{
    char path[64];
    struct buf text;
    int64_t bytes = 0;
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    for (char *dot = strchr(path, '.'); dot != NULL; dot = strchr(dot, '.'))
        *dot = '/';
    buf_init(&text, 64);
    if (fsutil_read(path, 64, &text, NULL) == 0) {
        const char *digits = buf_text(&text);
        char *line = mem_must_strndup(digits, strcspn(digits, "\n"));
        if (str_parse_i64(line, &bytes))
            say(d, bytes < SOCKET_BYTES_WANTED ? NOTE : FINE, name, "%" PRId64 "%s", bytes,
                bytes < SOCKET_BYTES_WANTED ? ": fast networks want 4 MiB or more (sysctl -w)"
                                            : "");
        mem_free(line);
    }
    buf_deinit(&text);
}
