// SPDX-License-Identifier: Apache-2.0
// NodeState: what the agent leaves on disk for the plugin while it is away (Kubernetes contract 1.5; trap 34): which namespaces have pods
// of the mesh. A pod of such a namespace waits for the agent; any other starts, and is enrolled when the agent is back if it turns out to
// belong to the mesh. The file outlives a reboot, which is when every pod of the node starts before the agent does.
//
// Pure but for the two functions that say so; fuzzed (tests/fuzz/cni_protocol.cpp).
#pragma once

#include "base/result.h"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace warren::cni {

inline constexpr size_t kMaxStateBytes = size_t{16} << 20;  // 60,000 namespaces with the longest of names

struct NodeState {
    // true: enrolled, or with pods on this node that are. false: known, and has none.
    std::map<std::string, bool> namespaces = {};
    bool unknown_waits = false;  // what becomes of a namespace that was made while the agent was away

    bool operator==(const NodeState&) const = default;
    // Whether a pod of this namespace has to wait for the agent.
    [[nodiscard]] bool waits(const std::string& ns) const {
        const auto found = namespaces.find(ns);
        return found == namespaces.end() ? unknown_waits : found->second;
    }
};

[[nodiscard]] std::string encode(const NodeState& state);
base::Result<NodeState> parse_node_state(std::string_view text);

base::Result<NodeState> read_node_state(const std::string& path);
// Whole or not at all: a new file that is renamed over the old one, on disk before that.
base::Result<void> write_whole(const std::string& path, std::string_view text, unsigned mode);

}  // namespace warren::cni
