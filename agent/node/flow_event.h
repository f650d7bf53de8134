// SPDX-License-Identifier: Apache-2.0
// A kernel record of a connection (bpf/abi.h) as the Flow that people and programs read (proto/flow.proto). Pure; any thread.
#pragma once

#include "agent/node/flow_directory.h"
#include "bpf/abi.h"
#include "proto/flow.pb.h"

#include <cstdint>
#include <optional>

namespace warren::node {

// The wall clock's reading when the monotonic one reads zero, ns: kernel records carry monotonic times.
[[nodiscard]] int64_t wall_offset_ns();

// Nothing: a record that another part reports (the tunnel its own connections), or one of an unknown kind.
[[nodiscard]] std::optional<flow::v1::Flow> to_flow(const wr_flow_event& event, const FlowDirectory& names, int64_t wall_offset_ns);

}  // namespace warren::node
