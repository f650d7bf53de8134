// SPDX-License-Identifier: Apache-2.0
#include "policy/explain.h"

#include "tests/catch.h"
#include "tests/policy/rbac_dsl.h"

using namespace warren;
using namespace warren::tests;

namespace {

const Conn P = conn_p(), A = conn_a(), B = conn_b();

policy::Explanation explain_of(const std::vector<NaivePolicy>& policies, const Conn& c, const std::vector<Text>& missing = {}) {
    // The explanation holds references to its policies, so it outlives the set.
    return policy::explain(policy::PolicySet(refs_of(policies), missing), c.connection());
}

std::vector<std::string> why_not(const policy::Match& m, const Conn& c) {
    return explain_of({allow({one(m)})}, c).policies[0].rules[0].why_not;
}

}  // namespace

TEST_CASE("explain: every list says what it saw and what stood in the way") {
    using Lines = std::vector<std::string>;
    CHECK(why_not(M().principal({exact("a"), exact("b"), prefix("c")}), A) ==
          Lines{"principals: \"td/ns/app/sa/web\" is none of 3 entries"});
    CHECK(why_not(M().principal({prefix("other/")}), A) == Lines{"principals: \"td/ns/app/sa/web\" is not prefix \"other/\""});
    CHECK(why_not(M().principal({presence()}), P) == Lines{"principals: source has no identity (plaintext)"});
    CHECK(why_not(M().account({account("ops", "job")}), P) == Lines{"service_accounts: source has no identity (plaintext)"});
    CHECK(why_not(M().account({account("ops", "job")}), A) == Lines{"service_accounts: \"app/web\" is not \"ops/job\""});
    CHECK(why_not(M().ns({exact("ops")}), P) == Lines{"namespaces: \"\" (source has no identity) is not \"ops\""});
    CHECK(why_not(M().not_ns({exact("x"), suffix("pp")}), A) == Lines{"not_namespaces: \"app\" is excluded by suffix \"pp\""});
    CHECK(why_not(M().not_principal({presence()}), A) == Lines{"not_principals: \"td/ns/app/sa/web\" is excluded by presence"});
    CHECK(why_not(M().src({"10.9.0.0/16"}), P) == Lines{"source_ips: 10.0.0.1 is not 10.9.0.0/16"});
    CHECK(why_not(M().not_src({"10.9.0.0/16", "10.0.0.0/8"}), P) == Lines{"not_source_ips: 10.0.0.1 is excluded by 10.0.0.0/8"});
    CHECK(why_not(M().dst({"10.9.0.0/16"}), P) == Lines{"destination_ips: 10.0.0.2 is not 10.9.0.0/16"});
    CHECK(why_not(M().ports({80, 90}), P) == Lines{"destination_ports: 8080 is none of 2 entries"});
    CHECK(why_not(M().not_ports({80, 8080}), P) == Lines{"not_destination_ports: 8080 is excluded by 8080"});
    CHECK(why_not(M(), P) == Lines{"has no list with entries: never matches"});
}

TEST_CASE("explain: clauses and matches are named where there are several") {
    const Rule rule{{M().ports({8080})}, {M().ns({exact("ops")}), M().ports({80})}};
    const auto e = explain_of({allow({rule})}, A);
    CHECK(e.policies[0].rules[0].why_not == std::vector<std::string>{"clause 2, match 1: namespaces: \"app\" is not \"ops\"",
                                                                     "clause 2, match 2: destination_ports: 8080 is not 80"});
}

TEST_CASE("explain: what a peer calls itself stays one printable line of bounded length") {
    Conn c("10.0.0.1");
    c.identity = policy::Identity("td", "a\nb\x1b[2J", std::string(5000, 'x'));
    const auto lines = why_not(M().ns({exact("ops")}), c);
    CHECK(lines[0] == "namespaces: \"a?b?[2J\" is not \"ops\"");
    CHECK(why_not(M().principal({exact("ops")}), c)[0].size() < 400);
}

TEST_CASE("explain: the summary names who decided") {
    CHECK(explain_of({}, A).summary() == "allowed: no ALLOW policy selects the workload and no DENY policy matched");
    CHECK(explain_of({allow({one(M().ports({8080}))})}, A).summary() == "allowed: policy prod/allow, rule 1, matched");
    CHECK(explain_of({deny({one(M().ports({1})), Rule{}}, "prod/deny-all")}, A).summary() ==
          "denied: policy prod/deny-all, rule 2, matched");
    CHECK(explain_of({allow({})}, A).summary() == "denied: ALLOW policies select the workload and none matched");
    CHECK(explain_of({}, A, {Text("prod/late")}).summary() == "denied: the workload lists policies that have not arrived: prod/late");
    CHECK(explain_of({refusal("prod/bad", "source_ips[0]: bad")}, A).summary() ==
          "denied: policy prod/bad was refused: source_ips[0]: bad");
}

TEST_CASE("explain: the whole story walks every policy, also behind the one that decided") {
    const auto e = explain_of({deny({Rule{}}, "prod/first"), allow({one(M().ns({exact("ops")}))}), dry(deny({Rule{}}, "prod/trial")),
                               allow({}, "prod/nothing"), refusal("prod/bad", "unreadable")},
                              A, {Text("prod/late")});
    CHECK(e.to_string() ==
          "denied: policy prod/first, rule 1, matched\n"
          "dry run: policy prod/trial would deny\n"
          "policy prod/first (DENY): matched\n"
          "  rule 1: matched\n"
          "policy prod/allow (ALLOW): did not match\n"
          "  rule 1: did not match\n"
          "    namespaces: \"app\" is not \"ops\"\n"
          "policy prod/trial (DENY): matched; dry run: not enforced\n"
          "  rule 1: matched\n"
          "policy prod/nothing (ALLOW): did not match; has no rules: never matches\n"
          "policy prod/bad: did not match; refused: unreadable\n"
          "policy prod/late: listed by the workload, not arrived\n");
}
