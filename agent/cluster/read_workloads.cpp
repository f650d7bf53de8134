// SPDX-License-Identifier: Apache-2.0
// An entry of the plain list of workloads (docs/controller.md), for machines without Kubernetes: the Pod that would say the same.
#include "agent/cluster/keys.h"
#include "agent/cluster/read_kinds.h"
#include "policy/fields_yaml.h"

namespace warren::cluster {

namespace {

constexpr size_t kMaxAddresses = 16;

bool flag_or(const FieldMap& map, std::string_view key, bool absent) { return map.get(key) ? map.flag(key) : absent; }

}  // namespace

Pod read_workload(const FieldMap& entry) {
    // A misspelt field would change who may be reached, or as whom, without a word.
    entry.only({"name", "namespace", "serviceAccount", "node", "addresses", "labels", "ports", "ready", "mesh", "hostNetwork"});
    Pod out;
    out.meta = read_name(entry, entry, true);
    out.service_account = entry.text("serviceAccount");
    if (out.service_account.empty()) out.service_account = "default";
    out.node = entry.text("node");
    for (const policy::Node address : entry.list("addresses"))
        if (const auto ip = entry.reading().take(policy::read_ip(address))) out.ips.push_back(*ip);
    if (!entry.reading().failed && (out.ips.empty() || out.ips.size() > kMaxAddresses))
        entry.reading().refuse(entry.node(), "addresses is missing, empty or longer than 16; list the IP addresses of the workload");
    const FieldMap ports = entry.map("ports");
    for (const auto& [name, number] : ports.entries()) out.tcp_ports.push_back({std::string(name.text()), ports.port(name.text())});
    out.phase = "Running";
    out.ready = flag_or(entry, "ready", true);
    out.host_network = flag_or(entry, "hostNetwork", false);
    if (flag_or(entry, "mesh", true)) out.meta.annotations.emplace(keys::kRedirection, "enabled");
    return out;
}

}  // namespace warren::cluster
