// SPDX-License-Identifier: Apache-2.0
// The truth table of data-plane contract 7.5, row by row. Rows 48 and 50 to 52 are where Warren denies and the reference does not.
#include "tests/catch.h"
#include "tests/policy/rbac_dsl.h"

using namespace warren::tests;
using warren::policy::Reason;
using warren::policy::Scope;

namespace {

constexpr Reason kOpen = Reason::AllowedNoAllowPolicy;
constexpr Reason kAllowed = Reason::AllowedByPolicy;
constexpr Reason kDenied = Reason::DeniedByPolicy;
constexpr Reason kNoMatch = Reason::DeniedNoAllowMatched;
constexpr Reason kMissing = Reason::DeniedPolicyMissing;
constexpr Reason kRefused = Reason::DeniedPolicyRefused;

struct Row {
    const char* words;
    std::vector<NaivePolicy> mesh;
    Conn conn;
    Reason expected;
    std::vector<std::string_view> listed = {};
};

void check(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
        DYNAMIC_SECTION("row " << row.words) {
            const Selected selected = select(row.mesh, "prod", row.listed);
            const Judged j = judge(selected.policies, row.conn, selected.missing);
            CHECK(warren::policy::to_string(j.decision.reason) == warren::policy::to_string(row.expected));
            CHECK(j.decision.allowed == (row.expected == kOpen || row.expected == kAllowed));
            const bool by_policy = row.expected == kAllowed || row.expected == kDenied || row.expected == kRefused;
            CHECK((j.decision.policy != nullptr) == by_policy);
        }
    }
}

const Conn P = conn_p(), A = conn_a(), B = conn_b();
const Rule kAll{};  // a rule without clauses is true
const Rule kEmptyMatch = one(M());

}  // namespace

TEST_CASE("authorization: truth table rows 1 to 9, empty policies, rules, clauses and matches") {
    check({
        {"1: none, P", {}, P, kOpen},
        {"2: ALLOW{} (no rules), A", {allow({})}, A, kNoMatch},
        {"3: DENY{}, A", {deny({})}, A, kOpen},
        {"4: ALLOW{ rule without clauses }, P", {allow({kAll})}, P, kAllowed},
        {"5: DENY{ rule without clauses }, A", {deny({kAll})}, A, kDenied},
        {"6: ALLOW{ clause without matches }, P", {allow({Rule{Clause{}}})}, P, kAllowed},
        {"7: ALLOW{ (empty match) }, A", {allow({kEmptyMatch})}, A, kNoMatch},
        {"8: DENY{ (empty match) }, A", {deny({kEmptyMatch})}, A, kOpen},
        {"9: ALLOW{ (empty match or ports[8080]) }, P", {allow({Rule{Clause{M(), M().ports({8080})}}})}, P, kAllowed},
    });
}

TEST_CASE("authorization: truth table rows 10 to 19, principals") {
    const auto strict = deny({one(M().not_principal({presence()}))});
    const auto web = allow({one(M().principal({exact("td/ns/app/sa/web")}))});
    const auto present = allow({one(M().principal({presence()}))});
    const auto td = allow({one(M().principal({prefix("td/")}))});
    const auto anything = allow({one(M().principal({prefix("")}))});
    check({
        {"10: DENY{ not_principals[presence] } (STRICT), P", {strict}, P, kDenied},
        {"11: same as 10, A", {strict}, A, kOpen},
        {"12: ALLOW{ principals[exact td/ns/app/sa/web] }, A", {web}, A, kAllowed},
        {"13: same as 12, B", {web}, B, kNoMatch},
        {"14: same as 12, P", {web}, P, kNoMatch},
        {"15: ALLOW{ principals[exact spiffe://...] }, A",
         {allow({one(M().principal({exact("spiffe://td/ns/app/sa/web")}))})},
         A,
         kNoMatch},
        {"16: ALLOW{ principals[presence] }, P", {present}, P, kNoMatch},
        {"16: ALLOW{ principals[presence] }, A", {present}, A, kAllowed},
        {"17: ALLOW{ principals[prefix td/] }, A", {td}, A, kAllowed},
        {"17: ALLOW{ principals[prefix td/] }, B", {td}, B, kNoMatch},
        {"18: ALLOW{ principals[suffix /sa/web] }, A", {allow({one(M().principal({suffix("/sa/web")}))})}, A, kAllowed},
        {"19: ALLOW{ principals[prefix \"\"] }, P", {anything}, P, kNoMatch},
        {"19: ALLOW{ principals[prefix \"\"] }, A", {anything}, A, kAllowed},
    });
}

TEST_CASE("authorization: truth table rows 20 to 28, namespaces and service accounts") {
    const auto app = allow({one(M().ns({exact("app")}))});
    const auto any = deny({one(M().ns({prefix("")}))});
    const auto present = deny({one(M().ns({presence()}))});
    const auto not_app = deny({one(M().not_ns({exact("app")}))});
    const auto not_web = deny({one(M().not_account({account("app", "web")}))});
    check({
        {"20: ALLOW{ namespaces[exact app] }, A", {app}, A, kAllowed},
        {"20: ALLOW{ namespaces[exact app] }, P", {app}, P, kNoMatch},
        {"21: DENY{ namespaces[exact \"\"] }, P", {deny({one(M().ns({exact("")}))})}, P, kDenied},
        {"22: DENY{ namespaces[prefix \"\"] }, P", {any}, P, kDenied},
        {"22: DENY{ namespaces[prefix \"\"] }, A", {any}, A, kDenied},
        {"23: DENY{ namespaces[presence] }, P", {present}, P, kOpen},
        {"23: DENY{ namespaces[presence] }, A", {present}, A, kDenied},
        {"24: DENY{ not_namespaces[exact app] }, P", {not_app}, P, kDenied},
        {"25: same as 24, A", {not_app}, A, kOpen},
        {"25: same as 24, B", {not_app}, B, kDenied},
        {"26: ALLOW{ service_accounts[app/web] }, A", {allow({one(M().account({account("app", "web")}))})}, A, kAllowed},
        {"27: ALLOW{ service_accounts[ops/job] }, B", {allow({one(M().account({account("ops", "job")}))})}, B, kAllowed},
        {"28: DENY{ not_service_accounts[app/web] }, P", {not_web}, P, kDenied},
        {"28: DENY{ not_service_accounts[app/web] }, A", {not_web}, A, kOpen},
    });
}

TEST_CASE("authorization: truth table rows 29 to 38, addresses, ports and the nesting of lists") {
    const Clause from_1{M().src({"10.0.0.1/32"})};
    const Clause app_or_ops{M().ns({exact("app")}), M().ns({exact("ops")})};
    const auto not_8080 = deny({one(M().not_ports({8080}))});
    const auto port_strict = deny({one(M().ports({8080}).not_principal({presence()}))});
    check({
        {"29: ALLOW{ source_ips[10.0.0.0/24] }, P", {allow({one(M().src({"10.0.0.0/24"}))})}, P, kAllowed},
        {"30: ALLOW{ source_ips, ports[9090] in one match }, A", {allow({one(M().src({"10.0.0.1/32"}).ports({9090}))})}, A, kNoMatch},
        {"31: ALLOW{ (source_ips) & (ports[8080]) }, A", {allow({Rule{from_1, Clause{M().ports({8080})}}})}, A, kAllowed},
        {"32: ALLOW{ (app or ops) & (ports[80]) }, A", {allow({Rule{app_or_ops, Clause{M().ports({80})}}})}, A, kNoMatch},
        {"33: ALLOW{ ports[80] | namespaces[ops] }, B", {allow({one(M().ports({80})), one(M().ns({exact("ops")}))})}, B, kAllowed},
        {"34: DENY{ not_ports[8080] }, to 8080", {not_8080}, P, kOpen},
        {"34: DENY{ not_ports[8080] }, to 9090", {not_8080}, conn_p().to(9090), kDenied},
        {"35: DENY{ ports[8080], not_principals[presence] }, P", {port_strict}, P, kDenied},
        {"35: DENY{ ports[8080], not_principals[presence] }, A", {port_strict}, A, kOpen},
        {"36: ALLOW{ destination_ips[10.0.0.0/24] }, P", {allow({one(M().dst({"10.0.0.0/24"}))})}, P, kAllowed},
        {"37: ALLOW{ source_ips[::/0] }, P", {allow({one(M().src({"::/0"}))})}, P, kNoMatch},
        {"38: ALLOW{ source_ips, not_source_ips }, P", {allow({one(M().src({"10.0.0.1/32"}).not_src({"10.0.0.0/8"}))})}, P, kNoMatch},
    });
}

TEST_CASE("authorization: truth table rows 39 to 47, order, dry run and scopes") {
    const auto ops = allow({one(M().ns({exact("ops")}))});
    const auto ops_global = scoped(allow({one(M().ns({exact("ops")}))}, "elsewhere/allow"), Scope::Global);
    const auto all_selector = scoped(deny({kAll}, "prod/selector"), Scope::WorkloadSelector);
    check({
        {"39: ALLOW{ A } + DENY{ ports[8080] }, A", {allow({one(M().ns({exact("app")}))}), deny({one(M().ports({8080}))})}, A, kDenied},
        {"40: ALLOW{ ops } + ALLOW{ app }, A", {ops, allow({one(M().ns({exact("app")}))}, "prod/second")}, A, kAllowed},
        {"41: dry-run DENY{ all }, A", {dry(deny({kAll}))}, A, kOpen},
        {"42: dry-run ALLOW{ ops } only, A", {dry(ops)}, A, kOpen},
        {"43: dry-run ALLOW{ all } + ALLOW{ ops }, A", {dry(allow({kAll}, "prod/dry")), ops}, A, kNoMatch},
        {"44: GLOBAL ALLOW{ ops } in any namespace, A", {ops_global}, A, kNoMatch},
        {"45: NAMESPACE policy in app, ALLOW{}, A to D in prod", {allow({}, "app/allow")}, A, kOpen},
        {"46: WORKLOAD_SELECTOR DENY{all}, not listed, A", {all_selector}, A, kOpen},
        {"47: same, listed by D, A", {all_selector}, A, kDenied, {"prod/selector"}},
    });
}

TEST_CASE("authorization: truth table rows 48 to 53, where the reference fails open and Warren denies") {
    const auto app = allow({one(M().ns({exact("app")}))});
    // What a converter hands over for these three rows is a refusal, never a narrower policy.
    const auto row50 = refusal("prod/p", "rules[0].clauses[0].matches[0].source_ips[0]: bad length");
    const auto row51 = refusal("prod/p", "rules[0].clauses[0].matches[0].source_ips[0]: bad length");
    const auto row52 = refusal("prod/p", "rules[0].clauses[0].matches[0].destination_ports[0]: 73616 is above 65535");
    check({
        {"48: D lists prod/missing, nothing else, A (reference: allow)", {}, A, kMissing, {"prod/missing"}},
        {"49: D lists prod/missing, plus ALLOW{ app }, B", {app}, B, kMissing, {"prod/missing"}},
        {"49: D lists prod/missing, plus ALLOW{ app }, A", {app}, A, kMissing, {"prod/missing"}},
        {"50: ALLOW{ source_ips[bad CIDR], ports[8080] }, B (reference: allow)", {row50}, B, kRefused},
        {"51: DENY{ source_ips[bad CIDR] }, A (reference: allow)", {row51}, A, kRefused},
        {"52: ALLOW{ ports[73616] }, P (reference: allow)", {row52}, P, kRefused},
        {"53: ALLOW{ source_ips[10.9.9.9, length 0] }, P", {allow({one(M().src({"10.9.9.9/0"}))})}, P, kAllowed},
    });
}

TEST_CASE("authorization: truth table rows 54 to 57, what the policy sees") {
    // 54: the TCP peer is the waypoint, so src is its address. 55 and 56: dst carries the final port. 57: no network in a Connection.
    const Conn via_waypoint("10.1.0.5", "spiffe://td/ns/infra/sa/waypoint");
    check({
        {"54: ALLOW{ source_ips[10.0.0.0/24] }, via waypoint 10.1.0.5", {allow({one(M().src({"10.0.0.0/24"}))})}, via_waypoint, kNoMatch},
        {"55: ALLOW{ ports[80] }, authority svc:80 mapped to 8080", {allow({one(M().ports({80}))})}, conn_a().to(8080), kNoMatch},
        {"56: ALLOW{ ports[15088] }, PROXY tunnel port 15088", {allow({one(M().ports({15088}))})}, conn_a().to(15088), kAllowed},
        {"57: ALLOW{ namespaces[app] }, dst_network differs", {allow({one(M().ns({exact("app")}))})}, A, kAllowed},
    });
}
