// SPDX-License-Identifier: Apache-2.0
#include "agent/node/same_node.h"

namespace warren::node {

std::string_view to_string(SameNode mode) {
    switch (mode) {
        case SameNode::Direct: return "direct";
        case SameNode::Encrypted: return "encrypted";
        case SameNode::Off: return "off";
    }
    return "unknown";
}

base::Result<SameNode> parse_same_node(std::string_view text) {
    for (const SameNode mode : {SameNode::Direct, SameNode::Encrypted, SameNode::Off})
        if (text == to_string(mode)) return mode;
    return base::invalid("sameNode: \"" + std::string(text) + "\" is none of direct, encrypted, off");
}

base::Result<SameNodeRules> SameNodeRules::make(SameNode mesh, const std::vector<SameNodeOverride>& overrides) {
    SameNodeRules rules;
    rules.mesh_ = mesh;
    for (size_t i = 0; i < overrides.size(); ++i) {
        const SameNodeOverride& o = overrides[i];
        const std::string where = "sameNode.overrides[" + std::to_string(i) + "]";
        if (o.ns.empty()) return base::invalid(where + ".namespace: is empty; name the namespace, or set the mesh's own mode");
        if (!rules.overrides_[o.ns].emplace(o.workload, o.mode).second)
            return base::invalid(where + ": \"" + o.ns + (o.workload.empty() ? "" : "/" + o.workload) +
                                 "\" stands there already; keep one");
    }
    return rules;
}

std::optional<SameNode> SameNodeRules::find(std::string_view ns, std::string_view workload) const {
    const auto space = overrides_.find(ns);
    if (space == overrides_.end()) return std::nullopt;
    const auto found = space->second.find(workload);
    return found != space->second.end() ? std::optional(found->second) : std::nullopt;
}

SameNode SameNodeRules::mode_for(const Subject& subject) const {
    SameNode mode = mesh_;
    if (const auto found = find(subject.ns, "")) mode = *found;
    for (const std::string_view name : {subject.workload, subject.pod})
        if (!name.empty())
            if (const auto found = find(subject.ns, name)) mode = *found;
    if (!subject.annotation || mode == SameNode::Encrypted) return mode;
    return *subject.annotation;
}

}  // namespace warren::node
