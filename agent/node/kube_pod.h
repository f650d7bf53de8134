// SPDX-License-Identifier: Apache-2.0
// What the agent reads of a Kubernetes Pod, and whether it may be in the mesh at all (Kubernetes contract 1.1, 1.2). Pure functions over
// an API server's JSON, any thread; fuzzed (tests/fuzz/kube_pod.cpp).
#pragma once

#include "agent/node/label_selector.h"
#include "agent/node/pod_source.h"
#include "base/ip.h"
#include "base/result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace warren::node {

inline constexpr const char* kRedirectionAnnotation = "ambient.istio.io/redirection";

struct KubePod {
    std::string ns, name, uid;
    std::string node_uid;  // what the kubelet and its cgroups call it: another one for static pods
    std::string service_account, node;
    Labels labels, annotations;
    std::vector<base::IpAddr> addresses;
    std::map<std::string, uint16_t> ports;  // of its containers, TCP, by name
    bool host_network = false;
    bool terminal = false;  // Succeeded, Failed

    bool operator==(const KubePod&) const = default;
    [[nodiscard]] std::string key() const { return ns + "/" + name; }
    [[nodiscard]] std::string redirection() const;  // the annotation, empty when absent
};

base::Result<KubePod> read_kube_pod(std::string_view json);
// The labels of any object.
base::Result<Labels> read_labels(std::string_view json);

// Rows 1, 2 and 5 of contract 1.2: what no label overrules.
[[nodiscard]] bool never_enrolled(const KubePod& pod);
// Contract 1.1, "bool"; false for anything else.
[[nodiscard]] bool parse_go_bool(std::string_view text, bool& to);
// As enrolment takes it; what its annotations say of capture that cannot be understood is named in ignored.
[[nodiscard]] Pod enrolled_form(const KubePod& pod, bool dns_capture, std::vector<std::string>& ignored);

}  // namespace warren::node
