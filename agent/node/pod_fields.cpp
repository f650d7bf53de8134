// SPDX-License-Identifier: Apache-2.0
#include "agent/node/pod_fields.h"

#include "policy/fields_yaml.h"

#include <string>
#include <string_view>
#include <utility>

namespace warren::node {

namespace {

using policy::Fields;
using policy::Node;

constexpr uint32_t kMostPid = 1u << 22;  // PID_MAX_LIMIT of 64-bit kernels

base::Result<std::string> need_name(const Fields& fields, std::string_view key) {
    const Node node = TRY(fields.need(key));
    const std::string_view text = TRY(policy::read_string(node));
    // Names of Kubernetes: they go into ids, paths of logs and messages of 1,024 bytes.
    if (text.empty() || text.size() > 253) return node.refuse("give 1 to 253 characters");
    return std::string(text);
}

base::Result<std::map<std::string, std::string>> read_strings(Node node) {
    std::map<std::string, std::string> out;
    if (!node) return out;
    for (const auto& [key, value] : TRY(policy::read_entries(node)))
        out.emplace(TRY(policy::read_string(key)), TRY(policy::read_string(value)));
    return out;
}

base::Result<void> read_flag(const Fields& fields, std::string_view key, bool& to) {
    if (const Node node = fields.get(key)) to = TRY(policy::read_bool(node));
    return {};
}

base::Result<NetnsRef> read_netns(Node pod, const Fields& fields, bool host_network) {
    const Node path = fields.get("netns");
    const Node pid = fields.get("pid");
    if (path && pid) return pid.refuse("netns is given too; give one of them");
    if (!path && !pid && !host_network) return pod.refuse("it has neither netns (a path) nor pid; give one of them");
    NetnsRef ref;
    if (path) {
        ref.path = TRY(policy::read_string(path));
        if (!ref.path.starts_with('/')) return path.refuse("give an absolute path, for example /run/netns/NAME");
    }
    if (pid) {
        ref.pid = static_cast<pid_t>(TRY(policy::read_number(pid, kMostPid)));
        if (ref.pid == 0) return pid.refuse("0 is no process; give one of the pod's");
    }
    return ref;
}

}  // namespace

base::Result<std::vector<Node>> pod_nodes(Node root) {
    std::vector<Node> out;
    const Fields fields = TRY(Fields::of(root, {"pods"}));
    for (const Node node : TRY(policy::read_sequence(TRY(fields.need("pods"))))) out.push_back(node);
    return out;
}

base::Result<Pod> read_pod(Node node, bool dns_capture) {
    const Fields fields = TRY(Fields::of(node, {"uid", "name", "namespace", "serviceAccount", "netns", "pid", "addresses", "labels",
                                                "annotations", "hostNetwork", "enrolment", "dnsCapture", "ingressCapture", "direct"}));
    Pod pod;
    pod.name = TRY(need_name(fields, "name"));
    pod.namespace_name = TRY(need_name(fields, "namespace"));
    pod.service_account = fields.get("serviceAccount") ? TRY(need_name(fields, "serviceAccount")) : "default";
    pod.uid = fields.get("uid") ? TRY(need_name(fields, "uid")) : "file:" + pod.namespace_name + "/" + pod.name;
    TRY(read_flag(fields, "hostNetwork", pod.host_network));
    pod.dns_capture = dns_capture;
    TRY(read_flag(fields, "dnsCapture", pod.dns_capture));
    TRY(read_flag(fields, "ingressCapture", pod.ingress_capture));
    TRY(read_flag(fields, "direct", pod.direct));
    pod.netns = TRY(read_netns(node, fields, pod.host_network));
    pod.labels = TRY(read_strings(fields.get("labels")));
    pod.annotations = TRY(read_strings(fields.get("annotations")));
    TRY(policy::read_word(fields, "enrolment", {{"enrolled", Membership::Enrolled}, {"observed", Membership::Observed}}, pod.membership));
    pod.addresses = TRY(policy::read_list<base::IpAddr>(fields.get("addresses"), [](Node address) -> base::Result<base::IpAddr> {
        const base::IpAddr ip = TRY(policy::read_ip(address));
        if (ip.is_loopback() || ip.is_unspecified()) return address.refuse("no pod can be reached there; give the pod's own address");
        return ip;
    }));
    return pod;
}

}  // namespace warren::node
