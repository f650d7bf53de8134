// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/labels.h"

#include <algorithm>

namespace warren::cluster {

std::string_view label(const LabelMap& labels, std::string_view key) {
    const auto found = labels.find(key);
    return found == labels.end() ? std::string_view() : std::string_view(found->second);
}

bool has_label(const LabelMap& labels, std::string_view key) { return labels.find(key) != labels.end(); }

bool is_subset(const LabelMap& part, const LabelMap& whole) {
    return std::all_of(part.begin(), part.end(), [&](const auto& pair) {
        const auto found = whole.find(pair.first);
        return found != whole.end() && found->second == pair.second;
    });
}

bool LabelSelector::matches(const LabelMap& labels) const {
    if (!is_subset(match_labels, labels)) return false;
    return std::all_of(match_expressions.begin(), match_expressions.end(), [&](const Requirement& wanted) {
        const auto found = labels.find(wanted.key);
        const bool present = found != labels.end();
        const bool listed = present && std::find(wanted.values.begin(), wanted.values.end(), found->second) != wanted.values.end();
        switch (wanted.op) {
            case Operator::In: return listed;
            case Operator::NotIn: return !listed;
            case Operator::Exists: return present;
            case Operator::DoesNotExist: return !present;
        }
        return false;
    });
}

}  // namespace warren::cluster
