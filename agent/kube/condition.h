// SPDX-License-Identifier: Apache-2.0
// One condition in an object's status (Kubernetes API conventions: conditions), written beside those of others. Blocks for up to three
// reads and writes. Only for a leader.
#pragma once

#include "agent/kube/client.h"
#include "agent/kube/resource.h"

#include <optional>
#include <string>
#include <string_view>

namespace warren::kube {

struct Condition {
    std::string type;
    bool status = false;
    std::string reason, message;
    bool absent = false;  // there is to be none of the type

    bool operator==(const Condition&) const = default;
};

// The merge patch that makes the object say so; nothing when it does already. Others' conditions stay, and the time of the last
// transition is kept when the status is the same. now is RFC 3339. Pure.
base::Result<std::optional<std::string>> condition_patch(std::string_view object, const Condition& condition, std::string_view now);

// An object that is gone is no error.
base::Result<void> write_condition(Client& client, const Resource& resource, const std::string& ns, const std::string& name,
                                   const Condition& condition);

}  // namespace warren::kube
