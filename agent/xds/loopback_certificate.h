// SPDX-License-Identifier: Apache-2.0
// A server certificate for loopback, made on the spot, and the root that verifies it: what a client of this machine that insists on TLS
// (a stock tunnel, data-plane contract 3.7) is given as its trusted root. The root's key is forgotten at once, so the root vouches for
// this one certificate and for nothing else. It is kept in a file, because such a client reads its root once. Blocking; any thread.
#pragma once

#include "agent/xds/server.h"
#include "base/clock.h"
#include "base/result.h"

#include <chrono>
#include <string>

namespace warren::xds {

struct LoopbackCertificate {
    ServerTls tls;     // its key is secret: give it away, do not keep it
    std::string root;  // PEM, public
};

// For 127.0.0.1, ::1 and localhost, from five minutes before `now` on.
base::Result<LoopbackCertificate> make_loopback_certificate(base::WallTime now, std::chrono::hours lifetime);

// The one in the file (0600: its key is there), or a new one put there when there is none, it does not read, or less than a third of the
// lifetime is left.
base::Result<LoopbackCertificate> kept_loopback_certificate(const std::string& path, base::WallTime now, std::chrono::hours lifetime);

}  // namespace warren::xds
