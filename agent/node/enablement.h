// SPDX-License-Identifier: Apache-2.0
// Which pods belong to the mesh by their labels (Kubernetes contract 1.2, default selectors and their reading). Values; any thread.
#pragma once

#include "base/result.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

using Labels = std::map<std::string, std::string>;

// Kubernetes' metav1.LabelSelector: all of it has to hold; an empty one matches everything.
struct LabelSelector {
    struct Expression {
        enum class Operator : uint8_t { In, NotIn, Exists, DoesNotExist } op = Operator::In;
        std::string key;
        std::vector<std::string> values = {};
    };
    std::vector<Expression> all = {};

    [[nodiscard]] bool matches(const Labels& labels) const;
};

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
