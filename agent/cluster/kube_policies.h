// SPDX-License-Identifier: Apache-2.0
// AuthorizationPolicy and PeerAuthentication as read (Kubernetes contract 3.3 to 3.6). Plain values.
//
// A list remembers that a value of it did not parse: whether such a value may be left out depends on the action of the policy, which the
// conversion decides. HTTP fields are kept by name only: a node proxy cannot judge them.
#pragma once

#include "agent/cluster/object_meta.h"
#include "base/ip.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace warren::cluster {

// One list of a matcher, such as source.ipBlocks.
template <class T>
struct Values {
    std::vector<T> good;
    bool given = false;  // the list had values, good or bad
    bool bad = false;    // some did not parse
    std::string where;   // "FILE:LINE: FIELD" when given
    bool operator==(const Values&) const = default;
};

// The prefix as written, host bits included.
struct IpBlock {
    base::IpAddr ip;
    unsigned length = 0;
    bool operator==(const IpBlock&) const = default;
};

struct AccountName {
    std::string ns, name;
    bool operator==(const AccountName&) const = default;
};

// A positive list and its negation.
template <class T>
struct Both {
    Values<T> is, is_not;
    bool operator==(const Both&) const = default;
};

struct MatchSpec {
    Both<std::string> principals, namespaces;
    Both<AccountName> service_accounts;
    Both<IpBlock> source_ips, destination_ips;
    Both<uint16_t> ports;
    std::vector<std::string> http;  // the names of fields that only a waypoint can judge
    bool operator==(const MatchSpec&) const = default;
};

struct RuleSpec {
    std::vector<MatchSpec> from, to, when;
    bool operator==(const RuleSpec&) const = default;
};

// What a policy for waypoints is for.
struct PolicyTarget {
    std::string group, kind, ns, name;  // ns as given: empty is the policy's own
    bool operator==(const PolicyTarget&) const = default;
};

enum class AuthorizationAction : uint8_t { Allow, Deny, Audit, Custom };

struct AuthorizationPolicy {
    ObjectMeta meta;
    std::optional<LabelMap> selector;  // matchLabels
    bool has_target = false;           // targetRef or targetRefs: for a waypoint
    std::vector<PolicyTarget> targets;
    bool unread = false;  // stands for one that could not be read: see strictest_reading
    AuthorizationAction action = AuthorizationAction::Allow;
    std::vector<RuleSpec> rules;
    bool operator==(const AuthorizationPolicy&) const = default;
};

enum class MtlsMode : uint8_t { Unset, Disable, Permissive, Strict };

struct PeerAuthentication {
    ObjectMeta meta;
    std::optional<LabelMap> selector;
    MtlsMode mode = MtlsMode::Unset;
    std::map<uint16_t, MtlsMode> ports;
    bool operator==(const PeerAuthentication&) const = default;
};

}  // namespace warren::cluster
