// SPDX-License-Identifier: Apache-2.0
// Which names of the mesh a DNS question may mean, and what they answer (data-plane contract 8.7, the pure half: no sockets, no wire
// format). The DNS proxy asks resolve_name() for A and AAAA questions and forwards what it does not know. Pure; any thread.
#pragma once

#include "policy/random.h"
#include "policy/snapshot.h"

#include <string>
#include <string_view>
#include <vector>

namespace warren::policy {

struct NameSettings {
    std::string cluster_domain = "cluster.local";
    std::string preferred_namespace;          // PREFERED_SERVICE_NAMESPACE; empty: none
    bool ipv6 = true;                         // off: AAAA questions about services answer nothing
    std::vector<std::string> search_domains;  // empty: those that Kubernetes gives every pod (shared mode)
};

enum class AddressType : uint8_t { V4, V6 };  // A, AAAA

struct NameQuestion {
    std::string_view name;  // any case, with or without the root dot
    AddressType type = AddressType::V4;
    const Workload* client = nullptr;  // must be known: the caller answers SERVFAIL otherwise
};

struct NameAnswer {
    enum class Kind : uint8_t {
        Forward,    // not ours
        NoData,     // ours, with no address of that type: NOERROR, empty, authoritative
        Addresses,  // authoritative
    };
    Kind kind = Kind::Forward;
    // Not empty: the answer starts with CNAME question -> cname, and the address records stand at cname; else at the question's name.
    std::string cname;
    std::vector<base::IpAddr> addresses;  // in random order
    ServiceRef service;                   // who answered
};

[[nodiscard]] NameAnswer resolve_name(const Snapshot& snapshot, const NameQuestion& question, const NameSettings& settings, Random& random);

// The parts, for tests. Names are lower case without the root dot.
struct NameCandidate {
    std::string name;
    std::string stripped;  // the question's name without the search domain, where one was taken off; else empty
};
[[nodiscard]] std::vector<NameCandidate> name_candidates(std::string_view name, std::string_view ns, const NameSettings& settings);
// "a.ns" -> "a.ns.svc.cluster.local", "a.ns.<client namespace>.svc.cluster.local"; only what fits the number of labels.
[[nodiscard]] std::vector<std::string> kube_expansions(std::string_view name, std::string_view ns, std::string_view cluster_domain);
// "a.b.c" -> "a.b.c", "*.b.c", "*.c"
[[nodiscard]] std::vector<std::string> with_wildcards(std::string_view name);

}  // namespace warren::policy
