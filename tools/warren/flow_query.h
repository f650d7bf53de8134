// SPDX-License-Identifier: Apache-2.0
// Which flows a person asked for: every option that is given must hold, one given several times holds when any of its values does. Pure.
#pragma once

#include "tools/warren/flow_record.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace warren::tools {

struct FlowQuery {
    std::vector<std::string> namespaces, workloads;  // of either end
    std::vector<std::string> from, to;               // NAMESPACE/NAME of pod or workload, service, identity, address or prefix
    std::vector<uint16_t> ports;
    std::vector<std::string> verdicts, paths, reasons;
    std::string since;

    // Declares the options.
    void add_to(CLI::App& command);
    // since, against now.
    [[nodiscard]] base::Result<std::optional<base::WallTime>> earliest(base::WallTime now) const;
    [[nodiscard]] bool accepts(const FlowRecord& flow, std::optional<base::WallTime> earliest) const;
};

}  // namespace warren::tools
