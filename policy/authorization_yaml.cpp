// SPDX-License-Identifier: Apache-2.0
#include "policy/parts_yaml.h"

namespace warren::policy {

using base::Result;

namespace {

Result<StringMatch> match_of(Node at, std::string_view kind, Node value, TextPool& pool) {
    StringMatch to;
    if (kind == "Presence") {
        to.kind = StringMatch::Kind::Presence;
        const bool nothing = value.is(Node::Kind::Scalar) ? value.text().empty() : value.empty();
        if (!nothing) return value.refuse("Presence takes no value; remove it");
        return to;
    }
    if (kind == "Exact")
        to.kind = StringMatch::Kind::Exact;
    else if (kind == "Prefix")
        to.kind = StringMatch::Kind::Prefix;
    else if (kind == "Suffix")
        to.kind = StringMatch::Kind::Suffix;
    else
        return at.refuse("unknown string match " + base::quoted(kind) + "; give one of Exact, Prefix, Suffix, Presence");
    if (!value.is(Node::Kind::Scalar)) return value.refuse("a string match compares with a text; give one, \"\" for the empty one");
    to.value = pool.intern(value.text());
    return to;
}

// !Exact web, or the map of one that the dump and JSON have: {Exact: web}, {Presence: []}.
Result<StringMatch> read_string_match(Node node, TextPool& pool) {
    if (node.tag().starts_with('!')) return match_of(node, node.tag().substr(1), node, pool);
    if (!node.is(Node::Kind::Map)) return node.refuse("no kind of match; write !Exact, !Prefix, !Suffix or !Presence in front");
    const auto entries = TRY(read_entries(node));
    if (entries.size() != 1) return node.refuse(std::to_string(entries.size()) + " keys in a string match; give one, such as {Exact: web}");
    const auto& [key, value] = entries.front();
    if (value.is(Node::Kind::Scalar)) TRY(read_string(value));
    return match_of(key, key.text(), value, pool);
}

Result<ServiceAccountMatch> read_account(Node node, TextPool& pool) {
    const Fields fields = TRY(Fields::of(node, {"namespace", "serviceAccount"}));
    const std::string_view ns = TRY(read_string(TRY(fields.need("namespace"))));
    return ServiceAccountMatch{pool.intern(ns), pool.intern(TRY(read_string(TRY(fields.need("serviceAccount")))))};
}

Result<Match> read_match(Node node, TextPool& pool) {
    const Fields fields = TRY(
        Fields::of(node, {"namespaces", "notNamespaces", "principals", "notPrincipals", "serviceAccounts", "notServiceAccounts",
                          "sourceIps", "notSourceIps", "destinationIps", "notDestinationIps", "destinationPorts", "notDestinationPorts"}));
    auto text = [&](Node one) { return read_string_match(one, pool); };
    auto account = [&](Node one) { return read_account(one, pool); };
    auto cidr = [](Node one) { return read_cidr(one); };
    auto port = [](Node one) { return read_port(one); };
    Match to;
    to.namespaces.any_of = TRY(read_list<StringMatch>(fields.get("namespaces"), text));
    to.namespaces.none_of = TRY(read_list<StringMatch>(fields.get("notNamespaces"), text));
    to.principals.any_of = TRY(read_list<StringMatch>(fields.get("principals"), text));
    to.principals.none_of = TRY(read_list<StringMatch>(fields.get("notPrincipals"), text));
    to.service_accounts.any_of = TRY(read_list<ServiceAccountMatch>(fields.get("serviceAccounts"), account));
    to.service_accounts.none_of = TRY(read_list<ServiceAccountMatch>(fields.get("notServiceAccounts"), account));
    to.source_ips.any_of = TRY(read_list<base::Cidr>(fields.get("sourceIps"), cidr));
    to.source_ips.none_of = TRY(read_list<base::Cidr>(fields.get("notSourceIps"), cidr));
    to.destination_ips.any_of = TRY(read_list<base::Cidr>(fields.get("destinationIps"), cidr));
    to.destination_ips.none_of = TRY(read_list<base::Cidr>(fields.get("notDestinationIps"), cidr));
    to.destination_ports.any_of = TRY(read_list<uint16_t>(fields.get("destinationPorts"), port));
    to.destination_ports.none_of = TRY(read_list<uint16_t>(fields.get("notDestinationPorts"), port));
    return to;
}

}  // namespace

Result<PolicySpec> read_policy(Node node, TextPool& pool) {
    const Fields fields = TRY(Fields::of(node, {"name", "namespace", "scope", "action", "rules", "dryRun"}));
    PolicySpec to;
    to.name = pool.intern(TRY(read_string(TRY(fields.need("name")))));
    to.ns = pool.intern(TRY(read_string(TRY(fields.need("namespace")))));
    to.key = pool.intern(to.ns.str() + "/" + to.name.str());
    to.scope =
        TRY(read_word<Scope>(TRY(fields.need("scope")),
                             {{"Global", Scope::Global}, {"Namespace", Scope::Namespace}, {"WorkloadSelector", Scope::WorkloadSelector}}));
    to.action = TRY(read_word<PolicyAction>(TRY(fields.need("action")), {{"Allow", PolicyAction::Allow}, {"Deny", PolicyAction::Deny}}));
    to.dry_run = TRY(read_bool(TRY(fields.need("dryRun"))));
    auto match = [&](Node one) { return read_match(one, pool); };
    auto clause = [&](Node one) { return read_list<Match>(one, match); };
    auto rule = [&](Node one) { return read_list<Clause>(one, clause); };
    to.rules = TRY(read_list<Rule>(TRY(fields.need("rules")), rule));
    return to;
}

}  // namespace warren::policy
