// SPDX-License-Identifier: Apache-2.0
// Typed readings of a YAML node for the local mesh file (data-plane contract 10.3). Nothing is guessed: unknown keys, doubled keys,
// nulls, unknown tags and numbers that are not plain decimal are refused with file, line, path and the fix. Internal to policy_yaml.
#pragma once

#include "base/bytes.h"
#include "base/ip.h"
#include "base/result.h"
#include "policy/document.h"
#include "policy/text.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::policy {

// A map with fixed keys. The keys found are unique and all allowed.
class Fields {
  public:
    static base::Result<Fields> of(Node map, std::initializer_list<std::string_view> allowed);

    [[nodiscard]] Node get(std::string_view key) const;  // absent: a false Node
    [[nodiscard]] base::Result<Node> need(std::string_view key) const;

  private:
    Node map_;
    std::vector<std::pair<std::string_view, Node>> found_;
};

base::Result<std::string_view> read_string(Node node);
base::Result<uint32_t> read_number(Node node, uint32_t most);
base::Result<bool> read_bool(Node node);
base::Result<base::IpAddr> read_ip(Node node);
base::Result<base::Cidr> read_cidr(Node node);

inline base::Result<uint16_t> read_port(Node node) { return static_cast<uint16_t>(TRY(read_number(node, 65535))); }

// The list itself checked; elements are the caller's.
base::Result<Node> read_sequence(Node node);
// Key and value of every entry of a map with free keys; no key twice.
base::Result<std::vector<std::pair<Node, Node>>> read_entries(Node node);

template <class T, class Convert>
base::Result<std::vector<T>> read_list(Node node, Convert convert) {
    std::vector<T> out;
    if (!node) return out;
    for (const Node element : TRY(read_sequence(node))) out.push_back(TRY(convert(element)));
    return out;
}

// A word out of a fixed set, spelt exactly so.
template <class E>
base::Result<E> read_word(Node node, std::initializer_list<std::pair<std::string_view, E>> words) {
    const std::string_view text = TRY(read_string(node));
    std::string known;
    for (const auto& [word, value] : words) {
        if (text == word) return value;
        known.append(known.empty() ? "" : ", ").append(word);
    }
    return node.refuse(std::string("unknown value ").append(base::quoted(text)).append("; give one of ").append(known));
}

// Fields that may be absent, which leaves `to` as it is.
base::Result<void> read_text(const Fields& fields, std::string_view key, TextPool& pool, Text& to);
template <class E>
base::Result<void> read_word(const Fields& fields, std::string_view key, std::initializer_list<std::pair<std::string_view, E>> words,
                             E& to) {
    if (const Node node = fields.get(key)) to = TRY(read_word(node, words));
    return {};
}

}  // namespace warren::policy
