// SPDX-License-Identifier: Apache-2.0
// sameNode: may two pods of one node talk as plain TCP that the kernel attests, or has their traffic to be encrypted by the tunnel?
// Said by the agent's configuration (mesh, namespace, workload) and by the pod annotation warren.dev/same-node. Plain values, any thread.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

inline constexpr std::string_view kSameNodeAnnotation = "warren.dev/same-node";

enum class SameNode : uint8_t {
    Direct,     // the attested path, where policy allows it
    Encrypted,  // a demand: always the tunnel; no pod can lift it
    Off,        // the tunnel; a default that a pod may lift for itself
};
[[nodiscard]] std::string_view to_string(SameNode mode);
// "direct", "encrypted", "off". What does not parse must count as Encrypted with whoever cannot refuse it.
[[nodiscard]] base::Result<SameNode> parse_same_node(std::string_view text);

struct SameNodeOverride {
    std::string ns;
    std::string workload;  // empty: the whole namespace; else a workload's name ("cart") or a pod's
    SameNode mode = SameNode::Direct;
};

class SameNodeRules {
  public:
    SameNodeRules() = default;
    // Refuses an override without a namespace, and two for the same thing.
    static base::Result<SameNodeRules> make(SameNode mesh, const std::vector<SameNodeOverride>& overrides);

    struct Subject {
        std::string_view ns;
        std::string_view workload;
        std::string_view pod;
        std::optional<SameNode> annotation;
    };
    // The most specific of pod, workload, namespace, mesh; then the annotation, which may ask for more than is configured, and for Direct
    // only where Off is.
    [[nodiscard]] SameNode mode_for(const Subject& subject) const;

  private:
    [[nodiscard]] std::optional<SameNode> find(std::string_view ns, std::string_view workload) const;
    SameNode mesh_ = SameNode::Direct;
    std::map<std::string, std::map<std::string, SameNode, std::less<>>, std::less<>> overrides_;  // "": the namespace
};

}  // namespace warren::node
