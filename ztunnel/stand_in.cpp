// SPDX-License-Identifier: Apache-2.0
#include "ztunnel/stand_in.h"

#include <memory>
#include <string>

namespace warren::ztunnel {

policy::WorkloadRef make_stand_in(const StandIn& who, base::IpAddr address) {
    using policy::Text;
    auto pod = std::make_unique<policy::Workload>();
    pod->uid = Text(std::string(who.cluster_id) + "//Pod/" + std::string(who.ns) + '/' + std::string(who.name));
    pod->name = Text(who.name);
    pod->ns = Text(who.ns);
    pod->service_account = Text(who.service_account);
    pod->trust_domain = who.neighbour != nullptr ? who.neighbour->trust_domain : Text(who.trust_domain);
    pod->network = who.network;
    pod->node = Text(who.node);
    pod->cluster_id = Text(who.cluster_id);
    if (who.neighbour != nullptr) pod->locality = who.neighbour->locality;
    pod->addresses = {address};
    pod->tunnel_protocol = policy::TunnelProtocol::Hbone;
    pod->type = policy::WorkloadType::Pod;
    return policy::WorkloadRef(pod.release());
}

}  // namespace warren::ztunnel
