// SPDX-License-Identifier: Apache-2.0
// AuthorizationPolicy and PeerAuthentication. Unlike elsewhere, unknown fields are refused: a matcher misspelt and left out would widen
// a rule.
#include "agent/cluster/read_kinds.h"
#include "base/bytes.h"
#include "policy/fields_yaml.h"

#include <algorithm>
#include <charconv>

namespace warren::cluster {

using policy::Node;

namespace {

std::optional<std::string> parse_text(std::string_view text) {
    return text.empty() ? std::nullopt : std::optional(std::string(text));  // "" would match peers without identity
}

std::optional<uint16_t> parse_port(std::string_view text) {
    uint16_t port = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
    return failed == std::errc{} && end == text.data() + text.size() ? std::optional(port) : std::nullopt;
}

std::optional<IpBlock> parse_block(std::string_view text) {
    const auto cidr = base::Cidr::parse(text);
    const auto ip = base::IpAddr::parse(text.substr(0, text.find('/')));
    return cidr && ip ? std::optional(IpBlock{*ip, cidr->length()}) : std::nullopt;
}

// "NS/NAME", or NAME of the policy's own namespace; no wildcards.
std::optional<AccountName> parse_account(std::string_view text, std::string_view ns) {
    const size_t slash = text.find('/');
    AccountName out{std::string(ns), std::string(text)};
    if (slash != std::string_view::npos) out = {std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
    const bool whole = !out.ns.empty() && !out.name.empty() && out.name.find('/') == std::string::npos;
    return whole && text.find('*') == std::string_view::npos ? std::optional(out) : std::nullopt;
}

template <class T, class Parse>
Values<T> read_values(const FieldMap& map, std::string_view key, Parse parse, std::string_view wanted) {
    Values<T> out;
    for (const Node node : map.list(key)) {
        out.given = true;
        const auto text = map.reading().take(policy::read_string(node));
        if (!text) continue;
        if (auto value = parse(*text)) {
            out.good.push_back(std::move(*value));
        } else if (!out.bad) {
            out.bad = true;
            out.where = node.refuse(base::quoted(*text) + " is not " + std::string(wanted)).detail;
        }
    }
    return out;
}

class RuleReader {
  public:
    explicit RuleReader(std::string_view ns) : ns_(ns) {}

    RuleSpec rule(const FieldMap& map) const {
        map.only({"from", "to", "when"});
        RuleSpec out;
        for (const FieldMap& from : map.maps("from")) {
            from.only({"source"});
            out.from.push_back(source(from, from.map("source")));
        }
        for (const FieldMap& to : map.maps("to")) {
            to.only({"operation"});
            out.to.push_back(operation(to, to.map("operation")));
        }
        for (const FieldMap& when : map.maps("when")) out.when.push_back(condition(when));
        return out;
    }

  private:
    Values<std::string> texts(const FieldMap& map, std::string_view key) const {
        return read_values<std::string>(map, key, parse_text, "allowed; give a text, or * for any");
    }
    Values<uint16_t> ports(const FieldMap& map, std::string_view key) const {
        return read_values<uint16_t>(map, key, parse_port, "a port; give 0 to 65535");
    }
    Values<IpBlock> blocks(const FieldMap& map, std::string_view key) const {
        return read_values<IpBlock>(map, key, parse_block, "an address or prefix; give 10.0.0.1 or 10.0.0.0/8");
    }
    Values<AccountName> accounts(const FieldMap& map, std::string_view key) const {
        return read_values<AccountName>(
            map, key, [this](std::string_view text) { return parse_account(text, ns_); },
            "a service account; give NAMESPACE/NAME, or NAME for one of this namespace, without *");
    }

    static void http(const FieldMap& map, std::initializer_list<std::string_view> keys, MatchSpec& to) {
        for (const std::string_view key : keys)
            if (!map.texts(key).empty()) to.http.emplace_back(key);
    }

    MatchSpec source(const FieldMap& outer, const FieldMap& map) const {
        map.only({"principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts", "ipBlocks",
                  "notIpBlocks", "requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks"});
        MatchSpec out;
        out.principals = {texts(map, "principals"), texts(map, "notPrincipals")};
        out.namespaces = {texts(map, "namespaces"), texts(map, "notNamespaces")};
        out.service_accounts = {accounts(map, "serviceAccounts"), accounts(map, "notServiceAccounts")};
        out.source_ips = {blocks(map, "ipBlocks"), blocks(map, "notIpBlocks")};
        http(map, {"requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks"}, out);
        need_something(outer, out, "source names nothing; name at least one principal, namespace, serviceAccount or ipBlock");
        return out;
    }

    MatchSpec operation(const FieldMap& outer, const FieldMap& map) const {
        map.only({"hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"});
        MatchSpec out;
        out.ports = {ports(map, "ports"), ports(map, "notPorts")};
        http(map, {"hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"}, out);
        need_something(outer, out, "operation names nothing; name at least one port, or leave out \"to\"");
        return out;
    }

    MatchSpec condition(const FieldMap& map) const {
        map.only({"key", "values", "notValues"});
        MatchSpec out;
        const std::string key = map.text("key");
        if (key == "source.principal") {
            out.principals = {texts(map, "values"), texts(map, "notValues")};
        } else if (key == "source.namespace") {
            out.namespaces = {texts(map, "values"), texts(map, "notValues")};
        } else if (key == "source.ip") {
            out.source_ips = {blocks(map, "values"), blocks(map, "notValues")};
        } else if (key == "destination.ip") {
            out.destination_ips = {blocks(map, "values"), blocks(map, "notValues")};
        } else if (key == "destination.port") {
            out.ports = {ports(map, "values"), ports(map, "notValues")};
        } else if (!key.empty()) {
            out.http.push_back(key);
        } else {
            map.reading().refuse(map.node(), "key is missing; give one such as source.namespace");
        }
        if (map.list("values").empty() && map.list("notValues").empty())
            map.reading().refuse(map.node(), "has neither values nor notValues; give one of them");
        return out;
    }

    static void need_something(const FieldMap& outer, const MatchSpec& m, std::string_view why) {
        const auto given = [](const auto& both) { return both.is.given || both.is_not.given; };
        if (given(m.principals) || given(m.namespaces) || given(m.service_accounts) || given(m.source_ips) || given(m.ports)) return;
        if (m.http.empty()) outer.reading().refuse(outer.node(), why);
    }

    std::string_view ns_;
};

std::optional<LabelMap> read_selector(const FieldMap& spec) {
    const FieldMap selector = spec.map("selector");
    if (!selector) return std::nullopt;
    selector.only({"matchLabels"});
    return selector.labels("matchLabels");
}

void read_targets(const FieldMap& spec, AuthorizationPolicy& to) {
    std::vector<FieldMap> given = spec.maps("targetRefs");
    if (const FieldMap one = spec.map("targetRef")) given.push_back(one);
    for (const FieldMap& target : given)
        to.targets.push_back({target.text("group"), target.text("kind"), target.text("namespace"), target.text("name")});
    to.has_target = !to.targets.empty();
}

MtlsMode read_mode(const FieldMap& mtls) {
    mtls.only({"mode"});
    return mtls.word(
        "mode", MtlsMode::Unset,
        {{"UNSET", MtlsMode::Unset}, {"DISABLE", MtlsMode::Disable}, {"PERMISSIVE", MtlsMode::Permissive}, {"STRICT", MtlsMode::Strict}});
}

}  // namespace

AuthorizationPolicy read_authorization_policy(const FieldMap& object) {
    using Action = AuthorizationAction;
    AuthorizationPolicy out;
    out.meta = read_meta(object, true);
    read_told(object, {ConditionType::ZtunnelAccepted, ConditionType::WaypointAccepted}, out.meta);
    const FieldMap spec = object.map("spec");
    spec.only({"selector", "targetRef", "targetRefs", "rules", "action", "provider"});
    out.selector = read_selector(spec);
    read_targets(spec, out);
    out.action = spec.word("action", Action::Allow,
                           {{"ALLOW", Action::Allow}, {"DENY", Action::Deny}, {"AUDIT", Action::Audit}, {"CUSTOM", Action::Custom}});
    const RuleReader reader(out.meta.ns);
    for (const FieldMap& rule : spec.maps("rules")) out.rules.push_back(reader.rule(rule));
    return out;
}

PeerAuthentication read_peer_authentication(const FieldMap& object) {
    PeerAuthentication out;
    out.meta = read_meta(object, true);
    const FieldMap spec = object.map("spec");
    spec.only({"selector", "mtls", "portLevelMtls"});
    out.selector = read_selector(spec);
    out.mode = read_mode(spec.map("mtls"));
    const FieldMap ports = spec.map("portLevelMtls");
    for (const auto& [key, value] : ports.entries()) {
        const auto port = ports.reading().take(policy::read_number(key, 65535));
        const MtlsMode mode = read_mode(FieldMap(value, ports.reading()));
        if (port) out.ports.emplace(static_cast<uint16_t>(*port), mode);
    }
    return out;
}

}  // namespace warren::cluster
