// SPDX-License-Identifier: Apache-2.0
// decide(), explain() and the naive engine on random sets. The same on ten million pairs: rbac_million.cpp.
#include "tests/catch.h"
#include "tests/policy/rbac_case.h"

#include <array>

using namespace warren;

TEST_CASE("authorization: decide, explain and a naive engine agree on 20,000 random pairs (trap 3, trap 4: principal-only, DENY first)") {
    size_t pairs = 0;
    for (uint64_t seed = 1; pairs < 20'000; ++seed) {
        const auto bytes = tests::random_bytes(seed, 100 + seed % 1500);
        const tests::RbacCase c = tests::make_rbac_case(bytes);
        INFO("seed " << seed);
        REQUIRE(tests::compare_engines(c) == "");
        pairs += c.connections.size();
    }
}

TEST_CASE("authorization: the random cases reach every verdict, dry-run outcome and list") {
    std::array<size_t, policy::kReasonCount> reasons{};
    std::array<size_t, 4> dry_runs{};
    size_t long_lists = 0, thousands = 0;
    for (uint64_t seed = 1; seed < 3000; ++seed) {
        const auto bytes = tests::random_bytes(seed, 100 + seed % 1500);
        const tests::RbacCase c = tests::make_rbac_case(bytes);
        for (const auto& n : c.connections) {
            const auto d = tests::naive::decide(c.policies, c.missing.size(), n);
            ++reasons[static_cast<size_t>(d.reason)];
            ++dry_runs[static_cast<size_t>(d.dry_run)];
        }
        for (const auto& p : c.policies) {
            const auto* spec = std::get_if<policy::PolicySpec>(&p);
            for (size_t r = 0; spec != nullptr && r < spec->rules.size(); ++r)
                for (const auto& clause : spec->rules[r])
                    for (const auto& m : clause) {
                        long_lists += m.principals.any_of.size() > 8 && m.principals.any_of.size() < 1000;
                        thousands += m.principals.any_of.size() >= 1000 || m.source_ips.none_of.size() >= 1000;
                    }
        }
    }
    for (int reason = 0; reason <= static_cast<int>(policy::Reason::DeniedPolicyRefused); ++reason) {
        INFO(policy::to_string(static_cast<policy::Reason>(reason)));
        CHECK(reasons[static_cast<size_t>(reason)] > 100);
    }
    for (const size_t n : dry_runs) CHECK(n > 100);
    CHECK(long_lists > 50);
    CHECK(thousands > 3);
}
