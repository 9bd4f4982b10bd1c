// SPDX-License-Identifier: Apache-2.0
// ASSERT states a programmer's error and stays on in release builds. Never use it on data that came
// from a user, a file or a peer.
#pragma once

#define ASSERT(cond) ((cond) ? (void)0 : assert_fail(#cond, __FILE__, __LINE__))

_Noreturn void assert_fail(const char *cond, const char *file, int line);
