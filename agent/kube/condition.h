// SPDX-License-Identifier: Apache-2.0
// Conditions in an object's status (Kubernetes API conventions), written beside those of others. write_conditions blocks for up to three
// reads and writes. Only for a leader.
//
// A merge patch of the list with the version that was read, not server-side apply: where the definition calls the list atomic, as those of
// Istio's kinds do, apply owns all of it or none. Who writes in between is not overwritten: the server refuses, and it is read anew.
#pragma once

#include "agent/kube/client.h"
#include "agent/kube/resource.h"

#include <cstdint>
#include <optional>
#include <span>
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

// The object that conditions are about. Another one of the same name is not told.
struct Subject {
    std::string ns, name;
    std::string uid;         // empty: whichever there is
    int64_t generation = 0;  // the spec that was judged; 0: the kind does not count
};

// The merge patch that makes the object say so; nothing when it does already, or is another one. Others' conditions stay, and the time of
// the last transition is kept when the status is the same. now is RFC 3339. Pure.
base::Result<std::optional<std::string>> condition_patch(std::string_view object, const Subject& subject,
                                                         std::span<const Condition> conditions, std::string_view now);

// True: written; false: the object says so already, is another one, or gone.
base::Result<bool> write_conditions(Client& client, const Resource& resource, const Subject& subject,
                                    std::span<const Condition> conditions);

}  // namespace warren::kube
