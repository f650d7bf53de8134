// SPDX-License-Identifier: Apache-2.0
// A NetworkPolicy as an API server tells of it: what reads, or shuts its namespace, is asked about ports, which are in order.
#include "agent/node/kube_network_policy.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace warren::node;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    NetworkPolicies policies;
    const bool read = policies.put("a", "p", text).has_value();
    if (policies.size() != 1 || policies.unread() != (read ? 0u : 1u)) std::abort();
    KubePod from, to;
    from.ns = to.ns = "a";
    to.labels = {{"app", "web"}};
    to.ports = {{"http", 8080}};
    const auto a = policies.network_of(from, {}), b = policies.network_of(to, {{"team", "x"}});
    const OpenPorts open = open_ports(*a.pod, *b.pod);
    if ((!read && !open.ports.empty()) || (open.ingress || open.egress) == all_ports(open.ports)) std::abort();
    for (size_t i = 1; i < open.ports.size(); ++i)
        if (open.ports[i].first <= open.ports[i - 1].last + 1) std::abort();
    policies.remove("a", "p");
    if (policies.size() != 0 || policies.unread() != 0) std::abort();
    return 0;
}
