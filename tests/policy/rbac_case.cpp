// SPDX-License-Identifier: Apache-2.0
#include "tests/policy/rbac_case.h"

#include "policy/explain.h"
#include "policy/random.h"

#include <array>
#include <memory>

namespace warren::tests {

namespace {

using policy::Match;
using policy::StringMatch;
using policy::Text;

constexpr std::array<const char*, 4> kDomains = {"td", "other", "", "td/ns"};
constexpr std::array<const char*, 6> kNamespaces = {"app", "ops", "prod", "", "apps", "p"};
constexpr std::array<const char*, 5> kAccounts = {"web", "job", "", "webs", "b"};
constexpr std::array<uint16_t, 7> kPorts = {8080, 80, 9090, 15088, 0, 65535, 8081};
constexpr std::array<unsigned, 8> kLengthsV4 = {32, 31, 30, 29, 24, 16, 8, 0};
constexpr std::array<unsigned, 9> kLengthsV6 = {128, 127, 126, 112, 96, 80, 64, 8, 0};

// A new text each time: equality must not depend on sharing.
class Source {
  public:
    explicit Source(std::span<const uint8_t> bytes) : bytes_(bytes) {}
    uint8_t byte() { return at_ < bytes_.size() ? bytes_[at_++] : 0; }
    size_t below(size_t n) { return byte() % n; }
    bool one_in(size_t n) { return at_ < bytes_.size() && byte() % n == n - 1; }
    template <class T, size_t N>
    T pick(const std::array<T, N>& of) {
        return of[below(N)];
    }

    NaivePeer peer() {
        const char* domain = pick(kDomains);
        const char* ns = pick(kNamespaces);
        return {domain, ns, pick(kAccounts)};
    }
    base::IpAddr address() {
        const uint8_t b = byte();
        if (b < 160) return base::IpAddr::v4(0x0a000000u | (b & 0x80u) << 1 | (b & 7u));
        if (b < 240) return base::IpAddr::from_number((b & 0x40u) != 0 ? 0xfd00'0000'0000'0000u : 0, b & 7u);
        constexpr std::array<base::IpAddr, 4> edges = {base::IpAddr(), base::IpAddr::v4(0), base::IpAddr::v4(0xffffffff),
                                                       base::IpAddr::from_number(~uint64_t{0}, ~uint64_t{0})};
        return edges[b & 3u];
    }
    base::Cidr cidr() {
        const base::IpAddr ip = address();
        const unsigned length = ip.is_v4() ? pick(kLengthsV4) : pick(kLengthsV6);
        const auto made = base::Cidr::make(ip, length);
        return made ? *made : base::Cidr();
    }
    StringMatch string_match(const std::string& whole) {
        const uint8_t b = byte();
        const size_t cut = whole.empty() ? 0 : static_cast<size_t>(b >> 3) % (whole.size() + 1);
        switch (b & 7u) {
            case 0:
            case 1:
            case 2: return {StringMatch::Kind::Exact, Text(whole)};
            case 3: return {StringMatch::Kind::Presence, {}};
            case 4:
            case 5: return {StringMatch::Kind::Prefix, Text(std::string_view(whole).substr(0, cut))};
            case 6: return {StringMatch::Kind::Suffix, Text(std::string_view(whole).substr(cut))};
            default: return {StringMatch::Kind::Exact, Text("spiffe://" + whole)};
        }
    }
    StringMatch principal_match() { return string_match(peer().principal()); }
    StringMatch namespace_match() { return string_match(pick(kNamespaces)); }
    policy::ServiceAccountMatch account_match() {
        const NaivePeer p = peer();
        return {Text(p.ns), Text(p.service_account)};
    }

    // Mostly short; filler makes it long without making it hit more.
    template <class T, class Make, class Filler>
    void fill(std::vector<T>& list, Make make, Filler filler) {
        const size_t own = 1 + below(3);
        size_t padding = 0;
        if (one_in(8)) padding = one_in(40) ? 1000 : 6 + below(12);
        const size_t before = padding == 0 ? 0 : below(padding + 1);
        for (size_t i = 0; i < before; ++i) list.push_back(filler(i));
        for (size_t i = 0; i < own; ++i) list.push_back(make());
        for (size_t i = before; i < padding; ++i) list.push_back(filler(i));
    }

    Match match() {
        Match m;
        // Two bytes decide which of the twelve lists exist; AND of both keeps most matches at one to three lists.
        const unsigned mask = (static_cast<unsigned>(byte()) << 8 | byte()) & (static_cast<unsigned>(byte()) << 8 | byte());
        const auto text_filler = [](size_t i) {
            const auto kind = i % 3 == 0 ? StringMatch::Kind::Exact : i % 3 == 1 ? StringMatch::Kind::Prefix : StringMatch::Kind::Suffix;
            return StringMatch{kind, Text("filler-" + std::to_string(i) + "/sa/none")};
        };
        const auto cidr_filler = [](size_t i) {
            const auto made =
                base::Cidr::make(base::IpAddr::v4(0xc0000000u + static_cast<uint32_t>(i) * 4), static_cast<unsigned>(30 + i % 3));
            return made ? *made : base::Cidr();
        };
        const auto account_filler = [](size_t i) { return policy::ServiceAccountMatch{Text("filler"), Text(std::to_string(i))}; };
        const auto port_filler = [](size_t i) { return static_cast<uint16_t>(20000 + i); };
        unsigned bit = 1;
        const auto both = [&](auto& lists, auto make, auto filler) {
            if ((mask & bit) != 0) fill(lists.any_of, make, filler);
            if ((mask & bit << 1) != 0) fill(lists.none_of, make, filler);
            bit <<= 2;
        };
        both(m.principals, [&] { return principal_match(); }, text_filler);
        both(m.namespaces, [&] { return namespace_match(); }, text_filler);
        both(m.service_accounts, [&] { return account_match(); }, account_filler);
        both(m.destination_ports, [&] { return pick(kPorts); }, port_filler);
        both(m.source_ips, [&] { return cidr(); }, cidr_filler);
        both(m.destination_ips, [&] { return cidr(); }, cidr_filler);
        return m;
    }

    NaivePolicy policy(size_t number) {
        const Text key("ns/p" + std::to_string(number));
        if (one_in(24)) return policy::PolicyRefusal{key, Text("ns"), policy::Scope::Namespace, one_in(3), "generated"};
        policy::PolicySpec spec;
        spec.key = key;
        spec.action = one_in(2) ? policy::PolicyAction::Deny : policy::PolicyAction::Allow;
        spec.dry_run = one_in(4);
        spec.rules.resize(one_in(12) ? below(20) : below(4));
        for (policy::Rule& rule : spec.rules) {
            rule.resize(one_in(12) ? 0 : 1 + (one_in(4) ? below(3) : 0));
            for (policy::Clause& clause : rule) {
                clause.resize(one_in(16) ? 0 : 1 + (one_in(3) ? below(3) : 0));
                for (Match& m : clause) m = match();
            }
        }
        return spec;
    }

    NaiveConnection connection() {
        NaiveConnection c;
        c.src = address();
        c.dst = address();
        c.dst_port = pick(kPorts);
        if (!one_in(4)) c.peer = peer();
        return c;
    }

  private:
    std::span<const uint8_t> bytes_;
    size_t at_ = 0;
};

int place(const std::vector<policy::PolicyRef>& refs, const policy::Policy* wanted) {
    for (size_t i = 0; i < refs.size(); ++i)
        if (refs[i].get() == wanted) return static_cast<int>(i);
    return -1;
}

NaiveDecision plain(const policy::Decision& d, const std::vector<policy::PolicyRef>& refs) {
    return {d.allowed, d.reason, place(refs, d.policy), d.rule, d.dry_run, place(refs, d.dry_run_policy)};
}

std::string text_of(const NaiveDecision& d) {
    return std::string(policy::to_string(d.reason)) + (d.allowed ? " allowed" : " denied") + " policy " + std::to_string(d.policy) +
           " rule " + std::to_string(d.rule) + " dry run " + std::to_string(static_cast<int>(d.dry_run)) + " by " +
           std::to_string(d.dry_run_policy);
}

// Every rule of the trace against the naive predicates.
bool traces_agree(const policy::Explanation& e, const RbacCase& c, const NaiveConnection& n) {
    for (size_t i = 0; i < c.policies.size(); ++i) {
        const auto* spec = std::get_if<policy::PolicySpec>(&c.policies[i]);
        const auto& trace = e.policies[i];
        if (trace.rules.size() != (spec != nullptr ? spec->rules.size() : 0)) return false;
        bool any = false;
        for (size_t r = 0; r < trace.rules.size(); ++r) {
            if (trace.rules[r].matched != naive::rule_holds(spec->rules[r], n)) return false;
            if (trace.rules[r].matched == !trace.rules[r].why_not.empty()) return false;
            any = any || trace.rules[r].matched;
        }
        if (trace.matched != any) return false;
    }
    return true;
}

}  // namespace

RbacCase make_rbac_case(std::span<const uint8_t> bytes) {
    Source source(bytes);
    RbacCase out;
    const size_t connections = 1 + source.below(12);
    for (size_t i = 0; i < connections; ++i) out.connections.push_back(source.connection());
    if (source.one_in(24)) out.missing.emplace_back("ns/missing");
    const size_t policies = source.one_in(16) ? source.below(40) : source.below(7);
    for (size_t i = 0; i < policies; ++i) out.policies.push_back(source.policy(i));
    return out;
}

std::vector<uint8_t> random_bytes(uint64_t seed, size_t size) {
    policy::Random random(seed);
    std::vector<uint8_t> bytes(size);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.next() >> 32);
    return bytes;
}

std::string compare_engines(const RbacCase& c) {
    std::vector<policy::PolicyRef> refs;
    for (const NaivePolicy& p : c.policies)
        std::visit([&](const auto& spec) { refs.push_back(policy::make_ref<const policy::Policy>(spec)); }, p);
    const policy::PolicySet set(refs, c.missing);
    for (const NaiveConnection& n : c.connections) {
        policy::Identity identity;
        if (n.peer) identity = policy::Identity(n.peer->trust_domain, n.peer->ns, n.peer->service_account);
        // Without a peer half of the connections carry an empty identity: it must count as none.
        const bool none = !n.peer && (n.dst_port & 1u) != 0;
        const policy::Connection connection{{n.src, 40000}, {n.dst, n.dst_port}, none ? nullptr : &identity};
        const NaiveDecision expected = naive::decide(c.policies, c.missing.size(), n);
        const NaiveDecision decided = plain(set.decide(connection), refs);
        const policy::Explanation explanation = policy::explain(set, connection);
        const NaiveDecision explained = plain(explanation.decision, refs);
        const bool traces = traces_agree(explanation, c, n);
        if (expected == decided && expected == explained && traces) continue;
        return "naive:   " + text_of(expected) + "\ndecide:  " + text_of(decided) + "\nexplain: " + text_of(explained) +
               (traces ? "\n" : "\na trace differs from the naive predicates\n") + "connection " + n.src.to_string() + " -> " +
               n.dst.to_string() + ":" + std::to_string(n.dst_port) + " as " + (n.peer ? n.peer->principal() : "nobody") + "\n" +
               explanation.to_string();
    }
    return "";
}

}  // namespace warren::tests
