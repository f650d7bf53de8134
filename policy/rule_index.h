// SPDX-License-Identifier: Apache-2.0
// RuleIndex: which of many rules could hold for this connection? A rule is entered under its anchor: of one of its clauses, for every
// match one positive list, under each element of it. A rule holds only if that clause does, a match only if an element of that list hits,
// so looking up what the connection has (principal, account, namespace, port, addresses) finds every rule that holds and few others.
// The anchor is the clause and lists whose elements the fewest rules share. Rules without a positive list in every match of any
// clause cannot be anchored and are always candidates. Candidates still have to be verified: the index never decides.
// Immutable; any thread. Borrows the compiled rules, whose policies the set owns.
#pragma once

#include "policy/compiled_rules.h"
#include "policy/nested.h"

#include <cstdint>
#include <span>
#include <vector>

namespace warren::policy {

struct CidrItem {
    base::Cidr prefix;
    [[nodiscard]] bool covers(const CidrItem& o) const { return o.prefix.length() >= prefix.length() && prefix.contains(o.prefix.first()); }
    // Families apart: an IPv6 prefix around the mapped block covers no IPv4 prefix.
    bool operator<(const CidrItem& o) const { return prefix.is_v4() != o.prefix.is_v4() ? o.prefix.is_v4() : prefix < o.prefix; }
};

// Lists of ascending numbers by a 64-bit key: open addressing, half full at most. Two values that share a key share a list.
class KeyTable {
  public:
    struct Entry {
        uint64_t key;
        uint32_t number;
        auto operator<=>(const Entry&) const = default;
    };
    KeyTable() = default;
    explicit KeyTable(std::vector<Entry> entries);
    [[nodiscard]] std::span<const uint32_t> find(uint64_t key) const {
        if (slots_.empty()) return {};
        for (size_t i = key >> shift_;; i = (i + 1) & (slots_.size() - 1)) {
            const Slot& slot = slots_[i];
            if (slot.begin == slot.end) return {};
            if (slot.key == key) return std::span(numbers_).subspan(slot.begin, slot.end - slot.begin);
        }
    }

  private:
    struct Slot {
        uint64_t key = 0;
        uint32_t begin = 0;
        uint32_t end = 0;  // of numbers_; begin == end: a free slot
    };
    std::vector<Slot> slots_;
    std::vector<uint32_t> numbers_;
    unsigned shift_ = 63;
};

class RuleIndex {
  public:
    struct Entry {
        const CompiledRules* rules;
        uint32_t policy;  // the caller's number
        uint32_t rule;
    };
    // A rule's number is its place here.
    explicit RuleIndex(std::vector<Entry> rules);

    [[nodiscard]] const Entry& operator[](uint32_t number) const { return rules_[number]; }
    [[nodiscard]] bool holds(uint32_t number, const Connection& connection) const {
        const Entry& e = rules_[number];
        return e.rules->rule_holds(e.rule, connection);
    }
    // visit(span of ascending numbers), several times; together they contain every rule that holds. One may come twice.
    template <class Visit>
    void candidates(const Connection& connection, Visit&& visit) const {
        visit(std::span(always_));
        if (const Identity* peer = peer_of(connection)) {
            const Subject principal = principal_of(*peer);
            visit(exact_.find(key(Kind::Account, peer->account_hash())));
            each_of_text(principal, {Kind::Principal, Kind::PrincipalPresent, principal_prefixes_, principal_suffixes_}, visit);
        }
        each_of_text(namespace_of(peer_of(connection)), {Kind::Namespace, Kind::NamespacePresent, ns_prefixes_, ns_suffixes_}, visit);
        visit(exact_.find(key(Kind::Port, connection.dst.port)));
        each_of_address(connection.src.ip, sources_, visit);
        each_of_address(connection.dst.ip, destinations_, visit);
    }

  private:
    struct Builder;
    // In order of preference where the numbers of rules are equal. The last ones are only kinds of counting: Nested tables hold them.
    enum class Kind : uint8_t {
        Principal,
        Account,
        Namespace,
        Source,
        Port,
        PrincipalPrefix,
        PrincipalSuffix,
        NamespacePrefix,
        NamespaceSuffix,
        Destination,
        PrincipalPresent,
        NamespacePresent,
    };
    struct TextTables {
        Kind exact, present;
        const Nested<PrefixItem>& prefixes;
        const Nested<SuffixItem>& suffixes;
    };
    [[nodiscard]] static uint64_t key(Kind kind, uint64_t hash) {
        return (hash + (static_cast<uint64_t>(kind) + 1) * 0xd1b54a32d192ed03u) * 0x9e3779b97f4a7c15u;
    }
    template <class Visit>
    void each_of_text(const Subject& subject, const TextTables& tables, Visit&& visit) const {
        visit(exact_.find(key(tables.exact, subject.hash)));
        if (!subject.text.empty()) visit(exact_.find(key(tables.present, 0)));
        if (!tables.prefixes.empty()) tables.prefixes.each_covering({subject.text}, visit);
        if (!tables.suffixes.empty()) tables.suffixes.each_covering({subject.text}, visit);
    }
    template <class Visit>
    void each_of_address(base::IpAddr address, const Nested<CidrItem>& prefixes, Visit&& visit) const {
        if (prefixes.empty()) return;
        if (const auto host = base::Cidr::make(address, address.bits())) prefixes.each_covering({*host}, visit);
    }

    std::vector<Entry> rules_;
    std::vector<uint32_t> always_;
    KeyTable exact_;
    Nested<PrefixItem> principal_prefixes_, ns_prefixes_;
    Nested<SuffixItem> principal_suffixes_, ns_suffixes_;
    Nested<CidrItem> sources_, destinations_;
};

}  // namespace warren::policy
