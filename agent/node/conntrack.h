// SPDX-License-Identifier: Apache-2.0
// The connection tracking of the calling thread's network namespace, over ctnetlink (linux/netfilter/nfnetlink_conntrack.h).
//
// A pod that called a service through kube-proxy before it was captured has left that connection there, for two minutes after its end.
// A direct connection to the same endpoint that gets the same source port is given another one on its way, for two connections may not
// share the addresses of their answers; it is then not the connection that was announced, and strict pods refuse it. So what has ended
// goes.
#pragma once

#include "base/ip.h"
#include "base/result.h"

#include <cstddef>
#include <span>
#include <vector>

namespace warren::node {

struct ConntrackLimits {
    size_t rows = 250'000;  // of one look: some 100 MB that the kernel writes and 200 ms of a core
    // Up to so many addresses the kernel is asked for the rows of each (CTA_FILTER, Linux 5.8), which takes it a walk of the table each and
    // tells us little; beyond, once for all of TCP.
    size_t one_by_one = 16;
};

struct ConntrackCounts {
    size_t rows = 0;                 // told by the kernel
    bool cut = false;                // there are more than a look reads: `open` is not all
    size_t forgotten = 0;            // entries of ended TCP connections, deleted
    std::vector<base::IpAddr> open;  // who has translated connections that have not ended; sorted, each once
};

// Of TCP connections that the addresses opened. sources: sorted. Blocking; CAP_NET_ADMIN; any thread. An error where the kernel has no
// connection tracking, or it is not to be asked (EPROTONOSUPPORT, EINVAL, EPERM), and where a look did not succeed this time.
[[nodiscard]] base::Result<ConntrackCounts> forget_ended(std::span<const base::IpAddr> sources, ConntrackLimits limits = {});

}  // namespace warren::node
