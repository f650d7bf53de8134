// SPDX-License-Identifier: Apache-2.0
// Kubernetes objects -> what node proxies are told: istio.workload.Address and istio.security.Authorization (Kubernetes contract 2 and 3).
// A pure function of its inputs: no clock, no I/O, no order of arrival, so every replica gives the same bytes. Any thread.
//
// A source that changes is converted by what changed (conversion.h); this is the same, once, from nothing.
#pragma once

#include "agent/cluster/diagnostics.h"
#include "agent/cluster/kube_objects.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace warren::cluster {

struct Settings {
    std::string cluster_id = "Kubernetes";
    std::string trust_domain = "cluster.local";
    std::string cluster_domain = "cluster.local";
    std::string root_namespace = "istio-system";    // policies here are the mesh's
    std::string system_namespace = "istio-system";  // its network label names the local network
    std::string revision = "default";               // objects labelled with another istio.io/rev are not ours
    std::optional<std::string> network = {};        // instead of the label
    std::vector<LabelSelector> discovery = {};      // namespaces that count; none: all
    enum class Visibility : uint8_t { Public, Namespace, None } service_entries = Visibility::Public;
    bool dry_run_policies = false;  // send policies marked istio.io/dry-run, to be evaluated and not enforced
};

struct Outputs {
    std::map<std::string, istio::workload::Workload> workloads;            // by uid
    std::map<std::string, istio::workload::Service> services;              // by "namespace/hostname"
    std::map<std::string, istio::security::Authorization> authorizations;  // by "namespace/name"
};

[[nodiscard]] Outputs convert(const Objects& objects, const Settings& settings, Diagnostics& problems);

}  // namespace warren::cluster
