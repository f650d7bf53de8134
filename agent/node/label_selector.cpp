// SPDX-License-Identifier: Apache-2.0
#include "agent/node/label_selector.h"

#include <algorithm>

namespace warren::node {

namespace {

using Expression = LabelSelector::Expression;
using Operator = Expression::Operator;

bool holds(const Expression& e, const Labels& labels) {
    const auto found = labels.find(e.key);
    const bool there = found != labels.end();
    const bool listed = there && std::find(e.values.begin(), e.values.end(), found->second) != e.values.end();
    switch (e.op) {
        case Operator::In: return listed;
        case Operator::NotIn: return !listed;  // as Kubernetes has it: also where the label is missing
        case Operator::Exists: return there;
        case Operator::DoesNotExist: return !there;
    }
    return false;
}

}  // namespace

bool LabelSelector::matches(const Labels& labels) const {
    return std::all_of(all.begin(), all.end(), [&labels](const Expression& e) { return holds(e, labels); });
}

}  // namespace warren::node
