// SPDX-License-Identifier: Apache-2.0
// SYNs made by hand, sent from a raw socket of a namespace, in every dress a packet may wear: IP options, IPv6 extension headers,
// fragments. For tests of what a filter that parses packets would get wrong.
#pragma once

#include "base/ip.h"
#include "tests/bpf/lab.h"

namespace warren::tests::bpf {

enum class Dress { Plain, Options, Fragments, HopByHop, DestinationOptions, Routing };

// Options is IPv4's; HopByHop, DestinationOptions and Routing are IPv6's; the others are of both. Returns whether all of it was sent.
bool send_syn(Lab& lab, const Pod& from, const base::SockAddr& source, const base::SockAddr& to, Dress dress);

}  // namespace warren::tests::bpf
