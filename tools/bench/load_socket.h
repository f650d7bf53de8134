// SPDX-License-Identifier: Apache-2.0
// Sockets of the load generator and its server. Free functions, any thread.
#pragma once

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"

namespace warren::bench {

// Non-blocking, without Nagle's delay, its connect begun; the socket becomes writable when that is done.
[[nodiscard]] base::Result<base::Fd> begin_connect(const base::SockAddr& to);
// Waits for the connection at most ten seconds. Non-blocking afterwards.
[[nodiscard]] base::Result<base::Fd> connect_to(const base::SockAddr& to);
// Non-blocking, listening; [::] takes IPv4 too.
[[nodiscard]] base::Result<base::Fd> listen_on(const base::SockAddr& at);
// Small messages leave at once.
void without_delay(int fd);
// SO_ERROR: 0 when the connect succeeded.
[[nodiscard]] int connect_error(int fd);
// As many descriptors as the machine allows this process.
void raise_descriptor_limit();

}  // namespace warren::bench
