// SPDX-License-Identifier: Apache-2.0
// CompiledRules: the rules of one policy in the form a decision walks, and the only predicates there are (data-plane contract 7.3, 7.4):
// decide() and explain() both ask here. Flat arrays of only the lists that have elements; the elements stay in the policy's spec, which
// owns them and outlives this; lists of more than kShortList elements get an index beside them. Immutable; any thread.
#pragma once

#include "base/ip.h"
#include "policy/array.h"
#include "policy/authorization.h"
#include "policy/evaluate.h"
#include "policy/string_index.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

namespace warren::policy {

// A list longer than this is looked up, not walked.
inline constexpr size_t kShortList = 8;

// What a list speaks of. In this order the lists of a match are asked: the cheap ones first.
enum class Dimension : uint8_t { DestinationPort, SourceIp, DestinationIp, ServiceAccount, Principal, Namespace };

// The peer, or null when the connection is plaintext. An Identity without content is none: no certificate carries it.
[[nodiscard]] inline const Identity* peer_of(const Connection& connection) {
    return connection.src_identity != nullptr && !connection.src_identity->empty() ? connection.src_identity : nullptr;
}
// What namespaces lists see: without an identity the empty text.
[[nodiscard]] inline Subject namespace_of(const Identity* peer) {
    return peer != nullptr ? Subject{peer->ns(), peer->ns_hash()} : Subject{{}, Text().hash()};
}
[[nodiscard]] inline Subject principal_of(const Identity& peer) { return {peer.principal().view(), peer.principal().hash()}; }
[[nodiscard]] inline bool hits(const ServiceAccountMatch& match, const Identity& peer) {
    return match.service_account == peer.service_account() && match.ns == peer.ns();
}

using PortIndex = std::vector<uint16_t>;  // sorted
using AccountIndex = HashIndex<ServiceAccountMatch>;
using LongList = std::variant<StringIndex, AccountIndex, base::CidrSet, PortIndex>;

// One list with elements of one match.
class CompiledList {
  public:
    [[nodiscard]] Dimension dimension() const { return dimension_; }
    [[nodiscard]] bool negative() const { return negative_; }
    [[nodiscard]] size_t size() const { return size_; }
    // T as the dimension has it in Match.
    template <class T>
    [[nodiscard]] std::span<const T> items() const {
        return {static_cast<const T*>(items_), size_};
    }
    // Does any element hit?
    [[nodiscard]] bool hit(const Connection& connection) const;
    [[nodiscard]] bool satisfied(const Connection& connection) const { return hit(connection) != negative_; }

  private:
    friend class CompiledRules;
    const void* items_ = nullptr;      // of the spec
    const LongList* index_ = nullptr;  // null: short, walked
    uint32_t size_ = 0;
    Dimension dimension_ = Dimension::DestinationPort;
    bool negative_ = false;
};

// A match is its lists. The first that stands in the way, or null when all are satisfied.
[[nodiscard]] const CompiledList* obstacle(std::span<const CompiledList> match, const Connection& connection);
// All lists satisfied; without any list never.
[[nodiscard]] inline bool holds(std::span<const CompiledList> match, const Connection& connection) {
    return !match.empty() && obstacle(match, connection) == nullptr;
}

class CompiledRules {
  public:
    // Numbers of clauses of a rule or of matches of a clause: [begin, end).
    struct Range {
        uint32_t begin = 0;
        uint32_t end = 0;
        [[nodiscard]] bool empty() const { return begin == end; }
        [[nodiscard]] uint32_t size() const { return end - begin; }
    };

    explicit CompiledRules(const std::vector<Rule>& rules);
    CompiledRules(const CompiledRules&) = delete;

    [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(rule_ends_.size()); }
    [[nodiscard]] bool rule_holds(uint32_t rule, const Connection& connection) const;
    [[nodiscard]] bool clause_holds(uint32_t clause, const Connection& connection) const;

    [[nodiscard]] Range clauses(uint32_t rule) const { return range(rule_ends_, rule); }
    [[nodiscard]] Range matches(uint32_t clause) const { return range(clause_ends_, clause); }
    [[nodiscard]] std::span<const CompiledList> lists(uint32_t match) const {
        const Range r = range(match_ends_, match);
        return lists_.span().subspan(r.begin, r.size());
    }

  private:
    struct Builder;
    [[nodiscard]] static Range range(const Array<uint32_t>& ends, uint32_t i) { return {i == 0 ? 0 : ends[i - 1], ends[i]}; }
    Array<uint32_t> rule_ends_;    // where the clauses of each rule end
    Array<uint32_t> clause_ends_;  // where the matches of each clause end
    Array<uint32_t> match_ends_;   // where the lists of each match end
    Array<CompiledList> lists_;
    std::vector<std::unique_ptr<const LongList>> long_lists_;
};

}  // namespace warren::policy
