// SPDX-License-Identifier: Apache-2.0
#include "policy/compiled_rules.h"

#include <algorithm>
#include <utility>

namespace warren::policy {

namespace {

template <class T>
LongList index_of(std::span<const T> items);

template <>
LongList index_of(std::span<const StringMatch> items) {
    return StringIndex(items);
}

template <>
LongList index_of(std::span<const ServiceAccountMatch> items) {
    return AccountIndex(
        items, [](const auto&) { return true; },
        [](const ServiceAccountMatch& m) { return hash_account(m.ns.view(), m.service_account.view()); });
}

template <>
LongList index_of(std::span<const base::Cidr> items) {
    return base::CidrSet(items);
}

template <>
LongList index_of(std::span<const uint16_t> items) {
    PortIndex sorted(items.begin(), items.end());
    std::sort(sorted.begin(), sorted.end());
    return sorted;
}

bool any_string(const CompiledList& list, const LongList* index, const Subject& subject) {
    if (index != nullptr) return std::get_if<StringIndex>(index)->contains(subject);
    const auto items = list.items<StringMatch>();
    return std::any_of(items.begin(), items.end(), [&](const StringMatch& m) { return hits(m, subject); });
}

bool any_cidr(const CompiledList& list, const LongList* index, base::IpAddr address) {
    if (index != nullptr) return std::get_if<base::CidrSet>(index)->contains(address);
    const auto items = list.items<base::Cidr>();
    return std::any_of(items.begin(), items.end(), [&](const base::Cidr& c) { return c.contains(address); });
}

bool any_account(const CompiledList& list, const LongList* index, const Identity& peer) {
    const auto same = [&](const ServiceAccountMatch& m) { return hits(m, peer); };
    if (index != nullptr) return std::get_if<AccountIndex>(index)->contains(peer.account_hash(), same);
    const auto items = list.items<ServiceAccountMatch>();
    return std::any_of(items.begin(), items.end(), same);
}

bool any_port(const CompiledList& list, const LongList* index, uint16_t port) {
    if (index != nullptr) {
        const PortIndex& sorted = *std::get_if<PortIndex>(index);
        return std::binary_search(sorted.begin(), sorted.end(), port);
    }
    const auto items = list.items<uint16_t>();
    return std::find(items.begin(), items.end(), port) != items.end();
}

}  // namespace

bool CompiledList::hit(const Connection& connection) const {
    const Identity* peer = peer_of(connection);
    switch (dimension_) {
        case Dimension::DestinationPort: return any_port(*this, index_, connection.dst.port);
        case Dimension::SourceIp: return any_cidr(*this, index_, connection.src.ip);
        case Dimension::DestinationIp: return any_cidr(*this, index_, connection.dst.ip);
        case Dimension::ServiceAccount: return peer != nullptr && any_account(*this, index_, *peer);
        case Dimension::Principal: return peer != nullptr && any_string(*this, index_, principal_of(*peer));
        case Dimension::Namespace: return any_string(*this, index_, namespace_of(peer));
    }
    return false;
}

const CompiledList* obstacle(std::span<const CompiledList> match, const Connection& connection) {
    for (const CompiledList& list : match)
        if (!list.satisfied(connection)) return &list;
    return nullptr;
}

struct CompiledRules::Builder {
    std::vector<uint32_t> rule_ends, clause_ends, match_ends;
    std::vector<CompiledList> lists;
    std::vector<std::unique_ptr<const LongList>> long_lists;

    template <class T>
    void add_list(Dimension dimension, bool negative, const std::vector<T>& items) {
        if (items.empty()) return;
        CompiledList& list = lists.emplace_back();
        list.items_ = items.data();
        list.size_ = static_cast<uint32_t>(items.size());
        list.dimension_ = dimension;
        list.negative_ = negative;
        if (items.size() <= kShortList) return;
        long_lists.push_back(std::make_unique<const LongList>(index_of(std::span<const T>(items))));
        list.index_ = long_lists.back().get();
    }
    template <class T>
    void add_lists(Dimension dimension, const Lists<T>& both) {
        add_list(dimension, false, both.any_of);
        add_list(dimension, true, both.none_of);
    }
    void add(const Match& match) {
        add_lists(Dimension::DestinationPort, match.destination_ports);
        add_lists(Dimension::SourceIp, match.source_ips);
        add_lists(Dimension::DestinationIp, match.destination_ips);
        add_lists(Dimension::ServiceAccount, match.service_accounts);
        add_lists(Dimension::Principal, match.principals);
        add_lists(Dimension::Namespace, match.namespaces);
        match_ends.push_back(static_cast<uint32_t>(lists.size()));
    }
    void add(const Clause& clause) {
        for (const Match& match : clause) add(match);
        clause_ends.push_back(static_cast<uint32_t>(match_ends.size()));
    }
    void add(const Rule& rule) {
        for (const Clause& clause : rule) add(clause);
        rule_ends.push_back(static_cast<uint32_t>(clause_ends.size()));
    }
};

CompiledRules::CompiledRules(const std::vector<Rule>& rules) {
    Builder built;
    for (const Rule& rule : rules) built.add(rule);
    rule_ends_ = Array<uint32_t>(std::move(built.rule_ends));
    clause_ends_ = Array<uint32_t>(std::move(built.clause_ends));
    match_ends_ = Array<uint32_t>(std::move(built.match_ends));
    lists_ = Array<CompiledList>(std::move(built.lists));
    long_lists_ = std::move(built.long_lists);
    long_lists_.shrink_to_fit();
}

bool CompiledRules::clause_holds(uint32_t clause, const Connection& connection) const {
    const Range all = matches(clause);
    for (uint32_t match = all.begin; match != all.end; ++match)
        if (holds(lists(match), connection)) return true;
    return all.empty();
}

bool CompiledRules::rule_holds(uint32_t rule, const Connection& connection) const {
    const Range all = clauses(rule);
    for (uint32_t clause = all.begin; clause != all.end; ++clause)
        if (!clause_holds(clause, connection)) return false;
    return true;
}

}  // namespace warren::policy
