// SPDX-License-Identifier: Apache-2.0
// metadata of a Kubernetes object, as far as the conversion reads it. Plain values.
#pragma once

#include "agent/cluster/labels.h"
#include "agent/cluster/object_status.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace warren::cluster {

struct ObjectMeta {
    std::string name;
    std::string ns;  // empty for kinds that live in no namespace
    std::string uid;
    std::string generate_name;
    LabelMap labels, annotations;
    int64_t created_ns = 0;              // Unix time; 0 when not known, which counts as the oldest
    bool deleting = false;               // has a deletionTimestamp
    HeldConditions held;                 // of kinds whose authors are told something, and
    int64_t generation = 0;              // which spec of it this is; 0: the kind does not count
    std::string owner_kind, owner_name;  // the owner that controls it
    std::string where;                   // "FILE:LINE" of the object, for messages

    [[nodiscard]] std::string key() const { return ns + '/' + name; }
    bool operator==(const ObjectMeta&) const = default;
};

// Which of two counts where the oldest does: creation time, then name, so that the answer does not depend on the order of arrival.
[[nodiscard]] inline bool older(const ObjectMeta& a, const ObjectMeta& b) {
    if (a.created_ns != b.created_ns) return a.created_ns < b.created_ns;
    return a.ns != b.ns ? a.ns < b.ns : a.name < b.name;
}

}  // namespace warren::cluster
