// SPDX-License-Identifier: Apache-2.0
// Inside net only: who listens on a port of this machine, as far as /proc shows it.
#pragma once

#include <stdint.h>

#define PORT_OWNER_TEXT_MAX 96

// "pid 4711 (pserver)", or "another program" when it cannot be seen (other user). Returns text.
const char *port_owner_find(uint16_t port, char text[PORT_OWNER_TEXT_MAX]);
