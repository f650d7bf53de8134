// SPDX-License-Identifier: Apache-2.0
// The status of a Gateway (gateway.networking.k8s.io), by server-side apply and never by force: its lists are keyed, so each field has an
// owner, and what another controller wrote stays as it wrote it. Blocks for a read and a write. Only for a leader.
#pragma once

#include "agent/kube/condition.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::kube {

struct GatewayStatus {
    struct Listener {
        std::string name;
        std::vector<Condition> conditions;
    };
    std::vector<Condition> conditions;                           // none: nothing of ours is to stay
    std::vector<std::pair<std::string, std::string>> addresses;  // type, value
    std::vector<Listener> listeners;
};

// What is applied; nothing when the object says so already, or is another one. Times and generations as condition_patch has them. Pure.
base::Result<std::optional<std::string>> gateway_patch(std::string_view object, const Subject& subject, const GatewayStatus& status,
                                                       std::string_view now);

enum class Applied : uint8_t { Unchanged, Written, Left };  // Left: another controller owns the fields
base::Result<Applied> write_gateway_status(Client& client, const Subject& subject, const GatewayStatus& status);

}  // namespace warren::kube
