// SPDX-License-Identifier: Apache-2.0
// How a compute thread waits for the loop thread without a lock of its own: a counting gate.
// What the opener wrote before gate_open is visible after gate_wait.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct gate;

struct gate *gate_new(void);
void gate_free(struct gate *gate);
void gate_open(struct gate *gate);     // lets one waiter (now or later) through
void gate_wait(struct gate *gate);
bool gate_wait_ms(struct gate *gate, uint64_t timeout_ms);     // false: time is over
