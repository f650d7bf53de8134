// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"
#include "policy/mesh_proto.h"
#include "tests/catch.h"
#include "tests/policy/random_mesh.h"

#include <google/protobuf/util/message_differencer.h>

#include <functional>

namespace {

using namespace warren;
using namespace warren::policy;
namespace pb = istio::security;

const std::string kV4("\x0a\x00\x00\x01", 4);
const std::string kMapped("\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x00\x00\x01", 16);

// prod/p: DENY, scope NAMESPACE, dry run, one rule of one clause of one match.
pb::Authorization base_policy() {
    pb::Authorization a;
    a.set_name("p");
    a.set_namespace_("prod");
    a.set_scope(pb::NAMESPACE);
    a.set_action(pb::DENY);
    a.set_dry_run(true);
    a.add_rules()->add_clauses()->add_matches();
    return a;
}

pb::Match& first_match(pb::Authorization& a) { return *a.mutable_rules(0)->mutable_clauses(0)->mutable_matches(0); }

PolicyResource read(const pb::Authorization& a) {
    RecordPool pool;
    return policy_from_proto("prod/p", a, pool);
}

std::string refused(const std::function<void(pb::Match&)>& change) {
    pb::Authorization a = base_policy();
    change(first_match(a));
    const PolicyResource out = read(a);
    const auto* refusal = std::get_if<PolicyRefusal>(&out);
    return refusal != nullptr ? refusal->reason : "";
}

PolicySpec accepted(const pb::Authorization& a) {
    PolicyResource out = read(a);
    REQUIRE(std::holds_alternative<PolicySpec>(out));
    return std::get<PolicySpec>(std::move(out));
}

void add_cidr(google::protobuf::RepeatedPtrField<pb::Address>& to, const std::string& bytes, uint32_t length) {
    to.Add()->set_address(bytes);
    to.Mutable(to.size() - 1)->set_length(length);
}

}  // namespace

TEST_CASE("authorization_proto: trap 45: a policy with one bad CIDR is refused whole") {
    pb::Authorization a = base_policy();
    a.set_action(pb::ALLOW);
    a.set_dry_run(false);
    first_match(a).add_destination_ports(8080);
    pb::Clause& clause = *a.mutable_rules(0)->add_clauses();
    add_cidr(*clause.add_matches()->mutable_source_ips(), kV4, 32);
    add_cidr(*clause.mutable_matches(0)->mutable_source_ips(), kV4, 24);
    CHECK(std::holds_alternative<PolicySpec>(read(a)));

    add_cidr(*clause.mutable_matches(0)->mutable_source_ips(), "\x0a\x01\x02", 8);
    const PolicyResource out = read(a);
    const auto* refusal = std::get_if<PolicyRefusal>(&out);
    REQUIRE(refusal != nullptr);
    CHECK(refusal->reason == "rules[0].clauses[1].matches[0].source_ips[2]: 3 address bytes; give 4 or 16");
    CHECK(refusal->key == "prod/p");
    CHECK(refusal->ns == "prod");
    CHECK(refusal->scope == Scope::Namespace);
    CHECK(!refusal->dry_run);
}

TEST_CASE("authorization_proto: an element that does not parse refuses the policy, in each of the lists") {
    const std::string at = "rules[0].clauses[0].matches[0].";
    using Ips = google::protobuf::RepeatedPtrField<pb::Address>* (pb::Match::*)();
    const std::pair<const char*, Ips> ips[] = {{"source_ips", &pb::Match::mutable_source_ips},
                                               {"not_source_ips", &pb::Match::mutable_not_source_ips},
                                               {"destination_ips", &pb::Match::mutable_destination_ips},
                                               {"not_destination_ips", &pb::Match::mutable_not_destination_ips}};
    for (const auto& [name, list] : ips) {
        CHECK(refused([&](pb::Match& m) { add_cidr(*(m.*list)(), "", 0); }) == at + name + "[0]: 0 address bytes; give 4 or 16");
        CHECK(refused([&](pb::Match& m) { add_cidr(*(m.*list)(), kV4, 33); }) ==
              at + name + "[0]: prefix length 33 of 10.0.0.1 is out of range; give 0 to 32");
    }
    using Strings = google::protobuf::RepeatedPtrField<pb::StringMatch>* (pb::Match::*)();
    const std::pair<const char*, Strings> strings[] = {{"namespaces", &pb::Match::mutable_namespaces},
                                                       {"not_namespaces", &pb::Match::mutable_not_namespaces},
                                                       {"principals", &pb::Match::mutable_principals},
                                                       {"not_principals", &pb::Match::mutable_not_principals}};
    for (const auto& [name, list] : strings)
        CHECK(refused([&](pb::Match& m) { (m.*list)()->Add(); }) ==
              at + name + "[0]: matches nothing; set exact, prefix, suffix or presence");
    CHECK(refused([](pb::Match& m) { m.add_destination_ports(73616); }) ==
          at + "destination_ports[0]: port 73616 is out of range; give 0 to 65535");
    CHECK(refused([](pb::Match& m) { m.add_not_destination_ports(65536); }) ==
          at + "not_destination_ports[0]: port 65536 is out of range; give 0 to 65535");
}

TEST_CASE("authorization_proto: prefix lengths are not cut to eight bits, and count in the family of the bytes") {
    CHECK(refused([](pb::Match& m) { add_cidr(*m.mutable_source_ips(), kV4, 256 + 24); }) ==
          "rules[0].clauses[0].matches[0].source_ips[0]: prefix length 280 of 10.0.0.1 is out of range; give 0 to 32");
    CHECK(refused([](pb::Match& m) { add_cidr(*m.mutable_source_ips(), kMapped, 32); }) ==
          "rules[0].clauses[0].matches[0].source_ips[0]: prefix length 32 of IPv4-mapped 10.0.0.1 is out of range; give 96 to 128");
    pb::Authorization a = base_policy();
    add_cidr(*first_match(a).mutable_source_ips(), kMapped, 96 + 8);
    add_cidr(*first_match(a).mutable_source_ips(), kV4, 0);
    add_cidr(*first_match(a).mutable_source_ips(), kMapped, 96);
    const PolicySpec spec = accepted(a);
    const auto& cidrs = spec.rules[0][0][0].source_ips.any_of;
    REQUIRE(cidrs.size() == 3);
    CHECK(cidrs[0].to_string() == "10.0.0.0/8");
    CHECK(cidrs[1].to_string() == "0.0.0.0/0");  // an absent length is zero: every IPv4 address
    CHECK(cidrs[2].to_string() == "0.0.0.0/0");
}

TEST_CASE("authorization_proto: a refusal keeps what was readable") {
    pb::Authorization a = base_policy();
    a.set_action(static_cast<pb::Action>(2));
    PolicyResource out = read(a);
    auto* refusal = std::get_if<PolicyRefusal>(&out);
    REQUIRE(refusal != nullptr);
    CHECK(refusal->reason == "action: unknown value 2; give a number from 0 to 1");
    CHECK(refusal->scope == Scope::Namespace);
    CHECK(refusal->ns == "prod");
    CHECK(refusal->dry_run);

    a.set_scope(static_cast<pb::Scope>(3));
    out = read(a);
    refusal = std::get_if<PolicyRefusal>(&out);
    REQUIRE(refusal != nullptr);
    CHECK(refusal->reason == "scope: unknown value 3; give a number from 0 to 2");
    CHECK(refusal->scope == Scope::WorkloadSelector);

    a = base_policy();
    a.set_scope(pb::GLOBAL);
    first_match(a).add_destination_ports(1 << 20);
    out = read(a);
    refusal = std::get_if<PolicyRefusal>(&out);
    REQUIRE(refusal != nullptr);
    CHECK(refusal->scope == Scope::Global);
}

TEST_CASE("authorization_proto: bytes that do not parse are a refusal") {
    RecordPool pool;
    ResourceReader reader(pool);
    PolicyResource out = reader.policy("prod/p", base::as_bytes("\xff\xff"));
    auto* refusal = std::get_if<PolicyRefusal>(&out);
    REQUIRE(refusal != nullptr);
    CHECK(refusal->key == "prod/p");
    CHECK(refusal->scope == Scope::WorkloadSelector);
    CHECK(!refusal->dry_run);
    CHECK(refusal->reason == "2 bytes that are not a message istio.security.Authorization; send one");

    const std::string bytes = base_policy().SerializeAsString();
    out = reader.policy("prod/p", base::as_bytes(std::string_view(bytes).substr(0, bytes.size() - 3)));  // breaks inside the rules
    refusal = std::get_if<PolicyRefusal>(&out);
    REQUIRE(refusal != nullptr);
    CHECK(refusal->ns == "prod");
    CHECK(refusal->scope == Scope::Namespace);

    out = reader.policy("prod/p", base::as_bytes(bytes));
    REQUIRE(std::holds_alternative<PolicySpec>(out));
    CHECK(std::get<PolicySpec>(out) == accepted(base_policy()));
}

TEST_CASE("authorization_proto: an empty message is a policy without rules, and empty levels stay") {
    const PolicySpec empty = accepted(pb::Authorization());
    CHECK(empty.key == "prod/p");
    CHECK(empty.scope == Scope::Global);
    CHECK(empty.action == PolicyAction::Allow);
    CHECK(empty.rules.empty());
    pb::Authorization a;
    a.add_rules();
    a.add_rules()->add_clauses();
    a.add_rules()->add_clauses()->add_matches();
    const PolicySpec spec = accepted(a);
    REQUIRE(spec.rules.size() == 3);
    CHECK(spec.rules[0].empty());
    CHECK(spec.rules[1][0].empty());
    CHECK(spec.rules[2][0][0].empty());
}

TEST_CASE("authorization_proto: every kind of match arrives in its own list") {
    pb::Authorization a = base_policy();
    pb::Match& m = first_match(a);
    m.add_namespaces()->set_exact("n");
    m.add_not_namespaces()->set_prefix("");
    m.add_principals()->set_suffix("/sa/web");
    m.add_not_principals()->mutable_presence();
    m.add_service_accounts()->set_namespace_("app");
    m.mutable_service_accounts(0)->set_serviceaccount("web");
    m.add_not_service_accounts();
    m.add_destination_ports(0);
    m.add_not_destination_ports(65535);
    const Match out = accepted(a).rules[0][0][0];
    using Kind = StringMatch::Kind;
    CHECK(out.namespaces.any_of == std::vector<StringMatch>{{Kind::Exact, Text("n")}});
    CHECK(out.namespaces.none_of == std::vector<StringMatch>{{Kind::Prefix, Text()}});
    CHECK(out.principals.any_of == std::vector<StringMatch>{{Kind::Suffix, Text("/sa/web")}});
    CHECK(out.principals.none_of == std::vector<StringMatch>{{Kind::Presence, Text()}});
    CHECK(out.service_accounts.any_of == std::vector<ServiceAccountMatch>{{Text("app"), Text("web")}});
    CHECK(out.service_accounts.none_of.size() == 1);
    CHECK(out.destination_ports.any_of == std::vector<uint16_t>{0});
    CHECK(out.destination_ports.none_of == std::vector<uint16_t>{65535});
}

TEST_CASE("authorization_proto: random policies survive message, value, message") {
    tests::RandomMesh mesh(GENERATE(1u, 2u, 3u, 4u));
    RecordPool pool;
    ResourceReader reader(pool);
    for (int i = 0; i < 200; ++i) {
        const pb::Authorization in = mesh.authorization();
        const PolicyResource value = reader.policy("k/n", base::as_bytes(in.SerializeAsString()));
        REQUIRE(std::holds_alternative<PolicySpec>(value));
        pb::Authorization out;
        to_proto(std::get<PolicySpec>(value), out);
        google::protobuf::util::MessageDifferencer differencer;
        std::string difference;
        differencer.ReportDifferencesToString(&difference);
        CHECK(differencer.Compare(in, out));
        CHECK(difference == "");
        const PolicyResource again = policy_from_proto("k/n", out, pool);
        REQUIRE(std::holds_alternative<PolicySpec>(again));
        REQUIRE(std::get<PolicySpec>(again) == std::get<PolicySpec>(value));
    }
}
