// SPDX-License-Identifier: Apache-2.0
// Names of a dump's workloads by their addresses, and a few texts that several tables share. Pure.
#pragma once

#include "tools/warren/json.h"

#include <string>
#include <unordered_map>

namespace warren::tools {

class AddressNames {
  public:
    explicit AddressNames(const Json& dump);
    // "10.1.2.3:80" as "pod.namespace:80"; as it is where the address is nobody's.
    [[nodiscard]] std::string named(const std::string& address) const;

  private:
    std::unordered_map<std::string, std::string> names_;
};

// The waypoint of a workload or service: "None" when there is none.
[[nodiscard]] std::string waypoint_of(const Json& item, const Json& dump);

// Of the list, those in the namespace; all when it is "".
[[nodiscard]] Json in_namespace(const Json& list, const std::string& ns);

}  // namespace warren::tools
