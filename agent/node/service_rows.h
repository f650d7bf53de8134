// SPDX-License-Identifier: Apache-2.0
// The rows of one service's addresses and ports (bpf/abi.h, wr_services and wr_endpoints): the very candidates and weights that
// policy/endpoint_choice.h draws from, as seen by the pods of this node. Only for services that have an endpoint here: for any other the
// tunnel draws, and no row says the same. Where the pods of the node would not all draw alike, or the tunnel would not simply draw, the
// row says so and draws nothing. Pure; any thread.
#pragma once

#include "agent/node/mesh_view.h"
#include "bpf/abi.h"
#include "policy/service_index.h"

#include <map>
#include <vector>

namespace warren::node {

// Why a service address is not drawn from in the kernel.
enum class NotDrawn : uint8_t {
    No,  // it is
    Waypoint,
    Passthrough,
    OtherNetwork,     // an endpoint is, or a pod of this node
    NoAddress,        // an endpoint has only a hostname, or no address of the family that was asked for
    TunnelPort,       // an endpoint's port is one of the tunnel's own
    DependsOnClient,  // the pods of this node do not all see the same service or endpoints there
    NotAllLocal,      // and the tunnel is not ours, so it could not be told which one was drawn
    TooManyEndpoints,
};
[[nodiscard]] std::string_view to_string(NotDrawn why);

struct ServiceRows {
    base::SockAddr address;
    NotDrawn not_drawn = NotDrawn::No;
    uint32_t flags = 0;                      // wr_service_flag
    std::vector<wr_endpoint_row> endpoints;  // empty when not drawn
};

// What the rows of all services share; borrows the view.
class ServiceContext {
  public:
    ServiceContext(const MeshView& view, bool tunnel_is_ours, size_t most_endpoints);

    [[nodiscard]] std::vector<ServiceRows> rows(const policy::ServiceEntry& entry) const;
    // Which of the service's addresses are its own, for all pods or for some of them: what rows() depends on beside the entry and the
    // view's version.
    enum class Seen : uint8_t { Nobody, Some, All };
    [[nodiscard]] std::vector<Seen> seen(const policy::ServiceEntry& entry) const;

  private:
    [[nodiscard]] Seen seen_at(const policy::ServiceEntry& entry, const policy::NetworkAddress& vip) const;
    [[nodiscard]] ServiceRows row(const policy::ServiceEntry& entry, const base::SockAddr& address, Seen seen, bool& local) const;
    [[nodiscard]] NotDrawn endpoints(const policy::ServiceEntry& entry, ServiceRows& out, bool& local) const;
    [[nodiscard]] const Member* local_endpoint(const policy::Workload& workload, base::IpAddr ip) const;
    [[nodiscard]] static bool open_to_all(const Member& destination);

    const MeshView& view_;
    bool tunnel_is_ours_;
    size_t most_endpoints_;
    bool one_network_ = true;
    std::vector<policy::Text> namespaces_;              // of the pods
    std::vector<const policy::Workload*> standpoints_;  // one pod's record of each place: locality, node, cluster
    std::map<const policy::Workload*, const Member*> local_;
};

}  // namespace warren::node
