// SPDX-License-Identifier: Apache-2.0
// The three ways to name a destination: IPv4, IPv6, and IPv4 through an IPv6 socket.
#pragma once

#include "tests/bpf/lab.h"

#include <sys/socket.h>

namespace warren::tests::bpf {

struct Way {
    const char* name;
    int family;
    bool v6;
};
inline constexpr Way kWays[] = {{"v4", AF_INET, false}, {"v6", AF_INET6, true}, {"mapped", AF_INET6, false}};

inline base::SockAddr at(const Pod& pod, const Way& way, uint16_t port) { return {way.v6 ? pod.v6 : pod.v4, port}; }

// Routed by no one.
inline base::SockAddr stranger(const Way& way) { return *base::SockAddr::parse(way.v6 ? "[fd99::9]:8080" : "198.51.100.9:8080"); }

inline base::SockAddr wildcard(uint16_t port) { return {base::IpAddr{}, port}; }

}  // namespace warren::tests::bpf
