// SPDX-License-Identifier: Apache-2.0
// Finds the process behind a listening port: /proc/net/tcp{,6} gives the socket's inode, the links
// in /proc/<pid>/fd give the process. Best effort, used for an error text only.
#include "common/net/port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATE_LISTEN 0x0a

static bool find_inode(const char *path, uint16_t port, unsigned long *out);
static bool holds_socket(const char *pid, const char *link_wanted);
static void read_comm(const char *pid, char *out, size_t bytes);

const char *port_owner_find(uint16_t port, char text[PORT_OWNER_TEXT_MAX])
{
    (void)snprintf(text, PORT_OWNER_TEXT_MAX, "another program");
    unsigned long inode = 0;
    if (!find_inode("/proc/net/tcp", port, &inode) && !find_inode("/proc/net/tcp6", port, &inode))
        return text;
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    DIR *proc = opendir("/proc");
    if (!proc)
        return text;
    const struct dirent *entry;
    while ((entry = readdir(proc))) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !holds_socket(entry->d_name, wanted))
            continue;
        char comm[32];
        read_comm(entry->d_name, comm, sizeof comm);
        (void)snprintf(text, PORT_OWNER_TEXT_MAX, "pid %.20s (%s)", entry->d_name, comm);
        break;
    }
    (void)closedir(proc);
    return text;
}

// A line is "sl: local:PORT remote:PORT STATE tx:rx tr:tm retr uid timeout inode ...".
static bool find_inode(const char *path, uint16_t port, unsigned long *out)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) {
        unsigned local_port, state;
        unsigned long inode;
        if (sscanf(line,
                   " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu",
                   &local_port, &state, &inode) != 3)
            continue;
        if (local_port == port && state == STATE_LISTEN && inode) {
            *out = inode;
            found = true;
        }
    }
    (void)fclose(file);
    return found;
}

static bool holds_socket(const char *pid, const char *link_wanted)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    bool holds = false;
    const struct dirent *entry;
    while (!holds && (entry = readdir(dir))) {
        char target[64];
        ssize_t bytes = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (bytes <= 0)
            continue;
        target[bytes] = '\0';
        holds = strcmp(target, link_wanted) == 0;
    }
    (void)closedir(dir);
    return holds;
}

static void read_comm(const char *pid, char *out, size_t bytes)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    (void)snprintf(out, bytes, "?");
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    if (fgets(out, (int)bytes, file))
        out[strcspn(out, "\n")] = '\0';
    (void)fclose(file);
}
