// SPDX-License-Identifier: Apache-2.0
#include "agent/node/kube_pod.h"

#include "agent/kube/json_text.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace warren::node {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxName = 253;
constexpr size_t kMaxAddresses = 64;

const Json& member(const Json& object, const char* key) {
    static const Json kNone;
    if (!object.is_object()) return kNone;
    const auto found = object.find(key);
    return found == object.end() ? kNone : *found;
}

base::Result<std::string> text(const Json& object, const char* key) {
    const Json& value = member(object, key);
    if (value.is_null()) return std::string();
    if (!value.is_string()) return base::invalid(std::string(key) + " is not a string");
    return value.get<std::string>();
}

base::Result<std::string> name(const Json& object, const char* key) {
    std::string value = TRY(text(object, key));
    if (value.empty() || value.size() > kMaxName) return base::invalid(std::string(key) + " does not have 1 to 253 bytes");
    return value;
}

base::Result<Labels> strings(const Json& object, const char* key) {
    const Json& map = member(object, key);
    Labels out;
    if (map.is_null()) return out;
    if (!map.is_object()) return base::invalid(std::string(key) + " is not a map");
    for (const auto& [k, v] : map.items()) {
        if (!v.is_string()) return base::invalid(std::string(key) + " has a value that is not a string");
        out.emplace(k, v.get<std::string>());
    }
    return out;
}

base::Result<Json> parse(std::string_view text) {
    TRY(kube::check_depth(text));
    Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return base::invalid("not a JSON object");
    return json;
}

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

}  // namespace

std::string KubePod::redirection() const {
    const auto found = annotations.find(kRedirectionAnnotation);
    return found == annotations.end() ? std::string() : found->second;
}

base::Result<KubePod> read_kube_pod(std::string_view json) {
    const Json object = TRY(parse(json));
    const Json &metadata = member(object, "metadata"), &spec = member(object, "spec"), &status = member(object, "status");
    KubePod pod;
    pod.ns = TRY(name(metadata, "namespace"));
    pod.name = TRY(name(metadata, "name"));
    pod.uid = TRY(name(metadata, "uid"));
    pod.labels = TRY(strings(metadata, "labels"));
    pod.annotations = TRY(strings(metadata, "annotations"));
    const auto mirror = pod.annotations.find("kubernetes.io/config.mirror");
    pod.node_uid = mirror == pod.annotations.end() || mirror->second.empty() ? pod.uid : mirror->second;
    pod.node = TRY(text(spec, "nodeName"));
    pod.service_account = TRY(text(spec, "serviceAccountName"));
    if (pod.service_account.empty()) pod.service_account = "default";
    const Json& host = member(spec, "hostNetwork");
    if (!host.is_null() && !host.is_boolean()) return base::invalid("hostNetwork is not a boolean");
    pod.host_network = host.is_boolean() && host.get<bool>();
    const std::string phase = TRY(text(status, "phase"));
    pod.terminal = phase == "Succeeded" || phase == "Failed";
    pod.addresses = read_addresses(status);
    return pod;
}

base::Result<Labels> read_labels(std::string_view json) {
    const Json object = TRY(parse(json));
    return strings(member(object, "metadata"), "labels");
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
