// SPDX-License-Identifier: Apache-2.0
// Lenient readings of a Kubernetes object: fields that nobody asks for are passed over and null is absent, as the API server has it, but
// a field that is read has the right shape or is reported with file, line, path and the fix. Problems are collected, not returned: the
// reader goes on with an empty value and the object is dropped at the end. Internal to the readers of objects.
#pragma once

#include "agent/cluster/diagnostics.h"
#include "agent/cluster/labels.h"
#include "base/result.h"
#include "policy/document.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace warren::cluster {

// One object being read.
struct Reading {
    Diagnostics& problems;
    bool failed = false;

    void refuse(policy::Node node, std::string_view why);
    template <class T>
    std::optional<T> take(base::Result<T> result) {
        if (result) return std::move(result).value();
        problems.error(result.error().detail);
        failed = true;
        return std::nullopt;
    }
};

// A map of an object; a default one stands for an absent map and has no fields. Borrows the reading and the document.
class FieldMap {
  public:
    FieldMap() = default;
    FieldMap(policy::Node node, Reading& reading);

    explicit operator bool() const { return static_cast<bool>(node_); }
    [[nodiscard]] policy::Node node() const { return node_; }
    [[nodiscard]] Reading& reading() const { return *reading_; }
    [[nodiscard]] const std::vector<std::pair<policy::Node, policy::Node>>& entries() const& { return entries_; }
    void entries() && = delete;

    [[nodiscard]] policy::Node get(std::string_view key) const;  // absent also when null
    [[nodiscard]] FieldMap map(std::string_view key) const;
    [[nodiscard]] std::string text(std::string_view key) const;
    [[nodiscard]] std::optional<std::string> optional_text(std::string_view key) const;
    [[nodiscard]] bool flag(std::string_view key) const;
    [[nodiscard]] uint32_t number(std::string_view key, uint32_t most) const;
    [[nodiscard]] uint16_t port(std::string_view key) const { return static_cast<uint16_t>(number(key, 65535)); }
    [[nodiscard]] LabelMap labels(std::string_view key) const;
    [[nodiscard]] std::vector<policy::Node> list(std::string_view key) const;
    [[nodiscard]] std::vector<FieldMap> maps(std::string_view key) const;
    [[nodiscard]] std::vector<std::string> texts(std::string_view key) const;
    // The value of a word out of a fixed set; the default when absent.
    template <class E>
    [[nodiscard]] E word(std::string_view key, E absent, std::initializer_list<std::pair<std::string_view, E>> words) const;

    // For policies: an unknown field could be a matcher misspelt, and leaving it out would widen the rule.
    void only(std::initializer_list<std::string_view> known) const;

  private:
    void refuse_word(policy::Node node, const std::string& known) const;

    policy::Node node_;
    Reading* reading_ = nullptr;
    std::vector<std::pair<policy::Node, policy::Node>> entries_;
};

template <class E>
E FieldMap::word(std::string_view key, E absent, std::initializer_list<std::pair<std::string_view, E>> words) const {
    const policy::Node node = get(key);
    if (!node) return absent;
    const std::string given = text(key);
    std::string known;
    for (const auto& [spelt, value] : words) {
        if (given == spelt) return value;
        known.append(known.empty() ? "" : ", ").append(spelt);
    }
    refuse_word(node, known);
    return absent;
}

}  // namespace warren::cluster
