// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/discovery_selectors.h"

#include "agent/cluster/diagnostics.h"
#include "agent/cluster/object_fields.h"
#include "agent/cluster/read_kinds.h"
#include "policy/document_yaml.h"

#include <utility>

namespace warren::cluster {
namespace {

using policy::Node;

void check_requirement(const FieldMap& wanted) {
    wanted.only({"key", "operator", "values"});
    Reading& reading = wanted.reading();
    const std::string op = wanted.text("operator");
    const bool with_values = op == "In" || op == "NotIn";
    if (wanted.text("key").empty()) reading.refuse(wanted.node(), "has no key; name the label");
    if (op.empty()) reading.refuse(wanted.node(), "has no operator; give In, NotIn, Exists or DoesNotExist");
    if (with_values && wanted.texts("values").empty()) reading.refuse(wanted.node(), "In and NotIn need values");
    if (!with_values && !wanted.texts("values").empty()) reading.refuse(wanted.node(), "Exists and DoesNotExist take no values");
}

}  // namespace

base::Result<std::vector<LabelSelector>> read_discovery_selectors(std::string_view text) {
    std::vector<LabelSelector> out;
    const auto documents = TRY(policy::documents_from_yaml(text, "discoverySelectors"));
    if (documents.empty()) return out;
    if (documents.size() > 1) return base::invalid("discoverySelectors: more than one document; give one list");
    const Node root = documents.front().root();
    if (!root.is(Node::Kind::Sequence))
        return base::invalid("discoverySelectors: no list; give it as in MeshConfig, such as [{matchLabels: {mesh: \"on\"}}]");
    Diagnostics problems;
    Reading reading{problems};
    for (const Node element : root) {
        const FieldMap selector(element, reading);
        if (!selector && !reading.failed) reading.refuse(element, "is empty; give matchLabels or matchExpressions, {} for every namespace");
        selector.only({"matchLabels", "matchExpressions"});
        for (const FieldMap& wanted : selector.maps("matchExpressions")) check_requirement(wanted);
        out.push_back(read_label_selector(selector));
    }
    if (!problems.errors().empty()) return base::invalid(problems.errors().front());
    return out;
}

}  // namespace warren::cluster
