// SPDX-License-Identifier: Apache-2.0
// A flow as the CLI reads it back from the agent's JSON (agent/node/flow_json.h): /flows, a line of the flow log, or the live stream.
// Values; pure.
#pragma once

#include "base/clock.h"
#include "base/ip.h"
#include "tools/warren/json.h"

#include <optional>
#include <string>

namespace warren::tools {

struct FlowEnd {
    std::string identity, proof, uid, ns, name, workload;
    // "namespace/name" of the pod, else "".
    [[nodiscard]] std::string pod() const { return name.empty() ? "" : ns + '/' + name; }
};

struct FlowJudgement {
    std::string verdict, policy, reason;  // verdict "": there was none
    std::optional<uint64_t> rule;
};

struct FlowRecord {
    std::string node, cookie, direction, path;
    FlowEnd source, destination;
    std::optional<base::SockAddr> source_address, requested_address, destination_address;
    std::string destination_service;  // "namespace/hostname"
    FlowJudgement decision, dry_run;
    base::WallTime start;
    std::optional<base::WallTime> end;
    std::string close_reason, close_detail;
    uint64_t to_destination = 0, to_source = 0;
    std::optional<uint64_t> rtt_us, retransmits;

    // Names the connection, for later records of the same one.
    [[nodiscard]] std::string key() const;
    [[nodiscard]] uint16_t port() const;  // asked for; 0 when unknown
    // The pod, else the service, else the address.
    [[nodiscard]] std::string from_shown() const;
    [[nodiscard]] std::string to_shown() const;
};

// An error names the field. Only what tells connections apart is required: start_time.
[[nodiscard]] base::Result<FlowRecord> read_flow(const Json& j);

}  // namespace warren::tools
