// SPDX-License-Identifier: Apache-2.0
// Kubernetes' metav1.LabelSelector: all of it has to hold; an empty one matches everything. Values; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace warren::node {

using Labels = std::map<std::string, std::string>;

struct LabelSelector {
    struct Expression {
        enum class Operator : uint8_t { In, NotIn, Exists, DoesNotExist } op = Operator::In;
        std::string key;
        std::vector<std::string> values = {};
    };
    std::vector<Expression> all = {};

    [[nodiscard]] bool matches(const Labels& labels) const;
};

}  // namespace warren::node
