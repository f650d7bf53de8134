// SPDX-License-Identifier: Apache-2.0
// Labels of Kubernetes objects and the selectors over them. Plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace warren::cluster {

using LabelMap = std::map<std::string, std::string, std::less<>>;

// The label's value, "" when absent.
[[nodiscard]] std::string_view label(const LabelMap& labels, std::string_view key);
[[nodiscard]] bool has_label(const LabelMap& labels, std::string_view key);
// Every pair of part stands in whole; an empty part stands in everything.
[[nodiscard]] bool is_subset(const LabelMap& part, const LabelMap& whole);

// metav1.LabelSelector. One with nothing in it selects everything.
struct LabelSelector {
    enum class Operator : uint8_t { In, NotIn, Exists, DoesNotExist };
    struct Requirement {
        std::string key;
        Operator op = Operator::In;
        std::vector<std::string> values;
        bool operator==(const Requirement&) const = default;
    };
    LabelMap match_labels;
    std::vector<Requirement> match_expressions;

    [[nodiscard]] bool matches(const LabelMap& labels) const;
    bool operator==(const LabelSelector&) const = default;
};

}  // namespace warren::cluster
