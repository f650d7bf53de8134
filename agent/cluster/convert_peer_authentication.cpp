// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/convert_peer_authentication.h"

#include <algorithm>

namespace warren::cluster {

namespace {

using istio::security::Authorization;
using istio::security::Match;
using istio::security::Rule;

bool selects_some(const PeerAuthentication& object) { return object.selector && !object.selector->empty(); }

bool open_port(MtlsMode mode) { return mode == MtlsMode::Permissive || mode == MtlsMode::Disable; }

bool any_port(const PeerAuthentication& object, bool (*fits)(MtlsMode)) {
    return std::any_of(object.ports.begin(), object.ports.end(), [&](const auto& port) { return fits(port.second); });
}

enum class Named : uint8_t { Nothing, StaticStrict, Converted };

// What the workloads of an object name.
Named named_by(const PeerAuthentication& object, bool parents_strict) {
    const auto strict = [](MtlsMode m) { return m == MtlsMode::Strict; };
    const auto permissive = [](MtlsMode m) { return m == MtlsMode::Permissive; };
    switch (object.mode) {
        case MtlsMode::Strict: return any_port(object, open_port) ? Named::Converted : Named::StaticStrict;
        case MtlsMode::Permissive:
        case MtlsMode::Disable: return any_port(object, strict) ? Named::Converted : Named::Nothing;
        case MtlsMode::Unset: break;
    }
    // Inherited STRICT with a port on DISABLE alone stays strict throughout: the reference looks for PERMISSIVE only. Too strict is kept.
    if (parents_strict) return any_port(object, permissive) ? Named::Converted : Named::StaticStrict;
    return any_port(object, strict) ? Named::Converted : Named::Nothing;
}

std::string converted_name(const PeerAuthentication& object) { return "converted_peer_authentication_" + object.meta.name; }

Match& only_match(Rule& rule) { return *rule.add_clauses()->add_matches(); }

void deny_plaintext(Match& match) { match.add_not_principals()->mutable_presence(); }

// One rule: peers without identity, on every port but the exceptions.
void add_strict_rule(const PeerAuthentication& object, Authorization& to) {
    Rule& rule = *to.add_rules();
    if (object.mode == MtlsMode::Strict) deny_plaintext(only_match(rule));
    for (const auto& [port, mode] : object.ports)
        if (open_port(mode)) only_match(rule).add_not_destination_ports(port);
    if (object.mode != MtlsMode::Strict) deny_plaintext(only_match(rule));
}

// A rule per strict port: peers without identity on that port.
void add_port_rules(const PeerAuthentication& object, Authorization& to) {
    for (const auto& [port, mode] : object.ports) {
        if (mode != MtlsMode::Strict) continue;
        Match& match = only_match(*to.add_rules());
        match.add_destination_ports(port);
        deny_plaintext(match);
    }
}

}  // namespace

Authorization static_strict_policy(const Settings& settings) {
    Authorization out;
    out.set_name(std::string(kStaticStrictName));
    out.set_namespace_(settings.root_namespace);
    out.set_scope(istio::security::WORKLOAD_SELECTOR);
    out.set_action(istio::security::DENY);
    deny_plaintext(only_match(*out.add_rules()));
    return out;
}

bool PeerModes::strict() const {
    if (ns != nullptr && ns->mode != MtlsMode::Unset) return ns->mode == MtlsMode::Strict;
    return mesh != nullptr && mesh->mode == MtlsMode::Strict;
}

PeerModes peer_modes(std::span<const PeerAuthentication* const> all, std::string_view ns, const Settings& settings) {
    PeerModes out;
    const auto keep_older = [](const PeerAuthentication*& kept, const PeerAuthentication& object) {
        if (kept == nullptr || older(object.meta, kept->meta)) kept = &object;
    };
    for (const PeerAuthentication* each : all) {
        const PeerAuthentication& object = *each;
        const bool root = object.meta.ns == settings.root_namespace;
        if (root && !selects_some(object)) keep_older(out.mesh, object);
        if (root || object.meta.ns != ns) continue;  // a selector in the root namespace selects nothing
        if (selects_some(object))
            out.selecting.push_back(&object);
        else
            keep_older(out.ns, object);
    }
    std::sort(out.selecting.begin(), out.selecting.end(),
              [](const PeerAuthentication* a, const PeerAuthentication* b) { return older(a->meta, b->meta); });
    return out;
}

std::string peer_policy_key(const PeerModes& modes, const LabelMap& labels, const Settings& settings) {
    const auto own = std::find_if(modes.selecting.begin(), modes.selecting.end(),
                                  [&](const PeerAuthentication* object) { return is_subset(*object->selector, labels); });
    Named named = modes.strict() ? Named::StaticStrict : Named::Nothing;
    if (own != modes.selecting.end()) named = named_by(**own, modes.strict());
    switch (named) {
        case Named::Nothing: return "";
        case Named::StaticStrict: return settings.root_namespace + '/' + std::string(kStaticStrictName);
        case Named::Converted: return (*own)->meta.ns + '/' + converted_name(**own);
    }
    return "";
}

std::optional<Authorization> convert_peer_authentication(const PeerAuthentication& object, const PeerModes& modes) {
    if (!selects_some(object) || object.ports.empty()) return std::nullopt;
    const bool strict = object.mode == MtlsMode::Strict || (object.mode == MtlsMode::Unset && modes.strict());
    bool wanted = named_by(object, modes.strict()) == Named::Converted;
    // Nobody names this one (see named_by); the reference still publishes it, unless an object of the namespace inherits in its turn.
    if (!wanted && strict && object.mode == MtlsMode::Unset)
        wanted = any_port(object, open_port) && !(modes.ns != nullptr && modes.ns->mode == MtlsMode::Unset);
    if (!wanted) return std::nullopt;

    Authorization out;
    out.set_name(converted_name(object));
    out.set_namespace_(object.meta.ns);
    out.set_scope(istio::security::WORKLOAD_SELECTOR);
    out.set_action(istio::security::DENY);
    if (strict)
        add_strict_rule(object, out);
    else
        add_port_rules(object, out);
    return out;
}

}  // namespace warren::cluster
