// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kube_pod.h"

#include "agent/node/kube_json.h"

#include <algorithm>
#include <utility>

namespace warren::node {

namespace {

constexpr size_t kMaxAddresses = 64;

// An address that does not parse is left out: the others still say where the pod is.
std::vector<base::IpAddr> read_addresses(const Json& status) {
    std::vector<base::IpAddr> out;
    const auto take = [&out](const Json& ip) {
        if (!ip.is_string() || out.size() == kMaxAddresses) return;
        const auto parsed = base::IpAddr::parse(ip.get_ref<const std::string&>());
        if (parsed && std::find(out.begin(), out.end(), *parsed) == out.end()) out.push_back(*parsed);
    };
    if (const Json& list = member(status, "podIPs"); list.is_array())
        for (const Json& entry : list) take(member(entry, "ip"));
    take(member(status, "podIP"));
    return out;
}

// Of TCP. One that is none is left out: a NetworkPolicy that names it allows nothing then.
std::map<std::string, uint16_t> read_ports(const Json& spec) {
    std::map<std::string, uint16_t> out;
    const Json& containers = member(spec, "containers");
    if (!containers.is_array()) return out;
    for (const Json& container : containers) {
        const Json& ports = member(container, "ports");
        if (!ports.is_array()) continue;
        for (const Json& port : ports) {
            const Json &name = member(port, "name"), &number = member(port, "containerPort"), &protocol = member(port, "protocol");
            const bool tcp = protocol.is_null() || protocol == "TCP";
            if (!tcp || !name.is_string() || !number.is_number_integer()) continue;
            const auto value = number.get<int64_t>();
            if (value > 0 && value < 65536) out.emplace(name.get<std::string>(), static_cast<uint16_t>(value));
        }
    }
    return out;
}

}  // namespace

std::string KubePod::redirection() const {
    const auto found = annotations.find(kRedirectionAnnotation);
    return found == annotations.end() ? std::string() : found->second;
}

base::Result<KubePod> read_kube_pod(std::string_view json) {
    const Json object = TRY(parse_object(json));
    const Json &metadata = member(object, "metadata"), &spec = member(object, "spec"), &status = member(object, "status");
    KubePod pod;
    pod.ns = TRY(read_name(metadata, "namespace"));
    pod.name = TRY(read_name(metadata, "name"));
    pod.uid = TRY(read_name(metadata, "uid"));
    pod.labels = TRY(read_strings(metadata, "labels"));
    pod.annotations = TRY(read_strings(metadata, "annotations"));
    const auto mirror = pod.annotations.find("kubernetes.io/config.mirror");
    pod.node_uid = mirror == pod.annotations.end() || mirror->second.empty() ? pod.uid : mirror->second;
    pod.node = TRY(read_text(spec, "nodeName"));
    pod.service_account = TRY(read_text(spec, "serviceAccountName"));
    if (pod.service_account.empty()) pod.service_account = "default";
    const Json& host = member(spec, "hostNetwork");
    if (!host.is_null() && !host.is_boolean()) return base::invalid("hostNetwork is not a boolean");
    pod.host_network = host.is_boolean() && host.get<bool>();
    const std::string phase = TRY(read_text(status, "phase"));
    pod.terminal = phase == "Succeeded" || phase == "Failed";
    pod.addresses = read_addresses(status);
    pod.ports = read_ports(spec);
    return pod;
}

base::Result<Labels> read_labels(std::string_view json) {
    const Json object = TRY(parse_object(json));
    return read_strings(member(object, "metadata"), "labels");
}

bool never_enrolled(const KubePod& pod) { return pod.host_network || pod.terminal || pod.annotations.contains("sidecar.istio.io/status"); }

bool parse_go_bool(std::string_view text, bool& to) {
    const auto is = [text](std::initializer_list<std::string_view> words) {
        return std::find(words.begin(), words.end(), text) != words.end();
    };
    if (is({"1", "t", "T", "TRUE", "true", "True"})) return to = true, true;
    if (is({"0", "f", "F", "FALSE", "false", "False"})) return to = false, true;
    return false;
}

Pod enrolled_form(const KubePod& pod, bool dns_capture, std::vector<std::string>& ignored) {
    Pod out;
    out.uid = pod.uid;
    out.name = pod.name;
    out.namespace_name = pod.ns;
    out.service_account = pod.service_account;
    out.labels = pod.labels;
    out.annotations = pod.annotations;
    out.annotations.erase(kRedirectionAnnotation);  // our own: writing it must not look like a change of the pod
    out.addresses = pod.addresses;
    out.host_network = pod.host_network;
    out.dns_capture = dns_capture;
    bool bypass = false;
    for (const auto& [key, to] :
         {std::pair{"ambient.istio.io/dns-capture", &out.dns_capture}, std::pair{"ambient.istio.io/bypass-inbound-capture", &bypass}}) {
        const auto found = pod.annotations.find(key);
        if (found != pod.annotations.end() && !parse_go_bool(found->second, *to)) ignored.push_back(found->first + "=" + found->second);
    }
    out.ingress_capture = !bypass;
    return out;
}

}  // namespace warren::node
