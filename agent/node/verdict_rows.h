// SPDX-License-Identifier: Apache-2.0
// The verdict rows of one pair of pods (bpf/abi.h, wr_verdicts), made by the decision that the tunnel's inbound side makes
// (policy/evaluate.h) with the connection as the tunnel would see it: the source's identity, both pod addresses, the application's port.
//
// Policies name ports one by one, and all ports that none of them names are judged alike. So one evaluation for each port that some
// policy names, positively or negatively, and one for a port that none does say everything. A named port whose verdict is that of
// port 0 in every field needs no row.
//
// The kernel has to see to two things that no row says: a port of the tunnel itself never goes direct, and neither does a socket whose
// source address is not the pod's own, for that is the address that was judged. Pure; any thread, but PolicyIds belongs to one.
#pragma once

#include "agent/node/mesh_view.h"
#include "agent/node/network_policy.h"
#include "agent/node/policy_ids.h"
#include "bpf/abi.h"

#include <memory>
#include <vector>

namespace warren::node {

struct PortVerdict {
    uint16_t port = 0;
    wr_verdict_row row{};
};

// By port; port 0 stands first and always.
using PairVerdicts = std::vector<PortVerdict>;
using PairRef = std::shared_ptr<const PairVerdicts>;

// As the kernel looks: the port's own row, else port 0. The tunnel's own ports have no rows: the kernel refuses them before it looks.
[[nodiscard]] const wr_verdict_row& verdict_of(const PairVerdicts& pair, uint16_t port);
[[nodiscard]] bool same_verdicts(const PairVerdicts& a, const PairVerdicts& b);

// One row, port 0: to the tunnel.
[[nodiscard]] PairVerdicts tunnel_verdicts(policy::Reason reason);

// What the rules of a set look at. Dry runs are left out: they decide nothing.
struct SetSubjects {
    explicit SetSubjects(const policy::PolicySet& set);
    std::vector<uint16_t> ports;  // sorted, without 0 and the tunnel's own
    uint16_t other = 0;           // a port that no policy names; 0: there is none
    bool source_ips = false;
    bool destination_ips = false;
};

// Judges every port for the pair. Both members have records. A port whose verdict is not the same over IPv4 and IPv6 goes to the tunnel,
// for rows know no family, and so does a pair without a common family where policies look at addresses.
[[nodiscard]] PairVerdicts judge_pair(const Member& source, const Member& destination, const SetSubjects& subjects, PolicyIds& ids);

// The same with what is allowed on any other port than these sent to the tunnel, as all is that a NetworkPolicy would block. Rows name
// ports one by one: of a pair, most ports that are open beside shut ones have rows, the lowest first and a range whole or not at all.
[[nodiscard]] PairVerdicts only_through(const PairVerdicts& pair, const Ports& open, size_t most);

}  // namespace warren::node
