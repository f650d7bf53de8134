// SPDX-License-Identifier: Apache-2.0
#include "policy/fields_yaml.h"

#include <algorithm>
#include <charconv>

namespace warren::policy {

using base::Result;

namespace {

std::string_view kind_name(Node node) {
    switch (node.kind()) {
        case Node::Kind::Null: return "null";
        case Node::Kind::Scalar: return "a text";
        case Node::Kind::Sequence: return "a list";
        case Node::Kind::Map: return "a map";
    }
    return "";
}

base::Error wrong_kind(Node node, std::string_view wanted) {
    return node.refuse(std::string("is ").append(kind_name(node)).append("; give ").append(wanted));
}

base::Error bad_tag(Node node) { return node.refuse("unexpected tag " + base::quoted(node.tag()) + "; remove it"); }

std::string joined(std::initializer_list<std::string_view> words) {
    std::string out;
    for (const std::string_view word : words) out.append(out.empty() ? "" : ", ").append(word);
    return out;
}

}  // namespace

Result<std::vector<std::pair<Node, Node>>> read_entries(Node node) {
    if (!node.is(Node::Kind::Map)) return wrong_kind(node, "a map, {} for an empty one");
    if (!node.tag().empty()) return bad_tag(node);
    std::vector<std::pair<Node, Node>> out;
    for (Node key = node.first(); key; key = key.next().next()) {
        TRY(read_string(key));
        out.emplace_back(key, key.next());
    }
    std::vector<std::pair<std::string_view, size_t>> keys;
    keys.reserve(out.size());
    for (size_t i = 0; i < out.size(); ++i) keys.emplace_back(out[i].first.text(), i);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first == b.first; });
    if (twice != keys.end()) return out[std::next(twice)->second].first.refuse(base::quoted(twice->first) + " stands here twice; keep one");
    return out;
}

Result<Fields> Fields::of(Node map, std::initializer_list<std::string_view> allowed) {
    Fields fields;
    fields.map_ = map;
    for (const auto& [key, value] : TRY(read_entries(map))) {
        const auto known = std::find(allowed.begin(), allowed.end(), key.text());
        if (known == allowed.end()) return key.refuse("unknown key " + base::quoted(key.text()) + "; the keys here are " + joined(allowed));
        fields.found_.emplace_back(*known, value);
    }
    return fields;
}

Node Fields::get(std::string_view key) const {
    for (const auto& [name, node] : found_)
        if (name == key) return node;
    return {};
}

Result<Node> Fields::need(std::string_view key) const {
    if (const Node node = get(key)) return node;
    return map_.refuse("key " + base::quoted(key) + " is missing; add it");
}

Result<std::string_view> read_string(Node node) {
    if (!node.is(Node::Kind::Scalar)) return wrong_kind(node, "a text, \"\" for an empty one");
    if (!node.tag().empty() && node.tag() != "tag:yaml.org,2002:str") return bad_tag(node);
    return node.text();
}

Result<uint32_t> read_number(Node node, uint32_t most) {
    const std::string wanted = "a whole number from 0 to " + std::to_string(most);
    if (!node.is(Node::Kind::Scalar)) return wrong_kind(node, wanted);
    if (!node.tag().empty()) return bad_tag(node);
    const std::string_view text = node.text();  // quoted or not: JSON can only have quoted keys
    uint32_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool octal = text.size() > 1 && text.front() == '0';
    if (failed != std::errc{} || end != text.data() + text.size() || octal || value > most)
        return node.refuse(base::quoted(text) + " is out of range or no number; give " + wanted);
    return value;
}

Result<bool> read_bool(Node node) {
    if (node.is(Node::Kind::Scalar) && node.tag().empty() && !node.quoted()) {
        if (node.text() == "true") return true;
        if (node.text() == "false") return false;
        return node.refuse(base::quoted(node.text()) + " is neither true nor false; give one of them");
    }
    return wrong_kind(node, "true or false, without quotes");
}

Result<base::IpAddr> read_ip(Node node) {
    auto ip = base::IpAddr::parse(TRY(read_string(node)));
    if (!ip) return node.refuse(ip.error().detail);
    return ip;
}

Result<base::Cidr> read_cidr(Node node) {
    auto cidr = base::Cidr::parse(TRY(read_string(node)));
    if (!cidr) return node.refuse(cidr.error().detail);
    return cidr;
}

Result<Node> read_sequence(Node node) {
    if (!node.is(Node::Kind::Sequence)) return wrong_kind(node, "a list, [] for an empty one");
    if (!node.tag().empty()) return bad_tag(node);
    return node;
}

Result<void> read_text(const Fields& fields, std::string_view key, TextPool& pool, Text& to) {
    if (const Node node = fields.get(key)) to = pool.intern(TRY(read_string(node)));
    return {};
}

}  // namespace warren::policy
