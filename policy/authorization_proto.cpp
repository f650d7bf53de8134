// SPDX-License-Identifier: Apache-2.0
#include "policy/fields_proto.h"
#include "policy/mesh_proto.h"
#include "proto/authorization.pb.h"

namespace warren::policy {

namespace pb = istio::security;
using base::Result;

namespace {

static_assert(int{pb::NAMESPACE} == int(Scope::Namespace) && int{pb::WORKLOAD_SELECTOR} == int(Scope::WorkloadSelector));
static_assert(int{pb::DENY} == int(PolicyAction::Deny));

class Reader {
  public:
    explicit Reader(TextPool& pool) : pool_(pool) {}

    Result<std::vector<Rule>> rules(const pb::Authorization& from) {
        return read_list<Rule>(from.rules(), FieldPath(), "rules", [this](const pb::Rule& rule, const FieldPath& at) {
            return read_list<Clause>(rule.clauses(), at, "clauses", [this](const pb::Clause& clause, const FieldPath& in) {
                return read_list<Match>(clause.matches(), in, "matches",
                                        [this](const pb::Match& one, const FieldPath& here) { return match(one, here); });
            });
        });
    }

  private:
    Result<Match> match(const pb::Match& from, const FieldPath& at) {
        auto text = [this](const pb::StringMatch& m, const FieldPath& here) { return string_match(m, here); };
        auto cidr = [](const pb::Address& a, const FieldPath& here) { return read_cidr(a.address(), a.length(), here); };
        auto account = [this](const pb::ServiceAccountMatch& m, const FieldPath&) -> Result<ServiceAccountMatch> {
            return ServiceAccountMatch{pool_.intern(m.namespace_()), pool_.intern(m.serviceaccount())};
        };
        Match to;
        to.namespaces.any_of = TRY(read_list<StringMatch>(from.namespaces(), at, "namespaces", text));
        to.namespaces.none_of = TRY(read_list<StringMatch>(from.not_namespaces(), at, "not_namespaces", text));
        to.principals.any_of = TRY(read_list<StringMatch>(from.principals(), at, "principals", text));
        to.principals.none_of = TRY(read_list<StringMatch>(from.not_principals(), at, "not_principals", text));
        to.service_accounts.any_of = TRY(read_list<ServiceAccountMatch>(from.service_accounts(), at, "service_accounts", account));
        to.service_accounts.none_of = TRY(read_list<ServiceAccountMatch>(from.not_service_accounts(), at, "not_service_accounts", account));
        to.source_ips.any_of = TRY(read_list<base::Cidr>(from.source_ips(), at, "source_ips", cidr));
        to.source_ips.none_of = TRY(read_list<base::Cidr>(from.not_source_ips(), at, "not_source_ips", cidr));
        to.destination_ips.any_of = TRY(read_list<base::Cidr>(from.destination_ips(), at, "destination_ips", cidr));
        to.destination_ips.none_of = TRY(read_list<base::Cidr>(from.not_destination_ips(), at, "not_destination_ips", cidr));
        to.destination_ports.any_of = TRY(read_list<uint16_t>(from.destination_ports(), at, "destination_ports", read_port));
        to.destination_ports.none_of = TRY(read_list<uint16_t>(from.not_destination_ports(), at, "not_destination_ports", read_port));
        return to;
    }

    Result<StringMatch> string_match(const pb::StringMatch& from, const FieldPath& at) {
        using Kind = StringMatch::Kind;
        switch (from.match_type_case()) {
            case pb::StringMatch::kExact: return StringMatch{Kind::Exact, pool_.intern(from.exact())};
            case pb::StringMatch::kPrefix: return StringMatch{Kind::Prefix, pool_.intern(from.prefix())};
            case pb::StringMatch::kSuffix: return StringMatch{Kind::Suffix, pool_.intern(from.suffix())};
            case pb::StringMatch::kPresence: return StringMatch{Kind::Presence, Text()};
            case pb::StringMatch::MATCH_TYPE_NOT_SET: break;
        }
        return at.refuse("matches nothing; set exact, prefix, suffix or presence");
    }

    TextPool& pool_;
};

void write(const StringMatch& from, pb::StringMatch& to) {
    switch (from.kind) {
        case StringMatch::Kind::Exact: to.set_exact(from.value.str()); return;
        case StringMatch::Kind::Prefix: to.set_prefix(from.value.str()); return;
        case StringMatch::Kind::Suffix: to.set_suffix(from.value.str()); return;
        case StringMatch::Kind::Presence: to.mutable_presence(); return;
    }
}

void write(const base::Cidr& from, pb::Address& to) {
    to.set_address(write_ip(from.first()));
    to.set_length(from.length());
}

void write(const ServiceAccountMatch& from, pb::ServiceAccountMatch& to) {
    to.set_namespace_(from.ns.str());
    to.set_serviceaccount(from.service_account.str());
}

void write(const Match& from, pb::Match& to);

template <class T, class Message>
void write(const std::vector<T>& from, google::protobuf::RepeatedPtrField<Message>& to) {
    for (const T& element : from) write(element, *to.Add());
}

void write(const std::vector<uint16_t>& from, google::protobuf::RepeatedField<uint32_t>& to) { to.Add(from.begin(), from.end()); }

void write(const Match& from, pb::Match& to) {
    write(from.namespaces.any_of, *to.mutable_namespaces());
    write(from.namespaces.none_of, *to.mutable_not_namespaces());
    write(from.principals.any_of, *to.mutable_principals());
    write(from.principals.none_of, *to.mutable_not_principals());
    write(from.service_accounts.any_of, *to.mutable_service_accounts());
    write(from.service_accounts.none_of, *to.mutable_not_service_accounts());
    write(from.source_ips.any_of, *to.mutable_source_ips());
    write(from.source_ips.none_of, *to.mutable_not_source_ips());
    write(from.destination_ips.any_of, *to.mutable_destination_ips());
    write(from.destination_ips.none_of, *to.mutable_not_destination_ips());
    write(from.destination_ports.any_of, *to.mutable_destination_ports());
    write(from.destination_ports.none_of, *to.mutable_not_destination_ports());
}

}  // namespace

PolicyResource policy_from_proto(std::string_view name, const pb::Authorization& from, TextPool& pool) {
    const Text key = pool.intern(name);
    const auto scope = read_enum(from.scope(), Scope::WorkloadSelector, {nullptr, "scope"});
    auto refusal = [&](base::Error why) {
        return PolicyRefusal{key, pool.intern(from.namespace_()), scope ? *scope : Scope::WorkloadSelector, from.dry_run(),
                             std::move(why.detail)};
    };
    if (!scope) return refusal(scope.error());
    auto action = read_enum(from.action(), PolicyAction::Deny, {nullptr, "action"});
    if (!action) return refusal(std::move(action).error());
    auto rules = Reader(pool).rules(from);
    if (!rules) return refusal(std::move(rules).error());
    return PolicySpec{key, pool.intern(from.name()), pool.intern(from.namespace_()), *scope, *action, from.dry_run(), std::move(*rules)};
}

void to_proto(const PolicySpec& from, pb::Authorization& to) {
    to.Clear();
    to.set_name(from.name.str());
    to.set_namespace_(from.ns.str());
    to.set_scope(static_cast<pb::Scope>(from.scope));
    to.set_action(static_cast<pb::Action>(from.action));
    to.set_dry_run(from.dry_run);
    for (const Rule& rule : from.rules) {
        pb::Rule& out = *to.add_rules();
        for (const Clause& clause : rule) write(clause, *out.add_clauses()->mutable_matches());
    }
}

}  // namespace warren::policy
