// SPDX-License-Identifier: Apache-2.0
// Where flows come from: a file of JSON lines (the agent's flow log), the agent's /flows (what is open and ended lately), or its live
// stream. Blocking; main's thread.
#pragma once

#include "tools/warren/context.h"
#include "tools/warren/flow_record.h"

#include <functional>
#include <string>
#include <vector>

namespace warren::tools {

struct Flow {
    FlowRecord record;
    Json json;
};

// JSON lines, or a JSON list. A line that does not read is an error with its number; the last may be cut, for the file may be written to.
[[nodiscard]] base::Result<std::vector<Flow>> flows_of_text(const std::string& text, const std::string& name);
// file "": the agent.
[[nodiscard]] base::Result<std::vector<Flow>> load_flows(const Context& context, const std::string& file);

struct FlowReader {
    std::function<bool(Flow)> flow;            // false: enough
    std::function<void(uint64_t total)> lost;  // flows this stream has lost, when that grows
    std::function<bool()> history_over;        // false: enough
};
// The live stream, until the agent ends it or the reader has enough.
[[nodiscard]] base::Result<void> follow_flows(const Context& context, const FlowReader& reader);

}  // namespace warren::tools
