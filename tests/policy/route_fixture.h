// SPDX-License-Identifier: Apache-2.0
// One call for the tests of route(): the source is ns1/client at 10.0.0.1 unless the test builds another one under that name.
#pragma once

#include "policy/route.h"
#include "tests/policy/mesh_fixture.h"

#include <algorithm>
#include <set>

namespace warren::tests {

struct RouteScene {
    MeshFixture mesh;
    std::string source = "ns1/client";
    std::string client = "10.0.0.1";
    std::string network;
    std::vector<policy::Text> exclude;
    const policy::Text* pinned = nullptr;
    bool loopback_ports_illegal = true;

    // Applies what was built since the last call, then routes.
    policy::Route to(std::string_view destination, uint64_t seed = 1) {
        snapshot_ = mesh.snapshot();
        return again(destination, seed);
    }
    policy::Route again(std::string_view destination, uint64_t seed) const {
        policy::Random random(seed);
        policy::RouteRequest request;
        request.source = snapshot_->workload(MeshFixture::uid(source));
        request.client = ip(client);
        request.destination = sock(destination);
        request.network = policy::Text(network);
        request.loopback_ports_illegal = loopback_ports_illegal;
        request.pinned_endpoint = pinned;
        request.exclude = exclude;
        return policy::route(*snapshot_, request, random);
    }

  private:
    std::shared_ptr<const policy::Snapshot> snapshot_;
};

inline std::string name_of(const policy::WorkloadRef& w) { return w ? w->name.str() : ""; }

inline std::vector<std::string> uris(const std::vector<policy::Identity>& identities) {
    std::vector<std::string> out;
    for (const policy::Identity& i : identities) out.push_back(i.uri());
    return out;
}

// A route on one line: "hbone 10.0.0.2:15008 authority 10.0.0.2:80", "refuse no_such_port".
inline std::string line(const policy::Route& r) {
    const std::string tcp = r.resolve_hostname.empty() ? r.tcp_destination.to_string()
                                                       : r.resolve_hostname.str() + ':' + std::to_string(r.tcp_destination.port);
    switch (r.action) {
        case policy::RouteAction::Refuse: return "refuse " + std::string(to_string(r.reason));
        case policy::RouteAction::Passthrough: return "passthrough " + tcp + ' ' + std::string(to_string(r.reason));
        case policy::RouteAction::Direct: return "direct " + tcp;
        case policy::RouteAction::Hbone: return "hbone " + tcp + " authority " + r.authority;
        case policy::RouteAction::DoubleHbone: return "double " + tcp + " authority " + r.authority;
    }
    return "?";
}

}  // namespace warren::tests
