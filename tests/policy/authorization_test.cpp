// SPDX-License-Identifier: Apache-2.0
// The rbac rows of data-plane contract 11.5 by name, the traps that are the policy engine's, and what the index could get wrong.
#include "policy/authorization.h"

#include "tests/catch.h"
#include "tests/policy/rbac_dsl.h"

#include <malloc.h>

#include <cstring>

using namespace warren;
using namespace warren::tests;
using policy::Decision;
using policy::DryRun;
using policy::Reason;

namespace {

const Conn P = conn_p(), A = conn_a(), B = conn_b();
const Rule kAll{};

bool matches(const policy::Match& m, const Conn& c) { return allowed({allow({one(m)})}, c); }

}  // namespace

TEST_CASE("authorization: assert_rbac_logic_deny_allow, DENY before ALLOW before the default") {
    const auto allow_a = allow({one(M().ns({exact("app")}))});
    const auto deny_port = deny({one(M().ports({9090}))});
    CHECK(allowed({}, P));
    CHECK(allowed({deny_port}, A));
    CHECK_FALSE(allowed({deny_port}, conn_a().to(9090)));
    CHECK(allowed({allow_a}, A));
    CHECK_FALSE(allowed({allow_a}, B));
    CHECK(allowed({allow_a, deny_port}, A));
    CHECK_FALSE(allowed({allow_a, deny_port}, conn_a().to(9090)));
    const Judged j = judge({allow_a, deny_port}, conn_a().to(9090));
    CHECK(j.decision.policy->key() == "prod/deny");
    CHECK(j.decision.rule == 0);
}

TEST_CASE("authorization: assert_rbac_with_dest_workload_info, the destination's namespace selects and its port is seen") {
    const std::vector<NaivePolicy> mesh = {deny({one(M().ports({8080}))}, "prod/deny"), deny({kAll}, "app/deny")};
    CHECK(select(mesh, "prod", {}).policies.size() == 1);
    CHECK_FALSE(allowed(select(mesh, "prod", {}).policies, A));
    CHECK(allowed(select(mesh, "prod", {}).policies, conn_a().to(80)));
    CHECK(allowed(select(mesh, "other", {}).policies, A));
}

TEST_CASE("authorization: assert_rbac_dry_run_with_real_policies, dry runs are reported and never enforced") {
    const auto dry_deny = dry(deny({kAll}, "prod/dry-deny"));
    const auto dry_allow = dry(allow({one(M().ns({exact("app")}))}, "prod/dry-allow"));
    const auto real_allow = allow({one(M().ns({exact("app")}))});
    const auto real_deny = deny({one(M().ns({exact("ops")}))});

    SECTION("a dry-run DENY that matches allows and says so") {
        const Judged j = judge({dry_deny, real_allow}, A);
        CHECK(j.decision.allowed);
        CHECK(j.decision.policy->key() == "prod/allow");
        CHECK(j.decision.dry_run == DryRun::WouldDeny);
        CHECK(j.decision.dry_run_policy->key() == "prod/dry-deny");
    }
    SECTION("a dry-run DENY is reported even where an enforced DENY decides") {
        const Judged j = judge({dry_deny, real_deny}, B);
        CHECK(j.decision.reason == Reason::DeniedByPolicy);
        CHECK(j.decision.dry_run == DryRun::WouldDeny);
    }
    SECTION("a dry-run ALLOW that matches does not allow") {
        const Judged j = judge({dry_allow, allow({one(M().ns({exact("ops")}))})}, A);
        CHECK(j.decision.reason == Reason::DeniedNoAllowMatched);
        CHECK(j.decision.dry_run == DryRun::WouldAllow);
        CHECK(j.decision.dry_run_policy->key() == "prod/dry-allow");
    }
    SECTION("only dry-run ALLOW policies and none matches: would have been denied") {
        const Judged j = judge({dry_allow}, B);
        CHECK(j.decision.reason == Reason::AllowedNoAllowPolicy);
        CHECK(j.decision.dry_run == DryRun::WouldDenyNoMatch);
        CHECK(j.decision.dry_run_policy == nullptr);
    }
    SECTION("an enforced ALLOW beside them: nothing to report") {
        CHECK(judge({dry_allow, allow({kAll})}, B).decision.dry_run == DryRun::None);
    }
    SECTION("an enforced DENY ends the evaluation before dry-run ALLOW policies") {
        CHECK(judge({dry_allow, deny({kAll})}, A).decision.dry_run == DryRun::None);
    }
}

TEST_CASE("authorization: rbac_empty_policy, a policy without rules never matches") {
    CHECK(allowed({deny({})}, P));
    CHECK_FALSE(allowed({allow({})}, P));
    CHECK(allowed({allow({}), allow({kAll}, "prod/second")}, P));
}

TEST_CASE("authorization: rbac_nesting, clauses AND, matches OR, empty ones as the contract says") {
    const M app = M().ns({exact("app")}), web_port = M().ports({8080}), other_port = M().ports({80});
    const auto holds = [](Rule r, const Conn& c) { return allowed({allow({std::move(r)})}, c); };
    CHECK(holds({{app}, {web_port}}, A));
    CHECK_FALSE(holds({{app}, {other_port}}, A));
    CHECK(holds({{app}, {other_port, web_port}}, A));
    CHECK_FALSE(holds({{app}, {other_port, web_port}}, B));
    CHECK(holds({{}, {app}}, A));
    CHECK_FALSE(holds({{}, {app}}, B));
    CHECK_FALSE(holds({{M()}, {app}}, A));
    CHECK(holds({{M(), app}}, A));
    CHECK_FALSE(holds({{M(), app}}, B));
    CHECK(holds({{}, {}}, P));
}

TEST_CASE("authorization: rbac_multi_rule, one rule that holds is enough and the first is named") {
    const std::vector<NaivePolicy> policies = {allow({one(M().ns({exact("none")})), one(M().ports({8080})), one(M().ns({exact("app")}))})};
    CHECK(judge(policies, A).decision.rule == 1);
    CHECK(judge(policies, conn_a().to(80)).decision.rule == 2);
    CHECK_FALSE(allowed(policies, conn_b().to(80)));
}

TEST_CASE("authorization: string_match, eleven cases") {
    struct Case {
        StringMatch match;
        const char* ns;
        bool hit;
    };
    const std::vector<Case> cases = {
        {exact("app"), "app", true},  {exact("app"), "apps", false}, {prefix("ap"), "app", true}, {prefix("app"), "app", true},
        {prefix("app"), "ap", false}, {prefix("pp"), "app", false},  {suffix("pp"), "app", true}, {suffix("app"), "app", true},
        {suffix("ap"), "app", false}, {presence(), "app", true},     {presence(), "", false},
    };
    for (const Case& c : cases) {
        INFO(static_cast<int>(c.match.kind) << " " << c.match.value.view() << " on " << c.ns);
        const Conn from("10.0.0.1", (std::string("spiffe://td/ns/") + c.ns + "/sa/web").c_str());
        CHECK(matches(M().ns({c.match}), from) == c.hit);
    }
    CHECK(matches(M().ns({prefix("")}), P));
    CHECK(matches(M().ns({suffix("")}), P));
    CHECK(matches(M().ns({exact("")}), P));
}

TEST_CASE("authorization: namespaces list") {
    CHECK(matches(M().ns({exact("x"), exact("app")}), A));
    CHECK_FALSE(matches(M().ns({exact("x"), exact("app")}), B));
    CHECK_FALSE(matches(M().ns({exact("app")}), P));
}
TEST_CASE("authorization: not_namespaces list") {
    CHECK_FALSE(matches(M().not_ns({exact("x"), exact("app")}), A));
    CHECK(matches(M().not_ns({exact("x"), exact("app")}), B));
    CHECK(matches(M().not_ns({exact("app")}), P));
}
TEST_CASE("authorization: principals list") {
    CHECK(matches(M().principal({exact("x"), exact("td/ns/app/sa/web")}), A));
    CHECK_FALSE(matches(M().principal({exact("x"), exact("td/ns/app/sa/web")}), B));
    CHECK_FALSE(matches(M().principal({exact(""), prefix(""), suffix("")}), P));
}
TEST_CASE("authorization: not_principals list") {
    CHECK_FALSE(matches(M().not_principal({exact("td/ns/app/sa/web")}), A));
    CHECK(matches(M().not_principal({exact("td/ns/app/sa/web")}), B));
    CHECK(matches(M().not_principal({prefix("")}), P));
}
TEST_CASE("authorization: service_accounts list") {
    CHECK(matches(M().account({account("app", "web")}), A));
    CHECK_FALSE(matches(M().account({account("app", "job"), account("ops", "web")}), A));
    CHECK_FALSE(matches(M().account({account("", "")}), P));
}
TEST_CASE("authorization: not_service_accounts list") {
    CHECK_FALSE(matches(M().not_account({account("app", "web")}), A));
    CHECK(matches(M().not_account({account("app", "web")}), B));
    CHECK(matches(M().not_account({account("", "")}), P));
}
TEST_CASE("authorization: source_ips list") {
    CHECK(matches(M().src({"10.9.0.0/16", "10.0.0.1/32"}), P));
    CHECK_FALSE(matches(M().src({"10.9.0.0/16", "10.0.0.1/32"}), B));
}
TEST_CASE("authorization: not_source_ips list") {
    CHECK_FALSE(matches(M().not_src({"10.0.0.0/30"}), P));
    CHECK(matches(M().not_src({"10.0.0.0/30"}), B));
}
TEST_CASE("authorization: destination_ips list") {
    CHECK(matches(M().dst({"10.0.0.2/32"}), P));
    CHECK_FALSE(matches(M().dst({"10.0.0.1/32"}), P));
}
TEST_CASE("authorization: not_destination_ips list") {
    CHECK_FALSE(matches(M().not_dst({"10.0.0.2/31"}), P));
    CHECK(matches(M().not_dst({"10.0.0.1/32"}), P));
}
TEST_CASE("authorization: destination_ports list") {
    CHECK(matches(M().ports({80, 8080}), P));
    CHECK_FALSE(matches(M().ports({80, 9090}), P));
}
TEST_CASE("authorization: not_destination_ports list") {
    CHECK_FALSE(matches(M().not_ports({80, 8080}), P));
    CHECK(matches(M().not_ports({80, 9090}), P));
}

TEST_CASE("authorization: cidr_range, edges and families") {
    const auto from = [](std::string_view list, std::string_view address) { return matches(M().src({list}), Conn(address)); };
    CHECK(from("10.0.0.0/24", "10.0.0.0"));
    CHECK(from("10.0.0.0/24", "10.0.0.255"));
    CHECK_FALSE(from("10.0.0.0/24", "10.0.1.0"));
    CHECK_FALSE(from("10.0.0.0/24", "9.255.255.255"));
    CHECK(from("0.0.0.0/0", "255.255.255.255"));
    CHECK_FALSE(from("0.0.0.0/0", "fd00::1"));
    CHECK(from("fd00::/8", "fdff::1"));
    CHECK_FALSE(from("::/0", "10.0.0.1"));
    CHECK_FALSE(from("::/80", "10.0.0.1"));
    CHECK(from("10.0.0.0/24", "::ffff:10.0.0.7"));
}

TEST_CASE("authorization: trap 3: a principal-only rule matches that principal and nobody else") {
    const auto web = one(M().principal({exact("td/ns/app/sa/web")}));
    CHECK(allowed({allow({web})}, A));
    for (const Conn& c : {P, B, Conn("10.0.0.1", "spiffe://td/ns/app/sa/web2"), Conn("10.0.0.1", "spiffe://td/ns/app/sa/we")}) {
        CHECK_FALSE(allowed({allow({web})}, c));
        CHECK(allowed({deny({web})}, c));
    }
    CHECK_FALSE(allowed({deny({web})}, A));
}

TEST_CASE("authorization: trap 4: DENY wins over ALLOW wherever it stands") {
    const auto a = allow({kAll}), a2 = allow({one(M().ns({exact("app")}))}, "prod/allow2");
    const auto d = deny({one(M().ports({8080}))});
    for (const std::vector<NaivePolicy>& order : {std::vector<NaivePolicy>{a, a2, d}, {a, d, a2}, {d, a, a2}}) {
        const Judged j = judge(order, A);
        CHECK_FALSE(j.decision.allowed);
        CHECK(j.decision.policy->key() == "prod/deny");
    }
}

TEST_CASE("authorization: trap 5: lists of 1,000 entries, every list, first, middle and last entry and what is beside them") {
    constexpr size_t kEntries = 1000;
    const size_t at = GENERATE(size_t{0}, size_t{4}, size_t{500}, size_t{999});
    const Conn other = conn_b().to(80);
    INFO("the entry that hits is number " << at);
    // list(i) makes entry i, hitting(i) the one that hits A and not B.
    const auto check = [&](auto make, auto hitting, auto set) {
        std::vector<decltype(make(0))> list;
        for (size_t i = 0; i < kEntries; ++i) list.push_back(i == at ? hitting() : make(i));
        M positive, negative;
        set(positive, list, true);
        set(negative, list, false);
        CHECK(matches(positive, A));
        CHECK_FALSE(matches(positive, other));
        CHECK_FALSE(matches(negative, A));
        CHECK(matches(negative, other));
    };
    const auto number = [](size_t i) { return "entry-" + std::to_string(i); };
    const auto principals = [](M& m, auto& l, bool yes) { yes ? m.principal(l) : m.not_principal(l); };
    const auto namespaces = [](M& m, auto& l, bool yes) { yes ? m.ns(l) : m.not_ns(l); };
    check([&](size_t i) { return exact(number(i)); }, [] { return exact("td/ns/app/sa/web"); }, principals);
    check([&](size_t i) { return prefix(number(i)); }, [] { return prefix("td/ns/app/"); }, principals);
    check([&](size_t i) { return suffix(number(i)); }, [] { return suffix("/sa/web"); }, principals);
    check([&](size_t i) { return exact(number(i)); }, [] { return exact("app"); }, namespaces);
    check([&](size_t i) { return account("app", number(i)); }, [] { return account("app", "web"); },
          [](M& m, auto& l, bool yes) { yes ? m.account(l) : m.not_account(l); });
    const auto net = [](size_t i) { return base::Cidr::make(base::IpAddr::v4(0xc0000000u + static_cast<uint32_t>(i) * 4), 31).value(); };
    check(net, [] { return cidr("10.0.0.1/32"); }, [](M& m, auto& l, bool yes) { (yes ? m.source_ips.any_of : m.source_ips.none_of) = l; });
    check([](size_t i) { return static_cast<uint16_t>(20000 + i); }, [] { return uint16_t{8080}; },
          [](M& m, auto& l, bool yes) { yes ? m.ports(l) : m.not_ports(l); });
    // The destination is the same for everybody: hit or not by the list itself.
    std::vector<base::Cidr> list;
    for (size_t i = 0; i < kEntries; ++i) list.push_back(net(i));
    M to, not_to;
    to.destination_ips.any_of = not_to.destination_ips.none_of = list;
    CHECK_FALSE(matches(to, A));
    CHECK(matches(not_to, A));
    to.destination_ips.any_of[at] = not_to.destination_ips.none_of[at] = cidr("10.0.0.2/32");
    CHECK(matches(to, A));
    CHECK_FALSE(matches(not_to, A));
}

TEST_CASE("authorization: trap 45: a policy that did not parse denies whatever it selects, whole and with its reason") {
    const auto bad = refusal("prod/bad", "source_ips[1]: prefix length 40 of an IPv4 address");
    const Judged j = judge({allow({kAll}), bad}, A);
    CHECK_FALSE(j.decision.allowed);
    CHECK(j.decision.reason == Reason::DeniedPolicyRefused);
    CHECK(j.decision.policy->key() == "prod/bad");
    CHECK(j.decision.policy->refused());
    CHECK(j.decision.policy->refused_because() == "source_ips[1]: prefix length 40 of an IPv4 address");

    SECTION("an enforced DENY is named before it") { CHECK(judge({bad, deny({kAll})}, A).decision.reason == Reason::DeniedByPolicy); }
    SECTION("a refused dry run changes nothing") {
        auto dry_bad = bad;
        dry_bad.dry_run = true;
        CHECK(judge({dry_bad}, A).decision.reason == Reason::AllowedNoAllowPolicy);
        CHECK(judge({dry_bad}, A).decision.dry_run == DryRun::None);
    }
    SECTION("a refusal without a reason is still a refusal") {
        auto silent = bad;
        silent.reason.clear();
        CHECK(policy::Policy(silent).refused());
        CHECK(judge({silent}, A).decision.reason == Reason::DeniedPolicyRefused);
    }
}

TEST_CASE("authorization: trap 46: a listed policy that has not arrived denies until it does") {
    const std::vector<std::string_view> listed = {"prod/late"};
    const std::vector<NaivePolicy> before = {allow({kAll})};
    const Selected without = select(before, "prod", listed);
    REQUIRE(without.missing.size() == 1);
    const Judged j = judge(without.policies, A, without.missing);
    CHECK_FALSE(j.decision.allowed);
    CHECK(j.decision.reason == Reason::DeniedPolicyMissing);
    CHECK(policy::to_string(j.decision.reason) == "denied_policy_missing");
    CHECK(j.set->missing()[0] == "prod/late");

    const auto late = scoped(deny({one(M().ns({exact("ops")}))}, "prod/late"), policy::Scope::WorkloadSelector);
    const Selected with = select({before[0], late}, "prod", listed);
    CHECK(with.missing.empty());
    CHECK(judge(with.policies, A).decision.allowed);
    CHECK_FALSE(judge(with.policies, B).decision.allowed);
}

TEST_CASE("authorization: of several policies that match the first of the set decides, however they are indexed") {
    const std::vector<Rule> ways = {one(M().ports({8080})),
                                    one(M().principal({exact("td/ns/app/sa/web")})),
                                    one(M().principal({prefix("td/")})),
                                    one(M().principal({suffix("/web")})),
                                    one(M().principal({presence()})),
                                    one(M().ns({exact("app")})),
                                    one(M().account({account("app", "web")})),
                                    one(M().src({"10.0.0.0/8"})),
                                    one(M().dst({"10.0.0.2/32"})),
                                    one(M().not_ports({1})),
                                    kAll};
    for (size_t turn = 0; turn < ways.size(); ++turn) {
        std::vector<NaivePolicy> policies;
        for (size_t i = 0; i < ways.size(); ++i)
            policies.emplace_back(deny({one(M()), ways[(turn + i) % ways.size()]}, "prod/" + std::to_string(i)));
        const Judged j = judge(policies, A);
        CHECK(j.decision.policy->key() == "prod/0");
        CHECK(j.decision.rule == 1);
    }
}

TEST_CASE("authorization: nested prefixes around one address and one name are all found") {
    for (const char* wanted : {"0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/30", "10.0.0.1/32"}) {
        std::vector<Rule> rules;
        for (const char* c : {"0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/30", "10.0.0.1/32", "10.0.0.0/32", "10.0.0.2/31", "::/0"}) {
            M m = M().src({c});
            rules.push_back(one(c == wanted ? m.ports({8080}) : m.not_ports({8080})));
        }
        CHECK(allowed({allow(rules)}, P));
        CHECK_FALSE(allowed({allow(rules)}, Conn("fd00::1")));
    }
    for (const char* wanted : {"", "t", "td/ns/app", "td/ns/app/sa/web"}) {
        std::vector<Rule> rules;
        for (const char* p : {"", "t", "td/ns/app", "td/ns/app/sa/web", "td/ns/app/sa/a", "td/ns/ap0", "u"}) {
            M m = M().principal({prefix(p)});
            rules.push_back(one(p == wanted ? m.ports({8080}) : m.not_ports({8080})));
        }
        CHECK(allowed({allow(rules)}, A));
    }
}

TEST_CASE("authorization: equal hashes do not make equal names") {
    // The hash's state after a block that equals the state before it is the same for every such text: the second block cancels the first.
    constexpr uint64_t k0 = 0xa0761d6478bd642fu, k1 = 0xe7037ed1a0b428dbu;
    const auto colliding = [&](uint64_t first) {
        const auto product = static_cast<unsigned __int128>(k0 ^ 16 ^ first) * k1;
        const uint64_t second = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
        std::string text(16, '\0');
        std::memcpy(text.data(), &first, 8);
        std::memcpy(text.data() + 8, &second, 8);
        return text;
    };
    std::string one_name, other;  // without a slash, so that they can stand in an identity
    for (uint64_t i = 1; other.empty(); ++i) {
        const std::string text = colliding(i * 0x0101010101010101u);
        if (text.find('/') == std::string::npos) (one_name.empty() ? one_name : other) = text;
    }
    REQUIRE(one_name != other);
    REQUIRE(policy::hash_text(one_name) == policy::hash_text(other));
    const size_t padding = GENERATE(size_t{0}, size_t{20});  // walked, looked up
    M names = M().ns({exact(one_name)}), accounts = M().account({account(one_name, "web")});
    for (size_t i = 0; i < padding; ++i) {
        names.namespaces.any_of.push_back(exact("pad" + std::to_string(i)));
        accounts.service_accounts.any_of.push_back(account("pad", std::to_string(i)));
    }
    Conn same("10.0.0.1"), different("10.0.0.1");
    same.identity = policy::Identity("td", one_name, "web");
    different.identity = policy::Identity("td", other, "web");
    CHECK(matches(names, same));
    CHECK_FALSE(matches(names, different));
    CHECK(matches(accounts, same));
    CHECK_FALSE(matches(accounts, different));
}

TEST_CASE("authorization: a policy that stands twice counts once, and a null one denies") {
    const auto policy = policy::make_ref<const policy::Policy>(allow({one(M().ns({exact("app")}))}));
    const policy::PolicySet twice({policy, policy}, {});
    CHECK(twice.policies().size() == 1);
    CHECK(twice.decide(A.connection()).allowed);
    const policy::PolicySet null({policy, nullptr}, {});
    CHECK(null.decide(A.connection()).reason == Reason::DeniedPolicyMissing);
}

TEST_CASE("authorization: an identity without content is no identity") {
    const policy::Identity nobody;
    policy::Connection c = P.connection();
    c.src_identity = &nobody;
    const auto decide = [&](const policy::Match& m) { return policy::PolicySet(refs_of({allow({one(m)})}), {}).decide(c).allowed; };
    CHECK_FALSE(decide(M().principal({prefix("")})));
    CHECK_FALSE(decide(M().account({account("", "")})));
    CHECK(decide(M().ns({exact("")})));
    CHECK(decide(M().not_principal({presence()})));
}

TEST_CASE("authorization: a refused policy keeps what was readable of it") {
    const policy::Policy p(refusal("prod/bad", "why"));
    CHECK(p.key() == "prod/bad");
    CHECK(p.name() == "bad");
    CHECK(p.ns() == "prod");
    CHECK(p.spec().rules.empty());
}

TEST_CASE("authorization: 20,000 rules cost at most 700 bytes each, compiled form and spec") {
    constexpr size_t kRules = 20'000;
    const auto heap = [] {
        const auto info = ::mallinfo2();
        return info.uordblks + info.hblkhd;
    };
    const size_t before = heap();
    std::vector<policy::PolicyRef> policies;
    for (size_t i = 0; i < kRules / 10; ++i) {
        std::vector<Rule> rules;
        for (size_t r = 0; r < 10; ++r) {
            const std::string account_name = "account-" + std::to_string(r);
            rules.push_back(
                one(M().principal({exact("cluster.local/ns/team-" + std::to_string(i) + "/sa/" + account_name)}).ports({8080})));
        }
        policies.push_back(policy::make_ref<const policy::Policy>(allow(std::move(rules), "prod/policy-" + std::to_string(i))));
    }
    // Zero under the sanitizers, whose allocators mallinfo does not see.
    const size_t bytes = heap() - before;
    INFO("spec and compiled form: " << bytes / kRules << " bytes a rule");
    CHECK(bytes <= 700 * kRules);
    const size_t middle = heap();
    const policy::PolicySet set(policies, {});
    const size_t index_bytes = heap() - middle;
    INFO("index of the set: " << index_bytes / kRules << " bytes a rule");
    CHECK(index_bytes <= 100 * kRules);
    CHECK_FALSE(set.decide(A.connection()).allowed);
}
