// SPDX-License-Identifier: Apache-2.0
#include "agent/node/enablement.h"

#include "policy/document.h"
#include "policy/document_yaml.h"
#include "policy/fields_yaml.h"

#include <algorithm>
#include <utility>

namespace warren::node {

namespace {

using policy::Fields;
using policy::Node;
using Expression = LabelSelector::Expression;
using Operator = Expression::Operator;

constexpr const char* kMode = "istio.io/dataplane-mode";

base::Result<std::string> read_text(Node node) { return std::string(TRY(policy::read_string(node))); }

base::Result<Expression> read_expression(Node node) {
    const Fields fields = TRY(Fields::of(node, {"key", "operator", "values"}));
    Expression e;
    e.key = TRY(read_text(TRY(fields.need("key"))));
    e.op = TRY(policy::read_word<Operator>(
        TRY(fields.need("operator")),
        {{"In", Operator::In}, {"NotIn", Operator::NotIn}, {"Exists", Operator::Exists}, {"DoesNotExist", Operator::DoesNotExist}}));
    e.values = TRY(policy::read_list<std::string>(fields.get("values"), read_text));
    const bool needs = e.op == Operator::In || e.op == Operator::NotIn;
    if (needs == e.values.empty()) return node.refuse(needs ? "In and NotIn need values" : "Exists and DoesNotExist take no values");
    return e;
}

base::Result<LabelSelector> read_selector(Node node) {
    LabelSelector selector;
    if (!node) return selector;
    const Fields fields = TRY(Fields::of(node, {"matchLabels", "matchExpressions"}));
    if (const Node labels = fields.get("matchLabels")) {
        for (const auto& [key, value] : TRY(policy::read_entries(labels)))
            selector.all.push_back({Operator::In, TRY(read_text(key)), {TRY(read_text(value))}});
    }
    for (Expression& e : TRY(policy::read_list<Expression>(fields.get("matchExpressions"), read_expression)))
        selector.all.push_back(std::move(e));
    return selector;
}

}  // namespace

Enablement Enablement::standard() {
    Enablement e;
    const Expression in{Operator::In, kMode, {"ambient"}}, not_out{Operator::NotIn, kMode, {"none"}};
    e.any_.push_back({.pod = {{in}}, .ns = {}});
    e.any_.push_back({.pod = {{not_out}}, .ns = {{in}}});
    return e;
}

base::Result<Enablement> Enablement::from_yaml(std::string_view text) {
    const policy::Document document = TRY(policy::document_from_yaml(text, "enablement selectors"));
    Enablement e;
    for (const Node node : TRY(policy::read_sequence(document.root()))) {
        const Fields fields = TRY(Fields::of(node, {"podSelector", "namespaceSelector"}));
        e.any_.push_back({TRY(read_selector(fields.get("podSelector"))), TRY(read_selector(fields.get("namespaceSelector")))});
    }
    return e;
}

bool Enablement::matches(const Labels& pod, const Labels& ns) const {
    return std::any_of(any_.begin(), any_.end(), [&](const Selector& s) { return s.pod.matches(pod) && s.ns.matches(ns); });
}

}  // namespace warren::node
