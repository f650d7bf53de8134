// SPDX-License-Identifier: Apache-2.0
#include "policy/rule_index.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

namespace warren::policy {

KeyTable::KeyTable(std::vector<Entry> entries) {
    if (entries.empty()) return;
    std::sort(entries.begin(), entries.end());
    entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
    size_t keys = 1;
    for (size_t i = 1; i < entries.size(); ++i) keys += entries[i].key != entries[i - 1].key;
    const size_t capacity = std::bit_ceil(keys * 2);
    slots_.resize(capacity);
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(capacity));
    numbers_.reserve(entries.size());
    for (size_t i = 0; i < entries.size();) {
        const uint64_t key = entries[i].key;
        const auto begin = static_cast<uint32_t>(numbers_.size());
        for (; i < entries.size() && entries[i].key == key; ++i) numbers_.push_back(entries[i].number);
        size_t at = key >> shift_;
        while (slots_[at].begin != slots_[at].end) at = (at + 1) & (capacity - 1);
        slots_[at] = {key, begin, static_cast<uint32_t>(numbers_.size())};
    }
}

struct RuleIndex::Builder {
    // One element as an anchor. key stands for it when rules are counted, and is where Exact kinds are entered.
    struct Anchor {
        Kind kind;
        uint64_t key;
        std::string_view text = {};
        base::Cidr prefix = {};
    };
    // The lists to enter a rule under, and how many rules a lookup meets there at most.
    struct Choice {
        uint64_t cost = std::numeric_limits<uint64_t>::max();
        std::vector<const CompiledList*> lists;
    };

    RuleIndex& index;
    std::unordered_map<uint64_t, uint32_t> shared_by;  // rules per anchor key
    std::vector<KeyTable::Entry> exact;
    std::vector<std::pair<PrefixItem, uint32_t>> principal_prefixes, ns_prefixes;
    std::vector<std::pair<SuffixItem, uint32_t>> principal_suffixes, ns_suffixes;
    std::vector<std::pair<CidrItem, uint32_t>> sources, destinations;

    static Anchor text_anchor(const StringMatch& m, bool principal) {
        switch (m.kind) {
            case StringMatch::Kind::Exact: {
                const Kind kind = principal ? Kind::Principal : Kind::Namespace;
                return {kind, RuleIndex::key(kind, m.value.hash())};
            }
            case StringMatch::Kind::Prefix: {
                const Kind kind = principal ? Kind::PrincipalPrefix : Kind::NamespacePrefix;
                return {kind, RuleIndex::key(kind, m.value.hash()), m.value.view()};
            }
            case StringMatch::Kind::Suffix: {
                const Kind kind = principal ? Kind::PrincipalSuffix : Kind::NamespaceSuffix;
                return {kind, RuleIndex::key(kind, m.value.hash()), m.value.view()};
            }
            case StringMatch::Kind::Presence: break;
        }
        const Kind kind = principal ? Kind::PrincipalPresent : Kind::NamespacePresent;
        return {kind, RuleIndex::key(kind, 0)};
    }
    static Anchor prefix_anchor(const base::Cidr& prefix, Kind kind) {
        return {kind, RuleIndex::key(kind, prefix.first().hash() * 131 + prefix.length()), {}, prefix};
    }

    template <class Fn>
    static void each_anchor(const CompiledList& list, Fn&& fn) {
        switch (list.dimension()) {
            case Dimension::DestinationPort:
                for (const uint16_t port : list.items<uint16_t>()) fn(Anchor{Kind::Port, RuleIndex::key(Kind::Port, port)});
                break;
            case Dimension::SourceIp:
            case Dimension::DestinationIp: {
                const Kind kind = list.dimension() == Dimension::SourceIp ? Kind::Source : Kind::Destination;
                for (const base::Cidr& prefix : list.items<base::Cidr>()) fn(prefix_anchor(prefix, kind));
                break;
            }
            case Dimension::ServiceAccount:
                for (const ServiceAccountMatch& m : list.items<ServiceAccountMatch>())
                    fn(Anchor{Kind::Account, RuleIndex::key(Kind::Account, hash_account(m.ns.view(), m.service_account.view()))});
                break;
            case Dimension::Principal:
            case Dimension::Namespace:
                for (const StringMatch& m : list.items<StringMatch>()) fn(text_anchor(m, list.dimension() == Dimension::Principal));
                break;
        }
    }

    // fn(list) for every positive list of a rule.
    template <class Fn>
    static void each_positive(const Entry& e, Fn&& fn) {
        const auto clauses = e.rules->clauses(e.rule);
        for (uint32_t clause = clauses.begin; clause != clauses.end; ++clause) {
            const auto matches = e.rules->matches(clause);
            for (uint32_t match = matches.begin; match != matches.end; ++match)
                for (const CompiledList& list : e.rules->lists(match))
                    if (!list.negative()) fn(list);
        }
    }

    uint64_t cost_of(const CompiledList& list) const {
        uint64_t worst = 0;
        each_anchor(list, [&](const Anchor& a) {
            const auto found = shared_by.find(a.key);
            worst = std::max(worst, (found != shared_by.end() ? uint64_t{found->second} : 0) * 16 + static_cast<uint64_t>(a.kind));
        });
        return worst;
    }

    // None when some match of the clause has no positive list, or the clause has no match and is always true.
    std::optional<Choice> anchors_of(const CompiledRules& rules, uint32_t clause) const {
        const auto matches = rules.matches(clause);
        if (matches.empty()) return std::nullopt;
        Choice choice{0, {}};
        for (uint32_t match = matches.begin; match != matches.end; ++match) {
            const auto lists = rules.lists(match);
            if (lists.empty()) continue;  // never holds, so nothing has to lead to it
            const CompiledList* best = nullptr;
            uint64_t best_cost = 0;
            for (const CompiledList& list : lists) {
                if (list.negative()) continue;
                const uint64_t cost = cost_of(list);
                if (best == nullptr || cost < best_cost) best = &list, best_cost = cost;
            }
            if (best == nullptr) return std::nullopt;
            choice.cost += best_cost;
            choice.lists.push_back(best);
        }
        return choice;
    }

    void enter(const Anchor& a, uint32_t number) {
        switch (a.kind) {
            case Kind::PrincipalPrefix: principal_prefixes.push_back({{a.text}, number}); break;
            case Kind::PrincipalSuffix: principal_suffixes.push_back({{a.text}, number}); break;
            case Kind::NamespacePrefix: ns_prefixes.push_back({{a.text}, number}); break;
            case Kind::NamespaceSuffix: ns_suffixes.push_back({{a.text}, number}); break;
            case Kind::Source: sources.push_back({{a.prefix}, number}); break;
            case Kind::Destination: destinations.push_back({{a.prefix}, number}); break;
            default: exact.push_back({a.key, number}); break;
        }
    }

    void enter_rule(uint32_t number) {
        const Entry& e = index.rules_[number];
        std::optional<Choice> best;
        const auto clauses = e.rules->clauses(e.rule);
        for (uint32_t clause = clauses.begin; clause != clauses.end; ++clause) {
            auto choice = anchors_of(*e.rules, clause);
            if (choice && (!best || choice->cost < best->cost)) best = std::move(choice);
        }
        if (!best) return index.always_.push_back(number);
        for (const CompiledList* list : best->lists) each_anchor(*list, [&](const Anchor& a) { enter(a, number); });
    }

    void build() {
        for (const Entry& e : index.rules_)
            each_positive(e, [&](const CompiledList& list) { each_anchor(list, [&](const Anchor& a) { ++shared_by[a.key]; }); });
        for (uint32_t number = 0; number < index.rules_.size(); ++number) enter_rule(number);
        index.always_.shrink_to_fit();
        index.exact_ = KeyTable(std::move(exact));
        index.principal_prefixes_ = Nested<PrefixItem>(std::move(principal_prefixes));
        index.principal_suffixes_ = Nested<SuffixItem>(std::move(principal_suffixes));
        index.ns_prefixes_ = Nested<PrefixItem>(std::move(ns_prefixes));
        index.ns_suffixes_ = Nested<SuffixItem>(std::move(ns_suffixes));
        index.sources_ = Nested<CidrItem>(std::move(sources));
        index.destinations_ = Nested<CidrItem>(std::move(destinations));
    }
};

RuleIndex::RuleIndex(std::vector<Entry> rules) : rules_(std::move(rules)) {
    rules_.shrink_to_fit();
    Builder builder{*this, {}, {}, {}, {}, {}, {}, {}, {}};
    builder.build();
}

}  // namespace warren::policy
