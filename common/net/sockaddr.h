// SPDX-License-Identifier: Apache-2.0
// Inside net only: socket addresses as text, and the options every socket of ours gets.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define SOCKADDR_TEXT_MAX 64

// "127.0.0.1:6174", "[::1]:6174"; "?" for another family. Returns text.
const char *sockaddr_format(const struct sockaddr *addr, char text[SOCKADDR_TEXT_MAX]);
bool sockaddr_is_loopback(const struct sockaddr *addr);
bool sockaddr_equal(const struct sockaddr *a, const struct sockaddr *b);
uint16_t sockaddr_port(const struct sockaddr *addr);
void sockaddr_set_port(struct sockaddr *addr, uint16_t port);
// host, a numeric address, and port into out; false when host is not numeric.
bool sockaddr_parse(const char *host, uint16_t port, struct sockaddr_storage *out);
// No delay, congestion control, user timeout, buffers. What the kernel refuses is left as it is.
void sockaddr_tune(int fd, bool loopback, const char *congestion, uint32_t user_timeout_ms);
