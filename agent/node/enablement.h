// SPDX-License-Identifier: Apache-2.0
// Which pods belong to the mesh by their labels (Kubernetes contract 1.2, default selectors and their reading). Values; any thread.
#pragma once

#include "agent/node/label_selector.h"
#include "base/result.h"

#include <string_view>
#include <vector>

namespace warren::node {

class Enablement {
  public:
    // istio.io/dataplane-mode: ambient on the pod, or on its namespace and not none on the pod.
    static Enablement standard();
    // A list of {podSelector, namespaceSelector}, any of which enrols; errors name the line and the field. An empty list enrols nobody.
    static base::Result<Enablement> from_yaml(std::string_view text);

    [[nodiscard]] bool matches(const Labels& pod, const Labels& ns) const;

  private:
    struct Selector {
        LabelSelector pod, ns;
    };
    std::vector<Selector> any_;
};

}  // namespace warren::node
