// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/object_fields.h"

#include "base/bytes.h"
#include "policy/fields_yaml.h"

#include <algorithm>

namespace warren::cluster {

using policy::Node;

void Reading::refuse(Node node, std::string_view why) {
    problems.error(node.refuse(why).detail);
    failed = true;
}

FieldMap::FieldMap(Node node, Reading& reading) : reading_(&reading) {
    if (!node || node.is(Node::Kind::Null)) return;
    node_ = node;
    if (auto entries = reading.take(policy::read_entries(node))) entries_ = std::move(*entries);
}

Node FieldMap::get(std::string_view key) const {
    for (const auto& [name, value] : entries_)
        if (name.text() == key) return value.is(Node::Kind::Null) ? Node() : value;
    return {};
}

FieldMap FieldMap::map(std::string_view key) const {
    const Node node = get(key);
    return node ? FieldMap(node, *reading_) : FieldMap();
}

std::optional<std::string> FieldMap::optional_text(std::string_view key) const {
    const Node node = get(key);
    if (!node) return std::nullopt;
    const auto value = reading_->take(policy::read_string(node));
    return value ? std::optional(std::string(*value)) : std::nullopt;
}

std::string FieldMap::text(std::string_view key) const { return optional_text(key).value_or(""); }

bool FieldMap::flag(std::string_view key) const {
    const Node node = get(key);
    return node && reading_->take(policy::read_bool(node)).value_or(false);
}

uint32_t FieldMap::number(std::string_view key, uint32_t most) const {
    const Node node = get(key);
    return node ? reading_->take(policy::read_number(node, most)).value_or(0) : 0;
}

LabelMap FieldMap::labels(std::string_view key) const {
    LabelMap out;
    const FieldMap fields = map(key);
    for (const auto& [name, value] : fields.entries()) {
        const auto text = value.is(Node::Kind::Null) ? std::string_view() : reading_->take(policy::read_string(value)).value_or("");
        out.emplace(name.text(), text);
    }
    return out;
}

std::vector<Node> FieldMap::list(std::string_view key) const {
    std::vector<Node> out;
    const Node node = get(key);
    if (!node || !reading_->take(policy::read_sequence(node))) return out;
    for (const Node element : node) out.push_back(element);
    return out;
}

std::vector<FieldMap> FieldMap::maps(std::string_view key) const {
    std::vector<FieldMap> out;
    for (const Node element : list(key)) {
        // An element left empty would read as a rule without conditions.
        if (element.is(Node::Kind::Null)) reading_->refuse(element, "is empty; give a map or remove it");
        out.emplace_back(element, *reading_);
    }
    return out;
}

std::vector<std::string> FieldMap::texts(std::string_view key) const {
    std::vector<std::string> out;
    for (const Node element : list(key))
        if (const auto text = reading_->take(policy::read_string(element))) out.emplace_back(*text);
    return out;
}

void FieldMap::only(std::initializer_list<std::string_view> known) const {
    for (const auto& [name, value] : entries_) {
        if (std::find(known.begin(), known.end(), name.text()) != known.end()) continue;
        std::string all;
        for (const std::string_view key : known) all.append(all.empty() ? "" : ", ").append(key);
        reading_->refuse(name, "unknown field " + base::quoted(name.text()) + "; the fields here are " + all);
    }
}

void FieldMap::refuse_word(Node node, const std::string& known) const {
    if (node.is(Node::Kind::Scalar)) reading_->refuse(node, base::quoted(node.text()) + " is not known; give one of " + known);
}

}  // namespace warren::cluster
