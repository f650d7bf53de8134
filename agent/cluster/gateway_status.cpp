// SPDX-License-Identifier: Apache-2.0
#include "agent/cluster/gateway_status.h"

#include "agent/cluster/keys.h"
#include "base/bytes.h"

#include <algorithm>

namespace warren::cluster {

namespace {

Told accepted(bool status, std::string reason, std::string message) {
    return {ConditionType::Accepted, status, std::move(reason), std::move(message)};
}
Told programmed(bool status, std::string reason, std::string message) {
    return {ConditionType::Programmed, status, std::move(reason), std::move(message)};
}

}  // namespace

bool leads_elsewhere(const Gateway& gateway) { return gateway.class_name == "istio-remote"; }

const Listener* hbone_listener(const Gateway& gateway) {
    const auto found = std::find_if(gateway.listeners.begin(), gateway.listeners.end(),
                                    [](const Listener& l) { return l.protocol == "HBONE" && l.port != 0; });
    return found == gateway.listeners.end() ? nullptr : &*found;
}

GatewayDetails tell_gateway(const Gateway& gateway, Diagnostics& problems) {
    GatewayDetails out;
    const std::string network(label(gateway.meta.labels, keys::kNetwork));
    const Listener* used = hbone_listener(gateway);
    for (const GatewayAddress& address : gateway.spec_addresses)
        if (!address.value.empty()) out.addresses.push_back(address);
    const bool leads = !network.empty() && used != nullptr && !out.addresses.empty();
    const std::string unusable = "the gateway leads nowhere";
    for (const Listener& listener : gateway.listeners) {
        GatewayDetails::Listener one{listener.name, {}};
        if (&listener == used) {
            one.told.push_back(accepted(true, "Accepted", "connections to the network take it"));
            one.told.push_back(leads ? programmed(true, "Programmed", "known to every node") : programmed(false, "Invalid", unusable));
        } else {
            const std::string why =
                listener.protocol == "HBONE" ? "another HBONE listener comes first" : "only HBONE leads to another network";
            one.told.push_back(accepted(false, listener.protocol == "HBONE" ? "Invalid" : "UnsupportedProtocol", why));
            one.told.push_back(programmed(false, "Invalid", why));
        }
        out.listeners.push_back(std::move(one));
    }
    if (network.empty())
        problems.tell(accepted(false, "Invalid", "label " + std::string(keys::kNetwork) + " is missing: it names the network behind"));
    else if (used == nullptr)
        problems.tell(accepted(false, "ListenersNotValid", "there is no listener of protocol HBONE with a port"));
    else
        problems.tell(accepted(true, "Accepted", "the way into network " + base::quoted(network)));
    if (leads)
        problems.tell(programmed(true, "Programmed", "known to every node"));
    else if (network.empty() || used == nullptr)
        problems.tell(programmed(false, "Invalid", unusable));
    else
        problems.tell(programmed(false, "AddressNotAssigned", "spec.addresses names no address; give the gateway's"));
    if (!leads) out.addresses.clear();
    return out;
}

}  // namespace warren::cluster
